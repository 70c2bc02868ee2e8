//! The loop: one thread, one turn after another.
//!
//! A turn takes the time once, then handles what is ready, what earlier effects have come to,
//! the deadlines that have come, and the sockets that may still have input, in this order.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use mio::Interest;
use mio::net::UnixListener;
use mio::unix::SourceFd;
use nix::errno::Errno;
use nix::sys::signalfd::SignalFd;

use super::accept::{Accepting, Company, Listener};
use super::clients::read_size;
use super::descriptors::Room;
use super::hand_offs::HandOffs;
use super::lists::ListLookups;
use super::lookups::Sources;
use super::rush::Rush;
use super::starttls::{Asking, Tlsproxy};
use super::table_servers::TableServers;
use crate::cache::clock::Moment;
use crate::cache::watchdog::Heartbeat;
use crate::control::{Channel, FromWorker};
use crate::event::conn::Conn;
use crate::event::reactor::{MOST_EVENTS, Reactor, Ready, Source};
use crate::event::timers::{Key, Timers};
use crate::postfix::maillog;
use crate::postfix::pass::PassError;
use crate::postfix::table::Index;
use crate::screen::dnsbl::guard::saved::Saved;
use crate::screen::event::{Input, Now, Output};
use crate::screen::screener::Screener;
use crate::screen::session::SessionId;
use crate::screen::slots::{ById, Slots};
use crate::sys;

/// How much later than it should a deadline may come while there is more to be seen than one
/// turn can hold.
const GRACE: Duration = Duration::from_millis(20);

/// All that a worker owns.
#[derive(Debug)]
pub struct Worker {
    pub(super) reactor: Reactor,
    /// Empty when this worker takes no new clients.
    pub(super) listeners: Vec<Listener>,
    pub(super) conns: Slots<Conn>,
    /// The channels to tlsproxy(8) of clients that it has not taken yet.
    pub(super) asking: ById<Asking>,
    pub(super) timers: Timers<Timer>,
    pub(super) screener: Screener,
    pub(super) sources: Sources,
    /// The way to tables elsewhere.
    pub(super) table_servers: TableServers,
    /// `None` if there are no DNS blocklists.
    pub(super) lists: Option<ListLookups>,
    /// What effects have come to; handled in the next turn.
    pub(super) results: VecDeque<Outcome>,
    /// Sessions whose sockets may have more input than was taken.
    pub(super) readable: VecDeque<SessionId>,
    /// Listeners that may have more connections than were taken.
    pub(super) acceptable: VecDeque<u32>,
    pub(super) hand_offs: HandOffs,
    /// When to try again to send what the log service had no room for.
    pub(super) log_waits: Option<Instant>,
    /// How many sockets wait for their end; see [`Conn::say_farewell`].
    pub(super) lingering: usize,
    pub(super) accepting: Accepting,
    pub(super) room: Room,
    rush: Rush,
    /// Reused from turn to turn.
    pub(super) outputs: Vec<Output>,
    pub(super) text: String,
    pub(super) bytes: Vec<u8>,
    /// Room for what one client has sent.
    pub(super) input: Vec<u8>,
    pub(super) settings: WorkerSettings,
    /// `None` when the supervisor has gone.
    pub(super) supervisor: Option<Channel>,
    pub(super) signals: SignalFd,
    /// Where somebody may ask what was counted. `None` if the socket could not be made.
    pub(super) status: Option<UnixListener>,
    heartbeat: Arc<Heartbeat>,
    pub(super) stage: Stage,
    pub(super) idleness: Idleness,
}

/// What the loop needs to know of main.cf.
#[derive(Debug)]
pub struct WorkerSettings {
    /// The service that takes over clients, relative to the queue directory.
    pub pass_service: PathBuf,
    /// The service that does TLS, and how it is asked.
    pub tlsproxy: Tlsproxy,
    /// Who else takes in connections.
    pub company: Company,
    /// main.cf: `max_idle`.
    pub max_idle: Duration,
    /// Whether IPv4-mapped IPv6 addresses are IPv4 ones (main.cf: `inet_protocols`).
    pub ipv4: bool,
    /// The files whose changes the supervisor reports, by number.
    pub watched: Vec<Watched>,
}

/// A file whose changes the supervisor reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watched {
    /// Tables and lists come from it.
    Table(PathBuf),
    /// A table is a snapshot of this database, and snapshots are what is reported.
    Index(Index),
    /// It may say which name servers to ask; its number in [`super::NameServers`].
    NameServers(usize, PathBuf),
}

/// As the log calls it.
impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Watched::Table(path) | Watched::NameServers(_, path) => {
                write!(f, "file {}", path.display())
            }
            Watched::Index(index) => write!(f, "table {index}"),
        }
    }
}

/// What a deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// The core's, for a session.
    Session(SessionId),
    /// A socket has waited long enough for its end. It has no session any more, so this takes
    /// the place of the session's deadline.
    Linger(SessionId),
    /// The guard of the DNS blocklists has something to do.
    Guard,
    /// Try to accept again.
    Accept,
    /// No client for `max_idle`.
    Idle,
    /// The end after SIGTERM.
    LastCall,
}

impl Key for Timer {
    fn index(self) -> usize {
        match self {
            Timer::Guard => 0,
            Timer::Accept => 1,
            Timer::Idle => 2,
            Timer::LastCall => 3,
            Timer::Session(id) | Timer::Linger(id) => 4 + id.slot as usize,
        }
    }
}

/// What an effect has come to.
#[derive(Debug)]
pub enum Outcome {
    /// A write failed.
    Closed(SessionId),
    /// A client could not be passed on.
    NotPassed(SessionId, PassError),
    /// A client was passed on, and there is no way to hear when it is taken.
    Passed(SessionId),
    /// tlsproxy(8) cannot be reached.
    NoTlsproxy(SessionId, Errno),
}

/// Where the worker is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Taking clients.
    Serving,
    /// Finishing the clients it has.
    Draining,
    /// Ending at once.
    Terminating,
}

/// Whether there are clients, and whether the supervisor knows that there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idleness {
    /// There are, or were a moment ago.
    Busy,
    /// There are none; a timer runs.
    Quiet,
    /// There have been none for so long that the supervisor was told.
    Reported,
}

/// The parts that the start-up makes for a worker.
pub struct Parts {
    /// The poll, with nothing registered but the storage thread's waker.
    pub reactor: Reactor,
    /// The way to smtpd(8).
    pub(super) hand_offs: HandOffs,
    /// The listening sockets.
    pub listeners: Vec<Listener>,
    /// The core.
    pub screener: Screener,
    /// Tables and cache.
    pub sources: Sources,
    /// The way to tables elsewhere.
    pub table_servers: TableServers,
    /// The way to DNS blocklists.
    pub lists: Option<ListLookups>,
    /// How many descriptors clients may have.
    pub(super) room: Room,
    /// What earlier processes have stored of DNS blocklists.
    pub saved_lists: Vec<Saved>,
    /// The rest of main.cf.
    pub settings: WorkerSettings,
    /// The way to the supervisor.
    pub supervisor: Channel,
    /// Delivers SIGTERM.
    pub signals: SignalFd,
    /// Where somebody may ask what was counted.
    pub status: Option<UnixListener>,
    /// Tells the watchdog that the loop turns.
    pub heartbeat: Arc<Heartbeat>,
}

impl Worker {
    /// Puts a worker together and registers what it listens to.
    pub fn new(mut parts: Parts) -> io::Result<Worker> {
        let reactor = parts.reactor;
        let control = parts.supervisor.as_fd().as_raw_fd();
        reactor.register(&mut SourceFd(&control), Source::Supervisor, Interest::READABLE)?;
        let signals = parts.signals.as_raw_fd();
        reactor.register(&mut SourceFd(&signals), Source::Signal, Interest::READABLE)?;
        for (number, listener) in (0..).zip(&mut parts.listeners) {
            let source = Source::Listener(number);
            match parts.settings.company {
                Company::Alone => {
                    reactor.register(&mut listener.socket, source, Interest::READABLE)?;
                }
                Company::Siblings => reactor.register_shared(&listener.socket, source)?,
            }
        }
        if let Some(listener) = &mut parts.status {
            reactor.register(listener, Source::Status, Interest::READABLE)?;
        }
        let input = vec![0; read_size(parts.screener.policy().line_length_limit)];
        let mut worker = Worker {
            reactor,
            listeners: parts.listeners,
            conns: Slots::default(),
            asking: ById::default(),
            timers: Timers::default(),
            screener: parts.screener,
            sources: parts.sources,
            table_servers: parts.table_servers,
            lists: parts.lists,
            results: VecDeque::new(),
            readable: VecDeque::new(),
            acceptable: VecDeque::new(),
            hand_offs: parts.hand_offs,
            log_waits: None,
            lingering: 0,
            accepting: Accepting::default(),
            room: parts.room,
            rush: Rush::default(),
            outputs: Vec::new(),
            text: String::new(),
            bytes: Vec::new(),
            input,
            settings: parts.settings,
            supervisor: Some(parts.supervisor),
            signals: parts.signals,
            status: parts.status,
            heartbeat: parts.heartbeat,
            stage: Stage::Serving,
            idleness: Idleness::Busy,
        };
        let now = worker.now();
        worker.watch_idleness(now);
        // Those that tables elsewhere know; the others have theirs already.
        worker.name_lists();
        if worker.lists.is_some() {
            worker.watch_lists(&parts.saved_lists, now);
        }
        Ok(worker)
    }

    /// Serves until there is nothing left to serve, and commits what is to be remembered.
    pub fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while !self.is_done() {
            let busy = !self.results.is_empty()
                || !self.readable.is_empty()
                || !self.acceptable.is_empty()
                || self.has_answers();
            let looked = Instant::now();
            let deadline = if busy { Some(looked) } else { self.next_deadline() };
            self.reactor.wait(deadline, &mut ready)?;
            self.heartbeat.turn_begins();
            self.sources.cache.begin_turn();
            self.turn(&ready, looked);
            self.sources.cache.end_turn();
            self.heartbeat.turn_ends();
        }
        maillog::finish();
        self.sources.cache.flush_and_close();
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.stage != Stage::Serving && self.conns.is_empty()
    }

    fn next_deadline(&mut self) -> Option<Instant> {
        let lists = self.lists.as_mut().and_then(ListLookups::next_deadline);
        let tables = self.table_servers.next_deadline();
        let hand_offs = self.hand_offs.next_deadline();
        self.timers
            .next_deadline()
            .into_iter()
            .chain(lists)
            .chain(tables)
            .chain(hand_offs)
            .chain(self.log_waits)
            .min()
    }

    /// `looked` is when what is ready was asked for.
    fn turn(&mut self, ready: &[Ready], looked: Instant) {
        let now = self.now();
        // A client must not be let in at the end of its wait while what it has said before that
        // waits to be seen. So a deadline has come if it had before the look at the sockets; if
        // not all was seen then, it may have to come once more, but not for long.
        let seen_until =
            if ready.len() < MOST_EVENTS { Some(looked) } else { looked.checked_sub(GRACE) };
        // What was left over from earlier turns; what this turn adds waits for the next one.
        let (results, readable) = (self.results.len(), self.readable.len());
        let acceptable = self.acceptable.len();
        self.look_after_hand_offs(now);
        for event in ready {
            self.ready(*event, now);
        }
        for _ in 0..results {
            if let Some(outcome) = self.results.pop_front() {
                self.outcome(outcome, now);
            }
        }
        self.list_answers(now);
        while let Some(timer) = seen_until.and_then(|until| self.timers.pop_expired(until)) {
            self.expired(timer, now);
        }
        for _ in 0..readable {
            if let Some(id) = self.readable.pop_front() {
                self.input_from(id, now);
            }
        }
        for _ in 0..acceptable {
            if let Some(number) = self.acceptable.pop_front() {
                self.accept(number, now);
            }
        }
        self.tables_elsewhere(now);
        self.hand_off_clients();
        self.go_on_accepting();
        if self.rush.is_over(self.conns.len()) {
            self.conns.shrink();
            self.screener.shrink();
            sys::give_back_memory();
        }
        self.watch_idleness(now);
    }

    /// The time of a turn.
    pub(super) fn now(&self) -> Now {
        let Moment { mono, wall } = self.sources.cache.now();
        Now { mono, wall }
    }

    fn ready(&mut self, event: Ready, now: Now) {
        match event.source {
            Source::Listener(number) => self.accept(number, now),
            Source::Supervisor => self.orders(now),
            Source::Signal => self.signalled(now),
            Source::Storage => self.storage_events(),
            Source::Status => self.status_wanted(),
            Source::Client(id) => self.client_ready(id, event, now),
            Source::Dns { slot, generation } => {
                if let Some(lists) = &mut self.lists {
                    lists.ready(slot, generation, now);
                }
            }
            Source::TlsChannel(id) => self.tlsproxy_says(id, now),
            Source::TableServer(id) => self.table_servers.ready(id, event, now.mono),
            // Looked at in every turn. Their channels have an epoll of their own.
            Source::HandOffs | Source::PassChannel(_) => {}
        }
    }

    fn expired(&mut self, timer: Timer, now: Now) {
        match timer {
            Timer::Session(id) => self.feed(Input::Deadline { session: id }, now),
            Timer::Linger(id) => self.drop_conn(id),
            Timer::Guard => self.feed(Input::GuardDeadline, now),
            Timer::Accept => self.acceptable.extend((0..).take(self.listeners.len())),
            Timer::Idle => {
                self.idleness = Idleness::Reported;
                self.tell(FromWorker::Idle);
            }
            Timer::LastCall => {
                let left: Vec<SessionId> = self.conns.iter().map(|(id, _)| id).collect();
                for id in left {
                    self.drop_conn(id);
                }
            }
        }
    }
}
