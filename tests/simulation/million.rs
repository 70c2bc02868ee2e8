//! The long form of the simulation, for `make torture`: a million clients, and a report of what
//! happened to them.
//!
//! ```text
//! GATEPOST_SIM_TOTAL=1000000 cargo test --test simulation million -- --ignored --nocapture
//! ```
//!
//! `GATEPOST_SEED` is the seed of the first world; the others have those that follow.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};
use std::time::Instant;

use crate::rng::Rng;
use crate::tally::{STEPS, Tally};
use crate::{WANTED, clock_seed, elsewhere, ends, faults, simulate, variable};

const TOTAL: usize = 1_000_000;

/// One client in so many is served once more by tables that are elsewhere.
const TWINS: usize = 20;

/// Worlds are small, usual, or large enough for ids and ports to come round.
fn size(seed: u64) -> usize {
    Rng::new(seed).pick(&[200, 1500, 1500, 1500, 1500, 20_000])
}

/// When one lane has found something, the others need not go on.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Lets all worlds run, on all processors.
fn run(first: u64, total: usize) -> (Tally, u64) {
    let (next, clients) = (AtomicU64::new(first), AtomicUsize::new(0));
    let sum = Mutex::new(Tally::default());
    let failed = AtomicBool::new(false);
    let lane = || {
        let _stop = Stop(&failed);
        while clients.load(Ordering::Relaxed) < total && !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let tally = simulate(seed, size(seed), false);
            clients
                .fetch_add(ends::ALL.iter().map(|end| tally.count(end)).sum(), Ordering::Relaxed);
            sum.lock().unwrap().merge(tally);
        }
    };
    thread::scope(|scope| {
        let lanes = available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    (sum.into_inner().unwrap(), next.into_inner() - first)
}

fn print(tally: &Tally, title: &str, names: &[&'static str]) {
    println!("\n{title}: {}", names.iter().map(|name| tally.count(name)).sum::<usize>());
    for name in names {
        println!("{:>12}  {name}", tally.count(name));
    }
}

#[test]
#[ignore = "takes minutes: make torture"]
fn a_million_clients() {
    let total = variable("GATEPOST_SIM_TOTAL").unwrap_or(TOTAL);
    let first = variable("GATEPOST_SEED").unwrap_or_else(clock_seed);
    println!("{total} clients, first seed {first}");
    let began = Instant::now();
    let (tally, worlds) = run(first, total);
    let clients: usize = ends::ALL.iter().map(|end| tally.count(end)).sum();
    println!(
        "{clients} clients in {worlds} worlds, {} steps, {} s",
        tally.count(STEPS),
        began.elapsed().as_secs()
    );
    print(&tally, "faults", &faults::ALL);
    print(&tally, "ends", &ends::ALL);
    print(&tally, "also", &WANTED);
    let asked = elsewhere::twins(first, total / TWINS);
    let left = elsewhere::unanswered(first, total / TWINS);
    println!("\n{} clients once more, by tables elsewhere: {asked} questions", total / TWINS);
    println!("{} clients with tables that never answer: {left} questions", total / TWINS);
    let missing: Vec<_> = [&faults::ALL[..], &ends::ALL, &WANTED]
        .into_iter()
        .flat_map(|all| tally.missing(all))
        .collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
    assert!(asked > 0 && left > 0, "tables elsewhere: {asked} and {left} questions");
}
