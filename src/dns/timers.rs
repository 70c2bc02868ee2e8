//! When look-ups want to be woken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::LookupId;
use super::tick::Tick;

/// A heap of times. A look-up knows its own next one; entries that it no longer knows are
/// dropped when they come up, or when they outnumber the others.
#[derive(Default, Debug)]
pub(super) struct Timers(BinaryHeap<Reverse<(Tick, LookupId)>>);

impl Timers {
    /// One more time.
    pub fn add(&mut self, at: Tick, lookup: LookupId) {
        self.0.push(Reverse((at, lookup)));
    }

    /// The next time, while `is_known` says that it still counts.
    pub fn next(&mut self, is_known: impl Fn(Tick, LookupId) -> bool) -> Option<Tick> {
        while let Some(Reverse((at, lookup))) = self.0.peek() {
            if is_known(*at, *lookup) {
                return Some(*at);
            }
            self.0.pop();
        }
        None
    }

    /// Takes out the next time, if it has come.
    pub fn pop(&mut self, now: Tick) -> Option<(Tick, LookupId)> {
        let Reverse((at, _)) = self.0.peek()?;
        if *at > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    /// Gives back the room for what is gone.
    pub fn shrink(&mut self) {
        self.0.shrink_to(2 * self.0.len());
    }

    /// Drops what no longer counts, if it may be more than what does: there are `known`
    /// look-ups.
    pub fn tidy(&mut self, known: usize, is_known: impl Fn(Tick, LookupId) -> bool) {
        if self.0.len() > 64 && self.0.len() > 2 * known {
            self.0.retain(|Reverse((at, lookup))| is_known(*at, *lookup));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::tick::Epoch;
    use std::time::{Duration, Instant};

    #[test]
    fn times_come_in_order_and_old_ones_go() {
        let start = Instant::now();
        let at = |ms| Epoch::new(start).tick(start + Duration::from_millis(ms));
        let id = |slot| LookupId { slot, generation: 1 };
        let mut timers = Timers::default();
        for (ms, slot) in [(30, 3), (10, 1), (20, 2)] {
            timers.add(at(ms), id(slot));
        }
        assert_eq!(timers.next(|_, lookup| lookup != id(1)), Some(at(20)));
        assert_eq!(timers.pop(at(19)), None);
        assert_eq!(timers.pop(at(20)), Some((at(20), id(2))));
        for n in 0..10_000 {
            timers.add(at(n), id(9));
            timers.tidy(1, |when, lookup| lookup == id(3) || when == at(n));
            assert!(timers.0.len() <= 66);
        }
        assert_eq!(timers.next(|_, lookup| lookup == id(3)), Some(at(30)));
    }
}
