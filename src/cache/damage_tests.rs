//! Random bytes of the files are others than they were: whatever they are, a start gets a file
//! that it can use, look-ups and writing either work or find damage, and nothing is endless.
//!
//! `GATEPOST_DAMAGES` says how many files are damaged, `GATEPOST_SEED` which alone.

use std::path::Path;

use super::*;
use crate::cache::clock::SystemClock;
use crate::cache::record;
use crate::cache::set_aside::with_suffix;
use crate::cache::sqlite::{OpenOptions, open, open_or_set_aside};
use crate::cache::test_dir::TestDir;
use crate::screen::test_set::{Test, TestSet};
use std::net::IpAddr;

const DAMAGES: u64 = 40;
const ROWS: u32 = 3_000;
/// More turns than a clean-up of so few rows needs.
const TURNS: u32 = 2_000;

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }
}

fn address(n: u32) -> IpAddr {
    IpAddr::V4(n.wrapping_mul(2_654_435_761).into())
}

/// The bytes of a database and of its log, both with something in them.
fn sound() -> [Vec<u8>; 2] {
    let dir = TestDir::new();
    let path = dir.file("c");
    let opened = open(&path, &OpenOptions::default()).unwrap();
    let insert = |range: std::ops::Range<u32>| {
        opened.writer.execute_batch("BEGIN").unwrap();
        for n in range {
            let sql = "INSERT INTO verdict VALUES (?1, ?2, 1, 1, 1, 1)";
            let key = record::Key::of(address(n));
            // Every third one has expired.
            let end = if n % 3 == 0 { 5 } else { 4_000_000_000_u32 };
            opened.writer.execute(sql, (key.bytes(), end)).unwrap();
        }
        opened.writer.execute_batch("COMMIT").unwrap();
    };
    insert(0..ROWS / 2);
    let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
    opened.writer.query_row(checkpoint, [], |row| row.get::<_, i64>(0)).unwrap();
    insert(ROWS / 2..ROWS);
    ["", "-wal"].map(|suffix| std::fs::read(with_suffix(&path, suffix)).unwrap())
}

fn damage(files: &mut [Vec<u8>; 2], dice: &mut Dice) {
    let most = [1, 10, 100][dice.below(3)];
    for _ in 0..=dice.below(most) {
        let bytes = &mut files[dice.below(2)];
        // Most depends on the beginning.
        let end = [100, 4_096, bytes.len()][dice.below(3)];
        let place = dice.below(end);
        bytes[place] = u8::try_from(dice.below(256)).unwrap();
    }
    if dice.below(8) == 0 {
        let bytes = &mut files[dice.below(2)];
        bytes.truncate(dice.below(bytes.len()));
    }
}

/// Returns whether the file was set aside, and whether damage was found later.
fn live_with(path: &Path) -> (bool, bool) {
    let opened = open_or_set_aside(path, &OpenOptions::default()).unwrap();
    let set_aside = opened.set_aside.is_some();
    let mut reader = opened.reader;
    let mut damaged = false;
    for n in (0..ROWS).step_by(7) {
        damaged |= matches!(reader.lookup(address(n)), Err(Fault::Damaged(_)));
    }
    let policy = Policy {
        name: "c".to_owned(),
        enabled: TestSet::EMPTY.with(Test::Pregreet),
        retention: Duration::from_secs(60),
        interval: Some(Duration::from_secs(3_600)),
        max_entries: Some(500),
    };
    let opening = Opening { writer: opened.writer, time: opened.time, log_limit: 64 << 20, policy };
    let Ok(mut file) = File::new(opening) else { return (set_aside, true) };
    let mailbox = Mailbox::new(10_000, Box::new(|| ()));
    let mut now = SystemClock::new().now();
    let end = now.mono + Duration::from_secs(30);
    for turn in 0.. {
        assert!(turn < TURNS, "it does not come to an end");
        if turn < 20 {
            let record = record::parse("4000000000");
            let address = address(ROWS + turn);
            mailbox.push(Store { seq: u64::from(turn) + 1, address, record });
        }
        let Ok(nap) = file.turn("c", &mailbox, now) else { return (set_aside, true) };
        now.mono = now.mono.max(nap.until);
        if now.mono > end {
            break;
        }
    }
    (set_aside, damaged)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_bytes_are_damaged_a_start_and_a_life_go_on() {
    let sound = sound();
    let damages = variable("GATEPOST_DAMAGES").unwrap_or(DAMAGES);
    let seeds = match variable("GATEPOST_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=damages,
    };
    let (mut aside, mut found) = (0, 0);
    for seed in seeds {
        // Shown if the test fails.
        println!("GATEPOST_SEED={seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut files = sound.clone();
        damage(&mut files, &mut dice);
        let dir = TestDir::new();
        for (bytes, suffix) in files.iter().zip(["", "-wal"]) {
            std::fs::write(with_suffix(&dir.file("c"), suffix), bytes).unwrap();
        }
        let (at_start, later) = live_with(&dir.file("c"));
        aside += u64::from(at_start);
        found += u64::from(later);
    }
    println!("{aside} set aside at the start, damage found in use in {found}");
}
