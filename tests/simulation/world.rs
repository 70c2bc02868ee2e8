//! The world around the core: clients, their sockets, timers, the cache, smtpd(8).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use gatepost::screen::dnsbl::answer::{Asker, ListId, Question};
use gatepost::screen::event::{
    Access, Input, Now, Output, PEEK_LIMIT, Spoken, TlsNews, Trust, Watch,
};
use gatepost::screen::policy::Policy;
use gatepost::screen::reply::Reply;
use gatepost::screen::screener::Screener;
use gatepost::screen::session::SessionId;
use gatepost::screen::slots::Slots;
use gatepost::screen::test_set::UnixTime;

use crate::agenda::{Entry, Event};
use crate::draw::{self, Mood};
use crate::faults;
use crate::laws::Laws;
use crate::outside::{Outside, Smtpd, Tlsproxy};
use crate::rng::Rng;
use crate::tally::{STEPS, Tally};
use crate::witness::Answers;

pub const START: u64 = 1_800_000_000;
pub const ENDS: [&str; 2] = ["192.0.2.1:25", "[2001:db8::25]:25"];

/// What comes one after the other takes this long at least: events of one moment come by lot.
const STEP: Duration = Duration::from_millis(1);

/// How many turns are kept for the report of a failure.
const TRACE: usize = 60;

/// The edge's side of a session.
pub struct Seat {
    pub client: SocketAddr,
    pub watch: Watch,
    pub timer: u64,
    pub unread: Vec<u8>,
    pub hung_up: bool,
    /// The hand-off has been asked for, and its result is not in.
    pub handing_off: bool,
    /// The attempt at TLS that is under way.
    pub attempt: Option<u64>,
    pub secure: bool,
    /// Nothing is heard of it any more, not even a FIN.
    pub vanished: bool,
}

impl Seat {
    pub fn new(client: SocketAddr) -> Seat {
        Seat {
            client,
            watch: Watch::Nothing,
            timer: 0,
            unread: Vec::new(),
            hung_up: false,
            handing_off: false,
            attempt: None,
            secure: false,
            vanished: false,
        }
    }
}

/// One simulation.
pub struct World {
    pub rng: Rng,
    pub policy: Policy,
    pub screener: Screener,
    pub laws: Laws,
    pub outside: Outside,
    pub seats: Slots<Seat>,
    /// Sessions that have ended, the latest ones.
    pub gone: VecDeque<SessionId>,
    pub agenda: BinaryHeap<Reverse<Entry>>,
    /// When the simulation began, by the clock that never jumps.
    pub base: Instant,
    /// The time since then.
    pub time: Duration,
    pub wall: UnixTime,
    pub to_come: usize,
    /// How many have come.
    pub come: usize,
    /// How many have gone, each in one way.
    pub gone_count: usize,
    /// Whether SIGTERM may end it before the last client has come.
    pub mortal: bool,
    pub addresses: usize,
    pub port: u16,
    /// The port of the last proxy's end.
    pub proxy: u16,
    /// The longest pause between two arrivals, milliseconds.
    pub pause: u64,
    pub smtpd: Smtpd,
    pub tlsproxy: Tlsproxy,
    pub attempts: u64,
    pub timers: u64,
    /// The questions that stand, with the number of the answer that is due.
    pub questions: HashMap<Question, u64>,
    /// The guard's timer.
    pub guard: u64,
    /// How lists feel, other than well.
    pub moods: HashMap<ListId, Mood>,
    /// Verdicts cannot be stored.
    pub disk_full: bool,
    pub trace: Option<VecDeque<String>>,
}

impl World {
    /// A world that is fully determined by `seed`, with so many clients to come.
    pub fn new(seed: u64, clients: usize, trace: bool) -> World {
        let mut rng = Rng::new(seed);
        let policy = draw::policy(&mut rng);
        let addresses = rng.count(10, 400);
        let mut outside = Outside {
            access: HashMap::new(),
            cache: HashMap::new(),
            cache_fails: false,
            lists_fail: false,
            footers_fail: false,
            closed_end: None,
            spoken: Spoken::Yes,
            trust: Trust::Anybody,
            answers: Answers::default(),
        };
        for number in 0..addresses {
            let address = draw::address(number);
            if rng.chance(20) {
                outside.access.insert(address, rng.pick(&[Access::Permit, Access::Reject]));
            }
            if rng.chance(30) {
                outside.cache.insert(address, draw::record(&mut rng, UnixTime(START)));
            }
        }
        World {
            screener: Screener::new(policy.clone()),
            laws: Laws::new(policy.clone()),
            policy,
            outside,
            seats: Slots::default(),
            gone: VecDeque::new(),
            agenda: BinaryHeap::new(),
            base: Instant::now(),
            time: Duration::ZERO,
            wall: UnixTime(START),
            to_come: clients,
            come: 0,
            gone_count: 0,
            mortal: rng.chance(30),
            addresses,
            port: 1024,
            proxy: 1024,
            pause: 100,
            smtpd: Smtpd::Well,
            tlsproxy: Tlsproxy::Well,
            attempts: 0,
            timers: 0,
            questions: HashMap::new(),
            guard: 0,
            moods: HashMap::new(),
            disk_full: false,
            trace: trace.then(VecDeque::new),
            rng,
        }
    }

    /// Lets everything happen. The error is a broken law, and what led to it.
    pub fn run(mut self) -> Result<Tally, String> {
        let most = self.to_come * 500 + 10_000;
        let now = Now { mono: self.base, wall: self.wall };
        let mut out = Vec::new();
        self.screener.watch_lists(&[], now, &mut out);
        out.into_iter().try_for_each(|output| self.apply(output))?;
        self.plan(Duration::ZERO, Event::Arrival);
        self.plan(Duration::ZERO, Event::Change);
        self.plan(Duration::ZERO, Event::Stray);
        for _ in 0..most {
            let Some(Reverse(entry)) = self.agenda.pop() else { return self.rest() };
            self.advance(entry.at);
            self.happen(entry.event).map_err(|law| self.report(&law))?;
        }
        Err(self.report("this never ends"))
    }

    fn rest(self) -> Result<Tally, String> {
        let asks = self.questions.keys().any(|question| question.asker == Asker::Client);
        let none = self.screener.sessions() == 0 && self.screener.approaching() == 0;
        if !self.seats.is_empty() || !none || asks {
            Err(self.report("somebody was forgotten"))
        } else if self.come != self.gone_count {
            Err(self.report(&format!("{} have come, {} gone", self.come, self.gone_count)))
        } else {
            Ok(self.laws.tally)
        }
    }

    fn report(&self, law: &str) -> String {
        let trace =
            self.trace.iter().flatten().fold(String::new(), |text, line| text + line + "\n");
        format!("{trace}at {:?}: {law}\nunder {:?}", self.time, self.policy)
    }

    pub fn plan(&mut self, after: Duration, event: Event) {
        let entry = Entry { at: self.time + after, lot: self.rng.next(), event };
        self.agenda.push(Reverse(entry));
    }

    /// What was due while the process was suspended comes late.
    fn advance(&mut self, at: Duration) {
        let at = at.max(self.time);
        let seconds = at.as_secs() - self.time.as_secs();
        self.wall = self.wall.plus(Duration::from_secs(seconds));
        self.time = at;
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrival => self.arrival(),
            Event::Says(id, data) => {
                let present = |seat: &&mut Seat| !seat.hung_up && !seat.vanished;
                if let Some(seat) = self.seats.get_mut(id).filter(present) {
                    seat.unread.extend(data);
                    self.plan(Duration::ZERO, Event::Readable(id));
                }
                Ok(())
            }
            Event::HangsUp(id, reset) => {
                if let Some(seat) = self.seats.get_mut(id).filter(|seat| !seat.vanished) {
                    seat.hung_up = true;
                    if reset {
                        seat.unread.clear();
                    }
                    self.laws.tally.add(if reset { faults::RESETS } else { faults::HANGS_UP });
                    self.plan(Duration::ZERO, Event::Readable(id));
                }
                Ok(())
            }
            Event::Vanishes(id) => {
                if let Some(seat) = self.seats.get_mut(id).filter(|seat| !seat.hung_up) {
                    seat.vanished = true;
                    self.laws.tally.add(faults::VANISHES);
                }
                Ok(())
            }
            Event::Readable(id) => self.readable(id),
            Event::WriteFailed(id) => {
                self.laws.tally.add(faults::WRITE_FAILS);
                self.feed(Input::Closed { session: id })
            }
            Event::Timer(id, timer) => match self.seats.get(id) {
                Some(seat) if seat.timer != timer => Ok(()),
                _ => self.feed(Input::Deadline { session: id }),
            },
            Event::ListAnswers(question, number) => {
                if self.questions.get(&question) != Some(&number) {
                    return Ok(());
                }
                self.questions.remove(&question);
                let answer = self.list_answer(question);
                self.feed(Input::ListAnswer { question, answer: &answer })
            }
            Event::Guard(number) if number != self.guard => Ok(()),
            Event::Guard(_) if !self.busy() => Ok(()),
            Event::Guard(_) => self.feed(Input::GuardDeadline),
            Event::Tls(id, attempt, news) => self.tells(id, attempt, news),
            Event::Answers(id, smtpd) => {
                if let Some(seat) = self.seats.get_mut(id) {
                    seat.handing_off = false;
                }
                // SIGTERM in the pause before the next attempt is a case of its own.
                if self.mortal && smtpd == Smtpd::Full && self.rng.chance(1) {
                    let after = self.rng.span(0, 40);
                    self.plan(after, Event::Terminate);
                }
                self.feed(Input::HandOff { session: id, result: smtpd.result() })
            }
            Event::Stray => {
                if self.busy() {
                    let after = self.rng.span(0, 1000);
                    self.plan(after, Event::Stray);
                }
                self.stray()
            }
            Event::Change => {
                self.change();
                Ok(())
            }
            Event::Terminate => {
                self.laws.tally.add(faults::SIGTERM);
                self.to_come = 0;
                if self.busy() && self.rng.chance(50) {
                    let after = self.rng.span(0, 2000);
                    self.plan(after, Event::Terminate);
                }
                self.feed(Input::Terminate)
            }
        }
    }

    /// There is something to tell of an attempt at TLS.
    fn tells(&mut self, id: SessionId, attempt: u64, news: TlsNews<'static>) -> Result<(), String> {
        // Of an attempt that is over, the edge has nothing to tell.
        let Some(seat) = self.seats.get_mut(id).filter(|seat| seat.attempt == Some(attempt)) else {
            return Ok(());
        };
        match news {
            TlsNews::Asked | TlsNews::Taken => {}
            TlsNews::Busy | TlsNews::Failed { .. } => seat.attempt = None,
        }
        self.feed(Input::Tls { session: id, news })?;
        let secure = self.seats.get(id).is_some_and(|seat| seat.secure);
        if secure || news != TlsNews::Taken {
            Ok(())
        } else {
            Err(format!("{id:?} is with nobody"))
        }
    }

    /// Whether there is anything left that others could get in the way of.
    pub fn busy(&self) -> bool {
        self.to_come > 0 || !self.seats.is_empty()
    }

    pub fn address(&mut self) -> IpAddr {
        let number = self.rng.count(0, self.addresses - 1);
        draw::address(number)
    }

    fn readable(&mut self, id: SessionId) -> Result<(), String> {
        let Some(seat) = self.seats.get_mut(id) else { return Ok(()) };
        match seat.watch {
            Watch::Nothing => Ok(()),
            _ if seat.unread.is_empty() && seat.hung_up => self.feed(Input::Closed { session: id }),
            _ if seat.unread.is_empty() => Ok(()),
            Watch::Peek => {
                let data = seat.unread[..seat.unread.len().min(PEEK_LIMIT)].to_vec();
                self.feed(Input::Peeked { session: id, data: &data })?;
                // Looked at again, the same bytes would be there, and not the end.
                match self.seats.get(id) {
                    Some(seat) if seat.watch == Watch::Peek && seat.hung_up => {
                        self.feed(Input::Closed { session: id })
                    }
                    _ => Ok(()),
                }
            }
            Watch::Read => {
                let most = seat.unread.len();
                let data: Vec<u8> = seat.unread.drain(..self.rng.count(1, most)).collect();
                self.plan(Duration::ZERO, Event::Readable(id));
                self.feed(Input::Received { session: id, data: &data })
            }
        }
    }

    /// One turn: the input, the laws, the outputs.
    pub fn feed(&mut self, input: Input<'_>) -> Result<(), String> {
        let now = Now { mono: self.base + self.time, wall: self.wall };
        self.laws.tally.add(STEPS);
        self.outside.answers = Answers::default();
        let mut out = Vec::new();
        self.screener.handle(input, now, &mut self.outside, &mut out);
        if let Some(trace) = &mut self.trace {
            if trace.len() == TRACE {
                trace.pop_front();
            }
            trace.push_back(format!("{:?} {input:?}\n    {out:?}", self.time));
        }
        self.screener.check_invariants()?;
        self.laws.check(&input, now, &self.outside.answers, &out)?;
        self.outside.faults(&mut self.laws.tally);
        self.ends(&input, &out)?;
        let told = (self.screener.sessions(), self.screener.hand_offs());
        if told != (self.laws.open(), self.laws.hand_offs()) {
            return Err(format!("{told:?} sessions and hand-offs are not what they are"));
        }
        out.into_iter().try_for_each(|output| self.apply(output))?;
        let waiting = (self.screener.approaching(), self.laws.approaching());
        if waiting.0 != waiting.1 {
            return Err(format!("{waiting:?} proxies are not what they are"));
        }
        if self.seats.len() == told.0 + waiting.0 {
            Ok(())
        } else {
            Err(format!("{} sockets for {} sessions", self.seats.len(), told.0 + waiting.0))
        }
    }

    fn apply(&mut self, output: Output) -> Result<(), String> {
        match output {
            Output::Log(_) => {}
            Output::Send(id, reply) | Output::SendText { session: id, reply, .. } => {
                self.sent(id, reply)?;
            }
            Output::Watch(id, watch) => {
                self.seats.get_mut(id).ok_or("Watch for nobody")?.watch = watch;
                self.plan(Duration::ZERO, Event::Readable(id));
            }
            Output::Consume(id, count) => {
                let seat = self.seats.get_mut(id).ok_or("Consume for nobody")?;
                if seat.unread.len() < count {
                    return Err(format!("{count} bytes of {:?}", seat.unread));
                }
                seat.unread.drain(..count);
            }
            Output::SetDeadline(id, deadline) => {
                self.timers += 1;
                let seat = self.seats.get_mut(id).ok_or("SetDeadline for nobody")?;
                seat.timer = self.timers;
                let timer = seat.timer;
                // The loop may be late, but never early.
                let late = if self.rng.chance(20) { self.rng.span(0, 200) } else { Duration::ZERO };
                let after = deadline.duration_since(self.base + self.time) + late;
                self.plan(after, Event::Timer(id, timer));
            }
            Output::AskList(question) => {
                self.timers += 1;
                let after = match self.rng.between(0, 9) {
                    0..=5 => self.rng.span(0, 100),
                    6..=8 => self.rng.span(0, 4000),
                    _ => self.rng.span(5000, 20_000),
                };
                if self.questions.insert(question, self.timers).is_some() {
                    return Err(format!("{question:?} is asked twice at once"));
                }
                self.plan(after, Event::ListAnswers(question, self.timers));
            }
            Output::SetGuardDeadline(at) => {
                self.guard += 1;
                let after = at.saturating_duration_since(self.base + self.time);
                self.plan(after, Event::Guard(self.guard));
            }
            Output::StoreList(_) => {}
            Output::ForgetList(question) => {
                self.questions.remove(&question).ok_or("forgets what was not asked")?;
            }
            Output::Store(..) if self.disk_full => self.laws.tally.add(faults::NOT_STORED),
            Output::Store(address, record) => {
                self.outside.cache.insert(address, record);
            }
            Output::HandOff { session, .. } => {
                let seat = self.seats.get_mut(session).ok_or("HandOff for nobody")?;
                if std::mem::replace(&mut seat.handing_off, true) {
                    return Err(format!("{} is handed off twice at once", seat.client));
                }
                let smtpd = self.smtpd;
                if let Some(fault) = faults::of_smtpd(smtpd) {
                    self.laws.tally.add(fault);
                }
                let after = match smtpd {
                    Smtpd::Slow => self.rng.span(1000, 99_000),
                    Smtpd::Mute => self.rng.span(90_000, 120_000),
                    _ => self.rng.span(0, 200),
                };
                // A result after the deadline is news about nobody.
                self.plan(after, Event::Answers(session, smtpd));
            }
            Output::StartTls { session, .. } => self.start_tls(session)?,
            Output::AbandonTls(id) => {
                self.seats.get_mut(id).ok_or("AbandonTls for nobody")?.attempt = None;
            }
            Output::TlsBegins(id) => self.tls_begins(id)?,
            Output::Close(id) => {
                self.seats.remove(id).ok_or("Close for nobody")?;
                self.gone_count += 1;
                if self.gone.len() == 64 {
                    self.gone.pop_front();
                }
                self.gone.push_back(id);
            }
        }
        Ok(())
    }

    /// tlsproxy(8) is asked to take a client.
    fn start_tls(&mut self, id: SessionId) -> Result<(), String> {
        self.attempts += 1;
        let attempt = self.attempts;
        let seat = self.seats.get_mut(id).ok_or("StartTls for nobody")?;
        if seat.secure || seat.attempt.replace(attempt).is_some() {
            return Err(format!("{} is given to tlsproxy twice", seat.client));
        }
        if let Some(fault) = faults::of_tlsproxy(self.tlsproxy) {
            self.laws.tally.add(fault);
        }
        let mut after = Duration::ZERO;
        for news in self.tlsproxy.news() {
            // Sometimes too late.
            let most = if self.rng.chance(5) { 12_000 } else { 500 };
            after += self.rng.span(0, most) + STEP;
            self.plan(after, Event::Tls(id, attempt, news));
        }
        Ok(())
    }

    /// tlsproxy(8) has a client. What is there in the clear is no handshake.
    fn tls_begins(&mut self, id: SessionId) -> Result<(), String> {
        let fails = self.rng.chance(20);
        let seat = self.seats.get_mut(id).ok_or("TlsBegins for nobody")?;
        if seat.attempt.take().is_none() {
            return Err(format!("{} gets into TLS without tlsproxy", seat.client));
        }
        seat.secure = true;
        if fails || seat.hung_up || !seat.unread.is_empty() {
            seat.hung_up = true;
            seat.unread.clear();
            let after = self.rng.span(0, 500);
            self.plan(after, Event::Readable(id));
        } else {
            let (after, words) = (self.rng.span(0, 500), draw::words(&mut self.rng));
            self.plan(after, Event::Says(id, words));
        }
        Ok(())
    }

    /// The client has got a reply, and does something about it.
    fn sent(&mut self, id: SessionId, reply: Reply) -> Result<(), String> {
        let seat = self.seats.get(id).ok_or("Send for nobody")?;
        if seat.hung_up {
            if self.rng.chance(50) {
                self.plan(Duration::ZERO, Event::WriteFailed(id));
            }
            return Ok(());
        }
        if self.rng.chance(5) {
            let (after, reset) = (self.rng.span(0, 1000), self.rng.chance(50));
            self.plan(after, Event::HangsUp(id, reset));
        }
        if reply == Reply::Greeting && self.rng.chance(80) {
            let mut words = draw::words(&mut self.rng);
            let mut after = self.rng.span(0, 2000);
            while !words.is_empty() {
                let most = words.len();
                let rest = words.split_off(self.rng.count(1, most));
                self.plan(after, Event::Says(id, words));
                after += self.rng.span(0, 1000);
                words = rest;
            }
        }
        Ok(())
    }
}
