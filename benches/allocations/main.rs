//! How many bytes a waiting client and a DNS look-up keep, and how often they allocate.
//!
//! `make bench-parts` starts it after the bench of the parts. What is counted is what the
//! allocator is asked for; it adds up to 16 bytes of its own to each piece.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod count;
mod lookups;
#[allow(dead_code, reason = "shared")]
#[path = "../parts/numbers.rs"]
mod numbers;
mod sessions;
#[allow(dead_code, reason = "shared")]
#[path = "../parts/stage.rs"]
mod stage;
#[path = "../../tests/simulation/stock.rs"]
mod stock;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    if !std::env::args().any(|word| word == "--bench") {
        println!("allocations: nothing is measured without --bench; see make bench-parts");
        return;
    }
    sessions::tell();
    lookups::tell();
}
