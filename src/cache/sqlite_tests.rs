//! Tests of the file and its schema.

use super::*;
use crate::cache::record;
use crate::cache::test_dir::TestDir;
use std::net::IpAddr;

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

/// What version 1 made.
const SCHEMA_1: &str = "
    CREATE TABLE verdict (address BLOB NOT NULL PRIMARY KEY, pregreet INTEGER NOT NULL,
        dnsbl INTEGER NOT NULL, pipelining INTEGER NOT NULL, non_smtp INTEGER NOT NULL,
        bare_newline INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value) WITHOUT ROWID;
    INSERT INTO verdict VALUES (x'c0000201', 77, 1, 1, 1, 1);
    INSERT INTO meta VALUES ('import_finished', 5), ('note:a', 'text');
    PRAGMA application_id = 0x47507631; PRAGMA user_version = 1; PRAGMA journal_mode = wal;";

fn removals(connection: &Connection) -> Option<i64> {
    get_meta(connection, meta::REMOVALS).unwrap()
}

#[test]
fn an_older_file_is_upgraded_while_an_older_process_uses_it() {
    let dir = TestDir::new();
    let path = dir.file("cache.sqlite");
    let older = Connection::open(&path).unwrap();
    older.execute_batch(SCHEMA_1).unwrap();
    let mut count = older.prepare("SELECT count(*) FROM verdict").unwrap();
    assert_eq!(count.query_row([], |row| row.get::<_, i64>(0)), Ok(1));
    for _ in 0..2 {
        let mut opened = open(&path, &OpenOptions::default()).unwrap();
        assert!(!opened.created && !opened.import_pending);
        assert_eq!(opened.notes, [("a".to_owned(), "text".to_owned())]);
        assert!(opened.reader.lookup("192.0.2.1".parse().unwrap()).unwrap().is_some());
        assert_eq!(removals(&opened.writer), Some(0));
    }
    assert_eq!(count.query_row([], |row| row.get::<_, i64>(0)), Ok(1));
    older.execute("INSERT INTO verdict VALUES (x'c0000202', 77, 1, 1, 1, 1)", []).unwrap();
    older.execute("DELETE FROM verdict", []).unwrap();
    assert_eq!(removals(&older), Some(2));
}

#[test]
fn what_others_remove_or_make_worse_is_counted_and_what_we_do_is_not() {
    let dir = TestDir::new();
    let path = dir.file("cache.sqlite");
    let opened = open(&path, &OpenOptions::default()).unwrap();
    let other = Connection::open(&path).unwrap();
    for n in 0..10 {
        insert(&opened, [192, 0, 2, n], 77);
    }
    let tidy = "DELETE FROM verdict WHERE address < x'c0000203';
                UPDATE verdict SET pregreet = 5 WHERE address = x'c0000203'";
    opened.writer.execute_batch(tidy).unwrap();
    assert_eq!(removals(&other), Some(0));
    for (sql, count) in [
        ("INSERT INTO verdict VALUES (x'c0000301', 0, 0, 0, 0, 0)", 0),
        ("UPDATE verdict SET pregreet = 78, dnsbl = 5 WHERE address = x'c0000304'", 0),
        ("UPDATE verdict SET pregreet = 78 WHERE address = x'c0000204'", 0),
        ("UPDATE verdict SET dnsbl = 0 WHERE address = x'c0000204'", 1),
        ("UPDATE verdict SET address = x'c0000404' WHERE address = x'c0000204'", 2),
        ("DELETE FROM verdict WHERE address = x'c0000205'", 3),
        ("DELETE FROM verdict", 10),
        ("DELETE FROM verdict", 10),
    ] {
        other.execute(sql, []).unwrap();
        assert_eq!(removals(&opened.writer), Some(count), "{sql}");
    }
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

#[test]
fn what_is_no_file_is_said_so_and_left_alone() {
    for suffix in SUFFIXES {
        let dir = TestDir::new();
        let path = dir.file("cache.sqlite");
        let name = with_suffix(&path, suffix);
        if !suffix.is_empty() {
            drop(open(&path, &OpenOptions::default()).unwrap());
            fs::remove_file(&name).unwrap();
        }
        nix::unistd::mkfifo(&name, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for _ in 0..2 {
            let error = open_or_set_aside(&path, &OpenOptions::default()).unwrap_err();
            assert_eq!(error.to_string(), format!("{} is not a regular file", name.display()));
            assert!(name.exists());
            if name.is_dir() {
                break;
            }
            fs::remove_file(&name).unwrap();
            fs::create_dir(&name).unwrap();
        }
    }
}

#[test]
fn a_new_file_shares_nothing_with_a_removed_one() {
    let dir = TestDir::new();
    let path = dir.file("cache.sqlite");
    let mut old = open(&path, &OpenOptions::default()).unwrap();
    insert(&old, [192, 0, 2, 1], 77);
    fs::remove_file(&path).unwrap();
    let mut new = open_or_set_aside(&path, &OpenOptions::default()).unwrap();
    assert!(new.created);
    for n in 2..100 {
        insert(&old, [192, 0, 2, n], 77);
        insert(&new, [192, 0, 3, n], 77);
    }
    for (opened, ours, theirs) in [(&mut old, 2, 3), (&mut new, 3, 2)] {
        for n in 2..100 {
            let known = |reader: &mut Reader, net| {
                reader.lookup(IpAddr::from([192, 0, net, n])).unwrap().is_some()
            };
            assert!(known(&mut opened.reader, ours) && !known(&mut opened.reader, theirs));
        }
        let sound: String =
            opened.writer.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
    }
}

#[test]
fn a_file_that_only_a_later_sqlite_could_write_is_damaged() {
    let dir = TestDir::new();
    let path = dir.file("cache.sqlite");
    let opened = open(&path, &OpenOptions::default()).unwrap();
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    opened.writer.query_row(checkpoint, [], |row| row.get::<_, i64>(0)).unwrap();
    drop(opened);
    let mut bytes = fs::read(&path).unwrap();
    // The version that is needed for writing.
    bytes[18] = 3;
    fs::write(&path, bytes).unwrap();
    assert!(open_or_set_aside(&path, &OpenOptions::default()).unwrap().set_aside.is_some());
}
