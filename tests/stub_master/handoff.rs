//! The way to smtpd(8), and what happens when there is none.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::client::Next;
use crate::site::Site;
use crate::smtpd::{Full, GREETING, Manner, Smtpd};
use crate::{PATIENCE, eventually};

const NO_RESOURCES: &str = "421 4.3.2 No system resources";
const PORTS_BUSY: &str = "421 4.3.2 All server ports are busy";

#[test]
fn descriptor_and_attributes_come_together_and_nothing_is_lost() {
    let site = Site::new("postscreen_access_list = static:permit");
    let smtpd = Smtpd::start(&site);
    let mut client = site.connect();
    // Before the service is there.
    client.send("EHLO client.example\r\nQUIT\r\n");
    let _service = site.start();
    let mut passed = smtpd.next();
    assert_eq!(passed.message[0], 0, "the byte that carries the descriptor");
    let (client_port, server_port) = (client.address().port(), site.address(0).port());
    assert_eq!(
        passed.attributes(),
        [
            "client_address",
            "127.0.0.1",
            "client_port",
            &client_port.to_string(),
            "server_address",
            "127.0.0.1",
            "server_port",
            &server_port.to_string(),
        ]
    );
    assert_eq!(passed.stream.peer_addr().unwrap(), client.address());
    let mut early = [0; 27];
    passed.stream.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"EHLO client.example\r\nQUIT\r\n");
    passed.stream.write_all(b"221 bye\r\n").unwrap();
    drop(passed);
    for line in [GREETING, "221 bye"] {
        client.expect(line);
    }
    // The service keeps nothing of a client that was taken.
    client.expect_end();
    site.log.wait(&format!("ALLOWLISTED {}", client.name()));
    assert_eq!(site.log.count("DISCONNECT"), 0);
}

#[test]
fn an_smtpd_that_closes_at_once_takes_its_client_along() {
    let site = Site::new("postscreen_access_list = static:permit\nmax_idle = 1s");
    let _smtpd = Smtpd::with_manner(&site, Manner::Close);
    let mut service = site.start();
    // Whether the descriptor was sent before the end or not is a matter of chance.
    let mut told = 0;
    for _ in 0..20 {
        let mut client = site.connect();
        match client.next_within(PATIENCE) {
            Next::End | Next::Reset => {}
            next => {
                assert_eq!(next, Next::Line(NO_RESOURCES.to_owned()));
                client.expect_end();
                told += 1;
            }
        }
    }
    let warning = "warning: cannot pass connection to service private/smtpd: Broken pipe";
    site.log.wait_count(warning, told);
    assert_eq!(site.log.count("warning: "), told);
    assert_eq!(service.wait_end().code(), Some(0), "no session is left");
}

#[test]
fn without_smtpd_clients_are_told() {
    let site = Site::new("postscreen_greet_wait = 1s");
    let first = Smtpd::start(&site);
    let _service = site.start();
    let mut known = site.connect();
    known.expect_teaser();
    known.expect_smtpd();
    first.next();
    drop(first);

    let mut known = site.connect();
    known.expect(PORTS_BUSY);
    known.expect_end();
    let warning = "warning: cannot connect to service private/smtpd: No such file or directory";
    site.log.wait(warning);

    // One that has seen the teaser gets the rest of the greeting first.
    let mut waited = site.connect_from("127.0.0.2");
    waited.expect_teaser();
    waited.expect("220 mx.example.test ESMTP Postfix");
    waited.expect_nothing();
    waited.send("EHLO client.example\r\n");
    waited.expect(NO_RESOURCES);
    waited.expect_end();
    site.log.wait_count(warning, 2);
    // It has passed all the same.
    site.log.wait(&format!("PASS NEW {}", waited.name()));
    site.log.wait(&format!("DISCONNECT {}", waited.name()));

    let _second = Smtpd::start(&site);
    site.connect_from("127.0.0.2").expect_smtpd();
}

#[test]
fn a_queue_that_is_full_for_a_moment_is_waited_for() {
    let site = Site::new("postscreen_access_list = static:permit");
    let full = Full::start(&site);
    let _service = site.start();
    let mut client = site.connect();
    client.expect_nothing();
    let _smtpd = full.drain();
    client.expect_smtpd();
    assert_eq!(site.log.count("warning: "), 0);
}

#[test]
fn a_queue_that_stays_full_is_given_up() {
    let site = Site::new("postscreen_access_list = static:permit");
    let _full = Full::start(&site);
    let _service = site.start();
    let start = Instant::now();
    let mut client = site.connect();
    client.expect(PORTS_BUSY);
    client.expect_end();
    assert!(start.elapsed() >= Duration::from_secs(1));
    site.log
        .wait("warning: cannot connect to service private/smtpd: Resource temporarily unavailable");
}

#[test]
fn hand_offs_in_progress_are_limited() {
    let site = Site::new(
        "postscreen_access_list = static:permit\n\
         postscreen_post_queue_limit = 5",
    );
    let smtpd = Smtpd::with_manner(&site, Manner::Hang);
    let _service = site.start();
    let passed: Vec<_> = (0..5).map(|_| site.connect()).collect();
    eventually("five hand-offs", || smtpd.hanging() == 5);
    let mut refused = site.connect();
    refused.expect(PORTS_BUSY);
    refused.expect_end();
    let name = refused.name();
    site.log.wait(&format!("NOQUEUE: reject: CONNECT from {name}: all server ports busy"));
    // Room again.
    smtpd.release();
    drop(passed);
    eventually("one hand-off more", || {
        let _client = site.connect();
        smtpd.hanging() > 0
    });
}
