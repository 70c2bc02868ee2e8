//! New connections.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::worker::{Timer, Worker};
use crate::event::conn::Conn;
use crate::event::reactor::MOST_SOURCES;
use crate::screen::event::{Input, Now};
use crate::sys;

/// How long to wait when there is no descriptor left for a connection.
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
            let Some(listener) = self.listeners.get(number as usize) else { return };
            match listener.socket.accept().map_err(refused) {
                Ok((stream, peer)) => {
                    let local = listener.address.map_or_else(|| stream.local_addr(), Ok);
                    self.accept_trouble = false;
                    let its = self.now();
                    self.welcome(stream, peer, local, its);
                }
                Err(Refused::Nothing) => return,
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
            match listener.socket.accept().map_err(refused) {
                Ok((stream, peer)) => {
                    let local = listener.address.map_or_else(|| stream.local_addr(), Ok);
                    self.welcome(stream, peer, local, now);
                }
                Err(Refused::Gone) => {}
                Err(Refused::Nothing | Refused::Trouble(_)) => return,
            }
        }
    }

    fn welcome(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        local: io::Result<SocketAddr>,
        now: Now,
    ) {
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

    fn accept_failed(&mut self, error: &io::Error, now: Now) {
        if !self.accept_trouble {
            self.accept_trouble = true;
            let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
            log::warn!(
                "accept connection: {}; trying again until it works",
                sys::errno_text(errno)
            );
        }
        self.timers.set(Timer::Accept, now.mono + RETRY);
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
    fn a_listener_at_every_address_does_not_tell_which() {
        let listener = StdListener::bind("0.0.0.0:0").unwrap();
        assert_eq!(Listener::new(listener.into()).unwrap().address, None);
    }
}
