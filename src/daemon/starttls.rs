//! The way of a client to tlsproxy(8).

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use mio::Interest;
use mio::net::UnixStream;
use nix::errno::Errno;

use super::worker::{Outcome, Worker};
use crate::event::reactor::Source;
use crate::postfix::tlsproxy::{self, Exchange, Failure, Form, RequestError, Step};
use crate::screen::event::{Input, Now, TlsNews, TlsTrouble};
use crate::screen::session::SessionId;
use crate::sys::{errno_of, errno_text};

/// The TLS service.
#[derive(Debug)]
pub struct Tlsproxy {
    /// Its socket, relative to the queue directory; also its name in the log.
    pub path: PathBuf,
    /// What it understands.
    pub form: Form,
    /// The time limit that it is told (main.cf: `postscreen_command_time_limit`).
    pub time_limit: Duration,
}

/// A channel to tlsproxy(8) that is not a client's yet.
#[derive(Debug)]
pub(super) struct Asking {
    channel: UnixStream,
    exchange: Exchange,
    client: SocketAddr,
}

/// Why tlsproxy(8) does not take a client.
#[derive(Debug)]
enum Trouble {
    /// It does not say what it should.
    Says(Failure),
    /// The channel is broken before the greeting.
    Channel(Errno),
    /// It cannot be asked.
    Ask(Errno),
    /// The request cannot be made.
    Request(RequestError),
    /// It does not take the descriptor.
    Take,
}

/// strerror(3)'s text of no error, which is what Postfix logs about an answer that came, but
/// is wrong.
const NO_ERROR: &str = "Application error";

impl Worker {
    pub(super) fn start_tls(&mut self, id: SessionId, client: SocketAddr) {
        // There is none, but two would be one too many.
        self.abandon_tls(id);
        if let Err(errno) = self.connect_tlsproxy(id, client) {
            self.results.push_back(Outcome::NoTlsproxy(id, errno));
        }
    }

    fn connect_tlsproxy(&mut self, id: SessionId, client: SocketAddr) -> Result<(), Errno> {
        if !self.room.for_channel(self.taken()) {
            // Others are waiting for tlsproxy(8), too: as if its listen queue were full.
            return Err(Errno::EAGAIN);
        }
        let channel = tlsproxy::connect(&self.settings.tlsproxy.path)?;
        let mut channel = UnixStream::from_std(channel.into());
        let source = Source::TlsChannel(id);
        self.reactor
            .register(&mut channel, source, Interest::READABLE)
            .map_err(|error| errno_of(&error))?;
        self.asking.insert(id, Asking { channel, exchange: Exchange::new(), client });
        Ok(())
    }

    /// tlsproxy(8) could not be reached.
    pub(super) fn no_tlsproxy(&mut self, id: SessionId, errno: Errno, now: Now) {
        let news = match errno {
            Errno::EAGAIN => TlsNews::Busy,
            errno => {
                TlsNews::Failed { trouble: TlsTrouble::NoService(errno_text(errno)), detail: None }
            }
        };
        self.feed(Input::Tls { session: id, news }, now);
    }

    /// tlsproxy(8) has something to say about a client that it does not have yet.
    pub(super) fn tlsproxy_says(&mut self, id: SessionId, now: Now) {
        while let Some(asking) = self.asking.get_mut(id) {
            let mut buffer = [0; 512];
            let step = match asking.channel.read(&mut buffer) {
                Ok(0) => Err(Trouble::Says(asking.exchange.closed())),
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    asking.exchange.received(bytes).map_err(Trouble::Says)
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted => Ok(Step::Wait),
                    _ if asking.exchange.was_greeted() => Err(Trouble::Says(Failure::Status(None))),
                    _ => Err(Trouble::Channel(errno_of(&error))),
                },
            };
            let done = match step {
                Ok(Step::Wait) => Ok(()),
                Ok(Step::Ask) => self.ask_tlsproxy(id, now),
                Ok(Step::Pass) => self.pass_to_tlsproxy(id, now),
                Err(trouble) => Err(trouble),
            };
            if let Err(trouble) = done {
                self.tls_failed(id, &trouble, now);
            }
        }
    }

    fn ask_tlsproxy(&mut self, id: SessionId, now: Now) -> Result<(), Trouble> {
        let Some(asking) = self.asking.get(id) else { return Ok(()) };
        let Tlsproxy { form, time_limit, .. } = &self.settings.tlsproxy;
        let request = tlsproxy::request(form, asking.client, *time_limit);
        let request = request.map_err(Trouble::Request)?;
        tlsproxy::ask(asking.channel.as_fd(), &request).map_err(Trouble::Ask)?;
        self.feed(Input::Tls { session: id, news: TlsNews::Asked }, now);
        Ok(())
    }

    /// Gives tlsproxy(8) the client's socket. Our copy leaves epoll first, and lives on until
    /// the core has said its word in the clear.
    fn pass_to_tlsproxy(&mut self, id: SessionId, now: Now) -> Result<(), Trouble> {
        let (Some(asking), Some(conn)) = (self.asking.get(id), self.conns.get_mut(id)) else {
            return Ok(());
        };
        let socket = conn.lend(&self.reactor).map_err(|_| Trouble::Take)?;
        tlsproxy::pass(asking.channel.as_fd(), socket).map_err(|_| Trouble::Take)?;
        self.feed(Input::Tls { session: id, news: TlsNews::Taken }, now);
        if self.asking.get(id).is_some() {
            // The core has not taken it up: then nobody talks to this client any more.
            self.abandon_tls(id);
            self.results.push_back(Outcome::Closed(id));
        }
        Ok(())
    }

    /// The channel to tlsproxy(8) is the client's from now on.
    pub(super) fn tls_begins(&mut self, id: SessionId) {
        let Some(mut asking) = self.asking.remove(id) else { return };
        let deregistered = self.reactor.deregister(&mut asking.channel);
        let Some(conn) = self.conns.get_mut(id) else { return };
        if deregistered.and(conn.become_tls(&self.reactor, asking.channel)).is_err() {
            self.results.push_back(Outcome::Closed(id));
        }
    }

    fn tls_failed(&mut self, id: SessionId, trouble: &Trouble, now: Now) {
        self.abandon_tls(id);
        if matches!(trouble, Trouble::Says(_)) {
            self.misunderstood();
        }
        let stream = self.settings.tlsproxy.path.display().to_string();
        let detail = match trouble {
            Trouble::Says(Failure::Greeting(flaw) | Failure::Status(Some(flaw))) => {
                Some(flaw.text(&stream))
            }
            Trouble::Request(error) => Some(format!("{stream}: {error}")),
            _ => None,
        };
        let trouble = match trouble {
            // Nobody would have heard the request.
            Trouble::Says(Failure::Gone) => TlsTrouble::NotAsked(errno_text(Errno::EPIPE)),
            Trouble::Says(Failure::Greeting(_)) => TlsTrouble::NoGreeting(NO_ERROR),
            Trouble::Says(Failure::Status(_)) => TlsTrouble::NoStatus,
            Trouble::Channel(errno) => TlsTrouble::NoGreeting(errno_text(*errno)),
            Trouble::Ask(errno) => TlsTrouble::NotAsked(errno_text(*errno)),
            Trouble::Request(_) => TlsTrouble::NotAsked(errno_text(Errno::EMSGSIZE)),
            Trouble::Take => TlsTrouble::NotTaken,
        };
        let news = TlsNews::Failed { trouble, detail: detail.as_deref() };
        self.feed(Input::Tls { session: id, news }, now);
    }

    /// The core does not wait for tlsproxy(8) any longer.
    pub(super) fn give_up_on_tlsproxy(&mut self, id: SessionId) {
        if self.abandon_tls(id) {
            self.misunderstood();
        }
    }

    /// Closes a channel to tlsproxy(8) that is no client's; whether there was one.
    pub(super) fn abandon_tls(&mut self, id: SessionId) -> bool {
        let Some(mut asking) = self.asking.remove(id) else { return false };
        // Closing it, which follows, does the same if this fails.
        let _ = self.reactor.deregister(&mut asking.channel);
        true
    }
}
