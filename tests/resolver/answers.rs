//! What answers come to.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::Limits;
use gatepost::screen::dnsbl::answer::{Answer, Asker, Failure, ListId, Question};

use crate::bench::{Bench, client, client_in, failed, listed, not_listed};
use crate::name_server::message::Record;
use crate::name_server::{NameServer, Script};

fn yes() -> Script {
    Script::Listed(vec![Ipv4Addr::new(127, 0, 0, 2)], 300)
}

#[test]
fn listed_and_not_listed() {
    let server = NameServer::start();
    server.script("1.2.0.192.bl.test", yes());
    let two = vec![Ipv4Addr::new(127, 0, 0, 4), Ipv4Addr::new(127, 0, 0, 10)];
    server.script("2.2.0.192.bl.test", Script::Listed(two, 900));
    server.script("3.2.0.192.bl.test", Script::Nxdomain(Some((1000, 300))));
    server.script("4.2.0.192.bl.test", Script::Nxdomain(None));
    server.script("5.2.0.192.bl.test", Script::Nodata(Some((70, 300))));
    server.script("6.2.0.192.bl.test", Script::Nodata(None));
    let mut bench = Bench::new(&[&server]);
    for (last, answer) in [
        (1, listed(&["127.0.0.2"], 300)),
        (2, listed(&["127.0.0.4", "127.0.0.10"], 900)),
        (3, not_listed(1000)),
        (4, Answer::NotListed { ttl: None }),
        (5, not_listed(70)),
        (6, Answer::NotListed { ttl: None }),
    ] {
        assert_eq!(bench.look_up(client(last)), answer);
    }
    assert!(server.asked().iter().all(|asked| asked.edns && !asked.tcp));
    assert_eq!(bench.resolver.open_lookups(), 0);
}

#[test]
fn ipv6_clients_and_other_lists() {
    let server = NameServer::start();
    let nibbles = "8.b.d.0.1.0.0.2";
    server.script(&format!("1.{}{nibbles}.other.test", "0.".repeat(23)), yes());
    let mut bench = Bench::new(&[&server]);
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    let question = Question { asker: Asker::Client, address, list: ListId(1) };
    assert_eq!(bench.look_up(question), listed(&["127.0.0.2"], 300));
    let question = Question { list: ListId(0), ..question };
    assert_eq!(bench.look_up(question), not_listed(60));
}

#[test]
fn aliases() {
    let server = NameServer::start();
    let own = |last: u8| format!("{last}.2.0.192.bl.test");
    let record = |owner: &str, target: &str| Record::cname(owner, target, 5);
    server.script(
        &own(1),
        Script::Records(vec![
            Record::a("b.test", "127.0.0.3", 60),
            record("a.test", "b.test"),
            record(&own(1), "a.test"),
        ]),
    );
    // Out of the answer: one more question, and another one.
    server.script(&own(2), Script::Records(vec![record(&own(2), "elsewhere.test")]));
    server.script("elsewhere.test", Script::Records(vec![record("elsewhere.test", "c.test")]));
    server.script("c.test", yes());
    // To nowhere.
    server.script(&own(3), Script::Records(vec![record(&own(3), "no.test")]));
    // In a circle: in one answer, and from answer to answer.
    server.script(
        &own(4),
        Script::Records(vec![record(&own(4), "d.test"), record("d.test", &own(4))]),
    );
    server.script(&own(5), Script::Records(vec![record(&own(5), "e.test")]));
    server.script("e.test", Script::Records(vec![record("e.test", &own(5))]));
    let mut bench = Bench::new(&[&server]);
    assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.3"], 60));
    assert_eq!(bench.look_up(client(2)), listed(&["127.0.0.2"], 300));
    assert_eq!(bench.look_up(client(3)), not_listed(60));
    assert_eq!(bench.look_up(client(4)), failed(Failure::ServerError));
    let before = server.count();
    assert_eq!(bench.look_up(client(5)), failed(Failure::ServerError));
    assert_eq!(server.count() - before, 11);
    // What was found behind an alias is remembered under the first name.
    let before = server.count();
    assert_eq!(bench.look_up(client(2)), listed(&["127.0.0.2"], 300));
    assert_eq!(server.count(), before);
}

#[test]
fn huge_answers() {
    let server = NameServer::start();
    let many: Vec<Ipv4Addr> = (0..700_u32).map(|n| Ipv4Addr::from(0x7f00_0000 + n)).collect();
    server.script("1.2.0.192.bl.test", Script::Listed(many.clone(), 300));
    let mut bench = Bench::new(&[&server]);
    let Answer::Listed { addresses, ttl: 300 } = bench.look_up(client(1)) else { panic!() };
    assert_eq!(*addresses, *many);
}

#[test]
fn answers_are_remembered_and_grow_old() {
    let server = NameServer::start();
    server.script("1.2.0.192.bl.test", yes());
    let mut bench = Bench::new(&[&server]);
    for last in 1..=2 {
        bench.look_up(client(last));
    }
    assert_eq!(server.count(), 2);
    bench.skip(Duration::from_secs(30));
    let Answer::Listed { ttl, .. } = bench.look_up(client(1)) else { panic!() };
    assert!((250..=270).contains(&ttl), "{ttl}");
    let Answer::NotListed { ttl: Some(ttl) } = bench.look_up(client(2)) else { panic!() };
    assert!((10..=30).contains(&ttl), "{ttl}");
    assert_eq!(server.count(), 2);
    assert_eq!(bench.resolver.counters().remembered, 2);
    bench.skip(Duration::from_secs(40));
    bench.look_up(client(2));
    assert_eq!(server.count(), 3);
    bench.look_up(client(1));
    assert_eq!(server.count(), 3);
}

#[test]
fn failures_are_not_remembered() {
    let server = NameServer::start();
    let servfail = Script::Code(crate::name_server::SERVFAIL);
    let script = Script::FirstThen(1, Box::new(servfail), Box::new(yes()));
    server.script("1.2.0.192.bl.test", script);
    let mut bench = Bench::new(&[&server]);
    assert_eq!(bench.look_up(client(1)), failed(Failure::ServerError));
    assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300));
}

/// An answer never comes out of `ask`, and never without a turn of the loop.
#[test]
fn a_remembered_answer_makes_the_loop_turn_at_once() {
    let server = NameServer::start();
    let mut bench = Bench::new(&[&server]);
    bench.look_up(client(1));
    bench.ask(client(1));
    let now = bench.now();
    assert!(bench.resolver.next_deadline().is_some_and(|at| at <= now));
    assert_eq!(bench.resolver.take_answer(), Some((client(1), not_listed(60))));
    assert!(bench.resolver.next_deadline().is_none_or(|at| at > now));
}

#[test]
fn test_points_are_asked_afresh() {
    let server = NameServer::start();
    let mut bench = Bench::new(&[&server]);
    bench.look_up(client(1));
    let test_point = Question { asker: Asker::TestPoint, ..client(1) };
    server.script("1.2.0.192.bl.test", yes());
    assert_eq!(bench.look_up(client(1)), not_listed(60));
    assert_eq!(bench.look_up(test_point), listed(&["127.0.0.2"], 300));
    // Which is what clients get from now on.
    assert_eq!(bench.look_up(client(1)), listed(&["127.0.0.2"], 300));
    assert_eq!(server.count(), 2);
}

#[test]
fn one_question_on_the_wire_for_all_who_ask() {
    let server = NameServer::start();
    server.script("1.2.0.192.bl.test", Script::Hold(Box::new(yes())));
    let mut bench = Bench::new(&[&server]);
    let test_point = Question { asker: Asker::TestPoint, ..client(1) };
    for question in [client(1), client(1), test_point, client(1)] {
        bench.ask(question);
    }
    bench.turn_until_asked(&server, 1);
    server.release();
    let mut told = vec![bench.answer().0];
    // Not taken yet: still the same answer.
    bench.ask(test_point);
    told.push(bench.answer().0);
    told.sort();
    assert_eq!(told, [client(1), test_point]);
    bench.assert_no_answer();
    assert_eq!(server.count(), 1);
}

#[test]
fn who_does_not_wait_any_more_is_not_told() {
    let server = NameServer::start();
    server.otherwise(Script::Hold(Box::new(yes())));
    let mut bench = Bench::new(&[&server]);
    let test_point = Question { asker: Asker::TestPoint, ..client(1) };
    for question in [client(1), client(2), test_point] {
        bench.ask(question);
    }
    bench.turn_until_asked(&server, 2);
    let now = bench.now();
    bench.resolver.cancel(client(1), now);
    bench.resolver.cancel(client(2), now);
    bench.resolver.cancel(client(3), now);
    assert_eq!(bench.resolver.open_lookups(), 1);
    server.release();
    assert_eq!(bench.answer().0, test_point);
    bench.assert_no_answer();
    assert_eq!(bench.resolver.counters().strange, 0);
    // An answer that nobody has taken yet.
    bench.ask(client(1));
    let now = bench.now();
    bench.resolver.cancel(client(1), now);
    bench.assert_no_answer();
}

#[test]
fn impossible_questions_fail() {
    let server = NameServer::start();
    let mut bench = Bench::new(&[&server]);
    assert_eq!(bench.look_up(client_in(1, 99)), failed(Failure::ServerError));
    assert_eq!(server.count(), 0);
}

#[test]
fn mixed_letter_case() {
    let server = NameServer::start();
    let limits = Limits { mixed_case: true, ..Limits::default() };
    let servers = Servers::default().with_list(vec![server.address()]);
    let mut bench = Bench::with(servers, limits);
    server.otherwise(yes());
    for last in 1..=20 {
        assert_eq!(bench.look_up(client(last)), listed(&["127.0.0.2"], 300));
    }
    assert!(server.asked().iter().any(|asked| asked.written != asked.name));
    // A forger who knows everything but the letter case.
    server.otherwise(Script::LowerCase(Box::new(yes())));
    for last in 21..=50 {
        bench.ask(client(last));
        bench.turn_until_asked(&server, usize::from(last));
    }
    bench.turn_for(crate::bench::A_WHILE);
    let mut answers = 0;
    while bench.resolver.take_answer().is_some() {
        answers += 1;
    }
    // Six letters: one in 64 is all lower case by chance.
    assert!(answers < 10, "{answers}");
    assert!(bench.resolver.counters().strange >= 20);
}
