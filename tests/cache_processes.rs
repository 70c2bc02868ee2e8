//! The cache with several real processes: at once, killed, and in a jail.
//!
//! Each test starts this binary again in another role, named by an environment variable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatepost::cache::sqlite::{OpenOptions, open, open_or_set_aside};
use gatepost::cache::{Cache, CacheEvent, CacheOptions, record};
use gatepost::screen::event::Cached;
use gatepost::screen::test_set::{CacheRecord, Test, TestSet};
use rusqlite::Connection;

const ROLE: &str = "GATEPOST_TEST_ROLE";
const CACHE: &str = "GATEPOST_TEST_CACHE";
const FIRST: &str = "GATEPOST_TEST_FIRST";

const EACH: u32 = 2_000;

struct TestDir(PathBuf);

impl TestDir {
    fn new(name: &str) -> TestDir {
        let name = format!("gatepost-processes-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        TestDir(path)
    }

    fn cache(&self) -> PathBuf {
        self.0.join("cache.sqlite")
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn address(n: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + n).into())
}

fn verdict(n: u32) -> CacheRecord {
    record::parse(&format!("4000000000;1;{};0;1", 4_000_000_000_u64 + u64::from(n)))
}

fn start(path: &Path) -> Cache {
    let opened = open_or_set_aside(path, &OpenOptions::default()).unwrap();
    let options = CacheOptions::new("sqlite:test", TestSet::EMPTY.with(Test::Pregreet));
    Cache::start(opened, options, None, Box::new(|| ())).unwrap()
}

/// Starts this binary in `role`.
fn spawn(role: &str, cache: &Path, first: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "role", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(CACHE, cache)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for the line `word` of a process.
fn wait_for_word(child: &mut Child, word: &str) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap());
    for line in lines.lines() {
        // The test harness writes the beginning of the first line.
        if line.unwrap().ends_with(word) {
            return;
        }
    }
    panic!("the process ended without {word}");
}

fn say(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{word}").unwrap();
    out.flush().unwrap();
}

fn assert_sound(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let answer: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(answer, "ok");
}

fn eventually(mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Not a test of its own: what the other processes do.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(CACHE).unwrap());
    let first: u32 = std::env::var(FIRST).unwrap().parse().unwrap();
    match role.as_str() {
        "write" => write(&path, first),
        "write for ever" => write_for_ever(&path, first),
        "half a transaction" => half_a_transaction(&path),
        "jail" => jail(&path),
        "note" => note(&path, first),
        "note for ever" => note_for_ever(&path),
        "ask" => ask(&path, first),
        "cut off" => cut_off(&path),
        other => panic!("unknown role {other}"),
    }
}

fn write(path: &Path, first: u32) {
    let mut cache = start(path);
    for n in first..first + EACH {
        cache.store(address(n), verdict(n));
        // All processes write the same one, too.
        cache.store(address(999_999), verdict(0));
        if n % 100 == 0 {
            std::thread::sleep(Duration::from_millis(15));
        }
    }
    cache.flush_and_close();
}

fn write_for_ever(path: &Path, first: u32) {
    let mut cache = start(path);
    for n in first.. {
        cache.store(address(n), verdict(n));
        if n == first + EACH {
            say("busy");
        }
        if n % 50 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn half_a_transaction(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    // A page cache of nothing, so that uncommitted pages are in the log already.
    connection.execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE").unwrap();
    for n in 0..5_000_u32 {
        let sql = "INSERT OR REPLACE INTO verdict VALUES (?1, 7, 7, 7, 7, 7)";
        connection.execute(sql, [(0x0b00_0000 + n).to_be_bytes()]).unwrap();
    }
    say("half");
    std::thread::sleep(Duration::from_secs(60));
}

/// How many texts `note` writes under each name.
const TEXTS: u32 = 200;

fn note(path: &Path, own: u32) {
    let mut cache = start(path);
    for n in 0..=TEXTS {
        cache.note(&format!("own {own}"), &n.to_string());
        cache.note("shared", &format!("{own}: {n}"));
        if n % 20 == 0 {
            std::thread::sleep(Duration::from_millis(15));
        }
    }
    cache.flush_and_close();
}

fn note_for_ever(path: &Path) {
    let mut cache = start(path);
    cache.note("shared", "of the one that lives");
    for n in 0_u64.. {
        cache.note("counter", &n.to_string());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How often `ask` asks, and of how many it says so.
const ASKING: Duration = Duration::from_millis(2);
const ASKED: u32 = 100;

/// Asks about `number` all the time, and says what has become of it.
fn ask(path: &Path, number: u32) {
    let mut cache = start(path);
    let mut known = None;
    for round in 0_u32.. {
        let now = match cache.lookup(address(number)) {
            Cached::Found(found) if found == verdict(number) => "known",
            Cached::Found(_) => "worse",
            _ => "gone",
        };
        if known != Some(now) {
            known = Some(now);
            say(now);
        }
        if round > 0 && round.is_multiple_of(ASKED) {
            say("asked");
        }
        std::thread::sleep(ASKING);
    }
}

/// Goes on until its file is damaged, or for some time: what is cut off may all be written anew.
fn cut_off(path: &Path) {
    gatepost::sys::cut_off::survive().unwrap();
    let mut cache = start(path);
    cache.store(address(1), verdict(1));
    say("ready");
    let mut events = Vec::new();
    let end = Instant::now() + Duration::from_secs(2);
    for n in 2_u32.. {
        cache.store(address(n), verdict(n));
        for known in [1, n] {
            assert_eq!(cache.lookup(address(known)), Cached::Found(verdict(known)));
        }
        // Not in any memory.
        cache.lookup(address(900_000 + n));
        events.extend(cache.events());
        if !events.is_empty() || Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(&events[..], [] | [CacheEvent::Damaged(_)]), "{events:?}");
    assert_eq!(cache.lookup(address(1)), Cached::Found(verdict(1)));
    cache.flush_and_close();
}

/// A process that has been told to end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How often the storage thread of a process has gone to sleep.
fn sleeps_of_storage(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let storage = tasks
        .map(|task| task.unwrap().path())
        .find(|task| std::fs::read_to_string(task.join("comm")).unwrap().trim() == "storage");
    let status = std::fs::read_to_string(storage.unwrap().join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

fn notes(path: &Path) -> Vec<(String, String)> {
    open(path, &OpenOptions::default()).unwrap().notes
}

fn note_of(path: &Path, name: &str) -> Option<String> {
    notes(path).into_iter().find(|note| note.0 == name).map(|note| note.1)
}

#[test]
fn processes_that_write_at_once_lose_nothing() {
    let dir = TestDir::new("at-once");
    let firsts: Vec<u32> = (0..4).map(|n| n * EACH).collect();
    // They also create the file at once.
    let children: Vec<Child> =
        firsts.iter().map(|first| spawn("write", &dir.cache(), *first)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let mut cache = start(&dir.cache());
    for n in 0..4 * EACH {
        assert_eq!(cache.lookup(address(n)), Cached::Found(verdict(n)), "{n}");
    }
    assert_eq!(cache.lookup(address(999_999)), Cached::Found(verdict(0)));
    cache.flush_and_close();
    assert_sound(&dir.cache());
}

#[test]
fn only_one_of_several_processes_sets_a_damaged_file_aside() {
    let dir = TestDir::new("damaged");
    std::fs::write(dir.cache(), "neither empty nor a database ".repeat(500)).unwrap();
    let children: Vec<Child> = (0..4).map(|n| spawn("write", &dir.cache(), n * EACH)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let mut cache = start(&dir.cache());
    for n in 0..4 * EACH {
        assert_eq!(cache.lookup(address(n)), Cached::Found(verdict(n)), "{n}");
    }
    let names = std::fs::read_dir(&dir.0).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside: Vec<String> = names.filter(|name| name.contains("damaged")).collect();
    assert_eq!(aside.iter().filter(|name| !name.ends_with("-wal")).count(), 1, "{aside:?}");
}

#[test]
fn a_file_that_is_cut_off_in_use_is_damage_and_kills_nobody() {
    for suffix in ["-shm", "-wal", ""] {
        let dir = TestDir::new(&format!("cut-off{suffix}"));
        let mut child = spawn("cut off", &dir.cache(), 0);
        wait_for_word(&mut child, "ready");
        let name = format!("{}{suffix}", dir.cache().display());
        std::fs::File::options().write(true).open(name).unwrap().set_len(0).unwrap();
        assert!(child.wait().unwrap().success(), "{suffix}");
        // Whatever is left, a new process begins.
        let mut cache = start(&dir.cache());
        cache.store(address(1), verdict(1));
        assert_eq!(cache.lookup(address(1)), Cached::Found(verdict(1)));
        cache.flush_and_close();
    }
}

/// How many processes share a cache.
const MANY: u32 = 10;

#[test]
fn of_ten_processes_one_is_killed_inside_a_transaction() {
    let dir = TestDir::new("ten");
    start(&dir.cache()).flush_and_close();
    let mut children: Vec<Killed> =
        (0..MANY - 1).map(|n| Killed(spawn("write", &dir.cache(), n * EACH))).collect();
    for _ in 0..3 {
        let mut doomed = Killed(spawn("half a transaction", &dir.cache(), 0));
        wait_for_word(&mut doomed.0, "half");
        // The others wait for its lock.
        std::thread::sleep(Duration::from_millis(300));
        doomed.0.kill().unwrap();
        doomed.0.wait().unwrap();
    }
    for child in &mut children {
        assert!(child.0.wait().unwrap().success());
    }
    let mut cache = start(&dir.cache());
    for n in 0..(MANY - 1) * EACH {
        assert_eq!(cache.lookup(address(n)), Cached::Found(verdict(n)), "{n}");
    }
    assert_eq!(cache.lookup("11.0.0.7".parse().unwrap()), Cached::NotFound);
    cache.flush_and_close();
    assert_sound(&dir.cache());
}

#[test]
fn what_others_have_seen_survives_a_killed_process() {
    let dir = TestDir::new("killed");
    let mut watcher = start(&dir.cache());
    let mut survivor = spawn("write", &dir.cache(), 500_000);
    for round in 0..3 {
        let first = round * 100_000;
        let mut child = spawn("write for ever", &dir.cache(), first);
        wait_for_word(&mut child, "busy");
        let mut seen = first;
        eventually(|| {
            while matches!(watcher.lookup(address(seen)), Cached::Found(_)) {
                seen += 1;
            }
            seen > first + EACH / 2
        });
        child.kill().unwrap();
        child.wait().unwrap();
        // Not from the memory of this process.
        let mut fresh = start(&dir.cache());
        for n in first..seen {
            assert_eq!(fresh.lookup(address(n)), Cached::Found(verdict(n)), "{n}");
        }
    }
    assert!(survivor.wait().unwrap().success());
    for n in 500_000..500_000 + EACH {
        assert_eq!(watcher.lookup(address(n)), Cached::Found(verdict(n)), "{n}");
    }
    watcher.flush_and_close();
    assert_sound(&dir.cache());
}

#[test]
fn a_process_killed_inside_a_transaction_leaves_no_trace_and_no_lock() {
    let dir = TestDir::new("transaction");
    let mut cache = start(&dir.cache());
    cache.store(address(1), verdict(1));
    let mut child = spawn("half a transaction", &dir.cache(), 0);
    wait_for_word(&mut child, "half");
    // It holds the lock: verdicts wait, and are found all the same.
    cache.store(address(2), verdict(2));
    assert_eq!(cache.lookup(address(2)), Cached::Found(verdict(2)));
    let other = Connection::open(dir.cache()).unwrap();
    let count = || -> i64 {
        other.query_row("SELECT count(*) FROM verdict", [], |row| row.get(0)).unwrap()
    };
    assert!(count() <= 1);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually(|| count() == 2);
    cache.flush_and_close();
    assert_sound(&dir.cache());
}

#[test]
fn a_verdict_of_one_process_is_seen_by_another() {
    let dir = TestDir::new("seen");
    let mut reader = start(&dir.cache());
    assert_eq!(reader.lookup(address(EACH - 1)), Cached::NotFound);
    let mut child = spawn("write", &dir.cache(), 0);
    eventually(|| reader.lookup(address(EACH - 1)) == Cached::Found(verdict(EACH - 1)));
    // Commits are in the order of the stores.
    for n in 0..EACH {
        assert_eq!(reader.lookup(address(n)), Cached::Found(verdict(n)));
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_any_program_removes_is_gone_for_a_process_that_remembers_it() {
    let dir = TestDir::new("removed");
    let mut cache = start(&dir.cache());
    cache.store(address(1), verdict(1));
    cache.store(address(2), verdict(2));
    cache.flush_and_close();
    // As sqlite3(1) does, which knows nothing of us.
    let tool = Connection::open(dir.cache()).unwrap();
    tool.busy_timeout(Duration::from_secs(10)).unwrap();
    let mut processes = [1, 1, 2].map(|number| Killed(spawn("ask", &dir.cache(), number)));
    for process in &mut processes {
        wait_for_word(&mut process.0, "known");
        // By now the memory answers.
        wait_for_word(&mut process.0, "asked");
    }
    let begun = Instant::now();
    tool.execute("DELETE FROM verdict WHERE address = x'0a000001'", []).unwrap();
    wait_for_word(&mut processes[0].0, "gone");
    wait_for_word(&mut processes[1].0, "gone");
    // A second is what is promised; the machine may be slow.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    tool.execute("UPDATE verdict SET pregreet = 0", []).unwrap();
    wait_for_word(&mut processes[2].0, "worse");
    tool.execute("DELETE FROM verdict", []).unwrap();
    wait_for_word(&mut processes[2].0, "gone");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn look_ups_never_wake_the_storage_thread() {
    let dir = TestDir::new("asleep");
    let mut cache = start(&dir.cache());
    cache.store(address(1), verdict(1));
    cache.flush_and_close();
    // What there is to do at the start is done when a second is over.
    let mut process = Killed(spawn("ask", &dir.cache(), 1));
    for _ in 0..Duration::from_secs(2).as_millis() / (ASKING * ASKED).as_millis() {
        wait_for_word(&mut process.0, "asked");
    }
    let before = sleeps_of_storage(process.0.id());
    for _ in 0..10 {
        wait_for_word(&mut process.0, "asked");
    }
    assert_eq!(sleeps_of_storage(process.0.id()), before);
}

#[test]
fn notes_of_processes_that_write_at_once_are_all_kept() {
    let dir = TestDir::new("notes");
    let children: Vec<Child> = (0..4).map(|own| spawn("note", &dir.cache(), own)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let mut found = notes(&dir.cache());
    let (name, shared) = found.pop().unwrap();
    assert_eq!(name, "shared");
    // Whoever was the last to write, this was its last text.
    assert!(shared.ends_with(&format!(": {TEXTS}")), "{shared}");
    let own = (0..4).map(|own| (format!("own {own}"), TEXTS.to_string()));
    assert_eq!(found, own.collect::<Vec<_>>());
    assert_sound(&dir.cache());
}

#[test]
fn a_committed_note_survives_a_killed_process_and_the_last_writer_wins() {
    let dir = TestDir::new("killed-note");
    let mut child = spawn("note for ever", &dir.cache(), 0);
    let counter = || note_of(&dir.cache(), "counter").and_then(|text| text.parse::<u64>().ok());
    eventually(|| counter().is_some_and(|n| n > 20));
    assert_eq!(note_of(&dir.cache(), "shared").as_deref(), Some("of the one that lives"));
    let mut cache = start(&dir.cache());
    cache.note("shared", "of the last one");
    cache.flush_and_close();
    let seen = counter().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(counter().unwrap() >= seen);
    assert_eq!(note_of(&dir.cache(), "shared").as_deref(), Some("of the last one"));
    assert_sound(&dir.cache());
}

/// As the daemon does it: opened as `mail_owner`, then chroot(2) into a place without the
/// file, then no way back to root.
fn jail(path: &Path) {
    use nix::unistd::{Gid, Uid, chdir, chroot, setegid, seteuid, setgid, setuid};
    let nobody = 65_534;
    setegid(Gid::from_raw(nobody)).unwrap();
    seteuid(Uid::from_raw(nobody)).unwrap();
    let opened = open(path, &OpenOptions::default()).unwrap();
    seteuid(Uid::from_raw(0)).unwrap();
    chroot(&path.with_file_name("jail")).unwrap();
    chdir("/").unwrap();
    setgid(Gid::from_raw(nobody)).unwrap();
    setuid(Uid::from_raw(nobody)).unwrap();
    assert!(!path.exists());
    let options = CacheOptions::new("sqlite:test", TestSet::EMPTY.with(Test::Pregreet));
    let mut cache = Cache::start(opened, options, None, Box::new(|| ())).unwrap();
    // Enough for several checkpoints, a log that starts anew, and a sync.
    for n in 0..10_000 {
        cache.store(address(n), verdict(n));
        if n % 500 == 0 {
            cache.note("jail", &n.to_string());
            std::thread::sleep(Duration::from_millis(60));
        }
    }
    assert_eq!(cache.lookup(address(20_000)), Cached::NotFound);
    assert_eq!(cache.lookup(address(9_999)), Cached::Found(verdict(9_999)));
    assert_eq!(cache.events(), []);
    cache.flush_and_close();
}

#[test]
fn nothing_is_opened_after_the_jail_is_shut() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = TestDir::new("jail");
    std::fs::create_dir(dir.0.join("jail")).unwrap();
    let nobody = Some(65_534);
    std::os::unix::fs::chown(&dir.0, nobody, nobody).unwrap();
    for _ in 0..2 {
        let child = spawn("jail", &dir.cache(), 0);
        assert!(child.wait_with_output().unwrap().status.success());
        assert_sound(&dir.cache());
        assert_eq!(note_of(&dir.cache(), "jail").as_deref(), Some("9500"));
        let mut cache = start(&dir.cache());
        for n in 0..10_000 {
            assert_eq!(cache.lookup(address(n)), Cached::Found(verdict(n)), "{n}");
        }
        cache.flush_and_close();
    }
}
