//! Tables elsewhere: proxymap(8) in all its moods.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::maillog::Record;
use crate::proc::Process;
use crate::proxymap::{AHEAD, Manner, Proxymap};
use crate::site::Site;
use crate::smtpd::Smtpd;

const DENIED: &str = "521 5.3.2 Service currently unavailable";

/// A site whose access list is elsewhere, and where a new client waits for long.
fn site() -> Site {
    Site::new(
        "postscreen_access_list = proxy:hash:/clients\n\
         postscreen_denylist_action = drop\n\
         postscreen_greet_wait = 60s",
    )
}

/// What the table says decides, for all three kinds of clients and for one that it cannot tell of.
#[track_caller]
fn decides(site: &Site, smtpd: &Smtpd) {
    let mut good = site.connect_from("127.0.0.5");
    let mut bad = site.connect_from("127.0.0.6");
    site.connect_from("127.0.0.7").expect_teaser();
    site.connect_from("127.0.0.8").expect_teaser();
    bad.expect(DENIED);
    bad.expect_end();
    good.expect_smtpd();
    smtpd.next();
    site.log.wait(&format!("ALLOWLISTED {}", good.name()));
    site.log.wait(
        "warning: postscreen_access_list: proxy:hash:/clients: table lookup error -- ignoring the \
         remainder of this access list",
    );
}

#[test]
fn every_way_of_answering_is_understood() {
    for manner in [Manner::Well, Manner::OneAnswer, Manner::InPieces] {
        let site = site();
        let proxymap = Proxymap::start(&site, manner);
        let smtpd = Smtpd::start(&site);
        let mut service = site.start();
        decides(&site, &smtpd);
        assert_eq!(proxymap.questions(), 4, "{manner:?}");
        assert!(service.lives());
    }
}

#[test]
fn since_3_11_tables_are_opened_first() {
    let site = site();
    site.postconf("mail_version = 3.11.6\n");
    let proxymap = Proxymap::start(&site, Manner::Since311);
    let smtpd = Smtpd::start(&site);
    let _service = site.start();
    decides(&site, &smtpd);
    assert_eq!(proxymap.questions(), 4);
}

#[test]
fn a_crowd_is_served_over_a_few_connections_and_the_same_question_is_asked_once() {
    let site = Site::new(
        "postscreen_access_list = proxy:hash:/clients\n\
         postscreen_allowlist_interfaces = proxy:hash:/interfaces, static:all\n\
         postscreen_client_connection_count_limit = 500\n\
         postscreen_pre_queue_limit = 500\n\
         postscreen_greet_wait = 60s",
    );
    let proxymap = Proxymap::start(&site, Manner::Well);
    let mut service = site.start();
    let mut clients: Vec<Client> =
        (0..200).map(|number| site.connect_from(&format!("127.0.1.{}", number % 100))).collect();
    for client in &mut clients {
        client.expect_teaser();
    }
    assert!(proxymap.connections() <= 4, "{}", proxymap.connections());
    // 200 clients of 100 addresses, and one address of ours: less than two questions each.
    assert!(proxymap.questions() < 400, "{}", proxymap.questions());
    assert!(service.lives());
}

#[test]
fn one_that_dies_and_returns() {
    let site = site();
    let proxymap = Proxymap::start(&site, Manner::Dies);
    let mut service = site.start();
    site.connect_from("127.0.0.6").expect_teaser();
    site.log.wait("warning: dict_proxy_lookup: service proxymap: Connection reset by peer");
    proxymap.behave(Manner::Well);
    site.connect_from("127.0.0.6").expect(DENIED);
    drop(proxymap);
    site.connect_from("127.0.0.66").expect_teaser();
    site.log.wait_containing("proxymap: ");
    let _again = Proxymap::start(&site, Manner::Well);
    site.connect_from("127.0.0.6").expect(DENIED);
    assert!(service.lives());
}

#[test]
fn none_at_all_is_said_a_few_times_only() {
    let site = site();
    let _service = site.start();
    for _ in 0..20 {
        site.connect_from("127.0.0.6").expect_teaser();
    }
    let text = "warning: connect #1 to subsystem private/proxymap: No such file or directory";
    site.log.wait_count(text, 3);
    let said = |record: &Record| record.text.contains("connect #1 to subsystem");
    assert_eq!(site.log.records().iter().filter(|record| said(record)).count(), 3);
}

#[test]
fn nonsense_is_noticed() {
    let site = site();
    let proxymap = Proxymap::start(&site, Manner::Nonsense);
    let _service = site.start();
    site.connect_from("127.0.0.6").expect_teaser();
    site.log.wait("warning: unexpected attribute what from private/proxymap (expecting: protocol)");
    proxymap.behave(Manner::Well);
    site.connect_from("127.0.0.6").expect(DENIED);
}

/// What nobody has asked for answers nothing: it would be the answer to the next question, about
/// another client.
#[test]
fn an_answer_that_comes_before_its_question_is_none() {
    let site = site();
    let _proxymap = Proxymap::start(&site, Manner::Ahead);
    let _service = site.start();
    for _ in 0..3 {
        site.connect_from("127.0.0.8").expect_teaser();
        std::thread::sleep(3 * AHEAD);
        site.connect_from("127.0.0.6").expect(DENIED);
        std::thread::sleep(3 * AHEAD);
    }
    assert_eq!(site.log.count("ALLOWLISTED"), 0);
}

/// Silence ends with the time limit, and does not keep others from being served.
#[test]
fn silence_is_not_waited_for_by_others() {
    for manner in [Manner::Mute, Manner::Silent] {
        let site = Site::new(
            "postscreen_access_list = permit_mynetworks, proxy:hash:/clients\n\
             mynetworks = 127.0.0.9\n\
             postscreen_greet_wait = 60s",
        );
        let _proxymap = Proxymap::start(&site, manner);
        let smtpd = Smtpd::start(&site);
        let service = site.start();
        let start = Instant::now();
        let mut waiting = site.connect_from("127.0.0.6");
        let mut own = site.connect_from("127.0.0.9");
        own.expect_smtpd();
        smtpd.next();
        assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
        let ticks = Process::find(service.worker()).unwrap().ticks;
        waiting.expect_teaser();
        assert!(start.elapsed() >= Duration::from_secs(10), "{:?}", start.elapsed());
        site.log.wait("warning: dict_proxy_lookup: service proxymap: Connection timed out");
        let spent = Process::find(service.worker()).unwrap().ticks - ticks;
        assert!(spent < 20, "the loop was busy: {spent} ticks");
    }
}

#[test]
fn at_the_end_who_waits_for_an_answer_is_told() {
    let site = site();
    let _proxymap = Proxymap::start(&site, Manner::Mute);
    let mut service = site.start();
    let mut client = site.connect_from("127.0.0.6");
    site.log.wait(&format!("CONNECT from {} to {}", client.name(), server_name(&site)));
    service.signal(Signal::SIGTERM);
    client.expect("421 4.3.2 Service currently unavailable");
    client.expect_end();
    assert_eq!(service.wait_end().code(), Some(0));
}

/// A reload while an answer is awaited: the old worker takes it.
#[test]
fn a_reload_loses_nobody() {
    let site = site();
    let proxymap = Proxymap::start(&site, Manner::Mute);
    let mut service = site.start();
    let mut client = site.connect_from("127.0.0.6");
    site.log.wait(&format!("CONNECT from {} to {}", client.name(), server_name(&site)));
    crate::eventually("a connection", || proxymap.connections() == 1);
    proxymap.behave(Manner::Well);
    service.close_status();
    service.wait_end();
    // Its question is lost with the time limit, but it is served.
    client.expect_teaser();
}

fn server_name(site: &Site) -> String {
    let address = site.address(0);
    format!("[{}]:{}", address.ip(), address.port())
}
