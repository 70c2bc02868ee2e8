//! Who is there, and the laws for what comes out.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gatepost::screen::dnsbl::answer::{Answer, Asker, Question};
use gatepost::screen::dnsbl::guard::saved::Saved;
use gatepost::screen::event::{HandOffResult, Input, Now, Output, TlsNews, Watch};
use gatepost::screen::policy::{Policy, UpstreamProxy};
use gatepost::screen::reply::Reply;
use gatepost::screen::screener::Screener;
use gatepost::screen::session::SessionId;
use gatepost::screen::slots::Slots;
use gatepost::screen::test_set::UnixTime;

use super::tables::Tables;
use crate::targets::smtp_session::setting::{Outside, address, server};
use crate::targets::smtp_session::texts;
use crate::targets::smtp_session::world::{START, base};
use crate::targets::take::Take;

const MOST_CLIENTS: usize = 24;

/// To get to its end no session takes more events than this.
const MOST_EVENTS: usize = 40;

/// A connection.
#[derive(Clone, Copy, Debug)]
struct Seat {
    watch: Watch,
    deadline: Option<Duration>,
    /// It was told that a table has to be asked, and not yet what that says.
    waits: bool,
    handing_off: bool,
    /// The hand-off could not be made now: it is tried again.
    busy: bool,
    starting: bool,
    /// tlsproxy has introduced itself.
    asked: bool,
    secure: bool,
    greeted: bool,
}

pub struct World {
    policy: Policy,
    tables: Tables,
    screener: Screener,
    seats: Slots<Seat>,
    gone: SessionId,
    questions: BTreeSet<Question>,
    time: Duration,
    pub wall: UnixTime,
    port: u16,
}

impl World {
    pub fn new((policy, _, saved): (Policy, Outside, Vec<Saved>), take: &mut Take<'_>) -> World {
        let proxy = UpstreamProxy { timeout: Duration::from_secs(5), log_checks: false };
        let upstream_proxy =
            take.pick(&[None, Some(proxy), Some(UpstreamProxy { log_checks: true, ..proxy })]);
        let policy = Policy { upstream_proxy, ..policy };
        let mut world = World {
            screener: Screener::new(policy.clone()),
            policy,
            tables: Tables::new(take),
            seats: Slots::default(),
            gone: SessionId { slot: u32::MAX, generation: 1 },
            questions: BTreeSet::new(),
            time: Duration::ZERO,
            wall: START,
            port: 1024,
        };
        let mut out = Vec::new();
        world.screener.watch_lists(&saved, world.now(), &mut out);
        out.iter().for_each(|output| world.apply(output, None));
        world
    }

    fn now(&self) -> Now {
        Now { mono: base() + self.time, wall: self.wall }
    }

    /// Somebody who is there, has gone, or never was.
    pub fn whom(&self, number: u8) -> SessionId {
        let present = |number: u8| {
            let nth = usize::from(number) % self.seats.len().max(1);
            self.seats.iter().nth(nth).map_or(self.gone, |(id, _)| id)
        };
        match number {
            7 => self.gone,
            8 => SessionId { generation: present(0).generation.wrapping_add(1), ..present(0) },
            9 => SessionId { slot: 0, generation: 0 },
            number => present(number),
        }
    }

    fn sit_down(&mut self) -> SessionId {
        let seat = Seat {
            watch: Watch::Nothing,
            deadline: None,
            waits: false,
            handing_off: false,
            busy: false,
            starting: false,
            asked: false,
            secure: false,
            greeted: false,
        };
        self.seats.insert(seat).unwrap()
    }

    pub fn connects(&mut self, from: u8, to: u8) {
        if self.seats.len() >= MOST_CLIENTS {
            return;
        }
        self.port += 1;
        let client = SocketAddr::new(address(from), self.port);
        let server = SocketAddr::new(server(to), 25);
        let session = self.sit_down();
        self.feed(Input::Connected { session, client, server });
    }

    pub fn unidentified(&mut self) {
        let session = self.sit_down();
        let reason = "Transport endpoint is not connected";
        self.feed(Input::Unidentified { session, call: "getpeername", reason });
    }

    pub fn answers_what_was_asked(&mut self, number: u8, answer: &Answer) {
        let nth = usize::from(number) % self.questions.len().max(1);
        let Some(question) = self.questions.iter().nth(nth).copied() else { return };
        self.feed(Input::ListAnswer { question, answer });
    }

    pub fn passes(&mut self, span: Duration) {
        self.time += span;
    }

    /// Until the next deadline, which comes.
    pub fn waits(&mut self) {
        let due = |(id, seat): (SessionId, &Seat)| seat.deadline.map(|deadline| (deadline, id));
        if let Some((at, session)) = self.seats.iter().filter_map(due).min() {
            self.time = self.time.max(at);
            self.feed(Input::Deadline { session });
        }
    }

    /// Everybody's end comes: by itself, or by an order after which nobody is waited for.
    pub fn finish(&mut self) {
        self.tables.settled = true;
        if self.port.is_multiple_of(2) {
            self.feed(Input::Terminate);
        }
        let mut left = MOST_EVENTS * (self.seats.len() + 1);
        while let Some((session, seat)) = self.first() {
            left = left.checked_sub(1).expect("they stay for ever");
            let input = match seat {
                Seat { waits: true, .. } => Input::Answered { session },
                Seat { handing_off: true, .. } => {
                    Input::HandOff { session, result: HandOffResult::Done }
                }
                Seat { deadline: Some(at), .. } => {
                    self.time = self.time.max(at);
                    Input::Deadline { session }
                }
                seat => panic!("{session:?} waits for nothing: {seat:?}"),
            };
            self.feed(input);
        }
        assert_eq!((self.screener.sessions(), self.screener.approaching()), (0, 0));
        let asked = self.questions.iter().find(|question| question.asker == Asker::Client);
        assert_eq!(asked, None, "asked for nobody");
    }

    fn first(&self) -> Option<(SessionId, Seat)> {
        self.seats.iter().next().map(|(id, seat)| (id, *seat))
    }

    /// One turn.
    pub fn feed(&mut self, input: Input<'_>) {
        let (about, size) = match input {
            Input::Connected { session, .. }
            | Input::Unidentified { session, .. }
            | Input::Closed { session }
            | Input::Deadline { session }
            | Input::HandOff { session, .. }
            | Input::Tls { session, .. }
            // What waited is let go, with all that was said meanwhile.
            | Input::Answered { session } => (Some(session), usize::MAX),
            Input::Peeked { session, data } | Input::Received { session, data } => {
                (Some(session), data.len())
            }
            Input::ListAnswer { .. } | Input::GuardDeadline | Input::Terminate => (None, usize::MAX),
        };
        let before = about.and_then(|id| self.seats.get(id));
        let is_nobody = about.is_some() && before.is_none();
        let out_of_place = before.is_some_and(|seat| match input {
            Input::HandOff { .. } => !seat.handing_off,
            Input::Tls { .. } => !seat.starting,
            Input::Peeked { .. } => seat.watch != Watch::Peek && !seat.waits,
            Input::Received { .. } => seat.watch != Watch::Read && !seat.waits,
            Input::Closed { .. } => seat.handing_off || seat.busy,
            _ => false,
        });
        match input {
            Input::ListAnswer { question, .. } => drop(self.questions.remove(&question)),
            Input::Deadline { session } => {
                if let Some(seat) = self.seats.get_mut(session) {
                    seat.deadline = None;
                    seat.busy = false;
                }
            }
            Input::HandOff { session, result } => {
                if let Some(seat) = self.seats.get_mut(session).filter(|seat| seat.handing_off) {
                    seat.handing_off = false;
                    seat.busy = result == HandOffResult::Busy;
                }
            }
            Input::Tls { session, news } => {
                if let Some(seat) = self.seats.get_mut(session).filter(|seat| seat.starting) {
                    match news {
                        TlsNews::Asked => seat.asked = true,
                        TlsNews::Busy => seat.starting = seat.asked,
                        TlsNews::Failed { .. } => seat.starting = false,
                        TlsNews::Taken => {}
                    }
                }
            }
            _ => {}
        }

        let now = self.now();
        let mut out = Vec::new();
        self.tables.waiting.clear();
        self.screener.handle(input, now, &mut self.tables, &mut out);
        self.screener.check_invariants().unwrap();
        assert!(out.len() / 8 <= size.saturating_add(5), "{} outputs for {input:?}", out.len());
        assert!(!is_nobody || out.is_empty(), "{input:?} is about nobody: {out:?}");
        assert!(!out_of_place || out.is_empty(), "{input:?} is out of place: {out:?}");
        if let Some(seat) = about.and_then(|id| self.seats.get_mut(id)) {
            seat.waits &= !matches!(input, Input::Answered { .. });
        }
        let waiting = std::mem::take(&mut self.tables.waiting);
        for id in &waiting {
            let seat = self.seats.get_mut(*id).expect("a table is asked for nobody");
            seat.waits = true;
        }
        let mut consumable = match input {
            Input::Peeked { data, .. } => data.len(),
            _ => 0,
        };
        for output in &out {
            if let Output::Consume(_, count) = output {
                consumable = consumable.checked_sub(*count).expect("more than there is");
            }
            self.apply(output, about);
        }
        self.laws();
    }

    /// What holds between two inputs.
    fn laws(&self) {
        let counted = self.screener.sessions() + self.screener.approaching();
        // Of those who have ended, some are not told yet.
        let untold = self.seats.iter().filter(|(_, seat)| seat.waits).count();
        assert!(counted <= self.seats.len(), "{counted} of {}", self.seats.len());
        assert!(counted + untold >= self.seats.len(), "{counted} of {}", self.seats.len());
        for (id, seat) in self.seats.iter() {
            let something = seat.deadline.is_some() || seat.waits;
            assert!(something, "{id:?} waits for nothing: {seat:?}");
        }
        for question in self.questions.iter().filter(|it| it.asker == Asker::Client) {
            assert_ne!(counted, 0, "{question:?} for nobody");
        }
    }

    fn apply(&mut self, output: &Output, about: Option<SessionId>) {
        let id = match output {
            Output::Log(line) => return texts::log_line(&self.policy, line),
            Output::AskList(question) => {
                // A test point whose answer is overdue is asked for anew, which is no harm.
                let again = !self.questions.insert(*question);
                assert!(!again || question.asker == Asker::TestPoint, "{question:?} asked twice");
                return;
            }
            Output::ForgetList(question) => {
                assert!(self.questions.remove(question), "{question:?} was not asked");
                return;
            }
            Output::StoreList(saved) => {
                assert_eq!(Saved::decode(&saved.encode()).as_ref(), Some(saved));
                return;
            }
            Output::Store(..) | Output::SetGuardDeadline(_) => return,
            Output::Send(id, _)
            | Output::SendText { session: id, .. }
            | Output::Watch(id, _)
            | Output::Consume(id, _)
            | Output::SetDeadline(id, _)
            | Output::HandOff { session: id, .. }
            | Output::StartTls { session: id, .. }
            | Output::AbandonTls(id)
            | Output::TlsBegins(id)
            | Output::Close(id) => *id,
        };
        // The oldest connection without a header makes room for a new one.
        let makes_room = self.policy.upstream_proxy.is_some()
            && self.seats.get(id).is_some_and(|seat| seat.watch == Watch::Peek)
            && matches!(output, Output::Send(_, Reply::NoResources) | Output::Close(_));
        let its_own = about.is_none_or(|about| about == id);
        assert!(its_own || makes_room, "{output:?} is about another one");
        let seat = self.seats.get_mut(id);
        let seat = seat.unwrap_or_else(|| panic!("{output:?}, but that one has gone"));
        match output {
            Output::Send(_, reply) => {
                texts::reply(&self.policy, *reply, None);
                seat.sent(*reply);
            }
            Output::SendText { reply, text, .. } => {
                texts::reply(&self.policy, *reply, Some(text));
                seat.sent(*reply);
            }
            Output::Watch(_, watch) => seat.watch = *watch,
            Output::SetDeadline(_, at) => seat.deadline = Some(since_base(*at)),
            Output::HandOff { .. } => {
                assert_eq!(seat.watch, Watch::Nothing, "handed off while it is looked at");
                assert!(!seat.handing_off && !seat.secure && !seat.starting, "{seat:?}");
                seat.handing_off = true;
            }
            Output::StartTls { .. } => {
                assert_eq!(seat.watch, Watch::Nothing, "TLS begins while it is looked at");
                assert!(!seat.handing_off && !seat.secure && !seat.starting, "{seat:?}");
                (seat.starting, seat.asked) = (true, false);
            }
            Output::AbandonTls(_) => seat.starting = false,
            Output::TlsBegins(_) => {
                assert!(std::mem::take(&mut seat.starting), "TLS without tlsproxy");
                seat.secure = true;
            }
            Output::Close(_) => {
                self.seats.remove(id);
                self.gone = id;
            }
            _ => {}
        }
    }
}

impl Seat {
    fn sent(&mut self, reply: Reply) {
        assert!(!self.handing_off, "{reply:?} to whom smtpd may have");
        if reply == Reply::Greeting {
            assert!(!std::mem::replace(&mut self.greeted, true), "greeted twice");
        }
    }
}

fn since_base(at: Instant) -> Duration {
    at.checked_duration_since(base()).unwrap_or_default()
}
