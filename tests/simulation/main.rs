//! Thousands of clients on a virtual clock, all of it determined by one number.
//!
//! After every input the core's own invariants are checked, and what came out is compared
//! with the laws in `laws`. A failure names its seed:
//!
//! ```text
//! GATEPOST_SEED=42 cargo test --test simulation
//! ```
//!
//! replays it alone, and shows the turns that led to the failure. `GATEPOST_SIM_CLIENTS`
//! is the number of clients per seed. `million` is the long form.

// What a test holds in its hands it may grip; to panic is how it fails.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod agenda;
mod clients;
mod clocks;
mod draw;
mod elsewhere;
mod ends;
mod engine;
mod faults;
mod first_contact;
mod footers;
mod keywords;
mod laws;
mod lists;
mod million;
mod outside;
mod proxy;
mod rng;
mod seen;
mod splits;
mod starttls;
mod stock;
mod stray;
mod tally;
mod witness;
mod world;

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use tally::Tally;
use world::World;

const SEEDS: u64 = 80;
const CLIENTS: usize = 1500;

/// What has to happen somewhere in the fixed seeds, or else they prove too little.
const WANTED: [&str; 83] = [
    "allowlisted",
    "answer for nobody",
    "back",
    "bad header",
    "back from smtpd",
    "bare newline",
    "busy",
    "busy too long",
    "cannot connect",
    "cannot pass",
    "count limit",
    "denylisted",
    "discarding",
    "dnsbl drop",
    "dnsbl enforce",
    "dnsbl rank",
    "disconnect",
    "entering stress",
    "filter failed",
    "forbidden",
    "hand-off timeout",
    "handed off",
    "excused",
    "footer",
    "fragment",
    "hangup",
    "header",
    "hurried",
    "input for nobody",
    "input out of place",
    "known",
    "late header",
    "leaving stress",
    "length limit",
    "no footer",
    "no header",
    "no proxy",
    "no valid RCPT",
    "non-SMTP command",
    "pass new",
    "pass old",
    "pass taken back",
    "nobody to ask",
    "partial score",
    "passed at RCPT",
    "pipelining",
    "pregreet drop",
    "pregreet enforce",
    "pregreet ignore",
    "pregreeter waits for lists",
    "proxy crowded out",
    "put aside",
    "recommended",
    "reject RCPT",
    "recipient by filter",
    "replaced",
    "rides along",
    "STARTTLS first",
    "STARTTLS withheld",
    "TLS",
    "TLS active",
    "TLS queue full",
    "TLS resumed",
    "TLS suspended",
    "TLS timeout",
    "TLS trouble",
    "network too many",
    "not served",
    "plain text dropped",
    "plain text kept",
    "screening ports busy",
    "score",
    "second pass new",
    "server ports busy",
    "shares look-ups",
    "stored",
    "stranger",
    "terminated in a pause",
    "sent away at the end",
    "time limit",
    "too many connections",
    "unknown",
    "veto",
];

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Says how to come back here, whether a law or an assertion of the core is broken.
struct Replay(u64, usize);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "replay with: GATEPOST_SEED={} GATEPOST_SIM_CLIENTS={} cargo test --test simulation",
                self.0, self.1
            );
        }
    }
}

fn simulate(seed: u64, clients: usize, trace: bool) -> Tally {
    let _replay = Replay(seed, clients);
    World::new(seed, clients, trace)
        .run()
        .unwrap_or_else(|failure| panic!("seed {seed}:\n{failure}"))
}

fn clients() -> usize {
    variable("GATEPOST_SIM_CLIENTS").unwrap_or(CLIENTS)
}

/// Another one every time.
fn clock_seed() -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    u64::from(nanos)
}

#[test]
fn fixed_seeds() {
    if variable::<u64>("GATEPOST_SEED").is_some() {
        return;
    }
    let mut tally = Tally::default();
    for seed in 1..=SEEDS {
        tally.merge(simulate(seed, clients(), false));
    }
    for wanted in [&WANTED[..], &faults::ALL, &ends::ALL] {
        let missing = tally.missing(wanted);
        assert!(missing.is_empty(), "never happened: {missing:?}\n{tally:#?}");
    }
}

#[test]
fn a_new_seed_every_time() {
    let replay: Option<u64> = variable("GATEPOST_SEED");
    let seed = replay.unwrap_or_else(clock_seed);
    println!("seed {seed}");
    simulate(seed, clients(), replay.is_some());
}
