//! Proxies: what they say first, and the laws for it. Who simulates a proxy knows what it is
//! going to say, so nothing is parsed here.

use std::net::SocketAddr;

use gatepost::screen::event::{Input, Now, Output, Spoken, Trust, Watch};
use gatepost::screen::logline::{LogLine, ProxyLine};
use gatepost::screen::reply::Reply;
use gatepost::screen::session::SessionId;

use crate::laws::Laws;
use crate::rng::Rng;
use crate::witness::{Answers, ensure};

/// What a proxy is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    /// It speaks for a client, who has come to this address.
    Client(SocketAddr, SocketAddr),
    /// It speaks for itself.
    Local,
    /// It does not say.
    Unknown,
    /// What it says is no header: wrong from so many bytes on.
    Garbage(usize),
}

/// What a connection begins with.
#[derive(Clone, Debug)]
pub struct Header {
    pub bytes: Vec<u8>,
    pub says: Says,
}

/// A proxy that waits to be understood.
#[derive(Debug)]
pub struct Proxy {
    peer: SocketAddr,
    server: SocketAddr,
    listed: bool,
    /// How many came before.
    came: u64,
}

/// A header, whole and right, or garbage.
pub fn header(rng: &mut Rng, client: SocketAddr, server: SocketAddr) -> Header {
    let same = client.is_ipv4() == server.is_ipv4();
    let (bytes, says) = match rng.between(0, 11) {
        0 => (v2(0x20, 0, &[0; 7]), Says::Local),
        1 => (b"PROXY UNKNOWN\r\n".to_vec(), Says::Unknown),
        2 => (b"EHLO x\r\n".to_vec(), Says::Garbage(1)),
        3 => (b"PROXY TCP9 x\r\n".to_vec(), Says::Garbage(14)),
        4 => (v2(0x2f, 0x11, &[1; 12]), Says::Garbage(28)),
        5 => (v2(0x21, 0x11, &[1; 600]), Says::Garbage(16)),
        6 => ([&b"PROXY "[..], &[b'x'; 600]].concat(), Says::Garbage(536)),
        _ if !same => (v2(0x20, 0x21, &[]), Says::Local),
        7 | 8 => {
            let family = if client.is_ipv4() { 4 } else { 6 };
            let (from, to) = (client.ip(), server.ip());
            let (left, right) = (client.port(), server.port());
            let line = format!("PROXY TCP{family} {from} {to} {left} {right}\r\n");
            (line.into_bytes(), Says::Client(client, server))
        }
        _ => {
            let mut body = Vec::new();
            for end in [client, server] {
                match end.ip() {
                    std::net::IpAddr::V4(address) => body.extend(address.octets()),
                    std::net::IpAddr::V6(address) => body.extend(address.octets()),
                }
            }
            body.extend(client.port().to_be_bytes());
            body.extend(server.port().to_be_bytes());
            body.extend(vec![4; rng.count(0, 20)]);
            let family = if client.is_ipv4() { 0x11 } else { 0x21 };
            (v2(0x21, family, &body), Says::Client(client, server))
        }
    };
    Header { bytes, says }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

fn is_dismissed(id: SessionId, out: &[Output]) -> bool {
    matches!(out, [Output::Send(a, Reply::NoResources), Output::Close(b)] if (*a, *b) == (id, id))
}

impl Laws {
    /// How many connections wait for a header.
    pub fn approaching(&self) -> usize {
        self.proxies.len()
    }

    /// A connection at an address where the protocol is or may be spoken. Returns whether it is
    /// an ordinary client all the same.
    pub fn approaches(
        &mut self,
        id: SessionId,
        (peer, server): (SocketAddr, SocketAddr),
        now: Now,
        answers: &Answers,
        out: &[Output],
    ) -> Result<bool, String> {
        let Some(rules) = self.policy.upstream_proxy else { return Ok(true) };
        let spoken = answers.spoken.ok_or("nobody asked where the protocol is spoken")?;
        if spoken == Spoken::No {
            ensure(answers.trust.is_none(), || "clients need not be trusted".into())?;
            self.tally.add("no proxy");
            return Ok(true);
        }
        let trust = answers.trust.ok_or("nobody asked about trust")?;
        ensure(answers.questions == 0, || "asks about a client it does not know".into())?;
        let welcome = trust == Trust::Listed || (spoken == Spoken::Yes && trust == Trust::Anybody);
        if welcome {
            let out = self.makes_room(out)?;
            let expected =
                [Output::Watch(id, Watch::Peek), Output::SetDeadline(id, now.mono + rules.timeout)];
            ensure(out == expected, || format!("a proxy is waited for, not {out:?}"))?;
            let listed = trust == Trust::Listed;
            self.proxies.insert(id, Proxy { peer, server, listed, came: self.came });
            self.came += 1;
            return Ok(false);
        }
        self.tally.add("stranger");
        let rest = match out {
            [Output::Log(LogLine::Proxy(ProxyLine::Stranger { .. })), rest @ ..] => rest,
            rest => rest,
        };
        ensure(is_dismissed(id, rest), || format!("a stranger is sent away, not {out:?}"))?;
        Ok(false)
    }

    /// The oldest goes when as many wait as may be screened. Returns the other outputs.
    fn makes_room<'a>(&mut self, out: &'a [Output]) -> Result<&'a [Output], String> {
        let most = self.policy.limits.pre_queue;
        if most == 0 || self.proxies.len() < most {
            return Ok(out);
        }
        let oldest = self.proxies.iter().min_by_key(|(_, proxy)| proxy.came);
        let oldest = *oldest.ok_or("nobody waits")?.0;
        self.proxies.remove(&oldest);
        self.tally.add("proxy crowded out");
        let out = match out {
            [Output::Log(LogLine::Proxy(ProxyLine::Crowd { .. })), rest @ ..] => rest,
            out => out,
        };
        let (dismissal, rest) = out.split_at_checked(2).ok_or("nobody goes")?;
        ensure(is_dismissed(oldest, dismissal), || format!("{oldest:?} goes, not {out:?}"))?;
        Ok(rest)
    }

    /// Whom a reply to this input is for, if a proxy has said so just now.
    pub fn named_by(&self, id: SessionId, data: &[u8]) -> Option<SocketAddr> {
        let proxy = self.proxies.get(&id)?;
        let header = self.headers.get(&id)?;
        let complete = data.len() >= header.bytes.len();
        match header.says {
            Says::Client(client, _) => complete.then_some(client),
            Says::Local => complete.then_some(proxy.peer),
            Says::Unknown => (complete && proxy.listed).then_some(proxy.peer),
            Says::Garbage(_) => None,
        }
    }

    /// Something has happened to a connection that waits for its header.
    pub fn proxied(
        &mut self,
        id: SessionId,
        input: &Input<'_>,
        now: Now,
        answers: &Answers,
        out: &[Output],
    ) -> Result<(), String> {
        let line = match *input {
            Input::Peeked { data, .. } => {
                let header = self.headers.get(&id).ok_or("no header")?;
                let wrong = match header.says {
                    Says::Garbage(from) => data.len() >= from,
                    _ => false,
                };
                let complete = data.len() >= header.bytes.len();
                let unknown = header.says == Says::Unknown;
                let length = header.bytes.len();
                if let Some(client) = self.named_by(id, data) {
                    let says = header.says;
                    let proxy = self.proxies.remove(&id).ok_or("no proxy")?;
                    self.tally.add(if unknown { "unknown" } else { "header" });
                    let consumed = [Output::Watch(id, Watch::Nothing), Output::Consume(id, length)];
                    ensure(out.starts_with(&consumed), || format!("{length} bytes: {out:?}"))?;
                    let server = match says {
                        Says::Client(_, server) => server,
                        _ => proxy.server,
                    };
                    return self.connected(id, (client, server), now, answers, &out[2..]);
                }
                if !(wrong || complete && unknown) {
                    self.tally.add("fragment");
                    return ensure(out.is_empty(), || format!("too early: {out:?}"));
                }
                self.tally.add("bad header");
                matches!(
                    out.first(),
                    Some(Output::Log(LogLine::Proxy(ProxyLine::Wrong { data: told, .. })))
                        if **told == data[..data.len().min(536)]
                )
            }
            Input::Closed { .. } => {
                self.tally.add("no header");
                out.first() == Some(&Output::Log(LogLine::Proxy(ProxyLine::Eof)))
            }
            Input::Deadline { .. } => {
                self.tally.add("late header");
                out.first() == Some(&Output::Log(LogLine::Proxy(ProxyLine::TimeLimit)))
            }
            _ => return ensure(out.is_empty(), || format!("{out:?} for a proxy")),
        };
        self.proxies.remove(&id);
        ensure(line && is_dismissed(id, &out[1..]), || format!("one line and a reply: {out:?}"))
    }
}
