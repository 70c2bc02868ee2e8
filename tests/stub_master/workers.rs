//! Several workers (gatepost.cf: `workers`).

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::PATIENCE;
use crate::client::{Client, Next};
use crate::eventually;
use crate::service::Service;
use crate::site::Site;
use crate::smtpd::Smtpd;

/// Two workers, ready.
fn start(site: &Site) -> (Service, [Pid; 2]) {
    site.own_setting("workers = 2");
    let service = site.start();
    eventually("two workers", || service.workers().len() == 2);
    let workers = service.workers();
    (service, [workers[0], workers[1]])
}

/// Does something while one worker sleeps, so that the other one gets the clients.
fn without<T>(worker: Pid, act: impl FnOnce() -> T) -> T {
    kill(worker, Signal::SIGSTOP).unwrap();
    let result = act();
    kill(worker, Signal::SIGCONT).unwrap();
    result
}

#[test]
fn both_workers_serve() {
    let site = Site::new("");
    let smtpd = Smtpd::start(&site);
    let (_service, workers) = start(&site);
    for (asleep, awake) in [(workers[0], workers[1]), (workers[1], workers[0])] {
        let mut client = without(asleep, || {
            let mut client = site.connect_from(&format!("127.2.{}.1", asleep.as_raw() % 200));
            client.expect_teaser();
            client
        });
        client.expect_smtpd();
        smtpd.next();
        let record = site.log.wait(&format!("PASS NEW {}", client.name()));
        assert_eq!(record.pid, awake.as_raw());
    }
    // What one has learnt, the other knows.
    for asleep in workers {
        let address = format!("127.2.{}.1", asleep.as_raw() % 200);
        let mut client = without(asleep, || {
            // Held up by the writer's batch at most.
            std::thread::sleep(std::time::Duration::from_millis(200));
            let mut client = site.connect_from(&address);
            assert!(matches!(client.next_within(PATIENCE), Next::Line(_)));
            client
        });
        site.log.wait(&format!("PASS OLD {}", client.name()));
        client.half_close();
        smtpd.next();
        client.expect_end();
    }
}

#[test]
fn limits_are_divided() {
    let site = Site::new("postscreen_pre_queue_limit = 11\npostscreen_greet_wait = 60s");
    let (_service, workers) = start(&site);
    // The limit is met when a worker would have so many: one less are screened.
    for (number, (asleep, share)) in [(workers[1], 6), (workers[0], 5)].into_iter().enumerate() {
        without(asleep, || {
            let mut waiting: Vec<Client> = Vec::new();
            for client in 1..share {
                let mut client = site.connect_from(&format!("127.3.{number}.{client}"));
                client.expect_teaser();
                waiting.push(client);
            }
            let mut refused = site.connect_from(&format!("127.3.{number}.100"));
            refused.expect("421 4.3.2 All screening ports are busy");
            refused.expect_end();
            let name = refused.name();
            site.log.wait(&format!("reject: connect from {name}: all screening ports busy"));
        });
    }
}

#[test]
fn when_one_worker_dies_the_other_finishes() {
    let site = Site::new("postscreen_greet_wait = 2s");
    let smtpd = Smtpd::start(&site);
    let (mut service, workers) = start(&site);
    let mut client = without(workers[0], || {
        let mut client = site.connect();
        client.expect_teaser();
        client
    });
    kill(workers[0], Signal::SIGKILL).unwrap();
    assert_eq!(service.wait_end().signal(), Some(Signal::SIGKILL as i32));
    site.connect_from("127.0.0.2").expect_nothing();
    client.expect_smtpd();
    smtpd.next();
    let record = site.log.wait(&format!("PASS NEW {}", client.name()));
    assert_eq!(record.pid, workers[1].as_raw());
    service.wait_gone();
}
