//! The time of verdicts: seconds since 1970, but by a clock that nobody sets.
//!
//! A wall clock can be wrong and be set, forwards and back, by a second or by half a century.
//! Stamps by such a clock would expire all at once, or not for years. So they are reckoned by
//! the time since the machine was started, which goes on in suspend, and of which all processes
//! see the same. The wall clock has one thing to tell that no other clock knows: how long the
//! machine was off. It is asked when the first process after a start opens the file; if what it
//! says cannot be, nothing counts as passed until it says something that can. After that,
//! nothing that becomes of it matters.
//!
//! By how much the two differ (because the wall clock was set while the machine ran) is kept
//! with the file, so that the next start can tell.

use std::time::Duration;

use crate::screen::test_set::UnixTime;

/// A machine was not off for longer; and who was off so long has no verdict left that counts.
const LONGEST_GAP: i64 = 400 * 24 * 3_600;
/// A clock that was set has to stay so for this long, or it may be set back in a moment.
const STANDING: Duration = Duration::from_secs(600);
/// Whole seconds of several clocks, read one after the other, and leap seconds.
const TOLERANCE: i64 = 2;

/// What the clocks of the machine say, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    /// Since the machine was started, suspends included.
    pub running: i64,
    /// Since 1970.
    pub wall: i64,
}

/// How to tell the time of verdicts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reckoning {
    /// For which run of the machine that is so; empty if that is not known.
    boot: String,
    /// What the time is ahead of the seconds of this run.
    offset: i64,
    /// What the wall clock is ahead of the time.
    lead: i64,
    /// How long the machine was off could not be told yet.
    open: bool,
}

/// What is to be said about a wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remark {
    /// It is so many seconds behind, or ahead of, what it was when the file was last used.
    Wrong(i64),
    /// It says now that the machine was off for so many seconds.
    Set(i64),
}

impl Reckoning {
    /// The clock of a process that has no file.
    pub fn alone(now: Reading) -> Reckoning {
        Reckoning {
            boot: String::new(),
            offset: now.wall.saturating_sub(now.running),
            lead: 0,
            open: false,
        }
    }

    /// Goes on from what was `kept` with a file that was in use until `last`, in this `boot` or
    /// in an earlier one.
    pub fn begin(
        kept: Option<Reckoning>,
        last: Option<i64>,
        boot: &str,
        now: Reading,
    ) -> (Reckoning, Option<Remark>) {
        // A file of an earlier version has stamps by the wall clock.
        let (Some(kept), Some(last)) = (kept, last) else {
            return (Reckoning { boot: boot.to_owned(), ..Reckoning::alone(now) }, None);
        };
        // If the time went back, it is another machine that was copied with its memory.
        if !boot.is_empty() && kept.boot == boot && kept.time_at(now) >= last - TOLERANCE {
            return (kept, None);
        }
        let expected = now.wall.saturating_sub(kept.lead);
        let gap = expected.saturating_sub(last);
        let open = !(-TOLERANCE..=LONGEST_GAP).contains(&gap);
        let time = if open { last } else { expected.max(last) };
        let offset = time.saturating_sub(now.running);
        let reckoning = Reckoning { boot: boot.to_owned(), offset, lead: kept.lead, open };
        (reckoning, open.then_some(Remark::Wrong(gap)))
    }

    /// Whether the wall clock can tell now how long the machine was off.
    pub fn close(&mut self, now: Reading) -> Option<Remark> {
        if !self.open {
            return None;
        }
        let gap = now.wall.saturating_sub(self.lead).saturating_sub(self.time_at(now));
        if !(TOLERANCE + 1..=LONGEST_GAP).contains(&gap) {
            return None;
        }
        self.offset = self.offset.saturating_add(gap);
        self.open = false;
        Some(Remark::Set(gap))
    }

    /// What is to be added to the seconds of this run.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The time.
    pub fn time(&self, now: Reading) -> UnixTime {
        UnixTime(u64::try_from(self.time_at(now)).unwrap_or(0))
    }

    /// A stamp by the wall clock as one of ours; not before 1970.
    pub fn by_wall(&self, wall: UnixTime) -> UnixTime {
        let time = i64::try_from(wall.0).unwrap_or(i64::MAX).saturating_sub(self.lead);
        UnixTime(u64::try_from(time).unwrap_or(0))
    }

    /// As it is kept with a file.
    pub fn to_text(&self) -> String {
        let Reckoning { boot, offset, lead, open } = self;
        let state = if *open { "open" } else { "closed" };
        format!("{offset} {lead} {state} {boot}")
    }

    /// Reads what [`Reckoning::to_text`] made.
    pub fn from_text(text: &str) -> Option<Reckoning> {
        let mut words = text.splitn(4, ' ');
        let offset = words.next()?.parse().ok()?;
        let lead = words.next()?.parse().ok()?;
        let open = match words.next()? {
            "open" => true,
            "closed" => false,
            _ => return None,
        };
        Some(Reckoning { boot: words.next()?.to_owned(), offset, lead, open })
    }

    fn time_at(&self, now: Reading) -> i64 {
        now.running.saturating_add(self.offset)
    }
}

/// Looks after a reckoning while a process runs.
#[derive(Debug)]
pub(super) struct Watch {
    reckoning: Reckoning,
    /// A lead that the wall clock has, and since when.
    standing: Option<(i64, i64)>,
}

impl Watch {
    /// Nothing has been seen yet.
    pub fn new(reckoning: Reckoning) -> Watch {
        Watch { reckoning, standing: None }
    }

    /// What it has come to.
    pub fn reckoning(&self) -> &Reckoning {
        &self.reckoning
    }

    /// Looks at the clocks. Whether there is something new to be kept with the file, and what is
    /// to be said.
    pub fn look(&mut self, now: Reading) -> (bool, Option<Remark>) {
        if let Some(remark) = self.reckoning.close(now) {
            self.standing = None;
            return (true, Some(remark));
        }
        let lead = now.wall.saturating_sub(self.reckoning.time_at(now));
        let is = |other: i64| lead.saturating_sub(other).abs() <= TOLERANCE;
        if self.reckoning.open || is(self.reckoning.lead) {
            self.standing = None;
            return (false, None);
        }
        match self.standing {
            Some((standing, since)) if is(standing) => {
                let long = i64::try_from(STANDING.as_secs()).unwrap_or(i64::MAX);
                if now.running.saturating_sub(since) < long {
                    return (false, None);
                }
                self.reckoning.lead = lead;
                self.standing = None;
                (true, None)
            }
            _ => {
                self.standing = Some((lead, now.running));
                (false, None)
            }
        }
    }
}

#[cfg(test)]
#[path = "reckoning_tests.rs"]
mod tests;
