//! Which of many nested address ranges comes first in the file: a sorted list of the
//! places where the answer changes, searched by halving.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// Answers "the lowest rule number among the ranges that contain this address" in
/// logarithmic time. The ranges must be those of networks: any two are either disjoint or
/// one contains the other.
#[derive(Clone, Debug)]
pub(super) struct RangeIndex<A> {
    /// Where stretches with one answer begin, ascending; each reaches to the next one.
    starts: Vec<A>,
    /// The answer of each stretch.
    rules: Vec<Option<usize>>,
}

/// An address with a next one.
pub(super) trait Successor: Copy + Ord {
    /// The next address; `None` after the last one of the family.
    fn successor(self) -> Option<Self>;
}

impl Successor for Ipv4Addr {
    fn successor(self) -> Option<Ipv4Addr> {
        self.to_bits().checked_add(1).map(Ipv4Addr::from_bits)
    }
}

impl Successor for Ipv6Addr {
    fn successor(self) -> Option<Ipv6Addr> {
        self.to_bits().checked_add(1).map(Ipv6Addr::from_bits)
    }
}

impl<A: Successor> RangeIndex<A> {
    /// Builds the index from ranges with their rule numbers, in any order.
    pub(super) fn new(mut ranges: Vec<(RangeInclusive<A>, usize)>) -> RangeIndex<A> {
        // Outer ranges come before inner ones, so that `open` below is a nest.
        ranges.sort_unstable_by(|(a, rule_a), (b, rule_b)| {
            a.start().cmp(b.start()).then(b.end().cmp(a.end())).then(rule_a.cmp(rule_b))
        });
        let mut index = RangeIndex { starts: Vec::new(), rules: Vec::new() };
        // The ranges around the current address with the best rule at that depth.
        let mut open: Vec<(A, usize)> = Vec::new();
        for (range, rule) in ranges {
            index.close_before(&mut open, Some(*range.start()));
            let best = open.last().map_or(rule, |(_, outer)| rule.min(*outer));
            open.push((*range.end(), best));
            index.change(*range.start(), Some(best));
        }
        index.close_before(&mut open, None);
        index.starts.shrink_to_fit();
        index.rules.shrink_to_fit();
        index
    }

    /// The lowest rule number of all ranges that contain the address.
    pub(super) fn first_rule(&self, address: A) -> Option<usize> {
        let after = self.starts.partition_point(|start| *start <= address);
        self.rules.get(after.checked_sub(1)?).copied().flatten()
    }

    /// Ends the open ranges that do not reach `next`; all of them if there is none.
    fn close_before(&mut self, open: &mut Vec<(A, usize)>, next: Option<A>) {
        while let Some((end, _)) = open.pop_if(|(end, _)| next.is_none_or(|next| *end < next)) {
            if let Some(after) = end.successor() {
                self.change(after, open.last().map(|(_, rule)| *rule));
            }
        }
    }

    /// From `start` on the answer is `rule`.
    fn change(&mut self, start: A, rule: Option<usize>) {
        match (self.starts.last(), self.rules.last_mut()) {
            (Some(last), Some(latest)) if *last == start => *latest = rule,
            (Some(_), Some(latest)) if *latest == rule => {}
            _ => {
                self.starts.push(start);
                self.rules.push(rule);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(ranges: &[(u32, u32, usize)]) -> RangeIndex<Ipv4Addr> {
        RangeIndex::new(
            ranges
                .iter()
                .map(|&(first, last, rule)| {
                    (Ipv4Addr::from_bits(first)..=Ipv4Addr::from_bits(last), rule)
                })
                .collect(),
        )
    }

    fn answers<const N: usize>(
        index: &RangeIndex<Ipv4Addr>,
        addresses: [u32; N],
    ) -> [Option<usize>; N] {
        addresses.map(|address| index.first_rule(Ipv4Addr::from_bits(address)))
    }

    #[test]
    fn nothing() {
        assert_eq!(answers(&index(&[]), [0, u32::MAX]), [None, None]);
    }

    #[test]
    fn nested_ranges_give_the_lowest_number() {
        let index = index(&[(0, 15, 2), (4, 7, 1), (8, 15, 3), (4, 4, 0), (16, 19, 4)]);
        assert_eq!(
            answers(&index, [0, 3, 4, 5, 7, 8, 15, 16, 19, 20]),
            [Some(2), Some(2), Some(0), Some(1), Some(1), Some(2), Some(2), Some(4), Some(4), None]
        );
    }

    #[test]
    fn equal_ranges_and_both_ends_of_the_family() {
        let index =
            index(&[(0, u32::MAX, 7), (0, u32::MAX, 5), (u32::MAX, u32::MAX, 1), (0, 0, 9)]);
        assert_eq!(
            answers(&index, [0, 1, u32::MAX - 1, u32::MAX]),
            [Some(5), Some(5), Some(5), Some(1)]
        );
        assert_eq!(index.starts.len(), 2);
    }
}
