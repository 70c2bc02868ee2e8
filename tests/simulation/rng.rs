//! A small generator of random numbers: what a seed gives never changes.

use std::time::Duration;

/// splitmix64 (Steele, Lea and Flood 2014): one word of state, and any seed will do.
pub struct Rng(u64);

impl Rng {
    /// A generator that is fully determined by `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// Likewise, for lengths and counts.
    pub fn count(&mut self, low: usize, high: usize) -> usize {
        usize::try_from(self.between(low as u64, high as u64)).unwrap()
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// One of several values.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.count(0, values.len() - 1)]
    }

    /// A time span in milliseconds, in steps of ten, so that things often happen at once.
    pub fn span(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high) / 10 * 10)
    }

    /// A time span in whole seconds.
    pub fn seconds(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_secs(self.between(low, high))
    }
}
