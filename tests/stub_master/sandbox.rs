//! What workers may still do once they serve, and what is left out where it cannot be had. That
//! the tests of the other files need no more is seen to by [`Site`](crate::site::Site).

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::jail::may_run;
use crate::proc::{open_files, status_of_threads};
use crate::service::Service;
use crate::site::{Site, is_root};
use crate::smtpd::Smtpd;

const NO_CAPABILITIES: &str = "0000000000000000";
const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

fn start(site: &Site, words: &[&str]) -> Service {
    let mut service = site.launch().words(words).start();
    service.wait_ready();
    service
}

/// What the log says of the sandbox.
fn said(site: &Site) -> Vec<String> {
    let records = site.log.records().into_iter();
    records.map(|record| record.text).filter(|text| text.starts_with("sandbox: ")).collect()
}

/// A client comes, waits and is handed off, and comes back as a known one.
pub fn serve(site: &Site, smtpd: &Smtpd) {
    let mut client = site.connect();
    client.expect_teaser();
    client.expect_smtpd();
    smtpd.next();
    let mut client = site.connect();
    client.expect_smtpd();
    smtpd.next();
    site.log.wait(&format!("PASS OLD {}", client.name()));
}

#[track_caller]
fn assert_threads(pid: Pid, field: &str, expected: &str) {
    let threads = status_of_threads(pid, field);
    assert!(threads.len() >= 2, "{threads:?}");
    assert!(threads.iter().all(|value| value == expected), "{field}: {threads:?}");
}

#[test]
fn every_thread_of_a_worker_is_locked_in() {
    let all = [&[][..], &["-u"], &["-u", "-c"], &["-c"]];
    for words in if is_root() { &all[..] } else { &all[..1] } {
        let site = Site::new("");
        let smtpd = Smtpd::start(&site);
        let service = start(&site, words);
        let worker = service.worker();
        assert_threads(worker, "NoNewPrivs", "1");
        assert_threads(worker, "Seccomp", "2");
        for set in SETS {
            // Without root there is no right to change the bounding set.
            if is_root() || set != "CapBnd" {
                assert_threads(worker, set, NO_CAPABILITIES);
            }
        }
        // The supervisor reads no network, and has to do what the others cannot.
        assert_eq!(status_of_threads(service.pid(), "Seccomp"), ["0"]);
        assert_eq!(status_of_threads(service.pid(), "NoNewPrivs"), ["0"]);
        serve(&site, &smtpd);
        let said = said(&site);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("sandbox: no capabilities, no_new_privs, "), "{said:?}");
        assert!(said[0].ends_with("seccomp"), "{said:?}");
    }
}

#[test]
fn a_jailed_worker_holds_no_directory() {
    if !may_run("a_jailed_worker_holds_no_directory") {
        return;
    }
    let site = Site::new("postscreen_dnsbl_sites = list.example");
    site.own_setting("dnsbl_nameservers = [127.0.0.1]:5353");
    let service = start(&site, &["-u", "-c"]);
    let worker = service.worker();
    for (number, path) in open_files(worker) {
        assert!(!PathBuf::from(format!("/proc/{worker}/fd/{number}")).is_dir(), "{path}");
    }
}

#[test]
fn it_can_be_switched_off() {
    let site = Site::new("");
    site.own_setting("sandbox = no");
    let smtpd = Smtpd::start(&site);
    let service = start(&site, &[]);
    let worker = service.worker();
    assert_threads(worker, "Seccomp", "0");
    assert_threads(worker, "NoNewPrivs", "0");
    serve(&site, &smtpd);
    assert_eq!(said(&site), ["sandbox: none (gatepost.cf: sandbox = no)"]);
}

#[test]
fn the_log_is_told_once_and_when_something_changes() {
    if !may_run("the_log_is_told_once_and_when_something_changes") {
        return;
    }
    let site = Site::new("");
    for _ in 0..3 {
        let mut service = start(&site, &["-u"]);
        service.close_status();
        service.wait_gone();
    }
    assert_eq!(said(&site).len(), 1);
    site.own_setting("sandbox = no");
    let mut service = start(&site, &["-u"]);
    service.close_status();
    service.wait_gone();
    assert_eq!(said(&site).len(), 2);
}

/// Starts under settings of a service manager or container, serves, and tells what was said.
fn under(setting: &str, words: &[&str]) -> (Site, Service, Vec<String>) {
    let site = Site::new(
        "postscreen_access_list = pcre:{{/^203\\.0\\.113\\./ reject}}, cidr:{{198.51.100.1 reject}}",
    );
    let smtpd = Smtpd::start(&site);
    let mut service = site.launch().words(words).under(setting).start();
    service.wait_ready();
    serve(&site, &smtpd);
    let said = said(&site);
    (site, service, said)
}

#[test]
fn the_unit_of_debian_13() {
    if !may_run("the_unit_of_debian_13") {
        return;
    }
    for words in [&["-u"][..], &["-u", "-c"], &["-c"], &[]] {
        let (site, mut service, said) = under("debian13", words);
        assert!(said[0].ends_with(", seccomp") && said.len() == 1, "{words:?}: {said:?}");
        let worker = service.worker();
        for set in SETS.iter().filter(|set| **set != "CapBnd") {
            assert_threads(worker, set, NO_CAPABILITIES);
        }
        // The unit leaves no right to signal a process of another account.
        let mut client = site.connect_from("127.0.0.2");
        client.expect_teaser();
        service.signal(Signal::SIGTERM);
        service.wait_gone();
    }
}

#[test]
fn a_filter_of_debian_12_knows_no_sandboxes() {
    if !may_run("a_filter_of_debian_12_knows_no_sandboxes") {
        return;
    }
    let (_site, service, said) = under("debian12", &["-u", "-c"]);
    assert_eq!(
        said,
        [
            "sandbox: no capabilities, no_new_privs",
            "sandbox: left out Landlock: ends by SIGSYS",
            "sandbox: left out seccomp: ends by SIGSYS"
        ]
    );
    assert_threads(service.worker(), "NoNewPrivs", "1");
}

#[test]
fn a_layer_that_cannot_be_had_is_left_out() {
    if !may_run("a_layer_that_cannot_be_had_is_left_out") {
        return;
    }
    for (setting, in_force, left_out) in [
        (
            "no-landlock",
            "sandbox: no capabilities, no_new_privs, seccomp",
            "sandbox: left out Landlock: not in this kernel",
        ),
        ("no-seccomp", "", "sandbox: left out seccomp: Operation not permitted"),
        ("no-capset", "", "sandbox: left out no capabilities: caps error: capset failure: "),
        ("yes-landlock", "", "sandbox: left out Landlock: has no effect"),
    ] {
        let (_site, _service, said) = under(setting, &["-u"]);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with(in_force), "{setting}: {said:?}");
        assert!(said[1].starts_with(left_out), "{setting}: {said:?}");
    }
}

/// The thread that watches the loop starts another one when that hangs.
#[test]
fn the_watchdog_can_bite() {
    let site = Site::new("postscreen_watchdog_timeout = 10s\npostscreen_bare_newline_enable = yes");
    // Each takes the C library some seconds, for the longest key that such a pattern is for.
    let pattern = "/^(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)\\1\\2\\3\\4\\5\\6\\7\\8\\9y$/ z\n";
    fs::write(site.path("conf/filter"), pattern.repeat(30)).unwrap();
    let filter = site.path("conf/filter");
    let words = format!("postscreen_command_filter=regexp:{}", filter.display());
    let mut service = start(&site, &["-o", &words]);
    let mut client = site.connect();
    client.expect_teaser();
    client.expect("220 mx.example.test ESMTP Postfix");
    client.send(&format!("{}\r\n", "x".repeat(62)));
    // It may take half as long again, and a machine may be busy.
    let deadline = Instant::now() + Duration::from_secs(60);
    while site.log.count("fatal: watchdog timeout") == 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(100));
    }
    service.wait_end();
}
