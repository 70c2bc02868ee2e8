//! The world around the core: clients, their sockets, timers, the cache, smtpd(8), and the
//! things that come too late.

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
use crate::laws::Laws;
use crate::outside::{Outside, Smtpd, Tlsproxy};
use crate::proxy;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::witness::Answers;

const START: u64 = 1_800_000_000;
const ENDS: [&str; 2] = ["192.0.2.1:25", "[2001:db8::25]:25"];

/// What comes one after the other takes this long at least: events of one moment come by lot.
const STEP: Duration = Duration::from_millis(1);

/// How many turns are kept for the report of a failure.
const TRACE: usize = 60;

/// The edge's side of a session.
struct Seat {
    client: SocketAddr,
    watch: Watch,
    timer: u64,
    unread: Vec<u8>,
    hung_up: bool,
    /// The hand-off has been asked for, and its result is not in.
    handing_off: bool,
    /// The attempt at TLS that is under way.
    attempt: Option<u64>,
    secure: bool,
}

/// One simulation.
pub struct World {
    rng: Rng,
    policy: Policy,
    screener: Screener,
    laws: Laws,
    outside: Outside,
    seats: Slots<Seat>,
    /// Sessions that have ended, the latest ones.
    gone: VecDeque<SessionId>,
    agenda: BinaryHeap<Reverse<Entry>>,
    /// When the simulation began, by the clock that never jumps.
    base: Instant,
    /// The time since then.
    time: Duration,
    wall: UnixTime,
    to_come: usize,
    /// Whether SIGTERM may end it before the last client has come.
    mortal: bool,
    addresses: usize,
    port: u16,
    /// The port of the last proxy's end.
    proxy: u16,
    /// The longest pause between two arrivals, milliseconds.
    pause: u64,
    smtpd: Smtpd,
    tlsproxy: Tlsproxy,
    attempts: u64,
    timers: u64,
    /// The questions that stand, with the number of the answer that is due.
    questions: HashMap<Question, u64>,
    /// The guard's timer.
    guard: u64,
    /// How lists feel, other than well.
    moods: HashMap<ListId, Mood>,
    trace: Option<VecDeque<String>>,
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
        if self.seats.is_empty() && none && !asks {
            Ok(self.laws.tally)
        } else {
            Err(self.report("somebody was forgotten"))
        }
    }

    fn report(&self, law: &str) -> String {
        let trace =
            self.trace.iter().flatten().fold(String::new(), |text, line| text + line + "\n");
        format!("{trace}at {:?}: {law}\nunder {:?}", self.time, self.policy)
    }

    fn plan(&mut self, after: Duration, event: Event) {
        let entry = Entry { at: self.time + after, lot: self.rng.next(), event };
        self.agenda.push(Reverse(entry));
    }

    fn advance(&mut self, at: Duration) {
        let seconds = at.as_secs() - self.time.as_secs();
        self.wall = self.wall.plus(Duration::from_secs(seconds));
        self.time = at;
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrival => self.arrival(),
            Event::Says(id, data) => {
                if let Some(seat) = self.seats.get_mut(id).filter(|seat| !seat.hung_up) {
                    seat.unread.extend(data);
                    self.plan(Duration::ZERO, Event::Readable(id));
                }
                Ok(())
            }
            Event::HangsUp(id, reset) => {
                if let Some(seat) = self.seats.get_mut(id) {
                    seat.hung_up = true;
                    if reset {
                        seat.unread.clear();
                    }
                    self.plan(Duration::ZERO, Event::Readable(id));
                }
                Ok(())
            }
            Event::Readable(id) => self.readable(id),
            Event::WriteFailed(id) => self.feed(Input::Closed { session: id }),
            Event::Timer(id, timer) => match self.seats.get(id) {
                Some(seat) if seat.timer != timer => Ok(()),
                _ => self.feed(Input::Deadline { session: id }),
            },
            Event::ListAnswers(question, number) => {
                if self.questions.get(&question) != Some(&number) {
                    return Ok(());
                }
                self.questions.remove(&question);
                let mood = self.moods.get(&question.list).copied().unwrap_or(Mood::Well);
                let answer = match question.asker {
                    Asker::TestPoint => {
                        let wanted = question.address.to_string().ends_with('2');
                        draw::point_answer(&mut self.rng, mood, wanted)
                    }
                    Asker::Client if mood == Mood::Well => draw::answer(&mut self.rng),
                    Asker::Client => draw::point_answer(&mut self.rng, mood, true),
                };
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
    fn busy(&self) -> bool {
        self.to_come > 0 || !self.seats.is_empty()
    }

    fn change(&mut self) {
        let well = self.rng.chance(40);
        self.tlsproxy = if well { Tlsproxy::Well } else { self.rng.pick(&Tlsproxy::ALL) };
        self.smtpd = if self.rng.chance(50) { Smtpd::Well } else { self.rng.pick(&Smtpd::ALL) };
        if self.mortal && self.rng.chance(1) {
            self.plan(Duration::ZERO, Event::Terminate);
        }
        self.pause = self.rng.pick(&[50, 200, 600, 2000]);
        self.outside.cache_fails = self.rng.chance(10);
        let list = ListId(self.rng.pick(&[0, 1, 2]));
        if self.rng.chance(30) {
            let mood = self.rng.pick(&[Mood::Mad, Mood::Refusing, Mood::Dead]);
            self.moods.insert(list, mood);
        } else {
            self.moods.remove(&list);
        }
        let end: SocketAddr = self.rng.pick(&ENDS).parse().unwrap();
        self.outside.closed_end = self.rng.chance(30).then(|| end.ip());
        self.outside.spoken =
            self.rng.pick(&[Spoken::Yes, Spoken::Yes, Spoken::No, Spoken::Unknown]);
        self.outside.trust = self.rng.pick(&[Trust::Anybody, Trust::Listed, Trust::Stranger]);
        let address = self.address();
        let access = self.rng.pick(&[Access::Permit, Access::Reject, Access::Undecided]);
        self.outside.access.insert(address, access);
        if self.rng.chance(10) {
            let jump = Duration::from_secs(self.rng.pick(&[1, 3600, 100_000, 3_000_000]));
            let back = self.rng.chance(50);
            self.wall = if back { self.wall.minus(jump) } else { self.wall.plus(jump) };
        }
        if self.busy() {
            let after = self.rng.span(500, 15_000);
            self.plan(after, Event::Change);
        }
    }

    fn address(&mut self) -> IpAddr {
        let number = self.rng.count(0, self.addresses - 1);
        draw::address(number)
    }

    fn arrival(&mut self) -> Result<(), String> {
        if self.to_come == 0 {
            return Ok(());
        }
        self.to_come -= 1;
        // Now and then all go away before the next one comes.
        let idle = self.rng.chance(1) && self.rng.chance(20);
        let after = self.rng.span(0, if idle { 900_000 } else { self.pause });
        self.plan(after, Event::Arrival);

        let client = SocketAddr::new(self.address(), self.port);
        self.port = self.port.checked_add(1).unwrap_or(1024);
        let seat = Seat {
            client,
            watch: Watch::Nothing,
            timer: 0,
            unread: Vec::new(),
            hung_up: false,
            handing_off: false,
            attempt: None,
            secure: false,
        };
        let id = self.seats.insert(seat).ok_or("no id left")?;
        if self.rng.chance(1) {
            let reason = "Transport endpoint is not connected";
            return self.feed(Input::Unidentified { session: id, call: "getpeername", reason });
        }
        let wait = u64::try_from(self.policy.greet_wait.normal.as_millis()).unwrap();
        if self.policy.upstream_proxy.is_none() && self.rng.chance(25) {
            let (after, words) = (self.rng.span(0, wait + 100), draw::words(&mut self.rng));
            self.plan(after, Event::Says(id, words));
        }
        if self.rng.chance(25) {
            let (after, reset) = (self.rng.span(0, wait + 3000), self.rng.chance(30));
            self.plan(after, Event::HangsUp(id, reset));
        }
        let server: SocketAddr = self.rng.pick(&ENDS).parse().unwrap();
        if self.policy.upstream_proxy.is_some() {
            return self.through_a_proxy(id, client, server);
        }
        self.feed(Input::Connected { session: id, client, server })
    }

    /// The same through a proxy, whose header comes in pieces, with or without words behind it.
    fn through_a_proxy(
        &mut self,
        id: SessionId,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<(), String> {
        let header = proxy::header(&mut self.rng, client, server);
        let mut bytes = header.bytes.clone();
        if self.rng.chance(10) {
            bytes.extend(draw::words(&mut self.rng));
        }
        let breaks_off = self.rng.chance(5);
        if breaks_off {
            bytes.truncate(self.rng.count(0, header.bytes.len() - 1));
        }
        self.laws.headers.insert(id, header);
        let mut after = Duration::ZERO;
        while !bytes.is_empty() {
            let rest = bytes.split_off(self.rng.count(1, bytes.len()));
            self.plan(after, Event::Says(id, bytes));
            let most = if self.rng.chance(5) { 8000 } else { 200 };
            after += self.rng.span(10, most);
            bytes = rest;
        }
        if !breaks_off && self.rng.chance(25) {
            let words = draw::words(&mut self.rng);
            after += self.rng.span(0, 5000);
            self.plan(after, Event::Says(id, words));
        }
        self.proxy = self.proxy.checked_add(1).unwrap_or(1024);
        let peer = SocketAddr::new([10, 0, 0, 9].into(), self.proxy);
        self.feed(Input::Connected { session: id, client: peer, server })
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

    /// An input that the core must shrug off.
    fn stray(&mut self) -> Result<(), String> {
        let result = self.rng.pick(&Smtpd::ALL).result();
        if self.rng.chance(20) {
            let (address, list) = (self.address(), ListId(self.rng.pick(&[0, 1, 70])));
            let question = Question { asker: Asker::Client, address, list };
            if self.questions.contains_key(&question) {
                return Ok(());
            }
            let answer = draw::answer(&mut self.rng);
            return self.feed(Input::ListAnswer { question, answer: &answer });
        }
        if self.rng.chance(50) {
            let count = self.gone.len();
            let id = match self.rng.count(0, count) {
                0 => SessionId { slot: u32::MAX, generation: 1 },
                nth => self.gone[nth - 1],
            };
            let news = self.stray_news();
            let input = match self.rng.between(0, 6) {
                0 => Input::Deadline { session: id },
                1 => Input::Closed { session: id },
                2 => Input::Peeked { session: id, data: b"HELO late\r\n" },
                3 => Input::Received { session: id, data: b"HELO late\r\n" },
                4 => Input::Tls { session: id, news },
                5 => Input::Answered { session: id },
                _ => Input::HandOff { session: id, result },
            };
            return self.feed(input);
        }
        let count = self.seats.len();
        if count == 0 {
            return Ok(());
        }
        let nth = self.rng.count(0, count - 1);
        let Some((id, seat)) = self.seats.iter().nth(nth) else { return Ok(()) };
        let (watch, handing_off) = (seat.watch, seat.handing_off);
        let starting = seat.attempt.is_some();
        let news = self.stray_news();
        match self.rng.between(0, 5) {
            5 => self.feed(Input::Answered { session: id }),
            0 if watch != Watch::Peek => self.feed(Input::Peeked { session: id, data: b"x" }),
            1 if watch != Watch::Read => self.feed(Input::Received { session: id, data: b"x" }),
            2 if handing_off => self.feed(Input::Closed { session: id }),
            3 if !handing_off => self.feed(Input::HandOff { session: id, result }),
            4 if !starting => self.feed(Input::Tls { session: id, news }),
            _ => Ok(()),
        }
    }

    fn stray_news(&mut self) -> TlsNews<'static> {
        let news: Vec<TlsNews<'_>> = Tlsproxy::ALL.iter().flat_map(|state| state.news()).collect();
        self.rng.pick(&news)
    }

    /// One turn: the input, the laws, the outputs.
    fn feed(&mut self, input: Input<'_>) -> Result<(), String> {
        let now = Now { mono: self.base + self.time, wall: self.wall };
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
            Output::Store(address, record) => {
                self.outside.cache.insert(address, record);
            }
            Output::HandOff { session, .. } => {
                let seat = self.seats.get_mut(session).ok_or("HandOff for nobody")?;
                if std::mem::replace(&mut seat.handing_off, true) {
                    return Err(format!("{} is handed off twice at once", seat.client));
                }
                let smtpd = self.smtpd;
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
