use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::postfix::message::Message;

/// A directory of its own for a test, with a database.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new(name: &str, sql: &str) -> Place {
        let directory = format!("gatepost-sqlite-{name}-{}", std::process::id());
        let place = Place { directory: std::env::temp_dir().join(directory) };
        fs::create_dir_all(&place.directory).unwrap();
        place.write(sql);
        place
    }

    fn database(&self) -> PathBuf {
        self.directory.join("x.db")
    }

    fn write(&self, sql: &str) {
        Connection::open(self.database()).unwrap().execute_batch(sql).unwrap();
    }

    fn table(&self, text: &str) -> SqliteTable {
        let text = format!("dbpath = {}\n{text}\n", self.database().display());
        let config = SqliteConfig::parse("/x.cf", text.as_bytes(), &mut Vec::new()).unwrap();
        let mut table = SqliteTable::new(config, OpenOptions::FOLDED);
        assert_eq!(table.probe(), Ok(()));
        table
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

const QUERY: &str = "query = SELECT v FROM t WHERE k = '%s'";

fn ask(table: &SqliteTable, key: &str) -> (Result<Option<String>, ()>, Vec<String>) {
    let mut warnings = Vec::new();
    let answer = match table.lookup(key.as_bytes(), &mut warnings) {
        Answer::Found(value) => Ok(Some(value.into_owned())),
        Answer::NotFound => Ok(None),
        Answer::Failed | Answer::Asked(_) => Err(()),
    };
    (answer, warnings.into_iter().map(|warning| warning.text).collect())
}

#[test]
fn values_of_all_kinds() {
    let place = Place::new(
        "values",
        "CREATE TABLE t(k, v); INSERT INTO t VALUES ('a', '1'), ('a', 'two'), ('b', NULL),
         ('d', 3.5), ('f', 1e20), ('i', -7), ('it''s', 'q'), ('n', x'610062'), ('x', x'ff');",
    );
    let mut table = place.table(QUERY);
    for _ in 0..2 {
        for (key, expected) in [
            ("a", Some("1,two")),
            ("A", Some("1,two")),
            ("b", None),
            ("d", Some("3.5")),
            ("f", Some("1.0e+20")),
            ("i", Some("-7")),
            ("it's", Some("q")),
            ("n", Some("a")),
            ("none", None),
        ] {
            assert_eq!(ask(&table, key), (Ok(expected.map(str::to_owned)), vec![]), "{key}");
        }
        let warning =
            "sqlite:/x.cf: key \"x\": non-UTF-8 value \"?\": malformed UTF-8 or invalid codepoint";
        assert_eq!(ask(&table, "x"), (Err(()), vec![warning.to_owned()]));
        assert_eq!(table.lookup(b"\xff", &mut Vec::new()), Answer::NotFound);
        // The same again with one connection for all.
        table.connect(&mut Vec::new());
    }
    assert_eq!(table.held_file(), Some(place.database().as_path()));
}

#[test]
fn queries_that_fail() {
    let place = Place::new("fail", "CREATE TABLE t(k, v); INSERT INTO t VALUES(1, 1), (1, 2);");
    for (text, problem) in [
        ("query = SELECT nosuch FROM t", "SQL prepare failed: no such column: nosuch"),
        ("query = SELEC 1", "SQL prepare failed: near \"SELEC\": syntax error"),
        (
            "query = DELETE FROM t",
            "SQL step failed for query 'DELETE FROM t': attempt to write a readonly database",
        ),
        ("query = SELECT v FROM t\nexpansion_limit = 1", "Expansion limit exceeded for key 'a'"),
    ] {
        let (answer, warnings) = ask(&place.table(text), "a");
        assert_eq!(answer, Err(()), "{text}");
        assert_eq!(warnings, [format!("dict_sqlite_lookup: /x.cf: {problem}")]);
    }
    // Only the first statement counts.
    for text in ["query = SELECT v FROM t; SELECT 3", "query = SELECT v FROM t; nonsense"] {
        assert_eq!(ask(&place.table(text), "a"), (Ok(Some("1,2".into())), vec![]));
    }
    assert_eq!(ask(&place.table("query = -- nothing"), "a"), (Ok(None), vec![]));
}

#[test]
fn a_query_without_end() {
    let place = Place::new("endless", "CREATE TABLE t(k, v);");
    let table = place.table(
        "query = WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
          SELECT x FROM n WHERE x = '%s'",
    );
    let (answer, warnings) = ask(&table, "a");
    assert_eq!(answer, Err(()));
    assert!(warnings[0].ends_with(": interrupted"), "{warnings:?}");
    // The table is not the worse for it.
    assert_eq!(ask(&table, "a").0, Err(()));
}

#[test]
fn changes_are_seen_at_once() {
    for mode in ["delete", "wal"] {
        let sql = format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(k, v);");
        let place = Place::new(mode, &sql);
        let mut table = place.table(QUERY);
        let mut messages = Vec::new();
        table.connect(&mut messages);
        assert_eq!(messages, []);
        assert_eq!(ask(&table, "a"), (Ok(None), vec![]));
        place.write("INSERT INTO t VALUES('a', 'first');");
        assert_eq!(ask(&table, "a").0, Ok(Some("first".into())));
        place.write("UPDATE t SET v = 'second'; ALTER TABLE t ADD COLUMN w; VACUUM;");
        assert_eq!(ask(&table, "a").0, Ok(Some("second".into())));
    }
}

#[test]
fn a_lock_is_not_waited_for_twice() {
    let place = Place::new("locked", "CREATE TABLE t(k, v); INSERT INTO t VALUES('a', 'x');");
    let mut table = place.table(QUERY);
    table.connect(&mut Vec::new());
    assert_eq!(ask(&table, "a").0, Ok(Some("x".into())));
    let writer = Connection::open(place.database()).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // A lock is no reason not to start.
    let mut other = place.table(QUERY);
    let mut messages = Vec::new();
    other.connect(&mut messages);
    assert_eq!(messages, []);
    let start = Instant::now();
    for _ in 0..20 {
        let (answer, warnings) = ask(&table, "a");
        assert_eq!(answer, Err(()));
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.ends_with(": database is locked"), "{warning}");
    }
    // Twenty waits would be a second; this leaves room for a slow machine.
    assert!(start.elapsed() < LOCK_WAIT * 15, "{:?}", start.elapsed());
    writer.execute_batch("ROLLBACK").unwrap();
    assert_eq!(ask(&table, "a"), (Ok(Some("x".into())), vec![]));
}

#[test]
fn what_is_no_database() {
    let place = Place::new("none", "CREATE TABLE t(k, v);");
    let mut table = place.table(QUERY);
    fs::write(place.database(), "what is this\n".repeat(200)).unwrap();
    let problem = "dict_sqlite_lookup: /x.cf: SQL prepare failed: file is not a database";
    assert_eq!(ask(&table, "a"), (Err(()), vec![problem.to_owned()]));
    fs::remove_file(place.database()).unwrap();
    let reason = format!(
        "sqlite:/x.cf: open database {}: unable to open database file: No such file or directory",
        place.database().display()
    );
    assert_eq!(ask(&table, "a"), (Err(()), vec![format!("dict_sqlite_lookup: {reason}")]));
    let mut messages = Vec::new();
    table.connect(&mut messages);
    assert_eq!(messages, [Message::error(&reason)]);
    let problem = format!("sqlite:/x.cf is unavailable. {reason}");
    assert_eq!(ask(&table, "a"), (Err(()), vec![problem]));
    assert_eq!(table.probe().unwrap_err().to_string(), reason);
    // Nothing was made in its place.
    assert!(!place.database().exists());
}

/// Whoever reads a database in WAL mode makes two more files, which must not shut its owner out.
#[test]
fn files_beside_the_database_are_its_owners() {
    let place = Place::new("owner", "PRAGMA journal_mode = wal; CREATE TABLE t(k, v);");
    let beside = ["x.db-wal", "x.db-shm"].map(|name| place.directory.join(name));
    let owner = 65_534;
    if std::os::unix::fs::chown(place.database(), Some(owner), Some(owner)).is_err() {
        // Only root can give files away, and only root's files matter.
        return;
    }
    let mut table = place.table(QUERY);
    assert!(!beside.iter().any(|path| path.exists()), "only to look whether it is there");
    table.connect(&mut Vec::new());
    assert_eq!(ask(&table, "a"), (Ok(None), vec![]));
    for path in &beside {
        assert_eq!(fs::metadata(path).unwrap().uid(), owner, "{}", path.display());
    }
}

/// Who owns the directory of a database can put links there, and the database is opened as root:
/// what they lead to is neither written to nor given away.
#[test]
fn links_beside_the_database_lead_nowhere() {
    for name in ["x.db-wal", "x.db-shm", "x.db-journal"] {
        let place = Place::new("links", "PRAGMA journal_mode = wal; CREATE TABLE t(k, v);");
        let owner = Some(65_534);
        if std::os::unix::fs::chown(place.database(), owner, owner).is_err() {
            return;
        }
        let victim = place.directory.join("victim");
        fs::write(&victim, "root's").unwrap();
        std::os::unix::fs::symlink(&victim, place.directory.join(name)).unwrap();
        let mut table = place.table(QUERY);
        table.connect(&mut Vec::new());
        let _ = ask(&table, "a");
        assert_eq!(fs::metadata(&victim).unwrap().uid(), 0, "{name}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "root's", "{name}");
    }
}
