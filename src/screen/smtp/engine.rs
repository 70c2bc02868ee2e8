//! The dummy SMTP server that ends the visits of clients that are not handed off.
//!
//! It knows one rule so far: the first command decides. QUIT gets its due, anything else
//! the reply that the session was given as its last word.

use super::line::{LineReader, Piece};
use crate::screen::reply::Reply;

/// The state of one dialogue.
#[derive(Debug)]
pub struct Engine {
    reader: LineReader,
    last_word: Reply,
}

/// What a client's input amounted to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reaction {
    /// Nothing yet: the line is not complete.
    Wait,
    /// Send this and close.
    End(Reply),
    /// The line is longer than the limit.
    TooLong,
}

impl Engine {
    /// An engine that answers the first command, unless it is QUIT, with `last_word`.
    pub fn new(last_word: Reply) -> Engine {
        Engine { reader: LineReader::default(), last_word }
    }

    /// Takes input; `limit` is main.cf: `line_length_limit`, bytes.
    pub fn receive(&mut self, mut input: &[u8], limit: usize) -> Reaction {
        match self.reader.feed(&mut input, limit) {
            Piece::Incomplete => Reaction::Wait,
            Piece::TooLong => Reaction::TooLong,
            Piece::Line if is_quit(self.reader.line()) => Reaction::End(Reply::Bye),
            Piece::Line => Reaction::End(self.last_word),
        }
    }
}

/// RFC 5321 4.1.1.10. The command word ends at a blank, and its arguments do not matter.
fn is_quit(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    word.eq_ignore_ascii_case(b"QUIT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_command_decides() {
        for (input, expected) in [
            (&b"QUIT\r\n"[..], Reaction::End(Reply::Bye)),
            (b"  quit now\n", Reaction::End(Reply::Bye)),
            (b"QUITE\r\n", Reaction::End(Reply::NoResources)),
            (b"EHLO c.example\r\n", Reaction::End(Reply::NoResources)),
            (b"\r\n", Reaction::End(Reply::NoResources)),
            (b"EHLO", Reaction::Wait),
            (&[b'x'; 600], Reaction::TooLong),
        ] {
            assert_eq!(Engine::new(Reply::NoResources).receive(input, 512), expected);
        }
    }
}
