//! cdb tables: a constant database that postmap(1) has made, held in memory as it is.
//!
//! The file begins with 256 pairs of numbers, place and length of as many hash tables; behind
//! them are the records, and then the tables, whose slots are pairs of a hash and the place of
//! a record. All numbers have 32 bits and the small end first.

use std::borrow::Cow;

use super::value::{c_string, value};
use super::{Answer, OpenOptions, Table};
use crate::postfix::message::Message;

/// The 256 pairs at the start, bytes.
const HEADER: usize = 2048;
/// A pair of numbers, bytes.
const PAIR: usize = 8;

/// A database file.
#[derive(Clone)]
pub struct CdbTable {
    /// How messages call the file.
    path: String,
    file: Box<[u8]>,
    options: OpenOptions,
}

/// The file is too short to be a database; the message is Postfix's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("dict_cdbq_open: unable to init {0}: Protocol error")]
pub struct CdbError(String);

/// A number in the file points out of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Damaged;

impl CdbTable {
    /// Takes the content of a file; `path` is how messages call it. Only a look-up finds what
    /// is wrong inside.
    pub fn parse(path: &str, file: &[u8], options: OpenOptions) -> Result<CdbTable, CdbError> {
        if file.len() < HEADER {
            return Err(CdbError(path.into()));
        }
        Ok(CdbTable { path: path.into(), file: file.into(), options })
    }

    /// The value of a key that stands there exactly like this.
    fn find(&self, key: &[u8]) -> Result<Option<&[u8]>, Damaged> {
        let hash = hash(key);
        let (start, slots) = self.pair(index(hash & 0xff) * PAIR)?;
        let (start, slots) = (index(start), index(slots));
        // Else a damaged number would have us look at the same bytes for long.
        if slots > self.file.len() / PAIR {
            return Err(Damaged);
        }
        let Some(first) = index(hash >> 8).checked_rem(slots) else { return Ok(None) };
        for slot in (first..slots).chain(0..first) {
            let (its_hash, place) = self.pair(start.saturating_add(slot * PAIR))?;
            if place == 0 {
                return Ok(None);
            }
            if its_hash == hash
                && let Some(value) = self.record(index(place), key)?
            {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The value of a record, if it is this key's.
    fn record(&self, place: usize, key: &[u8]) -> Result<Option<&[u8]>, Damaged> {
        let (key_length, length) = self.pair(place)?;
        let start = place.saturating_add(PAIR);
        let middle = start.saturating_add(index(key_length));
        if self.file.get(start..middle).ok_or(Damaged)? != key {
            return Ok(None);
        }
        self.file.get(middle..middle.saturating_add(index(length))).map(Some).ok_or(Damaged)
    }

    fn pair(&self, place: usize) -> Result<(u32, u32), Damaged> {
        match self.file.get(place..place.saturating_add(PAIR)) {
            Some(&[a, b, c, d, e, f, g, h]) => {
                Ok((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
            }
            _ => Err(Damaged),
        }
    }
}

impl Table for CdbTable {
    fn lookup(&self, key: &[u8], warnings: &mut Vec<Message>) -> Answer<'_> {
        let Some(stored) = self.options.stored(key) else { return Answer::NotFound };
        // Some programs store the NUL that ends a C string, others do not.
        let with_nul = [stored.as_ref(), b"\0"].concat();
        let found = match self.find(&with_nul) {
            Ok(None) => self.find(&stored),
            found => found,
        };
        match found {
            Ok(Some(bytes)) => {
                let table = format_args!("cdb:{}", self.path);
                value(table, key, Cow::Borrowed(c_string(bytes)), self.options, warnings)
            }
            Ok(None) => Answer::NotFound,
            Err(Damaged) => {
                let text = format!("error reading {}: Protocol error", self.path);
                warnings.push(Message::warning(text));
                Answer::Failed
            }
        }
    }
}

impl std::fmt::Debug for CdbTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CdbTable")
            .field("path", &self.path)
            .field("bytes", &self.file.len())
            .field("options", &self.options)
            .finish()
    }
}

fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33) ^ u32::from(*byte))
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database as cdbmake makes it.
    fn made(records: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut file = vec![0; HEADER];
        let mut tables: Vec<Vec<(u32, u32)>> = vec![Vec::new(); 256];
        let number = |number: usize| u32::try_from(number).unwrap();
        for (key, value) in records {
            let hash = hash(key);
            tables[index(hash & 0xff)].push((hash, number(file.len())));
            for length in [key.len(), value.len()] {
                file.extend(number(length).to_le_bytes());
            }
            file.extend([*key, *value].concat());
        }
        for (which, table) in tables.iter().enumerate() {
            let mut slots = vec![(0, 0); table.len() * 2];
            for (hash, place) in table {
                let mut slot = index(hash >> 8) % slots.len();
                while slots[slot].1 != 0 {
                    slot = (slot + 1) % slots.len();
                }
                slots[slot] = (*hash, *place);
            }
            let header = [number(file.len()), number(slots.len())];
            let bytes: Vec<u8> = header.iter().flat_map(|number| number.to_le_bytes()).collect();
            file[which * PAIR..][..PAIR].copy_from_slice(&bytes);
            for (hash, place) in slots {
                file.extend(hash.to_le_bytes());
                file.extend(place.to_le_bytes());
            }
        }
        file
    }

    fn open(file: &[u8], options: OpenOptions) -> CdbTable {
        CdbTable::parse("/x.cdb", file, options).unwrap()
    }

    fn ask(table: &CdbTable, key: &[u8]) -> Option<String> {
        let mut warnings = Vec::new();
        let answer = table.lookup(key, &mut warnings);
        assert_eq!(warnings, []);
        match answer {
            Answer::Found(value) => Some(value.into_owned()),
            Answer::NotFound => None,
            Answer::Failed | Answer::Asked(_) => panic!("fails"),
        }
    }

    #[test]
    fn keys_with_and_without_nul() {
        let file = made(&[(b"a", b"1"), (b"b\0", b"2\0"), (b"B", b"big"), (b"", b"none")]);
        let table = open(&file, OpenOptions::FOLDED);
        for (key, expected) in [
            (&b"a"[..], Some("1")),
            (b"A", Some("1")),
            (b"B", Some("2")),
            (b"a\0b", Some("1")),
            (b"", Some("none")),
            (b"c", None),
            (b"\xff", None),
        ] {
            assert_eq!(ask(&table, key).as_deref(), expected, "{}", key.escape_ascii());
        }
        let exact = open(&file, OpenOptions::EXACT);
        assert_eq!(ask(&exact, b"B").as_deref(), Some("big"));
        assert_eq!(ask(&exact, b"A"), None);
    }

    #[test]
    fn many_keys() {
        let keys: Vec<String> = (0..3000).map(|number| format!("key{number}")).collect();
        let records: Vec<(&[u8], &[u8])> =
            keys.iter().map(|key| (key.as_bytes(), key.as_bytes())).collect();
        let table = open(&made(&records), OpenOptions::FOLDED);
        for key in &keys {
            assert_eq!(ask(&table, key.as_bytes()).as_ref(), Some(key));
        }
        assert_eq!(ask(&table, b"key3000"), None);
    }

    #[test]
    fn values_that_are_not_utf8() {
        let file = made(&[(b"a", b"\xff"), (b"\xfe", b"bytes")]);
        let mut warnings = Vec::new();
        let table = open(&file, OpenOptions::FOLDED);
        assert_eq!(table.lookup(b"a", &mut warnings), Answer::Failed);
        assert_eq!(warnings.len(), 1);
        let lenient = open(&file, OpenOptions::COMMANDS);
        assert_eq!(ask(&lenient, b"a").as_deref(), Some("?"));
        assert_eq!(ask(&lenient, b"\xfe").as_deref(), Some("bytes"));
    }

    #[test]
    fn damage() {
        let error = CdbTable::parse("/x.cdb", &[0; 2047], OpenOptions::FOLDED).unwrap_err();
        let text = "dict_cdbq_open: unable to init /x.cdb: Protocol error";
        assert_eq!(error.to_string(), text);
        assert_eq!(ask(&open(&[0; 2048], OpenOptions::FOLDED), b"a"), None);

        let file = made(&[(b"a", b"1"), (b"b", b"2")]);
        let mut broken = vec![vec![0xff; 4096], [vec![0; 2048], vec![0xff; 9]].concat()];
        broken.extend((HEADER..file.len()).map(|end| file[..end].to_vec()));
        let mut failures = 0;
        for file in &broken {
            let table = open(file, OpenOptions::FOLDED);
            let mut warnings = Vec::new();
            if table.lookup(b"a", &mut warnings) == Answer::Failed {
                failures += 1;
                let text = "error reading /x.cdb: Protocol error";
                assert_eq!(warnings, [Message::warning(text)]);
            }
        }
        assert!(failures > 10, "{failures}");
    }
}
