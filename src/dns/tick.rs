//! Points in time in half the room.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A point in time, for what there is one of for each look-up; optional, it takes a quarter of
/// an `Instant`'s room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Tick(NonZeroU64);

/// Where ticks count from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(Instant);

impl Epoch {
    /// Nothing before this is told apart.
    pub fn new(at: Instant) -> Epoch {
        Epoch(at)
    }

    /// To the nanosecond, for some centuries.
    pub fn tick(self, at: Instant) -> Tick {
        let nanoseconds = at.saturating_duration_since(self.0).as_nanos();
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        Tick(NonZeroU64::MIN.saturating_add(nanoseconds))
    }

    /// The way back.
    pub fn instant(self, tick: Tick) -> Instant {
        self.0 + Duration::from_nanos(tick.0.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let start = Instant::now();
        let epoch = Epoch::new(start);
        for nanoseconds in [0, 1, 999, 1_000_000_007, 1 << 50] {
            let at = start + Duration::from_nanos(nanoseconds);
            assert_eq!(epoch.instant(epoch.tick(at)), at);
        }
        assert!(epoch.tick(start) < epoch.tick(start + Duration::from_nanos(1)));
        assert_eq!(size_of::<Option<Tick>>(), 8);
    }
}
