//! What a line gives away to the deep protocol tests.

use super::command::{Command, LastCommand};
use super::forbidden::is_non_smtp;
use super::line::Line;
use crate::screen::logline::QUOTE_LIMIT;
use crate::screen::policy::EngineRules;
use crate::screen::test_set::Test;

/// What a client did that a deep test takes offence at, with the bytes that the log quotes:
/// at most [`QUOTE_LIMIT`] of each kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Offence {
    /// A line ends in LF alone.
    BareNewline {
        /// The line.
        line: Box<[u8]>,
    },
    /// Something that no mail client says.
    NonSmtpCommand {
        /// The line before it.
        after: LastCommand,
        /// The command word.
        word: Box<[u8]>,
        /// The rest of the line.
        rest: Box<[u8]>,
    },
    /// More was sent behind a command whose reply the client has to wait for.
    Pipelining {
        /// The command word.
        word: Box<[u8]>,
        /// What was sent behind the line.
        unread: Box<[u8]>,
    },
}

/// The deep tests, in the order in which a line is put to them.
pub const ORDER: [Test; 3] = [Test::BareNewline, Test::NonSmtpCommand, Test::Pipelining];

/// Puts a line to one deep test.
///
/// `after` is the line before it, `unread` the input that has arrived behind it.
pub fn find(
    test: Test,
    line: Line<'_>,
    after: LastCommand,
    unread: &[u8],
    rules: &EngineRules,
) -> Option<Offence> {
    let command = Command::parse(line.text());
    match test {
        Test::BareNewline if line.bare_newline => {
            Some(Offence::BareNewline { line: quote(line.bytes) })
        }
        Test::NonSmtpCommand if is_non_smtp(&command, &rules.forbidden, rules.smtputf8) => {
            let (word, rest) = (quote(command.word), quote(command.rest));
            Some(Offence::NonSmtpCommand { after, word, rest })
        }
        Test::Pipelining if !unread.is_empty() && command.may_not_be_followed() => {
            Some(Offence::Pipelining { word: quote(command.word), unread: quote(unread) })
        }
        Test::BareNewline
        | Test::NonSmtpCommand
        | Test::Pipelining
        | Test::Pregreet
        | Test::Dnsbl => None,
    }
}

fn quote(bytes: &[u8]) -> Box<[u8]> {
    bytes.get(..QUOTE_LIMIT).unwrap_or(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::smtp::command::Verb;
    use crate::screen::testing::policy;

    fn offence(test: Test, line: &[u8], unread: &[u8]) -> Option<Offence> {
        let bare_newline = !line.ends_with(b"\r");
        let bytes = line.strip_suffix(b"\r").unwrap_or(line);
        let line = Line { bytes, bare_newline };
        find(test, line, LastCommand::Known(Verb::Ehlo), unread, &policy().engine)
    }

    #[test]
    fn each_test_sees_its_own_offence() {
        let bare = Offence::BareNewline { line: (*b"EHLO x\0y").into() };
        assert_eq!(offence(Test::BareNewline, b"EHLO x\0y", b""), Some(bare));
        assert_eq!(offence(Test::BareNewline, b"EHLO x\r", b"more"), None);
        let header = Offence::NonSmtpCommand {
            after: LastCommand::Known(Verb::Ehlo),
            word: (*b"Foo:").into(),
            rest: (*b"bar").into(),
        };
        assert_eq!(offence(Test::NonSmtpCommand, b"Foo: bar\r", b"more"), Some(header));
        assert_eq!(offence(Test::NonSmtpCommand, b"MAIL FROM:<>\r", b"more"), None);
        let hasty =
            Offence::Pipelining { word: (*b"mail").into(), unread: (*b"RCPT TO:<>\r\n").into() };
        assert_eq!(offence(Test::Pipelining, b"mail FROM:<>\r", b"RCPT TO:<>\r\n"), Some(hasty));
        assert_eq!(offence(Test::Pipelining, b"MAIL FROM:<>\r", b""), None);
        assert_eq!(offence(Test::Pipelining, b"BDAT 6 LAST\r", b"hello\n"), None);
        assert_eq!(offence(Test::Pregreet, b"Foo: bar", b"more"), None);
    }

    #[test]
    fn quotes_are_short() {
        let Some(Offence::Pipelining { word, unread }) =
            offence(Test::Pipelining, &[b'y'; 500], &[b'z'; 500])
        else {
            panic!("no offence");
        };
        assert_eq!((word.len(), unread.len()), (QUOTE_LIMIT, QUOTE_LIMIT));
    }
}
