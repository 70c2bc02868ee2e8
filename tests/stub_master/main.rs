//! The real binary, started as master(8) starts it, without Postfix and without root.
//!
//! `site` is what surrounds a service: directories, main.cf, listening sockets, the log.
//! `service` is what master does: start it with fixed descriptors, hear its status, end it.
//! `smtpd`, `tlsproxy` and `proxymap` stand in for smtpd(8), tlsproxy(8) and proxymap(8),
//! `name_server` for a name server,
//! `client` for those who connect. The tests are in the files after that, by subject;
//! those of `jail` need root, and say so when they do not run.
//!
//! Waits end as soon as what is waited for happens, and their limits are generous: only a
//! service that is broken meets them. Where the time itself is the subject, only the side
//! that a slow machine cannot falsify is asserted. Most of the time the tests wait, so with
//! `RUST_TEST_THREADS=16` they are done in ten seconds.

// What a test holds in its hands it may grip; to panic is how it fails.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod client;
mod maillog;
#[path = "../name_server/mod.rs"]
mod name_server;
mod proc;
mod proxymap;
mod service;
mod site;
mod smtpd;
mod tlsproxy;

mod cache;
mod databases;
mod drain;
mod elsewhere;
mod fallback;
mod handoff;
mod idle;
mod ipv6;
mod jail;
mod lists;
mod logging;
mod proxy;
mod sandbox;
mod start;
mod starttls;
mod status;
mod tables;
mod terminate;
mod wire;
mod workers;

use std::time::{Duration, Instant};

/// How long anything may take that should happen at once, or after a timer of a second.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How long something is watched that should not happen.
pub const A_WHILE: Duration = Duration::from_millis(400);

/// Waits until something is the case.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
