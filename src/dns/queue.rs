//! Look-ups that wait to be sent: a line for each client, served in turn.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// A queue that is fair between addresses: nobody waits for all lists of a client that came
/// before.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// Whose turn it is; each address with a line is here once.
    turns: VecDeque<IpAddr>,
    lines: HashMap<IpAddr, Line>,
    /// What stands in the lines, and who is next in the same line.
    places: Vec<(T, Option<Place>)>,
    /// Places that are free.
    free: Vec<Place>,
}

/// An index into `places`.
type Place = u32;

/// A line that is not empty.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: Place,
    last: Place,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        FairQueue {
            turns: VecDeque::new(),
            lines: HashMap::new(),
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T: Copy> FairQueue<T> {
    /// To the end of the line of this address.
    pub fn push(&mut self, address: IpAddr, item: T) {
        let place = self.place(item);
        match self.lines.get_mut(&address) {
            Some(line) => {
                if let Some((_, next)) = self.places.get_mut(line.last as usize) {
                    *next = Some(place);
                }
                line.last = place;
            }
            None => {
                self.lines.insert(address, Line { first: place, last: place });
                self.turns.push_back(address);
            }
        }
    }

    fn place(&mut self, item: T) -> Place {
        if let Some(place) = self.free.pop()
            && let Some(entry) = self.places.get_mut(place as usize)
        {
            *entry = (item, None);
            return place;
        }
        self.places.push((item, None));
        // There are fewer look-ups than numbers for them.
        Place::try_from(self.places.len() - 1).unwrap_or(Place::MAX)
    }

    /// What is to be sent next.
    pub fn pop(&mut self) -> Option<T> {
        let address = self.turns.pop_front()?;
        let line = self.lines.get_mut(&address)?;
        let (item, next) = *self.places.get(line.first as usize)?;
        self.free.push(line.first);
        match next {
            Some(next) => {
                line.first = next;
                self.turns.push_back(address);
            }
            None => {
                self.lines.remove(&address);
            }
        }
        Some(item)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Gives back the room for what is gone.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.clear();
        }
        self.turns.shrink_to(2 * self.turns.len());
        self.lines.shrink_to(2 * self.lines.len());
        self.places.shrink_to(2 * self.places.len());
        self.free.shrink_to(2 * self.free.len());
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.turns.clear();
        self.lines.clear();
        self.places.clear();
        self.free.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_turns() {
        let address = |n: u32| IpAddr::V4(n.into());
        let mut queue = FairQueue::default();
        for item in ["1a", "1b", "1c", "1d"] {
            queue.push(address(1), item);
        }
        queue.push(address(2), "2a");
        queue.push(address(3), "3a");
        queue.push(address(2), "2b");
        let mut order = Vec::new();
        for _ in 0..5 {
            order.extend(queue.pop());
        }
        queue.push(address(3), "3b");
        queue.push(address(1), "1e");
        while let Some(item) = queue.pop() {
            order.push(item);
        }
        assert_eq!(order, ["1a", "2a", "3a", "1b", "2b", "1c", "3b", "1d", "1e"]);
        assert!(queue.is_empty());
        assert!(queue.lines.is_empty());
        assert_eq!(queue.places.len(), queue.free.len());
        assert_eq!(queue.places.len(), 7, "places are used again");
        queue.shrink();
        assert_eq!(queue.places.capacity() + queue.turns.capacity(), 0);
    }
}
