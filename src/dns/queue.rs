//! Look-ups that wait to be sent: a line for each client, served in turn.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// A queue that is fair between addresses: nobody waits for all lists of a client that came
/// before.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// Whose turn it is; each address with a line is here once.
    turns: VecDeque<IpAddr>,
    lines: HashMap<IpAddr, VecDeque<T>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        FairQueue { turns: VecDeque::new(), lines: HashMap::new() }
    }
}

impl<T> FairQueue<T> {
    /// To the end of the line of this address.
    pub fn push(&mut self, address: IpAddr, item: T) {
        let line = self.lines.entry(address).or_default();
        if line.is_empty() {
            self.turns.push_back(address);
        }
        line.push_back(item);
    }

    /// What is to be sent next.
    pub fn pop(&mut self) -> Option<T> {
        let address = self.turns.pop_front()?;
        let line = self.lines.get_mut(&address)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&address);
        } else {
            self.turns.push_back(address);
        }
        item
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.turns.clear();
        self.lines.clear();
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
    }
}
