//! What the log says about DNS lists.
//!
//! postscreen(8) leaves the look-ups to dnsblog(8) processes, which log under their own name;
//! tools look for it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Level;
use super::form::End;
use crate::screen::address::AddressText;
use crate::screen::dnsbl::answer::Failure;

/// An event at a DNS list. Lists go by their public names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListLine {
    /// An address is on a list; one line for each record.
    Listed {
        /// Who.
        client: IpAddr,
        /// Where.
        list: Box<str>,
        /// As what.
        record: Ipv4Addr,
    },
    /// A look-up has failed.
    LookupError {
        /// The name that was asked for.
        name: Box<str>,
        /// How many failures at this list were not logged since the last line like this.
        unsaid: u64,
    },
    /// A look-up was given up.
    TimeLimit {
        /// main.cf: `postscreen_dnsbl_timeout`.
        limit: Duration,
        /// Where.
        list: Box<str>,
        /// How many time-outs at this list were not logged since the last line like this.
        unsaid: u64,
    },
    /// How a client's score came about.
    Score {
        /// Who.
        client: SocketAddr,
        /// The score.
        rank: i32,
        /// The lists that made it, and those that are missing from it.
        verdicts: Verdicts,
    },
}

/// What lists say about a client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdicts {
    /// Name, weight and first record that counts, of each entry that counts.
    pub counted: Vec<(Box<str>, i32, Ipv4Addr)>,
    /// The lists that gave no answer.
    pub missing: Vec<(Box<str>, Missing)>,
}

/// Why an answer is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// The wait before the greeting was over first.
    TooLate,
    /// The look-up has failed.
    Failed(Failure),
}

impl ListLine {
    /// Whose session it is about.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        match self {
            ListLine::Score { client, .. } => Some(*client),
            _ => None,
        }
    }

    /// How serious it is.
    pub(super) fn level(&self) -> Level {
        match self {
            ListLine::Listed { .. } | ListLine::Score { .. } => Level::Info,
            ListLine::LookupError { .. } | ListLine::TimeLimit { .. } => Level::Warning,
        }
    }

    /// Whether postscreen(8) has dnsblog(8) log this.
    pub(super) fn is_dnsblog(&self) -> bool {
        matches!(self, ListLine::Listed { .. } | ListLine::LookupError { .. })
    }
}

impl fmt::Display for ListLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListLine::Listed { client, list, record } => {
                let client = AddressText(*client);
                write!(f, "addr {client} listed by domain {list} as {record}")
            }
            ListLine::LookupError { name, unsaid } => {
                write!(
                    f,
                    "dnsblog_query: lookup error for DNS query {name}: Host or domain name not \
                     found. Name service error for name={name} type=A: Host not found, try again"
                )?;
                and_more(f, *unsaid)
            }
            ListLine::TimeLimit { limit, list, unsaid } => {
                write!(f, "dnsblog reply timeout {}s for {list}", limit.as_secs())?;
                and_more(f, *unsaid)
            }
            ListLine::Score { client, rank, verdicts } => {
                write!(f, "score {rank} of {}", End(client))?;
                let mut separator = ": ";
                for (list, weight, record) in &verdicts.counted {
                    write!(f, "{separator}{list}*{weight} ({record})")?;
                    separator = ", ";
                }
                separator = "; no answer: ";
                for (list, why) in &verdicts.missing {
                    write!(f, "{separator}{list} ({why})")?;
                    separator = ", ";
                }
                Ok(())
            }
        }
    }
}

/// What was not logged, so that a list that fails for every client does not fill the log.
fn and_more(f: &mut fmt::Formatter<'_>, unsaid: u64) -> fmt::Result {
    match unsaid {
        0 => Ok(()),
        count => write!(f, " (and {count} more like this before)"),
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::TooLate => "too late",
            Missing::Failed(Failure::TimeLimit) => "time limit",
            Missing::Failed(Failure::NoReply) => "no reply",
            Missing::Failed(Failure::ServerError) => "server error",
            Missing::Failed(Failure::Unreachable) => "no name server",
            Missing::Failed(Failure::Refused) => "error code",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &ListLine) -> String {
        line.to_string()
    }

    #[test]
    fn dnsblog_s_words() {
        let listed = ListLine::Listed {
            client: "2001:db8::5".parse().unwrap(),
            list: "bl.test".into(),
            record: Ipv4Addr::new(127, 0, 0, 2),
        };
        assert_eq!(text(&listed), "addr 2001:db8::5 listed by domain bl.test as 127.0.0.2");
        let error =
            |unsaid| text(&ListLine::LookupError { name: "5.2.0.192.bl.test".into(), unsaid });
        let words = "dnsblog_query: lookup error for DNS query 5.2.0.192.bl.test: Host or domain \
                     name not found. Name service error for name=5.2.0.192.bl.test type=A: Host \
                     not found, try again";
        assert_eq!(error(0), words);
        assert_eq!(error(57), format!("{words} (and 57 more like this before)"));
        let limit = ListLine::TimeLimit {
            limit: Duration::from_secs(10),
            list: "dead.test".into(),
            unsaid: 0,
        };
        assert_eq!(text(&limit), "dnsblog reply timeout 10s for dead.test");
    }

    #[test]
    fn how_a_score_came_about() {
        let record = Ipv4Addr::new(127, 0, 0, 2);
        let score = |counted, missing| ListLine::Score {
            client: "192.0.2.1:4711".parse().unwrap(),
            rank: 2,
            verdicts: Verdicts { counted, missing },
        };
        assert_eq!(text(&score(vec![], vec![])), "score 2 of [192.0.2.1]:4711");
        assert_eq!(
            text(&score(
                vec![("a.test".into(), 3, record), ("wl.test".into(), -1, record)],
                vec![
                    ("b.test".into(), Missing::TooLate),
                    ("c.test".into(), Missing::Failed(Failure::ServerError)),
                ],
            )),
            "score 2 of [192.0.2.1]:4711: a.test*3 (127.0.0.2), wl.test*-1 (127.0.0.2); no \
             answer: b.test (too late), c.test (server error)"
        );
    }
}
