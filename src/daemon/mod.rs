//! The worker: the process that serves clients. It decides nothing.
//!
//! `startup` opens what it needs and locks itself in, `worker` is the loop, `accept` takes
//! connections in, `effects` does what the core wants done, `lookups` answers its questions.

mod accept;
mod effects;
mod lookups;
mod startup;
mod worker;

pub use startup::{CacheStart, Start, run};
pub use worker::WorkerSettings;
