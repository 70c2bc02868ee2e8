//! What is going to happen, in the order of time.

use std::cmp::Ordering;
use std::time::Duration;

use gatepost::screen::dnsbl::answer::Question;
use gatepost::screen::event::TlsNews;
use gatepost::screen::session::SessionId;

use crate::outside::Smtpd;

/// Something that is going to happen.
#[derive(Debug)]
pub enum Event {
    Arrival,
    /// The client sends this.
    Says(SessionId, Vec<u8>),
    /// The client hangs up; `true` is a reset, which throws away what was not read.
    HangsUp(SessionId, bool),
    /// Nothing is heard of the client any more.
    Vanishes(SessionId),
    /// The socket may have something to report.
    Readable(SessionId),
    WriteFailed(SessionId),
    /// A timer; it counts only if nothing has replaced it.
    Timer(SessionId, u64),
    /// A DNS list answers; it counts only if the question still stands.
    ListAnswers(Question, u64),
    /// The guard's timer; it counts only if nothing has replaced it.
    Guard(u64),
    /// There is something to tell of an attempt at TLS, unless that is over.
    Tls(SessionId, u64, TlsNews<'static>),
    /// smtpd(8) answers.
    Answers(SessionId, Smtpd),
    /// An input that comes too late, twice, or out of place.
    Stray,
    /// The weather changes.
    Change,
    Terminate,
}

/// An entry of the agenda: when, then by lot.
pub struct Entry {
    pub at: Duration,
    pub lot: u64,
    pub event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.at, self.lot) == (other.at, other.lot)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        (self.at, self.lot).cmp(&(other.at, other.lot))
    }
}
