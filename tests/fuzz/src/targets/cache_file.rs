//! The file of the cache, whatever is in it: it is used, set aside, or refused with a reason, and
//! what is stored then is found. Rows that another program wrote mean what their integers say.
//!
//! Input: what kind of damage. 0: any file; 1: changes to a good file, each an offset (two bytes)
//! and a byte; 2: a good file that is cut off, with any log beside it; 3: rows, each a table, a
//! name or address behind its length, and five values behind their types.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use gatepost::cache::record::{Key, from_columns};
use gatepost::cache::sqlite::{OpenError, OpenOptions, open_or_set_aside};
use gatepost::cache::{Cache, CacheOptions};
use gatepost::screen::event::Cached;
use gatepost::screen::test_set::{CacheRecord, Expiry, PerTest, Test, TestSet, UnixTime};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::scratch::Scratch;
use super::take::Take;

const OURS: &str = "192.0.2.77";
const OTHERS: [&str; 3] = ["192.0.2.1", "2001:db8::1", "0.0.0.0"];

/// Bounds for what one input may cost.
const MOST_ROWS: usize = 20;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let scratch = Scratch::new();
    let path = scratch.file("c.sqlite");
    let mut rows = None;
    match take.number() % 4 {
        0 => fs::write(&path, take.0).unwrap(),
        1 => {
            let mut file = good_file().to_vec();
            while let [high, low, change, rest @ ..] = take.0 {
                let at = usize::from(u16::from_be_bytes([*high, *low])) % file.len();
                file[at] ^= change;
                take.0 = rest;
            }
            fs::write(&path, file).unwrap();
        }
        2 => {
            let pieces = usize::from(take.bytes(1).first().copied().unwrap_or_default());
            let length = (pieces * 128).min(good_file().len());
            fs::write(&path, &good_file()[..length]).unwrap();
            fs::write(scratch.file("c.sqlite-wal"), take.0).unwrap();
        }
        _ => {
            fs::write(&path, good_file()).unwrap();
            rows = Some(write_rows(&path, &mut take));
        }
    }
    use_it(&path, rows);
}

/// A cache file with two verdicts and a note.
fn good_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let scratch = Scratch::new();
        let path = scratch.file("good.sqlite");
        drop(open_or_set_aside(&path, &OpenOptions::default()).unwrap());
        let connection = Connection::open(&path).unwrap();
        let sql = "INSERT INTO verdict VALUES (x'c0000201', 3, 1, 0, 4102444800, 1); \
                   INSERT INTO verdict VALUES (x'20010db8000000000000000000000001', 5, 6, 7, 8, 9); \
                   INSERT INTO meta VALUES ('note:n', 'text'); \
                   PRAGMA wal_checkpoint(TRUNCATE)";
        connection.execute_batch(sql).unwrap();
        drop(connection);
        fs::read(&path).unwrap()
    })
}

/// What was written: the verdicts by address, the notes by name, as they should be read.
#[derive(Default)]
struct Rows {
    verdicts: Vec<(Vec<u8>, CacheRecord)>,
    notes: Vec<(String, String)>,
}

fn write_rows(path: &Path, take: &mut Take<'_>) -> Rows {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("DELETE FROM verdict; DELETE FROM meta WHERE name = 'note:n'")
        .unwrap();
    let mut rows = Rows::default();
    for _ in 0..MOST_ROWS {
        if take.0.is_empty() {
            break;
        }
        let is_note = take.number() % 3 == 2;
        let length = take.bytes(1).first().copied().unwrap_or_default();
        let name = take.bytes(usize::from(length)).to_vec();
        if is_note {
            note(&connection, name, value(take), &mut rows);
        } else {
            let values = [(); 5].map(|()| value(take));
            verdict(&connection, name, values, &mut rows);
        }
    }
    rows
}

fn verdict(connection: &Connection, name: Vec<u8>, values: [Value; 5], rows: &mut Rows) {
    let sql = "INSERT OR IGNORE INTO verdict VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let [a, b, c, d, e] = values;
    if connection.execute(sql, (&name, a, b, c, d, e)) != Ok(1) {
        return;
    }
    // SQLite itself turns texts that are numbers into integers: it is asked what there is.
    let columns = "SELECT pregreet, dnsbl, pipelining, non_smtp, bare_newline FROM verdict \
                   WHERE address = ?1";
    let stored = connection.query_row(columns, [&name], |row| {
        let mut columns = [1; 5];
        for (nth, column) in columns.iter_mut().enumerate() {
            if let Value::Integer(number) = row.get(nth)? {
                *column = number;
            }
        }
        Ok(columns)
    });
    rows.verdicts.push((name, from_columns(stored.unwrap())));
}

fn note(connection: &Connection, name: Vec<u8>, value: Value, rows: &mut Rows) {
    let Ok(name) = String::from_utf8(name) else { return };
    let full = format!("note:{name}");
    let sql = "INSERT OR IGNORE INTO meta VALUES (?1, ?2)";
    if connection.execute(sql, (&full, &value)) != Ok(1) {
        return;
    }
    // A name with a NUL is a different one for those that compare to its end.
    if let Value::Text(text) = value {
        rows.notes.push((name, text));
    }
}

fn value(take: &mut Take<'_>) -> Value {
    match take.number() % 6 {
        0 => {
            let mut bytes = [0; 8];
            let given = take.bytes(8);
            bytes[..given.len()].copy_from_slice(given);
            Value::Integer(i64::from_le_bytes(bytes))
        }
        1 => Value::Real(f64::from(take.number()) * 1.0e17),
        2 => Value::Null,
        3 => Value::Blob(take.until(0).to_vec()),
        4 => Value::Blob(vec![b'x'; 600 * usize::from(take.number())]),
        _ => Value::Text(String::from_utf8_lossy(take.until(0)).into_owned()),
    }
}

fn use_it(path: &Path, rows: Option<Rows>) {
    let options = OpenOptions { lock_wait: Duration::from_millis(50) };
    let opened = match open_or_set_aside(path, &options) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(rows.is_none(), "rows of others: {error}");
            let foreign = matches!(error, OpenError::Foreign(_));
            assert!(!foreign && !error.to_string().is_empty(), "not set aside: {error}");
            return;
        }
    };
    assert!(opened.notes.len() <= 256);
    if let Some(rows) = &rows {
        assert!(opened.set_aside.is_none(), "a good file is set aside");
        let mut notes = rows.notes.clone();
        notes.sort();
        assert_eq!(opened.notes, notes);
    }
    // A clean-up would remove what it can, at a moment of its own.
    let options = CacheOptions {
        cleanup_interval: rows.is_none().then_some(Duration::from_secs(1)),
        ..CacheOptions::new("c", TestSet::EMPTY.with(Test::Pregreet))
    };
    let mut cache = Cache::start(opened, options, None, Box::new(|| ())).unwrap();
    if let Some(rows) = &rows {
        for address in OTHERS {
            let address: IpAddr = address.parse().unwrap();
            let key = Key::of(address);
            let known = rows.verdicts.iter().find(|(name, _)| name == key.bytes());
            let expected = known.map_or(Cached::NotFound, |(_, record)| Cached::Found(*record));
            assert_eq!(cache.lookup(address), expected, "{address}");
        }
    } else {
        OTHERS.iter().for_each(|address| drop(cache.lookup(address.parse().unwrap())));
    }
    let address: IpAddr = OURS.parse().unwrap();
    let record: CacheRecord = PerTest::from_fn(|_| Expiry::Until(UnixTime(4_102_444_800)));
    cache.store(address, record);
    cache.note("n", "ours");
    assert_eq!(cache.lookup(address), Cached::Found(record));
    let damaged = !cache.events().is_empty();
    assert_eq!(cache.lookup(address), Cached::Found(record), "lost because of damage");
    cache.flush_and_close();
    assert!(!damaged || rows.is_none(), "good rows are damage");
}
