//! When memory is given back.
//!
//! The C library keeps what is freed between things that stay. After a rush of clients, or of
//! such as do not read what they have asked for, that may be a multiple of what is in use.

/// With fewer clients than that, what they leave behind is not worth a word.
const WORTHWHILE: usize = 500;

/// How many clients there have been at once.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Rush {
    most: usize,
    /// Some of a rush are still here, and may be those who have most.
    ends: bool,
}

impl Rush {
    /// There are so many clients now. Returns whether memory is to be given back: when most of a
    /// rush have gone, then most of those who were left, until there are none.
    pub fn is_over(&mut self, clients: usize) -> bool {
        self.most = self.most.max(clients);
        let worthwhile = self.ends || self.most >= WORTHWHILE;
        let over = worthwhile && (clients < self.most / 4 || clients == 0);
        if over {
            self.most = clients;
            self.ends = clients > 0;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_as_a_rush_ends_and_not_for_less() {
        let mut rush = Rush::default();
        let over: Vec<usize> =
            (0..=2000).chain((0..2000).rev()).filter(|clients| rush.is_over(*clients)).collect();
        assert_eq!(over, [499, 123, 29, 6, 0]);
        for clients in (0..500).chain((0..500).rev()) {
            assert!(!rush.is_over(clients));
        }
        for _ in 0..10 {
            assert!(!rush.is_over(600));
            assert!(rush.is_over(0));
            assert!(!rush.is_over(0));
        }
    }
}
