//! The tests of the bench in `benches/visits`: of its parts that are pure, as cargo runs no
//! tests in a bench that has a `main` of its own.

// A test fails by panicking.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]
// Some of what is here only the bench uses.
#![allow(dead_code)]

#[path = "../../benches/visits/clients.rs"]
mod clients;
#[path = "../../benches/visits/floor/config.rs"]
mod config;
#[path = "../../benches/visits/log.rs"]
mod log;
#[path = "../../benches/visits/options.rs"]
mod options;
#[path = "../../benches/visits/floor/questions.rs"]
mod questions;
#[path = "../../benches/visits/reply.rs"]
mod reply;
#[path = "../../benches/visits/tally.rs"]
mod tally;
#[path = "../../benches/visits/visit.rs"]
mod visit;

mod config_tests;
mod log_tests;
mod options_tests;
mod questions_tests;
mod tally_tests;
mod visit_tests;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
