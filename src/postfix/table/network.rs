//! An address range in table and list syntax: `address[/length]`, with optional brackets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::screen::address::AddressText;

/// A network, without host bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Network {
    /// IPv4: the first address and the prefix length, 0..=32.
    V4(Ipv4Addr, u8),
    /// IPv6: the first address and the prefix length, 0..=128.
    V6(Ipv6Addr, u8),
}

/// What is wrong with the text of a network; the messages are Postfix's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    /// No prefix length, and no address.
    #[error("bad address pattern: \"{0}\"")]
    Address(String),
    /// The prefix length is not a number.
    #[error("bad mask value in \"{0}\"")]
    MaskValue(String),
    /// The prefix length is too long for the family.
    #[error("bad mask length in \"{0}\"")]
    MaskLength(String),
    /// There is a prefix length, but no address.
    #[error("bad network value in \"{0}\"")]
    NetworkValue(String),
    /// The address has bits beyond the prefix.
    #[error("non-null host address bits in \"{0}\", perhaps you should use \"{1}\" instead")]
    HostBits(String, Network),
    /// An opening bracket is not closed.
    #[error("missing ']' character after \"{0}\"")]
    Bracket(String),
    /// Something other than a prefix length follows the closing bracket.
    #[error("garbage after \"{0}\"")]
    Garbage(String),
}

impl Network {
    /// Reads `address`, `address/length`, `[address]`, `[address]/length` or
    /// `[address/length]`.
    pub fn parse(text: &str) -> Result<Network, NetworkError> {
        let Some(bracketed) = text.strip_prefix('[') else {
            return match text.split_once('/') {
                Some((address, length)) => with_length(address, length),
                None => single(text),
            };
        };
        match bracketed.split_once(']') {
            None => Err(NetworkError::Bracket(text.into())),
            Some((inside, "")) => match inside.split_once('/') {
                Some((address, length)) => with_length(address, length),
                None => single(inside),
            },
            Some((inside, after)) => match after.strip_prefix('/') {
                Some(length) => with_length(inside, length),
                None => Err(NetworkError::Garbage(format!("[{inside}]"))),
            },
        }
    }

    /// The network of this prefix length that contains `address`; a length beyond the
    /// family's counts as the family's.
    pub fn containing(address: IpAddr, length: u8) -> Network {
        match address {
            IpAddr::V4(address) => {
                let length = length.min(32);
                let first = address.to_bits() & !host_bits_v4(length);
                Network::V4(Ipv4Addr::from_bits(first), length)
            }
            IpAddr::V6(address) => {
                let length = length.min(128);
                let first = address.to_bits() & !host_bits_v6(length);
                Network::V6(Ipv6Addr::from_bits(first), length)
            }
        }
    }

    /// Whether the address is in the network. An address of the other family never is,
    /// IPv4-mapped ones included.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Network::V4(first, length), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()) & !host_bits_v4(length) == 0
            }
            (Network::V6(first, length), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()) & !host_bits_v6(length) == 0
            }
            _ => false,
        }
    }

    /// Whether the network and the address are of one family.
    pub fn same_family(self, address: IpAddr) -> bool {
        matches!(self, Network::V4(..)) == address.is_ipv4()
    }
}

/// The addresses of an IPv4 network, for the index.
pub(super) fn range_v4(first: Ipv4Addr, length: u8) -> RangeInclusive<Ipv4Addr> {
    first..=Ipv4Addr::from_bits(first.to_bits() | host_bits_v4(length))
}

/// The addresses of an IPv6 network, for the index.
pub(super) fn range_v6(first: Ipv6Addr, length: u8) -> RangeInclusive<Ipv6Addr> {
    first..=Ipv6Addr::from_bits(first.to_bits() | host_bits_v6(length))
}

fn host_bits_v4(length: u8) -> u32 {
    u32::MAX.checked_shr(length.into()).unwrap_or(0)
}

fn host_bits_v6(length: u8) -> u128 {
    u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

fn single(text: &str) -> Result<Network, NetworkError> {
    let address: IpAddr = text.parse().map_err(|_| NetworkError::Address(text.into()))?;
    Ok(Network::containing(address, u8::MAX))
}

fn with_length(address: &str, length: &str) -> Result<Network, NetworkError> {
    let text = || format!("{address}/{length}");
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NetworkError::MaskValue(text()));
    }
    let longest = if address.contains(':') { 128 } else { 32 };
    let length: u8 = match length.parse() {
        Ok(length) if length <= longest => length,
        // Too long for the type is too long for the family.
        _ => return Err(NetworkError::MaskLength(text())),
    };
    let parsed: IpAddr = address.parse().map_err(|_| NetworkError::NetworkValue(text()))?;
    let network = Network::containing(parsed, length);
    if !network.starts_at(parsed) {
        return Err(NetworkError::HostBits(text(), network));
    }
    Ok(network)
}

impl Network {
    fn starts_at(self, address: IpAddr) -> bool {
        match self {
            Network::V4(first, _) => first == address,
            Network::V6(first, _) => first == address,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Network::V4(first, length) => write!(f, "{first}/{length}"),
            Network::V6(first, length) => write!(f, "{}/{length}", AddressText(first.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> String {
        match Network::parse(text) {
            Ok(network) => network.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn forms() {
        assert_eq!(network("192.0.2.1"), "192.0.2.1/32");
        assert_eq!(network("[192.0.2.1]"), "192.0.2.1/32");
        assert_eq!(network("10.0.0.0/8"), "10.0.0.0/8");
        assert_eq!(network("10.0.0.0/008"), "10.0.0.0/8");
        assert_eq!(network("[10.0.0.0]/8"), "10.0.0.0/8");
        assert_eq!(network("[10.0.0.0/8]"), "10.0.0.0/8");
        assert_eq!(network("0.0.0.0/0"), "0.0.0.0/0");
        assert_eq!(network("::/0"), "::/0");
        assert_eq!(network("2001:DB8:0:0::/32"), "2001:db8::/32");
        assert_eq!(network("::0001"), "::1/128");
    }

    #[test]
    fn errors_in_the_words_of_postfix() {
        for (text, expected) in [
            ("127.24.1", "bad address pattern: \"127.24.1\""),
            ("[]", "bad address pattern: \"\""),
            ("1.2.3.4]", "bad address pattern: \"1.2.3.4]\""),
            ("10.0.0.0/", "bad mask value in \"10.0.0.0/\""),
            ("[10.0.0.0/]", "bad mask value in \"10.0.0.0/\""),
            ("[10.0.0.0]/", "bad mask value in \"10.0.0.0/\""),
            ("10.0.0.0/8/9", "bad mask value in \"10.0.0.0/8/9\""),
            ("10.0.0.0/+8", "bad mask value in \"10.0.0.0/+8\""),
            ("1.2.3.4/::", "bad mask value in \"1.2.3.4/::\""),
            ("10.0.0.0/33", "bad mask length in \"10.0.0.0/33\""),
            ("300.0.0.0/33", "bad mask length in \"300.0.0.0/33\""),
            ("2001:db8::/129", "bad mask length in \"2001:db8::/129\""),
            ("10.0.0.0/99999999999", "bad mask length in \"10.0.0.0/99999999999\""),
            ("300.0.0.0/8", "bad network value in \"300.0.0.0/8\""),
            ("/8", "bad network value in \"/8\""),
            ("[]/8", "bad network value in \"/8\""),
            ("[10.0.0.0/8]/8", "bad network value in \"10.0.0.0/8/8\""),
            ("[10.0.0.0/8", "missing ']' character after \"[10.0.0.0/8\""),
            ("[10.0.0.0]8", "garbage after \"[10.0.0.0]\""),
            ("[[::1]]", "garbage after \"[[::1]\""),
            (
                "127.21.0.1/16",
                "non-null host address bits in \"127.21.0.1/16\", perhaps you should use \
                 \"127.21.0.0/16\" instead",
            ),
            (
                "[2001:db8::1]/32",
                "non-null host address bits in \"2001:db8::1/32\", perhaps you should use \
                 \"2001:db8::/32\" instead",
            ),
            (
                "::1.2.3.4/96",
                "non-null host address bits in \"::1.2.3.4/96\", perhaps you should use \
                 \"::/96\" instead",
            ),
            (
                "::ffff:1.2.3.4/96",
                "non-null host address bits in \"::ffff:1.2.3.4/96\", perhaps you should use \
                 \"::ffff:0.0.0.0/96\" instead",
            ),
        ] {
            assert_eq!(network(text), expected);
        }
    }

    #[test]
    fn membership() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "255.255.255.255"));
        assert!(!contains("0.0.0.0/0", "::ffff:1.2.3.4"));
        assert!(contains("::/0", "fe80::1"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!contains("2001:db8::/33", "2001:db8:8000::1"));
        assert!(contains("192.0.2.1", "192.0.2.1"));
        assert!(!contains("192.0.2.1", "192.0.2.2"));
    }
}
