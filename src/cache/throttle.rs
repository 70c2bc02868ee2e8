//! A warning at most once a minute, with the number of times it was due.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// Counts occurrences and says when to report them.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    reported: Option<Instant>,
    count: u64,
}

impl Throttle {
    /// Notes `times` occurrences. If it is time to report, returns how many there were since
    /// the last report, these included.
    pub fn note(&mut self, times: u64, now: Instant) -> Option<u64> {
        self.count = self.count.saturating_add(times);
        let due = self
            .reported
            .is_none_or(|reported| now.saturating_duration_since(reported) >= INTERVAL);
        if !due {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_once_a_minute_with_the_count() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        assert_eq!(throttle.note(1, start), Some(1));
        assert_eq!(throttle.note(1, start), None);
        assert_eq!(throttle.note(3, start + Duration::from_secs(59)), None);
        assert_eq!(throttle.note(1, start + Duration::from_secs(60)), Some(5));
    }
}
