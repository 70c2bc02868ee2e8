//! A guard, zones that behave in every way, and a virtual clock: what the tests share.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::notice::Notice;
use super::saved::Saved;
use super::{Guard, Mode, Order, POINTS};
use crate::screen::dnsbl::answer::{Answer, Asker, Failure, ListId, Question};
use crate::screen::dnsbl::lists::Lists;
use crate::screen::dnsbl::site::parse_sites;
use crate::screen::event::Now;
use crate::screen::logline::Level;
use crate::screen::test_set::UnixTime;

/// How a zone behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zone {
    /// As it should; no client is listed.
    Good,
    /// As it should; every client is listed.
    Busy,
    /// No test points, and the servers fail for IPv6.
    Private,
    /// All is listed.
    Everything,
    /// All of IPv6 is listed.
    Everything6,
    /// All is listed as this.
    Code(u8),
    /// The test points are as they should be, clients get this error code.
    CodeForClients(u8),
    /// One test point gets an error code.
    CodeOnce,
    /// No answer.
    Dead,
    /// No answer for the test points.
    DeadPoints,
    /// As it should; clients are answered from a cache if the resolver does not work.
    Cached,
    /// It takes the question and never says what came of it.
    Lost,
}

/// Until a question is answered, and until it has failed.
const LATENCY: Duration = Duration::from_millis(20);
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// When the tests begin: 2026-11-22 16:40:00 UTC.
pub const START: UnixTime = UnixTime(1_795_365_600);

pub const MINUTE: u64 = 60;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

pub struct Bench {
    pub guard: Guard,
    pub zones: Vec<Zone>,
    pub resolver_works: bool,
    pub now: Now,
    /// What was said, and how many seconds after the start.
    pub said: Vec<(u64, Notice)>,
    /// The test points that were asked, likewise.
    pub asked: Vec<(u64, Question)>,
    /// What is stored, as text.
    pub stored: BTreeMap<String, String>,
    /// How often something was stored.
    pub stores: usize,
    mode: Mode,
    lists: Lists,
    threshold: i32,
    start: Instant,
    /// Answers that are on their way.
    pending: Vec<(Instant, Question, Answer)>,
}

impl Bench {
    pub fn new(mode: Mode, sites: &str, threshold: i32, zones: &[Zone]) -> Bench {
        let lists = Lists::new(&parse_sites(sites).unwrap());
        assert_eq!(lists.len(), zones.len());
        let start = Instant::now();
        let now = Now { mono: start, wall: START };
        Bench {
            guard: Guard::new(mode, lists.clone(), threshold, &[], now),
            zones: zones.to_vec(),
            resolver_works: true,
            now,
            said: Vec::new(),
            asked: Vec::new(),
            stored: BTreeMap::new(),
            stores: 0,
            mode,
            lists,
            threshold,
            start,
            pending: Vec::new(),
        }
    }

    /// Two zones, a.test and b.test, in force.
    pub fn pair(a: Zone, b: Zone) -> Bench {
        Bench::new(Mode::Enforce, "a.test b.test", 1, &[a, b])
    }

    /// Seconds since the start.
    pub fn at(&self) -> u64 {
        self.now.mono.duration_since(self.start).as_secs()
    }

    /// Lets time pass.
    pub fn run(&mut self, seconds: u64) {
        let end = self.now.mono + Duration::from_secs(seconds);
        for turn in 0.. {
            assert!(turn < 1_000_000, "the guard spins");
            let due = self.guard.next_due();
            let answer = self.pending.iter().map(|(at, ..)| *at).min();
            let Some(next) = due.into_iter().chain(answer).min().filter(|next| *next <= end) else {
                break;
            };
            self.go_to(next.max(self.now.mono));
            if answer.is_some_and(|at| at <= self.now.mono) {
                self.answer();
            } else {
                let mut orders = Vec::new();
                self.guard.due(self.now, &mut orders);
                let next = self.guard.next_due();
                assert!(next.is_none_or(|next| next > self.now.mono), "due has left something");
                self.apply(orders);
            }
        }
        self.go_to(end);
    }

    /// A client is looked up wherever it may be.
    pub fn client(&mut self) {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        for list in (0..).map(ListId).take(self.zones.len()) {
            if !self.guard.is_aside(list) {
                self.ask(Question { asker: Asker::Client, address, list });
            }
        }
    }

    /// So many clients, one in so many seconds.
    pub fn clients(&mut self, count: u64, seconds: u64) {
        for _ in 0..count {
            self.client();
            self.run(seconds);
        }
    }

    /// The process ends, and the next one starts with what was stored.
    pub fn restart(&mut self) {
        self.restart_as(self.mode);
    }

    pub fn restart_as(&mut self, mode: Mode) {
        let saved: Vec<Saved> =
            self.stored.values().map(|text| Saved::decode(text).unwrap()).collect();
        self.mode = mode;
        self.guard = Guard::new(mode, self.lists.clone(), self.threshold, &saved, self.now);
        self.pending.clear();
    }

    pub fn is_aside(&self, list: u16) -> bool {
        self.guard.is_aside(ListId(list))
    }

    /// What was said since the last call, as text, with a `!` before warnings.
    pub fn texts(&mut self) -> Vec<String> {
        let texts = self.said.drain(..).map(|(_, notice)| match notice.level() {
            Level::Warning => format!("!{notice}"),
            _ => notice.to_string(),
        });
        texts.collect()
    }

    /// Expects these notices since the last look, named by how their texts begin.
    #[track_caller]
    pub fn expect(&mut self, starts: &[&str]) {
        let texts = self.texts();
        let fit = texts.len() == starts.len()
            && texts.iter().zip(starts).all(|(text, start)| text.starts_with(start));
        assert!(fit, "{texts:#?} instead of {starts:#?}");
    }

    /// How many rounds a zone has had since the last call.
    pub fn rounds(&mut self, list: u16) -> usize {
        let (of_it, rest): (Vec<_>, Vec<_>) =
            self.asked.drain(..).partition(|(_, question)| question.list == ListId(list));
        self.asked = rest;
        assert_eq!(of_it.len() % POINTS.len(), 0);
        of_it.len() / POINTS.len()
    }

    fn go_to(&mut self, time: Instant) {
        let (before, after) = (self.at(), time.duration_since(self.start).as_secs());
        self.now = Now { mono: time, wall: UnixTime(self.now.wall.0 + (after - before)) };
    }

    fn ask(&mut self, question: Question) {
        let zone = self.zones[usize::from(question.list.0)];
        let cached = zone == Zone::Cached && question.asker == Asker::Client;
        let answer = if self.resolver_works || cached {
            zone.answer(question)
        } else {
            Some(Zone::failure())
        };
        if let Some(answer) = answer {
            let delay = if answer == Zone::failure() { TIME_LIMIT } else { LATENCY };
            self.pending.push((self.now.mono + delay, question, answer));
        }
    }

    /// Hands in the answers that have come.
    fn answer(&mut self) {
        let now = self.now;
        let (come, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|(at, ..)| *at <= now.mono);
        self.pending = pending;
        let come: Vec<_> = come;
        for (_, question, answer) in come {
            let mut orders = Vec::new();
            match question.asker {
                Asker::Client => {
                    self.guard.observe(question.list, &answer, now, &mut orders);
                }
                Asker::TestPoint => {
                    self.guard.point_answered(question, &answer, now, &mut orders);
                }
            }
            self.apply(orders);
        }
    }

    fn apply(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Ask(question) => {
                    assert_eq!(question.asker, Asker::TestPoint);
                    self.asked.push((self.at(), question));
                    self.ask(question);
                }
                Order::Say(notice) => self.said.push((self.at(), notice)),
                Order::Store(saved) => {
                    let text = saved.encode();
                    assert_eq!(Saved::decode(&text).as_ref(), Some(&saved), "{text}");
                    self.stored.insert(saved.key().to_owned(), text);
                    self.stores += 1;
                }
            }
        }
    }
}

impl Zone {
    pub fn failure() -> Answer {
        Answer::Failed(Failure::NoReply)
    }

    pub fn listed(last: u8) -> Answer {
        Answer::Listed { addresses: [Ipv4Addr::new(127, 0, 0, last)].into(), ttl: 300 }
    }

    pub fn code(last: u8) -> Answer {
        Answer::Listed { addresses: [Ipv4Addr::new(127, 255, 255, last)].into(), ttl: 300 }
    }

    fn answer(self, Question { asker, address, .. }: Question) -> Option<Answer> {
        let clean = Answer::NotListed { ttl: Some(300) };
        let [_, listed, _, listed_6] = POINTS;
        let is_point = asker == Asker::TestPoint;
        let right =
            if address == listed || address == listed_6 { Zone::listed(2) } else { clean.clone() };
        Some(match self {
            Zone::Busy if !is_point => Zone::listed(4),
            Zone::Good | Zone::Busy | Zone::Cached => right,
            Zone::Private if address.is_ipv6() => Zone::failure(),
            Zone::Private => clean,
            Zone::Everything => Zone::listed(2),
            Zone::Everything6 if address.is_ipv6() => Zone::listed(2),
            Zone::Everything6 => right,
            Zone::Code(last) => Zone::code(last),
            Zone::CodeForClients(last) if !is_point => Zone::code(last),
            Zone::CodeForClients(_) => right,
            Zone::CodeOnce if address == listed => Zone::code(255),
            Zone::CodeOnce => right,
            Zone::Dead => Zone::failure(),
            Zone::DeadPoints if is_point => Zone::failure(),
            Zone::DeadPoints => right,
            Zone::Lost => return None,
        })
    }
}
