//! Physical lines to logical lines.

use std::borrow::Cow;

use super::Message;

/// How much of a dropped line is quoted, in bytes.
const QUOTED: usize = 30;

/// A line with its continuation lines.
pub struct LogicalLine<'a> {
    /// Its first physical line, from 1.
    pub first_line: usize,
    /// Its last physical line.
    pub last_line: usize,
    /// The text up to the first null byte, without line ends.
    pub text: Cow<'a, [u8]>,
    /// There was a null byte.
    pub cut: bool,
}

/// The lines of a file.
pub struct LogicalLines<'a> {
    /// The usable ones.
    pub lines: Vec<LogicalLine<'a>>,
    /// One at the start of the file that has nothing to continue.
    pub indented: Option<LogicalLine<'a>>,
}

impl LogicalLines<'_> {
    /// What is wrong with the file at this level.
    pub fn warnings(&self, file: &str) -> Vec<Message> {
        let indented = self.indented.iter().map(|line| {
            let quoted = line.text.get(..QUOTED).unwrap_or(&line.text);
            let more = if line.text.len() > QUOTED { "..." } else { "" };
            let quoted = String::from_utf8_lossy(quoted);
            Message::warning(format!(
                "{file}: logical line must not start with whitespace: \"{quoted}{more}\""
            ))
        });
        let cut = self.lines.iter().filter(|line| line.cut).map(|line| {
            let (first, last) = (line.first_line, line.last_line);
            let place = if first == last { first.to_string() } else { format!("{first}-{last}") };
            Message::warning(format!("{file}, line {place}: text after null byte may be ignored"))
        });
        indented.chain(cut).collect()
    }
}

/// Joins lines that start with white space to the line before them; drops empty lines and
/// comments, which do not end a logical line.
pub fn logical_lines(text: &[u8]) -> LogicalLines<'_> {
    let mut lines: Vec<LogicalLine<'_>> = Vec::new();
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
        let is_text = line.iter().find(|byte| !is_space(**byte)).is_some_and(|byte| *byte != b'#');
        match lines.last_mut() {
            _ if !is_text => {}
            Some(current) if is_indented(line) => {
                current.last_line = number;
                current.text.to_mut().extend_from_slice(line);
            }
            _ => {
                let text = Cow::Borrowed(line);
                lines.push(LogicalLine { first_line: number, last_line: number, text, cut: false });
            }
        }
    }
    for line in &mut lines {
        if let Some(end) = line.text.iter().position(|byte| *byte == 0) {
            line.cut = true;
            line.text.to_mut().truncate(end);
        }
    }
    let indented = lines.first().is_some_and(|line| is_indented(&line.text));
    let indented = indented.then(|| lines.remove(0));
    LogicalLines { lines, indented }
}

fn is_indented(line: &[u8]) -> bool {
    line.first().is_some_and(|byte| is_space(*byte))
}

/// White space in C's sense.
pub fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
