//! Tests of the file and its schema.

use super::*;
use crate::cache::record;
use crate::cache::test_dir::TestDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn insert(opened: &Opened, address: [u8; 4], value: i64) {
    opened
        .writer
        .execute(
            "INSERT INTO verdict (address, pregreet, dnsbl, pipelining, non_smtp, bare_newline)
             VALUES (?1, ?2, 1, 1, 1, 1)",
            (address, value),
        )
        .unwrap();
}

#[test]
fn a_new_file_is_private_and_a_second_opening_finds_the_verdicts() {
    let dir = TestDir::new();
    let path = dir.file("cache.sqlite");
    let mut opened = open(&path, &OpenOptions::default()).unwrap();
    assert!(opened.created && opened.import_pending);
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(mode(&super::super::set_aside::with_suffix(&path, suffix)), 0o600);
    }
    insert(&opened, [192, 0, 2, 1], 77);
    let record = opened.reader.lookup("192.0.2.1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(record, record::parse("77;1;1;1;1"));
    drop(opened);
    let mut again = open(&path, &OpenOptions::default()).unwrap();
    assert!(!again.created);
    assert!(again.reader.lookup("192.0.2.1".parse().unwrap()).unwrap().is_some());
    assert!(again.reader.lookup("192.0.2.2".parse().unwrap()).unwrap().is_none());
}

#[test]
fn a_file_of_a_later_version_is_used_as_it_is() {
    let dir = TestDir::new();
    let path = dir.file("cache.sqlite");
    let opened = open(&path, &OpenOptions::default()).unwrap();
    opened
        .writer
        .execute_batch(
            "ALTER TABLE verdict ADD COLUMN greeted INTEGER NOT NULL DEFAULT 0;
             CREATE TABLE later (name TEXT); PRAGMA user_version = 9;",
        )
        .unwrap();
    insert(&opened, [192, 0, 2, 1], 77);
    drop(opened);
    let mut again = open_or_set_aside(&path, &OpenOptions::default()).unwrap();
    assert!(again.set_aside.is_none());
    assert!(again.reader.lookup("192.0.2.1".parse().unwrap()).unwrap().is_some());
    let version: i64 =
        again.writer.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 9);
}

#[test]
fn foreign_and_damaged_files_are_set_aside() {
    let dir = TestDir::new();
    let path = dir.file("cache.sqlite");
    fs::write(&path, "this is not a database, but long enough ".repeat(100)).unwrap();
    assert!(matches!(open(&path, &OpenOptions::default()), Err(OpenError::Foreign(_))));
    let opened = open_or_set_aside(&path, &OpenOptions::default()).unwrap();
    assert!(opened.created);
    assert!(opened.set_aside.as_ref().is_some_and(|target| target.exists()));
    drop(opened);

    let other = dir.file("other.sqlite");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(matches!(open(&other, &OpenOptions::default()), Err(OpenError::Foreign(_))));

    let broken = dir.file("broken.sqlite");
    let opened = open(&broken, &OpenOptions::default()).unwrap();
    opened.writer.execute_batch("DROP TABLE verdict").unwrap();
    drop(opened);
    assert!(matches!(open(&broken, &OpenOptions::default()), Err(OpenError::Damaged(_))));
}

#[test]
fn a_missing_directory_is_no_damage() {
    let dir = TestDir::new();
    let error = open_or_set_aside(&dir.file("no/cache.sqlite"), &OpenOptions::default());
    assert!(matches!(error, Err(OpenError::Other(_))), "{error:?}");
}

#[test]
fn a_row_that_another_program_wrote_does_not_stop_us() {
    let dir = TestDir::new();
    let mut opened = open(&dir.file("cache.sqlite"), &OpenOptions::default()).unwrap();
    opened
        .writer
        .execute("INSERT INTO verdict VALUES (x'c0000201', 'abc', x'00', 1.5, 77, 0)", [])
        .unwrap();
    let record = opened.reader.lookup("192.0.2.1".parse().unwrap()).unwrap();
    assert_eq!(record, Some(record::parse(";;;77;0")));
}
