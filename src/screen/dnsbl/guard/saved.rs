//! What outlives a process, so that neither a reload nor the end of an idle service brings a
//! broken zone back or a warning twice.

use std::fmt;

use super::notice::{Effect, Why};
use crate::screen::hostname;
use crate::screen::test_set::UnixTime;

/// The version of the text form.
const VERSION: &str = "1";

/// A value to be stored under its key in place of the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Saved {
    /// What is known of a zone.
    Zone {
        /// Its domain, as main.cf has it. It may hold a secret.
        domain: String,
        /// What is known.
        memory: Memory,
    },
    /// What is known of the resolver.
    Resolver {
        /// Since when no zone answers, if none does.
        failing: Option<UnixTime>,
        /// When there was a warning last.
        warned: Option<UnixTime>,
    },
}

/// What is remembered of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
    /// Since when it does not answer, if it does not.
    pub silent: Option<UnixTime>,
    /// When there was a warning last, whatever has become of the zone.
    pub warned: Option<UnixTime>,
    /// When it was said last that there is no test point.
    pub pointless: Option<UnixTime>,
}

/// What is wrong with a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// What it is.
    pub why: Why,
    /// Since when.
    pub since: UnixTime,
    /// What is done about it.
    pub effect: Effect,
}

impl Saved {
    /// The key of [`Saved::Resolver`]; no domain.
    pub const RESOLVER: &str = "*";

    /// Under which name to store it: the domain, or [`Saved::RESOLVER`].
    pub fn key(&self) -> &str {
        match self {
            Saved::Zone { domain, .. } => domain,
            Saved::Resolver { .. } => Saved::RESOLVER,
        }
    }

    /// One line of text, without a newline.
    pub fn encode(&self) -> String {
        self.to_string()
    }

    /// Reads what [`encode`](Saved::encode) has made; `None` if it is something else. Fields
    /// that this version does not know are passed over.
    pub fn decode(text: &str) -> Option<Saved> {
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return None;
        }
        match words.next()? {
            "zone" => {
                let domain = words.next()?;
                hostname::check(domain).ok()?;
                let memory = Fields::read(words)?.memory()?;
                Some(Saved::Zone { domain: domain.to_owned(), memory })
            }
            "resolver" => {
                let fields = Fields::read(words)?;
                Some(Saved::Resolver { failing: fields.since, warned: fields.warned })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |f: &mut fmt::Formatter<'_>, name: &str, time: &Option<UnixTime>| match time {
            Some(time) => write!(f, " {name}={}", { time.0 }),
            None => Ok(()),
        };
        match self {
            Saved::Zone { domain, memory } => {
                write!(f, "{VERSION} zone {domain}")?;
                if let Some(Trouble { why, since, effect }) = &memory.trouble {
                    f.write_str(match effect {
                        Effect::Aside => " aside=",
                        Effect::Told => " told=",
                    })?;
                    match why {
                        Why::ListsEverything { point, answer } => {
                            write!(f, "everything,{point},{answer}")?;
                        }
                        Why::Refuses(code) => write!(f, "refuses,{code}")?,
                        Why::Silent => f.write_str("silent")?,
                    }
                    time(f, "since", &Some(*since))?;
                }
                time(f, "silent", &memory.silent)?;
                time(f, "warned", &memory.warned)?;
                time(f, "pointless", &memory.pointless)
            }
            Saved::Resolver { failing, warned } => {
                write!(f, "{VERSION} resolver")?;
                time(f, "since", failing)?;
                time(f, "warned", warned)
            }
        }
    }
}

/// The fields of either kind, as far as they are there.
#[derive(Default)]
struct Fields {
    broken: Option<(Effect, Why)>,
    since: Option<UnixTime>,
    silent: Option<UnixTime>,
    warned: Option<UnixTime>,
    pointless: Option<UnixTime>,
}

impl Fields {
    fn read<'t>(words: impl Iterator<Item = &'t str>) -> Option<Fields> {
        let mut fields = Fields::default();
        for word in words {
            let (name, value) = word.split_once('=')?;
            match name {
                "aside" => fields.broken = Some((Effect::Aside, why(value)?)),
                "told" => fields.broken = Some((Effect::Told, why(value)?)),
                "since" => fields.since = Some(time(value)?),
                "silent" => fields.silent = Some(time(value)?),
                "warned" => fields.warned = Some(time(value)?),
                "pointless" => fields.pointless = Some(time(value)?),
                _ => {}
            }
        }
        Some(fields)
    }

    fn memory(self) -> Option<Memory> {
        let trouble = match self.broken {
            Some((effect, why)) => Some(Trouble { why, since: self.since?, effect }),
            None => None,
        };
        let Fields { silent, warned, pointless, .. } = self;
        Some(Memory { trouble, silent, warned, pointless })
    }
}

fn why(text: &str) -> Option<Why> {
    let mut parts = text.split(',');
    let why = match parts.next()? {
        "everything" => Why::ListsEverything {
            point: parts.next()?.parse().ok()?,
            answer: parts.next()?.parse().ok()?,
        },
        "refuses" => Why::Refuses(parts.next()?.parse().ok()?),
        "silent" => Why::Silent,
        _ => return None,
    };
    if parts.next().is_none() { Some(why) } else { None }
}

/// Digits only: `parse` alone takes a sign.
fn time(text: &str) -> Option<UnixTime> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok().map(UnixTime) } else { None }
}
