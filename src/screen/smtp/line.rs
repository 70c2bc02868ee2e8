//! From bytes to lines, with a limit that holds for every byte.

/// Collects one line after another from input in arbitrary pieces.
///
/// The buffer never holds more than the limit, whatever arrives: the bound is checked before
/// each byte is taken, line end included.
#[derive(Debug, Default)]
pub struct LineReader {
    buffer: Vec<u8>,
}

/// Bytes for which there is room from the start.
const USUAL_LENGTH: usize = 80;

/// What a piece of input amounted to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// A line is complete: see [`LineReader::line`].
    Line,
    /// More input is needed.
    Incomplete,
    /// The line is longer than the limit.
    TooLong,
}

/// A complete line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// The bytes without the line end.
    pub bytes: &'a [u8],
    /// The line ends in LF alone, not in CR LF.
    pub bare_newline: bool,
}

impl<'a> Line<'a> {
    /// The part that counts as a command: a NUL ends it.
    pub fn text(self) -> &'a [u8] {
        self.bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl LineReader {
    /// Takes input up to the end of a line. `input` is left with what follows.
    ///
    /// `limit` is main.cf: `line_length_limit`, bytes, CR LF included.
    pub fn feed(&mut self, input: &mut &[u8], limit: usize) -> Piece {
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.clear();
        }
        // Most lines fit, and the buffer stays for those that follow.
        self.buffer.reserve(limit.min(USUAL_LENGTH).saturating_sub(self.buffer.len()));
        while let Some((byte, rest)) = input.split_first() {
            if self.buffer.len() >= limit {
                return Piece::TooLong;
            }
            self.buffer.push(*byte);
            *input = rest;
            if *byte == b'\n' {
                return Piece::Line;
            }
        }
        Piece::Incomplete
    }

    /// The line that is complete.
    pub fn line(&self) -> Line<'_> {
        let bytes = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        match bytes.strip_suffix(b"\r") {
            Some(bytes) => Line { bytes, bare_newline: false },
            None => Line { bytes, bare_newline: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, bool) {
        let (mut reader, mut lines) = (LineReader::default(), Vec::new());
        for piece in pieces {
            let mut input = *piece;
            loop {
                match reader.feed(&mut input, limit) {
                    Piece::Line => lines.push(reader.line().bytes.to_vec()),
                    Piece::Incomplete => break,
                    Piece::TooLong => return (lines, true),
                }
            }
        }
        (lines, false)
    }

    #[test]
    fn line_ends() {
        let (seen, _) = lines(&[b"a\r\nb\n\r\n\nc\r\r\nrest"], 512);
        assert_eq!(seen, [&b"a"[..], b"b", b"", b"", b"c\r"]);
        for (line, bare) in [(&b"a\r\n"[..], false), (b"a\n", true), (b"a\rb\n", true)] {
            let mut reader = LineReader::default();
            assert_eq!(reader.feed(&mut &*line, 512), Piece::Line);
            assert_eq!(reader.line().bare_newline, bare);
        }
    }

    #[test]
    fn a_nul_ends_the_command_but_not_the_line() {
        let line = Line { bytes: b"NOOP\0 junk", bare_newline: false };
        assert_eq!(line.text(), b"NOOP");
        assert_eq!(Line { bytes: b"\0", bare_newline: false }.text(), b"");
    }

    #[test]
    fn any_split_gives_the_same_lines() {
        let input = b"HELO there\r\nNOOP\n\r\nlone\rcr\r\n";
        let whole = lines(&[input], 512);
        for cut in 0..=input.len() {
            let (a, b) = input.split_at(cut);
            assert_eq!(lines(&[a, b], 512), whole);
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(lines(&bytes, 512), whole);
    }

    #[test]
    fn the_limit_counts_every_byte() {
        let line = |length: usize| [vec![b'x'; length - 2], b"\r\n".to_vec()].concat();
        assert_eq!(lines(&[&line(512)], 512).0.len(), 1);
        assert_eq!(lines(&[&line(513)], 512), (Vec::new(), true));
        // A run of CRs is not exempt: that was a remote memory exhaustion in postscreen.
        assert_eq!(lines(&[&[b'\r'; 3000]], 512), (Vec::new(), true));
        let mut reader = LineReader::default();
        assert_eq!(reader.feed(&mut &[b'\r'; 3000][..], 512), Piece::TooLong);
        assert_eq!(reader.buffer.len(), 512);
    }
}
