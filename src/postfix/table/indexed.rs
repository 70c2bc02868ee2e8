//! hash, btree and lmdb tables: a snapshot of all that is in the database, held in memory.
//!
//! The database itself stays outside the jail. Somebody there writes its content as lines,
//! `key TAB value LF`, as postmap(1) does with its option `-s`; this is what they are read by.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use super::regexp::without_broken;
use super::{Answer, OpenOptions, Table};
use crate::postfix::message::Message;

/// The types of such tables.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IndexKind {
    /// Berkeley DB, hashed.
    Hash,
    /// Berkeley DB, sorted.
    Btree,
    /// LMDB.
    Lmdb,
}

impl IndexKind {
    /// The type with this name.
    pub fn named(name: &str) -> Option<IndexKind> {
        [IndexKind::Hash, IndexKind::Btree, IndexKind::Lmdb]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// What it is called in main.cf.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Hash => "hash",
            IndexKind::Btree => "btree",
            IndexKind::Lmdb => "lmdb",
        }
    }

    /// What is added to a table's name for its file.
    pub fn suffix(self) -> &'static str {
        match self {
            IndexKind::Hash | IndexKind::Btree => ".db",
            IndexKind::Lmdb => ".lmdb",
        }
    }
}

/// A table of such a type.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Index {
    /// Its type.
    pub kind: IndexKind,
    /// Its name without the type.
    pub name: String,
}

impl Index {
    /// The database.
    pub fn file(&self) -> PathBuf {
        format!("{}{}", self.name, self.kind.suffix()).into()
    }

    /// How Postfix's warnings call it.
    fn warned_of(&self) -> String {
        match self.kind {
            IndexKind::Hash | IndexKind::Btree => format!("{self}{}", self.kind.suffix()),
            IndexKind::Lmdb => self.to_string(),
        }
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.name)
    }
}

/// Keys and values of a database.
#[derive(Clone, Debug)]
pub struct IndexedTable {
    index: Index,
    options: OpenOptions,
    /// The lines, as they came.
    text: Vec<u8>,
    /// Where they are, in the order of their keys.
    entries: Vec<Entry>,
}

/// A line of the text.
#[derive(Clone, Debug)]
struct Entry {
    key: Range<usize>,
    /// Begins behind the TAB.
    value_end: usize,
}

impl IndexedTable {
    /// Reads a snapshot, lines of key, TAB and value. Keys are as they are in the database:
    /// only those that are asked for are folded.
    ///
    /// A TAB between double quotes is part of the key, as postmap(1) reads them. A line
    /// without a TAB is a key without a value; what comes behind the last line end was cut
    /// off and is no line.
    pub fn parse(index: Index, text: Vec<u8>, options: OpenOptions) -> IndexedTable {
        let mut entries = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let next = start + line.len();
            if let Some(line) = line.strip_suffix(b"\n") {
                let length = key_length(line);
                entries.push(Entry { key: start..start + length, value_end: start + line.len() });
            }
            start = next;
        }
        // Of a key that is there twice, which no database of ours has, the first counts.
        entries.sort_by(|a, b| key_of(&text, a).cmp(key_of(&text, b)));
        entries.dedup_by(|b, a| key_of(&text, a) == key_of(&text, b));
        IndexedTable { index, options, text, entries }
    }

    /// An entry as a line of a snapshot; `None` if it would not be read as what it is. No
    /// entry that postmap(1) makes of a text is like that.
    pub fn line(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let line = [key, b"\t", value].concat();
        let readable = key_length(&line) == key.len() && !line.contains(&b'\n');
        readable.then(|| [&line[..], b"\n"].concat())
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.entries.binary_search_by(|entry| key_of(&self.text, entry).cmp(key));
        let entry = self.entries.get(found.ok()?)?;
        Some(self.text.get(entry.key.end + 1..entry.value_end).unwrap_or_default())
    }
}

impl Table for IndexedTable {
    fn lookup(&self, key: &[u8], warnings: &mut Vec<Message>) -> Answer<'_> {
        let asked = self.options.asked(key);
        let Some(value) = self.find(asked.as_bytes()) else { return Answer::NotFound };
        let Ok(text) = std::str::from_utf8(value) else {
            let shown = without_broken(value);
            if !self.options.utf8_values {
                // As it will be logged, if it is.
                return Answer::Found(Cow::Owned(shown));
            }
            warnings.push(Message::warning(format!(
                "{}: key \"{asked}\": non-UTF-8 value \"{shown}\": malformed UTF-8 or invalid \
                 codepoint",
                self.index.warned_of()
            )));
            return Answer::Failed;
        };
        Answer::Found(Cow::Borrowed(text))
    }
}

fn key_of<'a>(text: &'a [u8], entry: &Entry) -> &'a [u8] {
    text.get(entry.key.clone()).unwrap_or_default()
}

/// Where the key of a line ends: at the first TAB outside of quotes; at the first of all if the
/// quotes are not closed before one.
fn key_length(line: &[u8]) -> usize {
    let first = line.iter().position(|byte| *byte == b'\t').unwrap_or(line.len());
    let (mut quoted, mut escaped) = (false, false);
    let outside = line.iter().position(|byte| {
        match byte {
            _ if escaped => {
                escaped = false;
                return false;
            }
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'\t' => return !quoted,
            _ => {}
        }
        false
    });
    outside.unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(spec: &str) -> Index {
        let (kind, name) = spec.split_once(':').unwrap();
        Index { kind: IndexKind::named(kind).unwrap(), name: name.into() }
    }

    fn table(text: &[u8], options: OpenOptions) -> IndexedTable {
        IndexedTable::parse(index("hash:/x"), text.to_vec(), options)
    }

    fn find(table: &IndexedTable, key: &str) -> Option<String> {
        let mut warnings = Vec::new();
        let answer = table.lookup(key.as_bytes(), &mut warnings);
        assert_eq!(warnings, []);
        match answer {
            Answer::Found(value) => Some(value.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn keys_and_values() {
        let text = b"b\tx\ty \nk2\tv2\nkey\tValue one\nUPPER\tas written\n\"a\tb\"\ttab\n\
                     say\\\tw\n\"open\tquote\nempty\t\nbare\nkey\tagain\ncut\toff";
        let folded = table(text, OpenOptions::FOLDED);
        assert_eq!(folded.len(), 9);
        for (key, value) in [
            ("b", Some("x\ty ")),
            ("B", Some("x\ty ")),
            ("k2", Some("v2")),
            ("key", Some("Value one")),
            ("UPPER", None),
            ("upper", None),
            ("\"a\tb\"", Some("tab")),
            ("\"a", None),
            ("say\\", Some("w")),
            ("\"open", Some("quote")),
            ("empty", Some("")),
            ("bare", Some("")),
            ("", None),
            ("cut", None),
        ] {
            assert_eq!(find(&folded, key).as_deref(), value, "{key}");
        }
        let exact = table(text, OpenOptions::EXACT);
        assert_eq!(find(&exact, "UPPER").as_deref(), Some("as written"));
        assert_eq!(find(&exact, "KEY"), None);
        assert!(table(b"", OpenOptions::EXACT).is_empty());
    }

    #[test]
    fn entries_as_lines() {
        let line = IndexedTable::line;
        assert_eq!(line(b"key", b"a\tb").unwrap(), b"key\ta\tb\n");
        assert_eq!(line(b"\"a\tb\"", b"x").unwrap(), b"\"a\tb\"\tx\n");
        assert_eq!(line(b"", b"").unwrap(), b"\t\n");
        for (key, value) in [("a\tb", "x"), ("\"a", "\"\tb"), ("a\n", "x"), ("a", "x\ny")] {
            assert_eq!(line(key.as_bytes(), value.as_bytes()), None, "{key:?} {value:?}");
        }
    }

    #[test]
    fn values_that_are_not_utf_8() {
        let bytes = b"key\tcaf\xe9\nK\xe9y\tv\n";
        for (spec, name) in [("hash:/x", "hash:/x.db"), ("lmdb:/x", "lmdb:/x")] {
            let table = IndexedTable::parse(index(spec), bytes.to_vec(), OpenOptions::FOLDED);
            let mut warnings = Vec::new();
            assert_eq!(table.lookup(b"Key", &mut warnings), Answer::Failed);
            let text = format!(
                "{name}: key \"key\": non-UTF-8 value \"caf?\": malformed UTF-8 or invalid \
                 codepoint"
            );
            assert_eq!(warnings, [Message::warning(text)]);
            assert_eq!(table.lookup(b"K\xe9y", &mut Vec::new()), Answer::NotFound);
        }
        let filter = table(bytes, OpenOptions::COMMANDS);
        assert_eq!(find(&filter, "key").as_deref(), Some("caf?"));
    }

    #[test]
    fn files() {
        for (spec, file) in [("hash:/a", "/a.db"), ("btree:b", "b.db"), ("lmdb:/c.x", "/c.x.lmdb")]
        {
            assert_eq!(index(spec).to_string(), spec);
            assert_eq!(index(spec).file(), PathBuf::from(file));
        }
        assert_eq!(IndexKind::named("cdb"), None);
    }
}
