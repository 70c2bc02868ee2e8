//! Deadlines: one for each key, in a heap from which outdated entries go lazily.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// What a deadline is for.
pub trait Key: Copy {
    /// Keys of the same index share one deadline: a later one replaces the earlier one. The
    /// indices should be small numbers; there is room for each up to the largest that was used.
    fn index(self) -> usize;
}

/// One live deadline for each index.
///
/// Setting a deadline again leaves the old entry in the heap; it is recognised by its number
/// and dropped when it comes up, or when outdated entries outnumber the live ones.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<Entry<K>>>,
    /// By index, the number of the live entry, or [`NONE`].
    live: Vec<u64>,
    /// How many of these are live.
    count: usize,
    next_number: u64,
    /// What times in the heap count from: the first deadline. They are half as long as an
    /// `Instant`, which makes a difference where thousands wait.
    epoch: Option<Instant>,
}

/// The number of no entry.
const NONE: u64 = 0;

#[derive(Debug)]
struct Entry<K> {
    /// Nanoseconds from the epoch; negative before it.
    at: i64,
    number: u64,
    key: K,
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Entry<K>) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<K> Eq for Entry<K> {}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Entry<K>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Entry<K>) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            heap: BinaryHeap::new(),
            live: Vec::new(),
            count: 0,
            next_number: NONE + 1,
            epoch: None,
        }
    }
}

impl<K: Key> Timers<K> {
    /// Sets or replaces the deadline of a key.
    pub fn set(&mut self, key: K, at: Instant) {
        let number = self.next_number;
        self.next_number += 1;
        let index = key.index();
        if self.live.len() <= index {
            self.live.resize(index + 1, NONE);
        }
        let Some(entry) = self.live.get_mut(index) else { return };
        if std::mem::replace(entry, number) == NONE {
            self.count += 1;
        }
        let at = nanoseconds(*self.epoch.get_or_insert(at), at);
        self.heap.push(Reverse(Entry { at, number, key }));
        // Amortised: at least half of what is sorted out was pushed since the last time.
        if self.heap.len() > 64 && self.heap.len() > 2 * self.count {
            let live = &self.live;
            self.heap.retain(|Reverse(entry)| is_live(live, entry));
        }
    }

    /// Forgets the deadline of a key.
    pub fn cancel(&mut self, key: K) {
        if let Some(entry) = self.live.get_mut(key.index())
            && std::mem::replace(entry, NONE) != NONE
        {
            self.count -= 1;
        }
    }

    /// When the next deadline is.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse(entry)) = self.heap.peek() {
            if is_live(&self.live, entry) {
                let span = Duration::from_nanos(entry.at.unsigned_abs());
                let epoch = self.epoch?;
                return Some(if entry.at < 0 { epoch - span } else { epoch + span });
            }
            self.heap.pop();
        }
        None
    }

    /// Takes out one key whose deadline has come.
    pub fn pop_expired(&mut self, now: Instant) -> Option<K> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.cancel(entry.key);
        Some(entry.key)
    }
}

fn nanoseconds(from: Instant, to: Instant) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match to.checked_duration_since(from) {
        Some(after) => whole(after),
        None => -whole(from.saturating_duration_since(to)),
    }
}

fn is_live<K: Key>(live: &[u64], entry: &Entry<K>) -> bool {
    live.get(entry.key.index()) == Some(&entry.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Key for u8 {
        fn index(self) -> usize {
            self.into()
        }
    }

    #[test]
    fn deadlines_come_in_order_and_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(b'b', at(20));
        timers.set(b'a', at(10));
        timers.set(b'c', at(10));
        assert_eq!(timers.next_deadline(), Some(at(10)));
        assert_eq!(timers.pop_expired(at(9)), None);
        assert_eq!(timers.pop_expired(at(30)), Some(b'a'));
        assert_eq!(timers.pop_expired(at(30)), Some(b'c'));
        assert_eq!(timers.pop_expired(at(30)), Some(b'b'));
        assert_eq!(timers.pop_expired(at(30)), None);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_new_deadline_replaces_the_old_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(b'a', at(10));
        timers.set(b'a', at(50));
        assert_eq!(timers.next_deadline(), Some(at(50)));
        timers.set(b'a', at(5));
        assert_eq!(timers.pop_expired(at(60)), Some(b'a'));
        assert_eq!(timers.pop_expired(at(60)), None);
        timers.set(b'a', at(70));
        timers.cancel(b'a');
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn outdated_entries_do_not_pile_up() {
        let start = Instant::now();
        let mut timers = Timers::default();
        for round in 0..10_000_u64 {
            timers.set((round % 10) as u8, start + Duration::from_millis(round));
        }
        assert!(timers.heap.len() <= 64, "{}", timers.heap.len());
        assert_eq!((timers.live.len(), timers.count), (10, 10));
    }

    #[test]
    fn deadlines_before_the_first_one_come_in_time() {
        let start = Instant::now() + Duration::from_secs(100);
        let mut timers = Timers::default();
        timers.set(b'a', start);
        timers.set(b'b', start - Duration::from_secs(90));
        timers.set(b'c', start - Duration::from_nanos(1));
        assert_eq!(timers.next_deadline(), Some(start - Duration::from_secs(90)));
        assert_eq!(timers.pop_expired(start - Duration::from_secs(90)), Some(b'b'));
        assert_eq!(timers.pop_expired(start - Duration::from_nanos(2)), None);
        assert_eq!(timers.pop_expired(start - Duration::from_nanos(1)), Some(b'c'));
        assert_eq!(timers.pop_expired(start), Some(b'a'));
    }
}
