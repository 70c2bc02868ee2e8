//! Tables of what belongs to a session, found by its id.
//!
//! The values of a table lie side by side, however high their slots are: a table of the few
//! sessions that are being handed off is small even when thousands wait. A slot costs four
//! bytes in every table.

use super::session::SessionId;

/// A table that gives out the ids of what it holds.
#[derive(Debug)]
pub struct Slots<T> {
    table: ById<T>,
    /// How often each slot was given out; wraps.
    generations: Vec<u32>,
    free: Vec<u32>,
}

/// A table of what somebody else knows about the same ids.
#[derive(Debug)]
pub struct ById<T> {
    /// Where in `values` the value of a slot is.
    places: Vec<Place>,
    values: Vec<(SessionId, T)>,
}

/// An index into `values`, or [`NOWHERE`].
type Place = u32;

const NOWHERE: Place = Place::MAX;

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { table: ById::default(), generations: Vec::new(), free: Vec::new() }
    }
}

impl<T> Default for ById<T> {
    fn default() -> Self {
        ById { places: Vec::new(), values: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Adds a value under a fresh id. `None` when there is no id left.
    pub fn insert(&mut self, value: T) -> Option<SessionId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.generations.len()).ok()?;
                self.generations.push(0);
                slot
            }
        };
        let generation = self.generations.get_mut(slot as usize)?;
        *generation = generation.wrapping_add(1);
        let id = SessionId { slot, generation: *generation };
        self.table.insert(id, value);
        Some(id)
    }

    /// Takes the value under an id out. The slot can be given out again, with another
    /// generation.
    pub fn remove(&mut self, id: SessionId) -> Option<T> {
        let value = self.table.remove(id)?;
        self.free.push(id.slot);
        Some(value)
    }

    /// How many values there is room for.
    pub fn room(&self) -> usize {
        self.table.values.capacity()
    }

    /// Gives back the room of values that are gone.
    pub fn shrink(&mut self) {
        self.table.shrink();
    }

    /// How many values the table holds.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the table holds nothing.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The value under an id, unless it has gone.
    pub fn get(&self, id: SessionId) -> Option<&T> {
        self.table.get(id)
    }

    /// The value under an id, unless it has gone.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut T> {
        self.table.get_mut(id)
    }

    /// All values with their ids, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &T)> {
        self.table.iter()
    }
}

impl<T> ById<T> {
    /// How many values the table holds.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the table holds nothing.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Gives back the room of values that are gone.
    pub fn shrink(&mut self) {
        self.values.shrink_to(2 * self.values.len());
    }

    /// Adds a value. An older value in the same slot is replaced and returned.
    pub fn insert(&mut self, id: SessionId, value: T) -> Option<T> {
        let slot = id.slot as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NOWHERE);
        }
        let place = self.places.get_mut(slot)?;
        if let Some(entry) = self.values.get_mut(*place as usize) {
            return Some(std::mem::replace(entry, (id, value)).1);
        }
        // There are no more values than slots, and a slot is a u32.
        *place = u32::try_from(self.values.len()).unwrap_or(NOWHERE);
        self.values.push((id, value));
        None
    }

    /// The value under an id, unless it has gone.
    pub fn get(&self, id: SessionId) -> Option<&T> {
        let (owner, value) = self.values.get(self.place(id))?;
        (*owner == id).then_some(value)
    }

    /// The value under an id, unless it has gone.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut T> {
        let place = self.place(id);
        let (owner, value) = self.values.get_mut(place)?;
        (*owner == id).then_some(value)
    }

    /// Takes the value under an id out.
    pub fn remove(&mut self, id: SessionId) -> Option<T> {
        let place = self.place(id);
        if self.values.get(place)?.0 != id {
            return None;
        }
        // The last value fills the gap.
        let (_, value) = self.values.swap_remove(place);
        let moved = self.values.get(place).map(|(id, _)| id.slot);
        if let Some(entry) = moved.and_then(|slot| self.places.get_mut(slot as usize)) {
            *entry = u32::try_from(place).unwrap_or(NOWHERE);
        }
        if let Some(entry) = self.places.get_mut(id.slot as usize) {
            *entry = NOWHERE;
        }
        Some(value)
    }

    /// All values with their ids, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &T)> {
        self.values.iter().map(|(id, value)| (*id, value))
    }

    fn place(&self, id: SessionId) -> usize {
        self.places.get(id.slot as usize).copied().unwrap_or(NOWHERE) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_matches_nothing() {
        let mut table = Slots::default();
        let first = table.insert("first").unwrap();
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second").unwrap();
        assert_eq!(second.slot, first.slot);
        assert_ne!(second, first);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_second_table_follows_the_ids_of_the_first() {
        let (mut owner, mut follower) = (Slots::default(), ById::default());
        let a = owner.insert(()).unwrap();
        let b = owner.insert(()).unwrap();
        assert_eq!(follower.insert(b, 'b'), None);
        assert_eq!(follower.insert(a, 'a'), None);
        assert_eq!(follower.iter().collect::<Vec<_>>(), [(b, &'b'), (a, &'a')]);
        owner.remove(a);
        follower.remove(a);
        let again = owner.insert(()).unwrap();
        assert_eq!(follower.insert(again, 'c'), None);
        assert_eq!(follower.get(a), None);
        assert_eq!(follower.get(b), Some(&'b'));
        assert_eq!(follower.len(), 2);
    }

    #[test]
    fn a_newer_session_in_the_same_slot_takes_the_place_of_an_older_one() {
        let mut table = ById::default();
        let [old, new] = [1, 2].map(|generation| SessionId { slot: 0, generation });
        assert_eq!(table.insert(old, 'o'), None);
        assert_eq!(table.insert(new, 'n'), Some('o'));
        assert_eq!((table.get(old), table.get(new), table.len()), (None, Some(&'n'), 1));
    }

    /// Against a plain list, with values removed from everywhere.
    #[test]
    fn values_are_found_wherever_they_were_moved() {
        let (mut table, mut list) = (Slots::default(), Vec::new());
        let mut state = 1_u32;
        for number in 0..10_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 31 == 0 || list.is_empty() {
                list.push((table.insert(number).unwrap(), number));
            } else {
                let (id, value) = list.swap_remove((state >> 8) as usize % list.len());
                assert_eq!(table.remove(id), Some(value));
                assert_eq!(table.remove(id), None);
            }
            assert_eq!(table.len(), list.len());
            if number % 64 == 0 {
                assert!(list.iter().all(|(id, value)| table.get(*id) == Some(value)));
                assert!(table.iter().all(|(id, value)| list.contains(&(id, *value))));
            }
        }
    }
}
