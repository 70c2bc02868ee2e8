//! The loop's table of verdicts that the storage thread has not committed yet.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::screen::test_set::CacheRecord;

/// Verdicts by address, and in the order of their sequence numbers.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    newest: HashMap<IpAddr, (u64, CacheRecord)>,
    order: VecDeque<(u64, IpAddr)>,
}

impl Unwritten {
    /// Adds a verdict; `seq` is above all earlier ones.
    pub fn insert(&mut self, seq: u64, address: IpAddr, record: CacheRecord) {
        self.newest.insert(address, (seq, record));
        self.order.push_back((seq, address));
    }

    /// The newest verdict about `address` that is not written yet.
    pub fn get(&self, address: IpAddr) -> Option<CacheRecord> {
        self.newest.get(&address).map(|(_, record)| *record)
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
}
