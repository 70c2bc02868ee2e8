//! SIGTERM: master sends it when the line has gone from master.cf, systemd at a stop.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::client::Client;
use crate::site::Site;
use crate::smtpd::{Full, Manner, Smtpd};
use crate::{PATIENCE, eventually};

/// What systemd and `postfix stop` wait for.
const LIMIT: Duration = Duration::from_secs(5);

const UNAVAILABLE: &str = "421 4.3.2 Service currently unavailable";

/// A client of a service that ends hears so.
#[track_caller]
fn is_told(site: &Site, client: &mut Client) {
    client.expect(UNAVAILABLE);
    client.expect_end();
    site.log.wait(&format!("DISCONNECT {}", client.name()));
}

#[test]
fn waiting_clients_are_told() {
    let site = Site::new("postscreen_greet_wait = 60s");
    let mut service = site.start();
    let mut clients: Vec<Client> =
        (1..=5).map(|number| site.connect_from(&format!("127.0.0.{number}"))).collect();
    for client in &mut clients {
        client.expect_teaser();
    }
    let start = Instant::now();
    service.signal(Signal::SIGTERM);
    for client in &mut clients {
        is_told(&site, client);
    }
    // They stay, as clients may: nobody waits for them for long.
    service.wait_gone();
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    assert_eq!(service.wait_end().code(), Some(0));
    drop(clients);
}

#[test]
fn clients_of_a_draining_worker_are_told() {
    let site = Site::new("postscreen_greet_wait = 60s");
    let mut service = site.start();
    let worker = service.worker();
    let mut client = site.connect();
    client.expect_teaser();
    service.close_status();
    service.wait_end();
    let start = Instant::now();
    kill(worker, Signal::SIGTERM).unwrap();
    is_told(&site, &mut client);
    service.wait_gone();
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
}

#[test]
fn a_hand_off_that_hangs_is_not_waited_for() {
    let site = Site::new("postscreen_access_list = static:permit");
    let smtpd = Smtpd::with_manner(&site, Manner::Hang);
    let mut service = site.start();
    let _client = site.connect();
    eventually("a hand-off that hangs", || smtpd.hanging() == 1);
    let start = Instant::now();
    service.signal(Signal::SIGTERM);
    service.wait_gone();
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    assert_eq!(service.wait_end().code(), Some(0));
}

#[test]
fn a_client_that_waits_for_smtpd_is_told() {
    let site = Site::new("postscreen_access_list = static:permit");
    let _full = Full::start(&site);
    let mut service = site.start();
    let mut client = site.connect();
    site.log.wait_containing("ALLOWLISTED");
    service.signal(Signal::SIGTERM);
    client.expect(UNAVAILABLE);
    client.expect_end();
    service.wait_gone();
}

#[test]
fn verdicts_are_committed_first() {
    let site = Site::new("");
    let smtpd = Smtpd::start(&site);
    let mut service = site.start();
    let mut client = site.connect();
    client.expect_teaser();
    client.expect_smtpd();
    smtpd.next();
    service.signal(Signal::SIGTERM);
    service.wait_gone();
    let _successor = site.start();
    let mut again = site.connect();
    again.expect_smtpd();
    site.log.wait(&format!("PASS OLD {}", again.name()));
}

#[test]
fn a_worker_that_hangs_is_killed() {
    let site = Site::new("");
    let mut service = site.start();
    let worker = service.worker();
    kill(worker, Signal::SIGSTOP).unwrap();
    service.signal(Signal::SIGTERM);
    service.wait_gone();
    assert_eq!(service.wait_end().code(), Some(0));
    site.log.wait(&format!("warning: worker {worker} does not end: killed"));
}

/// Who asks for the end before the start is over gets it.
#[test]
fn a_service_that_starts_can_be_ended() {
    let site = Site::new("");
    let start = Instant::now();
    // From before the program runs to after it is ready.
    for pause in (0..60).step_by(4) {
        let mut service = site.launch().start();
        std::thread::sleep(Duration::from_millis(pause));
        service.signal(Signal::SIGTERM);
        service.wait_gone();
    }
    assert!(start.elapsed() < PATIENCE);
}
