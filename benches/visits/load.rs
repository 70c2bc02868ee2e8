//! The clients: one thread that makes visits and takes their times.
//!
//! Closed loop: as many at once as wanted. Open loop: so many each second, whatever becomes of
//! them; their times count from when they should have begun, so that a server is not spared
//! the wait of those whom it held up, nor this program its own delays.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use gatepost::screen::session::SessionId;
use gatepost::screen::slots::Slots;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeSpec, TimeValLike};

use super::clients::{Client, reset};
use super::options::{Load, Pace};
use super::tally::Tally;
use super::visit::{Dawdling, End, Kind, Result as VisitResult, Visit, much};
use super::{Outcome, id_of, raise_descriptor_limit, token};

/// A visit that is not over by then, and by the greet wait, has timed out.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// How many visits are begun before answers to others are looked at.
const BATCH: usize = 32;

/// How long before the end of the wait early talkers speak: from so much to one step, in steps.
const EARLIEST: u32 = 20;
const STEP: Duration = Duration::from_millis(1);

/// How often those who dawdle do something.
const SLOWNESS: Duration = Duration::from_secs(1);

/// epoll_wait(2) counts in milliseconds. What is due sooner than this is waited for precisely.
const NEAR: Duration = Duration::from_millis(20);

/// Descriptors that are not visits.
const SPARE: usize = 16;

const STANDARD_INPUT: Token = Token(usize::MAX);

/// A visit under way.
struct Open {
    stream: TcpStream,
    visit: Visit,
    /// When it began, or should have.
    began: Instant,
    connected: Instant,
    /// It has spoken when the wait may have been over.
    late: bool,
}

/// What holds the clients that stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stay {
    /// Not all are in.
    Gathering,
    /// Until then, or a line from standard input.
    Held(Option<Instant>),
    /// They may go.
    Over,
}

struct Generator<'a> {
    options: &'a Load,
    poll: Poll,
    open: Slots<Open>,
    /// When visits are out of time, in order; those that are over may be among them.
    limits: VecDeque<(Instant, SessionId)>,
    /// When early talkers speak, and those who dawdle go on.
    speeches: BinaryHeap<Reverse<(Instant, SessionId)>>,
    tally: Tally,
    start: Instant,
    /// Clients that stay.
    held: usize,
    stay: Stay,
    /// Most visits at once that there are descriptors for.
    room: usize,
    buffer: Box<[u8; 4096]>,
    /// What slow readers say.
    much: Vec<u8>,
}

/// Makes all visits, and prints what they have come to.
pub fn run(options: &Load) -> Outcome<()> {
    // Else the kernel may wake us 50 µs late.
    nix::sys::prctl::set_timerslack(1)?;
    let room = raise_descriptor_limit()?.saturating_sub(SPARE);
    let mut generator = Generator {
        options,
        poll: Poll::new()?,
        open: Slots::default(),
        limits: VecDeque::new(),
        speeches: BinaryHeap::new(),
        tally: Tally::default(),
        start: Instant::now(),
        held: 0,
        stay: if options.kind == Kind::Hold { Stay::Gathering } else { Stay::Over },
        room,
        buffer: Box::new([0; 4096]),
        much: much(),
    };
    generator.all_visits()?;
    let seconds = generator.start.elapsed();
    println!("{}", generator.tally.json(options.kind.name(), seconds, own_cpu()?));
    Ok(())
}

impl Generator<'_> {
    fn all_visits(&mut self) -> Outcome<()> {
        let mut events = Events::with_capacity(512);
        loop {
            let more = self.begin_some()?;
            if self.all_are_in(more) {
                self.settle()?;
            }
            if !more && self.open.is_empty() && !matches!(self.stay, Stay::Held(_)) {
                return Ok(());
            }
            let next = self.next_deadline(more);
            self.wait(next, &mut events)?;
            for event in &events {
                if event.token() == STANDARD_INPUT {
                    self.read_standard_input()?;
                } else {
                    let ended = event.is_read_closed() || event.is_error();
                    self.read(id_of(event.token()), ended);
                }
            }
            self.speak();
            self.enforce_limits();
        }
    }

    /// Begins the visits that are due. `false`: there are no more.
    fn begin_some(&mut self) -> Outcome<bool> {
        for _ in 0..BATCH {
            if self.is_last() {
                return Ok(false);
            }
            let now = Instant::now();
            let due = match self.options.pace {
                Pace::PerSecond(_) => self.due(),
                Pace::InFlight(most) if self.open.len() - self.held < most => now,
                Pace::InFlight(_) => break,
            };
            if due > now || self.open.len() >= self.room {
                break;
            }
            self.begin(due)?;
        }
        Ok(!self.is_last())
    }

    fn is_last(&self) -> bool {
        self.tally.begun >= self.options.count
            || self.options.seconds.is_some_and(|seconds| self.start.elapsed() >= seconds)
    }

    /// When the next visit of an open loop is to begin.
    fn due(&self) -> Instant {
        match self.options.pace {
            Pace::PerSecond(rate) => {
                self.start + Duration::from_secs_f64(self.tally.begun as f64 / rate)
            }
            Pace::InFlight(_) => self.start,
        }
    }

    fn begin(&mut self, began: Instant) -> Outcome<()> {
        let number = self.tally.begun;
        self.tally.begun += 1;
        let source = self.options.sources.address(number);
        let client = Client::new(source).map_err(|errno| format!("socket at {source}: {errno}"))?;
        if self.options.kind == Kind::Slow {
            client.have_little_room()?;
        }
        let connected = Instant::now();
        // That of a closed loop is now, not before the socket was made.
        let began = if matches!(self.options.pace, Pace::InFlight(_)) { connected } else { began };
        let stream = match client.connect(self.options.server) {
            Ok(stream) => stream,
            Err(Errno::ECONNREFUSED) => {
                self.tally.add(VisitResult::Lost(End::Refused));
                return Ok(());
            }
            Err(errno) => return Err(format!("connect from {source}: {errno}").into()),
        };
        let mut visit = Visit::new(self.options.kind, number);
        if visit.resets() {
            reset(stream);
            self.tally.add(visit.end(End::Left));
            return Ok(());
        }
        let id = self.open.insert(Open { stream, visit, began, connected, late: false });
        let id = id.ok_or("too many visits")?;
        if let Some(open) = self.open.get_mut(id) {
            self.poll.registry().register(&mut open.stream, token(id), Interest::READABLE)?;
        }
        self.limits.push_back((connected + TIME_LIMIT + self.options.greet_wait, id));
        if self.options.kind == Kind::Early {
            let steps = EARLIEST - u32::try_from(number % u64::from(EARLIEST))?;
            let at = connected + self.options.greet_wait.saturating_sub(STEP * steps);
            self.speeches.push(Reverse((at, id)));
        }
        Ok(())
    }

    fn next_deadline(&mut self, more: bool) -> Option<Instant> {
        while let Some((_, id)) = self.limits.front()
            && self.open.get(*id).is_none()
        {
            self.limits.pop_front();
        }
        let limit = match self.stay {
            Stay::Held(until) => until,
            Stay::Gathering | Stay::Over => self.limits.front().map(|(at, _)| *at),
        };
        let speech = self.speeches.peek().map(|Reverse((at, _))| *at);
        let due = match self.options.pace {
            _ if !more || self.open.len() >= self.room => None,
            Pace::PerSecond(_) => Some(self.due()),
            Pace::InFlight(most) => (self.open.len() - self.held < most).then_some(self.start),
        };
        [limit, speech, due].into_iter().flatten().min()
    }

    fn wait(&mut self, until: Option<Instant>, events: &mut Events) -> Outcome<()> {
        let mut patience = until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(left) = patience
            && (Duration::from_nanos(1)..NEAR).contains(&left)
        {
            let mut wanted = [PollFd::new(self.poll.registry().as_fd(), PollFlags::POLLIN)];
            match ppoll(&mut wanted, Some(TimeSpec::from(left)), None) {
                Ok(0) | Err(Errno::EINTR) => {
                    events.clear();
                    return Ok(());
                }
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
            patience = Some(Duration::ZERO);
        }
        match self.poll.poll(events, patience) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes what a server has said. `ended`: and the end of it is there, too.
    fn read(&mut self, id: SessionId, ended: bool) {
        loop {
            let Some(open) = self.open.get_mut(id) else { return };
            if open.visit.dawdles() == Some(Dawdling::Reads) {
                // It would take it hours to find out.
                if ended {
                    self.end(id, End::Left);
                }
                return;
            }
            match open.stream.read(self.buffer.as_mut_slice()) {
                Ok(0) => return self.end(id, End::Closed),
                Ok(length) => {
                    let now = Instant::now();
                    let stayed = open.visit.stays();
                    let heard = open.visit.hear(self.buffer.get(..length).unwrap_or_default());
                    self.held += usize::from(open.visit.stays());
                    self.held -= usize::from(stayed);
                    if heard.first {
                        self.tally.first_byte.add(now.saturating_duration_since(open.began));
                    }
                    if heard.banner {
                        self.tally.banner.add(now.saturating_duration_since(open.began));
                    }
                    if open.visit.resets() {
                        return self.leave(id);
                    }
                    if heard.banner && open.visit.dawdles().is_some() {
                        self.speeches.push(Reverse((now, id)));
                    }
                    if let Some(command) = heard.say {
                        // What goes wrong is seen by the next read.
                        let _ = open.stream.write(command);
                    }
                    // Less than there was room for is all, so far.
                    if length < self.buffer.len() && !ended {
                        return;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionRefused => return self.end(id, End::Refused),
                    ErrorKind::TimedOut => return self.end(id, End::Timeout),
                    _ => return self.end(id, End::Reset),
                },
            }
        }
    }

    /// Without a word.
    fn leave(&mut self, id: SessionId) {
        let Some(open) = self.open.remove(id) else { return };
        reset(open.stream);
        self.tally.add(open.visit.end(End::Left));
    }

    fn end(&mut self, id: SessionId, end: End) {
        let Some(open) = self.open.remove(id) else { return };
        self.held -= usize::from(open.visit.stays());
        if open.late {
            self.tally.late += 1;
            return;
        }
        let result = open.visit.end(end);
        self.tally.add(result);
        if matches!(result, VisitResult::Finished(_)) {
            self.tally.visit.add(open.began.elapsed());
        }
    }

    /// Lets early talkers speak, and those who dawdle go on, whose time has come.
    fn speak(&mut self) {
        while let Some(Reverse((at, id))) = self.speeches.peek().copied()
            && at <= Instant::now()
        {
            self.speeches.pop();
            let Some(open) = self.open.get_mut(id) else { continue };
            if let Some(dawdling) = open.visit.dawdles() {
                // What goes wrong is seen by the next read.
                match dawdling {
                    Dawdling::Writes => drop(open.stream.write(open.visit.drip())),
                    Dawdling::Reads => {
                        drop(open.stream.read(&mut [0]));
                        drop(open.stream.write(&self.much));
                    }
                }
                self.speeches.push(Reverse((at + SLOWNESS, id)));
                continue;
            }
            if self.options.kind != Kind::Early {
                // It was told to go meanwhile.
                continue;
            }
            let Some(command) = open.visit.speak() else {
                // The banner was faster.
                open.late = true;
                continue;
            };
            let _ = open.stream.write(command);
            open.late = open.connected.elapsed() >= self.options.greet_wait;
        }
    }

    fn enforce_limits(&mut self) {
        if let Stay::Held(until) = self.stay {
            if until.is_some_and(|until| until <= Instant::now()) {
                self.release();
            }
            return;
        }
        while let Some((at, id)) = self.limits.front().copied()
            && at <= Instant::now()
        {
            self.limits.pop_front();
            // Who stays is not out of time.
            if !self.open.get(id).is_some_and(|open| open.visit.stays()) {
                self.end(id, End::Timeout);
            }
        }
    }

    /// Whether all clients that can stay do.
    fn all_are_in(&self, more: bool) -> bool {
        self.stay == Stay::Gathering && !more && self.open.len() == self.held
    }

    fn settle(&mut self) -> Outcome<()> {
        println!("{{\"holding\": {}}}", self.held);
        std::io::stdout().flush()?;
        self.stay = Stay::Held(self.options.hold.map(|hold| Instant::now() + hold));
        let input = std::io::stdin().as_raw_fd();
        let registry = self.poll.registry();
        match registry.register(&mut SourceFd(&input), STANDARD_INPUT, Interest::READABLE) {
            // Nobody can write to a file or to /dev/null.
            Err(_) if self.options.hold.is_none() => self.release(),
            _ => {}
        }
        Ok(())
    }

    fn read_standard_input(&mut self) -> Outcome<()> {
        let length = std::io::stdin().read(self.buffer.as_mut_slice())?;
        // The end is as good as a line, where nothing else can end the stay.
        if length > 0 || self.options.hold.is_none() {
            self.release();
        }
        Ok(())
    }

    fn release(&mut self) {
        self.stay = Stay::Over;
        let ids: Vec<SessionId> = self.open.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.end(id, End::Released);
        }
    }
}

/// The processor time of this process so far.
fn own_cpu() -> Outcome<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let all = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(all)?))
}
