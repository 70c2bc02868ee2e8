//! Reload and stop, which are the end of the status channel; and deaths of either process.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::proc::Process;
use crate::service::Service;
use crate::site::Site;
use crate::smtpd::Smtpd;
use crate::{PATIENCE, eventually};

/// A service with a client in its greet wait.
struct Waiting {
    // In the order in which they go.
    client: Client,
    worker: Pid,
    service: Service,
    smtpd: Smtpd,
    site: Site,
}

impl Waiting {
    fn new() -> Waiting {
        let site = Site::new("postscreen_greet_wait = 2s");
        let smtpd = Smtpd::start(&site);
        let mut service = site.launch().start();
        service.wait_ready_unread();
        let worker = service.worker();
        let mut client = site.connect();
        client.expect_teaser();
        Waiting { client, worker, service, smtpd, site }
    }

    /// The supervisor has gone: the client is served to the end, and remembered; who comes
    /// meanwhile waits for the next service.
    fn expect_drained(mut self) {
        let mut next = self.site.connect_from("127.0.0.2");
        next.expect_nothing();
        let mut successor = self.site.start();
        next.expect_teaser();
        assert!(Process::find(self.worker).is_some(), "the client waits still");
        self.client.expect_smtpd();
        self.smtpd.next();
        let record = self.site.log.wait(&format!("PASS NEW {}", self.client.name()));
        assert_eq!(record.pid, self.worker.as_raw());
        self.service.wait_gone();
        assert_eq!(Process::find(self.worker).map(|process| process.pid), None);

        let mut again = self.site.connect();
        again.expect_smtpd();
        let record = self.site.log.wait(&format!("PASS OLD {}", again.name()));
        assert_eq!(record.pid, successor.worker().as_raw());
        next.expect_smtpd();
        assert!(successor.lives());
    }
}

#[test]
fn a_reload_loses_nobody() {
    let mut waiting = Waiting::new();
    waiting.service.wait_ready();
    let start = Instant::now();
    waiting.service.close_status();
    assert_eq!(waiting.service.wait_end().code(), Some(0));
    assert!(start.elapsed() < PATIENCE / 10, "at once");
    waiting.expect_drained();
}

/// master closes the channel before it has read our records: an error instead of an end.
#[test]
fn an_error_of_the_status_channel_is_its_end() {
    let mut waiting = Waiting::new();
    assert_eq!(waiting.service.waiting_status(), 24);
    waiting.service.close_status();
    assert_eq!(waiting.service.wait_end().code(), Some(0));
    waiting.expect_drained();
}

#[test]
fn a_killed_supervisor_is_like_a_reload() {
    let mut waiting = Waiting::new();
    waiting.service.signal(Signal::SIGKILL);
    assert_eq!(waiting.service.wait_end().signal(), Some(Signal::SIGKILL as i32));
    waiting.expect_drained();
}

#[test]
fn a_supervisor_dies_as_its_worker_has_died() {
    // A panic ends in SIGABRT.
    for signal in [Signal::SIGKILL, Signal::SIGABRT] {
        let site = Site::new("");
        let mut service = site.start();
        kill(service.worker(), signal).unwrap();
        assert_eq!(service.wait_end().signal(), Some(signal as i32));
        service.wait_gone();
    }
}

#[test]
fn a_reload_without_clients_leaves_nothing() {
    let site = Site::new("");
    let mut service = site.start();
    service.close_status();
    service.wait_gone();
    assert_eq!(service.wait_end().code(), Some(0));
}

/// Every connection made at any moment of several reloads is served.
#[test]
fn reloads_in_a_crowd_lose_nobody() {
    let site = Site::new("postscreen_client_connection_count_limit = 100");
    let _smtpd = Smtpd::start(&site);
    let mut services = vec![site.start()];
    let mut clients = Vec::new();
    for round in 0..4 {
        for number in 0..10 {
            clients.push(site.connect_from(&format!("127.1.{round}.{}", number + 1)));
            if number == 4 {
                let old = services.last_mut().unwrap();
                old.close_status();
                old.wait_end();
            }
        }
        services.push(site.start());
    }
    for client in &mut clients {
        client.expect_teaser();
        client.expect_smtpd();
    }
    let gone = services.len() - 1;
    for old in &mut services[..gone] {
        old.wait_gone();
    }
    eventually("a line for everybody", || site.log.count("PASS NEW") == clients.len());
}
