//! Runs the roles in turn, several times, and prints what they have come to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::file::{EXPIRED, FRESH, fill};
use super::{Outcome, calls, usage};

const ROUNDS: usize = 5;
const FEW: u32 = 10_000;
const MANY: u32 = 1_000_000;
/// Look-ups in one measurement.
const LOOK_UPS: u32 = 200_000;
/// Verdicts a second.
const RATES: [u32; 3] = [10, 150, 2_000];
const SECONDS: u32 = 5;
/// How long a disk sync takes on the slow disk, milliseconds.
const SLOW: &str = "5";

/// All values that a figure had, by measurement and name.
type Figures = BTreeMap<(String, String), Vec<f64>>;

/// Measures everything.
pub fn run() -> Outcome<()> {
    let directory = Directory::new()?;
    let file = |name: &str| directory.0.join(name);
    fill(&file("few"), FEW, FRESH)?;
    fill(&file("many"), MANY, FRESH)?;
    fill(&file("expired"), MANY, EXPIRED)?;
    let slow = slow_disk();
    let mut figures = Figures::new();
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for (name, entries) in [("few", FEW), ("many", MANY)] {
            let from = copy(&file(name), &file("copy"))?;
            let words = ["look-up", &from, &entries.to_string(), &LOOK_UPS.to_string()];
            note(&mut figures, &format!("look-up, {entries} entries"), &role(&words, None)?);
            for rate in RATES {
                let from = copy(&file(name), &file("copy"))?;
                let words = ["store", &from, &rate.to_string(), &SECONDS.to_string()];
                let title = format!("store, {rate} a second, {entries} entries");
                note(&mut figures, &title, &role(&words, None)?);
            }
        }
        let from = copy(&file("many"), &file("copy"))?;
        kill_a_writer(&from)?;
        note(&mut figures, "open, after a kill", &role(&["open", &from], None)?);
        note(&mut figures, "open", &role(&["open", &from], None)?);
        for (title, library) in [("clean", None), ("clean, slow disk", slow.as_deref())] {
            if library.is_some() || title == "clean" {
                let from = copy(&file("expired"), &file("copy"))?;
                note(&mut figures, title, &role(&["clean", &from], library)?);
            }
        }
    }
    println!("median (lowest to highest) of {ROUNDS} rounds");
    for ((title, name), mut values) in figures {
        let [low, median, high] = [0.0, 0.5, 1.0].map(|p| usage::percentile(&mut values, p));
        println!("{title:<40} {name:<20} {median:>9.2} ({low:.2} to {high:.2})");
    }
    if slow.is_none() {
        println!("no slow disk: build the example slowsync");
    }
    count_calls(&file("many"), &directory.0)
}

fn count_calls(many: &Path, directory: &Path) -> Outcome<()> {
    let log = directory.join("strace");
    let rounds = 2_000;
    let words = ["look-up", &text(many), &MANY.to_string(), &rounds.to_string()];
    let Some(stretches) = calls::count(&words, &log, f64::from(rounds))? else {
        println!("no system calls counted: strace(1) does not run");
        return Ok(());
    };
    println!("system calls, with {MANY} entries");
    // The first stretch is a warm-up.
    let titles = ["look-up", "look-up, ten in a turn", "look-up, in the memory"];
    for (title, [own, _]) in titles.iter().zip(stretches.iter().skip(1)) {
        println!("{title:<40} {own:.2}");
    }
    for rate in RATES {
        let from = copy(many, &directory.join("copy"))?;
        let words = ["store", &from, &rate.to_string(), "3"];
        for [own, other] in calls::count(&words, &log, f64::from(rate) * 3.0)?.unwrap_or_default() {
            let title = format!("look-up and store, {rate} a second");
            println!("{title:<40} loop {own:.2}, storage thread {other:.2}");
        }
    }
    Ok(())
}

/// Runs a role in a process of its own; what it has printed.
fn role(words: &[&str], preload: Option<&Path>) -> Outcome<String> {
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(library) = preload {
        command.env("LD_PRELOAD", library).env("SLOWSYNC_MS", SLOW);
    }
    let output = command.args(words).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{words:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn note(figures: &mut Figures, title: &str, line: &str) {
    for word in line.split_whitespace() {
        if let Some((name, value)) = word.split_once('=')
            && let Ok(value) = value.parse()
        {
            figures.entry((title.to_owned(), name.to_owned())).or_default().push(value);
        }
    }
}

/// Leaves the file as a process does that ends in the middle of its work.
fn kill_a_writer(file: &str) -> Outcome<()> {
    let mut writer = Command::new(std::env::current_exe()?)
        .args(["store", file, "2000", "60"])
        .stdout(Stdio::null())
        .spawn()?;
    thread::sleep(Duration::from_millis(2_300));
    writer.kill()?;
    writer.wait()?;
    Ok(())
}

/// A copy of a database without a log.
fn copy(from: &Path, to: &Path) -> Outcome<String> {
    for suffix in ["-wal", "-shm"] {
        // There may be none.
        let _ = fs::remove_file(format!("{}{suffix}", to.display()));
    }
    fs::copy(from, to)?;
    Ok(text(to))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The library of `benches/visits/slowsync.rs`, if it was built.
fn slow_disk() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let library = own.parent()?.parent()?.join("examples/libslowsync.so");
    library.exists().then_some(library)
}

/// A directory on a disk that goes away with the value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Outcome<Directory> {
        let path = std::env::temp_dir().join(format!("gatepost-cache-file-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is below the system's directory for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}
