//! How the zones are, for the operator.

use super::Guard;
use super::notice::{Effect, Why};
use crate::screen::test_set::UnixTime;

/// How a zone is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health<'g> {
    /// Its public name.
    pub zone: &'g str,
    /// How it is.
    pub state: State,
    /// Since when.
    pub since: UnixTime,
    /// How many questions were answered in the life of this process.
    pub answered: u64,
    /// How many were not.
    pub failed: u64,
}

/// How a zone is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It has not been heard of yet.
    Unknown,
    /// It answers.
    Answering,
    /// What it was asked last was not answered.
    Failing,
    /// It is broken.
    Broken(Why, Effect),
}

impl Guard {
    /// How the zones are, in the order of the lists.
    pub fn health(&self) -> impl Iterator<Item = Health<'_>> {
        self.zones.iter().zip(self.lists.iter()).map(|(zone, (_, list))| {
            let (state, since) = match (&zone.trouble, &zone.silence) {
                (Some(trouble), _) => (State::Broken(trouble.why, trouble.effect), trouble.since),
                (None, Some(silence)) => (State::Failing, silence.since.wall),
                (None, None) if zone.answered == 0 => (State::Unknown, zone.good_since),
                (None, None) => (State::Answering, zone.good_since),
            };
            let (answered, failed) = (zone.answered, zone.failed);
            Health { zone: &list.public_name, state, since, answered, failed }
        })
    }
}
