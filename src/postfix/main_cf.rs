//! main.cf: lines to a dictionary of names and unexpanded values.
//!
//! gatepost.cf has the same syntax. What a value means is the business of
//! [`super::params`].

use std::collections::BTreeMap;

use super::logical_lines::{LogicalLine, is_space, logical_lines};
use super::message::Message;

/// Where a setting was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// In the file, in the logical line that starts at this physical one.
    File {
        /// Counted from 1.
        line: usize,
    },
    /// On the command line, with `-o`.
    CommandLine,
}

/// A setting as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The value before macro expansion, without white space around it; what is not UTF-8
    /// in it has been replaced.
    pub value: String,
    /// Where it was made.
    pub origin: Origin,
}

/// The settings of a file and of the command line, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dictionary {
    entries: BTreeMap<String, Entry>,
}

/// Why a text is no `name = value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SyntaxError {
    /// Nothing before the `=`.
    #[error("missing attribute name")]
    MissingName,
    /// Something other than `=` after the name.
    #[error("missing '=' after attribute name")]
    MissingEquals,
}

/// A line of a file that is no `name = value`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}, line {line}: {why}: \"{text}\"")]
pub struct BadLine {
    /// The file, as messages call it.
    pub file: String,
    /// The first physical line of the logical one, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: SyntaxError,
    /// The logical line.
    pub text: String,
}

/// An argument of `-o` that is no `name = value`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid \"-o {text}\" option value: {why}")]
pub struct BadOverride {
    /// The argument.
    pub text: String,
    /// What is wrong.
    pub why: SyntaxError,
}

impl Dictionary {
    /// Reads a file's text as postscreen(8) reads main.cf; `file` is how messages call it.
    /// Adds warnings to `messages`.
    ///
    /// # Errors
    /// The first line that is no `name = value`.
    pub fn parse(
        file: &str,
        text: &[u8],
        messages: &mut Vec<Message>,
    ) -> Result<Dictionary, BadLine> {
        let mut dictionary = Dictionary::default();
        let lines = logical_lines(text);
        messages.extend(lines.warnings(file));
        for line in &lines.lines {
            dictionary.add_line(file, line, messages)?;
        }
        Ok(dictionary)
    }

    /// Like [`Dictionary::parse`], but a bad line is only worth a warning and is left out.
    pub fn parse_leniently(file: &str, text: &[u8], messages: &mut Vec<Message>) -> Dictionary {
        let mut dictionary = Dictionary::default();
        let lines = logical_lines(text);
        messages.extend(lines.warnings(file));
        for line in &lines.lines {
            if let Err(error) = dictionary.add_line(file, line, messages) {
                messages.push(Message::warning(error.to_string()));
            }
        }
        dictionary
    }

    fn add_line(
        &mut self,
        file: &str,
        line: &LogicalLine<'_>,
        messages: &mut Vec<Message>,
    ) -> Result<(), BadLine> {
        let (name, value) = split_assignment(&line.text).map_err(|why| BadLine {
            file: file.to_owned(),
            line: line.first_line,
            why,
            text: lossy(&line.text),
        })?;
        let entry = Entry { value: lossy(value), origin: Origin::File { line: line.first_line } };
        let value = entry.value.clone();
        let name = lossy(name);
        if let Some(old) = self.entries.insert(name.clone(), entry)
            && old.value != value
        {
            messages.push(Message::warning(format!(
                "{file}, line {}: overriding earlier entry: {name}={}",
                line.first_line, old.value
            )));
        }
        Ok(())
    }

    /// Stores the argument of a `-o` option over what the file says.
    ///
    /// # Errors
    /// When it is no `name = value`.
    pub fn override_with(&mut self, text: &str) -> Result<(), BadOverride> {
        let (name, value) = split_assignment(text.as_bytes())
            .map_err(|why| BadOverride { text: text.to_owned(), why })?;
        let entry = Entry { value: lossy(value), origin: Origin::CommandLine };
        self.entries.insert(lossy(name), entry);
        Ok(())
    }

    /// The unexpanded value of a name; `None` when it is not set.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(|entry| entry.value.as_str())
    }

    /// All settings, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }
}

/// Splits `name = value`; the white space around both is not part of them.
fn split_assignment(text: &[u8]) -> Result<(&[u8], &[u8]), SyntaxError> {
    let text = trim(text);
    let end = text.iter().position(|byte| is_space(*byte) || *byte == b'=').unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    if name.is_empty() {
        return Err(SyntaxError::MissingName);
    }
    match trim(rest).strip_prefix(b"=") {
        Some(value) => Ok((name, trim(value))),
        None => Err(SyntaxError::MissingEquals),
    }
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Result<Dictionary, String>, Vec<String>) {
        let mut messages = Vec::new();
        let result = Dictionary::parse("CONF/main.cf", text.as_bytes(), &mut messages);
        let texts = messages.into_iter().map(|message| message.text).collect();
        (result.map_err(|error| error.to_string()), texts)
    }

    fn value(text: &str, name: &str) -> Option<String> {
        parse(text).0.unwrap().value(name).map(str::to_owned)
    }

    #[test]
    fn live_values() {
        let long = "smtpd_banner = one\n  two\n# c\n\tthree\n\n four\nnext = 5";
        assert_eq!(value(long, "smtpd_banner").unwrap(), "one  two\tthree four");
        assert_eq!(value(long, "next").unwrap(), "5");
        assert_eq!(value("smtpd_banner=a", "smtpd_banner").unwrap(), "a");
        assert_eq!(value("smtpd_banner = x\r\n", "smtpd_banner").unwrap(), "x");
        assert_eq!(value("smtpd_banner =", "smtpd_banner").unwrap(), "");
        assert_eq!(value("smtpd_banner = {a}", "smtpd_banner").unwrap(), "{a}");
        assert_eq!(value("x = a # b", "x").unwrap(), "a # b");
        assert_eq!(value("x = a \\\n b", "x").unwrap(), "a \\ b");
        let swallowed = "myhostname = h\n  smtpd_banner = x";
        assert_eq!(value(swallowed, "myhostname").unwrap(), "h  smtpd_banner = x");
        assert_eq!(value(swallowed, "smtpd_banner"), None);
        assert_eq!(value("b = a\0b\n c\nd = e", "b").unwrap(), "a");
    }

    #[test]
    fn live_errors() {
        let error = |text: &str| parse(text).0.unwrap_err();
        assert_eq!(
            error("a = b\n\n# c\n\nsmtpd_banner"),
            "CONF/main.cf, line 5: missing '=' after attribute name: \"smtpd_banner\""
        );
        assert_eq!(error("= x"), "CONF/main.cf, line 1: missing attribute name: \"= x\"");
        assert_eq!(
            error("smtpd banner = x\n more"),
            "CONF/main.cf, line 1: missing '=' after attribute name: \"smtpd banner = x more\""
        );
    }

    #[test]
    fn warnings() {
        let (dictionary, texts) = parse("a = b\na = b\na = c\n");
        assert_eq!(texts, ["CONF/main.cf, line 3: overriding earlier entry: a=b"]);
        assert_eq!(dictionary.unwrap().value("a"), Some("c"));
        let (_, texts) = parse(" indented line of more than thirty bytes\na = b\0c\n d\n");
        assert_eq!(
            texts,
            [
                "CONF/main.cf: logical line must not start with whitespace: \
                 \" indented line of more than th...\"",
                "CONF/main.cf, line 2-3: text after null byte may be ignored",
            ]
        );
    }

    #[test]
    fn lenient() {
        let mut messages = Vec::new();
        let dictionary = Dictionary::parse_leniently("g", b"a\nb = \xff\n= c\n", &mut messages);
        assert_eq!(dictionary.value("b"), Some("\u{fffd}"));
        assert_eq!(messages.len(), 2);
    }

    #[test]
    fn overrides() {
        let mut dictionary = parse("a = b").0.unwrap();
        dictionary.override_with("a_b = x y ").unwrap();
        dictionary.override_with("a=").unwrap();
        assert_eq!(dictionary.value("a_b"), Some("x y"));
        assert_eq!(dictionary.value("a"), Some(""));
        let mut error = |text: &str| dictionary.override_with(text).unwrap_err().to_string();
        assert_eq!(
            error("noequals"),
            "invalid \"-o noequals\" option value: missing '=' after attribute name"
        );
        assert_eq!(error("=x"), "invalid \"-o =x\" option value: missing attribute name");
        assert_eq!(
            error("a b"),
            "invalid \"-o a b\" option value: missing '=' after attribute name"
        );
    }
}
