//! Which of many rules apply at the moment, and which of these is the first.

use std::ops::Range;

/// How many items have a place in one word.
const WORD: usize = 64;

/// Rules by number. A rule applies if it is set, and is not blocked by anything.
///
/// The rules are the lowest of a few levels; the items of each other level are the words of the
/// one below. What blocks many rules is noted at few items, so that every change takes next to
/// no time.
#[derive(Debug)]
pub(super) struct Applying {
    set: Vec<bool>,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    /// A bit for each item: whether anything applies in there, as far as the levels above let
    /// it.
    words: Vec<u64>,
    /// How much blocks each item as a whole.
    blocks: Vec<u32>,
}

impl Applying {
    /// No rule is set, and none is blocked.
    pub fn new(rules: usize) -> Applying {
        let mut levels = Vec::new();
        let mut items = rules;
        loop {
            let words = items.div_ceil(WORD);
            levels.push(Level { words: vec![0; words], blocks: vec![0; items] });
            if words <= 1 {
                return Applying { set: vec![false; rules], levels };
            }
            items = words;
        }
    }

    /// Sets a rule, or takes it back.
    pub fn set(&mut self, rule: usize, is_set: bool) {
        if let Some(place) = self.set.get_mut(rule) {
            *place = is_set;
        }
        self.renew(0, rule);
    }

    /// Blocks these rules, once more if they are blocked already.
    pub fn block(&mut self, rules: Range<usize>) {
        self.count(rules, |blocks| blocks.saturating_add(1));
    }

    /// Takes one of the blocks back.
    pub fn unblock(&mut self, rules: Range<usize>) {
        self.count(rules, |blocks| blocks.saturating_sub(1));
    }

    /// The first rule that applies.
    pub fn first(&self) -> Option<usize> {
        let mut item = 0;
        for level in self.levels.iter().rev() {
            let word = level.words.get(item).filter(|word| **word != 0)?;
            item = item * WORD + usize::try_from(word.trailing_zeros()).ok()?;
        }
        Some(item)
    }

    fn count(&mut self, rules: Range<usize>, change: impl Fn(u32) -> u32) {
        let Range { start: mut from, end: mut to } = rules;
        for level in 0..self.levels.len() {
            // What is no whole word, and so no item of the level above.
            let top = level + 1 == self.levels.len();
            while from < to && (top || from % WORD != 0) {
                self.change(level, from, &change);
                from += 1;
            }
            while from < to && to % WORD != 0 {
                to -= 1;
                self.change(level, to, &change);
            }
            from /= WORD;
            to /= WORD;
        }
    }

    fn change(&mut self, level: usize, item: usize, change: impl Fn(u32) -> u32) {
        let blocks = self.levels.get_mut(level).and_then(|level| level.blocks.get_mut(item));
        if let Some(blocks) = blocks {
            *blocks = change(*blocks);
        }
        self.renew(level, item);
    }

    /// Works out again whether anything applies in an item, and in those above it.
    fn renew(&mut self, mut level: usize, mut item: usize) {
        loop {
            let inside = match level.checked_sub(1).and_then(|below| self.levels.get(below)) {
                Some(below) => below.words.get(item).is_some_and(|word| *word != 0),
                None => self.set.get(item).is_some_and(|is_set| *is_set),
            };
            let Some(Level { words, blocks }) = self.levels.get_mut(level) else { return };
            let Some(word) = words.get_mut(item / WORD) else { return };
            let applies = inside && blocks.get(item).is_some_and(|blocks| *blocks == 0);
            let was_empty = *word == 0;
            let bit = 1 << (item % WORD);
            *word = if applies { *word | bit } else { *word & !bit };
            if (*word == 0) == was_empty {
                return;
            }
            level += 1;
            item /= WORD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_set_and_not_blocked() {
        let mut applying = Applying::new(7);
        assert_eq!(applying.first(), None);
        applying.set(5, true);
        applying.set(2, true);
        applying.set(6, true);
        assert_eq!(applying.first(), Some(2));
        applying.block(1..4);
        assert_eq!(applying.first(), Some(5));
        applying.block(2..6);
        assert_eq!(applying.first(), Some(6));
        applying.unblock(1..4);
        assert_eq!(applying.first(), Some(6));
        applying.set(6, false);
        assert_eq!(applying.first(), None);
        applying.unblock(2..6);
        assert_eq!(applying.first(), Some(2));
        applying.block(0..7);
        applying.set(0, true);
        assert_eq!(applying.first(), None);
        applying.unblock(0..7);
        assert_eq!(applying.first(), Some(0));
    }

    #[test]
    fn many_rules() {
        let mut applying = Applying::new(10_000);
        for rule in [20, 4_099, 9_999] {
            applying.set(rule, true);
        }
        for (blocked, first) in [
            (0..20, Some(20)),
            (0..21, Some(4_099)),
            (1..4_099, Some(4_099)),
            (1..4_100, Some(9_999)),
            (64..8_192, Some(20)),
            (20..9_999, Some(9_999)),
            (20..10_000, None),
            (0..10_000, None),
        ] {
            applying.block(blocked.clone());
            assert_eq!(applying.first(), first, "{blocked:?}");
            applying.unblock(blocked);
            assert_eq!(applying.first(), Some(20));
        }
    }

    #[test]
    fn few_rules() {
        assert_eq!(Applying::new(0).first(), None);
        let mut one = Applying::new(1);
        one.block(0..0);
        one.set(0, true);
        assert_eq!(one.first(), Some(0));
        one.block(0..1);
        assert_eq!(one.first(), None);
    }
}
