//! The least that a screening daemon can be under the real master(8): it accepts, asks the name
//! server, waits, logs two records and passes the descriptor; or it turns clients away. No test,
//! no cache, no care.
//!
//! What it costs is what the kernel wants for that, with as few system calls as epoll allows; it
//! is there to say how much of a daemon's time is its own. So nothing of Gatepost is on the path
//! of a client: only the start, and the second's time stamp, are from the library.

mod config;
mod journal;
mod questions;
mod talks;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{ErrorKind, IoSlice, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use gatepost::postfix::master::{
    Availability, Environment, Options, STATUS_FD, Transport, status_record,
};
use gatepost::sys::adopt;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use super::{Outcome, raise_descriptor_limit};
use config::{Config, TurnAway};
use journal::Journal;
use questions::Questions;
use talks::Talks;

const TEASER: &[u8] = b"220-mx.example.test ESMTP\r\n";
const BUSY: &[u8] = b"421 4.3.2 All server ports are busy\r\n";

/// What epoll tells of master's channel and of the name server. Lower numbers are listeners.
const STATUS: u64 = u64::MAX;
const NAMES: u64 = u64::MAX - 1;
/// Clients have numbers from here on.
const TALKERS: u64 = 1 << 32;

/// A client that waits.
struct Waiting {
    stream: TcpStream,
    client: SocketAddr,
    server: SocketAddr,
    until: Instant,
}

struct Floor {
    config: Config,
    epoll: Epoll,
    status: OwnedFd,
    listeners: Vec<TcpListener>,
    journal: Journal,
    questions: Option<Questions>,
    /// All wait equally long, so that they are in order.
    waiting: VecDeque<Waiting>,
    talks: Talks,
    /// Master has been told that we serve.
    told: bool,
    generation: u32,
    /// The attributes of the client that is passed.
    attributes: String,
}

/// Serves until master(8) goes.
pub fn run(argv: impl Iterator<Item = OsString>) -> Outcome<()> {
    let options = Options::parse(argv)?;
    if options.transport != Transport::Inet {
        return Err("a service of type inet is wanted".into());
    }
    let config = Config::read()?;
    raise_descriptor_limit()?;
    let mut listeners = Vec::new();
    for number in options.listeners() {
        listeners.push(TcpListener::from(adopt(number).ok_or("a listener is missing")?));
    }
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (number, listener) in (0..).zip(&listeners) {
        epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
    }
    let status = adopt(STATUS_FD).ok_or("master's channel is missing")?;
    epoll.add(&status, EpollEvent::new(EpollFlags::EPOLLIN, STATUS))?;
    let questions = match config.name_server {
        Some(server) if !config.zones.is_empty() => Some(Questions::new(server, &config.zones)?),
        _ => None,
    };
    if let Some(questions) = &questions {
        epoll.add(questions.socket(), EpollEvent::new(EpollFlags::EPOLLIN, NAMES))?;
    }
    let mut floor = Floor {
        journal: Journal::open(&config.log_socket)?,
        config,
        epoll,
        status,
        listeners,
        questions,
        waiting: VecDeque::new(),
        talks: Talks::default(),
        told: false,
        generation: Environment::read()?.generation,
        attributes: String::with_capacity(256),
    };
    floor.serve()
}

impl Floor {
    fn serve(&mut self) -> Outcome<()> {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = match self.epoll.wait(&mut events, self.patience()?) {
                Err(Errno::EINTR) => 0,
                count => count?,
            };
            self.journal.set_time(SystemTime::now());
            for event in events.iter().take(count) {
                match event.data() {
                    // There is nothing to read in it but the end.
                    STATUS => return Ok(()),
                    NAMES => {
                        if let Some(questions) = &mut self.questions {
                            questions.take_answers()?;
                        }
                    }
                    number => match (number.checked_sub(TALKERS), self.config.turn_away) {
                        (None, _) => self.accept(usize::try_from(number)?)?,
                        (Some(number), Some(whom)) => {
                            self.talks.hear(usize::try_from(number)?, whom, &mut self.journal);
                        }
                        (Some(_), None) => {}
                    },
                }
            }
            self.let_in()?;
        }
    }

    /// How long there is nothing to do: until the first wait is over, and not less.
    fn patience(&self) -> Outcome<EpollTimeout> {
        let Some(first) = self.waiting.front() else { return Ok(EpollTimeout::NONE) };
        let left = first.until.saturating_duration_since(Instant::now());
        Ok(EpollTimeout::try_from(left.as_nanos().div_ceil(1_000_000))?)
    }

    /// Takes one client. If there are more, epoll tells: one call as well, and less than an
    /// attempt that finds nothing.
    fn accept(&mut self, listener: usize) -> Outcome<()> {
        let Some(listener) = self.listeners.get(listener) else { return Ok(()) };
        let (mut stream, client) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if is_nothing(error.kind()) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Ok(server) = stream.local_addr() else { return Ok(()) };
        self.tell_master()?;
        self.journal.connect(client, server);
        if self.config.known.is_some_and(|known| known.contains(client.ip())) {
            self.journal.pass("PASS OLD", client);
            return self.pass(&stream, client, server);
        }
        if self.waiting.len() >= self.config.max_clients {
            let _ = stream.write(BUSY);
            return Ok(());
        }
        // A fresh socket has room for it; that it has gone is no concern here.
        let _ = stream.write(TEASER);
        if let Some(questions) = &mut self.questions {
            questions.ask(client.ip());
        }
        if self.config.turn_away == Some(TurnAway::Early) {
            return self.talks.begin(&self.epoll, TALKERS, stream, client);
        }
        let until = Instant::now() + self.config.greet_wait;
        self.waiting.push_back(Waiting { stream, client, server, until });
        Ok(())
    }

    /// Lets those in who have waited.
    fn let_in(&mut self) -> Outcome<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        while self.waiting.front().is_some_and(|first| first.until <= now) {
            let Some(Waiting { stream, client, server, .. }) = self.waiting.pop_front() else {
                break;
            };
            if self.config.turn_away == Some(TurnAway::Everybody) {
                self.talks.greet(&self.epoll, TALKERS, stream, client)?;
                continue;
            }
            self.journal.pass("PASS NEW", client);
            self.pass(&stream, client, server)?;
        }
        Ok(())
    }

    /// Hands a client to the stand-in for smtpd(8), whose listen queue is waited for.
    fn pass(&mut self, stream: &TcpStream, client: SocketAddr, server: SocketAddr) -> Outcome<()> {
        let channel = UnixStream::connect(&self.config.smtpd_socket)?;
        self.attributes.clear();
        // The byte that carries the descriptor, then the list.
        write!(
            self.attributes,
            "\0client_address\0{}\0client_port\0{}\0server_address\0{}\0server_port\0{}\0\0",
            client.ip(),
            client.port(),
            server.ip(),
            server.port()
        )?;
        let parts = [IoSlice::new(self.attributes.as_bytes())];
        let descriptor = [stream.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&descriptor)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<UnixAddr>(channel.as_raw_fd(), &parts, &control, flags, None)?;
        Ok(())
    }

    /// Once, and in one write: taken, and available again.
    fn tell_master(&mut self) -> Outcome<()> {
        if self.told {
            return Ok(());
        }
        self.told = true;
        let record = |what| status_record(nix::unistd::getpid().as_raw(), self.generation, what);
        let both = [record(Availability::Taken), record(Availability::Available)].concat();
        nix::unistd::write(&self.status, &both)?;
        Ok(())
    }
}

/// Whether an error of accept(2) says that the client has gone, or was somebody else's.
fn is_nothing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
    )
}

/// Tells the log why it ends: nobody sees the standard error of a daemon.
pub fn complain(error: &dyn std::error::Error) {
    // Where it goes is what could not be found out.
    let place = Config::read().map_or("/dev/log".into(), |config| config.log_socket);
    if let Ok(mut journal) = Journal::open(&place) {
        journal.set_time(SystemTime::now());
        journal.fatal(error);
    }
    // As Postfix's programs do, so that master does not start the next one at once.
    std::thread::sleep(Duration::from_secs(1));
}
