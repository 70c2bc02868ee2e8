//! The clocks of the cache, so that a test can turn them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

use super::reckoning::{Reading, Reckoning};
use crate::screen::test_set::UnixTime;

/// Tells one run of the machine from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Containers may count the time since the start of the machine in their own way.
const TIME_NAMESPACE: &str = "/proc/self/ns/time";

/// One reading of both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// For intervals; never jumps, and stands still while the machine is suspended.
    pub mono: Instant,
    /// For stamps that are stored: seconds since 1970, by a clock that nobody sets.
    pub wall: UnixTime,
}

/// Where the cache takes the time from.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Moment;
}

/// The clocks of the machine, and how the time of verdicts is told by them.
#[derive(Clone, Debug)]
pub struct SystemClock {
    offset: Arc<AtomicI64>,
}

impl SystemClock {
    /// Begins with what the wall clock says.
    pub fn new() -> SystemClock {
        SystemClock::of(&Reckoning::alone(Reading::now()))
    }

    pub(super) fn of(reckoning: &Reckoning) -> SystemClock {
        SystemClock { offset: Arc::new(AtomicI64::new(reckoning.offset())) }
    }

    /// All copies of this clock tell the time so from now on.
    pub(super) fn follow(&self, reckoning: &Reckoning) {
        self.offset.store(reckoning.offset(), Ordering::Relaxed);
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let time = running().saturating_add(self.offset.load(Ordering::Relaxed));
        Moment { mono: Instant::now(), wall: UnixTime(u64::try_from(time).unwrap_or(0)) }
    }
}

impl Reading {
    /// What they say now.
    pub fn now() -> Reading {
        let wall = i64::try_from(wall_time().0).unwrap_or(i64::MAX);
        Reading { running: running(), wall }
    }
}

/// What a wall clock would say at `time`, if it always was ahead by as much as it is now.
pub(super) fn shown(time: UnixTime, now: UnixTime, wall: UnixTime) -> UnixTime {
    UnixTime(time.0.saturating_add(wall.0).saturating_sub(now.0))
}

/// The name of this run of the machine; empty if it has none. Not for a process in a jail.
pub(super) fn boot() -> String {
    let Ok(id) = std::fs::read_to_string(BOOT_ID) else { return String::new() };
    let namespace = std::fs::read_link(TIME_NAMESPACE).unwrap_or_default();
    format!("{} {}", id.trim_ascii(), namespace.display())
}

/// Seconds since the machine was started, suspends included.
fn running() -> i64 {
    // No kernel that we run on lacks this clock.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec())
}

/// The wall clock, in seconds since 1970; a clock set before 1970 reads as 0. For names and
/// messages only: it jumps.
pub(super) fn wall_time() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}
