//! Notes: a handful of short texts that outlive the process, kept beside the verdicts.
//!
//! A note is a row of `meta` with a prefix of its own before its name, so that no name can
//! be that of another row. The number of names is bounded three times: of those that wait
//! for the disk, of those in the file, and of those that are read from a file. The first two
//! bounds cost the newest name only; a name that is known can always have a new text.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// Names, waiting or in the file.
const NAMES_LIMIT: usize = 256;
/// Bytes of a name.
const NAME_LIMIT: usize = 512;
/// Bytes of a text.
const TEXT_LIMIT: usize = 4_096;

/// What precedes a name in `meta`.
const PREFIX: &str = "note:";
/// The first string behind all that begin with [`PREFIX`].
const BEHIND: &str = "note;";

const UPSERT: &str = "
    INSERT INTO meta (name, value) SELECT ?1, ?2
    WHERE EXISTS (SELECT 1 FROM meta WHERE name = ?1)
        OR (SELECT count(*) FROM meta WHERE name >= ?3 AND name < ?4) < ?5
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// One text to write.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// Its place in the order of all notes of this process; the first is 1.
    seq: u64,
    /// What it is kept under.
    name: Arc<str>,
    /// The text.
    text: Arc<str>,
}

impl Note {
    fn fits(name: &str, text: &str) -> bool {
        name.len() <= NAME_LIMIT && text.len() <= TEXT_LIMIT
    }
}

/// The notes that are not written yet, the latest of each name.
#[derive(Debug, Default)]
pub(super) struct Notes {
    waiting: Vec<Note>,
    /// How many there have been.
    count: u64,
}

impl Notes {
    /// Puts `text` in the place of an unwritten one of that name. Returns whether there was
    /// room for it, in its length and for its name.
    pub fn put(&mut self, name: Arc<str>, text: Arc<str>) -> bool {
        if !Note::fits(&name, &text) {
            return false;
        }
        let seq = self.count.saturating_add(1);
        let full = self.waiting.len() >= NAMES_LIMIT;
        match self.waiting.iter_mut().find(|note| note.name == name) {
            Some(note) => *note = Note { seq, name, text },
            None if full => return false,
            None => self.waiting.push(Note { seq, name, text }),
        }
        self.count = seq;
        true
    }

    /// Copies of all that wait. They stay until [`Notes::settle`].
    pub fn all(&self) -> Vec<Note> {
        self.waiting.clone()
    }

    /// `written`, which was everything when it was copied, is committed. What came after
    /// that stays.
    pub fn settle(&mut self, written: &[Note]) {
        let last = written.iter().map(|note| note.seq).max().unwrap_or(0);
        self.waiting.retain(|note| note.seq > last);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.waiting = Vec::new();
    }
}

/// Writes `notes`, inside of a transaction of the caller. A new name for which the file has
/// no room is left out.
pub(super) fn write(connection: &Connection, notes: &[Note]) -> rusqlite::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let mut upsert = connection.prepare(UPSERT)?;
    let limit = i64::try_from(NAMES_LIMIT).unwrap_or(i64::MAX);
    for note in notes {
        let name = format!("{PREFIX}{}", note.name);
        upsert.execute((name, &*note.text, PREFIX, BEHIND, limit))?;
    }
    Ok(())
}

/// The notes in the file with their names, in the order of these. What cannot be a note (no
/// text, not UTF-8, too long) is left out, and so are names beyond the number that is
/// written.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection
        .prepare("SELECT name, value FROM meta WHERE name >= ?1 AND name < ?2 ORDER BY name")?;
    let mut rows = statement.query([PREFIX, BEHIND])?;
    let mut notes = Vec::new();
    while notes.len() < NAMES_LIMIT
        && let Some(row) = rows.next()?
    {
        let name = text_of(row.get_ref(0)?).and_then(|name| name.strip_prefix(PREFIX));
        if let (Some(name), Some(text)) = (name, text_of(row.get_ref(1)?))
            && Note::fits(name, text)
        {
            notes.push((name.to_owned(), text.to_owned()));
        }
    }
    Ok(notes)
}

fn text_of(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::sqlite::{OpenOptions, get_meta, meta, open, set_meta};
    use crate::cache::test_dir::TestDir;

    /// A writing connection of a fresh file.
    fn connection(dir: &TestDir) -> Connection {
        open(&dir.file("c"), &OpenOptions::default()).unwrap().writer
    }

    fn waiting(pairs: &[(&str, &str)]) -> Vec<Note> {
        let mut notes = Notes::default();
        for (name, text) in pairs {
            assert!(notes.put((*name).into(), (*text).into()));
        }
        notes.all()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn texts(notes: &Notes) -> Vec<String> {
        notes.all().iter().map(|note| format!("{}={}", note.name, note.text)).collect()
    }

    #[test]
    fn the_latest_text_of_a_name_waits() {
        let mut notes = Notes::default();
        for (name, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
            assert!(notes.put(name.into(), text.into()));
        }
        assert_eq!(texts(&notes), ["a=3", "b=2"]);
    }

    #[test]
    fn a_text_that_came_during_the_commit_stays() {
        let mut notes = Notes::default();
        for (name, text) in [("a", "1"), ("b", "1"), ("a", "2")] {
            notes.put(name.into(), text.into());
        }
        let written = notes.all();
        notes.put("a".into(), "3".into());
        notes.settle(&written);
        assert_eq!(texts(&notes), ["a=3"]);
        notes.settle(&notes.all());
        assert_eq!(notes.len(), 0);
    }

    #[test]
    fn without_room_only_the_newest_name_is_lost() {
        let mut notes = Notes::default();
        for n in 0..NAMES_LIMIT {
            assert!(notes.put(n.to_string().into(), "old".into()));
        }
        assert!(!notes.put("one more".into(), "old".into()));
        assert!(notes.put("7".into(), "new".into()), "a known name");
        assert_eq!(notes.len(), NAMES_LIMIT);
        assert_eq!(texts(&notes)[6..8], ["6=old", "7=new"]);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let mut notes = Notes::default();
        let (name, text) = ("n".repeat(NAME_LIMIT), "t".repeat(TEXT_LIMIT));
        assert!(!notes.put(format!("{name}n").into(), "".into()));
        assert!(!notes.put("".into(), format!("{text}t").into()));
        assert_eq!(notes.len(), 0);
        assert!(notes.put(name.as_str().into(), text.as_str().into()));
        let dir = TestDir::new();
        let connection = connection(&dir);
        write(&connection, &notes.all()).unwrap();
        assert_eq!(read(&connection).unwrap(), [(name, text)], "the longest is read, too");
    }

    #[test]
    fn notes_are_read_in_the_order_of_their_names() {
        let dir = TestDir::new();
        let connection = connection(&dir);
        assert_eq!(read(&connection).unwrap(), []);
        write(&connection, &waiting(&[("b", "1"), ("a", "2"), ("é", "ü\0\n"), ("", "")])).unwrap();
        write(&connection, &waiting(&[("b", "3")])).unwrap();
        let expected = owned(&[("", ""), ("a", "2"), ("b", "3"), ("é", "ü\0\n")]);
        assert_eq!(read(&connection).unwrap(), expected);
    }

    #[test]
    fn notes_and_other_rows_do_not_meet() {
        let dir = TestDir::new();
        let connection = connection(&dir);
        set_meta(&connection, meta::SYNC, 77).unwrap();
        for neighbour in ["note", "note9", "note;", "notes"] {
            let sql = "INSERT INTO meta (name, value) VALUES (?1, 'another row')";
            connection.execute(sql, [neighbour]).unwrap();
        }
        write(&connection, &waiting(&[(meta::SYNC, "mine")])).unwrap();
        assert_eq!(read(&connection).unwrap(), owned(&[(meta::SYNC, "mine")]));
        assert_eq!(get_meta(&connection, meta::SYNC).unwrap(), Some(77));
    }

    #[test]
    fn a_full_file_takes_new_texts_but_no_new_names() {
        let dir = TestDir::new();
        let connection = connection(&dir);
        let names: Vec<String> = (0..NAMES_LIMIT).map(|n| format!("{n:03}")).collect();
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "old")).collect();
        write(&connection, &waiting(&pairs)).unwrap();
        write(&connection, &waiting(&[("000 and more", "new"), ("255", "new")])).unwrap();
        let notes = read(&connection).unwrap();
        assert_eq!(notes.len(), NAMES_LIMIT);
        assert_eq!(notes[..2], owned(&[("000", "old"), ("001", "old")]));
        assert_eq!(notes[254..], owned(&[("254", "old"), ("255", "new")]));
    }

    #[test]
    fn what_another_program_wrote_is_left_out_and_bounded() {
        let dir = TestDir::new();
        let connection = connection(&dir);
        write(&connection, &waiting(&[("b", "good"), ("z", "good")])).unwrap();
        let long = "x".repeat(NAME_LIMIT + 1);
        connection
            .execute_batch(&format!(
                "INSERT INTO meta (name, value) VALUES ('note:{long}', 'long name'), \
                 ('note:c', 5), ('note:d', 1.5), ('note:e', NULL), ('note:f', x'61'), \
                 ('note:g', CAST(x'ff' AS TEXT)), (CAST(x'6e6f74653aff' AS TEXT), 'name'), \
                 ('note:h', CAST(zeroblob({}) AS TEXT))",
                TEXT_LIMIT + 1
            ))
            .unwrap();
        assert_eq!(read(&connection).unwrap(), owned(&[("b", "good"), ("z", "good")]));
        write(&connection, &waiting(&[("c", "text")])).unwrap();
        let expected = owned(&[("b", "good"), ("c", "text"), ("z", "good")]);
        assert_eq!(read(&connection).unwrap(), expected, "a note takes the place of the number");
        let many = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT 2000)
                    INSERT INTO meta (name, value) SELECT 'note:m' || i, 'x' FROM n";
        connection.execute_batch(many).unwrap();
        assert_eq!(read(&connection).unwrap().len(), NAMES_LIMIT);
    }
}
