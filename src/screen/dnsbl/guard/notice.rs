//! What the guard has to say, by its meaning; `logline` has the texts.

use std::net::{IpAddr, Ipv4Addr};

use crate::screen::test_set::UnixTime;

/// Something that the administrator should know. Zones are named by their public names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A zone is put aside.
    PutAside(Case),
    /// A zone is put aside that was put aside, with a warning, less than a day ago.
    PutAsideAgain(Case),
    /// A zone is still aside: said once a day.
    StillAside(Case),
    /// A zone's test points are fine again.
    Back {
        /// Which.
        zone: Box<str>,
        /// Since when it was aside.
        since: UnixTime,
        /// Whether it really was.
        effect: Effect,
    },
    /// The address that every list should list, 127.0.0.2, is not listed: said once.
    NoTestPoint {
        /// Where.
        zone: Box<str>,
    },
    /// No zone answers, so it is the resolver: said at most once a day.
    NoAnswers {
        /// How many zones there are, without those that are aside.
        zones: usize,
        /// Since when.
        since: UnixTime,
    },
    /// No zone answers, and that was said less than a day ago.
    NoAnswersAgain {
        /// How many zones there are, without those that are aside.
        zones: usize,
        /// Since when.
        since: UnixTime,
    },
    /// A zone answers after all have failed.
    AnswersAgain {
        /// Since when they have failed.
        since: UnixTime,
    },
}

/// A zone that is broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Which.
    pub zone: Box<str>,
    /// What is wrong with it.
    pub why: Why,
    /// Since when.
    pub since: UnixTime,
    /// What is done about it.
    pub effect: Effect,
    /// What the remaining zones come to.
    pub reach: Reach,
}

/// What is wrong with a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It lists an address that no list must list.
    ListsEverything {
        /// The test point.
        point: IpAddr,
        /// As what it is listed.
        answer: Ipv4Addr,
    },
    /// It answers with this, which is an error code or no answer of a list at all.
    Refuses(Ipv4Addr),
    /// It does not answer.
    Silent,
}

/// What is done about a broken zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It is put aside (gatepost.cf: `dnsbl_guard = enforce`).
    Aside,
    /// Nothing (gatepost.cf: `dnsbl_guard = warn`).
    Told,
}

/// Whether main.cf's `postscreen_dnsbl_threshold` can be reached with the zones that are not
/// broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It can, or it could not with all zones either.
    Enough,
    /// It cannot any more.
    Short {
        /// The highest score that is left.
        highest: i64,
        /// main.cf: `postscreen_dnsbl_threshold`.
        threshold: i32,
    },
}
