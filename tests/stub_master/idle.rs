//! The end of a service without clients (main.cf: `max_idle`).

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::client::Next;
use crate::eventually;
use crate::proc::Process;
use crate::service::Service;
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

/// Who comes at the very moment of the end is served by this process or by the next one.
#[test]
fn a_client_that_comes_at_the_end_is_served() {
    const STEP: Duration = Duration::from_millis(6);
    let sites: Vec<Site> = (0..16).map(|_| Site::new("max_idle = 1s")).collect();
    let smtpds: Vec<Smtpd> = sites.iter().map(Smtpd::start).collect();
    let mut services: Vec<(Instant, Service)> =
        sites.iter().map(Site::start).map(|service| (Instant::now(), service)).collect();
    let mut clients = Vec::new();
    for (number, (site, (began, _))) in (0..).zip(sites.iter().zip(&services)) {
        let arrival = *began + SECOND + STEP * number - STEP * 8;
        std::thread::sleep(arrival.saturating_duration_since(Instant::now()));
        clients.push(site.connect());
    }
    let mut successors = Vec::new();
    for ((site, (_, service)), client) in sites.iter().zip(&mut services).zip(&mut clients) {
        // What master does when a connection waits and nobody is there.
        let mut alone = true;
        while client.next_within(Duration::from_millis(20)) == Next::Nothing {
            if alone && !service.lives() {
                alone = false;
                successors.push(site.start());
            }
        }
    }
    for client in &mut clients {
        client.expect_smtpd();
    }
    for ((_, service), smtpd) in services.iter_mut().zip(&smtpds) {
        smtpd.next();
        service.wait_gone();
    }
}
