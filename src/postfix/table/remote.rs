//! Tables that live in other programs: what to ask whom, and what came of it.
//!
//! Nobody waits for them in the middle of an evaluation. A look-up that needs an answer which
//! is not there yet ends the evaluation with [`Answer::Asked`](super::Answer::Asked); when the
//! answer has come, the same evaluation is made again from its start, and gets further.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Duplicates, OpenOptions, TableId};

/// A table elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteTable {
    /// Who is asked.
    pub server: Server,
    /// How.
    pub dialect: Dialect,
}

/// A program that answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Server {
    /// proxymap(8), by main.cf: `proxymap_service_name`.
    Proxymap,
    /// A socket in the file system. In a jail, the path counts from there.
    Unix(PathBuf),
    /// A TCP port.
    Inet {
        /// The server as written, `host:port`; warnings name it.
        name: String,
        /// Where it is, as found at the start.
        addresses: Vec<SocketAddr>,
    },
}

/// What a server understands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// proxymap(8): a table that it opens for us.
    Proxymap {
        /// `type:name`, without `proxy:`.
        table: String,
        /// How the table is to be opened.
        flags: u32,
        /// Whether main.cf has it without `proxy:`; the administrator may not know then why
        /// proxymap(8) has a say.
        implied: bool,
    },
    /// socketmap_table(5): a table of the server.
    Socketmap {
        /// Its name.
        map: String,
    },
    /// tcp_table(5).
    Tcp,
}

/// A key that a table elsewhere is asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RemoteQuestion {
    /// The table.
    pub table: TableId,
    /// The key.
    pub key: Box<[u8]>,
}

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RemoteAnswer {
    /// The key's value.
    Found(String),
    /// The table does not have the key.
    NotFound,
    /// There is no answer. If there is anything to say about that, it has been said.
    Failed,
}

/// The questions that somebody has had answered.
pub type Known = [(RemoteQuestion, RemoteAnswer)];

/// What is wrong with the name of a table elsewhere; the messages are Postfix's, as far as it
/// has some.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RemoteError {
    /// There is no table behind `proxy:`.
    #[error("open dictionary: expecting \"type:name\" form instead of \"{0}\"")]
    NotTypeAndName(String),
    /// There is no table of the server behind a socketmap's server.
    #[error("{0} requires server:socketmap argument")]
    NoSocketmap(String),
    /// A server that is neither a path nor a host and port.
    #[error("bad server name \"{0}\": need \"inet:host:port\" or \"unix:path\"")]
    BadServer(String),
    /// The host is unknown, or the port is.
    #[error("host {0}: {1}")]
    UnknownHost(String, String),
}

/// Finds out the addresses of `host:port`.
pub type Resolve<'a> = &'a dyn Fn(&str, &str) -> Result<Vec<SocketAddr>, String>;

/// Lock before access.
const FLAG_LOCK: u32 = 64;
/// Warn of duplicates.
const FLAG_WARN: u32 = 1;
/// Ignore the case of keys of fixed-string tables.
const FLAG_FOLD: u32 = 16_384;
/// See to UTF-8.
const FLAG_UTF8: u32 = 524_288;

/// The flags of Postfix's dictionaries that say the same.
fn flags(options: OpenOptions) -> u32 {
    let warn = if options.duplicates == Duplicates::Warn { FLAG_WARN } else { 0 };
    let fold = if options.fold_keys { FLAG_FOLD } else { 0 };
    let utf8 = if options.utf8_values { FLAG_UTF8 } else { 0 };
    FLAG_LOCK | warn | fold | utf8
}

impl RemoteTable {
    /// `proxy:type:name`; further `proxy:` do not count.
    ///
    /// # Errors
    /// Without a type or a name.
    pub fn proxy(name: &str, options: OpenOptions) -> Result<RemoteTable, RemoteError> {
        let mut table = name;
        while let Some(inner) = table.strip_prefix("proxy:") {
            table = inner;
        }
        if !table.split_once(':').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty()) {
            return Err(RemoteError::NotTypeAndName(table.to_owned()));
        }
        Ok(RemoteTable::through_proxymap(table, options, false))
    }

    /// `type:name` of a type that only other programs of Postfix know.
    pub fn implied(spec: &str, options: OpenOptions) -> RemoteTable {
        RemoteTable::through_proxymap(spec, options, true)
    }

    fn through_proxymap(table: &str, options: OpenOptions, implied: bool) -> RemoteTable {
        let table = table.to_owned();
        let dialect = Dialect::Proxymap { table, flags: flags(options), implied };
        RemoteTable { server: Server::Proxymap, dialect }
    }

    /// `socketmap:inet:host:port:map` or `socketmap:unix:path:map`, without the type.
    ///
    /// # Errors
    /// If it is not of this form, or nobody knows the host.
    pub fn socketmap(name: &str, resolve: Resolve<'_>) -> Result<RemoteTable, RemoteError> {
        let no_map = || RemoteError::NoSocketmap(format!("socketmap:{name}"));
        let (server, map) = name.rsplit_once(':').ok_or_else(no_map)?;
        let server = match server.split_once(':') {
            Some(("inet", server)) => inet(server, resolve)?,
            Some(("unix", path)) if !path.is_empty() => Server::Unix(PathBuf::from(path)),
            _ => return Err(RemoteError::BadServer(server.to_owned())),
        };
        if map.is_empty() {
            return Err(no_map());
        }
        Ok(RemoteTable { server, dialect: Dialect::Socketmap { map: map.to_owned() } })
    }

    /// `tcp:host:port`, without the type.
    ///
    /// # Errors
    /// If it is not of this form, or nobody knows the host.
    pub fn tcp(name: &str, resolve: Resolve<'_>) -> Result<RemoteTable, RemoteError> {
        Ok(RemoteTable { server: inet(name, resolve)?, dialect: Dialect::Tcp })
    }
}

/// `host:port`; an IPv6 address stands in brackets.
fn inet(text: &str, resolve: Resolve<'_>) -> Result<Server, RemoteError> {
    let bad = || RemoteError::BadServer(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let inner = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'));
    let host = inner.filter(|host| !host.is_empty()).ok_or_else(bad)?;
    if port.is_empty() {
        return Err(bad());
    }
    let addresses =
        resolve(host, port).map_err(|reason| RemoteError::UnknownHost(text.to_owned(), reason))?;
    Ok(Server::Inet { name: text.to_owned(), addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(host: &str, port: &str) -> Result<Vec<SocketAddr>, String> {
        match host {
            "nowhere" => Err("Name or service not known".to_owned()),
            "localhost" => Ok(vec![format!("127.0.0.1:{port}").parse().unwrap()]),
            _ if host.contains(':') => Ok(vec![format!("[{host}]:{port}").parse().unwrap()]),
            _ => Ok(vec![format!("{host}:{port}").parse().unwrap()]),
        }
    }

    fn inet_server(name: &str, address: &str) -> Server {
        Server::Inet { name: name.to_owned(), addresses: vec![address.parse().unwrap()] }
    }

    #[test]
    fn forms() {
        let table = RemoteTable::socketmap("inet:localhost:99:m", &resolve).unwrap();
        assert_eq!(table.server, inet_server("localhost:99", "127.0.0.1:99"));
        assert_eq!(table.dialect, Dialect::Socketmap { map: "m".to_owned() });
        let table = RemoteTable::socketmap("unix:/run/m:x", &resolve).unwrap();
        assert_eq!(table.server, Server::Unix("/run/m".into()));
        let table = RemoteTable::tcp("[::1]:99", &resolve).unwrap();
        assert_eq!(table.server, inet_server("[::1]:99", "[::1]:99"));
        for (name, table, flags) in
            [("hash:/x", "hash:/x", 524_352), ("proxy:proxy:cidr:/y", "cidr:/y", 524_352)]
        {
            let dialect = Dialect::Proxymap { table: table.to_owned(), flags, implied: false };
            assert_eq!(RemoteTable::proxy(name, OpenOptions::EXACT).unwrap().dialect, dialect);
        }
    }

    #[test]
    fn the_flags_are_those_of_postscreen() {
        assert_eq!(flags(OpenOptions::FOLDED), 64 + 16_384 + 524_288);
        assert_eq!(flags(OpenOptions::COMMANDS), 64 + 16_384);
        assert_eq!(flags(OpenOptions::TOLERANT), 64 + 1 + 524_288);
    }

    #[test]
    fn errors() {
        let text = |error: RemoteError| error.to_string();
        for (name, expected) in [
            ("nothing", "socketmap:nothing requires server:socketmap argument"),
            (
                "inet:localhost:99:",
                "socketmap:inet:localhost:99: requires server:socketmap argument",
            ),
            (
                "127.0.0.1:99:m",
                "bad server name \"127.0.0.1:99\": need \"inet:host:port\" or \"unix:path\"",
            ),
            ("unix::m", "bad server name \"unix:\": need \"inet:host:port\" or \"unix:path\""),
            ("inet:nowhere:99:m", "host nowhere:99: Name or service not known"),
        ] {
            assert_eq!(text(RemoteTable::socketmap(name, &resolve).unwrap_err()), expected);
        }
        for name in ["99", ":99", "[::1:99", "host:"] {
            let expected =
                format!("bad server name \"{name}\": need \"inet:host:port\" or \"unix:path\"");
            assert_eq!(text(RemoteTable::tcp(name, &resolve).unwrap_err()), expected);
        }
        let expected = "open dictionary: expecting \"type:name\" form instead of \"x\"";
        for name in ["x", "proxy:x"] {
            assert_eq!(text(RemoteTable::proxy(name, OpenOptions::EXACT).unwrap_err()), expected);
        }
    }
}
