//! Tests of the clean-up, with clocks of their own.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::cache::mailbox::Store;
use crate::cache::sqlite::{OpenOptions, open};
use crate::cache::sweep::FIRST_ROWS;
use crate::cache::test_dir::TestDir;
use crate::cache::writer::Writer;

const NOW: UnixTime = UnixTime(1_800_000_000);
const DAY: u64 = 86_400;
/// Longer than any pause between two steps.
const STEP: Duration = Duration::from_secs(1);

struct Bench {
    _dir: TestDir,
    writer: Writer,
    now: Moment,
}

impl Bench {
    fn new() -> Bench {
        let dir = TestDir::new();
        let opened = open(&dir.file("c"), &OpenOptions::default()).unwrap();
        let now = Moment { mono: Instant::now(), wall: NOW };
        Bench { _dir: dir, writer: Writer::new(opened.writer, u64::MAX).unwrap(), now }
    }

    fn pass(&mut self, span: Duration) {
        self.now.mono += span;
        self.now.wall = self.now.wall.plus(span);
    }

    fn store(&mut self, verdicts: impl IntoIterator<Item = (u32, String)>) {
        let stores: Vec<Store> = verdicts
            .into_iter()
            .map(|(n, text)| Store {
                seq: 1,
                address: IpAddr::V4(Ipv4Addr::from(n)),
                record: record::parse(&text),
            })
            .collect();
        self.writer.commit(&stores, &[], self.now.mono).unwrap();
    }

    fn stored(&mut self) -> Vec<u32> {
        scan(self.writer.connection(), &[], 1_000_000)
            .unwrap()
            .into_iter()
            .map(|row| u32::from_be_bytes(row.key.try_into().unwrap()))
            .collect()
    }

    fn meta(&mut self, name: &str) -> Option<i64> {
        get_meta(self.writer.connection(), name).unwrap()
    }

    fn turn(&mut self, cleanup: &mut Cleanup) -> Turn {
        cleanup.turn(self.writer.connection(), self.now).unwrap()
    }

    /// Turns until no run is under way; the messages.
    fn run(&mut self, cleanup: &mut Cleanup) -> Vec<String> {
        let mut messages = Vec::new();
        for _ in 0..10_000 {
            let turn = self.turn(cleanup);
            messages.extend(turn.message.map(|message| message.text));
            if cleanup.run.is_none() {
                return messages;
            }
            self.pass(turn.next - self.now.mono);
        }
        panic!("no end");
    }
}

fn policy(tests: &[Test]) -> Policy {
    Policy {
        name: "sqlite:/x/c".to_owned(),
        enabled: tests.iter().copied().collect(),
        retention: Duration::from_secs(7 * DAY),
        interval: Some(Duration::from_secs(DAY / 2)),
        max_entries: None,
    }
}

fn at(offset: i64) -> u64 {
    NOW.0.checked_add_signed(offset).unwrap()
}

const RETENTION: i64 = 7 * 86_400;

#[test]
fn a_record_stays_while_every_enabled_test_was_valid_within_the_retention_time() {
    let records = [
        (1, format!("{};1;1;1;1", at(60))),
        (2, format!("{};1;1;1;1", at(-RETENTION))),
        (3, format!("{};1;1;1;1", at(-RETENTION - 1))),
        (4, "0;1;1;1;1".to_owned()),
        (5, "1;1;1;1;1".to_owned()),
        (6, format!("{};0;0;0;0", at(60))),
        (7, format!("{};1;{};{};{}", at(60), at(60), at(60), at(60))),
        (8, "-5;1".to_owned()),
    ];
    let all = [Test::Pregreet, Test::Pipelining, Test::NonSmtpCommand, Test::BareNewline];
    for (enabled, kept) in
        [(&all[..1], vec![1, 2, 6, 7]), (&all[..], vec![7]), (&[][..], (1..=8).collect())]
    {
        let mut bench = Bench::new();
        bench.store(records.clone());
        let mut cleanup = Cleanup::new(policy(enabled));
        let messages = bench.run(&mut cleanup);
        assert_eq!(bench.stored(), kept, "{enabled:?}");
        let (retained, dropped) = (kept.len(), 8 - kept.len());
        let text = format!(
            "cache sqlite:/x/c full cleanup: retained={retained} dropped={dropped} entries"
        );
        assert_eq!(messages, [text]);
        assert_eq!(bench.meta(meta::LAST_CLEANUP_COMPLETED), Some(stamp(NOW)));
        assert_eq!(bench.meta(meta::CLEANUP_CLAIMED), None);
    }
}

#[test]
fn many_records_take_many_steps_and_stores_in_between_survive() {
    let mut bench = Bench::new();
    bench.store((1..=1_600).map(|n| (n, if n % 2 == 0 { "5;1" } else { "4000000000" }.to_owned())));
    let mut cleanup = Cleanup::new(policy(&[Test::Pregreet]));
    let first = bench.turn(&mut cleanup);
    assert_eq!(bench.stored().len(), 1_600 - FIRST_ROWS / 2);
    assert!(first.next > bench.now.mono + SHORTEST_PAUSE);
    bench.turn(&mut cleanup);
    assert_eq!(bench.stored().len(), 1_600 - FIRST_ROWS / 2, "it pauses");
    bench.store([(1_000, "4000000000".to_owned())]);
    bench.pass(first.next - bench.now.mono);
    let messages = bench.run(&mut cleanup);
    assert_eq!(messages, ["cache sqlite:/x/c full cleanup: retained=801 dropped=799 entries"]);
    assert!(bench.stored().contains(&1_000));
}

#[test]
fn the_next_run_is_an_interval_after_the_last_one() {
    let interval = Duration::from_secs(100);
    for (last, left) in [
        (None, 0),
        (Some(at(0)), 100),
        (Some(at(-30)), 70),
        (Some(at(-100)), 0),
        (Some(at(-5_000)), 0),
        (Some(at(5_000)), 100),
    ] {
        assert_eq!(time_left(last.map(UnixTime), interval, NOW), Duration::from_secs(left));
    }
}

#[test]
fn runs_repeat_and_never_means_never() {
    let mut bench = Bench::new();
    let mut cleanup = Cleanup::new(policy(&[Test::Pregreet]));
    assert_eq!(bench.run(&mut cleanup).len(), 1);
    for _ in 0..11 {
        bench.pass(Duration::from_secs(3_600));
        assert_eq!(bench.run(&mut cleanup).len(), 0);
    }
    bench.pass(Duration::from_secs(3_600));
    assert_eq!(bench.run(&mut cleanup).len(), 1);

    let mut cleanup = Cleanup::new(Policy { interval: None, ..policy(&[Test::Pregreet]) });
    for _ in 0..100 {
        bench.pass(Duration::from_secs(3_600));
        assert_eq!(bench.run(&mut cleanup).len(), 0);
    }
}

#[test]
fn two_processes_do_not_clean_at_once() {
    let mut bench = Bench::new();
    bench.store((1..=600).map(|n| (n, "4000000000".to_owned())));
    let mut first = Cleanup::new(policy(&[Test::Pregreet]));
    let mut second = Cleanup::new(policy(&[Test::Pregreet]));
    bench.turn(&mut first);
    bench.turn(&mut second);
    assert!(first.run.is_some() && second.run.is_none());
    bench.pass(STEP);
    assert_eq!(bench.run(&mut first).len(), 1);
    bench.pass(CLAIM);
    assert_eq!(bench.run(&mut second).len(), 0, "done by the other one");
    bench.pass(Duration::from_secs(DAY));
    assert_eq!(bench.run(&mut second).len(), 1);
}

#[test]
fn the_claim_of_a_dead_process_runs_out() {
    let mut bench = Bench::new();
    bench.store((1..=600).map(|n| (n, "4000000000".to_owned())));
    let mut killed = Cleanup::new(policy(&[Test::Pregreet]));
    bench.turn(&mut killed);
    drop(killed);
    let mut next = Cleanup::new(policy(&[Test::Pregreet]));
    assert_eq!(bench.run(&mut next).len(), 0);
    bench.pass(CLAIM);
    assert_eq!(bench.run(&mut next).len(), 1);
}

#[test]
fn an_interrupted_run_reports_what_it_has_done_and_starts_anew_later() {
    let mut bench = Bench::new();
    bench.store((1..=600).map(|n| (n, "4000000000".to_owned())));
    let mut cleanup = Cleanup::new(policy(&[Test::Pregreet]));
    assert_eq!(cleanup.interrupt(bench.writer.connection()), None);
    bench.turn(&mut cleanup);
    let message = cleanup.interrupt(bench.writer.connection()).unwrap();
    assert_eq!(message.text, "cache sqlite:/x/c partial cleanup: retained=500 dropped=0 entries");
    assert_eq!(bench.meta(meta::LAST_CLEANUP_COMPLETED), None);
    assert_eq!(bench.run(&mut Cleanup::new(policy(&[Test::Pregreet]))).len(), 1);
}

#[test]
fn a_clock_that_leaps_ahead_empties_nothing() {
    let mut bench = Bench::new();
    bench.now.wall = UnixTime(0);
    bench.store([(1, format!("{};1;1;1;1", at(60)))]);
    let mut cleanup = Cleanup::new(policy(&[Test::Pregreet]));
    assert_eq!(bench.run(&mut cleanup).len(), 1);
    assert_eq!(bench.stored(), [1], "in 1970 nothing has expired");
    // Shortly before the next run the clock is set, and set wrong.
    bench.pass(Duration::from_secs(DAY / 2 - 10));
    bench.now.wall = UnixTime(at(0) + 4_000 * DAY);
    let messages = bench.run(&mut cleanup);
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("the clock jumped"), "{messages:?}");
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.run(&mut cleanup).len(), 0);
    assert_eq!(bench.stored(), [1]);
    // Set right again before the interval is over.
    bench.now.wall = NOW;
    bench.pass(Duration::from_secs(DAY / 2));
    bench.run(&mut cleanup);
    assert_eq!(bench.stored(), [1]);
    bench.pass(Duration::from_secs(7 * DAY));
    bench.run(&mut cleanup);
    assert_eq!(bench.stored(), Vec::<u32>::new());
}

#[test]
fn what_expires_first_goes_first_when_there_are_too_many() {
    let mut bench = Bench::new();
    let end = |n: u32| at(i64::from(n % 1_000) * 3_600 + 7_200);
    bench.store((1..=3_000).map(|n| (n, format!("{};1;1;1;1", end(n)))));
    let mut cleanup =
        Cleanup::new(Policy { max_entries: Some(2_000), ..policy(&[Test::Pregreet]) });
    let messages = bench.run(&mut cleanup);
    bench.pass(STEP);
    let more = bench.run(&mut cleanup);
    assert_eq!(messages, ["cache sqlite:/x/c full cleanup: retained=3000 dropped=0 entries"]);
    assert_eq!(
        more,
        ["cache sqlite:/x/c held more than 2000 entries: retained=1800 dropped=1200 that expire \
          first"]
    );
    let stored = bench.stored();
    assert_eq!(stored.len(), 1_800);
    assert!(
        stored.iter().all(|n| n % 1_000 >= 400),
        "{:?}",
        stored.iter().map(|n| n % 1_000).min()
    );
    bench.pass(STEP);
    assert_eq!(bench.run(&mut cleanup).len(), 0);
    cleanup.note_stores(100);
    bench.pass(STEP);
    assert_eq!(bench.run(&mut cleanup).len(), 0, "still room");
}

#[test]
fn pages_that_are_free_do_not_count() {
    let mut bench = Bench::new();
    bench.store((1..=20_000).map(|n| (n, format!("{};1;1;1;1", at(-2 * RETENTION)))));
    bench.run(&mut Cleanup::new(policy(&[Test::Pregreet])));
    let pages = |name| -> u32 {
        bench.writer.connection().pragma_query_value(None, name, |row| row.get(0)).unwrap()
    };
    assert!(pages("page_count") > 50 && pages("freelist_count") > 50);
    let max_entries = Some(1_000);
    let mut cleanup = Cleanup::new(Policy { max_entries, ..policy(&[Test::Pregreet]) });
    bench.turn(&mut cleanup);
    assert!(cleanup.run.is_none(), "there is nothing to count");
}

#[test]
fn a_small_file_is_not_counted() {
    let mut bench = Bench::new();
    let mut cleanup = Cleanup::new(Policy {
        interval: None,
        max_entries: Some(1_000_000),
        ..policy(&[Test::Pregreet])
    });
    bench.turn(&mut cleanup);
    assert!(cleanup.run.is_none());
    cleanup.note_stores(1_000_000);
    bench.pass(STEP);
    bench.turn(&mut cleanup);
    assert_eq!(cleanup.entries, Some(0), "it was counted");
}
