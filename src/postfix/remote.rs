//! The languages in which tables in other programs are asked: bytes out, bytes in.
//!
//! A [`Talk`] is one connection's share of the conversation. It asks one question at a time,
//! as all of these protocols want it, and owns no socket.

mod proxymap;
mod socketmap;
mod tcp_table;

use crate::postfix::message::Message;
use crate::postfix::table::{Dialect, RemoteAnswer};

pub use proxymap::Generation;

/// What depends on the Postfix around us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Customs {
    /// What proxymap(8) understands.
    pub proxymap: Generation,
    /// main.cf: `socketmap_max_query_size`, bytes; `None` before Postfix 3.10.
    pub socketmap_query: Option<usize>,
    /// main.cf: `socketmap_max_reply_size`, bytes.
    pub socketmap_reply: usize,
}

/// How a connection to a server is talked over.
#[derive(Debug)]
pub struct Talk {
    language: Language,
    customs: Customs,
    unread: Vec<u8>,
}

#[derive(Debug)]
enum Language {
    Proxymap(proxymap::Client),
    Socketmap,
    Tcp { name: String },
}

/// What has become of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// It is under way.
    Sent,
    /// No server could have such a key: it is not found, with this warning.
    NotAtAll(Option<String>),
}

/// How far a question has got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More bytes have to come.
    Waits,
    /// It is answered. The connection is ready for the next one.
    Answered(RemoteAnswer),
    /// There is no answer.
    Failed {
        /// The warning about it, unless the server has logged why.
        warning: Option<String>,
        /// What that means for the connection.
        then: Then,
    },
}

/// What becomes of a connection after a question that was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// It is ready for the next one.
    NextQuestion,
    /// It is of no use any more.
    Close,
    /// Nor is it here: the server has understood something else than was said, or the other
    /// way round. It may be of another version.
    Misunderstood,
}

/// Why a server does not answer; reasons are strerror(3)'s texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence<'a> {
    /// It cannot be reached.
    Unreachable(&'a str),
    /// The connection has broken, or nothing has come in time.
    Broken(&'a str),
}

impl Talk {
    /// A conversation that begins. `server` is the server as warnings name it.
    pub fn new(dialect: &Dialect, customs: Customs, server: &str) -> Talk {
        let language = match dialect {
            Dialect::Proxymap { .. } => Language::Proxymap(proxymap::Client::new(customs.proxymap)),
            Dialect::Socketmap { .. } => Language::Socketmap,
            Dialect::Tcp => Language::Tcp { name: server.to_owned() },
        };
        Talk { language, customs, unread: Vec::new() }
    }

    /// Whether the server has to introduce itself before anything can be asked.
    pub fn awaits_greeting(&self) -> bool {
        matches!(&self.language, Language::Proxymap(client) if client.awaits_greeting())
    }

    /// Asks for a key of a table, which is called `table` in main.cf: what is to be sent is
    /// added to `out`. If there is nothing to ask, because no server could have such a key, it
    /// is answered.
    pub fn ask(&mut self, dialect: &Dialect, table: &str, key: &[u8], out: &mut Vec<u8>) -> Asked {
        let spec = table;
        match (&mut self.language, dialect) {
            (Language::Proxymap(client), Dialect::Proxymap { table, flags, implied }) => {
                client.ask(table, *flags, *implied, key, out)
            }
            (Language::Socketmap, Dialect::Socketmap { map }) => {
                if self.customs.socketmap_query.is_some_and(|limit| key.len() > limit) {
                    return Asked::NotAtAll(Some(socketmap::too_large(spec, key)));
                }
                out.extend(socketmap::request(map, key));
                Asked::Sent
            }
            (Language::Tcp { .. }, Dialect::Tcp) => {
                out.extend(tcp_table::request(key));
                Asked::Sent
            }
            // A connection serves tables of one server, which has one language.
            _ => Asked::NotAtAll(None),
        }
    }

    /// Takes some bytes from the server; what is to be sent next is added to `out`. `table` is
    /// the table that was asked, as written.
    pub fn received(&mut self, bytes: &[u8], table: &str, out: &mut Vec<u8>) -> Progress {
        self.unread.extend_from_slice(bytes);
        match &mut self.language {
            Language::Proxymap(client) => client.received(&mut self.unread, out),
            Language::Socketmap => {
                socketmap::received(&mut self.unread, table, self.customs.socketmap_reply)
            }
            Language::Tcp { name } => tcp_table::received(&mut self.unread, name),
        }
    }

    /// Whether something has come that nobody has asked for.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }
}

/// The warning about a server that does not answer, in Postfix's words. `server` is the server
/// as warnings name it.
pub fn silence(dialect: &Dialect, server: &str, table: &str, silence: Silence<'_>) -> Message {
    Message::warning(match (dialect, silence) {
        (Dialect::Proxymap { .. }, Silence::Unreachable(reason)) => {
            format!("connect #1 to subsystem {server}: {reason}")
        }
        (Dialect::Proxymap { .. }, Silence::Broken(reason)) => {
            let service = server.strip_prefix("private/").unwrap_or(server);
            format!("dict_proxy_lookup: service {service}: {reason}")
        }
        (Dialect::Socketmap { .. }, Silence::Unreachable(reason)) => {
            format!("connect to {server}: {reason}")
        }
        (Dialect::Socketmap { .. }, Silence::Broken(reason)) => {
            format!("table {table} lookup error: {reason}")
        }
        (Dialect::Tcp, Silence::Unreachable(reason)) => {
            format!("connect to TCP map {server}: {reason}")
        }
        (Dialect::Tcp, Silence::Broken(reason)) => {
            format!("read TCP map reply from {server}: {reason}")
        }
    })
}

/// How much of a key a warning quotes, bytes.
const KEY_SHOWN: usize = 100;

fn failed(warning: String, then: Then) -> Progress {
    Progress::Failed { warning: Some(warning), then }
}

/// What a table's value is in text. Servers that see to UTF-8 send nothing else.
fn found(value: &[u8]) -> RemoteAnswer {
    RemoteAnswer::Found(String::from_utf8_lossy(value).into_owned())
}

/// As much of a key as a warning quotes. Clients choose keys: without the brackets, no log reader
/// takes what stands in one for somebody's address.
fn quoted_key(key: &[u8]) -> String {
    let shown = key.get(..KEY_SHOWN).unwrap_or(key);
    String::from_utf8_lossy(shown).replace(['[', ']'], "?")
}

/// As much of a server's words as a warning quotes, without what no log shows.
fn quoted(bytes: &[u8], limit: usize, stand_in: char) -> String {
    let shown = bytes.iter().take(limit);
    shown
        .map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { stand_in })
        .collect()
}

#[cfg(test)]
mod tests;
