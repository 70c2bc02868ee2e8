//! What the servers say, and what it means for the look-ups.

use std::time::{Duration, Instant};

use super::Resolver;
use crate::dns::course::{Course, Step};
use crate::dns::lookup::Stage;
use crate::dns::query::{Decoded, QueryName, Trouble};
use crate::dns::transport::{Received, SendError};
use crate::dns::{ChannelId, LookupId};
use crate::screen::dnsbl::answer::{Answer, Failure};

/// The longest time for an exchange over TCP, if resolv.conf's `timeout` is not shorter.
const TCP_TIME: Duration = Duration::from_secs(5);

/// How many messages one socket may deliver in one go, so that a flood stops nobody else.
const MESSAGES_A_TURN: usize = 64;

impl Resolver {
    /// A server's host has refused a datagram.
    pub(super) fn refused(&mut self, id: LookupId, server: usize, now: Instant) {
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        if let Stage::Asking(_) = lookup.stage()
            && lookup.course.server() == server
        {
            self.ranking.missed(server, now, now);
            let step = lookup.course.unreachable(&self.servers);
            self.follow(id, step, None, now);
        }
    }

    /// Takes what a socket has to say.
    pub(super) fn read(&mut self, channel: ChannelId, now: Instant) {
        for _ in 0..MESSAGES_A_TURN {
            match self.transport.receive(channel) {
                Received::Nothing => return,
                Received::Strange => self.counters.strange += 1,
                Received::Ignored => {}
                Received::Datagram { server, lookup, id } => {
                    self.datagram(channel, server, lookup, id, now);
                    // What may be there nobody waits for. The next datagram tells of it.
                    if !self.transport.expects_more(channel) {
                        return;
                    }
                }
                Received::Stream { server, lookup, id } => {
                    let decoded = self.decode(lookup, id, self.transport.stream_message(channel));
                    self.transport.close(channel);
                    self.ranking.answered(server, now);
                    return match decoded {
                        Some(Decoded::Answer(answer)) => self.finish(lookup, answer, now),
                        Some(Decoded::Alias(name)) => self.go_to(lookup, server, name, now),
                        Some(_) => self.tcp_failed(lookup, server, now),
                        None => {}
                    };
                }
                Received::StreamFailed { server, lookup } => {
                    self.transport.close(channel);
                    return self.tcp_failed(lookup, server, now);
                }
            }
        }
        self.unread.push_back(channel);
    }

    fn decode(&self, lookup: LookupId, id: u16, message: &[u8]) -> Option<Decoded> {
        let lookup = self.lookups.get(lookup)?;
        let domain = self.domains.get(usize::from(lookup.list.0))?;
        let name = lookup.name(domain).ok()?;
        Some(name.decode(id, lookup.same_case(), message))
    }

    fn datagram(
        &mut self,
        channel: ChannelId,
        server: usize,
        id: LookupId,
        number: u16,
        now: Instant,
    ) {
        let decoded = self.decode(id, number, self.transport.datagram());
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        let exchange = lookup.exchange(server).filter(|exchange| exchange.is(channel, number));
        let (Some(exchange), Some(decoded)) = (exchange, decoded) else {
            self.counters.strange += 1;
            return;
        };
        if decoded == Decoded::NotOurs {
            self.counters.strange += 1;
            return self.transport.note_strange(channel);
        }
        lookup.take_exchange(server);
        let asking = matches!(lookup.stage(), Stage::Asking(_));
        let current = asking && lookup.course.server() == server;
        self.transport.close_question(exchange, now);
        self.ranking.answered(server, now);
        match decoded {
            Decoded::Answer(answer) => self.finish(id, answer, now),
            Decoded::Alias(name) => self.go_to(id, server, name, now),
            Decoded::Truncated => self.connect(id, server, now),
            Decoded::TryNext(Trouble::NotUnderstood) if exchange.edns => {
                lookup.course.no_edns(server);
                self.ranking.no_edns(server, now);
                if current {
                    self.follow(id, Step::Ask, None, now);
                }
            }
            Decoded::TryNext(_) => self.server_erred(id, server, now),
            Decoded::NotOurs => {}
        }
    }

    /// A server has no answer.
    fn server_erred(&mut self, id: LookupId, server: usize, now: Instant) {
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        let step = lookup.course.erred(server);
        match (step, lookup.stage()) {
            // Another server has an answer, and is about to give it.
            (_, Stage::Tcp(..)) | (None, _) => {}
            (Some(step), _) => self.follow(id, step, None, now),
        }
    }

    /// A server cannot give its answer over TCP either. It need not be the one whose turn it
    /// is: its short answer may have come late.
    pub(super) fn tcp_failed(&mut self, id: LookupId, server: usize, now: Instant) {
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        let step = lookup.course.erred(server).unwrap_or_else(|| lookup.course.rested());
        self.follow(id, step, None, now);
    }

    /// The name is an alias of one that the answer says nothing about.
    fn go_to(&mut self, id: LookupId, server: usize, name: Box<QueryName>, now: Instant) {
        self.close_questions(id, now);
        let servers = self.servers.list.len();
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        if !lookup.go_to(name) {
            return self.finish(id, Answer::Failed(Failure::ServerError), now);
        }
        lookup.course = Course::new(server, servers);
        self.follow(id, Step::Ask, None, now);
    }

    /// Asks again over TCP.
    fn connect(&mut self, id: LookupId, server: usize, now: Instant) {
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        if let Stage::Tcp(..) = lookup.stage() {
            return;
        }
        let domain = self.domains.get(usize::from(lookup.list.0)).map_or("", String::as_str);
        let Ok(name) = lookup.name(domain) else { return };
        match self.transport.connect(server, id, &name) {
            Ok(channel) => {
                self.counters.connections += 1;
                let time = TCP_TIME.min(self.servers.timeout);
                let until = self.epoch.tick(now + time);
                lookup.go_on(Stage::Tcp(channel, server, until));
                self.settle(id);
                self.set_timer(id);
            }
            Err(SendError::Shortage) => self.wait_for_room(id, now),
            Err(SendError::Unreachable) => self.server_erred(id, server, now),
        }
    }
}
