//! One session as seen from outside, and what should come out for it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gatepost::screen::dnsbl::answer::Question;
use gatepost::screen::event::{Access, Cached, Filtered, Now, Spoken, Trust, Watch};
use gatepost::screen::reply::Reply;
use gatepost::screen::test_set::{CacheRecord, Expiry, PerTest, Test, TestSet, UnixTime};

use crate::lists::{Opinion, Round};
use crate::seen::Word;

/// What the core asked in one turn, and what it was told.
#[derive(Default, Debug)]
pub struct Answers {
    pub questions: usize,
    pub access: Option<Access>,
    pub cached: Option<Cached>,
    pub interface: Option<bool>,
    pub spoken: Option<Spoken>,
    pub trust: Option<Trust>,
    /// How often it asked for a footer.
    pub footers: usize,
    /// How often it asked for EHLO keywords.
    pub keywords: usize,
    /// Lines and what the command filter made of them, in order.
    pub filtered: Vec<(Vec<u8>, Filtered)>,
    /// Command words and whether they are forbidden, in order.
    pub forbidden: Vec<(Vec<u8>, bool)>,
}

/// Where a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Waiting,
    Engine,
    /// It has asked for TLS, and tlsproxy(8) has not introduced itself.
    Greeting,
    /// tlsproxy(8) was asked.
    Status,
    /// tlsproxy(8) was busy; the next attempt waits for its time.
    TlsPause,
    HandingOff,
    /// smtpd(8) was busy; the next attempt waits for its time.
    Pausing,
}

impl Place {
    /// In our hands, and counted as such.
    pub fn is_screened(self) -> bool {
        !matches!(self, Place::HandingOff | Place::Pausing)
    }
}

/// What became of a test.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Fate {
    #[default]
    NotDue,
    Pending,
    Passed(UnixTime),
    Ignored,
    /// A deep test that failed, which was ignored: as good as passed for a while.
    Excused(UnixTime),
    Failed,
}

/// One session, as seen from outside.
#[derive(Debug)]
pub struct Witness {
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub began: Instant,
    /// The greet wait that it has to sit through.
    pub wait: Duration,
    pub due: TestSet,
    pub was_new: bool,
    /// What became of each test.
    pub fates: PerTest<Fate>,
    /// It must not be handed off: denylisted, vetoed, or it has failed a test.
    pub refused: bool,
    /// What all lists together say.
    pub score: Option<Opinion>,
    /// Its wait was cut short.
    pub hurried: bool,
    /// Until when lists speak for it.
    pub recommended: Option<UnixTime>,
    /// What it has said in the engine since the last line that was looked at.
    pub line: Vec<u8>,
    /// It has said EHLO, and so knows what is kept from it.
    pub esmtp: bool,
    /// It speaks TLS.
    pub secure: bool,
    /// When it asked for TLS.
    pub asked: Instant,
    pub place: Place,
    pub watch: Watch,
    pub deadline: Option<Instant>,
    /// When the hand-off began.
    pub handed: Instant,
    /// It is back from smtpd(8), and so no longer subject to the limit of its entry.
    pub returned: bool,
}

impl Witness {
    /// Until when a test counts as passed in this session, if it is a good one.
    pub fn pass(&self, test: Test) -> Option<Expiry> {
        match self.fates[test] {
            Fate::Passed(until) | Fate::Excused(until) if !self.refused => {
                Some(Expiry::Until(until))
            }
            _ => None,
        }
    }

    /// What became of the pregreet test.
    pub fn pregreet(&self) -> Fate {
        self.fates.pregreet
    }
}

/// What the open sessions of an address share.
#[derive(Default, Debug)]
pub struct Run {
    pub sessions: usize,
    pub record: Option<CacheRecord>,
    pub new_logged: bool,
    pub round: Option<Round>,
}

/// What should have come out of a turn.
#[derive(Default, Debug)]
pub struct Expected {
    pub words: Vec<Word>,
    pub replies: Vec<Reply>,
    pub store: Option<CacheRecord>,
    pub hand_off: bool,
    pub starts_tls: bool,
    pub abandons_tls: bool,
    pub tls_begins: bool,
    /// The time limit begins anew, though the place is the same.
    pub restarts: bool,
    pub closed: bool,
    pub asked: Vec<Question>,
    pub forgotten: Vec<Question>,
    /// The wait is cut to this.
    pub grace: Option<Duration>,
}

impl Expected {
    /// One reply, and the end.
    pub fn turn_away(&mut self, word: Option<Word>, reply: Reply) {
        self.words.extend(word);
        self.words.push(Word::Disconnect);
        self.replies.push(reply);
        self.closed = true;
    }
}

/// Turns a law that does not hold into its words.
pub fn ensure(holds: bool, law: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(law()) }
}

/// Whom smtpd(8) may see, and when.
pub fn law_of_hand_off(witness: &Witness, now: Now) -> Result<(), String> {
    ensure(!witness.refused, || format!("refused, yet handed off: {witness:?}"))?;
    ensure(witness.pregreet() != Fate::Failed, || format!("dropped: {witness:?}"))?;
    ensure(witness.watch == Watch::Nothing, || format!("still looked at: {witness:?}"))?;
    if witness.recommended.is_some() {
        return Ok(());
    }
    let polite = matches!(witness.pregreet(), Fate::Pending | Fate::Passed(_));
    let waited = now.mono - witness.began;
    ensure(!polite || waited >= witness.wait, || format!("only {waited:?}: {witness:?}"))
}
