//! New connections.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::worker::{Timer, Worker};
use crate::event::conn::Conn;
use crate::event::reactor::{MOST_SOURCES, Source};
use crate::screen::event::{Input, Now};
use crate::screen::ration::Ration;
use crate::sys;

/// How long to wait when accept(2) fails, as there is no descriptor or memory left in the system.
const RETRY: Duration = Duration::from_millis(100);

/// How many connections a worker without siblings takes in at a time. The others wait for the
/// next turn, so that a flood does not keep those who are here from being served.
const BATCH: usize = 64;

/// Who else takes in connections at the same sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Company {
    /// Nobody, but for a predecessor that has not looked up yet.
    Alone,
    /// Other workers.
    Siblings,
}

impl Company {
    /// How many connections are taken in at a time. Siblings take turns: a burst must not fill
    /// the share of one.
    fn batch(self) -> usize {
        match self {
            Company::Alone => BATCH,
            Company::Siblings => 1,
        }
    }
}

/// Whether clients are taken in.
#[derive(Debug, Default)]
pub(super) struct Accepting {
    /// There was no room for the next client: the listen queues are not looked at until there
    /// is, and then all of them, as what the reactor had to say of them has gone by.
    full: bool,
    /// Clients wait since there was no room, or since accept(2) failed: what the log was told
    /// then still holds.
    shortage: bool,
    /// What is left to say about that.
    ration: Option<Ration>,
}

impl Accepting {
    /// Clients begin to wait. Returns whether that is to be logged: as [`Ration::take`].
    fn falls_short(&mut self, now: Instant) -> Option<u64> {
        if std::mem::replace(&mut self.shortage, true) {
            return None;
        }
        self.ration.get_or_insert_with(|| Ration::new(now)).take(now)
    }
}

/// A socket that clients come to.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub(super) socket: TcpListener,
    /// Where it is, unless it listens at every address of ours.
    address: Option<SocketAddr>,
}

impl Listener {
    /// Takes over one of master(8)'s sockets.
    ///
    /// # Errors
    /// It cannot be set to not waiting.
    pub fn new(socket: OwnedFd) -> io::Result<Listener> {
        let socket = StdListener::from(socket);
        socket.set_nonblocking(true)?;
        // A client that vanishes without a word is found out, even by smtpd(8) later on. Its
        // socket has this from the listener.
        if let Err(errno) = setsockopt(&socket, sockopt::KeepAlive, &true) {
            log::warn!("setsockopt SO_KEEPALIVE: {}", sys::errno_text(errno));
        }
        let address = socket.local_addr().ok().filter(|address| !address.ip().is_unspecified());
        Ok(Listener { socket: TcpListener::from_std(socket), address })
    }

    /// The next connection, if there is one.
    fn take(&self) -> Result<Taken, Refused> {
        let (stream, peer) = self.socket.accept().map_err(refused)?;
        let local = self.address.map_or_else(|| stream.local_addr(), Ok);
        Ok(Taken { stream, peer, local })
    }
}

/// A connection, and its two ends; ours may not be known.
struct Taken {
    stream: TcpStream,
    peer: SocketAddr,
    local: io::Result<SocketAddr>,
}

/// What a failed accept means.
enum Refused {
    /// There is nothing to accept.
    Nothing,
    /// That connection has gone; there may be others.
    Gone,
    /// There may be connections, but they cannot be taken now.
    Trouble(io::Error),
}

impl Worker {
    /// Takes in what waits at a listener.
    ///
    /// Each client has a time of its own: by that of the turn, which may have begun a while ago,
    /// its greet wait would be too short.
    pub(super) fn accept(&mut self, number: u32, now: Now) {
        for _ in 0..self.settings.company.batch() {
            if self.accepting.full || !self.room.for_client(self.taken()) {
                return self.no_room(now);
            }
            let Some(listener) = self.listeners.get(number as usize) else { return };
            match listener.take() {
                Ok(taken) => self.welcome(taken, self.now()),
                Err(Refused::Nothing) => {
                    self.accepting.shortage = false;
                    return;
                }
                Err(Refused::Gone) => {}
                Err(Refused::Trouble(error)) => return self.accept_failed(&error, now),
            }
        }
        // The reactor reports edges: what is left here is not reported again.
        self.acceptable.push_back(number);
    }

    /// Stops taking in connections. With siblings, what we were woken for may be known to nobody
    /// else, and has to be taken in before we go.
    pub(super) fn stop_listening(&mut self, now: Now) {
        for mut listener in std::mem::take(&mut self.listeners) {
            // If it fails, closing it does the same.
            let _ = self.reactor.deregister(&mut listener.socket);
            if self.settings.company == Company::Siblings {
                self.take_the_last(&listener, now);
            }
        }
        self.acceptable.clear();
        self.timers.cancel(Timer::Accept);
    }

    fn take_the_last(&mut self, listener: &Listener, now: Now) {
        for _ in 0..BATCH {
            if !self.room.for_client(self.taken()) {
                return;
            }
            match listener.take() {
                Ok(taken) => self.welcome(taken, now),
                Err(Refused::Gone) => {}
                Err(Refused::Nothing | Refused::Trouble(_)) => return,
            }
        }
    }

    fn welcome(&mut self, Taken { stream, peer, local }: Taken, now: Now) {
        if self.conns.len() >= MOST_SOURCES {
            return;
        }
        let Some(session) = self.conns.insert(Conn::new(stream)) else { return };
        self.no_longer_idle();
        let input = match &local {
            Ok(server) => {
                Input::Connected { session, client: self.plain(peer), server: self.plain(*server) }
            }
            Err(error) => {
                let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
                let reason = sys::errno_text(errno);
                Input::Unidentified { session, call: "getsockname", reason }
            }
        };
        self.feed(input, now);
    }

    /// An IPv4 client on an IPv6 socket is an IPv4 client, unless IPv4 is off.
    fn plain(&self, address: SocketAddr) -> SocketAddr {
        if self.settings.ipv4 {
            SocketAddr::new(address.ip().to_canonical(), address.port())
        } else {
            address
        }
    }

    /// How many descriptors are with clients and channels to tlsproxy(8).
    pub(super) fn taken(&self) -> usize {
        self.conns.len() + self.asking.len()
    }

    fn no_room(&mut self, now: Now) {
        if std::mem::replace(&mut self.accepting.full, true) {
            return;
        }
        if self.settings.company == Company::Siblings {
            // They may have room, and would not be woken for what we are woken for.
            for listener in &self.listeners {
                let socket = listener.socket.as_raw_fd();
                // If it fails, we are woken, and do nothing.
                let _ = self.reactor.deregister(&mut SourceFd(&socket));
            }
        }
        if let Some(unsaid) = self.accepting.falls_short(now.mono) {
            log::warn!(
                "no file descriptors for more than {} clients, as the limit is {}; new ones wait \
                 until there are{}",
                self.room.clients,
                self.room.limit,
                Unsaid(unsaid)
            );
        }
    }

    /// If it was for want of room that clients were left waiting, and there is some now, they
    /// have their turn.
    pub(super) fn go_on_accepting(&mut self) {
        if self.accepting.full && self.room.for_client(self.taken()) {
            self.accepting.full = false;
            if self.settings.company == Company::Siblings {
                self.listen_again();
            }
            self.acceptable.clear();
            self.acceptable.extend((0..).take(self.listeners.len()));
        }
    }

    fn listen_again(&mut self) {
        for (number, listener) in (0..).zip(&self.listeners) {
            let source = Source::Listener(number);
            match self.reactor.register_shared(&listener.socket, source) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    log::warn!("epoll_ctl: {}", sys::errno_text(sys::errno_of(&error)));
                    // At the end of the next turn.
                    self.accepting.full = true;
                }
                _ => {}
            }
        }
    }

    fn accept_failed(&mut self, error: &io::Error, now: Now) {
        if let Some(unsaid) = self.accepting.falls_short(now.mono) {
            let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
            log::warn!(
                "accept connection: {}; trying again until it works{}",
                sys::errno_text(errno),
                Unsaid(unsaid)
            );
        }
        self.timers.set(Timer::Accept, now.mono + RETRY);
    }
}

/// How often a trouble was not logged.
struct Unsaid(u64);

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more times since the last such line)"),
        }
    }
}

/// Sorts the errors of accept(2). What Linux passes on from a connection that broke while it
/// waited is no trouble of ours.
fn refused(error: io::Error) -> Refused {
    match error.kind() {
        ErrorKind::WouldBlock => return Refused::Nothing,
        ErrorKind::Interrupted
        | ErrorKind::ConnectionAborted
        | ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::NotConnected
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::NetworkUnreachable => return Refused::Gone,
        _ => {}
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPROTO | Errno::EHOSTDOWN | Errno::ENONET) => Refused::Gone,
        _ => Refused::Trouble(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;
    use std::net::TcpStream as StdStream;

    #[test]
    fn clients_are_kept_alive_by_their_listener() {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::new(listener.into()).unwrap();
        assert_eq!(listener.address, Some(address));
        let _client = StdStream::connect(address).unwrap();
        let (stream, _) = listener.socket.accept().unwrap();
        assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
        assert_eq!(stream.local_addr().unwrap(), address);
    }

    #[test]
    fn a_shortage_is_logged_once_and_many_are_now_and_then() {
        let mut accepting = Accepting::default();
        let now = Instant::now();
        assert_eq!(accepting.falls_short(now), Some(0));
        assert_eq!(accepting.falls_short(now + Duration::from_secs(3600)), None);
        let mut said = 1;
        for _ in 0..100 {
            accepting.shortage = false;
            said += usize::from(accepting.falls_short(now).is_some());
        }
        assert_eq!(said, 3);
        accepting.shortage = false;
        assert_eq!(accepting.falls_short(now + Duration::from_secs(60)), Some(98));
        assert_eq!(Unsaid(98).to_string(), " (98 more times since the last such line)");
    }

    #[test]
    fn a_listener_at_every_address_does_not_tell_which() {
        let listener = StdListener::bind("0.0.0.0:0").unwrap();
        assert_eq!(Listener::new(listener.into()).unwrap().address, None);
    }
}
