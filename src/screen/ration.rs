//! How often the log is told of the same trouble.

use std::time::{Duration, Instant};

/// How often it is logged in the long run.
const INTERVAL: Duration = Duration::from_secs(60);

/// How many times it is logged at once after a quiet time.
pub const BURST: u32 = 3;

/// How much may be said about one trouble.
#[derive(Clone, Copy, Debug)]
pub struct Ration {
    left: u32,
    renewed: Instant,
    unsaid: u64,
}

impl Ration {
    /// A trouble that is new.
    pub fn new(now: Instant) -> Ration {
        Ration { left: BURST, renewed: now, unsaid: 0 }
    }

    /// Notes the trouble. Returns `None` if the log has had enough of it, else how many times
    /// it was not logged since the last time that it was.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        while self.left < BURST && now.saturating_duration_since(self.renewed) >= INTERVAL {
            self.left += 1;
            self.renewed += INTERVAL;
        }
        if self.left == BURST {
            self.renewed = now;
        }
        if self.left == 0 {
            self.unsaid += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}
