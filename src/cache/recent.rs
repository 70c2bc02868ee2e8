//! A bounded memory of recent verdicts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::screen::test_set::CacheRecord;

/// A remembered verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Remembered {
    /// The verdict.
    pub record: CacheRecord,
    /// When it was stored here or read from the file.
    pub since: Instant,
}

/// Verdicts by address; when there are too many, those not asked for lately are forgotten.
///
/// Two generations: new and asked-for entries live in the young one; when that holds half
/// of the capacity it becomes the old one, and the old one is forgotten as a whole.
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

    /// Remembers `record`.
    pub fn insert(&mut self, address: IpAddr, record: CacheRecord, now: Instant) {
        self.put(address, Remembered { record, since: now });
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

    fn put(&mut self, address: IpAddr, remembered: Remembered) {
        if self.young.len() >= self.half && !self.young.contains_key(&address) {
            self.old = std::mem::take(&mut self.young);
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
    fn never_holds_more_than_its_capacity() {
        let mut recent = Recent::new(100);
        let now = Instant::now();
        for n in 0..10_000 {
            recent.insert(address(n), record::parse("5"), now);
            assert!(recent.len() <= 100);
        }
        assert!(recent.get(address(9_999)).is_some());
        assert!(recent.get(address(9_000)).is_none());
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut recent = Recent::new(100);
        let now = Instant::now();
        recent.insert(address(7), record::parse("7"), now);
        for n in 1_000..10_000 {
            recent.insert(address(n), record::parse("5"), now);
            let found = recent.get(address(7)).expect("asked for all the time");
            assert_eq!(found.record, record::parse("7"));
        }
    }

    #[test]
    fn the_newest_verdict_counts() {
        let mut recent = Recent::new(4);
        let now = Instant::now();
        recent.insert(address(1), record::parse("5"), now);
        recent.insert(address(2), record::parse("5"), now);
        recent.insert(address(3), record::parse("5"), now);
        recent.insert(address(1), record::parse("6"), now);
        assert_eq!(recent.get(address(1)).map(|found| found.record), Some(record::parse("6")));
        recent.remove(address(1));
        assert_eq!(recent.get(address(1)), None);
    }
}
