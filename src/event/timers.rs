//! Deadlines: one for each key, in a heap from which outdated entries go lazily.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// One live deadline for each key.
///
/// Setting a deadline again leaves the old entry in the heap; it is recognised by its number
/// and dropped when it comes up, or when outdated entries outnumber the live ones.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<Entry<K>>>,
    live: HashMap<K, u64>,
    next_number: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry<K> {
    at: Instant,
    number: u64,
    key: K,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new(), live: HashMap::new(), next_number: 0 }
    }
}

impl<K: Copy + Eq + Hash + Ord> Timers<K> {
    /// Sets or replaces the deadline of a key.
    pub fn set(&mut self, key: K, at: Instant) {
        let number = self.next_number;
        self.next_number += 1;
        self.live.insert(key, number);
        self.heap.push(Reverse(Entry { at, number, key }));
        // Amortised: at least half of what is sorted out was pushed since the last time.
        if self.heap.len() > 64 && self.heap.len() > 2 * self.live.len() {
            let live = &self.live;
            self.heap.retain(|Reverse(entry)| live.get(&entry.key) == Some(&entry.number));
        }
    }

    /// Forgets the deadline of a key.
    pub fn cancel(&mut self, key: K) {
        self.live.remove(&key);
    }

    /// When the next deadline is.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        self.drop_outdated();
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes out one key whose deadline has come.
    pub fn pop_expired(&mut self, now: Instant) -> Option<K> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.live.remove(&entry.key);
        Some(entry.key)
    }

    fn drop_outdated(&mut self) {
        while let Some(Reverse(entry)) = self.heap.peek()
            && self.live.get(&entry.key) != Some(&entry.number)
        {
            self.heap.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_come_in_order_and_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set('b', at(20));
        timers.set('a', at(10));
        timers.set('c', at(10));
        assert_eq!(timers.next_deadline(), Some(at(10)));
        assert_eq!(timers.pop_expired(at(9)), None);
        assert_eq!(timers.pop_expired(at(30)), Some('a'));
        assert_eq!(timers.pop_expired(at(30)), Some('c'));
        assert_eq!(timers.pop_expired(at(30)), Some('b'));
        assert_eq!(timers.pop_expired(at(30)), None);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_new_deadline_replaces_the_old_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set('a', at(10));
        timers.set('a', at(50));
        assert_eq!(timers.next_deadline(), Some(at(50)));
        timers.set('a', at(5));
        assert_eq!(timers.pop_expired(at(60)), Some('a'));
        assert_eq!(timers.pop_expired(at(60)), None);
        timers.set('a', at(70));
        timers.cancel('a');
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn outdated_entries_do_not_pile_up() {
        let start = Instant::now();
        let mut timers = Timers::default();
        for round in 0..10_000 {
            timers.set(round % 10, start + Duration::from_millis(round));
        }
        assert!(timers.heap.len() <= 64, "{}", timers.heap.len());
        assert_eq!(timers.live.len(), 10);
    }
}
