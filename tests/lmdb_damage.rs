//! LMDB databases that are cut off or damaged: who reads them may die of it, but not we, and not
//! for ever. Each is read by a copy of this process, as the supervisor does it, so there is no
//! test harness, which has threads.
//!
//! `GATEPOST_LMDB_DAMAGES` is how many databases are tried, `GATEPOST_SEED` where to begin.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "simulation/rng.rs"]
#[allow(dead_code, reason = "clients need more of it than we do")]
mod rng;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatepost::postfix::table::{Index, IndexKind, IndexedTable, OpenOptions, Table};
use gatepost::process::task::End;
use gatepost::supervisor::snapshots::{Snapshots, judge};
use nix::unistd::dup2_stderr;
use rng::Rng;

const DAMAGES: usize = 400;
const PAGE: usize = 4096;
const ENTRIES: usize = 600;

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// A good database, made by postmap(1); `None` where that cannot be.
fn database(directory: &Path) -> Option<Vec<u8>> {
    let lines: String = (0..ENTRIES)
        .map(|nth| {
            format!("192.0.{}.{} {}\n", nth / 250, nth % 250, "permit ".repeat(nth % 40 + 1))
        })
        .collect();
    fs::write(directory.join("main.cf"), "compatibility_level = 3.6\n").unwrap();
    fs::write(directory.join("good"), lines).unwrap();
    let table = format!("lmdb:{}", directory.join("good").display());
    let status = Command::new("/usr/sbin/postmap")
        .env_clear()
        .env("MAIL_CONFIG", directory)
        .arg(table)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        return None;
    }
    fs::read(directory.join("good.lmdb")).ok()
}

/// One kind of damage; its name.
fn damage(rng: &mut Rng, file: &mut Vec<u8>) -> &'static str {
    let pages = file.len() / PAGE;
    match rng.between(0, 6) {
        0 => {
            file.truncate(rng.count(0, file.len()));
            "cut off anywhere"
        }
        1 => {
            file.truncate(rng.count(0, pages) * PAGE);
            "cut off between pages"
        }
        2 => {
            for _ in 0..rng.count(1, 8) {
                let at = rng.count(0, file.len() - 1);
                file[at] ^= 1 << rng.count(0, 7);
            }
            "bits flipped"
        }
        3 => {
            // Where pages and the database describe themselves.
            for _ in 0..rng.count(1, 6) {
                let at = rng.count(0, pages - 1) * PAGE + rng.count(0, 150);
                file[at] = rng.next().to_le_bytes()[0];
            }
            "bytes changed in the heads of pages"
        }
        4 => {
            let page = rng.count(0, pages - 1) * PAGE;
            file[page..page + PAGE].fill(rng.pick(&[0, 0xff]));
            "a page wiped"
        }
        5 => {
            let (from, to) = (rng.count(0, pages - 1) * PAGE, rng.count(0, pages - 1) * PAGE);
            file.copy_within(from..from + PAGE, to);
            "a page in the place of another"
        }
        _ => {
            let length = rng.count(1, 3 * PAGE);
            *file = (0..length).map(|_| rng.next().to_le_bytes()[0]).collect();
            "any bytes"
        }
    }
}

/// What comes of reading it: a table, a reason, or a reader that died.
fn read(snapshots: &Snapshots, index: &Index) -> &'static str {
    let outcome = match snapshots.start(index, || {}) {
        Ok(task) => task.wait().unwrap(),
        Err(trouble) => {
            assert!(!trouble.to_string().is_empty());
            return "cannot be opened";
        }
    };
    let end = outcome.end;
    assert!(!matches!(end, End::Timeout(_)), "it is read for ever");
    let mut messages = Vec::new();
    match judge(index, outcome, &mut messages) {
        Ok(mut output) => {
            assert_eq!(end, End::Success);
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut output, &mut text).unwrap();
            // Whatever is in it, it is a table.
            let table = IndexedTable::parse(index.clone(), text, OpenOptions::EXACT);
            table.lookup(b"192.0.0.1", &mut messages);
            "read"
        }
        Err(trouble) => {
            let reason = trouble.to_string();
            assert!(reason.contains(&*index.file().to_string_lossy()), "{reason}");
            if matches!(end, End::Signal(_)) { "reader killed" } else { "refused" }
        }
    }
}

fn damaged_databases_harm_nobody(directory: &Path) {
    let Some(good) = database(directory) else {
        let must = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!must, "no postmap(1) with LMDB here");
        println!("no postmap(1) with LMDB here");
        return;
    };
    let index =
        Index { kind: IndexKind::Lmdb, name: directory.join("damaged").to_str().unwrap().into() };
    let snapshots = Snapshots {
        command_directory: "/usr/sbin".into(),
        config_directory: directory.into(),
        migrating: false,
    };
    let file = index.file();
    fs::write(&file, &good).unwrap();
    let text = snapshots.take(&index, &mut Vec::new()).unwrap();
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), ENTRIES);

    let first: u64 = number("GATEPOST_SEED").unwrap_or(1);
    let damages = number("GATEPOST_LMDB_DAMAGES").unwrap_or(DAMAGES);
    let mut ends: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for seed in (first..).take(damages) {
        let mut rng = Rng::new(seed);
        let mut bytes = good.clone();
        let kind = damage(&mut rng, &mut bytes);
        // Anew, as the lock is one on the file.
        fs::remove_file(&file).unwrap();
        fs::write(&file, &bytes).unwrap();
        let end = std::panic::catch_unwind(|| read(&snapshots, &index));
        let end = end.unwrap_or_else(|_| panic!("GATEPOST_SEED={seed}: {kind}"));
        *ends.entry((kind, end)).or_default() += 1;
    }
    for ((kind, end), count) in &ends {
        println!("{count:>8}  {kind}: {end}");
    }
    let killed = ends.keys().any(|(_, end)| *end == "reader killed");
    assert!(killed, "nothing that kills a reader was tried");
}

fn main() {
    let name = format!("gatepost-lmdb-damage-{}", std::process::id());
    let directory: PathBuf = std::env::temp_dir().join(name);
    fs::create_dir(&directory).unwrap();
    println!("\nrunning 1 test");
    // LMDB says there what it dies of, again and again.
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
    dup2_stderr(fs::File::options().write(true).open("/dev/null").unwrap()).unwrap();
    damaged_databases_harm_nobody(&directory);
    fs::remove_dir_all(&directory).unwrap();
    println!("\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n");
}
