//! How often each kind of thing has happened, to see that a simulation leaves nothing out.

use std::collections::BTreeMap;

/// Inputs that the core was given.
pub const STEPS: &str = "steps";

/// Counts by name.
#[derive(Default, Debug)]
pub struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    /// One more of this kind.
    pub fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Takes over the counts of another simulation.
    pub fn merge(&mut self, other: Tally) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// How many of this kind there were.
    pub fn count(&self, what: &str) -> usize {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Which of these have never happened.
    pub fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted.iter().copied().filter(|what| !self.0.contains_key(what)).collect()
    }
}
