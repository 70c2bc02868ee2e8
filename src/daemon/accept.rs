//! New connections.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::worker::{Timer, Worker};
use crate::event::conn::Conn;
use crate::event::reactor::MOST_SOURCES;
use crate::screen::event::{Input, Now};
use crate::sys;

/// How long to wait when there is no descriptor left for a connection.
const RETRY: Duration = Duration::from_millis(100);

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
    pub(super) fn accept(&mut self, number: u32, now: Now) {
        for _ in 0..self.settings.accept_batch {
            let Some(listener) = self.listeners.get(number as usize) else { return };
            match listener.accept().map_err(refused) {
                Ok((stream, peer)) => {
                    self.accept_trouble = false;
                    self.welcome(stream, peer, now);
                }
                Err(Refused::Nothing) => return,
                Err(Refused::Gone) => {}
                Err(Refused::Trouble(error)) => return self.accept_failed(&error, now),
            }
        }
        // The reactor reports edges: what is left here is not reported again.
        self.acceptable.push_back(number);
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr, now: Now) {
        // A client that vanishes without a word is found out, even by smtpd(8) later on.
        if let Err(errno) = setsockopt(&stream, sockopt::KeepAlive, &true) {
            log::warn!("setsockopt SO_KEEPALIVE: {}", sys::errno_text(errno));
        }
        let local = stream.local_addr();
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
