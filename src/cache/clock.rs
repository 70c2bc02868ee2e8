//! The clocks of the cache, so that a test can turn them.

use std::time::{Instant, SystemTime};

use crate::screen::test_set::UnixTime;

/// One reading of both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// For intervals; never jumps.
    pub mono: Instant,
    /// For stamps that are stored; jumps when somebody sets the clock.
    pub wall: UnixTime,
}

/// Where the cache takes the time from.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Moment;
}

/// The clocks of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { mono: Instant::now(), wall: wall_time() }
    }
}

/// The wall clock, in seconds since 1970; a clock set before 1970 reads as 0.
pub(super) fn wall_time() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}
