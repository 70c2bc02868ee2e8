//! Every verdict log text, and the escaping of what clients sent.
//!
//! A [`LogLine`] names an event by its meaning and prints itself in Postfix's words, which
//! pflogsumm, logwatch and fail2ban know.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::policy::Wording;

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
        data: Box<[u8]>,
    },
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
    /// The client has too many sessions.
    TooManyConnections(SocketAddr),
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
    /// Something that a look-up had to say.
    Message(Message),
}

/// The two halves of a session, in postscreen's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Until the greeting.
    BeforeHandshake,
    /// In the built-in SMTP engine.
    AfterHandshake,
}

/// The last command that the engine understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastCommand {
    /// None yet.
    Connect,
}

/// How much of what a client sent is quoted in a log line, bytes.
pub const QUOTE_LIMIT: usize = 100;

impl LogLine {
    /// How serious it is.
    pub fn level(&self) -> Level {
        match self {
            LogLine::Unidentified { .. }
            | LogLine::CannotConnect { .. }
            | LogLine::CannotPass { .. }
            | LogLine::HandOffTimeout { .. } => Level::Warning,
            LogLine::Message(message) => message.level,
            LogLine::Connect { .. }
            | LogLine::Allowlisted(..)
            | LogLine::Denylisted(..)
            | LogLine::AllowlistVeto(..)
            | LogLine::OldWordsByDefault(_)
            | LogLine::PassNew(_)
            | LogLine::PassOld(_)
            | LogLine::Pregreet { .. }
            | LogLine::Hangup { .. }
            | LogLine::CommandTimeLimit(..)
            | LogLine::CommandLengthLimit(..)
            | LogLine::TooManyConnections(_)
            | LogLine::ServerPortsBusy(_)
            | LogLine::ScreeningPortsBusy(_)
            | LogLine::Disconnect(_)
            | LogLine::EnteringStress(_)
            | LogLine::LeavingStress(_) => Level::Info,
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
                let mut text = Escaped(data).to_string();
                text.truncate(QUOTE_LIMIT);
                write!(f, "PREGREET {count} after {after} from {}: {text}", End(client))
            }
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
            LogLine::TooManyConnections(client) => {
                write!(f, "NOQUEUE: reject: CONNECT from {}: too many connections", End(client))
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
            LogLine::Message(message) => f.write_str(&message.text),
        }
    }
}

impl fmt::Display for LastCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LastCommand::Connect => "CONNECT",
        })
    }
}

/// One end of a connection as `[address]:port`, IPv6 in the compressed lower-case form.
struct End<'a>(&'a SocketAddr);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]:{}", self.0.ip(), self.0.port())
    }
}

/// Client bytes in printable form: C escapes, and octal for what has none.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for byte in self.0 {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                0x07 => f.write_str("\\a")?,
                0x08 => f.write_str("\\b")?,
                0x0c => f.write_str("\\f")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                0x0b => f.write_str("\\v")?,
                0x20..=0x7e => f.write_char(char::from(*byte))?,
                _ => write!(f, "\\{byte:03o}")?,
            }
        }
        Ok(())
    }
}

/// A time span with two significant digits, the way Postfix logs delays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed {
    /// The span.
    pub span: Duration,
    /// main.cf: `delay_logging_resolution_limit`, the most digits after the decimal point,
    /// 0..=6.
    pub digits: u8,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u128 = 1_000_000;
        let micros = self.span.as_micros();
        let finest = 10u128.pow(6 - u32::from(self.digits.min(6)));
        let step = if finest == SECOND || micros >= 10 * SECOND {
            SECOND
        } else if micros >= SECOND {
            SECOND / 10
        } else {
            let mut step = finest;
            while micros >= 100 * step {
                step *= 10;
            }
            step
        };
        let rounded = micros + step / 2;
        write!(f, "{}", rounded / SECOND)?;
        let mut rest = rounded % SECOND;
        let mut unit = SECOND / 10;
        while rest >= step {
            if unit == SECOND / 10 {
                f.write_str(".")?;
            }
            write!(f, "{}", rest / unit)?;
            rest %= unit;
            unit /= 10;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elapsed(micros: u64, digits: u8) -> String {
        Elapsed { span: Duration::from_micros(micros), digits }.to_string()
    }

    #[test]
    fn elapsed_times_as_postscreen_logs_them() {
        for (micros, digits, expected) in [
            (0, 2, "0"),
            (4_999, 2, "0"),
            (5_000, 2, "0.01"),
            (10_000, 2, "0.01"),
            (100_000, 2, "0.1"),
            (270_000, 2, "0.27"),
            (870_400, 2, "0.87"),
            (996_000, 2, "1"),
            (1_234_000, 2, "1.2"),
            (6_010_000, 2, "6"),
            (12_700_000, 2, "13"),
            (75_000, 6, "0.075"),
            (140_000, 6, "0.14"),
            (12, 6, "0.000012"),
            (1_400_000, 0, "1"),
            (1_600_000, 0, "2"),
            (400_000, 0, "0"),
        ] {
            assert_eq!(elapsed(micros, digits), expected, "{micros} µs, {digits} digits");
        }
    }

    #[test]
    fn client_bytes_are_escaped() {
        let bytes = b"\x16\x03\x01 A~\x7f\\\"\t\x07\x08\x0c\x0b\r\n\xff\0";
        let text = "\\026\\003\\001 A~\\177\\\\\"\\t\\a\\b\\f\\v\\r\\n\\377\\000";
        assert_eq!(Escaped(bytes).to_string(), text);
    }

    #[test]
    fn golden_texts() {
        let client: SocketAddr = "203.0.113.5:4711".parse().unwrap();
        let six: SocketAddr = "[2001:DB8:0:0:1::6]:25".parse().unwrap();
        let old = Wording::Old { by_compatibility_level: true };
        let new = Wording::Respectful;
        let after = Elapsed { span: Duration::from_millis(270), digits: 2 };
        let smtpd: Box<str> = "smtpd".into();
        let gone: Box<str> = "No such file or directory".into();
        for (line, expected) in [
            (
                LogLine::Connect { client, server: six },
                "CONNECT from [203.0.113.5]:4711 to [2001:db8::1:0:0:6]:25",
            ),
            (LogLine::Allowlisted(client, new), "ALLOWLISTED [203.0.113.5]:4711"),
            (LogLine::Allowlisted(client, old), "WHITELISTED [203.0.113.5]:4711"),
            (LogLine::Denylisted(client, new), "DENYLISTED [203.0.113.5]:4711"),
            (LogLine::Denylisted(client, old), "BLACKLISTED [203.0.113.5]:4711"),
            (LogLine::AllowlistVeto(client, new), "ALLOWLIST VETO [203.0.113.5]:4711"),
            (LogLine::AllowlistVeto(client, old), "WHITELIST VETO [203.0.113.5]:4711"),
            (
                LogLine::OldWordsByDefault(client),
                "using backwards-compatible default setting respectful_logging=no for client \
                 [203.0.113.5]:4711",
            ),
            (LogLine::PassNew(client), "PASS NEW [203.0.113.5]:4711"),
            (LogLine::PassOld(client), "PASS OLD [203.0.113.5]:4711"),
            (
                LogLine::Pregreet { client, count: 11, after, data: (*b"HELO spam\r\n").into() },
                "PREGREET 11 after 0.27 from [203.0.113.5]:4711: HELO spam\\r\\n",
            ),
            (
                LogLine::Hangup { client, after, stage: Stage::BeforeHandshake },
                "HANGUP after 0.27 from [203.0.113.5]:4711 in tests before SMTP handshake",
            ),
            (
                LogLine::Hangup { client, after, stage: Stage::AfterHandshake },
                "HANGUP after 0.27 from [203.0.113.5]:4711 in tests after SMTP handshake",
            ),
            (
                LogLine::CommandTimeLimit(client, LastCommand::Connect),
                "COMMAND TIME LIMIT from [203.0.113.5]:4711 after CONNECT",
            ),
            (
                LogLine::CommandLengthLimit(client, LastCommand::Connect),
                "COMMAND LENGTH LIMIT from [203.0.113.5]:4711 after CONNECT",
            ),
            (
                LogLine::TooManyConnections(client),
                "NOQUEUE: reject: CONNECT from [203.0.113.5]:4711: too many connections",
            ),
            (
                LogLine::ServerPortsBusy(client),
                "NOQUEUE: reject: CONNECT from [203.0.113.5]:4711: all server ports busy",
            ),
            (
                LogLine::ScreeningPortsBusy(client),
                "reject: connect from [203.0.113.5]:4711: all screening ports busy",
            ),
            (LogLine::Disconnect(client), "DISCONNECT [203.0.113.5]:4711"),
            (LogLine::EnteringStress(18), "entering STRESS mode with 18 connections"),
            (LogLine::LeavingStress(14), "leaving STRESS mode with 14 connections"),
            (
                LogLine::Unidentified { call: "getpeername", reason: gone.clone() },
                "getpeername: No such file or directory -- dropping this connection",
            ),
            (
                LogLine::CannotConnect { service: smtpd.clone(), reason: gone.clone() },
                "cannot connect to service private/smtpd: No such file or directory",
            ),
            (
                LogLine::CannotPass { service: smtpd.clone(), reason: gone },
                "cannot pass connection to service private/smtpd: No such file or directory",
            ),
            (
                LogLine::HandOffTimeout { service: smtpd },
                "timeout sending connection to service private/smtpd",
            ),
        ] {
            assert_eq!(line.to_string(), expected);
        }
    }

    #[test]
    fn a_pregreet_quotes_a_hundred_bytes_of_escaped_text() {
        let client = "203.0.113.5:4711".parse().unwrap();
        let after = Elapsed { span: Duration::ZERO, digits: 2 };
        let line = LogLine::Pregreet { client, count: 200, after, data: [0xff; 100].into() };
        let text = line.to_string();
        let (_, quoted) = text.split_once("]:4711: ").unwrap();
        assert_eq!(quoted.len(), QUOTE_LIMIT);
        assert!(quoted.starts_with("\\377\\377"));
    }
}
