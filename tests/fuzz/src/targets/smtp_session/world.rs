//! What happens to the core: clients, time, answers; and the laws for what comes out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gatepost::screen::dnsbl::answer::{Answer, Asker, Failure, Question};
use gatepost::screen::dnsbl::guard::saved::Saved;
use gatepost::screen::event::{HandOffResult, Input, Now, Output, PEEK_LIMIT, TlsNews, Watch};
use gatepost::screen::policy::Policy;
use gatepost::screen::screener::Screener;
use gatepost::screen::session::SessionId;
use gatepost::screen::slots::Slots;
use gatepost::screen::test_set::UnixTime;

use super::seat::{Seat, Starting, UnderWay};
use super::setting::{Outside, address, server};
use super::texts;

/// The wall clock at the beginning.
pub const START: UnixTime = UnixTime(1_800_000_000);

/// How many clients may be there at a time.
const MOST_CLIENTS: usize = 24;

/// How many bytes may wait behind STARTTLS for what comes of it; more makes no difference to
/// the number of outputs.
const BEHIND_STARTTLS: usize = 100;

/// A session whose end takes more deadlines than this never ends.
const MOST_DEADLINES: usize = 12;

pub struct World {
    policy: Policy,
    outside: Outside,
    screener: Screener,
    seats: Slots<Seat>,
    current: SessionId,
    /// The session that has ended last.
    gone: SessionId,
    /// The questions under way, and when their time is up.
    questions: BTreeMap<Question, Duration>,
    guard_deadline: Option<Duration>,
    time: Duration,
    /// How far the wall clock is ahead.
    ahead: Duration,
    port: u16,
}

/// Whom an input is about.
enum About {
    Session(SessionId),
    Question(Question),
    Guard,
    Everybody,
}

/// What happens because of the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Guard,
    Question(Question),
    Session(SessionId),
}

impl World {
    pub fn new((policy, outside, saved): (Policy, Outside, Vec<Saved>)) -> World {
        let nobody = SessionId { slot: u32::MAX, generation: 1 };
        let mut world = World {
            screener: Screener::new(policy.clone()),
            policy,
            outside,
            seats: Slots::default(),
            current: nobody,
            gone: nobody,
            questions: BTreeMap::new(),
            guard_deadline: None,
            time: Duration::ZERO,
            ahead: Duration::ZERO,
            port: 1024,
        };
        let mut out = Vec::new();
        let now = world.now();
        world.screener.watch_lists(&saved, now, &mut out);
        out.iter().for_each(|output| world.apply(&About::Guard, output));
        world
    }

    pub fn connects(&mut self, from: u8, to: u8) {
        if self.seats.len() >= MOST_CLIENTS {
            return;
        }
        self.port += 1;
        let client = SocketAddr::new(address(from), self.port);
        let server = SocketAddr::new(server(to), 25);
        let id = self.sit_down(client, server);
        self.feed(Input::Connected { session: id, client, server });
        self.deliver();
    }

    pub fn unidentified(&mut self) {
        let nowhere = SocketAddr::new(server(0), 25);
        let id = self.sit_down(nowhere, nowhere);
        let reason = "Transport endpoint is not connected";
        self.feed(Input::Unidentified { session: id, call: "getpeername", reason });
        assert!(self.seats.get(id).is_none(), "not closed");
    }

    fn sit_down(&mut self, client: SocketAddr, server: SocketAddr) -> SessionId {
        self.current = self.seats.insert(Seat::new(client, server)).unwrap();
        self.current
    }

    pub fn choose(&mut self, number: u8) {
        let count = self.seats.len().max(1);
        let nth = self.seats.iter().nth(usize::from(number) % count);
        self.current = nth.map_or(self.gone, |(id, _)| id);
    }

    /// In one piece.
    pub fn says(&mut self, words: &[u8]) {
        let Some(seat) = self.seats.get_mut(self.current) else { return };
        if words.is_empty() || seat.hung_up {
            return;
        }
        seat.unread.extend_from_slice(words);
        seat.news = true;
        self.deliver();
    }

    /// Either in an orderly way, or because what we have sent came back.
    pub fn hangs_up(&mut self, reset: bool) {
        let session = self.current;
        let Some(seat) = self.seats.get_mut(session) else { return };
        seat.hung_up = true;
        seat.news = true;
        if reset {
            self.feed(Input::Closed { session });
        }
        self.deliver();
    }

    pub fn hand_off(&mut self, result: HandOffResult<'_>) {
        let session = self.current;
        match self.seats.get_mut(session) {
            Some(seat) if seat.handing_off == Some(UnderWay::Sent) => {
                if result == HandOffResult::Busy {
                    seat.handing_off = Some(UnderWay::Pausing);
                }
                self.feed(Input::HandOff { session, result });
                self.deliver();
            }
            _ => {}
        }
    }

    /// Of an attempt at TLS, no more can be told than there is.
    pub fn tlsproxy(&mut self, news: TlsNews<'_>) {
        let session = self.current;
        let Some(seat) = self.seats.get_mut(session) else { return };
        seat.starting = match (seat.starting, news) {
            (Some(Starting::Connected), TlsNews::Asked) => Some(Starting::Asked),
            (Some(Starting::Asked), TlsNews::Taken) => Some(Starting::Asked),
            (Some(Starting::Connected), TlsNews::Busy) => None,
            (Some(_), TlsNews::Failed { .. }) => None,
            _ => return,
        };
        self.feed(Input::Tls { session, news });
        let secure = self.seats.get(session).is_some_and(|seat| seat.secure);
        assert!(secure || news != TlsNews::Taken, "with nobody");
        self.deliver();
    }

    pub fn list_answer(&mut self, number: u8, answer: &Answer) {
        let count = self.questions.len().max(1);
        let nth = self.questions.keys().nth(usize::from(number) % count);
        let Some(question) = nth.copied() else { return };
        self.questions.remove(&question);
        self.feed(Input::ListAnswer { question, answer });
        self.deliver();
    }

    pub fn terminate(&mut self) {
        self.feed(Input::Terminate);
        self.deliver();
    }

    /// Something that comes too late, or when nobody is waiting for it.
    pub fn stray(&mut self, kind: u8, whom: u8) {
        let result = HandOffResult::Busy;
        let data = b"HELO late\r\n";
        if whom.is_multiple_of(2) {
            let session = self.gone;
            self.feed(match kind % 6 {
                0 => Input::Deadline { session },
                1 => Input::Closed { session },
                2 => Input::Peeked { session, data },
                3 => Input::Received { session, data },
                4 => Input::Tls { session, news: TlsNews::Taken },
                _ => Input::HandOff { session, result },
            });
        } else if let Some(seat) = self.seats.get(self.current) {
            let session = self.current;
            let input = match kind % 5 {
                0 if seat.watch != Watch::Peek => Input::Peeked { session, data },
                1 if seat.watch != Watch::Read => Input::Received { session, data },
                2 if seat.handing_off.is_some() => Input::Closed { session },
                4 if seat.starting.is_none() => Input::Tls { session, news: TlsNews::Taken },
                3 if seat.handing_off != Some(UnderWay::Sent) => Input::HandOff { session, result },
                _ => return,
            };
            let before = seat.replies.len();
            self.feed(input);
            assert_eq!(self.seats.get(session).unwrap().replies.len(), before, "{input:?}");
        }
        self.deliver();
    }

    /// Lets time pass; what is due happens on time.
    pub fn pause(&mut self, span: Duration) {
        let end = self.time + span;
        while let Some((at, due)) = self.next_due().filter(|(at, _)| *at <= end) {
            self.happen(at, due);
        }
        self.time = end;
    }

    /// Sets the wall clock.
    pub fn jump(&mut self, span: Duration) {
        self.ahead += span;
    }

    /// Waits until everybody has gone.
    pub fn finish(&mut self) {
        let mut left = MOST_DEADLINES * (self.seats.len() + 1);
        while !self.seats.is_empty() {
            let (at, due) = self.next_due().unwrap();
            if matches!(due, Due::Session(_)) {
                left = left.checked_sub(1).expect("they stay for ever");
            }
            self.happen(at, due);
        }
        let asks = |question: &&Question| question.asker == Asker::Client;
        assert_eq!(self.questions.keys().find(asks), None, "nobody wants to know that");
        self.screener.check_invariants().unwrap();
    }

    fn next_due(&self) -> Option<(Duration, Due)> {
        let deadline = |(id, seat): (_, &Seat)| Some((seat.deadline?, Due::Session(id)));
        let sessions = self.seats.iter().filter_map(deadline);
        let questions = self.questions.iter().map(|(question, at)| (*at, Due::Question(*question)));
        let guard = self.guard_deadline.map(|at| (at, Due::Guard));
        sessions.chain(questions).chain(guard).min()
    }

    fn happen(&mut self, at: Duration, due: Due) {
        self.time = self.time.max(at);
        match due {
            Due::Guard => {
                self.guard_deadline = None;
                self.feed(Input::GuardDeadline);
                let at_once = self.guard_deadline == Some(self.time);
                assert!(!at_once, "the guard turns in circles");
            }
            Due::Question(question) => {
                self.questions.remove(&question);
                let answer = Answer::Failed(Failure::TimeLimit);
                self.feed(Input::ListAnswer { question, answer: &answer });
            }
            Due::Session(session) => {
                self.seats.get_mut(session).unwrap().deadline = None;
                self.feed(Input::Deadline { session });
            }
        }
        self.deliver();
    }

    /// Tells the core what sockets have for it, until there is nothing more.
    fn deliver(&mut self) {
        loop {
            let found = self.seats.iter().find(|(_, seat)| seat.has_news()).map(|(id, _)| id);
            let Some(session) = found else { return };
            let seat = self.seats.get_mut(session).unwrap();
            seat.news = false;
            if seat.unread.is_empty() {
                self.feed(Input::Closed { session });
            } else if seat.watch == Watch::Peek {
                let data = seat.unread[..seat.unread.len().min(PEEK_LIMIT)].to_vec();
                self.feed(Input::Peeked { session, data: &data });
            } else {
                let data = std::mem::take(&mut seat.unread);
                seat.news = seat.hung_up;
                self.feed(Input::Received { session, data: &data });
            }
        }
    }

    fn now(&self) -> Now {
        Now { mono: base() + self.time, wall: START.plus(self.time + self.ahead) }
    }

    /// One turn.
    fn feed(&mut self, input: Input<'_>) {
        let (about, size) = match input {
            // What was sent behind STARTTLS may be gone on with.
            Input::Tls { session, .. }
            | Input::Deadline { session }
            | Input::Answered { session } => (About::Session(session), BEHIND_STARTTLS),
            Input::Connected { session, .. }
            | Input::Unidentified { session, .. }
            | Input::Closed { session }
            | Input::HandOff { session, .. } => (About::Session(session), 1),
            Input::Peeked { session, data } | Input::Received { session, data } => {
                (About::Session(session), data.len())
            }
            Input::ListAnswer { question: Question { asker: Asker::TestPoint, .. }, .. }
            | Input::GuardDeadline => (About::Guard, 1),
            Input::ListAnswer { question, .. } => (About::Question(question), self.seats.len()),
            Input::Terminate => (About::Everybody, self.seats.len()),
        };
        let awake: Vec<SessionId> = match about {
            About::Session(id) => vec![id],
            About::Everybody => self.seats.iter().map(|(id, _)| id).collect(),
            About::Question(_) | About::Guard => Vec::new(),
        };
        for id in awake {
            if let Some(seat) = self.seats.get_mut(id) {
                seat.just_begun = false;
            }
        }

        let now = self.now();
        let mut out = Vec::new();
        self.screener.handle(input, now, &mut self.outside, &mut out);
        self.screener.check_invariants().unwrap();
        let most = 40 + 8 * size;
        assert!(out.len() <= most, "{} outputs for {input:?}", out.len());
        for output in &out {
            self.apply(&about, output);
        }
        for (id, seat) in self.seats.iter() {
            assert!(seat.deadline.is_some(), "{id:?} has no deadline: {seat:?}");
        }
        assert_eq!(self.screener.sessions(), self.seats.len());
        let handing_off = self.seats.iter().filter(|(_, seat)| seat.handing_off.is_some());
        assert_eq!(self.screener.hand_offs(), handing_off.count());
        let mut addresses = BTreeMap::new();
        for (_, seat) in self.seats.iter() {
            *addresses.entry(seat.client.ip()).or_insert(0_usize) += 1;
        }
        let limit = self.policy.limits.per_client.unwrap_or(usize::MAX);
        assert!(addresses.values().all(|sessions| *sessions <= limit), "{addresses:?}");
        for question in self.questions.keys().filter(|question| question.asker == Asker::Client) {
            assert!(addresses.contains_key(&question.address), "who asked {question:?}?");
        }
    }

    fn apply(&mut self, about: &About, output: &Output) {
        let id = match output {
            Output::Log(line) => return texts::log_line(&self.policy, line),
            Output::Store(address, record) => {
                let present = self.seats.iter().any(|(_, seat)| seat.client.ip() == *address);
                assert!(present, "a verdict on nobody");
                self.outside.stored.insert(*address, *record);
                return;
            }
            Output::AskList(question) => {
                let end = self.time + self.policy.dnsbl.timeout;
                let before = self.questions.insert(*question, end);
                assert_eq!(before, None, "{question:?} is asked twice at once");
                return;
            }
            Output::ForgetList(question) => {
                assert!(self.questions.remove(question).is_some(), "{question:?} was not asked");
                return;
            }
            Output::SetGuardDeadline(deadline) => {
                // What is in the past is due at once.
                let deadline = deadline.saturating_duration_since(base());
                self.guard_deadline = Some(deadline.max(self.time));
                return;
            }
            Output::StoreList(saved) => {
                let text = saved.encode();
                assert!(!text.contains('\n'), "{text:?}");
                assert_eq!(Saved::decode(&text).as_ref(), Some(saved));
                return;
            }
            // Nobody comes through a proxy here.
            Output::Consume(..) => panic!("{output:?}"),
            Output::Send(id, _)
            | Output::SendText { session: id, .. }
            | Output::Watch(id, _)
            | Output::SetDeadline(id, _)
            | Output::HandOff { session: id, .. }
            | Output::StartTls { session: id, .. }
            | Output::AbandonTls(id)
            | Output::TlsBegins(id)
            | Output::Close(id) => *id,
        };
        let seat = self.seats.get_mut(id);
        let seat = seat.unwrap_or_else(|| panic!("{output:?}, but that one has gone"));
        match about {
            About::Session(whom) => assert_eq!(id, *whom, "{output:?} is about another one"),
            About::Question(question) => assert_eq!(seat.client.ip(), question.address),
            About::Guard => panic!("{output:?} is not the guard's business"),
            About::Everybody => {}
        }
        if let Output::Close(_) = output {
            self.seats.remove(id);
            self.gone = id;
        } else {
            seat.obey(output, &self.policy, self.time);
        }
    }
}

/// The time at which all worlds begin.
pub fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}
