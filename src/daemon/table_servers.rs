//! Connections to the servers of tables elsewhere.
//!
//! Each server has a queue and a few connections, each of which has one question at a time. A
//! question has a time limit from the moment it is asked, so that whoever waits for it hears
//! of it in any case.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry};
use nix::errno::Errno;

use super::inquiries::Asker;
use super::worker::Worker;
use crate::event::reactor::{Ready, Source};
use crate::event::stream::Stream;
use crate::event::timers::{Key, Timers};
use crate::postfix::local;
use crate::postfix::maillog;
use crate::postfix::message::Message;
use crate::postfix::remote::{self, Asked, Customs, Progress, Silence, Talk, Then};
use crate::postfix::table::{Dialect, RemoteAnswer, RemoteQuestion, RemoteTable, Server, TableId};
use crate::screen::event::{Input, Now};
use crate::screen::ration::Ration;
use crate::screen::session::SessionId;
use crate::screen::slots::Slots;
use crate::sys::{errno_of, errno_text};

/// How long a question may take. More than that would have been the end of postscreen(8), by
/// its watchdog.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How many connections a server gets at most.
pub(super) const MOST_CONNECTIONS: usize = 4;

/// How many questions may wait for a server.
const LONGEST_QUEUE: usize = 10_000;

/// How long a connection without a question is kept, and how long any is; Postfix's defaults
/// (main.cf: `ipc_idle`, `ipc_ttl`).
const IDLE_LIMIT: Duration = Duration::from_secs(5);
const AGE_LIMIT: Duration = Duration::from_secs(1000);

/// How long to wait when a listen queue is full.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// How often a question is asked when connections break.
const MOST_TRIES: usize = 2;

/// What has to be known of Postfix's own servers.
#[derive(Clone, Debug)]
pub struct TableServerSettings {
    /// The socket of proxymap(8), relative to the queue directory; also its name in the log.
    pub proxymap: PathBuf,
    /// What depends on its version.
    pub customs: Customs,
}

/// All servers.
#[derive(Debug)]
pub struct TableServers {
    registry: Registry,
    settings: TableServerSettings,
    numbers: HashMap<Server, usize>,
    servers: Vec<Peer>,
    connections: Slots<Connection>,
    timers: Timers<Timer>,
    answers: VecDeque<(RemoteQuestion, RemoteAnswer)>,
    /// How often the log hears of trouble with a table. By table, as a server may refuse one
    /// and answer for another.
    rations: HashMap<TableId, Ration>,
    /// proxymap(8) may be of another version than it was at the start.
    misunderstood: bool,
}

/// A server.
#[derive(Debug)]
struct Peer {
    server: Server,
    /// As warnings call it.
    name: String,
    queue: VecDeque<Job>,
    idle: Vec<SessionId>,
    /// How many connections there are, idle ones included.
    connections: usize,
    /// Which of its addresses is tried first.
    address: usize,
}

/// A question under way.
#[derive(Debug)]
struct Job {
    question: RemoteQuestion,
    /// The table as written.
    spec: String,
    dialect: Dialect,
    ends: Instant,
    tries: usize,
}

#[derive(Debug)]
struct Connection {
    server: usize,
    stream: Stream,
    talk: Talk,
    job: Option<Job>,
    unsent: Vec<u8>,
    began: Instant,
    /// Whether anything was answered over it: the server may have tired of it since.
    used: bool,
    interest: Interest,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Timer {
    /// The time of the question on a connection is over, or that of an idle connection.
    Connection(SessionId),
    /// The first question in a queue has waited long enough, or may be tried again.
    Queue(usize),
}

impl Key for Timer {
    fn index(self) -> usize {
        match self {
            Timer::Connection(id) => 2 * id.slot as usize,
            Timer::Queue(number) => 2 * number + 1,
        }
    }
}

impl TableServers {
    /// Knows no server yet.
    pub fn new(registry: Registry, settings: TableServerSettings) -> TableServers {
        TableServers {
            registry,
            settings,
            numbers: HashMap::new(),
            servers: Vec::new(),
            connections: Slots::default(),
            timers: Timers::default(),
            answers: VecDeque::new(),
            rations: HashMap::new(),
            misunderstood: false,
        }
    }

    /// When there is something to do at the latest.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Asks a server. `spec` is the table as written.
    pub fn ask(&mut self, question: RemoteQuestion, table: &RemoteTable, spec: &str, now: Instant) {
        let number = self.number(&table.server);
        let (spec, dialect) = (spec.to_owned(), table.dialect.clone());
        let job = Job { question, spec, dialect, ends: now + TIME_LIMIT, tries: 0 };
        let Some(peer) = self.servers.get_mut(number) else { return };
        if peer.queue.len() >= LONGEST_QUEUE {
            let reason = errno_text(Errno::EAGAIN);
            return self.fail(number, &job, Silence::Unreachable(reason), now);
        }
        peer.queue.push_back(job);
        self.work(number, now);
    }

    fn number(&mut self, server: &Server) -> usize {
        if let Some(number) = self.numbers.get(server) {
            return *number;
        }
        let name = match server {
            Server::Proxymap => self.settings.proxymap.display().to_string(),
            Server::Unix(path) => format!("unix:{}", path.display()),
            Server::Inet { name, .. } => name.clone(),
        };
        self.servers.push(Peer {
            server: server.clone(),
            name,
            queue: VecDeque::new(),
            idle: Vec::new(),
            connections: 0,
            address: 0,
        });
        self.numbers.insert(server.clone(), self.servers.len() - 1);
        self.servers.len() - 1
    }

    /// Gives questions to connections, as long as there are some of both.
    fn work(&mut self, number: usize, now: Instant) {
        loop {
            let Some(peer) = self.servers.get_mut(number) else { return };
            let Some(job) = peer.queue.pop_front() else { return };
            if let Some(id) = peer.idle.pop() {
                if self.is_quiet(id) {
                    self.give(id, job, now);
                } else {
                    self.close(id);
                    self.put_back(number, job);
                }
            } else if peer.connections < MOST_CONNECTIONS {
                match self.connect(number, &job.dialect, now) {
                    Ok(id) => self.give(id, job, now),
                    Err(Errno::EAGAIN) => {
                        self.timers.set(Timer::Queue(number), (now + BUSY_PAUSE).min(job.ends));
                        return self.put_back(number, job);
                    }
                    Err(errno) => {
                        self.fail(number, &job, Silence::Unreachable(errno_text(errno)), now);
                    }
                }
            } else {
                self.timers.set(Timer::Queue(number), job.ends);
                return self.put_back(number, job);
            }
        }
    }

    /// Whether nothing has come over a connection since its last answer. What was said before a
    /// question would be taken for the answer to it.
    fn is_quiet(&mut self, id: SessionId) -> bool {
        let Some(connection) = self.connections.get_mut(id) else { return false };
        if connection.talk.awaits_greeting() {
            return true;
        }
        let nothing = connection.stream.read(&mut [0]);
        !connection.talk.has_unread()
            && nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn put_back(&mut self, number: usize, job: Job) {
        if let Some(peer) = self.servers.get_mut(number) {
            peer.queue.push_front(job);
        }
    }

    fn connect(
        &mut self,
        number: usize,
        dialect: &Dialect,
        now: Instant,
    ) -> Result<SessionId, Errno> {
        let peer = self.servers.get_mut(number).ok_or(Errno::EINVAL)?;
        let stream = match &peer.server {
            Server::Proxymap => unix(&self.settings.proxymap)?,
            Server::Unix(path) => unix(path)?,
            Server::Inet { addresses, .. } => tcp(addresses, peer.address)?,
        };
        let talk = Talk::new(dialect, self.settings.customs, &peer.name);
        // A connection that is being made is ready for output when it is.
        let interest = Interest::READABLE | Interest::WRITABLE;
        let connection = Connection {
            server: number,
            stream,
            talk,
            job: None,
            unsent: Vec::new(),
            began: now,
            used: false,
            interest,
        };
        let id = self.connections.insert(connection).ok_or(Errno::EMFILE)?;
        let Some(connection) = self.connections.get_mut(id) else { return Err(Errno::EINVAL) };
        let token = Source::TableServer(id).token();
        if let Err(error) = self.registry.register(&mut connection.stream, token, interest) {
            self.connections.remove(id);
            return Err(errno_of(&error));
        }
        peer.connections += 1;
        Ok(id)
    }

    /// Asks over a connection.
    fn give(&mut self, id: SessionId, mut job: Job, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        job.tries += 1;
        self.timers.set(Timer::Connection(id), job.ends);
        let unsent = &mut connection.unsent;
        match connection.talk.ask(&job.dialect, &job.spec, &job.question.key, unsent) {
            Asked::Sent => {
                connection.job = Some(job);
                self.flush(id, now);
            }
            Asked::NotAtAll(warning) => {
                if let Some(warning) = warning {
                    self.warn(job.question.table, Message::warning(warning), now);
                }
                self.answers.push_back((job.question, RemoteAnswer::NotFound));
                self.rest(id, now);
            }
        }
    }

    /// A connection has no question any more.
    fn rest(&mut self, id: SessionId, now: Instant) {
        let Some(connection) = self.connections.get(id) else { return };
        let number = connection.server;
        if now.saturating_duration_since(connection.began) >= AGE_LIMIT {
            self.close(id);
        } else {
            self.timers.set(Timer::Connection(id), now + IDLE_LIMIT);
            if let Some(peer) = self.servers.get_mut(number) {
                peer.idle.push(id);
            }
        }
        self.work(number, now);
    }

    /// A connection is ready for something.
    pub fn ready(&mut self, id: SessionId, event: Ready, now: Instant) {
        if event.writable {
            self.flush(id, now);
        }
        if event.readable {
            self.read(id, now);
        }
    }

    fn flush(&mut self, id: SessionId, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        while !connection.unsent.is_empty() {
            match connection.stream.write(&connection.unsent) {
                Ok(count) => drop(connection.unsent.drain(..count)),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    // Not connected yet, or no room: the reactor tells when.
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => break,
                    _ => return self.broken(id, errno_of(&error), now),
                },
            }
        }
        let interest = if connection.unsent.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        if interest != connection.interest {
            connection.interest = interest;
            let token = Source::TableServer(id).token();
            let stream = &mut connection.stream;
            if let Err(error) = self.registry.reregister(stream, token, interest) {
                self.broken(id, errno_of(&error), now);
            }
        }
    }

    fn read(&mut self, id: SessionId, now: Instant) {
        let mut buffer = [0; 4096];
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return };
            match connection.stream.read(&mut buffer) {
                Ok(0) => return self.broken(id, Errno::ECONNRESET, now),
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    let spec = connection.job.as_ref().map_or("", |job| job.spec.as_str());
                    let unsent = &mut connection.unsent;
                    let progress = connection.talk.received(bytes, spec, unsent);
                    if connection.job.is_none() && connection.talk.has_unread() {
                        // It is nobody's answer, and must not become one.
                        return self.close(id);
                    }
                    if !self.progressed(id, progress, now) {
                        return;
                    }
                    self.flush(id, now);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return,
                    _ => return self.broken(id, errno_of(&error), now),
                },
            }
        }
    }

    /// Whether the connection is still good.
    fn progressed(&mut self, id: SessionId, progress: Progress, now: Instant) -> bool {
        let outcome = match progress {
            Progress::Waits => return true,
            Progress::Answered(answer) => Ok(answer),
            Progress::Failed { warning, then } => Err((warning, then)),
        };
        let Some(connection) = self.connections.get_mut(id) else { return false };
        connection.used = true;
        let (number, has_unread) = (connection.server, connection.talk.has_unread());
        // What nobody has asked for belongs to no question, and makes no difference to anybody.
        let Some(job) = connection.job.take() else {
            self.close(id);
            return false;
        };
        let (answer, goes_on) = match outcome {
            Ok(answer) => (answer, true),
            Err((warning, then)) => {
                if let Some(warning) = warning {
                    self.warn(job.question.table, Message::warning(warning), now);
                }
                self.misunderstood |= then == Then::Misunderstood;
                (RemoteAnswer::Failed, then == Then::NextQuestion)
            }
        };
        let is_good = goes_on && !has_unread;
        self.answers.push_back((job.question, answer));
        if is_good {
            self.rest(id, now);
        } else {
            self.close(id);
            self.work(number, now);
        }
        is_good
    }

    /// A connection has come to its end. Servers close connections that they have tired of:
    /// then the question is asked once more.
    fn broken(&mut self, id: SessionId, errno: Errno, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (number, used) = (connection.server, connection.used);
        let job = connection.job.take();
        self.close(id);
        let Some(peer) = self.servers.get_mut(number) else { return };
        let mut most_tries = MOST_TRIES;
        if let (Server::Inet { addresses, .. }, false) = (&peer.server, used) {
            // The next one may be better.
            peer.address = peer.address.wrapping_add(1);
            most_tries = most_tries.max(addresses.len());
        }
        match job {
            None => {}
            Some(job) if job.tries < most_tries => self.put_back(number, job),
            Some(job) => {
                let reason = errno_text(errno);
                let silence = match errno {
                    Errno::ECONNRESET | Errno::EPIPE | Errno::ETIMEDOUT => Silence::Broken(reason),
                    _ => Silence::Unreachable(reason),
                };
                self.fail(number, &job, silence, now);
            }
        }
        self.work(number, now);
    }

    /// Does what is due.
    pub fn expired(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Connection(id) => {
                    let Some(connection) = self.connections.get_mut(id) else { continue };
                    let (number, job) = (connection.server, connection.job.take());
                    self.close(id);
                    if let Some(job) = job {
                        let reason = errno_text(Errno::ETIMEDOUT);
                        self.fail(number, &job, Silence::Broken(reason), now);
                    }
                    self.work(number, now);
                }
                Timer::Queue(number) => {
                    self.drop_overdue(number, now);
                    self.work(number, now);
                }
            }
        }
    }

    fn drop_overdue(&mut self, number: usize, now: Instant) {
        while let Some(peer) = self.servers.get_mut(number)
            && peer.queue.front().is_some_and(|job| job.ends <= now)
            && let Some(job) = peer.queue.pop_front()
        {
            let reason = errno_text(Errno::ETIMEDOUT);
            self.fail(number, &job, Silence::Broken(reason), now);
        }
    }

    /// Nothing comes of a question.
    fn fail(&mut self, number: usize, job: &Job, silence: Silence<'_>, now: Instant) {
        let Some(peer) = self.servers.get(number) else { return };
        let message = remote::silence(&job.dialect, &peer.name, &job.spec, silence);
        self.warn(job.question.table, message, now);
        self.answers.push_back((job.question.clone(), RemoteAnswer::Failed));
    }

    /// Warns of trouble with a table, as long as the log has not had enough of it. What whoever
    /// asked says about the look-up is said each time.
    fn warn(&mut self, table: TableId, mut message: Message, now: Instant) {
        let ration = self.rations.entry(table).or_insert_with(|| Ration::new(now));
        let Some(unsaid) = ration.take(now) else { return };
        if unsaid > 0 {
            message.text = format!("{} ({unsaid} more troubles with this table)", message.text);
        }
        maillog::message(&message);
    }

    fn close(&mut self, id: SessionId) {
        let Some(mut connection) = self.connections.remove(id) else { return };
        self.timers.cancel(Timer::Connection(id));
        // Closing it, which follows, does the same if this fails.
        let _ = self.registry.deregister(&mut connection.stream);
        if let Some(peer) = self.servers.get_mut(connection.server) {
            peer.connections = peer.connections.saturating_sub(1);
            peer.idle.retain(|idle| *idle != id);
        }
    }

    fn next_answer(&mut self) -> Option<(RemoteQuestion, RemoteAnswer)> {
        self.answers.pop_front()
    }
}

fn unix(path: &Path) -> Result<Stream, Errno> {
    Ok(Stream::Unix(UnixStream::from_std(local::open(path)?.into())))
}

/// Begins to connect to the first address that allows it.
fn tcp(addresses: &[SocketAddr], first: usize) -> Result<Stream, Errno> {
    let mut last = Errno::EADDRNOTAVAIL;
    let skipped = first.checked_rem(addresses.len()).unwrap_or_default();
    for address in addresses.iter().cycle().skip(skipped).take(addresses.len()) {
        match TcpStream::connect(*address) {
            Ok(stream) => return Ok(Stream::Tcp(stream)),
            Err(error) => last = errno_of(&error),
        }
    }
    Err(last)
}

impl Worker {
    /// Asks what the core wanted to know of tables elsewhere, and lets it know what has been
    /// answered.
    pub(super) fn tables_elsewhere(&mut self, now: Now) {
        self.table_servers.expired(now.mono);
        self.send_questions(now);
        // What is answered at once, and what follows from that, is for the next turn.
        for _ in 0..self.table_servers.answers.len() {
            let Some((question, answer)) = self.table_servers.next_answer() else { break };
            for asker in self.sources.inquiries.answered(&question, &answer) {
                match asker {
                    Asker::Session(session) => self.feed(Input::Answered { session }, now),
                    Asker::ListNames => self.name_lists(),
                }
            }
        }
        self.send_questions(now);
        if std::mem::take(&mut self.table_servers.misunderstood) {
            self.misunderstood();
        }
    }

    fn send_questions(&mut self, now: Now) {
        while let Some(question) = self.sources.inquiries.next_question() {
            let tables = self.sources.tables.tables();
            let Some(table) = tables.remote(question.table) else { continue };
            let spec = tables.spec(question.table);
            self.table_servers.ask(question, table, spec, now.mono);
        }
    }

    /// Gives DNS blocklists their names.
    pub(super) fn name_lists(&mut self) {
        for message in self.sources.name_lists(&mut self.screener) {
            maillog::message(&message);
        }
    }

    /// Whether a table elsewhere has answered that nobody has been told of.
    pub(super) fn has_answers(&self) -> bool {
        !self.table_servers.answers.is_empty()
    }
}

#[cfg(test)]
#[path = "table_servers_tests.rs"]
mod tests;
