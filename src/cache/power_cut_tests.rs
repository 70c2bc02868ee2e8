//! Loss of power, simulated: every write and sync of the cache's files is written down, on a
//! virtual clock. The power fails at any of them. What was synced is on the disk then; of what
//! was written later a random part is, torn at sector boundaries, in any order. What is left must
//! be sound, hold every verdict that is older than a second, and nothing that was never stored.
//!
//! `GATEPOST_POWER_CUTS` says how often the power fails, `GATEPOST_SEED` which history alone is
//! looked at.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::*;
use crate::cache::clock::SystemClock;
use crate::cache::record;
use crate::cache::sqlite::{OpenOptions, open, open_or_set_aside};
use crate::cache::test_dir::TestDir;
use crate::screen::test_set::{Test, TestSet, UnixTime};
use crate::sys::written::{self, Act};
use std::net::IpAddr;

const SECTOR: usize = 512;
/// What is promised.
const PROMISE: Duration = Duration::from_secs(1);
/// Of virtual time.
const HISTORY: Duration = Duration::from_secs(4);
const CUTS_PER_HISTORY: u64 = 12;
const CUTS: u64 = 120;
/// The number in the first verdict; each has its own, by which it is known again.
const FIRST: i64 = 4_000_000_000;

/// Marsaglia's xorshift.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }

    fn millis(&mut self, end: usize) -> Duration {
        Duration::from_millis(self.below(end) as u64)
    }
}

/// One process.
struct Process {
    file: File,
    mailbox: Mailbox,
    nap: Nap,
    seq: u64,
}

impl Process {
    fn new(path: &Path, now: Instant) -> Process {
        let policy = Policy {
            name: "c".to_owned(),
            enabled: TestSet::EMPTY.with(Test::Pregreet),
            retention: Duration::from_secs(60),
            interval: Some(Duration::from_secs(3_600)),
            max_entries: None,
        };
        let opened = open(path, &OpenOptions::default()).unwrap();
        let opening =
            Opening { writer: opened.writer, time: opened.time, log_limit: 64 << 20, policy };
        Process {
            file: File::new(opening).unwrap(),
            mailbox: Mailbox::new(10_000, Box::new(|| ())),
            nap: Nap { until: now, stores_from: now },
            seq: 0,
        }
    }

    /// When it goes on.
    fn wakes(&self) -> Instant {
        match self.mailbox.waiting().is_empty() {
            true => self.nap.until,
            false => self.nap.until.min(self.nap.stores_from),
        }
    }
}

/// What happened, in virtual time.
struct History {
    acts: Vec<(Instant, Act)>,
    /// When, about whom, with which number.
    stored: Vec<(Instant, IpAddr, i64)>,
}

fn history(dice: &mut Dice) -> History {
    let dir = TestDir::new();
    let path = dir.file("c");
    let directory = path.parent().unwrap();
    written::watch(directory);
    let mut now = SystemClock::new().now();
    let begin = now;
    let mut history = History { acts: Vec::new(), stored: Vec::new() };
    let mut processes: Vec<Process> =
        (0..1 + dice.below(2)).map(|_| Process::new(&path, begin.mono)).collect();
    expired(processes[0].file.writer.connection(), dice.below(4_000));
    let mut next_store = begin.mono;
    let rush = dice.below(200) + 1;
    while now.mono < begin.mono + HISTORY {
        now.wall = UnixTime(begin.wall.0 + (now.mono - begin.mono).as_secs());
        let (index, wakes) =
            processes.iter().map(Process::wakes).enumerate().min_by_key(|(_, at)| *at).unwrap();
        if next_store <= wakes {
            now.mono = now.mono.max(next_store);
            for _ in 0..=dice.below(rush) {
                let address = address(dice);
                let number = FIRST + i64::try_from(history.stored.len()).unwrap();
                // Else it would not be clear which of two is the last one.
                let process = usize::from(address.is_ipv6()) % processes.len();
                let process = &mut processes[process];
                process.seq += 1;
                let record = record::parse(&number.to_string());
                process.mailbox.push(Store { seq: process.seq, address, record });
                history.stored.push((now.mono, address, number));
            }
            let pause = if dice.below(10) == 0 { 900 } else { 50 };
            next_store = now.mono + dice.millis(pause);
        } else {
            // The machine may be busy.
            now.mono = now.mono.max(wakes) + dice.millis(15);
            let process = &mut processes[index];
            process.nap = process.file.turn("c", &process.mailbox, now).unwrap();
        }
        history.acts.extend(written::take(directory).into_iter().map(|act| (now.mono, act)));
    }
    history
}

/// Verdicts for the clean-up, which is to have something to do.
fn expired(connection: &Connection, count: usize) {
    connection.execute_batch("BEGIN").unwrap();
    for n in 0..u32::try_from(count).unwrap() {
        let sql = "INSERT INTO verdict VALUES (?1, 5, 1, 1, 1, 1)";
        connection.execute(sql, [(0x0b00_0000 + n * 7).to_be_bytes()]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn address(dice: &mut Dice) -> IpAddr {
    let number = u32::try_from(dice.below(6_000)).unwrap().wrapping_mul(2_654_435_761);
    match number & 3 {
        0 => IpAddr::V6((u128::from(number) << 64).into()),
        _ => IpAddr::V4(number.into()),
    }
}

/// What of a file is on the disk, and what may be.
#[derive(Default)]
struct Medium {
    /// Since the first sync; before that not even its name need be there.
    safe: Option<Vec<u8>>,
    unsafe_acts: Vec<Act>,
}

fn write(content: &mut Vec<u8>, place: usize, bytes: &[u8]) {
    content.resize(content.len().max(place + bytes.len()), 0);
    content[place..place + bytes.len()].copy_from_slice(bytes);
}

impl Medium {
    fn sync(&mut self) {
        let content = self.safe.get_or_insert_default();
        for act in self.unsafe_acts.drain(..) {
            match act {
                Act::Write(_, place, bytes) => write(content, place, &bytes),
                Act::Truncate(_, size) => content.resize(size, 0),
                Act::Sync(_) | Act::Delete(_) => {}
            }
        }
    }

    /// What is found after the power has failed; `percent` of what was not synced is there.
    fn found(&self, dice: &mut Dice, percent: usize) -> Option<Vec<u8>> {
        let mut content = match &self.safe {
            None if dice.below(2) == 0 => return None,
            safe => safe.clone().unwrap_or_default(),
        };
        for act in &self.unsafe_acts {
            match act {
                Act::Write(_, place, bytes) => {
                    let mut rest = &bytes[..];
                    let mut place = *place;
                    while !rest.is_empty() {
                        let (sector, more) = rest.split_at(rest.len().min(SECTOR - place % SECTOR));
                        if dice.below(100) < percent {
                            write(&mut content, place, sector);
                        }
                        place += sector.len();
                        rest = more;
                    }
                }
                Act::Truncate(_, size) if dice.below(100) < percent => content.resize(*size, 0),
                Act::Truncate(..) | Act::Sync(_) | Act::Delete(_) => {}
            }
        }
        Some(content)
    }
}

/// The files as they are found if the power fails before act number `cut`.
fn survivors(acts: &[(Instant, Act)], cut: usize, dice: &mut Dice) -> BTreeMap<String, Vec<u8>> {
    let mut disk: BTreeMap<String, Medium> = BTreeMap::new();
    for (_, act) in &acts[..cut] {
        match act {
            Act::Write(name, ..) | Act::Truncate(name, _) => {
                disk.entry(name.clone()).or_default().unsafe_acts.push(act.clone());
            }
            // The first sync of a log is one of the directory, too: SQLite sees to that.
            Act::Sync(name) => {
                disk.entry(name.clone()).or_default().sync();
                for other in disk.values_mut() {
                    other.safe.get_or_insert_default();
                }
            }
            Act::Delete(name) => drop(disk.remove(name)),
        }
    }
    let percent = [0, 10, 50, 90, 100][dice.below(5)];
    let found = |(name, medium): (String, Medium)| Some((name, medium.found(dice, percent)?));
    disk.into_iter().filter_map(found).collect()
}

/// Lets the power fail before act number `cut`, and looks at what is left.
fn cut(history: &History, cut: usize, dice: &mut Dice) {
    let at = history.acts[cut].0;
    let dir = TestDir::new();
    for (name, content) in survivors(&history.acts, cut, dice) {
        std::fs::write(dir.file(&name), content).unwrap();
    }
    let opened = open_or_set_aside(&dir.file("c"), &OpenOptions::default()).unwrap();
    assert_eq!(opened.set_aside, None, "it is not sound");
    let sound: String =
        opened.writer.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let mut statement = opened.writer.prepare("SELECT address, pregreet FROM verdict").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows: HashMap<Vec<u8>, i64> = rows.map(Result::unwrap).collect();
    let mut oldest = HashMap::new();
    for (when, address, number) in &history.stored {
        if *when + PROMISE <= at {
            oldest.insert(*address, *number);
        }
    }
    for (address, number) in oldest {
        let found = rows.get(record::Key::of(address).bytes());
        assert!(found.is_some_and(|found| *found >= number), "{address} {number}: {found:?}");
    }
    for (key, number) in rows.iter().filter(|(_, number)| **number >= FIRST) {
        let (when, address, _) = history.stored[usize::try_from(number - FIRST).unwrap()];
        assert!(when <= at && record::Key::of(address).bytes() == key, "{address} {number}");
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn a_power_cut_costs_no_verdict_that_is_older_than_a_second() {
    let cuts = variable("GATEPOST_POWER_CUTS").unwrap_or(CUTS);
    let seeds = match variable("GATEPOST_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=cuts.div_ceil(CUTS_PER_HISTORY),
    };
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let history = history(&mut dice);
        for _ in 0..CUTS_PER_HISTORY {
            let at = dice.below(history.acts.len());
            // Shown if the test fails.
            println!("GATEPOST_SEED={seed}: the power fails before act {at}");
            cut(&history, at, &mut dice);
        }
    }
}
