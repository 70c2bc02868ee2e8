//! Look-ups by what they are about.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use hashbrown::HashTable;

use super::lookup::Lookup;
use super::{LookupId, Slots};
use crate::screen::dnsbl::answer::ListId;

/// A hash table that leaves its keys where they are, in the look-ups: that makes a third of
/// the size of one that has them.
#[derive(Default, Debug)]
pub(super) struct Index {
    table: HashTable<LookupId>,
    hasher: RandomState,
}

impl Index {
    /// The look-up of this address in this list.
    pub fn get(&self, lookups: &Slots<Lookup>, address: IpAddr, list: ListId) -> Option<LookupId> {
        let is_it = |id: &LookupId| {
            lookups.get(*id).is_some_and(|other| (other.address, other.list) == (address, list))
        };
        self.table.find(self.hasher.hash_one(Some((address, list))), is_it).copied()
    }

    /// Takes in one more, which is among the look-ups already.
    pub fn insert(&mut self, lookups: &Slots<Lookup>, id: LookupId) {
        let hasher = &self.hasher;
        let hash = |id: &LookupId| hash(hasher, lookups, *id);
        self.table.insert_unique(hash(&id), id, hash);
    }

    /// Forgets one, which is still among the look-ups.
    pub fn remove(&mut self, lookups: &Slots<Lookup>, id: LookupId) {
        let hash = hash(&self.hasher, lookups, id);
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
    }

    /// Gives back the room for what is gone.
    pub fn shrink(&mut self, lookups: &Slots<Lookup>) {
        let hasher = &self.hasher;
        self.table.shrink_to(2 * self.table.len(), |id| hash(hasher, lookups, *id));
    }
}

fn hash(hasher: &RandomState, lookups: &Slots<Lookup>, id: LookupId) -> u64 {
    hasher.hash_one(lookups.get(id).map(|lookup| (lookup.address, lookup.list)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::course::Course;
    use crate::screen::dnsbl::answer::{Asker, Question};

    #[test]
    fn look_ups_are_found_while_they_are_there() {
        let (mut lookups, mut index) = (Slots::default(), Index::default());
        let key = |number: u32| (IpAddr::from(number.to_be_bytes()), ListId(7));
        let mut ids = Vec::new();
        for number in 0..1000 {
            let (address, list) = key(number);
            assert_eq!(index.get(&lookups, address, list), None);
            let question = Question { asker: Asker::Client, address, list };
            let id = lookups.insert(Lookup::new(question, Course::new(0, 1), 0)).unwrap();
            index.insert(&lookups, id);
            ids.push(id);
        }
        for (number, id) in (0..).zip(&ids) {
            let (address, list) = key(number);
            assert_eq!(index.get(&lookups, address, list), Some(*id));
            assert_eq!(index.get(&lookups, address, ListId(8)), None);
            if number % 3 != 0 {
                index.remove(&lookups, *id);
                lookups.remove(*id);
            }
        }
        index.shrink(&lookups);
        for (number, id) in (0..).zip(&ids) {
            let (address, list) = key(number);
            let expected = (number % 3 == 0).then_some(*id);
            assert_eq!(index.get(&lookups, address, list), expected);
        }
        assert_eq!(index.table.len(), 334);
    }
}
