//! A resolver on a loop of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::{Limits, Resolver};
use gatepost::event::reactor::{Reactor, Ready, Source};
use gatepost::screen::dnsbl::answer::{Answer, Asker, Failure, ListId, Question};

use crate::name_server::NameServer;

/// How long a test waits for what must happen; only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits for what must not happen.
pub const A_WHILE: Duration = Duration::from_millis(100);

/// The domains of the lists, by number.
pub const DOMAINS: [&str; 3] = ["bl.test", "other.test", "third.test"];

/// A resolver, its loop, and its clock.
pub struct Bench {
    pub resolver: Resolver,
    reactor: Reactor,
    ready: Vec<Ready>,
    /// The time, which stands still but for [`Bench::skip`].
    now: Instant,
}

impl Bench {
    pub fn new(servers: &[&NameServer]) -> Bench {
        let list: Vec<SocketAddr> = servers.iter().map(|server| server.address()).collect();
        Bench::with(Servers::default().with_list(list), Limits::default())
    }

    pub fn with(servers: Servers, limits: Limits) -> Bench {
        let reactor = Reactor::new().unwrap();
        let domains = DOMAINS.iter().map(ToString::to_string).collect();
        let registry = reactor.share().unwrap();
        let now = Instant::now();
        let resolver = Resolver::new(registry, Source::dns_token, servers, domains, limits, now);
        Bench { resolver, reactor, ready: Vec::new(), now }
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// Asks, with all the time that there is.
    pub fn ask(&mut self, question: Question) {
        self.ask_within(question, Duration::from_secs(1_000_000));
    }

    pub fn ask_within(&mut self, question: Question, time: Duration) {
        let now = self.now();
        self.resolver.ask(question, now + time, now);
    }

    /// One turn of the loop.
    pub fn turn(&mut self) {
        let soon = Instant::now() + Duration::from_millis(5);
        let deadline = self.resolver.next_deadline();
        let due = deadline.is_some_and(|at| at <= self.now());
        self.reactor.wait(Some(if due { Instant::now() } else { soon }), &mut self.ready).unwrap();
        let now = self.now();
        for event in &self.ready {
            let Source::Dns { slot, generation } = event.source else { panic!("{event:?}") };
            self.resolver.ready(slot, generation, now);
        }
        if deadline.is_some_and(|at| at <= now) {
            self.resolver.expired(now);
        }
    }

    /// The loop turns for a while.
    pub fn turn_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn();
        }
    }

    /// The loop turns until something is so.
    pub fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Bench) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < end, "waiting for {what}: {:?}", self.resolver);
            self.turn();
        }
    }

    /// The loop turns until a server has been asked so often.
    pub fn turn_until_asked(&mut self, server: &NameServer, count: usize) {
        self.turn_until(&format!("question {count}"), |_| server.count() >= count);
    }

    /// Time passes, and what was due is done.
    pub fn skip(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    /// The next answer.
    pub fn answer(&mut self) -> (Question, Answer) {
        let mut answer = None;
        self.turn_until("an answer", |bench| {
            answer = bench.resolver.take_answer();
            answer.is_some()
        });
        answer.unwrap()
    }

    /// Asks and waits.
    pub fn look_up(&mut self, question: Question) -> Answer {
        self.ask(question);
        let (of, answer) = self.answer();
        assert_eq!(of, question);
        answer
    }

    /// Asks, and lets time pass until there is an answer; how much passed.
    pub fn look_up_patiently(&mut self, question: Question) -> (Answer, Duration) {
        self.ask(question);
        let asked = self.now;
        loop {
            let end = Instant::now() + 3 * A_WHILE;
            while Instant::now() < end {
                self.turn();
                if let Some((_, answer)) = self.resolver.take_answer() {
                    return (answer, self.now - asked);
                }
            }
            let next = self.resolver.next_deadline().unwrap();
            self.skip(next.saturating_duration_since(self.now));
        }
    }

    /// Nothing comes of it, for a while.
    pub fn assert_no_answer(&mut self) {
        self.turn_for(A_WHILE);
        assert_eq!(self.resolver.take_answer(), None);
    }
}

/// The client 192.0.2.`last` in the first list.
pub fn client(last: u8) -> Question {
    client_in(last, 0)
}

pub fn client_in(last: u8, list: u16) -> Question {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    Question { asker: Asker::Client, address, list: ListId(list) }
}

pub fn listed(addresses: &[&str], ttl: u32) -> Answer {
    Answer::Listed { addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(), ttl }
}

pub fn not_listed(ttl: u32) -> Answer {
    Answer::NotListed { ttl: Some(ttl) }
}

pub fn failed(failure: Failure) -> Answer {
    Answer::Failed(failure)
}
