//! Datagrams that get lost, come late, come twice, or are not what they seem.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::Limits;
use gatepost::screen::dnsbl::answer::Failure;

use crate::bench::{Bench, client, failed, listed, not_listed};
use crate::name_server::{FORMERR, NOTIMP, NameServer, Script};

const SECOND: Duration = Duration::from_secs(1);

fn yes() -> Box<Script> {
    Box::new(Script::Listed(vec![Ipv4Addr::new(127, 0, 0, 2)], 300))
}

fn lose(count: usize) -> Script {
    Script::FirstThen(count, Box::new(Script::Silence), yes())
}

#[test]
fn a_lost_datagram_costs_a_second() {
    let server = NameServer::start();
    server.script("1.2.0.192.bl.test", lose(1));
    let mut bench = Bench::new(&[&server]);
    let (answer, time) = bench.look_up_patiently(client(1));
    assert_eq!(answer, listed(&["127.0.0.2"], 300));
    assert!(time >= SECOND && time < 2 * SECOND, "{time:?}");
    // The same question again: whichever answer comes is good.
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1]);
}

#[test]
fn three_lost_datagrams_cost_seven_seconds() {
    let server = NameServer::start();
    server.script("1.2.0.192.bl.test", lose(3));
    let mut bench = Bench::new(&[&server]);
    let (answer, time) = bench.look_up_patiently(client(1));
    assert_eq!(answer, listed(&["127.0.0.2"], 300));
    assert!(time >= 7 * SECOND && time < 8 * SECOND, "{time:?}");
}

#[test]
fn silence_ends_when_resolv_conf_says_so() {
    let server = NameServer::start();
    server.otherwise(Script::Silence);
    for (timeout, attempts) in [(5, 2), (1, 1), (2, 3)] {
        let servers = Servers {
            list: vec![server.address()],
            timeout: SECOND * timeout,
            attempts,
            rotate: false,
        };
        let mut bench = Bench::with(servers, Limits::default());
        let (answer, time) = bench.look_up_patiently(client(1));
        assert_eq!(answer, failed(Failure::NoReply));
        let limit = SECOND * timeout * attempts;
        assert!(time >= limit && time < limit + SECOND, "{time:?}");
        assert_eq!(bench.resolver.open_lookups(), 0);
    }
}

#[test]
fn the_deadline_of_each_asker_counts() {
    let server = NameServer::start();
    server.otherwise(Script::Silence);
    let mut bench = Bench::new(&[&server]);
    bench.ask_within(client(1), 3 * SECOND);
    bench.ask_within(client(2), 30 * SECOND);
    bench.turn_until_asked(&server, 2);
    bench.skip(SECOND);
    bench.assert_no_answer();
    bench.skip(2 * SECOND);
    assert_eq!(bench.answer(), (client(1), failed(Failure::TimeLimit)));
    bench.assert_no_answer();
    bench.skip(8 * SECOND);
    assert_eq!(bench.answer(), (client(2), failed(Failure::NoReply)));
}

/// Slower than the retransmission, but there.
#[test]
fn late_answers_are_welcome() {
    let server = NameServer::start();
    server.otherwise(Script::Hold(yes()));
    let mut bench = Bench::new(&[&server]);
    bench.ask(client(1));
    bench.turn_until_asked(&server, 1);
    bench.skip(SECOND);
    bench.turn_until_asked(&server, 2);
    server.release();
    assert_eq!(bench.answer(), (client(1), listed(&["127.0.0.2"], 300)));
    // The second one is late by any measure.
    bench.assert_no_answer();
}

#[test]
fn reordered_and_doubled_answers() {
    let server = NameServer::start();
    server.otherwise(Script::Hold(Box::new(Script::Times(3, yes()))));
    let mut bench = Bench::new(&[&server]);
    for last in 1..=20 {
        bench.ask(client(last));
    }
    bench.turn_until_asked(&server, 20);
    server.release();
    let mut told: Vec<_> = (0..20).map(|_| bench.answer().0).collect();
    told.sort();
    assert_eq!(told, (1..=20).map(client).collect::<Vec<_>>());
    bench.assert_no_answer();
    assert_eq!(server.count(), 20);
}

/// More than one socket may deliver in one go, and no event tells of the rest.
#[test]
fn a_flood_is_read_to_its_end() {
    let server = NameServer::start();
    server.otherwise(Script::Hold(Box::new(Script::Times(65, yes()))));
    let mut bench = Bench::new(&[&server]);
    // One more than there are sockets: one socket has two questions.
    for last in 1..=5 {
        bench.ask(client(last));
    }
    bench.turn_until_asked(&server, 5);
    server.release();
    // Until all of it is there.
    std::thread::sleep(crate::bench::A_WHILE);
    for _ in 1..=5 {
        assert_eq!(bench.answer().1, listed(&["127.0.0.2"], 300));
    }
}

#[test]
fn lies_are_not_believed() {
    let server = NameServer::start();
    server.script("1.2.0.192.bl.test", Script::WrongId(yes()));
    server.script("2.2.0.192.bl.test", Script::WrongQuestion(yes()));
    server.script("3.2.0.192.bl.test", Script::Forged(yes()));
    server.script("4.2.0.192.bl.test", Script::WrongId(Box::new(Script::Silence)));
    let mut bench = Bench::new(&[&server]);
    for last in 1..=3 {
        assert_eq!(bench.look_up(client(last)), listed(&["127.0.0.2"], 300), "{last}");
    }
    bench.ask(client(4));
    bench.turn_until_asked(&server, 4);
    bench.assert_no_answer();
    assert_eq!(bench.resolver.counters().strange, 3);
}

#[test]
fn garbage_is_an_error_only_with_the_right_question() {
    let server = NameServer::start();
    server.script("1.2.0.192.bl.test", Script::Garbage(vec![0xff; 200]));
    server.script("2.2.0.192.bl.test", Script::Garbage(vec![]));
    let mut bench = Bench::new(&[&server]);
    for last in 1..=2 {
        bench.ask(client(last));
        bench.turn_until_asked(&server, usize::from(last));
    }
    bench.assert_no_answer();
    assert!(bench.resolver.counters().strange >= 1);
}

#[test]
fn without_edns_for_those_who_do_not_know_it() {
    for code in [FORMERR, NOTIMP] {
        let server = NameServer::start();
        server.otherwise(Script::WithEdns(code, yes()));
        let mut bench = Bench::new(&[&server]);
        assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300));
        assert_eq!(bench.look_up(client(2)), listed(&["127.0.0.2"], 300));
        let edns: Vec<bool> = server.asked().iter().map(|asked| asked.edns).collect();
        assert_eq!(edns, [true, false, false]);
        // It may have learnt it.
        bench.skip(601 * SECOND);
        bench.look_up(client(3));
        assert!(server.asked()[3].edns);
    }
}

#[test]
fn servers_that_never_understand() {
    let server = NameServer::start();
    server.otherwise(Script::Code(FORMERR));
    let mut bench = Bench::new(&[&server]);
    assert_eq!(bench.look_up(client(1)), failed(Failure::ServerError));
    assert_eq!(server.count(), 2);
}

#[test]
fn ports_change_and_idle_sockets_go() {
    let server = NameServer::start();
    let mut bench = Bench::new(&[&server]);
    let ports = |server: &NameServer| {
        let mut ports: Vec<u16> = server.asked().iter().map(|asked| asked.from.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    for last in 1..=10 {
        assert_eq!(bench.look_up(client(last)), not_listed(60));
    }
    let first = ports(&server);
    bench.skip(61 * SECOND);
    for last in 11..=20 {
        bench.look_up(client(last));
    }
    let all = ports(&server);
    assert!(all.len() > first.len(), "{first:?} {all:?}");
    assert!(bench.resolver.open_sockets() >= 1);
    for _ in 0..5 {
        bench.skip(11 * SECOND);
    }
    assert_eq!(bench.resolver.open_sockets(), 0);
    // And then there is nothing to be woken for.
    assert_eq!(bench.resolver.next_deadline(), None);
    bench.look_up(client(21));
}
