//! Tests of the loop's handle, with a real storage thread where one is needed.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::cache::record;
use crate::cache::sqlite::{OpenOptions, connect, open};
use crate::cache::test_dir::TestDir;
use crate::cache::watchdog::Heartbeat;
use crate::screen::test_set::{Expiry, Test};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

struct SetClock(Mutex<Moment>);

impl SetClock {
    fn new() -> Arc<SetClock> {
        Arc::new(SetClock(Mutex::new(SystemClock::new().now())))
    }

    fn pass(&self, span: Duration) {
        let mut moment = self.0.lock().unwrap();
        moment.mono += span;
        moment.wall = moment.wall.plus(span);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }
}

fn address(n: u32) -> IpAddr {
    IpAddr::V4(n.into())
}

/// Without clean-ups: the verdicts here expired long ago, and the first clean-up of a file is
/// due at once.
fn options() -> CacheOptions {
    CacheOptions {
        cleanup_interval: None,
        ..CacheOptions::new("sqlite:c", TestSet::EMPTY.with(Test::Pregreet))
    }
}

fn start(path: &Path) -> Cache {
    let opened = open(path, &OpenOptions::default()).unwrap();
    Cache::start(opened, options(), None, Box::new(|| ())).unwrap()
}

fn until(seconds: u64) -> CacheRecord {
    record::parse(&seconds.to_string())
}

fn wait_for(mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < deadline, "it does not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_verdict_is_found_at_once_and_by_the_next_process() {
    let dir = TestDir::new();
    let mut cache = start(&dir.file("c"));
    assert_eq!(cache.lookup(address(1)), Cached::NotFound);
    cache.store(address(1), until(5));
    assert_eq!(cache.lookup(address(1)), Cached::Found(until(5)));
    cache.store(address(1), until(6));
    assert_eq!(cache.lookup(address(1)), Cached::Found(until(6)));
    cache.flush_and_close();
    let mut next = start(&dir.file("c"));
    assert_eq!(next.lookup(address(1)), Cached::Found(until(6)));
}

#[test]
fn another_process_sees_a_verdict_without_a_close() {
    let dir = TestDir::new();
    let mut cache = start(&dir.file("c"));
    cache.store(address(1), until(5));
    let mut other = open(&dir.file("c"), &OpenOptions::default()).unwrap();
    wait_for(|| other.reader.lookup(address(1)).unwrap().is_some());
    wait_for(|| cache.mailbox.waiting().count == 0);
    assert_eq!(cache.lookup(address(1)), Cached::Found(until(5)));
    let Mode::File { unwritten, .. } = &cache.mode else { panic!("a file") };
    assert_eq!(unwritten.get(address(1)), None, "it is read from the file by now");
}

/// A cache with a clock of its own and nobody who writes, and another process.
fn set_up(dir: &TestDir) -> (Cache, Arc<SetClock>, Connection) {
    let opened = open(&dir.file("c"), &OpenOptions::default()).unwrap();
    let clock = SetClock::new();
    let mode = Mode::file(opened.reader, clock.now().mono);
    let own = Arc::clone(&clock);
    let cache = Cache::with_thread(mode, None, options(), None, Box::new(|| ()), own).unwrap();
    (cache, clock, Connection::open(dir.file("c")).unwrap())
}

/// Another process stores what is valid until a second.
fn put(other: &Connection, n: u32, end: u64) {
    let sql = "INSERT INTO verdict VALUES (?1, ?2, 1, 1, 1, 1)
               ON CONFLICT (address) DO UPDATE SET pregreet = ?2";
    other.execute(sql, (n.to_be_bytes(), i64::try_from(end).unwrap())).unwrap();
}

const FAR: u64 = 4_000_000_000;

/// Removes a verdict so that it is not counted, as no program does.
fn remove_uncounted(other: &Connection, n: u32) {
    other.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    other.execute("DELETE FROM verdict WHERE address = ?1", [n.to_be_bytes()]).unwrap();
    other.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true).unwrap();
}

#[test]
fn newer_verdicts_of_others_count_and_valid_ones_come_from_memory() {
    let dir = TestDir::new();
    let (mut cache, clock, other) = set_up(&dir);
    put(&other, 1, 5);
    assert_eq!(cache.lookup(address(1)), Cached::Found(until(5)));
    let end = clock.now().wall.plus(Duration::from_secs(5));
    put(&other, 1, end.0);
    assert_eq!(cache.lookup(address(1)), Cached::Found(until(end.0)), "the old one had expired");
    remove_uncounted(&other, 1);
    assert_eq!(cache.lookup(address(1)), Cached::Found(until(end.0)), "from memory");
    clock.pass(Duration::from_secs(6));
    assert_eq!(cache.lookup(address(1)), Cached::NotFound, "expired, so the file is asked");
}

#[test]
fn a_verdict_that_a_clock_ahead_has_stamped_runs_out_like_any_other() {
    let dir = TestDir::new();
    let path = dir.file("c");
    let month = Duration::from_secs(30 * 86_400);
    let open_bounded = || {
        let mut cache = start(&path);
        cache.options.longest = Some(month);
        cache
    };
    let mut cache = open_bounded();
    let other = Connection::open(&path).unwrap();
    put(&other, 1, FAR);
    let begin = cache.now().wall.plus(month).0;
    put(&other, 2, begin - 1);
    let Cached::Found(bounded) = cache.lookup(address(1)) else { panic!("it is there") };
    let Expiry::Until(UnixTime(end)) = bounded.pregreet else { panic!("it has passed") };
    assert!((begin..begin + 20).contains(&end), "{end}");
    assert_eq!(cache.lookup(address(2)), Cached::Found(until(begin - 1)), "it may be true");
    cache.flush_and_close();
    // A later look does not prolong it, and the others see it.
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(open_bounded().lookup(address(1)), Cached::Found(bounded));
    let sql = "SELECT pregreet FROM verdict WHERE address = ?1";
    let stored: i64 = other.query_row(sql, [1_u32.to_be_bytes()], |row| row.get(0)).unwrap();
    assert_eq!(u64::try_from(stored), Ok(end));
}

#[test]
fn the_memory_answers_for_long_as_nothing_is_removed() {
    let dir = TestDir::new();
    let (mut cache, clock, other) = set_up(&dir);
    put(&other, 1, FAR);
    assert_eq!(cache.lookup(address(1)), Cached::Found(until(FAR)));
    remove_uncounted(&other, 1);
    for _ in 0..59 {
        clock.pass(Duration::from_secs(10));
        assert_eq!(cache.lookup(address(1)), Cached::Found(until(FAR)));
    }
    clock.pass(Duration::from_secs(10));
    assert_eq!(cache.lookup(address(1)), Cached::NotFound, "too old, so the file is asked");
}

#[test]
fn a_removal_by_another_program_is_noticed_within_a_second() {
    let dir = TestDir::new();
    let (mut cache, clock, other) = set_up(&dir);
    for n in 1..=3 {
        put(&other, n, FAR);
        assert_eq!(cache.lookup(address(n)), Cached::Found(until(FAR)));
    }
    other.execute("DELETE FROM verdict WHERE address = x'00000002'", []).unwrap();
    clock.pass(TRUST - Duration::from_millis(1));
    assert_eq!(cache.lookup(address(2)), Cached::Found(until(FAR)), "it was looked at just now");
    clock.pass(Duration::from_millis(1));
    // Whichever look-up it is that notices.
    assert_eq!(cache.lookup(address(1)), Cached::Found(until(FAR)));
    assert_eq!(cache.lookup(address(2)), Cached::NotFound);
    assert_eq!(cache.lookup(address(3)), Cached::Found(until(FAR)));
    other.execute("UPDATE verdict SET pregreet = 0", []).unwrap();
    clock.pass(TRUST);
    assert_eq!(cache.lookup(address(3)), Cached::Found(record::parse("0")));
}

#[test]
fn what_was_removed_before_it_was_noticed_is_not_taken_in_again() {
    let dir = TestDir::new();
    let (mut cache, clock, other) = set_up(&dir);
    put(&other, 1, FAR);
    put(&other, 2, FAR);
    other.execute("DELETE FROM verdict WHERE address = x'00000001'", []).unwrap();
    // The count has changed by now, which is not known yet.
    assert_eq!(cache.lookup(address(2)), Cached::Found(until(FAR)));
    other.execute("DELETE FROM verdict", []).unwrap();
    clock.pass(TRUST);
    assert_eq!(cache.lookup(address(2)), Cached::NotFound);
}

#[test]
fn in_a_turn_a_verdict_is_found_even_if_it_was_committed_after_the_snapshot() {
    let dir = TestDir::new();
    let mut cache = start(&dir.file("c"));
    for round in 0..5 {
        cache.begin_turn();
        assert_eq!(cache.lookup(address(100)), Cached::NotFound);
        assert_eq!(cache.lookup(address(101)), Cached::NotFound);
        // Something expired, so that the memory does not answer.
        cache.store(address(round), until(5));
        wait_for(|| cache.mailbox.waiting().is_empty());
        assert_eq!(cache.lookup(address(round)), Cached::Found(until(5)));
        cache.end_turn();
        assert_eq!(cache.lookup(address(round)), Cached::Found(until(5)));
    }
}

fn notes(path: &Path) -> Vec<(String, String)> {
    open(path, &OpenOptions::default()).unwrap().notes
}

fn pair(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[test]
fn notes_are_written_without_a_close_and_before_one() {
    let dir = TestDir::new();
    let path = dir.file("c");
    let mut cache = start(&path);
    assert_eq!(notes(&path), []);
    cache.note("b", "1");
    wait_for(|| notes(&path) == [pair("b", "1")]);
    wait_for(|| cache.mailbox.waiting().is_empty());
    // The thread sleeps by now.
    cache.note("a", "2");
    wait_for(|| notes(&path) == [pair("a", "2"), pair("b", "1")]);
    cache.note("b", "3");
    cache.note("b", "4");
    cache.flush_and_close();
    assert_eq!(notes(&path), [pair("a", "2"), pair("b", "4")]);
}

#[test]
fn an_older_file_has_no_notes_and_takes_some() {
    let dir = TestDir::new();
    let path = dir.file("c");
    let mut cache = start(&path);
    cache.store(address(1), until(4_000_000_000));
    cache.flush_and_close();
    let version = |path: &Path| -> i64 {
        let connection = connect(path, Duration::from_secs(5)).unwrap();
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    assert_eq!(version(&path), 2);
    let mut cache = start(&path);
    cache.note("a", "1");
    cache.flush_and_close();
    assert_eq!((notes(&path), version(&path)), (vec![pair("a", "1")], 2));
    assert_eq!(start(&path).lookup(address(1)), Cached::Found(until(4_000_000_000)));
}

#[test]
fn a_clean_up_leaves_notes_alone() {
    let dir = TestDir::new();
    let path = dir.file("c");
    let mut cache = start(&path);
    cache.store(address(1), until(5));
    cache.note("cleanup_claimed", "mine");
    cache.note("last_cleanup_completed", "mine");
    cache.flush_and_close();
    let opened = open(&path, &OpenOptions::default()).unwrap();
    let options = CacheOptions { cleanup_interval: Some(Duration::from_secs(60)), ..options() };
    let cleaning = Cache::start(opened, options, None, Box::new(|| ())).unwrap();
    let mut other = open(&path, &OpenOptions::default()).unwrap();
    wait_for(|| other.reader.lookup(address(1)).unwrap().is_none());
    cleaning.flush_and_close();
    let expected = [pair("cleanup_claimed", "mine"), pair("last_cleanup_completed", "mine")];
    assert_eq!(notes(&path), expected);
}

#[test]
fn notes_without_a_file_are_dropped() {
    let mut caches = [Cache::none(None).unwrap(), Cache::in_memory(options(), None).unwrap()];
    for cache in &mut caches {
        cache.note("a", "1");
        assert!(cache.mailbox.waiting().is_empty());
    }
    let dir = TestDir::new();
    let mut cache = start(&dir.file("c"));
    let other = connect(&dir.file("c"), Duration::from_secs(5)).unwrap();
    other.execute_batch("DROP TABLE meta").unwrap();
    cache.note("a", "1");
    wait_for(|| cache.mailbox.is_damaged());
    assert_eq!(cache.events().len(), 1);
    cache.note("b", "1");
    assert!(cache.mailbox.waiting().is_empty());
    cache.flush_and_close();
}

#[test]
fn damage_is_reported_once_and_the_memory_goes_on() {
    let dir = TestDir::new();
    let opened = open(&dir.file("c"), &OpenOptions::default()).unwrap();
    let woken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&woken);
    let wake = Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let mut cache = Cache::start(opened, options(), None, wake).unwrap();
    cache.store(address(1), until(4_000_000_000));
    wait_for(|| cache.mailbox.waiting().count == 0);
    let other = connect(&dir.file("c"), Duration::from_secs(5)).unwrap();
    other.execute_batch("DROP TABLE verdict").unwrap();
    cache.store(address(2), until(6));
    wait_for(|| woken.load(Ordering::SeqCst) == 1);
    let events = cache.events();
    assert!(matches!(events.as_slice(), [CacheEvent::Damaged(_)]), "{events:?}");
    assert!(matches!(cache.mode, Mode::Memory));
    for (n, seconds) in [(1, 4_000_000_000), (2, 6)] {
        assert_eq!(cache.lookup(address(n)), Cached::Found(until(seconds)));
    }
    cache.store(address(3), until(7));
    assert_eq!(cache.lookup(address(3)), Cached::Found(until(7)));
    assert_eq!(cache.events(), []);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    cache.flush_and_close();
}

#[test]
fn damage_that_a_look_up_finds_is_reported_too() {
    let dir = TestDir::new();
    let mut cache = start(&dir.file("c"));
    let other = connect(&dir.file("c"), Duration::from_secs(5)).unwrap();
    other.execute_batch("DROP TABLE verdict").unwrap();
    assert_eq!(cache.lookup(address(1)), Cached::NotFound);
    assert_eq!(cache.events().len(), 1);
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let mut cache = Cache::none(None).unwrap();
    cache.store(address(1), until(5));
    assert_eq!(cache.lookup(address(1)), Cached::NotFound);
    cache.flush_and_close();
}

#[test]
fn a_memory_cache_keeps_what_it_has_room_for() {
    let options = CacheOptions { memory_entries: 10, ..options() };
    let mut cache = Cache::in_memory(options, None).unwrap();
    for n in 0..100 {
        cache.store(address(n), until(u64::from(n) + 2));
    }
    assert_eq!(cache.lookup(address(99)), Cached::Found(until(101)));
    assert_eq!(cache.lookup(address(5)), Cached::NotFound);
    cache.flush_and_close();
}

#[test]
fn a_stuck_writer_costs_the_oldest_verdicts_only() {
    let dir = TestDir::new();
    let opened = open(&dir.file("c"), &OpenOptions::default()).unwrap();
    let Opened { reader, .. } = opened;
    let options = CacheOptions { unwritten_entries: 10, recent_entries: 2, ..options() };
    let mode = Mode::file(reader, Instant::now());
    let clock = Arc::new(SystemClock::new());
    let mut cache = Cache::with_thread(mode, None, options, None, Box::new(|| ()), clock).unwrap();
    for n in 0..100 {
        cache.store(address(n), until(5));
    }
    assert_eq!(cache.mailbox.waiting().count, 10);
    assert_eq!(cache.lookup(address(95)), Cached::Found(until(5)));
    assert_eq!(cache.lookup(address(50)), Cached::NotFound);
}

#[test]
fn the_watchdog_barks_without_a_cache() {
    let heartbeat = Arc::new(Heartbeat::new());
    let barks = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&barks);
    let on_hang = Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    heartbeat.turn_begins();
    let watchdog = Watchdog::new(Arc::clone(&heartbeat), Duration::from_millis(30), on_hang);
    let _cache = Cache::none(Some(watchdog)).unwrap();
    wait_for(|| barks.load(Ordering::SeqCst) == 1);
}
