//! texthash tables: `key value` lines of a text file, held in memory.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Answer, Duplicates, OpenOptions, Table};
use crate::postfix::lists::{is_space_char, trim};
use crate::postfix::logical_lines::logical_lines;
use crate::postfix::message::Message;

/// Keys and values of a texthash file.
#[derive(Clone, Debug)]
pub struct TextHash {
    values: HashMap<String, String>,
    options: OpenOptions,
}

/// The file has a key twice where that is not tolerated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}, line {line}: duplicate entry: \"{key}\"")]
pub struct DuplicateEntry {
    file: String,
    line: usize,
    key: String,
}

impl TextHash {
    /// Reads a file; lines that are no entry are skipped with a warning. `name` is how the
    /// messages call the file.
    pub fn parse(
        name: &str,
        file: &[u8],
        options: OpenOptions,
        messages: &mut Vec<Message>,
    ) -> Result<TextHash, DuplicateEntry> {
        let lines = logical_lines(file);
        messages.extend(lines.warnings(name));
        let mut values = HashMap::new();
        for line in &lines.lines {
            let number = line.first_line;
            let text = line.to_text();
            let mut warn = |problem: &str| {
                messages.push(Message::warning(format!("{name}, line {number}: {problem}")));
            };
            let text = trim(&text);
            let Some((key, value)) = split_entry(text) else {
                warn(&format!("unbalanced '\"' in '{text}' -- ignoring this line"));
                continue;
            };
            if key.is_empty() || value.is_empty() {
                warn("expected format: key whitespace value -- ignoring this line");
                continue;
            }
            if key.ends_with(':') {
                warn("record is in \"key: value\" format; is this an alias file?");
            }
            match values.entry(options.key(key).into_owned()) {
                Entry::Vacant(entry) => {
                    entry.insert(value.to_owned());
                }
                Entry::Occupied(_) => {
                    let duplicate =
                        DuplicateEntry { file: name.into(), line: number, key: key.into() };
                    match options.duplicates {
                        Duplicates::Refuse => return Err(duplicate),
                        Duplicates::Warn => messages.push(Message::warning(duplicate.to_string())),
                    }
                }
            }
        }
        Ok(TextHash { values, options })
    }
}

impl Table for TextHash {
    fn lookup(&self, key: &[u8], _warnings: &mut Vec<Message>) -> Answer<'_> {
        match self.values.get(self.options.asked(key).as_ref()) {
            Some(value) => Answer::Found(Cow::Borrowed(value)),
            None => Answer::NotFound,
        }
    }
}

/// Splits a line at the first whitespace outside quotes; quotes and backslashes stay in
/// the key. `None` if a quote is not closed.
fn split_entry(line: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    let end = line.find(|c| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ => return !quoted && is_space_char(c),
        }
        false
    });
    let (key, value) = line.split_at_checked(end.unwrap_or(line.len()))?;
    (!quoted).then(|| (key, trim(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLD: OpenOptions = OpenOptions::FOLDED;

    fn read(text: &str, options: OpenOptions) -> (Result<TextHash, DuplicateEntry>, Vec<String>) {
        let mut messages = Vec::new();
        let table = TextHash::parse("F", text.as_bytes(), options, &mut messages);
        (table, messages.into_iter().map(|message| message.text).collect())
    }

    fn query(table: &TextHash, key: &str) -> Option<String> {
        match table.lookup(key.as_bytes(), &mut Vec::new()) {
            Answer::Found(value) => Some(value.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn keys_values_and_folding() {
        let text = "key  value one\n\"quoted key\" v2\nKEY2 v3\nk\\ ey v4\n\
                    k6\ttab value  \n cont\ncolon: v7\n\"a\"b\"c d\"  v8\r\n";
        let (table, messages) = read(text, FOLD);
        let table = table.unwrap();
        for (key, value) in [
            ("key", Some("value one")),
            ("KEY", Some("value one")),
            ("\"quoted key\"", Some("v2")),
            ("quoted key", None),
            ("key2", Some("v3")),
            ("k\\ ey", Some("v4")),
            ("k6", Some("tab value   cont")),
            ("colon:", Some("v7")),
            ("colon", None),
            ("\"a\"b\"c d\"", Some("v8")),
        ] {
            assert_eq!(query(&table, key).as_deref(), value, "{key}");
        }
        assert_eq!(
            messages,
            ["F, line 7: record is in \"key: value\" format; is this an alias file?"]
        );
    }

    #[test]
    fn without_folding_the_file_counts_as_written() {
        let options = OpenOptions { fold_keys: false, ..FOLD };
        let table = read("KEY2 v3\nkey2 v4\n", options).0.unwrap();
        assert_eq!(query(&table, "KEY2").as_deref(), Some("v3"));
        assert_eq!(query(&table, "key2").as_deref(), Some("v4"));
        assert_eq!(query(&table, "Key2"), None);
    }

    #[test]
    fn lines_that_are_no_entries() {
        let (table, messages) = read("onlykey\n\n\"unbal value x\n\\ v\nkey\"x y\na b\n", FOLD);
        assert_eq!(
            messages,
            [
                "F, line 1: expected format: key whitespace value -- ignoring this line",
                "F, line 3: unbalanced '\"' in '\"unbal value x' -- ignoring this line",
                "F, line 4: expected format: key whitespace value -- ignoring this line",
                "F, line 5: unbalanced '\"' in 'key\"x y' -- ignoring this line",
            ]
        );
        assert_eq!(query(&table.unwrap(), "a").as_deref(), Some("b"));
    }

    #[test]
    fn duplicates() {
        let text = "a 1\nb 2\nA 3\n";
        let (table, _) = read(text, FOLD);
        assert_eq!(table.unwrap_err().to_string(), "F, line 3: duplicate entry: \"A\"");
        let (table, messages) = read(text, OpenOptions { duplicates: Duplicates::Warn, ..FOLD });
        assert_eq!(messages, ["F, line 3: duplicate entry: \"A\""]);
        assert_eq!(query(&table.unwrap(), "a").as_deref(), Some("1"));
    }
}
