//! What no mail client says: message headers, other protocols, noise.

use super::command::Command;

/// What can be said of a command without asking anybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suspicion<'a> {
    /// A mail client may say that.
    None,
    /// None does.
    Certain,
    /// main.cf: `postscreen_forbidden_commands` decides about this word.
    Word(&'a [u8]),
}

/// What the non-SMTP command test thinks of a command. Known commands never give offence.
///
/// `smtputf8` is main.cf: `smtputf8_enable`; without it any byte is as good as another.
pub fn suspicion<'a>(command: &Command<'a>, smtputf8: bool) -> Suspicion<'a> {
    if command.verb.is_some() {
        Suspicion::None
    } else if looks_like_header(command.word) || (smtputf8 && str::from_utf8(command.word).is_err())
    {
        Suspicion::Certain
    } else {
        Suspicion::Word(command.word)
    }
}

/// `Subject:` and the like.
fn looks_like_header(word: &[u8]) -> bool {
    match word.iter().position(|byte| *byte == b':') {
        None | Some(0) => false,
        Some(colon) => word.iter().take(colon).all(u8::is_ascii_graphic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_headers_and_other_words() {
        let word = Suspicion::Word;
        for (line, expected) in [
            (&b"NOOP"[..], Suspicion::None),
            (b"  auth PLAIN", Suspicion::None),
            (b"Subject: x", Suspicion::Certain),
            (b"X-Header:x", Suspicion::Certain),
            (b"\xff\xfe", Suspicion::Certain),
            (b"caf\xe9 x", Suspicion::Certain),
            (b"GET / HTTP/1.0", word(b"GET")),
            (b"\tNOOP", word(b"\tNOOP")),
            (b"\xc3\xa9t\xc3\xa9", word(b"\xc3\xa9t\xc3\xa9")),
            (b": x", word(b":")),
            (b"\x01:", word(b"\x01:")),
            (b"foo bar:", word(b"foo")),
            (b"foo \xff", word(b"foo")),
            (b"", word(b"")),
        ] {
            assert_eq!(suspicion(&Command::parse(line), true), expected, "{line:?}");
        }
        let latin = Command::parse(b"caf\xe9 x");
        assert_eq!(suspicion(&latin, false), word(b"caf\xe9"));
    }
}
