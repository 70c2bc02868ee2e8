//! Tests: the command line.

use std::time::Duration;

use crate::Outcome;
use crate::options::*;
use crate::visit::Kind;

fn parse(line: &str) -> Outcome<Role> {
    Role::parse(line.split_whitespace().map(str::to_owned))
}

fn load(line: &str) -> Load {
    match parse(line) {
        Ok(Role::Load(load)) => load,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_closed_loop() {
    let load = load(
        "--bench load new --server 127.0.0.1:25 --sources 127.2.0.0/16 --first 256 \
         --spread 10 --count 100 --in-flight 7 --greet-wait 1.5",
    );
    assert_eq!((load.kind, load.count, load.pace), (Kind::New, 100, Pace::InFlight(7)));
    assert_eq!(load.server.to_string(), "127.0.0.1:25");
    assert_eq!(load.greet_wait, Duration::from_millis(1500));
    assert_eq!((load.hold, load.seconds), (None, None));
    let addresses = [0, 9, 10].map(|number| load.sources.address(number).to_string());
    assert_eq!(addresses, ["127.2.1.0", "127.2.1.9", "127.2.1.0"]);
}

#[test]
fn an_open_loop_may_end_after_a_time() {
    let line = "load known --server 127.0.0.1:25 --sources 127.0.0.0/8 --rate 2.5 --seconds 3";
    let load = load(line);
    assert_eq!((load.count, load.pace), (8, Pace::PerSecond(2.5)));
    assert_eq!(load.seconds, Some(Duration::from_secs(3)));
    assert_eq!(load.sources.address(7).to_string(), "127.0.0.7");
    assert_eq!(load.sources.address(8).to_string(), "127.0.0.0");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let load = "load early --server 127.0.0.1:25 --sources 127.2.0.0/24";
    for line in [
        "other",
        "load",
        "load other",
        &format!("{load} --in-flight 1 --greet-wait 1"),
        &format!("{load} --count 1 --greet-wait 1"),
        &format!("{load} --count 1 --in-flight 1"),
        &format!("{load} --count 0 --in-flight 1 --greet-wait 1"),
        &format!("{load} --count 1 --in-flight 1 --greet-wait -1"),
        &format!("{load} --count 257 --in-flight 1 --greet-wait 1"),
        &format!("{load} --count 1 --first 256 --in-flight 1 --greet-wait 1"),
        &format!("{load} --count 1 --in-flight 1 --greet-wait 1 --other 1"),
        &format!("{load} --count 1 --in-flight 1 --greet-wait"),
        "load new --server 127.0.0.1:25 --sources 127.2.0.0/33 --count 1 --in-flight 1",
        "load new --server 127.0.0.1:25 --sources 255.255.255.255/0 --count 2 --in-flight 1",
        "load new --sources 127.2.0.0/24 --count 1 --in-flight 1",
        "load new --server 127.0.0.1:25 --count 1 --in-flight 1",
        "smtpd",
        "smtpd --socket s --keep f",
        "log --keep f",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    let line = format!("{load} --count 256 --in-flight 1 --greet-wait 1");
    assert!(parse(&line).is_ok());
}

#[test]
fn other_roles() {
    assert_eq!(parse("--bench").unwrap(), Role::Nothing);
    assert_eq!(parse("smtpd --socket s").unwrap(), Role::Smtpd { socket: "s".into() });
    let kept = Role::Log { socket: "s".into(), keep: Some("f".into()) };
    assert_eq!(parse("log --keep f --socket s").unwrap(), kept);
}
