//! DNS blocklists: the whole way from a client's connection to a name server and back.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::eventually;
use crate::name_server::{NameServer, REFUSED, SERVFAIL, Script, Stream};
use crate::site::Site;
use crate::smtpd::Smtpd;

const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn listed() -> Script {
    Script::Listed(vec![TWO], 300)
}

fn unlisted() -> Script {
    Script::Nxdomain(Some((300, 300)))
}

/// A site with a name server of its own, which knows of nobody; without the guard, whose
/// questions would be counted.
fn site(settings: &str) -> (Site, NameServer) {
    let site = Site::new(&format!(
        "postscreen_dnsbl_action = drop\npostscreen_greet_wait = 1s\n{settings}"
    ));
    let server = NameServer::start();
    server.otherwise(unlisted());
    site.own_setting(&format!("dnsbl_nameservers = [127.0.0.1]:{}", server.address().port()));
    site.own_setting("dnsbl_guard = off");
    (site, server)
}

fn expect_blocked(client: &mut Client, by: &str) {
    let address = client.address().ip();
    client.expect(&format!("521 5.7.1 Service unavailable; client [{address}] blocked using {by}"));
    client.expect_end();
}

#[test]
fn listed_clients_are_turned_away_and_others_are_not() {
    let (site, server) =
        site("postscreen_dnsbl_sites = a.test*2 b.test\npostscreen_dnsbl_threshold = 2");
    server.script("5.0.0.127.a.test", listed());
    server.script("6.0.0.127.b.test", listed());
    let smtpd = Smtpd::start(&site);
    let _service = site.start();
    let mut bad = site.connect_from("127.0.0.5");
    let mut good = site.connect_from("127.0.0.6");
    bad.expect_teaser();
    good.expect_teaser();
    expect_blocked(&mut bad, "a.test");
    smtpd.next();
    site.log.wait("addr 127.0.0.5 listed by domain a.test as 127.0.0.2");
    site.log.wait(&format!("DNSBL rank 2 for {}", bad.name()));
    site.log.wait(&format!("PASS NEW {}", good.name()));
    let hit = site.log.wait("addr 127.0.0.6 listed by domain b.test as 127.0.0.2");
    assert_eq!(hit.ident, "postfix/dnsblog");
}

/// Answers come back in another order than they were asked for, and from strangers.
#[test]
fn lies_and_disorder_change_no_score() {
    let (site, server) = site("postscreen_dnsbl_sites = a.test b.test c.test d.test");
    let late = |script| Script::Delay(Duration::from_millis(300), Box::new(script));
    server.script("5.0.0.127.a.test", late(listed()));
    server.script("5.0.0.127.b.test", Script::WrongId(Box::new(listed())));
    server.script("5.0.0.127.c.test", Script::WrongQuestion(Box::new(unlisted())));
    server.script("5.0.0.127.d.test", Script::Forged(Box::new(listed())));
    let _service = site.start();
    let mut bad = site.connect_from("127.0.0.5");
    bad.expect_teaser();
    expect_blocked(&mut bad, "a.test");
    site.log.wait(&format!("DNSBL rank 3 for {}", bad.name()));
}

#[test]
fn long_answers_come_over_tcp() {
    let (site, server) = site("postscreen_dnsbl_sites = a.test=127.0.1.200");
    let records = (0..=255).map(|last| Ipv4Addr::new(127, 0, 1, last)).collect();
    let whole = Stream::Answer(Box::new(Script::Listed(records, 300)));
    server.script("5.0.0.127.a.test", Script::Truncated(whole));
    let _service = site.start();
    let mut bad = site.connect_from("127.0.0.5");
    bad.expect_teaser();
    expect_blocked(&mut bad, "a.test");
    assert!(server.asked().iter().any(|asked| asked.tcp));
    site.log.wait("addr 127.0.0.5 listed by domain a.test as 127.0.1.255");
}

/// A broken server is no listing and no clean bill; it makes a short memory.
#[test]
fn failures_are_told_and_not_believed() {
    let (site, server) = site(
        "postscreen_dnsbl_sites = a.test b.test\npostscreen_dnsbl_min_ttl = 1s\n\
         postscreen_cache_map = internal:",
    );
    server.script("5.0.0.127.a.test", Script::Code(SERVFAIL));
    server.script("6.0.0.127.a.test", Script::Garbage(b"no DNS message at all".to_vec()));
    server.script("6.0.0.127.b.test", Script::Code(REFUSED));
    let smtpd = Smtpd::start(&site);
    let _service = site.start();
    for address in ["127.0.0.5", "127.0.0.6"] {
        let mut client = site.connect_from(address);
        client.expect_teaser();
        smtpd.next();
        site.log.wait(&format!("PASS NEW {}", client.name()));
    }
    let error = "dnsblog_query: lookup error for DNS query 5.0.0.127.a.test: Host or domain name \
                 not found. Name service error for name=5.0.0.127.a.test type=A: Host not found, \
                 try again";
    let record = site.log.wait(&format!("warning: {error}"));
    assert_eq!(record.ident, "postfix/dnsblog");
    site.log.wait_containing("; no answer: a.test (server error)");
    server.script("5.0.0.127.a.test", listed());
    std::thread::sleep(Duration::from_millis(2100));
    let mut again = site.connect_from("127.0.0.5");
    expect_blocked(&mut again, "a.test");
}

#[test]
fn a_server_that_dies_and_returns() {
    let (site, server) = site("postscreen_dnsbl_sites = a.test\npostscreen_greet_wait = 3s");
    let smtpd = Smtpd::start(&site);
    let mut service = site.start();
    let address = server.stop();
    let mut blind = site.connect_from("127.0.0.5");
    blind.expect_teaser();
    smtpd.next();
    site.log.wait(&format!("PASS NEW {}", blind.name()));
    site.log.wait_containing("; no answer: a.test (no name server)");

    let server = NameServer::start_at(address);
    server.otherwise(listed());
    let mut seen = site.connect_from("127.0.0.6");
    seen.expect_teaser();
    expect_blocked(&mut seen, "a.test");
    assert!(service.lives());
}

/// A list that does not answer makes nobody wait longer than the greet wait, and its question
/// is given up with the client.
#[test]
fn silence_ends_with_the_wait() {
    let (site, server) = site("postscreen_dnsbl_sites = a.test");
    server.otherwise(Script::Silence);
    let smtpd = Smtpd::start(&site);
    let service = site.start();
    let start = Instant::now();
    let mut client = site.connect_from("127.0.0.5");
    client.expect_teaser();
    smtpd.next();
    assert!(start.elapsed() >= Duration::from_secs(1));
    site.log.wait_containing("; no answer: a.test (too late)");
    // Nothing is left that would ask again.
    let asked = server.count();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.count(), asked);
    drop(service);
}

#[test]
fn postscreen_dnsbl_timeout() {
    let (site, server) = site(
        "postscreen_dnsbl_sites = a.test\npostscreen_dnsbl_timeout = 1s\npostscreen_greet_wait = 4s",
    );
    server.otherwise(Script::Silence);
    let smtpd = Smtpd::start(&site);
    let _service = site.start();
    let mut client = site.connect_from("127.0.0.5");
    client.expect_teaser();
    let record = site.log.wait("warning: dnsblog reply timeout 1s for a.test");
    assert_eq!(record.ident, "postfix/postscreen");
    smtpd.next();
}

/// A client that hangs up takes its questions with it; the next session asks again.
#[test]
fn a_hangup_drops_the_questions() {
    let (site, server) = site("postscreen_dnsbl_sites = a.test\npostscreen_greet_wait = 5s");
    server.otherwise(Script::Hold(Box::new(listed())));
    let _service = site.start();
    let gone = site.connect_from("127.0.0.5");
    server.wait_for(1);
    drop(gone);
    site.log.wait_containing("HANGUP after");
    let mut back = site.connect_from("127.0.0.5");
    back.expect_teaser();
    server.wait_for(2);
    server.release();
    expect_blocked(&mut back, "a.test");
    assert_eq!(site.log.count("addr 127.0.0.5 listed by domain a.test as 127.0.0.2"), 1);
}

/// Parallel sessions of one client are one question.
#[test]
fn sessions_share_a_question() {
    let (site, server) = site("postscreen_dnsbl_sites = a.test\npostscreen_greet_wait = 5s");
    server.otherwise(Script::Hold(Box::new(listed())));
    let _service = site.start();
    let mut clients: Vec<Client> = (0..5).map(|_| site.connect_from("127.0.0.5")).collect();
    for client in &mut clients {
        client.expect_teaser();
    }
    server.wait_for(1);
    server.release();
    for client in &mut clients {
        expect_blocked(client, "a.test");
    }
    // Retransmissions aside, which are of the same look-up.
    let ids: std::collections::HashSet<_> =
        server.asked().iter().map(|asked| asked.name.clone()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(site.log.count("addr 127.0.0.5 listed by domain a.test as 127.0.0.2"), 1);
}

/// The guard puts a list aside that lists everybody; what it knows outlives the process.
#[test]
fn a_mad_list_stays_aside_across_a_restart() {
    let site = Site::new(
        "postscreen_dnsbl_sites = mad.test\npostscreen_dnsbl_action = drop\n\
         postscreen_greet_wait = 1s",
    );
    let server = NameServer::start();
    server.otherwise(listed());
    site.own_setting(&format!("dnsbl_nameservers = [127.0.0.1]:{}", server.address().port()));
    let smtpd = Smtpd::start(&site);
    let mut service = site.start();
    site.log.wait_containing("dnsbl zone mad.test is put aside: it lists everything");
    let mut client = site.connect_from("127.0.0.5");
    client.expect_teaser();
    smtpd.next();
    service.close_status();
    service.wait_gone();

    let _service = site.start();
    let mut client = site.connect_from("127.0.0.6");
    client.expect_teaser();
    smtpd.next();
    eventually("the test points are asked for again", || {
        let points = server.asked().into_iter().filter(|asked| asked.name == "1.0.0.127.mad.test");
        points.count() >= 2
    });
    assert!(!server.asked().iter().any(|asked| asked.name == "6.0.0.127.mad.test"));
    let told = site.log.records().into_iter().filter(|record| record.text.contains("put aside"));
    assert_eq!(told.count(), 1);
}
