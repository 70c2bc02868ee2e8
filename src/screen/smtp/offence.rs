//! What a line gives away to the deep protocol tests.

use super::command::{Command, LastCommand};
use super::line::Line;
use crate::screen::logline::QUOTE_LIMIT;
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

/// The deep test that lines are put to, as they were sent.
pub const OF_LINES: [Test; 1] = [Test::BareNewline];

/// The deep tests that commands are put to, in this order, after the command filter.
pub const OF_COMMANDS: [Test; 2] = [Test::NonSmtpCommand, Test::Pipelining];

/// What the bare newline test says to a line.
pub fn of_line(line: Line<'_>) -> Option<Offence> {
    line.bare_newline.then(|| Offence::BareNewline { line: quote(line.bytes) })
}

/// What the non-SMTP command test says to a command that mail clients do not use; `after` is
/// the line before it.
pub fn of_word(command: &Command<'_>, after: LastCommand) -> Offence {
    Offence::NonSmtpCommand { after, word: quote(command.word), rest: quote(command.rest) }
}

/// What the pipelining test says to a command; `unread` is the input that has arrived behind
/// it.
pub fn of_haste(command: &Command<'_>, unread: &[u8]) -> Option<Offence> {
    let hasty = !unread.is_empty() && command.may_not_be_followed();
    hasty.then(|| Offence::Pipelining { word: quote(command.word), unread: quote(unread) })
}

/// As much of what a client sent as the log quotes.
pub fn quote(bytes: &[u8]) -> Box<[u8]> {
    bytes.get(..QUOTE_LIMIT).unwrap_or(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::smtp::command::Verb;

    #[test]
    fn bare_newlines() {
        let line = Line { bytes: b"EHLO x\0y", bare_newline: true };
        let bare = Offence::BareNewline { line: (*b"EHLO x\0y").into() };
        assert_eq!(of_line(line), Some(bare));
        assert_eq!(of_line(Line { bare_newline: false, ..line }), None);
    }

    #[test]
    fn words() {
        let header = Offence::NonSmtpCommand {
            after: LastCommand::Known(Verb::Ehlo),
            word: (*b"Foo:").into(),
            rest: (*b"bar").into(),
        };
        let after = LastCommand::Known(Verb::Ehlo);
        assert_eq!(of_word(&Command::parse(b"Foo: bar"), after), header);
    }

    #[test]
    fn haste() {
        let haste = |line, unread| of_haste(&Command::parse(line), unread);
        let hasty =
            Offence::Pipelining { word: (*b"mail").into(), unread: (*b"RCPT TO:<>\r\n").into() };
        assert_eq!(haste(b"mail FROM:<>", b"RCPT TO:<>\r\n"), Some(hasty));
        assert_eq!(haste(b"MAIL FROM:<>", b""), None);
        assert_eq!(haste(b"BDAT 6 LAST", b"hello\n"), None);
    }

    #[test]
    fn quotes_are_short() {
        let Some(Offence::Pipelining { word, unread }) =
            of_haste(&Command::parse(&[b'y'; 500]), &[b'z'; 500])
        else {
            panic!("no offence");
        };
        assert_eq!((word.len(), unread.len()), (QUOTE_LIMIT, QUOTE_LIMIT));
    }
}
