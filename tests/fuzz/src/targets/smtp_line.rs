//! Bytes to lines: pieces make no difference, and no buffer is larger than the limit.
//!
//! Input: the limit, six sizes of pieces, and what the client sends.

use gatepost::screen::smtp::line::{LineReader, Piece};

use super::take::Take;

/// A line without its end; whether it ended in LF alone.
type Seen = (Vec<u8>, bool);

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let limit = match take.number() {
        255 => 2048,
        small => usize::from(small) + 1,
    };
    let sizes = [(); 6].map(|()| usize::from(take.number()) + 1);
    let input = take.0;

    let expected = model(input, limit);
    assert_eq!(read(&[input], limit), expected, "in one piece, limit {limit}");
    let pieces: Vec<&[u8]> = (sizes.into_iter().cycle().map(|size| take.bytes(size)))
        .take_while(|piece| !piece.is_empty())
        .collect();
    assert_eq!(read(&pieces, limit), expected, "limit {limit}, pieces of {sizes:?}");
}

/// The lines, and whether one is too long.
fn read(pieces: &[&[u8]], limit: usize) -> (Vec<Seen>, bool) {
    let (mut reader, mut lines) = (LineReader::default(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        loop {
            let before = input.len();
            let result = reader.feed(&mut input, limit);
            let line = reader.line();
            assert!(line.bytes.len() <= limit, "{} bytes are kept", line.bytes.len());
            match result {
                Piece::Line => {
                    assert!(input.len() < before, "a line of nothing");
                    assert!(!line.text().contains(&0) && line.bytes.starts_with(line.text()));
                    lines.push((line.bytes.to_vec(), line.bare_newline));
                }
                Piece::Incomplete => break,
                Piece::TooLong => {
                    assert_eq!(reader.feed(&mut input, limit), Piece::TooLong, "a second time");
                    return (lines, true);
                }
            }
        }
        assert!(input.is_empty(), "something is left");
    }
    (lines, false)
}

/// The same, told in the simplest way.
fn model(input: &[u8], limit: usize) -> (Vec<Seen>, bool) {
    let mut lines = Vec::new();
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if line.len() > limit {
            return (lines, true);
        }
        if let Some(line) = line.strip_suffix(b"\n") {
            match line.strip_suffix(b"\r") {
                Some(line) => lines.push((line.to_vec(), false)),
                None => lines.push((line.to_vec(), true)),
            }
        }
    }
    (lines, false)
}
