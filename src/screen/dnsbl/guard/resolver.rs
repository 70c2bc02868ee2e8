//! When all zones fail at once, it is the resolver.

use std::time::Instant;

use super::daily::Daily;
use super::notice::Notice;
use super::saved::Saved;
use super::zone::Zone;
use crate::screen::event::Now;
use crate::screen::test_set::UnixTime;

/// What is known of the resolver.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    /// Since when no zone answers.
    failing: Option<UnixTime>,
    /// The last warning.
    warned: Daily,
    /// What was last stored.
    stored: (Option<UnixTime>, Option<UnixTime>),
}

impl Resolver {
    /// Goes on from what an earlier process has stored. Times in the future count as now.
    pub(super) fn restored(
        failing: Option<UnixTime>,
        warned: Option<UnixTime>,
        now: Now,
    ) -> Resolver {
        Resolver {
            // Nothing begins without a word.
            failing: warned.and(failing).map(|since| since.min(now.wall)),
            warned: Daily::restored(warned, now),
            stored: (failing, warned),
        }
    }

    /// Whether no zone answers.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Whether all zones have fallen silent; those that are broken do not count.
    pub(super) fn look_at(&mut self, zones: &[Zone], now: Now) -> Option<Notice> {
        let asked = || zones.iter().filter(|zone| zone.trouble.is_none());
        if self.is_failing() || !asked().all(|zone| zone.is_silent(now.mono)) {
            return None;
        }
        // Since the last of them fell silent.
        let silences = asked().filter_map(|zone| zone.silence);
        let since = silences.map(|silence| silence.since.wall).max()?.min(now.wall);
        self.failing = Some(since);
        let zones = asked().count();
        Some(if self.warned.is_free(now) {
            self.warned.say(now);
            Notice::NoAnswers { zones, since }
        } else {
            Notice::NoAnswersAgain { zones, since }
        })
    }

    /// A test point was answered. Since when none was, if that was so.
    pub(super) fn works(&mut self) -> Option<UnixTime> {
        self.failing.take()
    }

    /// When there may be a warning again; not before looks that are about to end.
    pub(super) fn next_warning(&self, zones: &[Zone]) -> Option<Instant> {
        let mut asked = zones.iter().filter(|zone| zone.trouble.is_none());
        let first = asked.next()?;
        let warn = self.is_failing() && first.is_settled() && asked.all(Zone::is_settled);
        warn.then(|| self.warned.next()).flatten()
    }

    /// Says it again after a day.
    pub(super) fn repeat_warning(&mut self, zones: &[Zone], now: Now) -> Option<Notice> {
        let since = self.failing?;
        self.next_warning(zones).filter(|next| *next <= now.mono)?;
        self.warned.say(now);
        let zones = zones.iter().filter(|zone| zone.trouble.is_none()).count();
        Some(Notice::NoAnswers { zones, since })
    }

    /// What is to be stored, if that has changed.
    pub(super) fn changed(&mut self) -> Option<Saved> {
        let now = (self.failing, self.warned.at);
        let before = std::mem::replace(&mut self.stored, now);
        (before != now).then_some(Saved::Resolver { failing: now.0, warned: now.1 })
    }
}
