//! The cache file at its full size: what a look-up, a stored verdict, a start and a clean-up
//! cost with a million verdicts in it.
//!
//! `make bench-cache` measures everything and prints a table; the parts are roles of this same
//! program, each in a process of its own, and can be started by hand. Criterion measures the
//! small parts of the cache (`benches/parts`); what is here takes seconds, has a second thread
//! or depends on the file.

mod bench;
mod calls;
mod file;
mod roles;
mod usage;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Whatever goes wrong ends the bench.
type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "roles: fill FILE ENTRIES fresh|expired; look-up FILE ENTRIES ROUNDS; \
     store FILE A_SECOND SECONDS; open FILE; clean FILE";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cache_file: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = words.iter().any(|word| word == "--bench");
    words.retain(|word| word != "--bench");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let path = |text: &str| PathBuf::from(text);
    match words[..] {
        [] if wanted => bench::run(),
        // `cargo test --benches` starts every bench to see whether it runs.
        [] => {
            println!("cache_file: nothing is measured without --bench; see make bench-cache");
            Ok(())
        }
        ["fill", file, entries, "fresh"] => file::fill(&path(file), entries.parse()?, file::FRESH),
        ["fill", file, entries, "expired"] => {
            file::fill(&path(file), entries.parse()?, file::EXPIRED)
        }
        ["look-up", file, entries, rounds] => {
            roles::look_up(&path(file), entries.parse()?, rounds.parse()?)
        }
        ["store", file, rate, seconds] => {
            roles::store(&path(file), rate.parse()?, seconds.parse()?)
        }
        ["open", file] => roles::open(&path(file)),
        ["clean", file] => roles::clean(&path(file)),
        _ => Err(USAGE.into()),
    }
}
