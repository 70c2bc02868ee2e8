//! What the loop of a service allocates in the steady state: for clients that are known, new, or
//! talk too early, nothing; for those at the built-in SMTP engine, as little as the state of a
//! dialogue is.
//!
//! This program is both the test and the service. As the service it is the real one, with an
//! allocator that counts (`counting`), started as in the tests of `stub_master`, whose stand-ins
//! it uses.

// What a test holds in its hands it may grip; to panic is how it fails.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
// Not all of the stand-ins is needed here.
#![allow(dead_code)]

mod counting;

#[path = "../stub_master/client.rs"]
mod client;
#[path = "../stub_master/maillog.rs"]
mod maillog;
#[path = "../stub_master/proc.rs"]
mod proc;
#[path = "../stub_master/service.rs"]
mod service;
#[path = "../stub_master/site.rs"]
mod site;
#[path = "../stub_master/smtpd.rs"]
mod smtpd;
#[path = "../stub_master/tlsproxy.rs"]
mod tlsproxy;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use gatepost::postfix::master::{Environment, Options};
use gatepost::supervisor;

use client::{Client, Next, TEASER};
use site::Site;
use smtpd::{GREETING, Smtpd};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// How long anything may take that should happen at once, or after a timer of a second.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How long something is watched that should not happen.
pub const A_WHILE: Duration = Duration::from_millis(400);

/// The file with the count, in the queue directory, where a service finds itself.
const COUNT: &str = "allocations";

/// Clients in one go. Before the count begins, there have been twice as many.
const CLIENTS: usize = 60;

/// Waits until something is the case.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args_os().collect();
    // As master starts it, and cargo does not.
    if arguments.get(1).is_some_and(|word| word == "-l") {
        counting::count_in(Path::new(COUNT));
        supervisor::run(Options::parse(arguments), Environment::read());
    }
    let tests: [(&str, fn()); 4] = [
        ("known_clients", known_clients),
        ("new_clients", new_clients),
        ("early_talkers", early_talkers),
        ("visits_at_the_engine", visits_at_the_engine),
    ];
    let filter = arguments.get(1).and_then(|word| word.to_str()).filter(|w| !w.starts_with('-'));
    let wanted = tests.iter().filter(|(name, _)| filter.is_none_or(|word| name.contains(word)));
    let count = wanted.clone().count();
    println!("\nrunning {count} tests");
    for (name, test) in wanted {
        // A failure ends the program, with its reason.
        test();
        println!("test {name} ... ok");
    }
    let skipped = tests.len() - count;
    println!(
        "\ntest result: ok. {count} passed; 0 failed; 0 ignored; 0 measured; {skipped} filtered out\n"
    );
}

/// Has clients visit a service, and checks that its loop hardly ever allocates once it is used to
/// them. `visit` is given the addresses of new clients, and brings them to their end.
fn check(main_cf: &str, most_per_visit: f64, visit: impl Fn(&Site, &[String])) {
    let site = Site::new(main_cf);
    let path = site.path("queue").join(COUNT);
    fs::write(&path, 0_u64.to_ne_bytes()).unwrap();
    let count = || u64::from_ne_bytes(fs::read(&path).unwrap().try_into().unwrap());
    let _smtpd = Smtpd::start(&site);
    let mut service = site.launch().program(std::env::current_exe().unwrap()).start();
    service.wait_ready();
    let visit = |round: usize| {
        let addresses = (1..=CLIENTS).map(|number| format!("127.1.{round}.{number}"));
        visit(&site, &addresses.collect::<Vec<_>>());
    };
    visit(0);
    visit(1);
    let before = count();
    assert!(before > 0, "nothing was counted");
    visit(2);
    let per_visit = (count() - before) as f64 / CLIENTS as f64;
    assert!(per_visit <= most_per_visit, "{per_visit} allocations a visit");
}

/// What remains is the growth of tables.
const HARDLY_ANY: f64 = 0.1;

/// A session at the engine has an engine, which has a line; and it keeps the names that HELO,
/// MAIL and RCPT give until they are logged.
const AT_THE_ENGINE: f64 = 13.0;

fn connect(site: &Site, addresses: &[String]) -> Vec<Client> {
    addresses.iter().map(|address| site.connect_from(address)).collect()
}

fn known_clients() {
    check("", HARDLY_ANY, |site, _| {
        // The same ones each time: new at their first visit.
        let addresses: Vec<_> = (1..=CLIENTS).map(|number| format!("127.2.0.{number}")).collect();
        for mut client in connect(site, &addresses) {
            let first = client.next_within(PATIENCE);
            if first == Next::Line(TEASER.to_owned()) {
                client.expect_smtpd();
            } else {
                assert_eq!(first, Next::Line(GREETING.to_owned()));
            }
        }
    });
}

fn new_clients() {
    check("", HARDLY_ANY, |site, addresses| {
        for mut client in connect(site, addresses) {
            client.expect_teaser();
            client.expect_smtpd();
        }
    });
}

fn early_talkers() {
    // Long enough for the last one to be early, too.
    let main_cf = "postscreen_greet_action = drop\npostscreen_greet_wait = 10s";
    check(main_cf, HARDLY_ANY, |site, addresses| {
        for mut client in connect(site, addresses) {
            client.expect_teaser();
            client.send("EHLO client.example\r\n");
            client.expect("521 5.5.1 Protocol error");
            client.expect_end();
        }
    });
}

fn visits_at_the_engine() {
    check("postscreen_bare_newline_enable = yes", AT_THE_ENGINE, |site, addresses| {
        for mut client in connect(site, addresses) {
            client.expect_teaser();
            client.expect("220 mx.example.test ESMTP Postfix");
            client.command("HELO client.example", "250 mx.example.test");
            client.command("MAIL FROM:<a@client.example>", "250 2.1.0 Ok");
            client.command("RCPT TO:<b@example.test>", "450 4.3.2 Service currently unavailable");
            client.command("QUIT", "221 2.0.0 Bye");
            client.expect_end();
        }
    });
}
