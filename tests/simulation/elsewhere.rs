//! Tables elsewhere: that answers come later changes nothing but when.
//!
//! The same client is served twice, once by tables that answer at once and once by tables that
//! have to be asked. What is logged, stored and sent must be the same, each in its order.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use gatepost::screen::event::{
    Access, Cached, Filtered, Input, Lookup, Lookups, Now, Output, Spoken, Trust, Watch,
};
use gatepost::screen::logline::{LogLine, Message};
use gatepost::screen::policy::{Policy, TlsLevel};
use gatepost::screen::screener::Screener;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{CacheRecord, Test, UnixTime};

use crate::draw;
use crate::footers;
use crate::keywords;
use crate::outside::{filtered, forbidden};
use crate::rng::Rng;

const ID: SessionId = SessionId { slot: 0, generation: 1 };

/// What there is to know, and what of it is elsewhere.
struct Tables {
    access: Access,
    allowed: bool,
    record: CacheRecord,
    /// What has to be asked for; `None`: nothing.
    rng: Option<Rng>,
    /// What has been answered.
    known: HashSet<String>,
    /// What nobody could answer.
    failed: HashSet<String>,
    /// What has been asked and not been answered.
    open: Vec<String>,
    hurried: bool,
    asked: u64,
}

impl Tables {
    /// Nobody has been asked for anything. `rng` draws who has to be asked elsewhere; without it,
    /// nobody has.
    fn new(access: Access, allowed: bool, record: CacheRecord, rng: Option<Rng>) -> Tables {
        Tables {
            access,
            allowed,
            record,
            rng,
            known: HashSet::new(),
            failed: HashSet::new(),
            open: Vec::new(),
            hurried: false,
            asked: 0,
        }
    }

    /// Answers at once, or later.
    fn say<T>(&mut self, question: String, answer: T, none: T) -> Lookup<T> {
        if self.known.contains(&question) {
            self.hurried = false;
            return Lookup::Known(answer);
        }
        if std::mem::take(&mut self.hurried) || self.failed.contains(&question) {
            return Lookup::Known(none);
        }
        let Some(rng) = &mut self.rng else { return Lookup::Known(answer) };
        if !self.open.contains(&question) {
            if rng.chance(30) {
                return Lookup::Known(answer);
            }
            self.asked += 1;
            self.open.push(question);
        }
        Lookup::Asked
    }
}

impl Lookups for Tables {
    fn access(
        &mut self,
        _: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Access> {
        let access = self.say(format!("access {client}"), self.access, Access::Undecided);
        if access != Lookup::Asked {
            messages.push(Message::warning("access list: something to say"));
        }
        access
    }

    fn stop_asking(&mut self, _: SessionId) {
        self.hurried = true;
    }

    fn cached(&mut self, _: IpAddr) -> Cached {
        Cached::Found(self.record)
    }

    fn interface_allowed(
        &mut self,
        _: SessionId,
        server: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<bool> {
        self.say(format!("interface {server}"), self.allowed, false)
    }

    fn discarded_keywords(
        &mut self,
        _: SessionId,
        client: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        let words = keywords::of_client(client).map(str::to_owned);
        self.say(format!("keywords {client}"), words, None)
    }

    fn footer(
        &mut self,
        _: SessionId,
        reply: &str,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        let footer = footers::in_table(reply).map(str::to_owned);
        self.say(format!("footer {reply}"), footer, None)
    }

    fn command_filter(
        &mut self,
        _: SessionId,
        line: &[u8],
        _: &mut Vec<Message>,
    ) -> Lookup<Filtered> {
        self.say(format!("filter {line:?}"), filtered(line), Filtered::Failed)
    }

    fn forbidden(&mut self, _: SessionId, word: &[u8], _: &mut Vec<Message>) -> Lookup<bool> {
        self.say(format!("word {word:?}"), forbidden(word), false)
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        Spoken::No
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        Trust::Stranger
    }

    fn local_time(&mut self, time: UnixTime) -> String {
        footers::told(time)
    }
}

/// One visit, seen from outside.
struct Visit {
    screener: Screener,
    tables: Tables,
    base: Instant,
    watch: Watch,
    deadline: Option<Instant>,
    /// What was logged and stored.
    said: Vec<Output>,
    /// What was warned of.
    warned: Vec<String>,
    /// What the client and other programs saw.
    done: Vec<Output>,
    closed: bool,
}

impl Visit {
    fn new(policy: &Policy, tables: Tables) -> Visit {
        Visit {
            screener: Screener::new(policy.clone()),
            tables,
            base: Instant::now(),
            watch: Watch::Nothing,
            deadline: None,
            said: Vec::new(),
            warned: Vec::new(),
            done: Vec::new(),
            closed: false,
        }
    }

    fn feed(&mut self, input: Input<'_>, seconds: u64) {
        let now =
            Now { mono: self.base + Duration::from_secs(seconds), wall: UnixTime(1_800_000_000) };
        let mut out = Vec::new();
        self.screener.handle(input, now, &mut self.tables, &mut out);
        self.screener.check_invariants().unwrap();
        for output in out {
            assert!(!self.closed, "{output:?} after the end");
            match output {
                Output::Watch(_, watch) => self.watch = watch,
                Output::SetDeadline(_, deadline) => self.deadline = Some(deadline),
                // Of a mistake in a footer one learns when the footer is known.
                Output::Log(LogLine::Message(message)) => self.warned.push(message.text),
                Output::Log(_) | Output::Store(..) => self.said.push(output),
                Output::Close(_) => {
                    self.closed = true;
                    self.done.push(output);
                }
                output => self.done.push(output),
            }
        }
    }

    /// Lets what was asked be answered, in any order, with news of nothing in between.
    fn settle(&mut self, rng: &mut Rng, seconds: u64) {
        while !self.tables.open.is_empty() {
            if rng.chance(20) {
                self.feed(Input::Answered { session: ID }, seconds);
                continue;
            }
            self.answer(rng, seconds);
        }
    }

    /// One of the questions is answered.
    fn answer(&mut self, rng: &mut Rng, seconds: u64) {
        let nth = rng.count(0, self.tables.open.len() - 1);
        let question = self.tables.open.swap_remove(nth);
        self.tables.known.insert(question);
        self.feed(Input::Answered { session: ID }, seconds);
    }

    /// The time of a table is up: one of the questions has no answer.
    fn gives_up(&mut self, rng: &mut Rng, seconds: u64) {
        let open = self.tables.open.len();
        assert_ne!(open, 0, "waits for nothing");
        let question = self.tables.open.swap_remove(rng.count(0, open - 1));
        self.tables.failed.insert(question);
        self.feed(Input::Answered { session: ID }, seconds);
    }

    fn is_handed_off(&self) -> bool {
        self.done.iter().any(|output| matches!(output, Output::HandOff { .. }))
    }
}

/// Serves a client that says these pieces.
fn visit(policy: &Policy, seed: u64, pieces: &[&[u8]], elsewhere: bool) -> Visit {
    let (mut rng, mut order) = (Rng::new(seed), Rng::new(seed + 2));
    let client = draw::address(rng.count(0, 60));
    let access = rng.pick(&[Access::Undecided, Access::Undecided, Access::Reject, Access::Permit]);
    let allowed = rng.chance(80);
    let record = if rng.chance(30) {
        draw::record(&mut rng, UnixTime(1_800_000_000))
    } else {
        CacheRecord::default()
    };
    let rng_of_tables = elsewhere.then(|| Rng::new(seed + 1));
    let mut visit = Visit::new(policy, Tables::new(access, allowed, record, rng_of_tables));
    let end = "192.0.2.25:25".parse().unwrap();
    let client = std::net::SocketAddr::new(client, 4711);
    visit.feed(Input::Connected { session: ID, client, server: end }, 0);
    visit.settle(&mut order, 0);
    if visit.watch == Watch::Peek && rng.chance(20) {
        visit.feed(Input::Peeked { session: ID, data: b"x" }, 1);
        visit.settle(&mut order, 1);
    }
    visit.feed(Input::Deadline { session: ID }, 9);
    visit.settle(&mut order, 9);
    for data in pieces.iter().filter(|piece| !piece.is_empty()) {
        if visit.watch == Watch::Read && !visit.closed {
            visit.feed(Input::Received { session: ID, data }, 10);
        }
        visit.settle(&mut order, 10);
    }
    visit.feed(Input::Closed { session: ID }, 11);
    visit.settle(&mut order, 11);
    visit.warned.sort();
    visit
}

/// Serves clients twice. Returns how many questions there were for tables elsewhere.
pub fn twins(first: u64, rounds: usize) -> u64 {
    let mut rng = Rng::new(first);
    let mut asked = 0;
    for round in 0..rounds {
        let mut policy = policy(&mut rng);
        policy.footers.by_reply = true;
        policy.enabled = policy.enabled.with(Test::BareNewline).with(Test::NonSmtpCommand);
        let words: Vec<u8> = (0..4).flat_map(|_| draw::words(&mut rng)).collect();
        let (size, seed) = (rng.count(1, 60), rng.next());
        let pieces: Vec<&[u8]> = words.chunks(size).collect();
        let at_once = visit(&policy, seed, &pieces, false);
        let later = visit(&policy, seed, &pieces, true);
        assert_eq!(later.said, at_once.said, "seed {first}, round {round}: the log");
        assert_eq!(later.warned, at_once.warned, "seed {first}, round {round}: the warnings");
        assert_eq!(later.done, at_once.done, "seed {first}, round {round}: the wire");
        asked += later.tables.asked;
    }
    asked
}

/// A policy without what has no time to wait for answers, which is another matter.
fn policy(rng: &mut Rng) -> Policy {
    let mut policy = draw::policy(rng);
    policy.engine.tls_level = TlsLevel::None;
    policy.dnsbl.lists = Default::default();
    policy.enabled = policy.enabled.without(Test::Dnsbl);
    policy
}

#[test]
fn that_answers_come_later_changes_nothing_else() {
    let asked = twins(7, 3000);
    assert!(asked > 6000, "only {asked} questions");
}

/// No session takes more deadlines and failures than this to get to its end.
const MOST_STEPS: usize = 60;

/// Serves clients while tables elsewhere answer some questions and others never. Returns how
/// many were left open.
pub fn unanswered(first: u64, rounds: usize) -> u64 {
    let mut rng = Rng::new(first);
    let mut left = 0;
    for round in 0..rounds {
        let mut policy = policy(&mut rng);
        policy.footers.by_reply = rng.chance(80);
        let tables = Tables::new(
            rng.pick(&[Access::Undecided, Access::Undecided, Access::Reject, Access::Permit]),
            rng.chance(80),
            CacheRecord::default(),
            Some(Rng::new(rng.next())),
        );
        let mut visit = Visit::new(&policy, tables);
        let (client, server) =
            ("192.0.2.1:4711".parse().unwrap(), "192.0.2.25:25".parse().unwrap());
        let mut seconds = 0;
        visit.feed(Input::Connected { session: ID, client, server }, seconds);
        let mut steps = 0;
        while !visit.closed && !visit.is_handed_off() {
            if visit.watch == Watch::Read && rng.chance(60) {
                let data = draw::words(&mut rng);
                visit.feed(Input::Received { session: ID, data: &data }, seconds);
            } else if !visit.tables.open.is_empty() && rng.chance(20) {
                visit.answer(&mut rng, seconds);
            } else {
                left += visit.tables.open.len() as u64;
                steps += 1;
                assert!(steps <= MOST_STEPS, "seed {first}, round {round}: for ever");
                // Whom the core has nothing to wait for but a table, waits as long as that may take.
                let Some(deadline) = visit.deadline.take() else {
                    visit.gives_up(&mut rng, seconds);
                    continue;
                };
                seconds = seconds.max((deadline - visit.base).as_secs() + 1);
                visit.feed(Input::Deadline { session: ID }, seconds);
            }
        }
    }
    left
}

#[test]
fn a_table_that_never_answers_holds_nobody_up_for_ever() {
    let left = unanswered(9, 2000);
    assert!(left > 500, "only {left} questions");
}

/// At the end of the process nobody waits for an answer: every client gets its last word.
#[test]
fn nobody_waits_at_the_end() {
    let mut rng = Rng::new(8);
    for round in 0..2000 {
        let mut policy = policy(&mut rng);
        policy.footers.by_reply = true;
        let words: Vec<u8> = (0..3).flat_map(|_| draw::words(&mut rng)).collect();
        let rng_of_tables = Some(Rng::new(round));
        let tables = Tables::new(Access::Undecided, true, CacheRecord::default(), rng_of_tables);
        let mut visit = Visit::new(&policy, tables);
        let (client, server) =
            ("192.0.2.1:4711".parse().unwrap(), "192.0.2.25:25".parse().unwrap());
        visit.feed(Input::Connected { session: ID, client, server }, 0);
        if rng.chance(80) {
            visit.settle(&mut rng, 0);
            visit.feed(Input::Deadline { session: ID }, 9);
            if visit.watch == Watch::Read {
                visit.feed(Input::Received { session: ID, data: &words }, 10);
            }
        }
        visit.feed(Input::Terminate, 11);
        assert!(visit.closed || visit.is_handed_off(), "round {round}: {:?}", visit.done);
    }
}
