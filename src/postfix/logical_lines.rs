//! Physical lines to logical lines: the layer below main.cf and every text table.
//!
//! A line that starts with whitespace continues the one before it, verbatim; empty lines
//! and comment lines are no lines at all, so they do not end a logical line either.

use std::borrow::Cow;

use super::message::Message;

/// How much of a dropped line is quoted, in bytes.
const QUOTED: usize = 30;

/// One logical line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogicalLine<'a> {
    /// Number of its first physical line, from 1. Postfix's warnings use this one.
    pub first_line: usize,
    /// Number of its last physical line.
    pub last_line: usize,
    /// The text without line ends, cut off at the first null byte. Any bytes.
    pub text: Cow<'a, [u8]>,
    /// There was a null byte, and what followed it is lost.
    pub cut: bool,
}

/// All logical lines of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogicalLines<'a> {
    /// The usable ones.
    pub lines: Vec<LogicalLine<'a>>,
    /// Only the first logical line can begin with whitespace, as it has nothing to
    /// continue; it is not among `lines`.
    pub indented: Option<LogicalLine<'a>>,
}

impl LogicalLine<'_> {
    /// The text for people: what is not UTF-8 is replaced.
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }
}

impl LogicalLines<'_> {
    /// What is wrong with the file at this level; `file` is how the messages call it.
    pub fn warnings(&self, file: &str) -> Vec<Message> {
        let indented = self.indented.iter().map(|line| {
            let (start, more) = match line.text.get(..QUOTED) {
                Some(start) if line.text.len() > QUOTED => (start, "..."),
                _ => (line.text.as_ref(), ""),
            };
            let start = String::from_utf8_lossy(start);
            Message::warning(format!(
                "{file}: logical line must not start with whitespace: \"{start}{more}\""
            ))
        });
        let cut = self.lines.iter().filter(|line| line.cut).map(|line| {
            let place = if line.first_line == line.last_line {
                line.first_line.to_string()
            } else {
                format!("{}-{}", line.first_line, line.last_line)
            };
            Message::warning(format!("{file}, line {place}: text after null byte may be ignored"))
        });
        indented.chain(cut).collect()
    }
}

/// Splits a file into logical lines.
pub fn logical_lines(text: &[u8]) -> LogicalLines<'_> {
    let mut lines: Vec<LogicalLine<'_>> = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        match line.iter().find(|byte| !is_space(**byte)) {
            None | Some(b'#') => continue,
            Some(_) => {}
        }
        let continues = line.first().is_some_and(|byte| is_space(*byte));
        match lines.last_mut() {
            Some(current) if continues => {
                current.last_line = number;
                current.text.to_mut().extend_from_slice(line);
            }
            _ => lines.push(LogicalLine {
                first_line: number,
                last_line: number,
                text: Cow::Borrowed(line),
                cut: false,
            }),
        }
    }
    for line in &mut lines {
        cut_at_null(line);
    }
    let starts_indented =
        lines.first().and_then(|line| line.text.first()).is_some_and(|byte| is_space(*byte));
    let indented = if starts_indented { Some(lines.remove(0)) } else { None };
    LogicalLines { lines, indented }
}

/// Postfix handles a line as a C string.
fn cut_at_null(line: &mut LogicalLine<'_>) {
    let Some(end) = line.text.iter().position(|byte| *byte == 0) else { return };
    line.cut = true;
    match &mut line.text {
        Cow::Borrowed(text) => *text = text.get(..end).unwrap_or_default(),
        Cow::Owned(text) => text.truncate(end),
    }
}

/// Whitespace as C's `isspace` has it, the vertical tab included.
pub fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<(usize, usize, String)> {
        logical_lines(file.as_bytes())
            .lines
            .iter()
            .map(|line| (line.first_line, line.last_line, line.to_text().into_owned()))
            .collect()
    }

    #[test]
    fn continuation_is_verbatim_and_comments_do_not_end_a_line() {
        assert_eq!(
            texts("smtpd_banner = one\n  two\n# c\n\tthree\n\n four\nnext = 5"),
            [(1, 6, "smtpd_banner = one  two\tthree four".into()), (7, 7, "next = 5".into())]
        );
        assert_eq!(
            texts("a\n   # indented comment\nb\n"),
            [(1, 1, "a".into()), (3, 3, "b".into())]
        );
    }

    #[test]
    fn empty_files_and_missing_ends() {
        assert!(texts("").is_empty());
        assert!(texts("\n \n#x\n\t\r\n").is_empty());
        assert_eq!(texts("x"), [(1, 1, "x".into())]);
        assert_eq!(texts("x\r\ny\r\n"), [(1, 1, "x\r".into()), (2, 2, "y\r".into())]);
    }

    #[test]
    fn comment_in_the_middle_of_text_stays() {
        assert_eq!(
            texts("x = a # b\ny = \\\n z"),
            [(1, 1, "x = a # b".into()), (2, 3, "y = \\ z".into())]
        );
    }

    #[test]
    fn indented_first_line_is_set_aside_with_what_continues_it() {
        let read =
            logical_lines(b"# c\n  indented first line that is longer than thirty\n more\nb");
        assert_eq!(read.lines.len(), 1);
        assert_eq!(
            read.warnings("/f"),
            [Message::warning(
                "/f: logical line must not start with whitespace: \
                 \"  indented first line that is ...\""
            )]
        );
        let exactly = logical_lines(b" 01234567890123456789012345678\n");
        assert_eq!(
            exactly.warnings("/f"),
            [Message::warning(
                "/f: logical line must not start with whitespace: \
                 \" 01234567890123456789012345678\""
            )]
        );
    }

    #[test]
    fn text_ends_at_a_null_byte() {
        let read = logical_lines(b"a\0b\nc\n d\0e\n f\n\0g\n");
        let texts: Vec<_> = read.lines.iter().map(|line| line.text.as_ref()).collect();
        assert_eq!(texts, [&b"a"[..], b"c d", b""]);
        assert_eq!(
            read.warnings("f"),
            [
                Message::warning("f, line 1: text after null byte may be ignored"),
                Message::warning("f, line 2-4: text after null byte may be ignored"),
                Message::warning("f, line 5: text after null byte may be ignored"),
            ]
        );
    }
}
