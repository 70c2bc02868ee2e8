//! Something that is said at most once a day.

use std::time::{Duration, Instant};

use crate::screen::event::Now;
use crate::screen::test_set::UnixTime;

/// How long nothing is said again.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When it was said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Daily {
    /// For the next process, which knows no other clock.
    pub at: Option<UnixTime>,
    /// By the clock that does not jump.
    free: Option<Instant>,
}

impl Daily {
    /// What an earlier process has said. A time in the future counts as now.
    pub(super) fn restored(at: Option<UnixTime>, now: Now) -> Daily {
        let at = at.map(|at| at.min(now.wall));
        let free = at.map(|at| now.mono + DAY.saturating_sub(age(at, now.wall)));
        Daily { at, free }
    }

    /// Whether it may be said.
    pub(super) fn is_free(&self, now: Now) -> bool {
        self.free.is_none_or(|free| free <= now.mono)
    }

    /// When it may be said; `None`: at once.
    pub(super) fn next(&self) -> Option<Instant> {
        self.free
    }

    /// It is said.
    pub(super) fn say(&mut self, now: Now) {
        *self = Daily { at: Some(now.wall), free: Some(now.mono + DAY) };
    }

    /// It may be said again.
    pub(super) fn clear(&mut self) {
        self.free = None;
    }
}

/// How long ago that was; nothing for a time in the future.
pub(super) fn age(at: UnixTime, now: UnixTime) -> Duration {
    Duration::from_secs(now.0.saturating_sub(at.0))
}
