//! One look at the test points of a zone (RFC 5782 section 5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::counting;
use super::notice::Why;
use crate::screen::dnsbl::answer::Answer;
use crate::screen::dnsbl::lists::List;

/// How long a round may take: longer than any look-up, whatever main.cf's
/// `postscreen_dnsbl_timeout` is in practice. What comes later is heard all the same.
const LIMIT: Duration = Duration::from_secs(2 * 60);

/// Must be listed.
const LISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Must not be listed.
const CLEAN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
/// Must be listed if the zone has IPv6 addresses: ::FFFF:7F00:2.
const LISTED_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 2));
/// Must not be listed: ::FFFF:7F00:1.
const CLEAN_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1));

/// The test points, in the order in which they are asked.
pub(super) const POINTS: [IpAddr; 4] = [CLEAN, LISTED, CLEAN_6, LISTED_6];

/// What has been heard of each test point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Round {
    /// When it was asked for.
    pub start: Instant,
    /// In the order of [`POINTS`].
    heard: [Heard; POINTS.len()],
}

/// What has been heard of a test point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    Waiting,
    Failed,
    NotListed,
    Listed {
        /// The first address that counts for an entry.
        counted: Option<Ipv4Addr>,
        /// The first error code that counts for none.
        error: Option<Ipv4Addr>,
    },
}

/// What a round comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The zone is broken.
    Broken(Why),
    /// There was an error code, the first one.
    Odd,
    /// Not one answer.
    Mute,
    /// Answered, and nothing wrong.
    Fine {
        /// Whether 127.0.0.2 is listed.
        listed: bool,
    },
    /// Answered in part; nothing wrong with that part.
    Unclear,
}

impl Round {
    pub(super) fn new(start: Instant) -> Round {
        Round { start, heard: [Heard::Waiting; POINTS.len()] }
    }

    /// When it is over, whatever has been heard.
    pub(super) fn end(&self) -> Instant {
        self.start + LIMIT
    }

    /// Takes an answer about a test point.
    pub(super) fn hear(&mut self, point: IpAddr, list: &List, answer: &Answer) {
        let now = match answer {
            Answer::Listed { addresses, .. } => Heard::Listed {
                counted: counting::counted(list, addresses),
                error: counting::error_code(list, addresses),
            },
            Answer::NotListed { .. } => Heard::NotListed,
            Answer::Failed(_) => Heard::Failed,
        };
        for (name, heard) in POINTS.iter().zip(&mut self.heard) {
            if *name == point {
                *heard = now;
            }
        }
    }

    /// How many answers are still to come.
    pub(super) fn waiting(&self) -> u32 {
        self.heard.iter().map(|heard| u32::from(*heard == Heard::Waiting)).sum()
    }

    /// What it comes to; answers that have not come count as failed. `suspect` is whether
    /// there was an error code before, `trouble` what was wrong so far.
    pub(super) fn outcome(&self, suspect: bool, trouble: Option<Why>) -> Outcome {
        let [clean, listed, clean_6, _] = self.heard;
        for (point, heard) in [(CLEAN, clean), (CLEAN_6, clean_6)] {
            if let Heard::Listed { counted: Some(answer), .. } = heard {
                return Outcome::Broken(Why::ListsEverything { point, answer });
            }
        }
        let mut errors = self.heard.iter().filter_map(|heard| match heard {
            Heard::Listed { error, .. } => *error,
            Heard::Waiting | Heard::Failed | Heard::NotListed => None,
        });
        if let Some(code) = errors.next() {
            let confirmed = suspect || errors.next().is_some();
            return if confirmed { Outcome::Broken(Why::Refuses(code)) } else { Outcome::Odd };
        }
        if !self.heard.iter().any(|heard| heard.is_answer()) {
            return Outcome::Mute;
        }
        // Many zones have no IPv6 addresses, and some do not even answer then. But a zone that
        // was wrong about one has to say better.
        let owes_ipv6 = matches!(trouble, Some(Why::ListsEverything { point: CLEAN_6, .. }));
        let answered = clean.is_answer() && listed.is_answer();
        if answered && (clean_6.is_answer() || !owes_ipv6) {
            Outcome::Fine { listed: listed != Heard::NotListed }
        } else {
            Outcome::Unclear
        }
    }
}

impl Heard {
    fn is_answer(self) -> bool {
        match self {
            Heard::NotListed | Heard::Listed { .. } => true,
            Heard::Waiting | Heard::Failed => false,
        }
    }
}
