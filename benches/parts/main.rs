//! Small parts of Gatepost, each by itself, without sockets and processes: what a step of a
//! session costs, a timer, a look-up in the cache and in a table, a DNS message, a log record.
//!
//! `make bench-parts` is how it is started; `make bench-parts BENCH_OPTIONS=tables` measures
//! those whose names have the word in it. The benches of growth measure the same thing among
//! few and among many: the times should be alike.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod cache;
mod dns;
mod growth;
mod numbers;
mod records;
mod session;
mod stage;
#[path = "../../tests/simulation/stock.rs"]
mod stock;
mod tables;
mod timers;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // Short: all of it is to be measured again after every change.
    let criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20)
        .nresamples(5_000)
        .without_plots();
    let mut criterion = criterion.configure_from_args();
    session::benches(&mut criterion);
    growth::benches(&mut criterion);
    timers::benches(&mut criterion);
    cache::benches(&mut criterion);
    dns::benches(&mut criterion);
    tables::benches(&mut criterion);
    records::benches(&mut criterion);
    criterion.final_summary();
}
