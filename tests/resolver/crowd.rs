//! Many look-ups at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::Limits;
use gatepost::screen::dnsbl::answer::{Answer, Asker, Failure, ListId, Question};

use crate::bench::{A_WHILE, Bench, client, client_in, failed, not_listed};
use crate::name_server::{NameServer, Script};

const SECOND: Duration = Duration::from_secs(1);

fn question(number: u32, list: u16) -> Question {
    let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
    Question { asker: Asker::Client, address, list: ListId(list) }
}

fn small(server: &NameServer, under_way: usize) -> Bench {
    let servers = Servers::default().with_list(vec![server.address()]);
    Bench::with(servers, Limits { under_way, ..Limits::default() })
}

#[test]
fn three_thousand_at_once() {
    let server = NameServer::start();
    server.otherwise(Script::Nodata(Some((77, 1))));
    let mut bench = Bench::new(&[&server]);
    let now = bench.now();
    for number in 0..1000 {
        for list in 0..3 {
            bench.resolver.ask(question(number, list), now + 60 * SECOND, now);
        }
    }
    assert_eq!(bench.resolver.open_lookups(), 3000);
    assert_eq!(bench.resolver.counters().sent, 150);
    let mut answers: HashMap<Question, Answer> = HashMap::new();
    for _ in 0..3000 {
        let (question, answer) = bench.answer();
        assert_eq!(answer, not_listed(77));
        assert_eq!(answers.insert(question, answer), None);
    }
    assert_eq!(bench.resolver.open_lookups(), 0);
    assert_eq!(bench.resolver.counters().answered, 3000);
    // Sockets that were used often enough are gone.
    bench.look_up(question(9999, 0));
    let sockets = bench.resolver.open_sockets();
    assert!(sockets <= 4, "{sockets}");
}

/// While the server says nothing, and until the datagrams are settled, no more go out.
#[test]
fn datagrams_under_way_are_bounded() {
    let server = NameServer::start();
    server.otherwise(Script::Silence);
    let mut bench = small(&server, 10);
    let now = bench.now();
    for number in 0..100 {
        bench.resolver.ask(question(number, 0), now + 60 * SECOND, now);
    }
    assert_eq!(bench.resolver.counters().sent, 10);
    bench.resolver.expired(now + SECOND / 5);
    assert_eq!(bench.resolver.counters().sent, 10);
    // A silent list does not keep the others from being asked.
    bench.resolver.expired(now + SECOND / 4);
    assert_eq!(bench.resolver.counters().sent, 20);
    assert_eq!(bench.resolver.next_deadline(), Some(now + SECOND / 2));
}

#[test]
fn an_answer_makes_room() {
    let server = NameServer::start();
    server.otherwise(Script::Silence);
    server.script("1.2.0.192.bl.test", Script::Hold(Box::new(Script::Nodata(None))));
    let mut bench = small(&server, 1);
    bench.ask(client(1));
    bench.ask(client(2));
    assert_eq!(bench.resolver.counters().sent, 1);
    server.wait_for(1);
    server.release();
    bench.answer();
    assert_eq!(bench.resolver.counters().sent, 2);
}

#[test]
fn one_client_with_many_lists_does_not_hold_up_the_others() {
    let server = NameServer::start();
    server.otherwise(Script::Silence);
    let mut bench = small(&server, 1);
    let now = bench.now();
    let all = [
        client_in(1, 0),
        client_in(2, 0),
        client_in(2, 1),
        client_in(2, 2),
        client_in(3, 0),
        client_in(3, 1),
        client_in(4, 0),
    ];
    for question in all {
        bench.resolver.ask(question, now + 60 * SECOND, now);
    }
    for turn in 1..7 {
        bench.resolver.expired(now + turn * SECOND / 4);
    }
    server.wait_for(7);
    let names: Vec<String> = server.asked().into_iter().map(|asked| asked.name).collect();
    // The first one is asked again after a second, in its turn.
    let again = names.iter().rposition(|name| name == "1.2.0.192.bl.test").unwrap();
    assert!(again > 3, "{names:?}");
    let firsts: Vec<&str> = names.iter().take(4).map(|name| &name[..1]).collect();
    assert_eq!(firsts, ["1", "2", "3", "4"]);
}

#[test]
fn deadlines_pass_in_the_queue_too() {
    let server = NameServer::start();
    server.otherwise(Script::Silence);
    let mut bench = small(&server, 1);
    bench.ask(client(1));
    bench.ask_within(client(2), SECOND / 10);
    bench.skip(SECOND / 10);
    assert_eq!(bench.answer(), (client(2), failed(Failure::TimeLimit)));
    assert_eq!(server.asked().iter().filter(|asked| asked.name.starts_with('2')).count(), 0);
}

/// The loop sleeps while there is nothing to do.
#[test]
fn nothing_spins() {
    let server = NameServer::start();
    server.otherwise(Script::Silence);
    let mut bench = small(&server, 5);
    for last in 1..=20 {
        bench.ask(client(last));
    }
    let end = Instant::now() + A_WHILE;
    let mut turns = 0;
    while Instant::now() < end {
        let before = bench.resolver.next_deadline();
        assert!(before.is_some());
        bench.turn();
        turns += 1;
    }
    // The bench itself turns every 5 ms.
    assert!(turns < 100, "{turns}");
}
