//! Records that are to be sent, in order.

/// Records one behind the other in one buffer, which is used again and again.
#[derive(Debug, Default)]
pub struct Batch {
    /// Each record with a NUL byte behind it.
    bytes: Vec<u8>,
    /// Where each record ends, NUL byte included.
    ends: Vec<usize>,
    /// How many of the records are done with.
    done: usize,
}

/// Records that are done with leave the buffer at the latest when there are so many of them.
const MOST_DONE: usize = 256;

impl Batch {
    /// No records.
    pub const fn new() -> Batch {
        Batch { bytes: Vec::new(), ends: Vec::new(), done: 0 }
    }

    /// Adds the record that `write` puts behind what is there.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.bytes.push(0);
        self.ends.push(self.bytes.len());
    }

    /// The records, each with its NUL byte.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let rest = self.ends.get(self.done..).unwrap_or_default();
        rest.iter().scan(self.start(), |start, end| {
            let record = self.bytes.get(*start..*end);
            *start = *end;
            record
        })
    }

    /// The first `count` records are done with.
    pub fn advance(&mut self, count: usize) {
        self.done = self.ends.len().min(self.done + count);
        if self.done == self.ends.len() {
            self.bytes.clear();
            self.ends.clear();
            self.done = 0;
        } else if self.done >= MOST_DONE {
            let start = self.start();
            self.bytes.drain(..start);
            self.ends.drain(..self.done);
            self.ends.iter_mut().for_each(|end| *end -= start);
            self.done = 0;
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ends.len() - self.done
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn start(&self) -> usize {
        let before = self.done.checked_sub(1).and_then(|last| self.ends.get(last));
        before.copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_in_order() {
        let mut batch = Batch::new();
        let mut expected = std::collections::VecDeque::new();
        let mut number = 0_u32;
        for round in 0..2_000_usize {
            for _ in 0..round % 7 {
                batch.add(|out| out.extend_from_slice(number.to_string().as_bytes()));
                expected.push_back(format!("{number}\0"));
                number += 1;
            }
            assert!(batch.iter().eq(expected.iter().map(String::as_bytes)));
            let count = (round % 5).min(batch.len());
            batch.advance(count);
            expected.drain(..count);
            assert_eq!((batch.len(), batch.is_empty()), (expected.len(), expected.is_empty()));
        }
        assert!(batch.len() > 10);
        batch.advance(usize::MAX / 2);
        assert!(batch.is_empty() && batch.bytes.is_empty());
    }

    #[test]
    fn what_is_done_with_does_not_pile_up() {
        let mut batch = Batch::new();
        batch.add(|out| out.push(b'x'));
        for _ in 0..10_000 {
            batch.add(|out| out.push(b'x'));
            batch.advance(1);
        }
        assert_eq!(batch.len(), 1);
        assert!(batch.ends.len() <= MOST_DONE + 1, "{}", batch.ends.len());
    }
}
