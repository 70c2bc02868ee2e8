//! What is wrong with proxies, in Postfix's words where it has them.

use std::fmt;
use std::net::SocketAddr;

use super::form::{End, Escaped};
use crate::screen::proxy_protocol::Wrong;

/// Why a connection that should have come through a proxy is dropped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProxyLine {
    /// What came first is no header.
    Wrong {
        /// Why not.
        wrong: Wrong,
        /// What came, as far as it was looked at.
        data: Box<[u8]>,
    },
    /// The connection was closed before the header was complete.
    Eof,
    /// The header was not complete in time.
    TimeLimit,
    /// Too many wait for their headers: the oldest connection has to go.
    Crowd {
        /// How many more there were since the last line like this.
        unsaid: u64,
    },
    /// It comes from somebody who is not on the list of trusted proxies.
    Stranger {
        /// From whom.
        peer: SocketAddr,
        /// How many more there were since the last line like this.
        unsaid: u64,
    },
}

impl fmt::Display for ProxyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyLine::Wrong { wrong, data } => {
                write!(f, "haproxy read: {wrong}: {}", Escaped(data))
            }
            ProxyLine::Eof => f.write_str("haproxy read: EOF"),
            ProxyLine::TimeLimit => f.write_str("haproxy read: time limit exceeded"),
            ProxyLine::Stranger { peer, unsaid } => {
                let peer = End(peer);
                write!(
                    f,
                    "haproxy: {peer} is not in upstream_proxy_networks -- dropping this connection"
                )?;
                more(f, *unsaid)
            }
            ProxyLine::Crowd { unsaid } => {
                f.write_str(
                    "haproxy read: too many connections without a header \
                     -- dropping the oldest one",
                )?;
                more(f, *unsaid)
            }
        }
    }
}

fn more(f: &mut fmt::Formatter<'_>, unsaid: u64) -> fmt::Result {
    match unsaid {
        0 => Ok(()),
        _ => write!(f, " ({unsaid} more since the last such line)"),
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::Short => "short protocol header",
            Wrong::Unrecognized => "unrecognized protocol header",
            Wrong::Terminator => "missing protocol header terminator",
            Wrong::ProtocolType => "bad or missing protocol type",
            Wrong::ClientAddress => "bad or missing client address",
            Wrong::ServerAddress => "bad or missing server address",
            Wrong::ClientPort => "bad or missing client port",
            Wrong::ServerPort => "bad or missing server port",
            Wrong::Version => "unrecognized protocol version",
            Wrong::TooLong => "short version 2 protocol header",
            Wrong::Command => "bad command in proxy header",
            Wrong::Protocol => "unsupported network protocol",
            Wrong::ShortAddress => "short address field",
            Wrong::NoIpv4 => "Postfix IPv4 support is disabled",
            Wrong::NoIpv6 => "Postfix IPv6 support is disabled",
        })
    }
}
