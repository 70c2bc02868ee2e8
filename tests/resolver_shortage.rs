//! The resolver without free descriptors. In a process of its own, whose limit it changes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    reason = "a test fails by panicking; clippy exempts only functions marked as tests"
)]

#[path = "resolver/bench.rs"]
mod bench;
#[path = "name_server/mod.rs"]
mod name_server;

use std::fs::File;
use std::time::Duration;

use gatepost::screen::dnsbl::answer::Failure;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use bench::{A_WHILE, Bench, client, failed, not_listed};
use name_server::NameServer;

#[test]
fn a_shortage_is_waited_for_but_not_for_ever() {
    let server = NameServer::start();
    let mut bench = Bench::new(&[&server]);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }

    // No descriptor at all.
    bench.ask(client(1));
    bench.assert_no_answer();
    let now = bench.now();
    assert!(bench.resolver.next_deadline().is_some_and(|at| at > now), "the loop would spin");
    assert_eq!(bench.resolver.datagrams_under_way(), 0);
    for _ in 0..9 {
        bench.skip(Duration::from_millis(200));
    }
    bench.assert_no_answer();
    bench.skip(Duration::from_millis(200));
    assert_eq!(bench.answer(), (client(1), failed(Failure::Unreachable)));

    // One comes free in time.
    bench.ask(client(2));
    bench.skip(Duration::from_millis(200));
    hoard.pop();
    bench.skip(Duration::from_millis(200));
    assert_eq!(bench.answer(), (client(2), not_listed(60)));

    // One has to do for all.
    for last in 3..=9 {
        bench.ask(client(last));
    }
    bench.turn_for(A_WHILE);
    for _ in 3..=9 {
        assert_eq!(bench.answer().1, not_listed(60));
    }
    assert_eq!(bench.resolver.open_sockets(), 1);
}
