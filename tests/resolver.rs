//! The resolver against a name server with faults: real sockets, and a clock that the tests
//! move on, so that none of them waits for a time-out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; clippy exempts only functions marked as tests"
)]

#[path = "resolver/answers.rs"]
mod answers;
#[path = "resolver/bench.rs"]
mod bench;
#[path = "resolver/chaos.rs"]
mod chaos;
#[path = "resolver/crowd.rs"]
mod crowd;
#[path = "resolver/faults.rs"]
mod faults;
#[path = "name_server/mod.rs"]
mod name_server;
#[path = "resolver/servers.rs"]
mod servers;
#[path = "resolver/streams.rs"]
mod streams;
