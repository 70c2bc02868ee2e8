//! Log records: who writes them, and where to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::eventually;
use crate::jail::may_run;
use crate::proc::{Process, open_files};
use crate::site::Site;

/// Has a client turned away, which takes two lines, and returns its name.
fn turn_away(site: &Site) -> String {
    let mut client = site.connect();
    client.expect("521 5.3.2 Service currently unavailable");
    client.expect_end();
    client.name().to_owned()
}

const TURNED_AWAY: &str = "postscreen_access_list = static:reject\n\
     postscreen_denylist_action = drop";

#[test]
fn records_are_those_of_postscreen_whatever_the_file_is_called() {
    let site = Site::new(TURNED_AWAY);
    let program = site.path("program/another-name");
    fs::copy(env!("CARGO_BIN_EXE_gatepost"), &program).unwrap();
    let mut service = site.launch().program(program).start();
    service.wait_ready();
    let name = turn_away(&site);
    for text in [format!("DENYLISTED {name}"), format!("DISCONNECT {name}")] {
        let record = site.log.wait(&text);
        assert_eq!(record.ident, "postfix/postscreen");
        assert_eq!(record.pid, service.worker().as_raw());
    }
}

#[test]
fn the_first_part_of_the_name_is_a_setting() {
    let site = Site::new(TURNED_AWAY);
    let words = ["-o", "syslog_name=postfix/$service_name", "-v"];
    let mut service = site.launch().words(&words).start();
    service.wait_ready();
    let name = turn_away(&site);
    assert_eq!(site.log.wait(&format!("DENYLISTED {name}")).ident, "postfix/smtp/postscreen");
}

/// What a restart of the log service takes is not missing in the log afterwards.
#[test]
fn records_wait_for_a_service_that_is_away() {
    let site = Site::new(TURNED_AWAY);
    let _service = site.start();
    let before = turn_away(&site);
    site.log.wait(&format!("DISCONNECT {before}"));
    let mut names = Vec::new();
    for round in 0..5 {
        site.log.close();
        names.extend((0..3).map(|_| turn_away(&site)));
        let count = site.log.count("DISCONNECT");
        assert_eq!(count, 1 + 3 * round, "the service was away");
        let back = Instant::now();
        site.log.open();
        // Nobody has to come for that.
        site.log.wait_count("DISCONNECT", count + 3);
        assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    }
    for name in names {
        for text in [format!("DENYLISTED {name}"), format!("DISCONNECT {name}")] {
            assert_eq!(site.log.count(&text), 1, "{text}");
        }
    }
    assert_eq!(site.log.count("lost"), 0);
}

#[test]
fn lost_records_are_counted() {
    let site = Site::new(TURNED_AWAY);
    let service = site.start();
    let before = turn_away(&site);
    site.log.wait(&format!("DISCONNECT {before}"));
    site.log.close();
    // More than can wait.
    const VISITS: usize = 400;
    for _ in 0..VISITS {
        turn_away(&site);
    }
    site.log.open();
    let lost = site.log.wait_containing("log records lost while the log service was away");
    assert_eq!(lost.pid, service.worker().as_raw());
    let count: usize = lost.text.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(count >= 3 * VISITS - 1000, "{count}");
    // Connect, verdict and disconnect of each visit are either counted or here, in order.
    let here = || {
        let records = site.log.records();
        let after = records.iter().skip_while(|record| record.text != lost.text);
        after.filter(|record| is_of_a_visit(&record.text)).count()
    };
    eventually("all of them", || here() + count == 3 * VISITS);
    assert_eq!(site.log.count("log records lost"), 1);
}

/// A log socket that nobody reads stops neither the mail nor the process, and keeps nobody awake.
#[test]
fn an_unread_log_stops_nobody() {
    let site = Site::new(TURNED_AWAY);
    let mut service = site.start();
    turn_away(&site);
    let unread = site.log.replace();
    let start = Instant::now();
    // The first ones fill the queue, the next ones what may wait; then records are lost.
    const VISITS: usize = 500;
    for _ in 0..VISITS {
        turn_away(&site);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let ticks = Process::find(service.worker()).unwrap().ticks;
    std::thread::sleep(Duration::from_secs(5));
    let spent = Process::find(service.worker()).unwrap().ticks - ticks;
    assert!(spent < 10, "the loop was busy: {spent} ticks");
    assert!(service.lives());
    // Somebody reads again: another process, or the same.
    site.log.read(unread);
    let lost = site.log.wait_containing("log records lost while the log service was away");
    let count: usize = lost.text.split(' ').nth(1).unwrap().parse().unwrap();
    let visits = || site.log.records().iter().filter(|r| is_of_a_visit(&r.text)).count();
    // The first visit is older.
    eventually("all of them", || visits() + count == 3 * (VISITS + 1));
}

/// The supervisor, which is outside and root, connects for a worker that cannot.
#[test]
fn the_log_is_found_again_from_inside_a_jail() {
    if !may_run("the_log_is_found_again_from_inside_a_jail") {
        return;
    }
    let site = Site::new(TURNED_AWAY);
    // Not to be reached by mail_owner, as /dev/log is not from inside a jail.
    fs::set_permissions(site.path("queue/public"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut service = site.launch().words(&["-u", "-c"]).start();
    service.wait_ready();
    let before = open_files(service.worker()).len();
    for round in 1..=20 {
        site.log.close();
        let name = turn_away(&site);
        let back = Instant::now();
        site.log.open();
        site.log.wait(&format!("DISCONNECT {name}"));
        assert!(back.elapsed() < Duration::from_secs(1), "{round}: {:?}", back.elapsed());
    }
    assert_eq!(site.log.count("lost"), 0);
    assert_eq!(open_files(service.worker()).len(), before);
}

fn is_of_a_visit(text: &str) -> bool {
    ["CONNECT", "DENYLISTED", "DISCONNECT"].iter().any(|word| text.starts_with(word))
}
