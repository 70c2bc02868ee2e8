//! Tests of the import; those with a real postmap(1) do nothing where there is none.

use std::io::Write;
use std::process::Command;

use super::*;
use crate::cache::sqlite::{OpenOptions, Opened, open};
use crate::cache::test_dir::TestDir;

const COMMANDS: &str = "/usr/sbin";

fn setup(dir: &TestDir) -> (PathBuf, Opened) {
    let path = dir.file("pc.sqlite");
    let opened = open(&path, &OpenOptions::default()).unwrap();
    (path, opened)
}

/// A configuration directory, and `lines` in a database that postmap(1) made, if it is here
/// and has the type.
fn old_cache(dir: &TestDir, map_type: &str, lines: &str) -> Option<OldCache> {
    if !Path::new(COMMANDS).join("postmap").exists() {
        return None;
    }
    let config =
        format!("compatibility_level = 3.6\ndata_directory = {}\n", dir.file("").display());
    fs::write(dir.file("main.cf"), config).unwrap();
    let spec = format!("{map_type}:{}", dir.file("pc").display());
    let mut child = Command::new(Path::new(COMMANDS).join("postmap"))
        .args(["-i", &spec])
        .env("MAIL_CONFIG", dir.file(""))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait().unwrap().success().then(|| OldCache {
        map_type: map_type.to_owned(),
        db_file: dir.file("pc.db"),
        spec,
    })
}

fn found(opened: &mut Opened, address: &str) -> Option<CacheRecord> {
    opened.reader.lookup(address.parse().unwrap()).unwrap()
}

fn leftovers(dir: &TestDir) -> Vec<String> {
    let names = fs::read_dir(dir.file("")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("import")).collect()
}

#[test]
fn stamps_by_a_clock_that_was_set_since_are_those_of_the_file() {
    let dir = TestDir::new();
    let path = dir.file("c");
    drop(open(&path, &OpenOptions::default()).unwrap());
    let mut connection = connect(&path, LOCK_WAIT).unwrap();
    // The wall clock is a day ahead of the time of the file.
    let lead = Reckoning::from_text("5 86400 closed x");
    for (address, reckoning) in [("192.0.2.1", None), ("192.0.2.2", lead)] {
        let line = format!("{address}\t1795431033;1;0;1;5\n");
        store_lines(&mut connection, line.as_bytes(), reckoning.as_ref()).unwrap().unwrap();
    }
    let mut opened = open(&path, &OpenOptions::default()).unwrap();
    assert_eq!(found(&mut opened, "192.0.2.1"), Some(record::parse("1795431033;1;0;1;5")));
    // What had expired long ago still has: 0 and 1 are no stamps.
    assert_eq!(found(&mut opened, "192.0.2.2"), Some(record::parse("1795344633;1;0;1;2")));
}

#[test]
fn lines_are_told_apart() {
    assert_eq!(
        parse_line("192.0.2.1\t1795431033;1;1;1;1\n"),
        Line::Verdict("192.0.2.1".parse().unwrap(), record::parse("1795431033;1;1;1;1"))
    );
    assert_eq!(
        parse_line("::ffff:192.0.2.1\t5;0"),
        Line::Verdict("192.0.2.1".parse().unwrap(), record::parse("5;0"))
    );
    assert_eq!(
        parse_line("2001:db8::1"),
        Line::Verdict("2001:db8::1".parse().unwrap(), record::parse(""))
    );
    assert_eq!(parse_line("_LAST_CACHE_CLEANUP_COMPLETED_\t1795431033"), Line::LastCleanup);
    assert_eq!(parse_line("_last_cache_cleanup_completed_\t1795431033"), Line::LastCleanup);
    for junk in ["", "\t5", "mail.example.com\t5", "192.0.2.300\t5", "\u{fffd}\t5"] {
        assert_eq!(parse_line(junk), Line::Junk, "{junk:?}");
    }
}

#[test]
fn verdicts_come_over_and_own_ones_stay() {
    let mut lines: String =
        (0..1_100).map(|n| format!("10.0.{}.{}\t4000000000;1;0;1;1\n", n / 250, n % 250)).collect();
    lines += "192.0.2.1\t5;1;1;1;1\n2001:db8::1\t4000000000\nexample.com\tx\n\
              _LAST_CACHE_CLEANUP_COMPLETED_\t1795431033\n";
    for map_type in ["btree", "hash"] {
        let dir = TestDir::new();
        let Some(old) = old_cache(&dir, map_type, &lines) else { continue };
        let (path, mut opened) = setup(&dir);
        opened
            .writer
            .execute_batch("INSERT INTO verdict VALUES (x'c0000201', 4000000001, 1, 1, 1, 1)")
            .unwrap();
        let report = import_old_cache(&old, &path, Path::new(COMMANDS), &dir.file("")).unwrap();
        assert_eq!(report, ImportReport { imported: 1_101, known: 1, skipped: 1 });
        let record = record::parse("4000000000;1;0;1;1");
        assert_eq!(found(&mut opened, "10.0.4.99"), Some(record));
        assert_eq!(found(&mut opened, "2001:db8::1"), Some(record::parse("4000000000")));
        assert_eq!(found(&mut opened, "192.0.2.1"), Some(record::parse("4000000001;1;1;1;1")));
        drop(opened);
        assert!(!open(&path, &OpenOptions::default()).unwrap().import_pending);
        assert_eq!(leftovers(&dir), [""; 0]);
    }
}

#[test]
fn a_lock_on_the_old_cache_does_not_block_the_import() {
    let dir = TestDir::new();
    let Some(old) = old_cache(&dir, "btree", "192.0.2.1\t4000000000\n") else { return };
    // This one has the exclusive lock until its input ends, as postscreen has.
    let postmap = |option: &str, input: Stdio| {
        Command::new(Path::new(COMMANDS).join("postmap"))
            .args([option, &old.spec])
            .env("MAIL_CONFIG", dir.file(""))
            .stdin(input)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let holder = postmap("-i", Stdio::piped());
    std::thread::sleep(Duration::from_millis(300));
    let mut blocked = postmap("-s", Stdio::null());
    let (path, mut opened) = setup(&dir);
    let report = import_old_cache(&old, &path, Path::new(COMMANDS), &dir.file("")).unwrap();
    assert_eq!(report.imported, 1);
    assert!(found(&mut opened, "192.0.2.1").is_some());
    assert!(blocked.try_wait().unwrap().is_none(), "the lock was held all the time");
    for mut child in [holder, blocked] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn what_is_no_database_fails_with_the_words_of_postmap_and_leaves_no_copy() {
    let dir = TestDir::new();
    let Some(old) = old_cache(&dir, "btree", "192.0.2.1\t5\n") else { return };
    fs::write(&old.db_file, "no database").unwrap();
    let (path, opened) = setup(&dir);
    let error = import_old_cache(&old, &path, Path::new(COMMANDS), &dir.file("")).unwrap_err();
    assert!(matches!(&error, ImportError::Postmap(_, text) if !text.is_empty()), "{error}");
    assert_eq!(leftovers(&dir), [""; 0]);
    drop(opened);
    assert!(open(&path, &OpenOptions::default()).unwrap().import_pending);
}

#[test]
fn a_missing_database_or_program_is_said_so() {
    let dir = TestDir::new();
    let (path, _opened) = setup(&dir);
    let old = OldCache {
        map_type: "btree".to_owned(),
        db_file: dir.file("pc.db"),
        spec: "btree:pc".to_owned(),
    };
    let error = import_old_cache(&old, &path, &dir.file("none"), &dir.file("")).unwrap_err();
    assert!(matches!(error, ImportError::Missing(_)));
    fs::write(&old.db_file, "x").unwrap();
    let error = import_old_cache(&old, &path, &dir.file("none"), &dir.file("")).unwrap_err();
    assert!(matches!(error, ImportError::Run(..)));
    assert_eq!(leftovers(&dir), [""; 0]);
}
