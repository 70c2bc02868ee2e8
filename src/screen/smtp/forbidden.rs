//! What no mail client says: message headers, other protocols, noise.

use super::command::Command;

/// One item of main.cf: `postscreen_forbidden_commands`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forbidden {
    /// Which words it is about.
    pub pattern: Pattern,
    /// A word that it is about is not forbidden, whatever the items after it say.
    pub except: bool,
}

/// Which command words an item is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// This word, in any letter case.
    Word(String),
    /// Words that do not begin with a letter. This is what the item `regexp:{{/^[^A-Z]/ ...}}`
    /// of the default value comes to, because such patterns ignore letter case.
    NoLetterFirst,
}

impl Pattern {
    fn matches(&self, word: &[u8]) -> bool {
        match self {
            Pattern::Word(text) => match str::from_utf8(word) {
                Ok(word) => word.to_lowercase() == text.to_lowercase(),
                Err(_) => false,
            },
            Pattern::NoLetterFirst => word.first().is_some_and(|byte| !byte.is_ascii_alphabetic()),
        }
    }
}

/// Whether the non-SMTP command test takes offence. Known commands never give any.
///
/// `smtputf8` is main.cf: `smtputf8_enable`; without it any byte is as good as another.
pub fn is_non_smtp(command: &Command<'_>, list: &[Forbidden], smtputf8: bool) -> bool {
    if command.verb.is_some() {
        return false;
    }
    let found = || list.iter().find(|item| item.pattern.matches(command.word));
    looks_like_header(command.word)
        || (smtputf8 && str::from_utf8(command.word).is_err())
        || found().is_some_and(|item| !item.except)
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

    fn word(text: &str) -> Forbidden {
        Forbidden { pattern: Pattern::Word(text.into()), except: false }
    }

    #[test]
    fn the_default_list() {
        let no_letter = Forbidden { pattern: Pattern::NoLetterFirst, except: false };
        let list = [word("CONNECT"), word("GET"), word("POST"), no_letter];
        for (line, expected) in [
            (&b"get / HTTP/1.0"[..], true),
            (b"connect a", true),
            (b"123 x", true),
            (b"Subject: x", true),
            (b"X-Header:x", true),
            (b"\xff\xfe", true),
            (b"caf\xe9 x", true),
            (b"\tNOOP", true),
            (b"\xc3\xa9t\xc3\xa9", true),
            (b": x", true),
            (b"foo x", false),
            (b"caf\xc3\xa9 x", false),
            (b"GETTER", false),
            (b"foo bar:", false),
            (b"", false),
            (b"NOOP", false),
            (b"AUTH PLAIN", false),
        ] {
            assert_eq!(is_non_smtp(&Command::parse(line), &list, true), expected, "{line:?}");
        }
        assert!(!is_non_smtp(&Command::parse(b"caf\xe9 x"), &list, false));
    }

    #[test]
    fn the_first_item_that_matches_decides() {
        let list = [Forbidden { except: true, ..word("Worse") }, word("worse"), word("bad")];
        assert!(!is_non_smtp(&Command::parse(b"WORSE"), &list, true));
        assert!(is_non_smtp(&Command::parse(b"BAD thing"), &list, true));
        assert!(!is_non_smtp(&Command::parse(b": x"), &list, true));
    }
}
