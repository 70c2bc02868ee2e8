//! Log records: who writes them, and where to.

use std::fs;

use crate::eventually;
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

#[test]
fn lost_records_are_counted() {
    let site = Site::new(TURNED_AWAY);
    let service = site.start();
    let before = turn_away(&site);
    site.log.wait(&format!("DISCONNECT {before}"));
    site.log.close();
    for _ in 0..3 {
        turn_away(&site);
    }
    site.log.open();
    // The pause between attempts to reach the service is a second.
    let mut visits = 0;
    eventually("records again", || {
        turn_away(&site);
        visits += 1;
        site.log.count("log records lost") > 0
    });
    let lost = site.log.wait_containing("log records lost while the log service was away");
    assert_eq!(lost.pid, service.worker().as_raw());
    let count: usize = lost.text.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(count >= 9, "{count}");
    // Connect, verdict and disconnect of each visit are either counted or here.
    let here = || {
        let records = site.log.records();
        let after = records.iter().skip_while(|record| record.text != lost.text);
        after.filter(|record| is_of_a_visit(&record.text)).count()
    };
    eventually("all of them", || here() + count == 3 * (3 + visits));
}

fn is_of_a_visit(text: &str) -> bool {
    ["CONNECT", "DENYLISTED", "DISCONNECT"].iter().any(|word| text.starts_with(word))
}
