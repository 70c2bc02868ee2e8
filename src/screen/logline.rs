//! Every verdict log text, and the escaping of what clients sent.
//!
//! A [`LogLine`] names an event by its meaning and prints itself in Postfix's words, which
//! pflogsumm, logwatch and fail2ban know.

mod dnsbl;
mod form;
mod lists;
mod proxy;

use std::fmt;
use std::net::SocketAddr;

use super::address::AddressText;
use super::dnsbl::guard::notice::Notice;
use super::policy::Wording;
use super::smtp::command::LastCommand;
use super::smtp::discard::{Discarded, Vocabulary};
use super::smtp::engine::Envelope;
use super::smtp::offence::Offence;
use super::verdict::{TLS_FAILURES, TLS_PAUSE, TlsNotice};
use form::{Cut, End};
pub use form::{Elapsed, Escaped, Quote, Shown};
pub use lists::{ListLine, Missing, Verdicts};
pub use proxy::ProxyLine;

/// How serious a message is, in Postfix's steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// A normal event; logged without a prefix.
    Info,
    /// Trouble that the service survives.
    Warning,
    /// A recoverable internal error; thirteen of them end the process.
    Error,
    /// The process ends with status 1.
    Fatal,
    /// A broken invariant; the process aborts.
    Panic,
}

/// A text with its level. The text comes without the level's prefix (`warning: ` and so on).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// How serious it is.
    pub level: Level,
    /// What to log.
    pub text: String,
}

impl Message {
    /// A normal event.
    pub fn info(text: impl Into<String>) -> Message {
        Message { level: Level::Info, text: text.into() }
    }

    /// Trouble that the service survives.
    pub fn warning(text: impl Into<String>) -> Message {
        Message { level: Level::Warning, text: text.into() }
    }

    /// An error that the service survives.
    pub fn error(text: impl Into<String>) -> Message {
        Message { level: Level::Error, text: text.into() }
    }

    /// The reason why the service cannot start.
    pub fn fatal(text: impl Into<String>) -> Message {
        Message { level: Level::Fatal, text: text.into() }
    }
}

/// An event in the life of a client, as the maillog shows it.
#[derive(Clone, PartialEq, Debug)]
pub enum LogLine {
    /// A session begins.
    Connect {
        /// The client's end.
        client: SocketAddr,
        /// Our end.
        server: SocketAddr,
    },
    /// The access list permits the client.
    Allowlisted(SocketAddr, Wording),
    /// The access list rejects the client, whatever the action.
    Denylisted(SocketAddr, Wording),
    /// The client came to an address that is not for newcomers.
    AllowlistVeto(SocketAddr, Wording),
    /// The old words are used because of main.cf: `compatibility_level`.
    OldWordsByDefault(SocketAddr),
    /// A new client has passed all tests.
    PassNew(SocketAddr),
    /// A known client is let in.
    PassOld(SocketAddr),
    /// The client talked before its turn.
    Pregreet {
        /// Who.
        client: SocketAddr,
        /// How many bytes were seen.
        count: usize,
        /// How long after the start of the wait.
        after: Elapsed,
        /// The bytes, or the first [`QUOTE_LIMIT`] of them.
        data: Quote,
    },
    /// The client's score reaches the threshold, whatever the action.
    DnsblRank(SocketAddr, i32),
    /// What DNS lists say, and what is wrong with them.
    List(ListLine),
    /// The client hung up.
    Hangup {
        /// Who.
        client: SocketAddr,
        /// How long after the start of the phase.
        after: Elapsed,
        /// In which phase.
        stage: Stage,
    },
    /// A command took too long.
    CommandTimeLimit(SocketAddr, LastCommand),
    /// A command line was too long.
    CommandLengthLimit(SocketAddr, LastCommand),
    /// The client goes on and on.
    CommandCountLimit(SocketAddr, LastCommand),
    /// A deep test has failed, whatever the action.
    Offence(SocketAddr, Offence),
    /// EHLO keywords are kept from the client, others than from everybody.
    Discarding(SocketAddr, Discarded, Vocabulary),
    /// The command filter has put something else in the place of a line.
    Replaced {
        /// Who.
        client: SocketAddr,
        /// The line, or the first [`QUOTE_LIMIT`] bytes of it.
        line: Box<[u8]>,
        /// What counts instead, likewise.
        by: Box<[u8]>,
    },
    /// The command filter cannot tell what to do about a line.
    FilterFailed {
        /// Whose.
        client: SocketAddr,
        /// main.cf: `postscreen_command_filter`.
        table: Box<str>,
        /// The line, or the first [`QUOTE_LIMIT`] bytes of it.
        line: Box<[u8]>,
    },
    /// A recipient is refused.
    RejectRcpt {
        /// Who.
        client: SocketAddr,
        /// The reply as sent, but without its footer.
        reply: Box<str>,
        /// From whom to whom; the addresses are in the form that the log is to have.
        envelope: Envelope,
    },
    /// DATA or BDAT, although no recipient was accepted.
    NoValidRcpt(SocketAddr, LastCommand),
    /// The client has too many sessions.
    TooManyConnections(SocketAddr),
    /// The client comes by a protocol that main.cf's `inet_protocols` does not have. Not named
    /// here: it has a line of its own.
    NotServed(SocketAddr),
    /// Too many hand-offs are in progress.
    ServerPortsBusy(SocketAddr),
    /// Too many clients are being screened.
    ScreeningPortsBusy(SocketAddr),
    /// We close the connection.
    Disconnect(SocketAddr),
    /// Stress mode begins, with so many sessions.
    EnteringStress(usize),
    /// Stress mode ends, with so many sessions.
    LeavingStress(usize),
    /// A connection's ends cannot be told.
    Unidentified {
        /// The system call.
        call: &'static str,
        /// strerror(3)'s text.
        reason: Box<str>,
    },
    /// smtpd(8) cannot be reached.
    CannotConnect {
        /// main.cf: `smtpd_service_name`.
        service: Box<str>,
        /// strerror(3)'s text.
        reason: Box<str>,
    },
    /// smtpd(8) was reached, but the descriptor could not be sent.
    CannotPass {
        /// main.cf: `smtpd_service_name`.
        service: Box<str>,
        /// strerror(3)'s text.
        reason: Box<str>,
    },
    /// smtpd(8) has not taken the client in time.
    HandOffTimeout {
        /// main.cf: `smtpd_service_name`.
        service: Box<str>,
    },
    /// A DNS blocklist is broken, or no longer.
    Dnsbl(Notice),
    /// tlsproxy(8) cannot be had.
    TlsTrouble {
        /// main.cf: `tlsproxy_service_name`.
        service: Box<str>,
        /// What could not be done.
        trouble: TlsFailure,
    },
    /// STARTTLS is not offered for a while, or works again.
    TlsNotice {
        /// main.cf: `tlsproxy_service_name`.
        service: Box<str>,
        /// Which of them.
        notice: TlsNotice,
    },
    /// Something is wrong with a proxy.
    Proxy(ProxyLine),
    /// Something that a look-up had to say.
    Message(Message),
}

/// What could not be done about tlsproxy(8); reasons are strerror(3)'s texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsFailure {
    /// It cannot be reached.
    NoService(Box<str>),
    /// It has not introduced itself as it should.
    NoGreeting(Box<str>),
    /// It has not introduced itself in time.
    LateGreeting,
    /// It cannot be asked.
    NotAsked(Box<str>),
    /// It refuses, or its answer makes no sense.
    NoStatus,
    /// It has not answered in time.
    LateStatus,
    /// It does not take the descriptor.
    NotTaken,
}

/// The two halves of a session, in postscreen's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Until the greeting.
    BeforeHandshake,
    /// In the built-in SMTP engine.
    AfterHandshake,
}

/// How much of what a client sent is quoted in a log line, bytes.
pub const QUOTE_LIMIT: usize = 100;

impl LogLine {
    /// Whether dnsblog(8) would log this in postscreen(8)'s stead, under its own name.
    pub fn is_dnsblog(&self) -> bool {
        matches!(self, LogLine::List(line) if line.is_dnsblog())
    }

    /// Whose session it is about.
    pub fn client(&self) -> Option<SocketAddr> {
        match self {
            LogLine::Connect { client, .. }
            | LogLine::Allowlisted(client, _)
            | LogLine::Denylisted(client, _)
            | LogLine::AllowlistVeto(client, _)
            | LogLine::OldWordsByDefault(client)
            | LogLine::PassNew(client)
            | LogLine::PassOld(client)
            | LogLine::Pregreet { client, .. }
            | LogLine::DnsblRank(client, _)
            | LogLine::Hangup { client, .. }
            | LogLine::CommandTimeLimit(client, _)
            | LogLine::CommandLengthLimit(client, _)
            | LogLine::CommandCountLimit(client, _)
            | LogLine::Offence(client, _)
            | LogLine::Discarding(client, ..)
            | LogLine::Replaced { client, .. }
            | LogLine::FilterFailed { client, .. }
            | LogLine::RejectRcpt { client, .. }
            | LogLine::NoValidRcpt(client, _)
            | LogLine::TooManyConnections(client)
            | LogLine::NotServed(client)
            | LogLine::ServerPortsBusy(client)
            | LogLine::ScreeningPortsBusy(client)
            | LogLine::Disconnect(client) => Some(*client),
            LogLine::List(line) => line.client(),
            LogLine::EnteringStress(_)
            | LogLine::LeavingStress(_)
            | LogLine::Unidentified { .. }
            | LogLine::CannotConnect { .. }
            | LogLine::CannotPass { .. }
            | LogLine::HandOffTimeout { .. }
            | LogLine::Dnsbl(_)
            | LogLine::TlsTrouble { .. }
            | LogLine::TlsNotice { .. }
            | LogLine::Proxy(_)
            | LogLine::Message(_) => None,
        }
    }

    /// Whether a health check gives rise to it: nobody was turned down, and nobody has tried to
    /// send mail.
    pub fn is_routine(&self) -> bool {
        matches!(
            self,
            LogLine::Connect { .. }
                | LogLine::Allowlisted(..)
                | LogLine::AllowlistVeto(..)
                | LogLine::OldWordsByDefault(_)
                | LogLine::PassNew(_)
                | LogLine::PassOld(_)
                | LogLine::Pregreet { .. }
                | LogLine::List(_)
                | LogLine::Hangup { .. }
                | LogLine::Discarding(..)
                | LogLine::Disconnect(_)
        )
    }

    /// How serious it is.
    pub fn level(&self) -> Level {
        match self {
            LogLine::Unidentified { .. }
            | LogLine::CannotConnect { .. }
            | LogLine::CannotPass { .. }
            | LogLine::HandOffTimeout { .. }
            | LogLine::FilterFailed { .. }
            | LogLine::TlsTrouble { .. }
            | LogLine::NotServed(_)
            | LogLine::Proxy(_)
            | LogLine::TlsNotice { notice: TlsNotice::Suspended, .. } => Level::Warning,
            LogLine::Dnsbl(notice) => notice.level(),
            LogLine::Message(message) => message.level,
            LogLine::List(line) => line.level(),
            LogLine::Connect { .. }
            | LogLine::Allowlisted(..)
            | LogLine::Denylisted(..)
            | LogLine::AllowlistVeto(..)
            | LogLine::OldWordsByDefault(_)
            | LogLine::PassNew(_)
            | LogLine::PassOld(_)
            | LogLine::Pregreet { .. }
            | LogLine::DnsblRank(..)
            | LogLine::Hangup { .. }
            | LogLine::CommandTimeLimit(..)
            | LogLine::CommandLengthLimit(..)
            | LogLine::CommandCountLimit(..)
            | LogLine::Offence(..)
            | LogLine::Discarding(..)
            | LogLine::Replaced { .. }
            | LogLine::RejectRcpt { .. }
            | LogLine::NoValidRcpt(..)
            | LogLine::TooManyConnections(_)
            | LogLine::ServerPortsBusy(_)
            | LogLine::ScreeningPortsBusy(_)
            | LogLine::Disconnect(_)
            | LogLine::EnteringStress(_)
            | LogLine::LeavingStress(_)
            | LogLine::TlsNotice { notice: TlsNotice::Resumed, .. } => Level::Info,
        }
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogLine::Connect { client, server } => {
                write!(f, "CONNECT from {} to {}", End(client), End(server))
            }
            LogLine::Allowlisted(client, Wording::Respectful) => {
                write!(f, "ALLOWLISTED {}", End(client))
            }
            LogLine::Allowlisted(client, Wording::Old { .. }) => {
                write!(f, "WHITELISTED {}", End(client))
            }
            LogLine::Denylisted(client, Wording::Respectful) => {
                write!(f, "DENYLISTED {}", End(client))
            }
            LogLine::Denylisted(client, Wording::Old { .. }) => {
                write!(f, "BLACKLISTED {}", End(client))
            }
            LogLine::AllowlistVeto(client, Wording::Respectful) => {
                write!(f, "ALLOWLIST VETO {}", End(client))
            }
            LogLine::AllowlistVeto(client, Wording::Old { .. }) => {
                write!(f, "WHITELIST VETO {}", End(client))
            }
            LogLine::OldWordsByDefault(client) => write!(
                f,
                "using backwards-compatible default setting respectful_logging=no for client {}",
                End(client)
            ),
            LogLine::PassNew(client) => write!(f, "PASS NEW {}", End(client)),
            LogLine::PassOld(client) => write!(f, "PASS OLD {}", End(client)),
            LogLine::Pregreet { client, count, after, data } => {
                // postscreen cuts the escaped text, at times in the middle of an escape.
                let text = Cut { text: Escaped(data.bytes()), limit: QUOTE_LIMIT };
                write!(f, "PREGREET {count} after {after} from {}: {text}", End(client))
            }
            LogLine::DnsblRank(client, rank) => {
                write!(f, "DNSBL rank {rank} for {}", End(client))
            }
            LogLine::List(line) => line.fmt(f),
            LogLine::Hangup { client, after, stage } => {
                let stage = match stage {
                    Stage::BeforeHandshake => "before",
                    Stage::AfterHandshake => "after",
                };
                let client = End(client);
                write!(f, "HANGUP after {after} from {client} in tests {stage} SMTP handshake")
            }
            LogLine::CommandTimeLimit(client, last) => {
                write!(f, "COMMAND TIME LIMIT from {} after {last}", End(client))
            }
            LogLine::CommandLengthLimit(client, last) => {
                write!(f, "COMMAND LENGTH LIMIT from {} after {last}", End(client))
            }
            LogLine::CommandCountLimit(client, last) => {
                write!(f, "COMMAND COUNT LIMIT from {} after {last}", End(client))
            }
            LogLine::Offence(client, Offence::BareNewline { line }) => {
                write!(f, "BARE NEWLINE from {} after {}", End(client), Escaped(line))
            }
            LogLine::Offence(client, Offence::NonSmtpCommand { after, word, rest }) => {
                let (client, word, rest) = (End(client), Shown(word), Escaped(rest));
                write!(f, "NON-SMTP COMMAND from {client} after {after}: {word} {rest}")
            }
            LogLine::Offence(client, Offence::Pipelining { word, unread }) => {
                let (client, word, unread) = (End(client), Shown(word), Escaped(unread));
                write!(f, "COMMAND PIPELINING from {client} after {word}: {unread}")
            }
            // Without a colon before the port.
            LogLine::Discarding(client, keywords, vocabulary) => write!(
                f,
                "[{}]{}: discarding EHLO keywords: {}",
                AddressText(client.ip()),
                client.port(),
                keywords.listed(*vocabulary)
            ),
            LogLine::Replaced { client, line, by } => {
                let (client, line, by) = (End(client), Shown(line), Shown(by));
                write!(f, "{client}: replacing command \"{line}\" with \"{by}\"")
            }
            // Behind the client's name, so that fail2ban takes nothing that it says in a warning
            // for what smtpd(8) says about somebody else.
            LogLine::FilterFailed { client, table, line } => {
                write!(f, "{}: {table} lookup error for \"{}\"", End(client), Shown(line))
            }
            LogLine::RejectRcpt { client, reply, envelope } => write!(
                f,
                "NOQUEUE: reject: RCPT from {}: {reply}; from=<{}>, to=<{}>, proto={}, helo=<{}>",
                End(client),
                Shown(&envelope.sender),
                Shown(&envelope.recipient),
                if envelope.esmtp { "ESMTP" } else { "SMTP" },
                Shown(&envelope.helo),
            ),
            LogLine::NoValidRcpt(client, command) => {
                write!(f, "{command} without valid RCPT from {}", End(client))
            }
            LogLine::TooManyConnections(client) => {
                write!(f, "NOQUEUE: reject: CONNECT from {}: too many connections", End(client))
            }
            LogLine::NotServed(client) => {
                let protocol = if client.is_ipv4() { "ipv4" } else { "ipv6" };
                write!(
                    f,
                    "inet_protocols is without {protocol}, but there are clients that use it: \
                     they are turned away, because smtpd(8) would die of them (to change \
                     inet_protocols, stop and start Postfix)"
                )
            }
            LogLine::ServerPortsBusy(client) => {
                write!(f, "NOQUEUE: reject: CONNECT from {}: all server ports busy", End(client))
            }
            LogLine::ScreeningPortsBusy(client) => {
                write!(f, "reject: connect from {}: all screening ports busy", End(client))
            }
            LogLine::Disconnect(client) => write!(f, "DISCONNECT {}", End(client)),
            LogLine::EnteringStress(sessions) => {
                write!(f, "entering STRESS mode with {sessions} connections")
            }
            LogLine::LeavingStress(sessions) => {
                write!(f, "leaving STRESS mode with {sessions} connections")
            }
            LogLine::Unidentified { call, reason } => {
                write!(f, "{call}: {reason} -- dropping this connection")
            }
            LogLine::CannotConnect { service, reason } => {
                write!(f, "cannot connect to service private/{service}: {reason}")
            }
            LogLine::CannotPass { service, reason } => {
                write!(f, "cannot pass connection to service private/{service}: {reason}")
            }
            LogLine::HandOffTimeout { service } => {
                write!(f, "timeout sending connection to service private/{service}")
            }
            LogLine::Dnsbl(notice) => notice.fmt(f),
            LogLine::TlsTrouble { service, trouble } => tls_failure(f, service, trouble),
            LogLine::TlsNotice { service, notice: TlsNotice::Suspended } => write!(
                f,
                "private/{service} service failed {TLS_FAILURES} times in a row: STARTTLS is not \
                 offered for {}s",
                TLS_PAUSE.as_secs()
            ),
            LogLine::TlsNotice { service, notice: TlsNotice::Resumed } => {
                write!(f, "private/{service} service works again: STARTTLS is offered")
            }
            LogLine::Proxy(line) => line.fmt(f),
            LogLine::Message(message) => f.write_str(&message.text),
        }
    }
}

/// The text for somebody whose answer does not come in time: what a read without waiting
/// says of nothing to read.
const NOTHING_THERE: &str = "Resource temporarily unavailable";

fn tls_failure(f: &mut fmt::Formatter<'_>, service: &str, trouble: &TlsFailure) -> fmt::Result {
    let service = format_args!("private/{service} service");
    match trouble {
        TlsFailure::NoService(reason) => write!(f, "connect to {service}: {reason}"),
        TlsFailure::NoGreeting(reason) => {
            write!(f, "problem receiving protocol attribute from {service}: {reason}")
        }
        TlsFailure::LateGreeting => {
            write!(f, "timeout receiving protocol attribute from {service}: {NOTHING_THERE}")
        }
        TlsFailure::NotAsked(reason) => write!(f, "error sending request to {service}: {reason}"),
        TlsFailure::NoStatus => write!(f, "problem receiving status from {service}"),
        TlsFailure::LateStatus => write!(f, "timeout receiving status from {service}"),
        TlsFailure::NotTaken => write!(f, "problem sending file handle to {service}"),
    }
}

impl fmt::Display for LastCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LastCommand::Connect => "CONNECT",
            LastCommand::Known(verb) => verb.name(),
            LastCommand::Unimplemented => "UNIMPLEMENTED",
        })
    }
}

#[cfg(test)]
mod tests;
