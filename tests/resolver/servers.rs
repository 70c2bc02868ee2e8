//! More than one name server, some of them bad.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::Limits;
use gatepost::screen::dnsbl::answer::Failure;

use crate::bench::{Bench, client, client_in, failed, listed};
use crate::name_server::message::Record;
use crate::name_server::{FORMERR, NOTIMP, NameServer, REFUSED, SERVFAIL, Script};

const SECOND: Duration = Duration::from_secs(1);

fn yes() -> Script {
    Script::Listed(vec![Ipv4Addr::new(127, 0, 0, 2)], 300)
}

fn silent() -> NameServer {
    let server = NameServer::start();
    server.otherwise(Script::Silence);
    server
}

fn good() -> NameServer {
    let server = NameServer::start();
    server.otherwise(yes());
    server
}

/// An address that no socket may send to. The kernel says so at once, as it does of a network
/// that it has no route to.
fn nowhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::BROADCAST, 53))
}

/// An address at which nobody is.
fn nobody() -> SocketAddr {
    NameServer::start().stop()
}

fn bench(list: Vec<SocketAddr>) -> Bench {
    Bench::with(Servers::default().with_list(list), Limits::default())
}

#[test]
fn errors_lead_to_the_next_server_at_once() {
    for code in [SERVFAIL, REFUSED, FORMERR, NOTIMP, 9] {
        let (bad, good) = (NameServer::start(), good());
        bad.otherwise(Script::Code(code));
        let mut bench = Bench::new(&[&bad, &good]);
        assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300));
        assert_eq!(good.count(), 1);
    }
}

#[test]
fn errors_everywhere() {
    let servers = [NameServer::start(), NameServer::start(), NameServer::start()];
    for (server, code) in servers.iter().zip([SERVFAIL, REFUSED, SERVFAIL]) {
        server.otherwise(Script::Code(code));
    }
    let mut bench = Bench::new(&[&servers[0], &servers[1], &servers[2]]);
    assert_eq!(bench.look_up(client(1)), failed(Failure::ServerError));
    for server in &servers {
        assert_eq!(server.count(), 1);
    }
}

#[test]
fn silence_leads_to_the_next_server_after_a_second() {
    let (bad, good) = (silent(), good());
    let mut bench = Bench::new(&[&bad, &good]);
    let (answer, time) = bench.look_up_patiently(client(1));
    assert_eq!(answer, listed(&["127.0.0.2"], 300));
    assert!(time >= SECOND && time < 2 * SECOND, "{time:?}");
    assert_eq!((bad.count(), good.count()), (1, 1));
}

/// The first one may answer while the second one is asked.
#[test]
fn the_answer_of_the_first_server_is_still_welcome() {
    let (slow, other) = (NameServer::start(), silent());
    slow.otherwise(Script::Hold(Box::new(yes())));
    let mut bench = Bench::new(&[&slow, &other]);
    bench.ask(client(1));
    bench.turn_until_asked(&slow, 1);
    bench.skip(SECOND);
    bench.turn_until_asked(&other, 1);
    slow.release();
    assert_eq!(bench.answer(), (client(1), listed(&["127.0.0.2"], 300)));
}

#[test]
fn a_refused_datagram_leads_to_the_next_server_at_once() {
    let good = good();
    let mut bench = bench(vec![nobody(), good.address()]);
    assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300));
}

/// Also if it is not the next datagram that hears of it.
#[test]
fn what_cannot_even_be_sent_leads_to_the_next_server_at_once() {
    let good = good();
    let mut bench = bench(vec![nowhere(), nowhere(), good.address()]);
    for number in 1..=5 {
        let (answer, time) = bench.look_up_patiently(client(number));
        assert_eq!(answer, listed(&["127.0.0.2"], 300));
        assert!(time < SECOND, "{time:?}");
    }
}

#[test]
fn all_refused_datagrams_lead_to_the_next_server_at_once() {
    let good = good();
    let mut bench = bench(vec![nobody(), good.address()]);
    // More than there are sockets, before the loop turns.
    for last in 1..=12 {
        bench.ask(client(last));
    }
    for _ in 1..=12 {
        assert_eq!(bench.answer().1, listed(&["127.0.0.2"], 300));
    }
}

#[test]
fn nobody_anywhere() {
    let mut bench = bench(vec![nobody(), nobody()]);
    let (answer, time) = bench.look_up_patiently(client(1));
    assert_eq!(answer, failed(Failure::Unreachable));
    // After a second round.
    assert!(time >= SECOND && time < 2 * SECOND, "{time:?}");
}

#[test]
fn a_network_that_cannot_be_reached() {
    // TEST-NET-1 over a loopback-only source is no use here.
    let mut bench = bench(vec![nowhere()]);
    let (answer, _) = bench.look_up_patiently(client(1));
    assert_eq!(answer, failed(Failure::Unreachable));
}

#[test]
fn a_server_that_is_restarted_is_found_again() {
    let server = good();
    let mut bench = Bench::new(&[&server]);
    bench.look_up(client(1));
    let address = server.stop();
    bench.ask(client(2));
    bench.assert_no_answer();
    let server = NameServer::start_at(address);
    server.otherwise(yes());
    bench.skip(SECOND);
    assert_eq!(bench.answer(), (client(2), listed(&["127.0.0.2"], 300)));
}

#[test]
fn silent_and_erring_servers() {
    let (quiet, bad) = (silent(), NameServer::start());
    bad.otherwise(Script::Code(SERVFAIL));
    let mut bench = Bench::new(&[&quiet, &bad]);
    let (answer, time) = bench.look_up_patiently(client(1));
    assert_eq!(answer, failed(Failure::ServerError));
    // The silent one had all of its time.
    assert!(time >= 20 * SECOND, "{time:?}");
    assert_eq!(bad.count(), 1);
}

#[test]
fn a_silent_server_is_left_and_found_again() {
    let (first, second) = (silent(), good());
    let mut bench = Bench::new(&[&first, &second]);
    for last in 1..=3 {
        bench.look_up_patiently(client(last));
    }
    assert_eq!(first.count(), 3);
    // From now on the second one is asked first.
    for last in 4..=9 {
        bench.look_up(client(last));
    }
    assert_eq!((first.count(), second.count()), (3, 9));
    // One look-up tries the first one again, in vain.
    bench.skip(31 * SECOND);
    for last in 10..=12 {
        bench.look_up_patiently(client(last));
    }
    assert_eq!((first.count(), second.count()), (4, 12));
    // And later, with success.
    first.otherwise(yes());
    bench.skip(31 * SECOND);
    for last in 13..=15 {
        bench.look_up(client(last));
    }
    assert_eq!((first.count(), second.count()), (7, 12));
}

#[test]
fn a_server_that_refuses_is_left_too() {
    let second = good();
    let address = nobody();
    let mut bench = bench(vec![address, second.address()]);
    for last in 1..=5 {
        bench.look_up(client(last));
    }
    let first = NameServer::start_at(address);
    first.otherwise(yes());
    for last in 6..=9 {
        bench.look_up(client(last));
    }
    assert_eq!((first.count(), second.count()), (0, 9));
    bench.skip(31 * SECOND);
    for last in 10..=12 {
        bench.look_up(client(last));
    }
    assert_eq!((first.count(), second.count()), (3, 9));
}

/// SERVFAIL or silence for one zone says nothing about others.
#[test]
fn one_bad_zone_makes_no_bad_server() {
    let (first, second) = (good(), good());
    for last in 1..=9 {
        let name = |domain: &str| format!("{last}.2.0.192.{domain}");
        first.script(&name("other.test"), Script::Code(SERVFAIL));
        second.script(&name("other.test"), Script::Code(SERVFAIL));
        first.script(&name("third.test"), Script::Silence);
    }
    let mut bench = Bench::new(&[&first, &second]);
    for last in 1..=9 {
        assert_eq!(bench.look_up(client_in(last, 1)), failed(Failure::ServerError));
        bench.ask(client_in(last, 2));
        bench.turn_until_asked(&first, usize::from(last) * 3 - 1);
        let before = second.count();
        assert_eq!(bench.look_up(client_in(last, 0)), listed(&["127.0.0.2"], 300));
        assert_eq!(second.count(), before);
        bench.skip(SECOND);
        assert_eq!(bench.answer().0, client_in(last, 2));
    }
}

/// A server that has an answer for the first name need not have one for the second.
#[test]
fn all_servers_are_asked_about_an_alias() {
    let (first, second) = (NameServer::start(), NameServer::start());
    let own = "1.2.0.192.bl.test";
    first.script(own, Script::Code(SERVFAIL));
    first.script("a.test", yes());
    second.script(own, Script::Records(vec![Record::cname(own, "a.test", 9)]));
    second.script("a.test", Script::Code(SERVFAIL));
    let mut bench = Bench::new(&[&first, &second]);
    assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300));
    assert_eq!((first.count(), second.count()), (2, 2));
}

#[test]
fn rotation() {
    let servers = [good(), good(), good()];
    let list = servers.iter().map(NameServer::address).collect();
    let rotating = Servers { rotate: true, ..Servers::default().with_list(list) };
    let mut bench = Bench::with(rotating, Limits::default());
    for last in 1..=6 {
        bench.look_up(client(last));
    }
    assert_eq!(servers.each_ref().map(NameServer::count), [2, 2, 2]);
}

#[test]
fn other_servers_from_now_on() {
    let (old, new) = (silent(), good());
    let mut bench = Bench::new(&[&old]);
    for last in 1..=5 {
        bench.ask(client(last));
    }
    bench.turn_until_asked(&old, 5);
    let now = bench.now();
    bench.resolver.reconfigure(Servers::default().with_list(vec![new.address()]), now);
    let mut told: Vec<_> = (0..5).map(|_| bench.answer()).collect();
    told.sort_by_key(|(question, _)| *question);
    for ((question, answer), last) in told.iter().zip(1..) {
        assert_eq!((*question, answer), (client(last), &listed(&["127.0.0.2"], 300)));
    }
    bench.look_up(client(6));
    assert_eq!((old.count(), new.count()), (5, 6));
    // The same again changes nothing.
    bench.ask(client(7));
    let now = bench.now();
    bench.resolver.reconfigure(Servers::default().with_list(vec![new.address()]), now);
    bench.answer();
    assert_eq!(new.count(), 7);
}

#[test]
fn other_servers_have_all_their_time() {
    let (old, new) = (silent(), silent());
    let mut bench = Bench::new(&[&old]);
    bench.ask(client(1));
    bench.turn_until_asked(&old, 1);
    bench.skip(9 * SECOND);
    let now = bench.now();
    bench.resolver.reconfigure(Servers::default().with_list(vec![new.address()]), now);
    bench.turn_until_asked(&new, 1);
    bench.skip(9 * SECOND);
    bench.assert_no_answer();
    bench.skip(SECOND);
    assert_eq!(bench.answer(), (client(1), failed(Failure::NoReply)));
}

#[test]
fn what_was_under_way_to_other_servers_no_longer_is() {
    let (old, new) = (silent(), silent());
    let limits = Limits { under_way: 3, ..Limits::default() };
    let mut bench = Bench::with(Servers::default().with_list(vec![old.address()]), limits);
    for last in 1..=5 {
        bench.ask(client(last));
    }
    bench.skip(SECOND / 4);
    assert_eq!(bench.resolver.datagrams_under_way(), 2);
    let now = bench.now();
    bench.resolver.reconfigure(Servers::default().with_list(vec![new.address()]), now);
    assert_eq!(bench.resolver.datagrams_under_way(), 3);
    // These wait to be sent.
    bench.resolver.cancel(client(4), now);
    bench.resolver.cancel(client(5), now);
    assert_eq!(bench.resolver.datagrams_under_way(), 3);
    bench.turn_until_asked(&new, 3);
}
