//! The end of a service without clients (main.cf: `max_idle`).

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::eventually;
use crate::proc::Process;
use crate::site::Site;
use crate::smtpd::Smtpd;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_service_without_clients_ends() {
    let site = Site::new("max_idle = 1s");
    let start = Instant::now();
    let mut service = site.start();
    assert_eq!(service.wait_end().code(), Some(0));
    assert!(start.elapsed() >= SECOND);
    service.wait_gone();
}

#[test]
fn a_waiting_client_is_company() {
    let site = Site::new("max_idle = 1s\npostscreen_greet_wait = 3s");
    let smtpd = Smtpd::start(&site);
    let mut service = site.start();
    let mut client = site.connect();
    client.expect_teaser();
    client.expect_smtpd();
    assert!(service.lives());
    let start = Instant::now();
    smtpd.next();
    assert_eq!(service.wait_end().code(), Some(0));
    assert!(start.elapsed() >= SECOND / 2, "the second counts from the last client on");
    service.wait_gone();
}

#[test]
fn one_idle_worker_of_two_stays() {
    let site = Site::new("max_idle = 1s\npostscreen_greet_wait = 3s");
    site.own_setting("workers = 2");
    let _smtpd = Smtpd::start(&site);
    let mut service = site.start();
    eventually("two workers", || service.workers().len() == 2);
    let workers = service.workers();
    // So that it is the other one that gets the client.
    kill(workers[0], Signal::SIGSTOP).unwrap();
    let mut client = site.connect();
    client.expect_teaser();
    kill(workers[0], Signal::SIGCONT).unwrap();
    eventually("a worker that goes on", || {
        !Process::find(workers[0]).is_some_and(|process| process.is_stopped())
    });
    client.expect_smtpd();
    assert!(service.lives());
    assert_eq!(service.workers(), workers);
    assert_eq!(service.wait_end().code(), Some(0));
    service.wait_gone();
}
