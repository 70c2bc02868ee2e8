//! Mail addresses as clients write them, and as the log shows them.

/// The address at the start of a text, without quotes, brackets and source route; what
/// follows it does not matter. Nothing is checked: whatever it is, it is refused.
pub fn extract(text: &[u8]) -> Vec<u8> {
    let start = text.iter().position(|byte| *byte != b' ').unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let (text, end) = match text.strip_prefix(b"<") {
        Some(inside) => (inside, b'>'),
        None => (text, b' '),
    };
    let mut address = Vec::new();
    let mut quoted = false;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => address.extend(bytes.next()),
            _ if byte == end && !quoted => break,
            _ => address.push(byte),
        }
    }
    without_route(address)
}

/// Cuts a source route, `@relay,@relay:`, which RFC 5321 has relays ignore.
fn without_route(mut address: Vec<u8>) -> Vec<u8> {
    if address.first() == Some(&b'@')
        && let Some(colon) = address.iter().position(|byte| *byte == b':')
    {
        address.drain(..=colon);
    }
    address
}

/// The form that an address has in a message header: the local part in quotes if it needs
/// them. An empty address stays empty.
pub fn external(address: &[u8]) -> Vec<u8> {
    let at = address.iter().rposition(|byte| *byte == b'@').unwrap_or(address.len());
    let (local, domain) = address.split_at_checked(at).unwrap_or((address, &[]));
    if address.is_empty() || is_dot_string(local) {
        return address.to_vec();
    }
    let mut text = vec![b'"'];
    for byte in local {
        if matches!(byte, b'"' | b'\\' | b'\r') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
    text.extend_from_slice(domain);
    text
}

/// RFC 5322 3.2.3: atoms with single dots between them; bytes above 127 are welcome.
fn is_dot_string(local: &[u8]) -> bool {
    let is_atom = |atom: &[u8]| !atom.is_empty() && atom.iter().all(|byte| is_atom_text(*byte));
    local.split(|byte| *byte == b'.').all(is_atom)
}

fn is_atom_text(byte: u8) -> bool {
    !byte.is_ascii_control() && !b" ()<>@,;:\\\"[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(text: &str) -> String {
        String::from_utf8(external(&extract(text.as_bytes()))).unwrap()
    }

    #[test]
    fn what_the_log_shows() {
        for (text, expected) in [
            ("<a@c.example>", "a@c.example"),
            (" b@example.test extra", "b@example.test"),
            ("<@r1,@r2:\"a b\"@c.example> SIZE=1", "\"a b\"@c.example"),
            ("<\"q\\\"x\"@d> NOTIFY=NEVER", "\"q\\\"x\"@d"),
            ("<back\\\\slash@d>", "\"back\\\\slash\"@d"),
            ("<>", ""),
            ("", ""),
            ("   ", ""),
            ("<unclosed@d", "unclosed@d"),
            ("<\"open quote>@d>", "\"open quote>\"@d>"),
            ("<a\tb@d>", "\"a\tb\"@d"),
            ("<bé@d>", "bé@d"),
            ("<b@[127.0.0.1]>", "b@[127.0.0.1]"),
            ("<b@d> <c@d>", "b@d"),
            ("<a..b@d>", "\"a..b\"@d"),
            ("<.a@d>", "\".a\"@d"),
            ("<a.@d>", "\"a.\"@d"),
            ("<@d>", "\"\"@d"),
            ("<a@b@d>", "\"a@b\"@d"),
            ("<a b", "\"a b\""),
            ("<postmaster>", "postmaster"),
            ("<end\\", "end"),
        ] {
            assert_eq!(logged(text), expected, "{text}");
        }
    }
}
