//! Before the first step, for clients that come through a proxy: whom the proxy speaks for.
//!
//! Nothing is said or logged of a connection until its header is in, and it counts for nothing.
//! The header is taken out of the socket to the byte, so that what follows it is the client's.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::census::End;
use super::connect;
use super::event::{Output, Watch};
use super::logline::{LogLine, ProxyLine};
use super::proxy_protocol::{self, HEADER_LIMIT, Origin, Parsed, Wrong};
use super::ration::Ration;
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::SessionId;
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
            turn.out.push(Output::Watch(id, Watch::Peek));
            turn.out.push(Output::SetDeadline(id, turn.now.mono + rules.timeout));
            let approaching = Approaching { peer, server, listed, has_begun: false };
            screener.approaching.insert(id, approaching);
        }
    }
}

/// The proxy has said something: all it has said is looked at anew.
pub(super) fn peeked(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, data: &[u8]) {
    let Some(rules) = screener.policy.upstream_proxy else { return };
    let Some(approaching) = screener.approaching.get_mut(id) else { return };
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
    screener.approaching.remove(id);
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
    screener.approaching.remove(id);
    let data = data.get(..HEADER_LIMIT).unwrap_or(data).into();
    turn.log(LogLine::Proxy(ProxyLine::Wrong { wrong, data }));
    dismiss(screener, turn, id, Reply::NoResources, End::TurnedAway);
}

/// The proxy has closed the connection before its header was complete.
pub(super) fn closed(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId) {
    let Some(approaching) = screener.approaching.remove(id) else { return };
    let logs = |rules| verdict::is_logged(rules, approaching.listed);
    if approaching.has_begun || screener.policy.upstream_proxy.as_ref().is_none_or(logs) {
        turn.log(LogLine::Proxy(ProxyLine::Eof));
    }
    dismiss(screener, turn, id, Reply::NoResources, End::HungUp);
}

/// The header is not complete in time.
pub(super) fn time_is_up(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId) {
    if screener.approaching.remove(id).is_some() {
        turn.log(LogLine::Proxy(ProxyLine::TimeLimit));
        dismiss(screener, turn, id, Reply::NoResources, End::TurnedAway);
    }
}

/// The process ends at once.
pub(super) fn terminate(screener: &mut Screener, turn: &mut Turn<'_>) {
    let all: Vec<SessionId> = screener.approaching.iter().map(|(id, _)| id).collect();
    for id in all {
        screener.approaching.remove(id);
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
