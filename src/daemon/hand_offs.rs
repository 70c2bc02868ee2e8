//! The way of a client to smtpd(8), and how we hear that it has arrived.
//!
//! Hand-offs are made at the end of a turn, after its log records: so a client's PASS is in the
//! log before what smtpd(8) has to say about it, and the log service is called once for all.
//!
//! smtpd(8) closes the channel when it has taken the client. To be woken for that costs more
//! than the news is worth: nothing depends on it but how many hand-offs are under way, and that
//! is looked at when the next client comes. So the channels have an epoll of their own, which is
//! looked into at each turn, and once shortly after the last hand-off. Only if something is
//! still under way by then, because smtpd(8) is slow, the loop is woken by it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::unix::SourceFd;

use super::worker::{Outcome, Worker};
use crate::event::reactor::{MOST_EVENTS, Reactor, Ready, Source};
use crate::postfix::pass::{self, PassError};
use crate::screen::event::{HandOffResult, Input, Now};
use crate::screen::session::SessionId;
use crate::sys::errno_of;

/// How long after a hand-off it is looked after, if nothing else happens: an idle smtpd(8)
/// needs less.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// How long no hand-off is tried when too many descriptors are under way: each attempt is a
/// connection to smtpd(8) for nothing.
const CROWDED: Duration = Duration::from_millis(20);

/// A client that is to be handed off in this turn.
#[derive(Debug)]
pub(super) struct Wanted {
    session: SessionId,
    client: SocketAddr,
    server: SocketAddr,
}

/// Hand-offs to be made, and those under way.
#[derive(Debug)]
pub(super) struct HandOffs {
    wanted: Vec<Wanted>,
    /// The channels of those under way.
    channels: Reactor,
    under_way: usize,
    look: Look,
    /// Until then there is no use in trying.
    crowded_until: Option<Instant>,
    /// Reused from turn to turn.
    ready: Vec<Ready>,
}

/// When the channels are looked at, if no turn comes before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// There is nothing to look at.
    Never,
    /// Then.
    At(Instant),
    /// When something is new: the main epoll watches theirs.
    OnNews,
}

/// When it is known that smtpd(8) has taken a client.
enum Heard {
    /// When the channel closes.
    Later,
    /// The channel cannot be watched.
    Never,
}

impl HandOffs {
    /// None yet.
    ///
    /// # Errors
    /// There is no second epoll descriptor.
    pub fn new() -> io::Result<HandOffs> {
        Ok(HandOffs {
            wanted: Vec::new(),
            channels: Reactor::new()?,
            under_way: 0,
            look: Look::Never,
            crowded_until: None,
            ready: Vec::new(),
        })
    }

    /// The core wants a client to be handed off.
    pub fn want(&mut self, session: SessionId, client: SocketAddr, server: SocketAddr) {
        self.wanted.push(Wanted { session, client, server });
    }

    /// A connection that was under way to smtpd(8) is closed.
    pub fn closed(&mut self) {
        self.under_way -= 1;
    }

    /// When the channels are to be looked at.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.look {
            Look::At(at) => Some(at),
            Look::Never | Look::OnNews => None,
        }
    }
}

impl Worker {
    /// Learns which clients smtpd(8) has taken.
    pub(super) fn look_after_hand_offs(&mut self, now: Now) {
        if self.hand_offs.under_way == 0 {
            return self.watch_hand_offs(Look::Never);
        }
        let mut ready = std::mem::take(&mut self.hand_offs.ready);
        let mut more = false;
        // An error is met again at the next look.
        if self.hand_offs.channels.wait(Some(now.mono), &mut ready).is_ok() {
            more = ready.len() >= MOST_EVENTS;
            for event in &ready {
                let Source::PassChannel(id) = event.source else { continue };
                if self.conns.get_mut(id).is_some_and(|conn| conn.was_taken(event.ended)) {
                    let result = HandOffResult::Done;
                    self.feed(Input::HandOff { session: id, result }, now);
                }
            }
        }
        self.hand_offs.ready = ready;
        match self.hand_offs.look {
            _ if self.hand_offs.under_way == 0 => self.watch_hand_offs(Look::Never),
            _ if more => self.watch_hand_offs(Look::At(now.mono)),
            Look::At(at) if at <= now.mono => self.watch_hand_offs(Look::OnNews),
            Look::Never | Look::At(_) | Look::OnNews => {}
        }
    }

    /// Hands off the clients of this turn. What they said and did is in the log before that.
    pub(super) fn hand_off_clients(&mut self) {
        self.send_log();
        if self.hand_offs.wanted.is_empty() {
            return;
        }
        let mut wanted = std::mem::take(&mut self.hand_offs.wanted);
        let now = Instant::now();
        let mut crowded = self.hand_offs.crowded_until.take().filter(|until| *until > now);
        for Wanted { session, client, server } in wanted.drain(..) {
            let outcome = match crowded {
                Some(_) => Err(PassError::Crowded),
                None => self.hand_off(session, client, server),
            };
            match outcome {
                Ok(Heard::Later) => {}
                Ok(Heard::Never) => self.results.push_back(Outcome::Passed(session)),
                Err(error) => {
                    if error == PassError::Crowded {
                        crowded.get_or_insert(now + CROWDED);
                    }
                    self.results.push_back(Outcome::NotPassed(session, error));
                }
            }
        }
        self.hand_offs.crowded_until = crowded;
        self.hand_offs.wanted = wanted;
        self.watch_hand_offs(Look::At(now + LOOK_AFTER));
    }

    fn hand_off(
        &mut self,
        id: SessionId,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Heard, PassError> {
        let Some(conn) = self.conns.get_mut(id) else { return Ok(Heard::Later) };
        let socket = conn.lend(&self.reactor).map_err(|error| PassError::Send(errno_of(&error)))?;
        pass::encode(&mut self.bytes, client, server);
        let service = &self.settings.pass_service;
        let channel = pass::connect_and_send(service, socket, &self.bytes)?;
        self.hand_offs.under_way += 1;
        Ok(match conn.passed(&self.hand_offs.channels, id, channel.into()) {
            Ok(()) => Heard::Later,
            // The kernel delivers what was sent also when we do not wait for it.
            Err(_) => Heard::Never,
        })
    }

    fn watch_hand_offs(&mut self, look: Look) {
        let before = std::mem::replace(&mut self.hand_offs.look, look);
        let descriptor = self.hand_offs.channels.as_raw_fd();
        let mut channels = SourceFd(&descriptor);
        match (before, look) {
            (Look::OnNews, Look::OnNews) => {}
            (_, Look::OnNews) => {
                let interest = Interest::READABLE;
                if self.reactor.register(&mut channels, Source::HandOffs, interest).is_err() {
                    self.hand_offs.look = Look::At(Instant::now() + LOOK_AFTER);
                }
            }
            (Look::OnNews, _) => {
                // It is registered; a wake-up too many would do no harm.
                let _ = self.reactor.deregister(&mut channels);
            }
            (Look::Never | Look::At(_), _) => {}
        }
    }
}
