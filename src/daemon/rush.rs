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
}

impl Rush {
    /// There are so many clients now. Returns whether a rush is over, once for each.
    pub fn is_over(&mut self, clients: usize) -> bool {
        self.most = self.most.max(clients);
        let over = self.most >= WORTHWHILE && clients < self.most / 4;
        if over {
            self.most = clients;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_is_over_when_most_have_gone_and_only_once() {
        let mut rush = Rush::default();
        let over: Vec<usize> =
            (0..=2000).chain((0..2000).rev()).filter(|clients| rush.is_over(*clients)).collect();
        // What is left of it is a smaller one.
        assert_eq!(over, [499]);
        for clients in (0..500).chain((0..500).rev()) {
            assert!(!rush.is_over(clients));
        }
        for _ in 0..10 {
            assert!(!rush.is_over(600));
            assert!(rush.is_over(0));
        }
    }
}
