//! Tables whose answer does not depend on the key: static, internal, fail, randmap, and the
//! stand-in for a table that cannot be used.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};

use super::{Answer, Table};
use crate::postfix::lists::{BraceError, inside_braces, split_list};
use crate::postfix::message::Message;

/// `static:text`: the same value for every key.
#[derive(Clone, Debug)]
pub struct StaticTable {
    value: String,
}

/// The braces of a static table do not enclose its value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("bad static:name syntax: {0}")]
pub struct StaticError(#[from] BraceError);

impl StaticTable {
    /// Reads the part after `static:`; braces are optional and allow blanks in a list.
    pub fn parse(name: &str) -> Result<StaticTable, StaticError> {
        let value = if name.starts_with('{') { inside_braces(name)? } else { name };
        Ok(StaticTable { value: value.to_owned() })
    }
}

impl Table for StaticTable {
    fn lookup(&self, _key: &[u8], _warnings: &mut Vec<Message>) -> Answer<'_> {
        Answer::Found(Cow::Borrowed(&self.value))
    }
}

/// `internal:name`: nothing is in it, for nobody can put anything there.
#[derive(Clone, Debug)]
pub struct EmptyTable;

impl Table for EmptyTable {
    fn lookup(&self, _key: &[u8], _warnings: &mut Vec<Message>) -> Answer<'_> {
        Answer::NotFound
    }
}

/// `fail:name`: every lookup fails, silently.
#[derive(Clone, Debug)]
pub struct FailTable;

impl Table for FailTable {
    fn lookup(&self, _key: &[u8], _warnings: &mut Vec<Message>) -> Answer<'_> {
        Answer::Failed
    }
}

/// `randmap:{value, ...}`: one of the values, chosen anew each time.
#[derive(Clone, Debug)]
pub struct RandomTable {
    values: Vec<String>,
}

/// The values of a randmap are not enclosed in braces, or there are none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("bad syntax: \"randmap:{0}\"; need \"randmap:{{value...}}\"")]
pub struct RandomError(String);

impl RandomTable {
    /// Reads the part after `randmap:`.
    pub fn parse(name: &str) -> Result<RandomTable, RandomError> {
        let values: Vec<String> = inside_braces(name)
            .map(|inside| split_list(inside).map(Into::into).collect())
            .unwrap_or_default();
        if values.is_empty() { Err(RandomError(name.into())) } else { Ok(RandomTable { values }) }
    }
}

impl Table for RandomTable {
    fn lookup(&self, _key: &[u8], _warnings: &mut Vec<Message>) -> Answer<'_> {
        // The standard library keys each hasher at random; nobody's safety hangs on it.
        let random = RandomState::new().build_hasher().finish();
        let count = u64::try_from(self.values.len()).unwrap_or(1).max(1);
        match usize::try_from(random % count).ok().and_then(|index| self.values.get(index)) {
            Some(value) => Answer::Found(Cow::Borrowed(value)),
            None => Answer::NotFound,
        }
    }
}

/// Stands in for a table that could not be opened: every lookup fails and says why.
#[derive(Clone, Debug)]
pub struct Surrogate {
    warning: Message,
}

impl Surrogate {
    /// `table` is the table as written, `type:name`.
    pub fn new(table: &str, reason: &str) -> Surrogate {
        Surrogate { warning: Message::warning(format!("{table} is unavailable. {reason}")) }
    }
}

impl Table for Surrogate {
    fn lookup(&self, _key: &[u8], warnings: &mut Vec<Message>) -> Answer<'_> {
        warnings.push(self.warning.clone());
        Answer::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(table: &dyn Table) -> Option<String> {
        match table.lookup(b"key", &mut Vec::new()) {
            Answer::Found(value) => Some(value.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn static_values() {
        for (name, expected) in
            [("x", "x"), (" x ", " x "), ("{ x y }", "x y"), ("{}", ""), ("{ {x} y}", "{x} y")]
        {
            assert_eq!(value(&StaticTable::parse(name).unwrap()).as_deref(), Some(expected));
        }
        let error = |name| StaticTable::parse(name).unwrap_err().to_string();
        assert_eq!(error("{x"), "bad static:name syntax: missing '}' in \"{x\"");
        assert_eq!(error("{x}y"), "bad static:name syntax: syntax error after '}' in \"{x}y\"");
    }

    #[test]
    fn random_values_all_come_up() {
        let table = RandomTable::parse("{a,,b {c d}}").unwrap();
        let mut seen: Vec<String> = (0..300).filter_map(|_| value(&table)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a", "b", "{c d}"]);
        for name in ["", "{}", "a", "{a", "{a}b"] {
            assert_eq!(
                RandomTable::parse(name).unwrap_err().to_string(),
                format!("bad syntax: \"randmap:{name}\"; need \"randmap:{{value...}}\"")
            );
        }
    }

    #[test]
    fn failures() {
        let mut warnings = Vec::new();
        assert!(matches!(FailTable.lookup(b"k", &mut warnings), Answer::Failed));
        assert!(warnings.is_empty());
        let table = Surrogate::new("cidr:/x", "open /x: No such file or directory");
        assert!(matches!(table.lookup(b"k", &mut warnings), Answer::Failed));
        assert_eq!(
            warnings,
            [Message::warning("cidr:/x is unavailable. open /x: No such file or directory")]
        );
    }
}
