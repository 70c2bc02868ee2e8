//! The loop's table of verdicts that the storage thread has not committed yet.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::record::Packed;
use crate::screen::test_set::CacheRecord;

/// Room that is kept for good; what a rush needs beyond that is given back.
const KEPT: usize = 4_096;

/// Verdicts by address, and in the order of their sequence numbers.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    newest: HashMap<IpAddr, (u64, Packed)>,
    order: VecDeque<(u64, IpAddr)>,
}

impl Unwritten {
    /// Adds a verdict; `seq` is above all earlier ones.
    pub fn insert(&mut self, seq: u64, address: IpAddr, record: CacheRecord) {
        self.newest.insert(address, (seq, Packed::from(record)));
        self.order.push_back((seq, address));
    }

    /// The newest verdict about `address` that is not written yet.
    pub fn get(&self, address: IpAddr) -> Option<CacheRecord> {
        self.newest.get(&address).map(|(_, record)| CacheRecord::from(*record))
    }

    /// Forgets everything up to and including `written`: it can be read from the file now.
    pub fn settle(&mut self, written: u64) {
        while let Some(&(seq, address)) = self.order.front()
            && seq <= written
        {
            self.order.pop_front();
            if self.newest.get(&address).is_some_and(|(newest, _)| *newest == seq) {
                self.newest.remove(&address);
            }
        }
        if self.order.is_empty() && self.order.capacity() > 2 * KEPT {
            self.order.shrink_to(KEPT);
            self.newest.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::record;

    #[test]
    fn a_newer_verdict_survives_the_commit_of_an_older_one() {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let mut unwritten = Unwritten::default();
        unwritten.insert(1, address, record::parse("5"));
        unwritten.insert(2, address, record::parse("6"));
        unwritten.settle(1);
        assert_eq!(unwritten.get(address), Some(record::parse("6")));
        unwritten.settle(2);
        assert_eq!(unwritten.get(address), None);
        assert!(unwritten.order.is_empty() && unwritten.newest.is_empty());
    }

    #[test]
    fn what_a_rush_needs_is_given_back_and_what_is_usual_is_kept() {
        let mut unwritten = Unwritten::default();
        let mut seq = 0;
        let mut rush = |unwritten: &mut Unwritten, count: u32| {
            for n in 0..count {
                seq += 1;
                unwritten.insert(seq, IpAddr::V4(n.into()), record::parse("5"));
            }
            unwritten.settle(seq);
            (unwritten.newest.capacity(), unwritten.order.capacity())
        };
        let usual = rush(&mut unwritten, 1_000);
        for _ in 0..10 {
            assert_eq!(rush(&mut unwritten, 1_000), usual);
        }
        let (newest, order) = rush(&mut unwritten, 50_000);
        assert!(newest <= 2 * KEPT && order <= 2 * KEPT, "{newest} {order}");
    }
}
