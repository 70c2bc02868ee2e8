//! Before the first step, for clients that come through a proxy: whom the proxy speaks for.
//!
//! Nothing is said or logged of a connection until its header is in, and it does not count among
//! the sessions. The header is taken out of the socket to the byte, so that what follows it is
//! the client's.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use super::census::End;
use super::connect;
use super::event::{Output, Watch};
use super::logline::{LogLine, ProxyLine};
use super::proxy_protocol::{self, HEADER_LIMIT, Origin, Parsed, Wrong};
use super::ration::Ration;
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::SessionId;
use super::slots::ById;
use super::verdict::{self, Approach, Spoken};

/// A connection whose proxy has not said whom it speaks for.
#[derive(Debug)]
pub(super) struct Approaching {
    /// The proxy's end.
    peer: SocketAddr,
    /// Our end.
    server: SocketAddr,
    /// The proxy is on a list of trusted ones.
    listed: bool,
    /// It has sent something.
    has_begun: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    waiting: ById<Approaching>,
    /// In the order in which they came. Those that do not wait any more may be among them.
    order: VecDeque<SessionId>,
    /// What is left to say about those that had to go for others.
    crowd: Option<Ration>,
}

impl Lobby {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether this is one of them.
    pub fn has(&self, id: SessionId) -> bool {
        self.waiting.get(id).is_some()
    }

    /// Their ids.
    pub fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.waiting.iter().map(|(id, _)| id)
    }

    fn enter(&mut self, id: SessionId, approaching: Approaching) {
        // Proxies say at once whom they speak for: next to all in the queue have left.
        if self.order.len() > 2 * self.waiting.len() + 16 {
            self.order.retain(|id| self.waiting.get(*id).is_some());
        }
        self.order.push_back(id);
        self.waiting.insert(id, approaching);
    }

    fn leave(&mut self, id: SessionId) -> Option<Approaching> {
        self.waiting.remove(id)
    }

    /// Takes out the one that has waited longest.
    fn evict(&mut self) -> Option<SessionId> {
        while let Some(id) = self.order.pop_front() {
            if self.waiting.remove(id).is_some() {
                return Some(id);
            }
        }
        None
    }

    /// As [`Ration::take`].
    fn ration(&mut self, now: Instant) -> Option<u64> {
        self.crowd.get_or_insert_with(|| Ration::new(now)).take(now)
    }
}

/// A connection was accepted, from a client or from a proxy.
pub(super) fn connected(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    peer: SocketAddr,
    server: SocketAddr,
) {
    let Some(rules) = screener.policy.upstream_proxy else {
        return connect::connected(screener, turn, id, peer, server);
    };
    let mut messages = Vec::new();
    let spoken = turn.lookups.proxy_spoken(server.ip(), &mut messages);
    let approach = match spoken {
        Spoken::No => Approach::Direct,
        Spoken::Yes | Spoken::Unknown => {
            verdict::approach(spoken, turn.lookups.proxy_trusted(peer.ip(), &mut messages))
        }
    };
    match approach {
        Approach::Direct => {
            turn.log_messages(messages);
            connect::connected(screener, turn, id, peer, server);
        }
        Approach::Stranger => {
            let now = turn.now.mono;
            let ration = screener.strangers.get_or_insert_with(|| Ration::new(now));
            if let Some(unsaid) = ration.take(now) {
                turn.log_messages(messages);
                turn.log(LogLine::Proxy(ProxyLine::Stranger { peer, unsaid }));
            }
            dismiss(screener, turn, id, Reply::NoResources, End::TurnedAway);
        }
        Approach::Proxy { listed } => {
            turn.log_messages(messages);
            make_room(screener, turn);
            turn.out.push(Output::Watch(id, Watch::Peek));
            turn.out.push(Output::SetDeadline(id, turn.now.mono + rules.timeout));
            let approaching = Approaching { peer, server, listed, has_begun: false };
            screener.approaching.enter(id, approaching);
        }
    }
}

/// Silent connections must not keep proxies out that have something to say, and these say it at
/// once. So when there are as many as there may be, it is the oldest that has to go.
fn make_room(screener: &mut Screener, turn: &mut Turn<'_>) {
    while !verdict::may_approach(&screener.policy.limits, screener.approaching.len()) {
        let Some(oldest) = screener.approaching.evict() else { return };
        if let Some(unsaid) = screener.approaching.ration(turn.now.mono) {
            turn.log(LogLine::Proxy(ProxyLine::Crowd { unsaid }));
        }
        dismiss(screener, turn, oldest, Reply::NoResources, End::TurnedAway);
    }
}

/// The proxy has said something: all it has said is looked at anew.
pub(super) fn peeked(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, data: &[u8]) {
    let Some(rules) = screener.policy.upstream_proxy else { return };
    let Some(approaching) = screener.approaching.waiting.get_mut(id) else { return };
    approaching.has_begun = true;
    let Approaching { peer, server, listed, .. } = *approaching;
    let (length, proxied) = match proxy_protocol::parse(data, screener.policy.protocols) {
        Parsed::Incomplete => return,
        Parsed::Wrong(wrong) => return refuse(screener, turn, id, wrong, data),
        Parsed::Header { length, origin } => match origin {
            Origin::Proxied { client, server } => (length, Some((client, server))),
            Origin::Local => (length, None),
            Origin::Unknown if verdict::unknown_is_local(listed) => (length, None),
            Origin::Unknown => {
                return refuse(screener, turn, id, Wrong::ProtocolType, data);
            }
        },
    };
    screener.approaching.leave(id);
    turn.out.push(Output::Watch(id, Watch::Nothing));
    turn.out.push(Output::Consume(id, length));
    let (client, server) = proxied.unwrap_or((peer, server));
    // In version 1, HAProxy's checks name its own end of the connection.
    if client == peer && !verdict::is_logged(&rules, listed) {
        screener.untold.begin(id, peer);
    }
    connect::connected(screener, turn, id, client, server);
}

fn refuse(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, wrong: Wrong, data: &[u8]) {
    screener.approaching.leave(id);
    let data = data.get(..HEADER_LIMIT).unwrap_or(data).into();
    turn.log(LogLine::Proxy(ProxyLine::Wrong { wrong, data }));
    dismiss(screener, turn, id, Reply::NoResources, End::TurnedAway);
}

/// The proxy has closed the connection before its header was complete.
pub(super) fn closed(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId) {
    let Some(approaching) = screener.approaching.leave(id) else { return };
    let logs = |rules| verdict::is_logged(rules, approaching.listed);
    if approaching.has_begun || screener.policy.upstream_proxy.as_ref().is_none_or(logs) {
        turn.log(LogLine::Proxy(ProxyLine::Eof));
    }
    dismiss(screener, turn, id, Reply::NoResources, End::HungUp);
}

/// The header is not complete in time.
pub(super) fn time_is_up(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId) {
    if screener.approaching.leave(id).is_some() {
        turn.log(LogLine::Proxy(ProxyLine::TimeLimit));
        dismiss(screener, turn, id, Reply::NoResources, End::TurnedAway);
    }
}

/// The process ends at once.
pub(super) fn terminate(screener: &mut Screener, turn: &mut Turn<'_>) {
    let all: Vec<SessionId> = screener.approaching.ids().collect();
    for id in all {
        screener.approaching.leave(id);
        dismiss(screener, turn, id, Reply::Unavailable, End::TurnedAway);
    }
}

/// Lets go of a connection that has not become a session. Without a footer: nobody knows whom
/// it would be for.
fn dismiss(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, reply: Reply, end: End) {
    screener.census.count(end);
    turn.out.push(Output::Send(id, reply));
    turn.out.push(Output::Close(id));
}

/// What the log is not told of sessions that look like a proxy's health checks, unless they
/// turn out to be something else.
#[derive(Debug, Default)]
pub(super) struct Untold(HashMap<SocketAddr, (SessionId, Vec<LogLine>)>);

impl Untold {
    fn begin(&mut self, id: SessionId, client: SocketAddr) {
        self.0.insert(client, (id, Vec::new()));
    }

    /// Takes back what the outputs from the index on say in the log about such sessions, gives
    /// up the others, and forgets those that have ended.
    pub fn sift(&mut self, out: &mut Vec<Output>, from: usize) {
        if self.0.is_empty() {
            return;
        }
        for output in out.split_off(from) {
            match output {
                Output::Log(line) => self.line(line, out),
                // No check names a sender.
                Output::Send(id, Reply::SenderOk) => {
                    let client = self.0.iter().find(|(_, (held, _))| *held == id);
                    let client = client.map(|(client, _)| *client);
                    if let Some((_, lines)) = client.and_then(|client| self.0.remove(&client)) {
                        out.extend(lines.into_iter().map(Output::Log));
                    }
                    out.push(output);
                }
                Output::Close(id) => {
                    self.0.retain(|_, (held, _)| *held != id);
                    out.push(output);
                }
                _ => out.push(output),
            }
        }
    }

    fn line(&mut self, line: LogLine, out: &mut Vec<Output>) {
        let client = line.client();
        if let Some(client) = client
            && let Some((_, lines)) = self.0.get_mut(&client)
        {
            if line.is_routine() {
                lines.push(line);
                return;
            }
            out.extend(lines.drain(..).map(Output::Log));
            self.0.remove(&client);
        }
        out.push(Output::Log(line));
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
