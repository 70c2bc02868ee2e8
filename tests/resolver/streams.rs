//! Answers that do not fit into a datagram.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::Limits;
use gatepost::screen::dnsbl::answer::{Answer, Failure};

use crate::bench::{Bench, client, failed, listed, not_listed};
use crate::name_server::message::Record;
use crate::name_server::{NameServer, SERVFAIL, Script, Stream};

const SECOND: Duration = Duration::from_secs(1);

fn yes() -> Box<Script> {
    Box::new(Script::Listed(vec![Ipv4Addr::new(127, 0, 0, 2)], 300))
}

fn truncating(stream: Stream) -> NameServer {
    let server = NameServer::start();
    server.otherwise(Script::Truncated(stream));
    server
}

#[test]
fn a_long_answer_comes_over_tcp() {
    let many: Vec<Ipv4Addr> = (0..1000_u32).map(|n| Ipv4Addr::from(0x7f00_0000 + n)).collect();
    let server = truncating(Stream::Answer(Box::new(Script::Listed(many.clone(), 300))));
    let mut bench = Bench::new(&[&server]);
    let Answer::Listed { addresses, ttl: 300 } = bench.look_up(client(1)) else { panic!() };
    assert_eq!(*addresses, *many);
    let tcp: Vec<bool> = server.asked().iter().map(|asked| asked.tcp).collect();
    assert_eq!(tcp, [false, true]);
    assert_eq!(bench.resolver.counters().connections, 1);
}

#[test]
fn byte_by_byte() {
    let server = truncating(Stream::Slowly(Box::new(Script::Nxdomain(Some((5, 9))))));
    let mut bench = Bench::new(&[&server]);
    assert_eq!(bench.look_up(client(1)), not_listed(5));
}

#[test]
fn an_alias_over_tcp() {
    let server = NameServer::start();
    let own = "1.2.0.192.bl.test";
    let alias = Script::Records(vec![Record::cname(own, "a.test", 9)]);
    server.script(own, Script::Truncated(Stream::Answer(Box::new(alias))));
    server.script("a.test", *yes());
    let mut bench = Bench::new(&[&server]);
    assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300));
}

#[test]
fn what_goes_wrong_over_tcp_is_an_error_of_that_server() {
    let own_question = |name: &str| {
        let mut bytes = vec![0, 60, 0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(name.bytes());
        bytes.resize(62, 0);
        bytes
    };
    for (kind, stream) in [
        ("cut off", Stream::Bytes(vec![0, 90, 1, 2, 3])),
        ("nothing", Stream::Bytes(vec![])),
        ("length 0", Stream::Bytes(vec![0, 0])),
        ("garbage", Stream::Bytes([vec![0, 50], vec![0xee; 50]].concat())),
        ("another id", Stream::Bytes(own_question("other"))),
        ("error", Stream::Answer(Box::new(Script::Code(SERVFAIL)))),
    ] {
        let bad = truncating(stream);
        let mut bench = Bench::new(&[&bad]);
        assert_eq!(bench.look_up(client(1)), failed(Failure::ServerError), "{kind}");
        let good = NameServer::start();
        good.otherwise(*yes());
        let mut bench = Bench::new(&[&bad, &good]);
        assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300), "{kind}");
        assert_eq!(bench.resolver.open_lookups(), 0);
    }
}

#[test]
fn tcp_refused() {
    let bad = NameServer::start_without_tcp();
    bad.otherwise(Script::Truncated(Stream::Nothing));
    let mut bench = Bench::new(&[&bad]);
    assert_eq!(bench.look_up(client(1)), failed(Failure::ServerError));
    let good = NameServer::start();
    good.otherwise(*yes());
    let mut bench = Bench::new(&[&bad, &good]);
    assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300));
}

#[test]
fn tcp_that_takes_too_long() {
    let (bad, good) = (truncating(Stream::Nothing), NameServer::start());
    good.otherwise(*yes());
    let mut bench = Bench::new(&[&bad, &good]);
    bench.ask(client(1));
    bench.turn_until_asked(&bad, 2);
    bench.skip(4 * SECOND);
    bench.assert_no_answer();
    assert_eq!(good.count(), 0);
    let sockets = bench.resolver.open_sockets();
    bench.skip(SECOND);
    assert_eq!(bench.answer(), (client(1), listed(&["127.0.0.2"], 300)));
    // One to the good server came, and the connection went.
    assert_eq!(bench.resolver.open_sockets(), sockets);
}

#[test]
fn a_connection_goes_with_its_look_up() {
    let server = truncating(Stream::Nothing);
    let mut bench = Bench::new(&[&server]);
    bench.ask(client(1));
    bench.turn_until_asked(&server, 2);
    let sockets = bench.resolver.open_sockets();
    let now = bench.now();
    bench.resolver.cancel(client(1), now);
    assert_eq!(bench.resolver.open_sockets(), sockets - 1);
    bench.ask_within(client(2), 2 * SECOND);
    bench.turn_until_asked(&server, 4);
    bench.skip(2 * SECOND);
    assert_eq!(bench.answer(), (client(2), failed(Failure::TimeLimit)));
    assert_eq!(bench.resolver.open_sockets(), sockets - 1);
}

/// The error of a server that was asked meanwhile changes nothing, not even later.
#[test]
fn an_exchange_goes_on_while_another_server_errs() {
    let (slow, bad) = (NameServer::start(), NameServer::start());
    slow.otherwise(Script::Hold(Box::new(Script::Truncated(Stream::Nothing))));
    bad.otherwise(Script::Hold(Box::new(Script::Code(SERVFAIL))));
    let mut bench = Bench::new(&[&slow, &bad]);
    bench.ask(client(1));
    bench.turn_until_asked(&slow, 1);
    bench.skip(SECOND);
    bench.turn_until_asked(&bad, 1);
    slow.release();
    bench.turn_until_asked(&slow, 2);
    let sockets = bench.resolver.open_sockets();
    bad.release();
    bench.assert_no_answer();
    assert_eq!((slow.count(), bad.count()), (2, 1));
    let now = bench.now();
    bench.resolver.cancel(client(1), now);
    assert_eq!(bench.resolver.open_sockets(), sockets - 1);
}

#[test]
fn connections_are_few() {
    let server = truncating(Stream::Answer(yes()));
    let servers = Servers::default().with_list(vec![server.address()]);
    let limits = Limits { connections: 2, ..Limits::default() };
    let mut bench = Bench::with(servers, limits);
    for last in 1..=12 {
        bench.ask(client(last));
    }
    let mut most = 0;
    let mut answers = 0;
    bench.turn_until("all answers", |bench| {
        most = most.max(bench.resolver.open_sockets());
        while let Some((_, answer)) = bench.resolver.take_answer() {
            assert_eq!(answer, listed(&["127.0.0.2"], 300));
            answers += 1;
        }
        // The others try again now and then.
        bench.skip(SECOND / 100);
        answers == 12
    });
    // Four for datagrams.
    assert!(most <= 6, "{most}");
}
