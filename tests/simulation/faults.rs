//! What goes wrong: the weather changes now and then, and what it does to somebody is counted.

use std::net::SocketAddr;
use std::time::Duration;

use gatepost::screen::dnsbl::answer::{Answer, Asker, Failure, ListId, Question};
use gatepost::screen::event::{Access, Spoken, TlsNews, TlsTrouble, Trust};
use gatepost::screen::test_set::UnixTime;

use crate::agenda::Event;
use crate::draw::{self, Mood};
use crate::outside::{Smtpd, Tlsproxy};
use crate::world::{ENDS, START, World};

pub const RESETS: &str = "client: resets the connection";
pub const HANGS_UP: &str = "client: hangs up";
pub const VANISHES: &str = "client: is not heard of any more";
pub const WRITE_FAILS: &str = "client: a write fails";
pub const CACHE_UNREADABLE: &str = "cache: cannot be read";
pub const CACHE_LOST: &str = "cache: everything is lost";
pub const NOT_STORED: &str = "cache: a verdict is not stored";
pub const LIST_FAILS: &str = "table: the access list or that of commands cannot tell";
pub const FOOTERS_FAIL: &str = "table: the footers cannot be told";
pub const FILTER_FAILS: &str = "table: the command filter fails";
pub const NO_RESOLVER: &str = "dns: no list answers any more";
pub const TIMES_OUT: &str = "dns: no answer in time";
pub const SERVER_FAILS: &str = "dns: a server fails, or is not there";
pub const LISTS_ALL: &str = "dns: a list lists everybody";
pub const REFUSES: &str = "dns: a list refuses to answer";
pub const SIGTERM: &str = "process: SIGTERM";
pub const SUSPENDED: &str = "process: suspended";
pub const CLOCK_BACK: &str = "clock: set back";
pub const CLOCK_FORTH: &str = "clock: set forth";
pub const CLOCK_1970: &str = "clock: in 1970";
pub const TLSPROXY_DIES: &str = "tlsproxy: dies in mid-session";
pub const TLSPROXY_DIES_EARLY: &str = "tlsproxy: dies while it is asked";

/// All faults.
pub const ALL: [&str; 35] = [
    RESETS,
    HANGS_UP,
    VANISHES,
    WRITE_FAILS,
    CACHE_UNREADABLE,
    CACHE_LOST,
    NOT_STORED,
    LIST_FAILS,
    FOOTERS_FAIL,
    FILTER_FAILS,
    NO_RESOLVER,
    TIMES_OUT,
    SERVER_FAILS,
    LISTS_ALL,
    REFUSES,
    SIGTERM,
    SUSPENDED,
    CLOCK_BACK,
    CLOCK_FORTH,
    CLOCK_1970,
    TLSPROXY_DIES,
    TLSPROXY_DIES_EARLY,
    "smtpd: slow",
    "smtpd: full",
    "smtpd: not there",
    "smtpd: does not take the descriptor",
    "smtpd: silent",
    "tlsproxy: full",
    "tlsproxy: not there",
    "tlsproxy: closes at once",
    "tlsproxy: says something else",
    "tlsproxy: silent",
    "tlsproxy: does not answer",
    "tlsproxy: refuses",
    "tlsproxy: does not take the descriptor",
];

pub fn of_smtpd(smtpd: Smtpd) -> Option<&'static str> {
    match smtpd {
        Smtpd::Well => None,
        Smtpd::Slow => Some("smtpd: slow"),
        Smtpd::Full => Some("smtpd: full"),
        Smtpd::Gone => Some("smtpd: not there"),
        Smtpd::Broken => Some("smtpd: does not take the descriptor"),
        Smtpd::Mute => Some("smtpd: silent"),
    }
}

pub fn of_tlsproxy(tlsproxy: Tlsproxy) -> Option<&'static str> {
    match tlsproxy {
        Tlsproxy::Well => None,
        Tlsproxy::Full => Some("tlsproxy: full"),
        Tlsproxy::Gone => Some("tlsproxy: not there"),
        Tlsproxy::Deaf => Some("tlsproxy: closes at once"),
        Tlsproxy::Confused => Some("tlsproxy: says something else"),
        Tlsproxy::Silent => Some("tlsproxy: silent"),
        Tlsproxy::Mute => Some("tlsproxy: does not answer"),
        Tlsproxy::Refusing => Some("tlsproxy: refuses"),
        Tlsproxy::Clumsy => Some("tlsproxy: does not take the descriptor"),
    }
}

impl World {
    /// Something else is out of order from now on, or in order again.
    pub fn change(&mut self) {
        let well = self.rng.chance(40);
        self.tlsproxy = if well { Tlsproxy::Well } else { self.rng.pick(&Tlsproxy::ALL) };
        self.smtpd = if self.rng.chance(50) { Smtpd::Well } else { self.rng.pick(&Smtpd::ALL) };
        if self.mortal && self.rng.chance(1) {
            self.plan(Duration::ZERO, Event::Terminate);
        }
        self.pause = self.rng.pick(&[50, 200, 600, 2000]);
        self.outside.cache_fails = self.rng.chance(10);
        self.outside.lists_fail = self.rng.chance(10);
        let footers_fail = self.rng.chance(10);
        self.outside.footers_fail = footers_fail;
        self.laws.footers_fail = footers_fail;
        self.disk_full = self.rng.chance(10);
        if self.rng.chance(2) {
            // It was found damaged, and begins anew.
            self.outside.cache.clear();
            self.laws.tally.add(CACHE_LOST);
        }
        if self.rng.chance(5) {
            for list in [0, 1, 2, 3] {
                self.moods.insert(ListId(list), Mood::Dead);
            }
            self.laws.tally.add(NO_RESOLVER);
        }
        let list = ListId(self.rng.pick(&[0, 1, 2, 3]));
        if self.rng.chance(30) {
            let mood = self.rng.pick(&[Mood::Mad, Mood::Refusing, Mood::Dead]);
            self.moods.insert(list, mood);
        } else {
            self.moods.remove(&list);
        }
        let end: SocketAddr = self.rng.pick(&ENDS).parse().unwrap();
        self.outside.closed_end = self.rng.chance(30).then(|| end.ip());
        self.outside.spoken =
            self.rng.pick(&[Spoken::Yes, Spoken::Yes, Spoken::No, Spoken::Unknown]);
        self.outside.trust = self.rng.pick(&[Trust::Anybody, Trust::Listed, Trust::Stranger]);
        let address = self.address();
        let access = self.rng.pick(&[
            Access::Permit,
            Access::Reject,
            Access::Undecided,
            Access::Undecided,
            Access::Undecided,
            Access::Undecided,
        ]);
        self.outside.access.insert(address, access);
        if self.rng.chance(10) {
            self.clock();
        }
        if self.rng.chance(5) {
            self.tlsproxy_dies();
        }
        if self.busy() {
            let after = self.rng.span(500, 15_000);
            self.plan(after, Event::Change);
        }
    }

    /// A clock jumps, or no clock counts for a while as the process is suspended.
    fn clock(&mut self) {
        let jump = Duration::from_secs(self.rng.pick(&[1, 3600, 86_400, 100_000, 3_000_000]));
        let (wall, fault) = match self.rng.between(0, 7) {
            0..=2 => (self.wall.minus(jump), CLOCK_BACK),
            3..=5 => (self.wall.plus(jump), CLOCK_FORTH),
            // A machine without a battery: the epoch, until somebody tells it the time.
            6 if self.wall.0 >= START / 2 => (UnixTime(10), CLOCK_1970),
            6 => (UnixTime(START), CLOCK_FORTH),
            _ => {
                let span = Duration::from_secs(self.rng.pick(&[2, 30, 300, 4000]));
                self.time += span;
                (self.wall.plus(span), SUSPENDED)
            }
        };
        self.wall = wall;
        self.laws.tally.add(fault);
    }

    /// Whom it had is gone; whoever was about to be taken learns that nothing comes of it.
    fn tlsproxy_dies(&mut self) {
        let ids: Vec<_> = self.seats.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(seat) = self.seats.get_mut(id) else { continue };
            if seat.secure {
                seat.hung_up = true;
                seat.unread.clear();
                self.laws.tally.add(TLSPROXY_DIES);
                self.plan(Duration::ZERO, Event::Readable(id));
            } else if let Some(attempt) = seat.attempt {
                self.laws.tally.add(TLSPROXY_DIES_EARLY);
                let trouble = TlsTrouble::NoGreeting("Application error");
                let news = TlsNews::Failed { trouble, detail: None };
                self.plan(Duration::ZERO, Event::Tls(id, attempt, news));
            }
        }
    }

    /// What a list answers, as it feels.
    pub fn list_answer(&mut self, question: Question) -> Answer {
        let mood = self.moods.get(&question.list).copied().unwrap_or(Mood::Well);
        let answer = match question.asker {
            Asker::TestPoint => {
                let wanted = question.address.to_string().ends_with('2');
                draw::point_answer(&mut self.rng, mood, wanted)
            }
            Asker::Client if mood == Mood::Well => draw::answer(&mut self.rng),
            Asker::Client => draw::point_answer(&mut self.rng, mood, true),
        };
        let fault = match (mood, &answer) {
            (Mood::Mad, _) => Some(LISTS_ALL),
            (Mood::Refusing, _) => Some(REFUSES),
            (_, Answer::Failed(Failure::TimeLimit)) => Some(TIMES_OUT),
            (_, Answer::Failed(_)) => Some(SERVER_FAILS),
            _ => None,
        };
        if let Some(fault) = fault {
            self.laws.tally.add(fault);
        }
        answer
    }
}
