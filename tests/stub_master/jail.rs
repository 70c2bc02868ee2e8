//! As root: the worker gives up its rights (`-u`) and enters its jail (`-c`).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::User;

use crate::proc::status;
use crate::sandbox::serve;
use crate::service::Service;
use crate::site::{OWNER, Site, is_root};
use crate::smtpd::Smtpd;
use crate::tlsproxy::Tlsproxy;

/// Whether to run a test that needs root. In continuous integration there is no excuse.
pub fn may_run(test: &str) -> bool {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(is_root() || !ci, "{test} needs root, and CI=true");
    if !is_root() {
        eprintln!("{test}: not run, because it needs root");
    }
    is_root()
}

fn start(site: &Site, words: &[&str]) -> Service {
    let mut service = site.launch().words(words).start();
    service.wait_ready();
    service
}

#[test]
fn the_worker_is_nobody_in_particular() {
    if !may_run("the_worker_is_nobody_in_particular") {
        return;
    }
    for (words, jailed) in [(&["-u"][..], false), (&["-u", "-c"], true), (&["-c"], true)] {
        let site = Site::new("");
        let smtpd = Smtpd::start(&site);
        let service = start(&site, words);
        let worker = service.worker();
        let owner = User::from_name(OWNER).unwrap().unwrap();
        let ids = |id: u32| format!("{id} {id} {id} {id}");
        let unprivileged = words.contains(&"-u");
        let (uid, gid) =
            if unprivileged { (owner.uid.as_raw(), owner.gid.as_raw()) } else { (0, 0) };
        // Who has no capabilities uses files as the owner, whoever else it is.
        let ids_but_for_files = |id: u32, files: u32| format!("{id} {id} {id} {files}");
        let (files, group) = (owner.uid.as_raw(), owner.gid.as_raw());
        assert_eq!(status(worker, "Uid"), ids_but_for_files(uid, files), "{words:?}");
        assert_eq!(status(worker, "Gid"), ids_but_for_files(gid, group), "{words:?}");
        if unprivileged {
            assert_eq!(status(worker, "Groups"), gid.to_string(), "{words:?}");
        }
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(worker, set), "0000000000000000", "{words:?}");
        }
        assert_eq!(status(service.pid(), "Uid"), ids(0), "{words:?}");
        let root = fs::read_link(format!("/proc/{worker}/root")).unwrap();
        let queue = site.path("queue").canonicalize().unwrap();
        assert_eq!(root, if jailed { queue } else { PathBuf::from("/") }, "{words:?}");
        assert_eq!(fs::metadata(site.cache_file()).unwrap().uid(), owner.uid.as_raw());

        serve(&site, &smtpd);
    }
}

#[test]
fn a_jailed_worker_drains_with_its_cache() {
    if !may_run("a_jailed_worker_drains_with_its_cache") {
        return;
    }
    let site = Site::new("postscreen_greet_wait = 2s");
    let smtpd = Smtpd::start(&site);
    let mut service = start(&site, &["-u", "-c"]);
    let mut client = site.connect();
    client.expect_teaser();
    service.close_status();
    assert_eq!(service.wait_end().code(), Some(0));
    let _successor = start(&site, &["-u", "-c"]);
    client.expect_smtpd();
    smtpd.next();
    service.wait_gone();
    let mut again = site.connect();
    again.expect_smtpd();
    site.log.wait(&format!("PASS OLD {}", again.name()));
}

/// The path of its socket means the same inside and outside.
#[test]
fn a_jailed_worker_finds_tlsproxy() {
    if !may_run("a_jailed_worker_finds_tlsproxy") {
        return;
    }
    let site = Site::new(
        "postscreen_greet_banner =\n\
         postscreen_bare_newline_enable = yes\n\
         postscreen_tls_security_level = encrypt",
    );
    let tlsproxy = Tlsproxy::start(&site);
    let service = start(&site, &["-u", "-c"]);
    let worker = service.worker();
    let mut client = site.connect();
    client.expect("220 mx.example.test ESMTP Postfix");
    client.command("STARTTLS", "220 2.0.0 Ready to start TLS");
    client.start_tls();
    client.command("MAIL FROM:<>", "250 2.1.0 Ok");
    tlsproxy.next_request();
    assert_eq!(service.worker(), worker);
}

/// The file may be one that only root can read.
#[test]
fn a_jailed_worker_gets_changed_tables() {
    if !may_run("a_jailed_worker_gets_changed_tables") {
        return;
    }
    let site = Site::new(
        "postscreen_access_list = cidr:$config_directory/access\n\
         postscreen_denylist_action = drop\n\
         postscreen_greet_wait = 60s",
    );
    let path = site.path("conf/access");
    fs::write(&path, "127.0.0.5 reject\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let _service = start(&site, &["-u", "-c"]);
    site.connect().expect_teaser();
    fs::write(&path, "127.0.0.1 reject\n").unwrap();
    site.log.wait(&format!("file {} has changed - taken in", path.display()));
    site.connect().expect("521 5.3.2 Service currently unavailable");
}

#[test]
fn a_jailed_worker_finds_the_log_again() {
    if !may_run("a_jailed_worker_finds_the_log_again") {
        return;
    }
    let site = Site::new("postscreen_access_list = static:reject");
    let service = start(&site, &["-u", "-c"]);
    site.log.close();
    let mut client = site.connect();
    client.expect_teaser();
    assert_eq!(site.log.count(client.name()), 0);
    site.log.open();
    let record = site.log.wait(&format!("DENYLISTED {}", client.name()));
    assert_eq!(record.pid, service.worker().as_raw());
}

#[test]
fn a_jailed_worker_can_be_ended() {
    if !may_run("a_jailed_worker_can_be_ended") {
        return;
    }
    let site = Site::new("postscreen_greet_wait = 60s");
    let mut service = start(&site, &["-u", "-c"]);
    let worker = service.worker();
    let mut client = site.connect();
    client.expect_teaser();
    service.signal(Signal::SIGTERM);
    client.expect("421 4.3.2 Service currently unavailable");
    service.wait_gone();
    assert!(kill(worker, None).is_err());
}

/// Damage is found by the worker in its jail, and the file set aside by the supervisor.
#[test]
fn a_jailed_worker_has_a_damaged_cache_set_aside() {
    if !may_run("a_jailed_worker_has_a_damaged_cache_set_aside") {
        return;
    }
    let site = Site::new("");
    let smtpd = Smtpd::start(&site);
    let _service = start(&site, &["-u", "-c"]);
    let connection = rusqlite::Connection::open(site.cache_file()).unwrap();
    connection.execute_batch("DROP TABLE verdict").unwrap();
    drop(connection);
    let mut client = site.connect();
    client.expect_teaser();
    client.expect_smtpd();
    smtpd.next();
    let path = site.cache_file();
    site.log.wait_containing(&format!("warning: cache file {} is damaged", path.display()));
    crate::eventually("a file set aside", || !path.exists());
}
