//! The sockets to the name servers: opened when needed, changed often, closed when idle.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};
use nix::errno::Errno;

use super::query::{Form, QueryName};
use super::tcp::{Progress, Tcp};
use super::udp::{Heard, Udp, random_id};
use super::{ChannelId, LookupId};

/// How many sockets to one server take new questions at a time.
const MOST_FRESH: usize = 4;

/// How many sockets to one server there are at most: besides the fresh ones, those that only
/// wait for their last answers.
const MOST_SOCKETS: usize = 32;

/// Room for any datagram: not every server keeps to the size that we ask for.
const DATAGRAM: usize = 65_536;

/// How often idle sockets are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Makes the token under which events of a socket are reported, from its slot and generation.
pub type TokenMaker = fn(slot: u32, generation: u32) -> Token;

/// The sockets.
#[derive(Debug)]
pub(super) struct Transport {
    registry: Registry,
    token: TokenMaker,
    servers: Vec<SocketAddr>,
    channels: super::Slots<Channel>,
    /// The UDP sockets of each server.
    udp: Vec<Vec<ChannelId>>,
    tcp: usize,
    most_tcp: usize,
    most_sockets: usize,
    sweep_at: Option<Instant>,
    /// Look-ups of which a datagram was refused, with the server.
    refused: Vec<(LookupId, usize)>,
    /// The last message sent.
    question: Vec<u8>,
    /// The last datagram received, and its length.
    input: Box<[u8]>,
    length: usize,
}

#[derive(Debug)]
enum Channel {
    Udp(Udp),
    Tcp(Tcp),
}

/// A question that is out on a UDP socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Exchange {
    channel: ChannelId,
    id: u16,
    server: u8,
    /// Whether it was asked with EDNS.
    pub edns: bool,
}

impl Exchange {
    pub(super) fn new(server: usize, channel: ChannelId, id: u16, edns: bool) -> Exchange {
        // There are three.
        Exchange { channel, id, server: u8::try_from(server).unwrap_or(u8::MAX), edns }
    }

    /// Which server was asked.
    pub fn server(&self) -> usize {
        self.server.into()
    }

    /// Whether a message with this id on this socket belongs to it.
    pub fn is(&self, channel: ChannelId, id: u16) -> bool {
        self.channel == channel && self.id == id
    }
}

/// Why a question cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SendError {
    /// Descriptors or memory have run out, or too many connections are open.
    Shortage,
    /// The server cannot be reached.
    Unreachable,
}

/// What came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// [`Transport::datagram`] has a message about this question.
    Datagram {
        /// The server that sent it.
        server: usize,
        /// Whose question.
        lookup: LookupId,
        /// Its number.
        id: u16,
    },
    /// [`Transport::stream_message`] has one.
    Stream {
        /// The server that sent it.
        server: usize,
        /// Whose question.
        lookup: LookupId,
        /// Its number.
        id: u16,
    },
    /// A connection has failed.
    StreamFailed {
        /// To this server.
        server: usize,
        /// Whose question.
        lookup: LookupId,
    },
    /// Something that answers nothing.
    Strange,
    /// Something else to be ignored; there may be more.
    Ignored,
    /// Nothing now.
    Nothing,
}

impl Transport {
    /// No sockets yet.
    pub fn new(
        registry: Registry,
        token: TokenMaker,
        servers: Vec<SocketAddr>,
        most_tcp: usize,
        most_sockets: usize,
    ) -> Transport {
        Transport {
            registry,
            token,
            udp: vec![Vec::new(); servers.len()],
            servers,
            channels: super::Slots::default(),
            tcp: 0,
            most_tcp,
            most_sockets,
            sweep_at: None,
            refused: Vec::new(),
            question: Vec::new(),
            input: vec![0; DATAGRAM].into(),
            length: 0,
        }
    }

    /// Closes all sockets, and goes to other servers from now on.
    pub fn replace_servers(&mut self, servers: Vec<SocketAddr>) {
        let all: Vec<ChannelId> = self.channels.iter().map(|(channel, _)| channel).collect();
        for channel in all {
            self.close(channel);
        }
        self.udp = vec![Vec::new(); servers.len()];
        self.servers = servers;
        self.refused.clear();
    }

    /// Asks a server over UDP; `again` is the same question's earlier exchange with it, which
    /// is repeated if it can be.
    pub fn send(
        &mut self,
        server: usize,
        lookup: LookupId,
        name: &QueryName,
        edns: bool,
        again: Option<Exchange>,
        now: Instant,
    ) -> Result<Exchange, SendError> {
        let exchange = match again.filter(|again| again.edns == edns) {
            Some(again) if self.channels.get(again.channel).is_some() => again,
            _ => {
                let channel = self.udp_channel(server, now)?;
                let Some(Channel::Udp(udp)) = self.channels.get_mut(channel) else {
                    return Err(SendError::Shortage);
                };
                let id = udp.give_id(lookup, now).ok_or(SendError::Shortage)?;
                Exchange::new(server, channel, id, edns)
            }
        };
        name.encode(Form { id: exchange.id, edns }, &mut self.question);
        let Some(Channel::Udp(udp)) = self.channels.get_mut(exchange.channel) else {
            return Err(SendError::Shortage);
        };
        match udp.send(&self.question, now) {
            Ok(()) => Ok(exchange),
            Err(_) => {
                udp.close_question(exchange.id, now);
                Err(SendError::Unreachable)
            }
        }
    }

    /// A socket to the server: a new one while all are busy and there are few, else any of
    /// them, so that nobody can tell which port the next question will have.
    fn udp_channel(&mut self, server: usize, now: Instant) -> Result<ChannelId, SendError> {
        let mut fresh = [None; MOST_FRESH];
        let mut count = 0;
        let mut idle = false;
        let mut useless = false;
        for channel in self.udp.get(server).into_iter().flatten() {
            let Some(Channel::Udp(udp)) = self.channels.get(*channel) else { continue };
            if udp.is_fresh(now) {
                if let Some(place) = fresh.get_mut(count) {
                    *place = Some(*channel);
                    count += 1;
                }
                idle |= udp.open_questions() == 0;
            } else {
                useless |= udp.is_useless(now);
            }
        }
        if useless {
            self.close_useless(now);
        }
        let all = self.udp.get(server).map_or(0, Vec::len);
        if !idle && count < MOST_FRESH && all < MOST_SOCKETS {
            match self.open_udp(server, now) {
                Ok(channel) => return Ok(channel),
                // Better an old port than no answer.
                Err(SendError::Shortage) if all > 0 => {}
                Err(error) => return Err(error),
            }
        }
        let random = usize::from(random_id());
        let any = fresh.get(random % count.max(1)).copied().flatten();
        any.or_else(|| self.udp.get(server)?.last().copied()).ok_or(SendError::Shortage)
    }

    fn open_udp(&mut self, server: usize, now: Instant) -> Result<ChannelId, SendError> {
        if self.channels.len() >= self.most_sockets {
            return Err(SendError::Shortage);
        }
        let address = *self.servers.get(server).ok_or(SendError::Unreachable)?;
        let udp = Udp::open(server, address, now).map_err(|error| send_error(&error))?;
        let channel = self.insert(Channel::Udp(udp))?;
        if let Some(sockets) = self.udp.get_mut(server) {
            sockets.push(channel);
        }
        self.sweep_at.get_or_insert(now + SWEEP_INTERVAL);
        Ok(channel)
    }

    /// Asks a server over TCP.
    pub fn connect(
        &mut self,
        server: usize,
        lookup: LookupId,
        name: &QueryName,
    ) -> Result<ChannelId, SendError> {
        if self.tcp >= self.most_tcp || self.channels.len() >= self.most_sockets {
            return Err(SendError::Shortage);
        }
        let address = *self.servers.get(server).ok_or(SendError::Unreachable)?;
        let id = random_id();
        name.encode(Form { id, edns: false }, &mut self.question);
        let tcp = Tcp::open(server, address, lookup, id, &self.question)
            .map_err(|error| send_error(&error))?;
        let channel = self.insert(Channel::Tcp(tcp))?;
        self.tcp += 1;
        Ok(channel)
    }

    fn insert(&mut self, channel: Channel) -> Result<ChannelId, SendError> {
        let id = self.channels.insert(channel).ok_or(SendError::Shortage)?;
        let token = (self.token)(id.slot, id.generation);
        let registered = match self.channels.get_mut(id) {
            Some(Channel::Udp(udp)) => {
                self.registry.register(&mut udp.socket, token, Interest::READABLE)
            }
            Some(Channel::Tcp(tcp)) => {
                let both = Interest::READABLE | Interest::WRITABLE;
                self.registry.register(&mut tcp.stream, token, both)
            }
            None => return Err(SendError::Shortage),
        };
        if registered.is_err() {
            self.channels.remove(id);
            return Err(SendError::Shortage);
        }
        Ok(id)
    }

    /// A socket has something: takes one message from it.
    pub fn receive(&mut self, channel: ChannelId) -> Received {
        match self.channels.get_mut(channel) {
            Some(Channel::Udp(udp)) => match udp.receive(&mut self.input) {
                Heard::Message(length, id, lookup) => {
                    self.length = length;
                    Received::Datagram { server: udp.server, lookup, id }
                }
                Heard::Strange => {
                    udp.note_strange();
                    Received::Strange
                }
                Heard::Refused => {
                    let server = udp.server;
                    self.refused.extend(udp.waiting().map(|lookup| (lookup, server)));
                    Received::Ignored
                }
                Heard::Late => Received::Ignored,
                Heard::Nothing => Received::Nothing,
            },
            Some(Channel::Tcp(tcp)) => {
                let (server, lookup, id) = (tcp.server, tcp.lookup, tcp.id);
                match tcp.go_on() {
                    Progress::Pending => Received::Nothing,
                    Progress::Done => Received::Stream { server, lookup, id },
                    Progress::Failed => Received::StreamFailed { server, lookup },
                }
            }
            None => Received::Nothing,
        }
    }

    /// The datagram that [`Transport::receive`] took last.
    pub fn datagram(&self) -> &[u8] {
        self.input.get(..self.length).unwrap_or_default()
    }

    /// The message that came over a connection.
    pub fn stream_message(&self, channel: ChannelId) -> &[u8] {
        match self.channels.get(channel) {
            Some(Channel::Tcp(tcp)) => tcp.message(),
            _ => &[],
        }
    }

    /// Whether questions wait for answers on a socket.
    pub fn expects_more(&self, channel: ChannelId) -> bool {
        match self.channels.get(channel) {
            Some(Channel::Udp(udp)) => udp.open_questions() > 0,
            Some(Channel::Tcp(_)) | None => false,
        }
    }

    /// A message with a known id was not about our question.
    pub fn note_strange(&mut self, channel: ChannelId) {
        if let Some(Channel::Udp(udp)) = self.channels.get_mut(channel) {
            udp.note_strange();
        }
    }

    /// A look-up of which a datagram was refused, with the server.
    pub fn take_refused(&mut self) -> Option<(LookupId, usize)> {
        self.refused.pop()
    }

    /// No answer to a question is wanted any more, perhaps as one has come.
    pub fn close_question(&mut self, exchange: Exchange, now: Instant) {
        if let Some(Channel::Udp(udp)) = self.channels.get_mut(exchange.channel) {
            udp.close_question(exchange.id, now);
        }
    }

    /// Closes a socket.
    pub fn close(&mut self, channel: ChannelId) {
        // Errors mean that there is nothing to undo.
        match self.channels.remove(channel) {
            Some(Channel::Udp(mut udp)) => {
                let _ = self.registry.deregister(&mut udp.socket);
                if let Some(sockets) = self.udp.get_mut(udp.server) {
                    sockets.retain(|other| *other != channel);
                }
            }
            Some(Channel::Tcp(mut tcp)) => {
                let _ = self.registry.deregister(&mut tcp.stream);
                self.tcp -= 1;
            }
            None => {}
        }
    }

    /// When idle sockets are to be looked for.
    pub fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// Closes sockets that are no longer of use. Returns whether it was time for that.
    pub fn sweep(&mut self, now: Instant) -> bool {
        if self.sweep_at.is_none_or(|at| at > now) {
            return false;
        }
        self.close_useless(now);
        let left = self.udp.iter().any(|sockets| !sockets.is_empty());
        self.sweep_at = left.then_some(now + SWEEP_INTERVAL);
        true
    }

    fn close_useless(&mut self, now: Instant) {
        let useless = |(id, channel): (ChannelId, &Channel)| match channel {
            Channel::Udp(udp) if udp.is_useless(now) => Some(id),
            Channel::Udp(_) | Channel::Tcp(_) => None,
        };
        for channel in self.channels.iter().filter_map(useless).collect::<Vec<_>>() {
            self.close(channel);
        }
    }

    /// How many sockets are open.
    pub fn open_sockets(&self) -> usize {
        self.channels.len()
    }
}

fn send_error(error: &io::Error) -> SendError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::EAGAIN
            | Errno::EADDRINUSE,
        ) => SendError::Shortage,
        _ => SendError::Unreachable,
    }
}
