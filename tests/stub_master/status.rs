//! What a worker tells of its counts, at its socket below `private/`.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::eventually;
use crate::service::Service;
use crate::site::Site;
use crate::smtpd::Smtpd;

fn socket(site: &Site, service: &Service) -> PathBuf {
    site.path(&format!("queue/private/gatepost.{}.0", service.pid()))
}

fn counts(path: &PathBuf) -> BTreeMap<String, u64> {
    let mut text = String::new();
    UnixStream::connect(path).unwrap().read_to_string(&mut text).unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    text.lines().map(pair).collect()
}

fn ends(path: &PathBuf) -> [u64; 5] {
    let counts = counts(path);
    ["accepted", "handed_off", "turned_away", "hung_up", "open"].map(|name| counts[name])
}

#[test]
fn every_connection_is_accounted_for() {
    let site = Site::new("postscreen_greet_action = drop");
    let smtpd = Smtpd::start(&site);
    let service = site.start();
    let path = socket(&site, &service);
    assert_eq!(ends(&path), [0; 5]);
    let mut good = site.connect_from("127.2.7.1");
    good.expect_teaser();
    assert_eq!(ends(&path), [1, 0, 0, 0, 1]);
    let mut early = site.connect_from("127.2.7.2");
    early.expect_teaser();
    early.send("EHLO early\r\n");
    early.expect("521 5.5.1 Protocol error");
    let mut gone = site.connect_from("127.2.7.3");
    gone.expect_teaser();
    drop(gone);
    good.expect_smtpd();
    smtpd.next();
    eventually("three ends", || ends(&path) == [3, 1, 1, 1, 0]);
}

/// Many that ask at once, and some who do not wait for the answer.
#[test]
fn who_asks_is_answered() {
    let site = Site::new("");
    let service = site.start();
    let path = socket(&site, &service);
    let asked: Vec<UnixStream> = (0..60).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for (number, mut stream) in asked.into_iter().enumerate() {
        if number % 3 > 0 {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.starts_with("accepted 0\n"), "{text}");
        }
    }
    assert_eq!(ends(&path), [0; 5]);
}

#[test]
fn sockets_of_those_who_have_gone_are_removed() {
    let site = Site::new("");
    let mut first = site.start();
    let old = socket(&site, &first);
    assert!(old.exists());
    first.close_status();
    first.wait_gone();
    let second = site.start();
    assert!(!old.exists());
    assert_eq!(ends(&socket(&site, &second)), [0; 5]);
}
