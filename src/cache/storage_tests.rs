//! Tests of the storage thread's work, with clocks of their own.

use super::*;
use crate::cache::clock::SystemClock;
use crate::cache::reader::Reader;
use crate::cache::record;
use crate::cache::sqlite::{OpenOptions, connect, kept_reckoning, meta, open, set_meta};
use crate::cache::test_dir::TestDir;
use crate::screen::test_set::{TestSet, UnixTime};
use std::net::IpAddr;

fn policy() -> Policy {
    Policy {
        name: "c".to_owned(),
        enabled: TestSet::EMPTY,
        retention: Duration::from_secs(60),
        interval: None,
        max_entries: None,
    }
}

fn setup(dir: &TestDir) -> (File, Reader, Mailbox) {
    let opened = open(&dir.file("c"), &OpenOptions::default()).unwrap();
    opened.writer.busy_timeout(Duration::from_millis(1)).unwrap();
    let opening =
        Opening { writer: opened.writer, time: opened.time, log_limit: u64::MAX, policy: policy() };
    (File::new(opening).unwrap(), opened.reader, Mailbox::new(100, Box::new(|| ())))
}

/// Until then nothing is tried.
fn rest(until: Instant) -> Nap {
    Nap { until, stores_from: until }
}

fn push(mailbox: &Mailbox, seq: u64) -> IpAddr {
    let address = IpAddr::V4(u32::try_from(seq).unwrap().into());
    mailbox.push(Store { seq, address, record: record::parse("5") });
    address
}

#[test]
fn a_verdict_is_committed_at_once_and_synced_later() {
    let dir = TestDir::new();
    let (mut file, mut reader, mailbox) = setup(&dir);
    let mut now = SystemClock::new().now();
    let address = push(&mailbox, 1);
    let nap = file.turn("c", &mailbox, now).unwrap();
    assert_eq!(nap.stores_from, now.mono + BATCH_WINDOW);
    assert!(now.mono < nap.until && nap.until < now.mono + Duration::from_millis(950));
    assert_eq!(mailbox.written(), 1);
    assert!(reader.lookup(address).unwrap().is_some());
    now.mono = nap.until;
    let nap = file.turn("c", &mailbox, now).unwrap();
    assert_eq!(nap.until, now.mono, "what has come during the sync goes first");
    let nap = file.turn("c", &mailbox, now).unwrap();
    assert_eq!(nap, Nap { until: now.mono + LONGEST_SLEEP, stores_from: now.mono });
}

#[test]
fn commits_are_a_window_apart_and_a_stream_needs_nobody_to_wake_the_thread() {
    let dir = TestDir::new();
    let (mut file, _reader, mailbox) = setup(&dir);
    let mut now = SystemClock::new().now();
    push(&mailbox, 1);
    let first = file.turn("c", &mailbox, now).unwrap();
    push(&mailbox, 2);
    push(&mailbox, 3);
    now.mono += BATCH_WINDOW / 2;
    assert_eq!(file.turn("c", &mailbox, now), Ok(first));
    assert_eq!(mailbox.written(), 1);
    now.mono += BATCH_WINDOW / 2;
    let second = file.turn("c", &mailbox, now).unwrap();
    assert_eq!(mailbox.written(), 3);
    let tick = now.mono + BATCH_WINDOW;
    assert_eq!(second, Nap { until: tick, stores_from: tick });
    now.mono = tick;
    let third = file.turn("c", &mailbox, now).unwrap();
    assert!(third.until > now.mono + BATCH_WINDOW, "the stream has ended");
}

#[test]
fn what_waits_is_committed_before_the_disk_is_waited_for() {
    let dir = TestDir::new();
    let (mut file, _reader, mailbox) = setup(&dir);
    let mut now = SystemClock::new().now();
    push(&mailbox, 1);
    let sync = file.turn("c", &mailbox, now).unwrap().until;
    now.mono = sync - BATCH_WINDOW / 2;
    push(&mailbox, 2);
    file.turn("c", &mailbox, now).unwrap();
    push(&mailbox, 3);
    now.mono = sync - BATCH_WINDOW / 4;
    file.turn("c", &mailbox, now).unwrap();
    assert_eq!(mailbox.written(), 2, "the window is not over");
    now.mono = sync;
    file.turn("c", &mailbox, now).unwrap();
    assert_eq!(mailbox.written(), 3);
    assert_eq!(file.writer.sync_due(), None, "and it was synced with the others");
}

#[test]
fn what_does_not_fit_into_a_batch_does_not_wait_for_the_next_window() {
    let dir = TestDir::new();
    let (mut file, _reader, _mailbox) = setup(&dir);
    let mailbox = Mailbox::new(10_000, Box::new(|| ()));
    let rows = u64::try_from(BATCH_ROWS).unwrap();
    for seq in 1..=2 * rows + 1 {
        push(&mailbox, seq);
    }
    let now = SystemClock::new().now();
    for written in [rows, 2 * rows] {
        let nap = file.turn("c", &mailbox, now).unwrap();
        assert_eq!((mailbox.written(), nap.stores_from), (written, now.mono));
    }
    let nap = file.turn("c", &mailbox, now).unwrap();
    assert_eq!((mailbox.written(), nap.stores_from), (2 * rows + 1, now.mono + BATCH_WINDOW));
}

#[test]
fn another_writer_delays_verdicts_and_loses_none() {
    let dir = TestDir::new();
    let (mut file, mut reader, mailbox) = setup(&dir);
    let foreign = connect(&dir.file("c"), Duration::ZERO).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut now = SystemClock::new().now();
    let address = push(&mailbox, 1);
    for _ in 0..5 {
        assert_eq!(file.turn("c", &mailbox, now), Ok(rest(now.mono + BUSY_PAUSE)));
        now.mono += BUSY_PAUSE;
    }
    assert_eq!(mailbox.waiting().count, 1);
    foreign.execute_batch("ROLLBACK").unwrap();
    file.turn("c", &mailbox, now).unwrap();
    assert_eq!(mailbox.waiting().count, 0);
    assert!(reader.lookup(address).unwrap().is_some());
}

fn notes(dir: &TestDir) -> Vec<(String, String)> {
    open(&dir.file("c"), &OpenOptions::default()).unwrap().notes
}

fn pair(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[test]
fn a_note_has_its_own_commit_and_sync() {
    let dir = TestDir::new();
    let (mut file, _reader, mailbox) = setup(&dir);
    let mut now = SystemClock::new().now();
    mailbox.note("a", "1");
    let nap = file.turn("c", &mailbox, now).unwrap();
    assert_eq!(nap.stores_from, now.mono + BATCH_WINDOW);
    assert!(now.mono < nap.until && nap.until < now.mono + Duration::from_millis(950));
    assert_eq!(notes(&dir), [pair("a", "1")]);
    assert!(mailbox.waiting().is_empty());
    now.mono = nap.until;
    file.turn("c", &mailbox, now).unwrap();
    let nap = file.turn("c", &mailbox, now).unwrap();
    assert_eq!(nap.until, now.mono + LONGEST_SLEEP);
}

#[test]
fn a_note_goes_with_the_next_batch_of_verdicts() {
    let dir = TestDir::new();
    let (mut file, mut reader, mailbox) = setup(&dir);
    let now = SystemClock::new().now();
    let address = push(&mailbox, 1);
    mailbox.note("a", "1");
    file.turn("c", &mailbox, now).unwrap();
    assert!(mailbox.waiting().is_empty());
    assert_eq!(mailbox.written(), 1);
    assert!(reader.lookup(address).unwrap().is_some());
    assert_eq!(notes(&dir), [pair("a", "1")]);
}

#[test]
fn notes_wait_for_another_writer_and_a_newer_text_takes_their_place() {
    let dir = TestDir::new();
    let (mut file, _reader, mailbox) = setup(&dir);
    let foreign = connect(&dir.file("c"), Duration::ZERO).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut now = SystemClock::new().now();
    mailbox.note("a", "1");
    for _ in 0..5 {
        assert_eq!(file.turn("c", &mailbox, now), Ok(rest(now.mono + BUSY_PAUSE)));
        now.mono += BUSY_PAUSE;
    }
    mailbox.note("a", "2");
    assert_eq!(mailbox.waiting().notes, 1);
    foreign.execute_batch("ROLLBACK").unwrap();
    file.turn("c", &mailbox, now).unwrap();
    assert!(mailbox.waiting().is_empty());
    assert_eq!(notes(&dir), [pair("a", "2")]);
}

#[test]
fn notes_for_a_full_disk_are_kept() {
    let dir = TestDir::new();
    let (mut file, _reader, mailbox) = setup(&dir);
    let connection = file.writer.connection();
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    connection.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
    let mut now = SystemClock::new().now();
    let text = "x".repeat(4_000);
    for name in ["a", "b", "c"] {
        mailbox.note(name, &text);
    }
    for pause in [1, 2, 4] {
        let next = now.mono + Duration::from_secs(pause);
        assert_eq!(file.turn("c", &mailbox, now), Ok(rest(next)));
        now.mono = next;
    }
    assert_eq!(mailbox.waiting().notes, 3);
    file.writer.connection().execute_batch("PRAGMA max_page_count = 1000000").unwrap();
    file.turn("c", &mailbox, now).unwrap();
    assert!(mailbox.waiting().is_empty());
    assert_eq!(notes(&dir), ["a", "b", "c"].map(|name| pair(name, &text)));
}

#[test]
fn the_end_waits_for_notes_without_verdicts() {
    let dir = TestDir::new();
    let (file, _reader, mailbox) = setup(&dir);
    let foreign = connect(&dir.file("c"), Duration::ZERO).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let now = Instant::now();
    mailbox.note("a", "1");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            foreign.execute_batch("ROLLBACK").unwrap();
        });
        file.finish("c", &mailbox, &SystemClock::new(), now + Duration::from_secs(20));
    });
    assert!(mailbox.waiting().is_empty());
    assert_eq!(notes(&dir), [pair("a", "1")]);
}

#[test]
fn a_full_disk_is_tried_again_with_growing_pauses() {
    let dir = TestDir::new();
    let (mut file, mut reader, mailbox) = setup(&dir);
    let connection = file.writer.connection();
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    connection.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
    // One leaf holds some dozens of rows; these need a second one.
    let mut now = SystemClock::new().now();
    for seq in 1..=90 {
        let address = IpAddr::V6(u128::from(seq).into());
        mailbox.push(Store { seq, address, record: record::parse(&["9999999999"; 5].join(";")) });
    }
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        let next = now.mono + Duration::from_secs(pause);
        assert_eq!(file.turn("c", &mailbox, now), Ok(rest(next)));
        let early = Moment { mono: next - Duration::from_millis(1), ..now };
        assert_eq!(file.turn("c", &mailbox, early), Ok(rest(next)), "it rests");
        now.mono = next;
    }
    assert_eq!(mailbox.waiting().count, 90);
    file.writer.connection().execute_batch("PRAGMA max_page_count = 1000000").unwrap();
    file.turn("c", &mailbox, now).unwrap();
    assert_eq!(mailbox.waiting().count, 0);
    assert!(reader.lookup(IpAddr::V6(90.into())).unwrap().is_some());
}

#[test]
fn a_table_that_is_gone_is_damage() {
    let dir = TestDir::new();
    let (mut file, _reader, mailbox) = setup(&dir);
    file.writer.connection().execute_batch("DROP TABLE verdict").unwrap();
    let now = SystemClock::new().now();
    push(&mailbox, 1);
    let damage = file.turn("c", &mailbox, now).unwrap_err();
    assert!(damage.contains("no such table"), "{damage}");
}

#[test]
fn a_note_finds_damage_too() {
    let dir = TestDir::new();
    let (mut file, _reader, mailbox) = setup(&dir);
    file.writer.connection().execute_batch("DROP TABLE meta").unwrap();
    let now = SystemClock::new().now();
    mailbox.note("a", "1");
    let damage = file.turn("c", &mailbox, now).unwrap_err();
    assert!(damage.contains("no such table"), "{damage}");
}

#[test]
fn what_the_clock_comes_to_is_kept_with_the_file_and_counts_for_the_loop() {
    const DAY: i64 = 86_400;
    let dir = TestDir::new();
    let path = dir.file("c");
    drop(open(&path, &OpenOptions::default()).unwrap());
    // The file was in use a day ahead of now, in an earlier run of the machine.
    let reading = Reading::now();
    let last = reading.wall + DAY;
    let other = connect(&path, Duration::ZERO).unwrap();
    set_meta(&other, meta::LAST_SYNC, last).unwrap();
    other.execute("UPDATE meta SET value = '5 0 closed x' WHERE name = 'clock'", []).unwrap();
    let (mut file, _reader, mailbox) = setup(&dir);
    let clock = file.time.clock.clone();
    let near = |time: UnixTime, expected: i64| {
        let expected = u64::try_from(expected).unwrap();
        (expected - 3..expected + 30).contains(&{ time.0 })
    };
    assert!(near(clock.now().wall, last), "{:?}", clock.now());
    file.turn("c", &mailbox, clock.now()).unwrap();
    assert!(near(clock.now().wall, last), "the clock was not set: {:?}", clock.now());
    // It is set to two days later.
    let reading = Reading { wall: last + 2 * DAY, ..Reading::now() };
    file.look_at_clocks("c", reading);
    assert!(near(clock.now().wall, last + 2 * DAY), "{:?}", clock.now());
    file.turn("c", &mailbox, clock.now()).unwrap();
    assert_eq!(kept_reckoning(&other).unwrap().as_ref(), Some(file.time.watch.reckoning()));
    let (next, ..) = setup(&dir);
    assert!(near(next.time.clock.now().wall, last + 2 * DAY));
}
