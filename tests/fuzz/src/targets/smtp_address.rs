//! Addresses as clients write them: what is shown of one, put in brackets again, is the same
//! address; nothing gets longer than quoting makes it.

use gatepost::screen::smtp::address::{external, extract};

pub fn check(data: &[u8]) {
    let address = extract(data);
    assert!(address.len() <= data.len());
    let shown = external(&address);
    assert!(shown.len() <= 2 * address.len() + 2, "{}", shown.escape_ascii());
    assert_eq!(address.is_empty(), shown.is_empty());
    // Without quotes, backslashes and a route it is what is written there.
    let start = data.iter().position(|byte| *byte != b' ').unwrap_or(data.len());
    let text = &data[start..];
    let plain = !text.iter().any(|byte| b"\"\\".contains(byte));
    if plain {
        let (inside, end) = match text.split_first() {
            Some((b'<', inside)) => (inside, b'>'),
            _ => (text, b' '),
        };
        let written = inside.split(|byte| *byte == end).next().unwrap();
        let routed = written.first() == Some(&b'@') && written.contains(&b':');
        let behind = written.iter().position(|byte| *byte == b':').map_or(0, |at| at + 1);
        assert_eq!(address, &written[if routed { behind } else { 0 }..]);
    }
    // A domain with quotes, brackets or blanks of its own is shown as it is, whatever it means.
    let at = address.iter().rposition(|byte| *byte == b'@').unwrap_or(address.len());
    let odd = address[at..].iter().any(|byte| b"\"\\>".contains(byte));
    // As with postscreen(8), quotes do not protect what looks like a route.
    let routed = address.first() == Some(&b'@') && address.contains(&b':');
    if !odd && !routed {
        assert_eq!(
            extract(&[b"<", &shown[..], b">"].concat()),
            address,
            "{}",
            shown.escape_ascii()
        );
    }
}
