//! The PROXY protocol of HAProxy, versions 1 and 2: what a proxy says, before the client's
//! first byte, about whom it speaks for.
//!
//! As strict, and as lenient, as Postfix is, with one difference: a header may come in pieces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::policy::Protocols;

/// How much may be looked at for a header, and so the longest one, bytes. Postfix's figure.
pub const HEADER_LIMIT: usize = 536;

/// What a header of version 1 begins with.
const V1: &[u8] = b"PROXY ";

/// What a header of version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed part of a header of version 2: the signature, version and command, family and
/// transport, and the length of the rest.
const V2_FIXED: usize = 16;

/// The longest text that Postfix takes for an address, bytes.
const LONGEST_ADDRESS: usize = 45;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// The beginning of what may become a header.
    Incomplete,
    /// A header.
    Header {
        /// How many bytes it has: from there on the client speaks.
        length: usize,
        /// Whom the proxy speaks for.
        origin: Origin,
    },
    /// No header, whatever may follow.
    Wrong(Wrong),
}

/// Whom a proxy speaks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A client.
    Proxied {
        /// The client's end.
        client: SocketAddr,
        /// The end that the client has connected to.
        server: SocketAddr,
    },
    /// Itself: version 2's LOCAL.
    Local,
    /// It does not say: version 1's UNKNOWN, which is for itself and for clients that did not
    /// come by TCP.
    Unknown,
}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Wrong {
    /// It begins like neither version, and is too short for one.
    Short,
    /// It begins like neither version.
    Unrecognized,
    /// Version 1: no end of line.
    Terminator,
    /// Version 1: neither TCP4 nor TCP6, or a family that is off.
    ProtocolType,
    /// Version 1: the client's address.
    ClientAddress,
    /// Version 1: the address that the client has connected to.
    ServerAddress,
    /// Version 1: the client's port.
    ClientPort,
    /// Version 1: the port that the client has connected to.
    ServerPort,
    /// Version 2: another version.
    Version,
    /// Version 2: longer than any header may be.
    TooLong,
    /// Version 2: neither LOCAL nor PROXY.
    Command,
    /// Version 2: neither TCP over IPv4 nor TCP over IPv6.
    Protocol,
    /// Version 2: no room for two addresses.
    ShortAddress,
    /// Version 2: IPv4 is off.
    NoIpv4,
    /// Version 2: IPv6 is off.
    NoIpv6,
}

impl Wrong {
    /// All of them.
    pub const ALL: [Wrong; 15] = [
        Wrong::Short,
        Wrong::Unrecognized,
        Wrong::Terminator,
        Wrong::ProtocolType,
        Wrong::ClientAddress,
        Wrong::ServerAddress,
        Wrong::ClientPort,
        Wrong::ServerPort,
        Wrong::Version,
        Wrong::TooLong,
        Wrong::Command,
        Wrong::Protocol,
        Wrong::ShortAddress,
        Wrong::NoIpv4,
        Wrong::NoIpv6,
    ];
}

/// Takes what has arrived for a header. What is beyond the first [`HEADER_LIMIT`] bytes makes
/// no difference.
pub fn parse(data: &[u8], protocols: Protocols) -> Parsed {
    let data = data.get(..HEADER_LIMIT).unwrap_or(data);
    let parsed = if V1.starts_with(data) || V2.starts_with(data) {
        Ok(None)
    } else if data.starts_with(V1) {
        version_1(data, protocols)
    } else {
        version_2(data, protocols)
    };
    match parsed {
        Ok(None) => Parsed::Incomplete,
        Ok(Some((length, origin))) => Parsed::Header { length, origin },
        Err(wrong) => Parsed::Wrong(wrong),
    }
}

/// How long a header is and what it says; `None` while there is too little of it.
type Found = Result<Option<(usize, Origin)>, Wrong>;

fn version_1(data: &[u8], protocols: Protocols) -> Found {
    // Postfix does not see beyond a zero byte.
    let Some(end) = data.iter().position(|byte| matches!(byte, b'\n' | 0)) else {
        return if data.len() < HEADER_LIMIT { Ok(None) } else { Err(Wrong::Terminator) };
    };
    let (line, rest) = data.split_at(end);
    if rest.first() == Some(&0) {
        return Err(Wrong::Terminator);
    }
    let mut words = line
        .get(V1.len()..)
        .unwrap_or_default()
        .split(|byte| matches!(byte, b' ' | b'\r'))
        .filter(|word| !word.is_empty())
        .map(|word| std::str::from_utf8(word).unwrap_or_default());
    let mut next = || words.next().unwrap_or_default();
    let protocol = next();
    let address = if protocol.eq_ignore_ascii_case("TCP6") && protocols.ipv6 {
        ipv6_address
    } else if protocol.eq_ignore_ascii_case("TCP4") && protocols.ipv4 {
        ipv4_address
    } else if protocol == "UNKNOWN" {
        return Ok(Some((end + 1, Origin::Unknown)));
    } else {
        return Err(Wrong::ProtocolType);
    };
    let client = address(next()).ok_or(Wrong::ClientAddress)?;
    let server = address(next()).ok_or(Wrong::ServerAddress)?;
    let client_port = port(next()).ok_or(Wrong::ClientPort)?;
    let server_port = port(next()).ok_or(Wrong::ServerPort)?;
    let origin = proxied((client, client_port), (server, server_port), protocols);
    Ok(Some((end + 1, origin)))
}

fn version_2(data: &[u8], protocols: Protocols) -> Found {
    let Some((fixed, rest)) = data.split_first_chunk::<V2_FIXED>() else {
        return if data.starts_with(V2) { Ok(None) } else { Err(Wrong::Short) };
    };
    if !fixed.starts_with(V2) {
        return Err(Wrong::Unrecognized);
    }
    let [.., version_and_command, protocol, high, low] = *fixed;
    if version_and_command >> 4 != 2 {
        return Err(Wrong::Version);
    }
    let following = usize::from(u16::from_be_bytes([high, low]));
    let length = V2_FIXED + following;
    if length > HEADER_LIMIT {
        return Err(Wrong::TooLong);
    }
    let Some(body) = rest.get(..following) else { return Ok(None) };
    let origin = match (version_and_command & 0x0f, protocol) {
        (0, _) => Origin::Local,
        (1, 0x11) if !protocols.ipv4 => return Err(Wrong::NoIpv4),
        (1, 0x11) => ends::<4>(body, protocols)?,
        (1, 0x21) if !protocols.ipv6 => return Err(Wrong::NoIpv6),
        (1, 0x21) => ends::<16>(body, protocols)?,
        (1, _) => return Err(Wrong::Protocol),
        _ => return Err(Wrong::Command),
    };
    Ok(Some((length, origin)))
}

/// Two addresses of N bytes, and two ports. What follows them is of no interest.
fn ends<const N: usize>(body: &[u8], protocols: Protocols) -> Result<Origin, Wrong>
where
    IpAddr: From<[u8; N]>,
{
    let split = || {
        let (client, rest) = body.split_first_chunk::<N>()?;
        let (server, rest) = rest.split_first_chunk::<N>()?;
        let (client_port, rest) = rest.split_first_chunk::<2>()?;
        let (server_port, _) = rest.split_first_chunk::<2>()?;
        let client = (IpAddr::from(*client), u16::from_be_bytes(*client_port));
        let server = (IpAddr::from(*server), u16::from_be_bytes(*server_port));
        Some(proxied(client, server, protocols))
    };
    split().ok_or(Wrong::ShortAddress)
}

/// An IPv4 client on an IPv6 socket is an IPv4 client, unless IPv4 is off.
fn proxied(client: (IpAddr, u16), server: (IpAddr, u16), protocols: Protocols) -> Origin {
    let plain = |(address, port): (IpAddr, u16)| {
        let address = if protocols.ipv4 { address.to_canonical() } else { address };
        SocketAddr::new(address, port)
    };
    Origin::Proxied { client: plain(client), server: plain(server) }
}

/// Four numbers. Postfix leaves the reading of them to the C library, to which a leading zero
/// means octal; an address other than 0.0.0.0 may not begin with 0.
fn ipv4_address(text: &str) -> Option<IpAddr> {
    if text.len() > LONGEST_ADDRESS {
        return None;
    }
    let mut octets = [0; 4];
    let mut words = text.split('.');
    for octet in &mut octets {
        let word = words.next()?;
        if !word.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Postfix's own check reads the same digits as a decimal number.
        let decimal: u8 = word.parse().ok()?;
        let is_octal = word.len() > 1 && word.starts_with('0');
        *octet = if is_octal { u8::from_str_radix(word, 8).ok()? } else { decimal };
    }
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let begins_with_zero = octets.first() == Some(&0);
    (words.next().is_none() && (is_zero || !begins_with_zero))
        .then(|| Ipv4Addr::from(octets).into())
}

fn ipv6_address(text: &str) -> Option<IpAddr> {
    if text.len() > LONGEST_ADDRESS {
        return None;
    }
    let address: Ipv6Addr = text.parse().ok()?;
    // An IPv4 address at the end has to be one that would do by itself.
    let tail = text.rsplit(':').next().filter(|tail| tail.contains('.'));
    tail.is_none_or(|tail| ipv4_address(tail).is_some()).then_some(address.into())
}

/// A decimal number without leading zeros.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
