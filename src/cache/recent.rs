//! A bounded memory of recent verdicts.

use std::collections::HashMap;
use std::net::IpAddr;

use super::record::Packed;
use crate::screen::test_set::CacheRecord;

/// A remembered verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Remembered {
    record: Packed,
    /// When it was stored here or read from the file, in seconds.
    pub since: u32,
}

impl Remembered {
    /// The verdict.
    pub fn record(&self) -> CacheRecord {
        self.record.into()
    }
}

/// Verdicts by address; when there are too many, those not asked for lately are forgotten.
///
/// Two generations: new and asked-for entries live in the young one; when that holds half
/// of the capacity it becomes the old one, and the old one is forgotten as a whole. Its table
/// is emptied and used again: once both have grown to their size nothing is allocated any
/// more, and emptying one is a matter of a microsecond.
#[derive(Debug)]
pub(super) struct Recent {
    young: HashMap<IpAddr, Remembered>,
    old: HashMap<IpAddr, Remembered>,
    half: usize,
}

impl Recent {
    /// An empty memory for at most `capacity` verdicts (at least 2).
    pub fn new(capacity: usize) -> Recent {
        Recent { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    /// Changes the capacity; more entries than that go with the next generations.
    pub fn resize(&mut self, capacity: usize) {
        self.half = (capacity / 2).max(1);
    }

    /// Remembers `record`; it is second `now`.
    pub fn insert(&mut self, address: IpAddr, record: CacheRecord, now: u32) {
        self.put(address, Remembered { record: Packed::from(record), since: now });
    }

    /// What is remembered about `address`.
    pub fn get(&mut self, address: IpAddr) -> Option<Remembered> {
        if let Some(remembered) = self.young.get(&address) {
            return Some(*remembered);
        }
        let remembered = self.old.remove(&address)?;
        self.put(address, remembered);
        Some(remembered)
    }

    /// Forgets `address`.
    pub fn remove(&mut self, address: IpAddr) {
        self.young.remove(&address);
        self.old.remove(&address);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    fn put(&mut self, address: IpAddr, remembered: Remembered) {
        if self.young.len() >= self.half && !self.young.contains_key(&address) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(address, remembered);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::record;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<(IpAddr, Remembered)>(), 44);
    }

    #[test]
    fn never_holds_more_than_its_capacity() {
        let mut recent = Recent::new(100);
        for n in 0..10_000 {
            recent.insert(address(n), record::parse("5"), n);
            assert!(recent.len() <= 100);
        }
        assert_eq!(recent.get(address(9_999)).map(|found| found.since), Some(9_999));
        assert!(recent.get(address(9_000)).is_none());
    }

    #[test]
    fn its_tables_do_not_grow_any_more_once_they_were_full() {
        let mut recent = Recent::new(10_000);
        let fill = |recent: &mut Recent, numbers: std::ops::Range<u32>| {
            for n in numbers {
                recent.insert(address(n), record::parse("5"), n);
                // Some are asked for again, and some are removed.
                recent.get(address(n.saturating_sub(6_000)));
                recent.remove(address(n.saturating_sub(n % 977)));
            }
        };
        fill(&mut recent, 0..20_000);
        let grown = recent.young.capacity().max(recent.old.capacity());
        fill(&mut recent, 20_000..200_000);
        let capacities = [recent.young.capacity(), recent.old.capacity()];
        assert!(capacities.iter().all(|capacity| *capacity <= grown), "{capacities:?} {grown}");
        assert!(grown < 20_000, "{grown}");
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut recent = Recent::new(100);
        recent.insert(address(7), record::parse("7"), 0);
        for n in 1_000..10_000 {
            recent.insert(address(n), record::parse("5"), 0);
            let found = recent.get(address(7)).expect("asked for all the time");
            assert_eq!(found.record(), record::parse("7"));
        }
    }

    #[test]
    fn the_newest_verdict_counts() {
        let mut recent = Recent::new(4);
        for (n, text) in [(1, "5"), (2, "5"), (3, "5"), (1, "6")] {
            recent.insert(address(n), record::parse(text), 0);
        }
        assert_eq!(recent.get(address(1)).map(|found| found.record()), Some(record::parse("6")));
        recent.remove(address(1));
        assert_eq!(recent.get(address(1)), None);
        recent.insert(address(1), record::parse("6"), 0);
        recent.clear();
        assert_eq!(recent.len(), 0);
    }
}
