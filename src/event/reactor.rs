//! mio's poll, with names instead of numbers.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::event::Source as Pollable;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::screen::session::SessionId;
use crate::sys;

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The listening socket with this number.
    Listener(u32),
    /// The supervisor's end of the control channel.
    Supervisor,
    /// A signal is pending.
    Signal,
    /// The storage thread has something to say.
    Storage,
    /// A client's socket.
    Client(SessionId),
    /// The channel over which a client is being handed to smtpd(8).
    PassChannel(SessionId),
    /// A socket to a name server. The resolver numbers these itself.
    Dns {
        /// Which socket.
        slot: u32,
        /// Counts the sockets that had this slot; wraps.
        generation: u32,
    },
    /// The channel over which tlsproxy(8) is asked to take a client.
    TlsChannel(SessionId),
    /// A connection to a server of tables, numbered like sessions.
    TableServer(SessionId),
    /// The channels over which clients are being handed to smtpd(8).
    HandOffs,
    /// Somebody wants to know what was counted.
    Status,
}

// A token holds a kind, a slot and a whole generation.
const _: () = assert!(usize::BITS == 64, "Gatepost needs a 64-bit system");

const KIND_SHIFT: u32 = 56;
const SLOT_MASK: u32 = 0x00ff_ffff;

/// The most sockets that can be registered at once.
pub const MOST_SOURCES: usize = SLOT_MASK as usize;

impl Source {
    /// The token of a [`Source::Dns`].
    pub fn dns_token(slot: u32, generation: u32) -> Token {
        Source::Dns { slot, generation }.token()
    }

    /// The number under which the poll knows it.
    pub fn token(self) -> Token {
        let (kind, slot, generation) = match self {
            Source::Listener(number) => (0, number, 0),
            Source::Supervisor => (1, 0, 0),
            Source::Signal => (2, 0, 0),
            Source::Storage => (3, 0, 0),
            Source::Client(id) => (4, id.slot, id.generation),
            Source::PassChannel(id) => (5, id.slot, id.generation),
            Source::Dns { slot, generation } => (6, slot, generation),
            Source::TlsChannel(id) => (7, id.slot, id.generation),
            Source::TableServer(id) => (8, id.slot, id.generation),
            Source::HandOffs => (9, 0, 0),
            Source::Status => (10, 0, 0),
        };
        let slot = (slot & SLOT_MASK) as usize;
        Token(kind << KIND_SHIFT | slot << 32 | generation as usize)
    }

    fn from_token(Token(number): Token) -> Option<Source> {
        let generation = u32::try_from(number & u32::MAX as usize).ok()?;
        let slot = u32::try_from(number >> 32 & SLOT_MASK as usize).ok()?;
        let id = SessionId { slot, generation };
        Some(match number >> KIND_SHIFT {
            0 => Source::Listener(slot),
            1 => Source::Supervisor,
            2 => Source::Signal,
            3 => Source::Storage,
            4 => Source::Client(id),
            5 => Source::PassChannel(id),
            6 => Source::Dns { slot, generation },
            7 => Source::TlsChannel(id),
            8 => Source::TableServer(id),
            9 => Source::HandOffs,
            10 => Source::Status,
            _ => return None,
        })
    }
}

/// One readiness event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// What it is about.
    pub source: Source,
    /// There is input, an end of file, or an error to be had by reading.
    pub readable: bool,
    /// No more input comes than is there.
    pub ended: bool,
    /// There is room for output, or an error to be had by writing.
    pub writable: bool,
}

/// The poll, and room for the events of one turn.
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
}

/// How many events one turn takes. More wait for the next turn, and nobody is starved:
/// the kernel hands events out in the order in which they came up.
pub const MOST_EVENTS: usize = 512;

impl Reactor {
    /// Makes the epoll descriptor. Only after the last fork: it would be shared.
    pub fn new() -> io::Result<Reactor> {
        Ok(Reactor { poll: Poll::new()?, events: Events::with_capacity(MOST_EVENTS) })
    }

    /// Starts to watch something.
    pub fn register(
        &self,
        pollable: &mut impl Pollable,
        source: Source,
        interest: Interest,
    ) -> io::Result<()> {
        self.registry().register(pollable, source.token(), interest)
    }

    /// Starts to watch for input at a listening socket that other processes watch, too: not all
    /// of them are woken for a connection. Who stops watching has to look once more
    /// afterwards, as the others may not have been told of what came before that.
    pub fn register_shared(&self, listener: &impl AsFd, source: Source) -> io::Result<()> {
        let Token(token) = source.token();
        let token = u64::try_from(token).map_err(io::Error::other)?;
        Ok(sys::epoll_add_shared(self.registry().as_fd(), listener.as_fd(), token)?)
    }

    /// Changes what is watched. Readiness that exists already is reported again.
    pub fn reregister(
        &self,
        pollable: &mut impl Pollable,
        source: Source,
        interest: Interest,
    ) -> io::Result<()> {
        self.registry().reregister(pollable, source.token(), interest)
    }

    /// Stops watching. Must come before the descriptor is passed on or closed.
    pub fn deregister(&self, pollable: &mut impl Pollable) -> io::Result<()> {
        self.registry().deregister(pollable)
    }

    /// A handle with which another thread can end the wait.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.registry(), Source::Storage.token())
    }

    /// A handle with which somebody can register sockets himself.
    pub fn share(&self) -> io::Result<Registry> {
        self.registry().try_clone()
    }

    fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits for events until the deadline, for ever without one, and puts them into `ready`.
    pub fn wait(&mut self, deadline: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        // epoll counts milliseconds: rounding up keeps a timer from coming early, and the loop
        // from spinning through the last fraction of one.
        let timeout = deadline.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                left
            } else {
                Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX) + 1)
            }
        });
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        ready.extend(self.events.iter().filter_map(|event| {
            Some(Ready {
                source: Source::from_token(event.token())?,
                readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                ended: event.is_read_closed() || event.is_error(),
                writable: event.is_writable() || event.is_write_closed() || event.is_error(),
            })
        }));
        Ok(())
    }
}

/// So that it can be watched by another one.
impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream as StdUnixStream;

    #[test]
    fn tokens_name_their_sources() {
        let id = SessionId { slot: SLOT_MASK, generation: u32::MAX };
        for source in [
            Source::Listener(0),
            Source::Listener(7),
            Source::Supervisor,
            Source::Signal,
            Source::Storage,
            Source::Client(id),
            Source::PassChannel(SessionId { slot: 3, generation: 9 }),
            Source::Dns { slot: 5, generation: u32::MAX },
            Source::TlsChannel(id),
            Source::HandOffs,
            Source::Status,
        ] {
            assert_eq!(Source::from_token(source.token()), Some(source));
        }
    }

    fn stream() -> (mio::net::UnixStream, StdUnixStream) {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (mio::net::UnixStream::from_std(ours), theirs)
    }

    /// A descriptor number that is used again inside one batch of events must not lead the
    /// old owner's event to the new owner.
    #[test]
    fn an_event_of_a_closed_socket_does_not_reach_its_successor() {
        let mut reactor = Reactor::new().unwrap();
        let (old, new) = (
            Source::Client(SessionId { slot: 0, generation: 1 }),
            Source::Client(SessionId { slot: 0, generation: 2 }),
        );
        let (mut first, mut peer) = stream();
        reactor.register(&mut first, old, Interest::READABLE).unwrap();
        peer.write_all(b"x").unwrap();
        let mut ready = Vec::new();
        reactor.wait(Some(Instant::now()), &mut ready).unwrap();
        assert_eq!(ready.iter().map(|r| r.source).collect::<Vec<_>>(), [old]);
        reactor.deregister(&mut first).unwrap();
        drop(first);
        let (mut second, _peer) = stream();
        reactor.register(&mut second, new, Interest::READABLE).unwrap();
        // The event in hand still names the old session, whose id is stale by now.
        assert_ne!(ready[0].source, new);
        reactor.wait(Some(Instant::now()), &mut ready).unwrap();
        assert!(ready.is_empty());
    }

    #[test]
    fn who_shares_a_listener_is_not_woken_for_what_another_one_takes() {
        use std::net::{TcpListener, TcpStream};
        use std::sync::mpsc::channel;

        const WAITERS: usize = 4;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (tell, told) = channel();
        for _ in 0..WAITERS {
            let mut reactor = Reactor::new().unwrap();
            reactor.register_shared(&listener, Source::Listener(3)).unwrap();
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut ready = Vec::new();
                let deadline = Some(Instant::now() + Duration::from_millis(500));
                reactor.wait(deadline, &mut ready).unwrap();
                tell.send(ready).unwrap();
            });
        }
        // One that waits is enough; the kernel asks those that do, so let them get there.
        std::thread::sleep(Duration::from_millis(100));
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let woken: Vec<Ready> = (0..WAITERS).flat_map(|_| told.recv().unwrap()).collect();
        assert!((1..WAITERS).contains(&woken.len()), "{woken:?}");
        assert!(woken.iter().all(|r| r.source == Source::Listener(3) && r.readable), "{woken:?}");
        // Who comes later is told of what is there.
        let mut late = Reactor::new().unwrap();
        late.register_shared(&listener, Source::Listener(0)).unwrap();
        let mut ready = Vec::new();
        late.wait(Some(Instant::now()), &mut ready).unwrap();
        assert_eq!(ready.len(), 1);
    }

    #[test]
    fn the_wait_is_never_short() {
        let mut reactor = Reactor::new().unwrap();
        let deadline = Instant::now() + Duration::from_micros(1500);
        let mut ready = Vec::new();
        reactor.wait(Some(deadline), &mut ready).unwrap();
        assert!(Instant::now() >= deadline);
    }
}
