//! inline tables: `inline:{key=value, {key = value with blanks}}`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Answer, OpenOptions, Table};
use crate::postfix::lists::{BraceError, inside_braces, is_space_char, split_list, trim};
use crate::postfix::message::Message;

/// Keys and values written in the table's own name.
#[derive(Clone, Debug)]
pub struct InlineTable {
    values: HashMap<String, String>,
    options: OpenOptions,
}

/// Why the text is no table; the messages are Postfix's, without the hint that follows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum Problem {
    #[error("bad syntax")]
    Syntax,
    #[error("empty table")]
    Empty,
    #[error("missing '=' after attribute name")]
    NoEqualSign,
    #[error("no key found; expected format: key = value")]
    NoKey,
    #[error(transparent)]
    Braces(#[from] BraceError),
}

/// The text in the table's name is no table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}: \"inline:{name}\"; need \"inline:{{name=value...}}\"")]
pub struct InlineError {
    problem: Problem,
    name: String,
}

impl InlineTable {
    /// Reads the part after `inline:`. Of two entries with one key the last counts.
    pub fn parse(name: &str, options: OpenOptions) -> Result<InlineTable, InlineError> {
        match entries(name, options) {
            Ok(values) => Ok(InlineTable { values, options }),
            Err(problem) => Err(InlineError { problem, name: name.into() }),
        }
    }
}

fn entries(name: &str, options: OpenOptions) -> Result<HashMap<String, String>, Problem> {
    let inside = inside_braces(name).map_err(|_| Problem::Syntax)?;
    if name == "{}" {
        return Err(Problem::Syntax);
    }
    let mut values = HashMap::new();
    for item in split_list(inside) {
        let (key, value) = if item.starts_with('{') {
            let entry = inside_braces(item)?;
            if entry.is_empty() {
                return Err(Problem::NoKey);
            }
            split_entry(entry)
        } else {
            split_entry(item)
        }
        .ok_or(Problem::NoEqualSign)?;
        values.insert(options.key(key).into_owned(), value.to_owned());
    }
    if values.is_empty() { Err(Problem::Empty) } else { Ok(values) }
}

/// A key is one word.
fn split_entry(entry: &str) -> Option<(&str, &str)> {
    let (key, value) = entry.split_once('=')?;
    let key = trim(key);
    (!key.contains(is_space_char)).then(|| (key, trim(value)))
}

impl Table for InlineTable {
    fn lookup(&self, key: &[u8], _warnings: &mut Vec<Message>) -> Answer<'_> {
        match self.values.get(self.options.asked(key).as_ref()) {
            Some(value) => Answer::Found(Cow::Borrowed(value)),
            None => Answer::NotFound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLD: OpenOptions = OpenOptions::FOLDED;

    #[test]
    fn entries_with_and_without_braces() {
        for (name, value) in [
            ("{a=1 b=2}", Some("1")),
            ("{ {a = 1 2}, b=3 }", Some("1 2")),
            ("{a=1, a=2}", Some("2")),
            ("{a==x}", Some("=x")),
            ("{A=1}", Some("1")),
            ("{a=}", Some("")),
            ("{ {a= } }", Some("")),
            ("{,a=1}", Some("1")),
            ("{ a={x,y} }", Some("{x,y}")),
            ("{ {a={ x y }} }", Some("{ x y }")),
            ("{=a}", None),
            ("{ {=a} }", None),
        ] {
            let table = InlineTable::parse(name, FOLD).unwrap();
            let found = match table.lookup(b"a", &mut Vec::new()) {
                Answer::Found(value) => Some(value.into_owned()),
                _ => None,
            };
            assert_eq!(found.as_deref(), value, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_text() {
        for (name, problem) in [
            ("{}", "bad syntax"),
            ("a=1", "bad syntax"),
            ("{a=1}x", "bad syntax"),
            ("{a=1", "bad syntax"),
            ("{ {a=1 }", "bad syntax"),
            ("{ }", "empty table"),
            ("{a}", "missing '=' after attribute name"),
            ("{a = 1}", "missing '=' after attribute name"),
            ("{a= b}", "missing '=' after attribute name"),
            ("{{a}}", "missing '=' after attribute name"),
            ("{ { a b = c } a=2}", "missing '=' after attribute name"),
            ("{ { a = b } {} }", "no key found; expected format: key = value"),
            ("{ {a=1}x }", "syntax error after '}' in \"{a=1}x\""),
        ] {
            assert_eq!(
                InlineTable::parse(name, FOLD).unwrap_err().to_string(),
                format!("{problem}: \"inline:{name}\"; need \"inline:{{name=value...}}\"")
            );
        }
    }

    #[test]
    fn keys_fold_only_when_asked() {
        let table = InlineTable::parse("{A=1}", OpenOptions::EXACT).unwrap();
        assert!(matches!(table.lookup(b"a", &mut Vec::new()), Answer::NotFound));
        assert!(matches!(table.lookup(b"A", &mut Vec::new()), Answer::Found(_)));
    }
}
