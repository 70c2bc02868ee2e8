//! What the guard knows of one zone, and when it looks at its test points again.

use std::time::{Duration, Instant};

use super::counting;
use super::daily::{self, Daily};
use super::notice::{Effect, Why};
use super::round::Round;
use super::saved::{Memory, Trouble};
use crate::screen::dnsbl::answer::Answer;
use crate::screen::dnsbl::lists::List;
use crate::screen::event::Now;
use crate::screen::test_set::UnixTime;

/// How often the test points of a good zone are looked at.
const ROUTINE: Duration = Duration::from_secs(60 * 60);
/// How often those of a zone that does not answer.
const FAILING: Duration = Duration::from_secs(5 * 60);
/// How often those of a broken zone.
const BROKEN: Duration = Duration::from_secs(10 * 60);
/// How often at most, whatever happens.
const PAUSE: Duration = Duration::from_secs(60);
/// Between the first looks at zone after zone, and for how many zones that goes on.
const FIRST_STEP: (Duration, u16) = (Duration::from_millis(250), 40);

/// For how long there must be no answer before a zone is called silent. Its test points are
/// asked at least twice in that time.
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// How many listings in a row make one look at the test points: a list that begins to list
/// everybody does not get an hour's clients. Where most clients are listed rightly, this
/// costs four questions for at least that many.
const LISTED_IN_A_ROW: u8 = 10;

/// One zone.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    /// When its test points are looked at first.
    first: Instant,
    /// The routine looks are whole hours after this.
    origin: Instant,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
    /// The last warning.
    pub warned: Daily,
    /// The last word about a missing test point.
    pointless: Daily,
    /// Whether 127.0.0.2 was listed when it was last asked for.
    had_point: bool,
    /// The questions since the last answer, if there are any.
    pub silence: Option<Silence>,
    /// When a test point was last answered. Clients' answers may come from a cache, and prove
    /// nothing.
    pub heard: Option<Instant>,
    /// It is silent, and this is when the round began that nothing of was answered.
    pub accused: Option<Instant>,
    /// Whether to look at the test points before it is time.
    alarm: Alarm,
    in_a_row: u8,
    /// The look that is going on.
    pub round: Option<Round>,
    /// When the last one began.
    last: Option<Instant>,
    /// What was last stored.
    stored: Memory,
    /// How many questions were answered.
    pub answered: u64,
    /// How many were not.
    pub failed: u64,
    /// Since when it is as it is, while nothing is wrong.
    pub good_since: UnixTime,
}

/// Questions without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Silence {
    /// When the first of them failed.
    pub since: Now,
    /// Whether one of them was about a client.
    of_client: bool,
    /// Whether a whole round was among them.
    of_round: bool,
}

/// A reason to look at the test points before it is time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Alarm {
    None,
    /// One look will do.
    Look,
    /// There was an error code: look until the answer is clear.
    ErrorCode,
}

impl Zone {
    /// Zone `number` of `count`.
    pub(super) fn new(number: u16, count: usize, now: Now) -> Zone {
        let (step, steps) = FIRST_STEP;
        let first = now.mono + step * u32::from(number % steps);
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        Zone {
            first,
            origin: first + ROUTINE / count * u32::from(number),
            trouble: None,
            warned: Daily::default(),
            pointless: Daily::default(),
            had_point: false,
            silence: None,
            heard: None,
            accused: None,
            alarm: Alarm::None,
            in_a_row: 0,
            round: None,
            last: None,
            stored: Memory::default(),
            answered: 0,
            failed: 0,
            good_since: now.wall,
        }
    }

    /// Goes on from what an earlier process has stored. Times in the future count as now.
    pub(super) fn restore(&mut self, memory: Memory, effect: Effect, now: Now) {
        self.stored = memory;
        self.warned = Daily::restored(memory.warned, now);
        self.pointless = Daily::restored(memory.pointless, now);
        if let Some(trouble) = memory.trouble {
            if trouble.effect != effect {
                // What was said is not what happens now.
                self.warned.clear();
            }
            self.trouble = Some(Trouble { since: trouble.since.min(now.wall), effect, ..trouble });
        }
        if let Some(since) = memory.silent {
            let age = daily::age(since, now.wall);
            if age <= daily::DAY {
                let mono = now.mono.checked_sub(age).unwrap_or(now.mono);
                let since = Now { mono, wall: since.min(now.wall) };
                self.silence = Some(Silence { since, of_client: true, of_round: true });
            }
        }
    }

    /// What is to be stored, if that has changed. That a question has failed now and then is
    /// not worth it.
    pub(super) fn changed_memory(&mut self) -> Option<Memory> {
        let silence = self.silence.filter(|silence| silence.of_client && silence.of_round);
        let memory = Memory {
            trouble: self.trouble,
            silent: silence.map(|silence| silence.since.wall),
            warned: self.warned.at,
            pointless: self.pointless.at,
        };
        (std::mem::replace(&mut self.stored, memory) != memory).then_some(memory)
    }

    /// Takes note of an answer, whoever has asked.
    pub(super) fn note(&mut self, answer: &Answer, now: Now) {
        if let Answer::Failed(_) = answer {
            self.failed = self.failed.saturating_add(1);
            return;
        }
        if self.answered == 0 {
            self.good_since = now.wall;
        }
        if self.silence.take().is_some() {
            self.good_since = now.wall;
        }
        self.accused = None;
        self.answered = self.answered.saturating_add(1);
    }

    /// A test point was answered.
    pub(super) fn hear(&mut self, now: Now) {
        self.heard = Some(now.mono);
    }

    /// A question about a client was not answered.
    pub(super) fn miss(&mut self, now: Now) {
        let silence = Silence { since: now, of_client: true, of_round: false };
        self.silence.get_or_insert(silence).of_client = true;
    }

    /// Looks for something odd in an answer about a client.
    pub(super) fn judge(&mut self, list: &List, answer: &Answer) {
        match answer {
            Answer::Failed(_) => {}
            Answer::NotListed { .. } => self.in_a_row = 0,
            Answer::Listed { addresses, .. } => {
                if counting::error_code(list, addresses).is_some() {
                    self.suspect();
                } else if counting::counted(list, addresses).is_some() {
                    self.in_a_row = self.in_a_row.saturating_add(1);
                }
                if self.in_a_row >= LISTED_IN_A_ROW {
                    self.in_a_row = 0;
                    self.hurry();
                }
            }
        }
    }

    /// Asks for a look at the test points as soon as the last one is a minute ago.
    pub(super) fn hurry(&mut self) {
        if self.alarm == Alarm::None {
            self.alarm = Alarm::Look;
        }
    }

    /// There was an error code.
    pub(super) fn suspect(&mut self) {
        self.alarm = Alarm::ErrorCode;
    }

    /// Whether there was an error code since the last clear answer.
    pub(super) fn is_suspect(&self) -> bool {
        self.alarm == Alarm::ErrorCode
    }

    /// Whether it has not answered for so long that it is called silent.
    pub(super) fn is_silent(&self, at: Instant) -> bool {
        self.silence.is_some_and(|silence| silence.since.mono + SILENCE <= at)
    }

    /// Nothing was answered in a round that began then. Less does not count: many zones have
    /// no IPv6 addresses, and the servers of some do not answer for these. Nor does it count
    /// if no client's question has failed: private zones may have no test points. Whether the
    /// zone is to blame is for zones to show that were asked at the same time.
    pub(super) fn was_mute(&mut self, start: Instant, now: Now) {
        let silence = Silence { since: now, of_client: false, of_round: true };
        let silence = self.silence.get_or_insert(silence);
        silence.of_round = true;
        if silence.of_client && self.is_silent(start) {
            self.accused = Some(start);
        }
    }

    /// Whether the next round may be the proof that it is silent.
    pub(super) fn needs_witness(&self, now: Instant) -> bool {
        self.trouble.is_none() && self.is_silent(now)
    }

    /// Whether its test points can be asked for to see whether the resolver works.
    pub(super) fn can_bear_witness(&self) -> bool {
        self.trouble.is_none() && self.round.is_none()
    }

    /// Whether it shows that the resolver worked in a round that began then: its own began at
    /// the same time, and was answered.
    pub(super) fn is_witness(&self, start: Instant) -> bool {
        self.trouble.is_none()
            && self.last == Some(start)
            && self.heard.is_some_and(|heard| heard >= start)
    }

    /// It is broken. Whether that is new.
    pub(super) fn condemn(&mut self, why: Why, since: UnixTime, effect: Effect) -> bool {
        self.alarm = Alarm::None;
        self.accused = None;
        match &mut self.trouble {
            Some(trouble) => {
                trouble.why = why;
                false
            }
            None => {
                self.trouble = Some(Trouble { why, since, effect });
                true
            }
        }
    }

    /// Its test points are fine. What was wrong, and whether there is a word to be said about
    /// a test point that is missing: once, and again if it was there in between, but not the
    /// same day.
    pub(super) fn acquit(&mut self, listed: bool, now: Now) -> (Option<Trouble>, bool) {
        self.alarm = Alarm::None;
        let missed = self.pointless.at.is_none() || (self.had_point && self.pointless.is_free(now));
        let tell = !listed && missed;
        if tell {
            self.pointless.say(now);
        }
        self.had_point = listed;
        let trouble = self.trouble.take();
        if trouble.is_some() {
            self.good_since = now.wall;
        }
        (trouble, tell)
    }

    /// Whether its test points were looked at, and are not being looked at.
    pub(super) fn is_settled(&self) -> bool {
        self.last.is_some() && self.round.is_none()
    }

    /// When there may be a warning again; not before a look that is about to end.
    pub(super) fn next_warning(&self) -> Option<Instant> {
        let warn = self.trouble.is_some() && self.is_settled();
        warn.then(|| self.warned.next().unwrap_or(self.first))
    }

    /// Begins a round.
    pub(super) fn start_round(&mut self, now: Now) {
        self.round = Some(Round::new(now.mono));
        self.last = Some(now.mono);
        if self.alarm == Alarm::Look {
            self.alarm = Alarm::None;
        }
    }

    /// When there is something to do about it.
    pub(super) fn due(&self) -> Instant {
        let look = self.round.as_ref().map_or_else(|| self.next_round(), Round::end);
        self.next_warning().map_or(look, |warning| warning.min(look))
    }

    /// When the next round is due, if none is going on.
    pub(super) fn next_round(&self) -> Instant {
        let Some(last) = self.last else { return self.first };
        if self.trouble.is_some() {
            return last + BROKEN;
        }
        if self.alarm != Alarm::None {
            return last + PAUSE;
        }
        match self.silence {
            Some(silence) => {
                // One round as soon as the zone may be called silent, for the proof.
                let proof = silence.since.mono + SILENCE;
                let regular = last + FAILING;
                if last < proof { regular.min(proof.max(last + PAUSE)) } else { regular }
            }
            None => {
                let earliest = last + ROUTINE / 2;
                let behind = earliest.saturating_duration_since(self.origin);
                let hours = behind.as_secs().div_ceil(ROUTINE.as_secs());
                self.origin + Duration::from_secs(hours * ROUTINE.as_secs())
            }
        }
    }
}
