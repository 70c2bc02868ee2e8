//! Lines, of which only the beginning counts: a reply code, or a verb.

/// How much of a line is kept.
const KEPT: usize = 4;

/// The beginning of the line that is coming in.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LineHead {
    bytes: [u8; KEPT],
    length: usize,
}

impl LineHead {
    /// Takes one more byte. If it ends the line, the beginning of that, padded with zeros.
    pub fn take(&mut self, byte: u8) -> Option<[u8; KEPT]> {
        if byte == b'\n' {
            return Some(std::mem::take(self).bytes);
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
        None
    }
}

/// A line of an SMTP reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyLine {
    pub code: u16,
    /// There is no more to the reply.
    pub last: bool,
}

impl ReplyLine {
    /// By its first four bytes.
    pub fn new([first, second, third, separator]: [u8; KEPT]) -> Option<ReplyLine> {
        let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
        let code = digit(first)? * 100 + digit(second)? * 10 + digit(third)?;
        Some(ReplyLine { code, last: separator != b'-' })
    }
}
