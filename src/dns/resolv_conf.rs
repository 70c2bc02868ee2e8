//! Whom to ask: resolv.conf(5), read as the C library reads it, or a list of our own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;
use std::time::Duration;

use hickory_resolver::system_conf::parse_resolv_conf;

/// The most servers that are asked, as in the C library (MAXNS).
pub const MOST_SERVERS: usize = 3;

/// The port of name servers (RFC 1035 4.2).
const PORT: u16 = 53;

/// The highest `timeout`, seconds (RES_MAXRETRANS).
const MOST_TIMEOUT: u64 = 30;

/// The highest `attempts` (RES_MAXRETRY).
const MOST_ATTEMPTS: usize = 5;

/// The name servers, and how to ask them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Servers {
    /// One to three servers, in the order in which they are asked.
    pub list: Vec<SocketAddr>,
    /// resolv.conf: `options timeout`, how long one server is waited for; 1 to 30 s.
    pub timeout: Duration,
    /// resolv.conf: `options attempts`, how often each server is asked; 1 to 5.
    pub attempts: u32,
    /// resolv.conf: `options rotate`, begin each look-up with another server.
    pub rotate: bool,
}

impl Default for Servers {
    /// What the C library does without a resolv.conf: ask this host.
    fn default() -> Servers {
        Servers {
            list: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
        }
    }
}

/// Why a list of servers is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// Not even one.
    #[error("no name server")]
    Empty,
    /// More than three.
    #[error("more than {MOST_SERVERS} name servers")]
    TooMany,
    /// Something is no address.
    #[error("\"{0}\" is no name server: need address, [address] or [address]:port")]
    Address(String),
    /// The part after `%` names no network interface.
    #[error("\"{0}\": there is no network interface of this name")]
    Interface(String),
}

impl Servers {
    /// Reads the text of resolv.conf. What is wrong in it is skipped, and told in the second
    /// result if it names a server; if no server is left, this host is asked.
    pub fn from_resolv_conf(text: &[u8]) -> (Servers, Vec<String>) {
        let text = String::from_utf8_lossy(text);
        let mut servers = Servers::default();
        let mut warnings = Vec::new();
        let mut list = Vec::new();
        // A keyword begins its line, and what stands behind the value is ignored.
        for line in text.lines().filter(|line| keyword(line) == "nameserver") {
            let Some(word) = line.split_ascii_whitespace().nth(1) else { continue };
            match address(word) {
                Ok(address) if list.len() < MOST_SERVERS => list.push(address),
                Ok(_) => {}
                Err(error) => warnings.push(format!("resolv.conf: {error}; ignored")),
            }
        }
        if !list.is_empty() {
            servers.list = list;
        }
        servers.read_options(&text);
        (servers, warnings)
    }

    /// The same options, but other servers.
    #[must_use]
    pub fn with_list(self, list: Vec<SocketAddr>) -> Servers {
        Servers { list, ..self }
    }

    fn read_options(&mut self, text: &str) {
        let lines = || text.lines().filter(|line| keyword(line) == "options");
        let words = || lines().flat_map(|line| line.split_ascii_whitespace().skip(1));
        self.rotate = words().any(|word| word == "rotate");
        // Only the options, and a server, without which hickory would refuse the whole.
        let mut options = String::from("nameserver 127.0.0.1\n");
        for word in words() {
            options.extend(["options ", word, "\n"]);
        }
        if let Ok((_, options)) = parse_resolv_conf(options) {
            let seconds = options.timeout.as_secs().clamp(1, MOST_TIMEOUT);
            self.timeout = Duration::from_secs(seconds);
            let attempts = options.attempts.clamp(1, MOST_ATTEMPTS);
            self.attempts = u32::try_from(attempts).unwrap_or(1);
        }
    }
}

/// Reads a list of servers (gatepost.cf: `dnsbl_nameservers`): addresses separated by comma
/// or white space, each `address`, `[address]` or `[address]:port`.
pub fn server_list(text: &str) -> Result<Vec<SocketAddr>, ListError> {
    let words = text.split(|c: char| c == ',' || c.is_ascii_whitespace());
    let list = words
        .filter(|word| !word.is_empty())
        .map(address_and_port)
        .collect::<Result<Vec<_>, _>>()?;
    match list.len() {
        0 => Err(ListError::Empty),
        count if count > MOST_SERVERS => Err(ListError::TooMany),
        _ => Ok(list),
    }
}

/// The first word, if it begins the line.
fn keyword(line: &str) -> &str {
    line.split([' ', '\t']).next().unwrap_or_default()
}

fn address_and_port(word: &str) -> Result<SocketAddr, ListError> {
    let wrong = || ListError::Address(word.to_owned());
    let Some(bracketed) = word.strip_prefix('[') else { return address(word) };
    let (inside, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
    let mut server = address(inside).map_err(|error| match error {
        ListError::Address(_) => wrong(),
        other => other,
    })?;
    if !rest.is_empty() {
        let digits = rest.strip_prefix(':').ok_or_else(wrong)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        match digits.parse() {
            Ok(port) if port != 0 => server.set_port(port),
            _ => return Err(wrong()),
        }
    }
    Ok(server)
}

/// An address, for a link-local one also with `%` and the name or number of an interface.
fn address(word: &str) -> Result<SocketAddr, ListError> {
    let wrong = || ListError::Address(word.to_owned());
    let Some((address, interface)) = word.split_once('%') else {
        let address = IpAddr::from_str(word).map_err(|_| wrong())?;
        return Ok(SocketAddr::new(address, PORT));
    };
    let address = Ipv6Addr::from_str(address).map_err(|_| wrong())?;
    let scope = match interface.parse() {
        Ok(number) => number,
        Err(_) => nix::net::if_::if_nametoindex(interface)
            .map_err(|_| ListError::Interface(word.to_owned()))?,
    };
    Ok(SocketAddr::V6(SocketAddrV6::new(address, PORT, 0, scope)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Servers, Vec<String>) {
        Servers::from_resolv_conf(text.as_bytes())
    }

    fn list(text: &str) -> Vec<String> {
        read(text).0.list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn without_a_server_this_host_is_asked() {
        let expected = Servers {
            list: vec!["127.0.0.1:53".parse().unwrap()],
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
        };
        for text in ["", "\n\n", "# nameserver 192.0.2.1\n; nothing\nsearch example.com\n"] {
            assert_eq!(read(text), (expected.clone(), vec![]), "{text:?}");
        }
    }

    #[test]
    fn servers_in_their_order_and_no_more_than_three() {
        assert_eq!(
            list("nameserver 192.0.2.1\nnameserver\t2001:db8::1  # comment\nnameserver ::1"),
            ["192.0.2.1:53", "[2001:db8::1]:53", "[::1]:53"]
        );
        assert_eq!(
            list("nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4"),
            ["1.1.1.1:53", "1.1.1.2:53", "1.1.1.3:53"]
        );
    }

    #[test]
    fn options() {
        let options = |text: &str| {
            let servers = read(text).0;
            (servers.timeout.as_secs(), servers.attempts, servers.rotate)
        };
        assert_eq!(options("options timeout:3 attempts:4 rotate"), (3, 4, true));
        assert_eq!(options("options timeout:3\noptions edns0 attempts:1 trust-ad"), (3, 1, false));
        assert_eq!(options("options timeout:99 attempts:99"), (30, 5, false));
        assert_eq!(options("options timeout:0 attempts:0"), (1, 1, false));
        assert_eq!(options("options timeout:x attempts: ndots:15 what:ever"), (5, 2, false));
        assert_eq!(options("options timeout:2 timeout:x rotate\ttimeout:4"), (4, 2, true));
        assert_eq!(
            options("#options timeout:2\n options timeout:2\noption timeout:2"),
            (5, 2, false)
        );
    }

    /// What hickory or we do not understand must not cost what we do.
    #[test]
    fn garbage_spoils_nothing_else() {
        let good = "nameserver 192.0.2.1\noptions timeout:3\n";
        for bad in [
            "nameserver",
            "nameserver ",
            "nameserverx 192.0.2.7",
            "search a..b - -- \u{e9} *.x",
            "search aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "domain",
            "domain ....",
            "sortlist 1.2.3.4/5/6",
            "options",
            "options timeout",
            "options ::: attempts:-1 ndots:99999999999",
            "what is this?",
            "\0\0\0",
        ] {
            for text in [format!("{bad}\n{good}"), format!("{good}{bad}\n")] {
                let (servers, warnings) = read(&text);
                assert_eq!(servers.list, ["192.0.2.1:53".parse().unwrap()], "{bad:?}");
                assert_eq!(servers.timeout.as_secs(), 3, "{bad:?}");
                assert!(warnings.is_empty(), "{bad:?} {warnings:?}");
            }
        }
        let (servers, _) = Servers::from_resolv_conf(b"search \xff\xfe\nnameserver 192.0.2.1\r\n");
        assert_eq!(servers.list, ["192.0.2.1:53".parse().unwrap()]);
    }

    #[test]
    fn a_bad_server_is_told_of() {
        let (servers, warnings) =
            read("nameserver dns.example\nnameserver 192.0.2.1\nnameserver fe80::1%none0");
        assert_eq!(servers.list, ["192.0.2.1:53".parse().unwrap()]);
        assert_eq!(
            warnings,
            [
                "resolv.conf: \"dns.example\" is no name server: need address, [address] or \
                 [address]:port; ignored",
                "resolv.conf: \"fe80::1%none0\": there is no network interface of this name; \
                 ignored",
            ]
        );
    }

    #[test]
    fn interfaces_have_names_or_numbers() {
        assert_eq!(list("nameserver fe80::1%7"), ["[fe80::1%7]:53"]);
        let number = nix::net::if_::if_nametoindex("lo").unwrap();
        assert_eq!(list("nameserver fe80::1%lo"), [format!("[fe80::1%{number}]:53")]);
        assert_eq!(list("nameserver 192.0.2.1%lo"), ["127.0.0.1:53"]);
    }

    #[test]
    fn lists_of_our_own() {
        let list = |text: &str| {
            server_list(text)
                .map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(list("192.0.2.1").unwrap(), ["192.0.2.1:53"]);
        assert_eq!(
            list("[192.0.2.1]:5353, 2001:db8::1 ,\t[::1]:54").unwrap(),
            ["192.0.2.1:5353", "[2001:db8::1]:53", "[::1]:54"]
        );
        assert_eq!(list("[::1]").unwrap(), ["[::1]:53"]);
        assert_eq!(list("[fe80::1%3]:54").unwrap(), ["[fe80::1%3]:54"]);
        assert_eq!(list(" ,, ").unwrap_err(), "no name server");
        assert_eq!(list("::1 ::2 ::3 ::4").unwrap_err(), "more than 3 name servers");
        for bad in [
            "dns.example",
            "[::1",
            "::1]",
            "[]",
            "[::1]53",
            "[::1]:",
            "[::1]:0",
            "[::1]:65536",
            "[::1]:+5",
            "192.0.2.1:53",
            "1.2.3",
            "%lo",
        ] {
            let error = list(&format!("127.0.0.1, {bad}")).unwrap_err();
            let expected =
                format!("\"{bad}\" is no name server: need address, [address] or [address]:port");
            assert_eq!(error, expected);
        }
        assert_eq!(
            list("fe80::1%none0").unwrap_err(),
            "\"fe80::1%none0\": there is no network interface of this name"
        );
    }

    #[test]
    fn other_servers_with_the_same_options() {
        let servers = read("nameserver ::1\noptions timeout:2").0;
        let servers = servers.with_list(server_list("[::2]:54").unwrap());
        assert_eq!(servers.list, ["[::2]:54".parse().unwrap()]);
        assert_eq!(servers.timeout.as_secs(), 2);
    }
}
