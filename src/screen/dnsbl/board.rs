//! The answers about one address as they come in, and the sessions that wait for them.

use super::answer::{Answer, ListId};
use super::lists::Lists;
use super::score::State;
use crate::screen::session::SessionId;

/// One set of look-ups. All sessions of the address that want a score while it is under way
/// share it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Board {
    /// One for each list.
    states: Box<[State]>,
    waiting: Vec<SessionId>,
}

impl Board {
    /// Asks all lists, except those that are put aside.
    pub fn new(lists: &Lists, is_aside: impl Fn(ListId) -> bool) -> Board {
        let state = |id| if is_aside(id) { State::Aside } else { State::Pending };
        Board { states: lists.iter().map(|(id, _)| state(id)).collect(), waiting: Vec::new() }
    }

    /// One more session waits.
    pub fn join(&mut self, id: SessionId) {
        self.waiting.push(id);
    }

    /// A session does not wait any more. Returns whether it did.
    pub fn leave(&mut self, id: SessionId) -> bool {
        let place = self.waiting.iter().position(|other| *other == id);
        place.map(|place| self.waiting.remove(place)).is_some()
    }

    /// The sessions that wait.
    pub fn waiting(&self) -> &[SessionId] {
        &self.waiting
    }

    /// Takes an answer in. Returns whether it was wanted.
    pub fn take_in(&mut self, list: ListId, answer: &Answer) -> bool {
        match self.states.get_mut(usize::from(list.0)) {
            Some(state @ State::Pending) => {
                *state = State::Answered(answer.clone());
                true
            }
            Some(State::Answered(_) | State::Aside) | None => false,
        }
    }

    /// What is known of each list's opinion.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The lists that have not answered.
    pub fn pending(&self) -> impl Iterator<Item = ListId> {
        let states = (0..).map(ListId).zip(&self.states);
        states.filter(|(_, state)| **state == State::Pending).map(|(id, _)| id)
    }

    /// Whether no answer is to come.
    pub fn is_complete(&self) -> bool {
        self.pending().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::dnsbl::answer::Failure;
    use crate::screen::dnsbl::site::parse_sites;

    #[test]
    fn every_answer_is_taken_in_once() {
        let lists = Lists::new(&parse_sites("a.test b.test c.test").unwrap());
        let mut board = Board::new(&lists, |id| id == ListId(1));
        assert!(board.pending().eq([ListId(0), ListId(2)]));
        let clean = Answer::NotListed { ttl: None };
        assert!(board.take_in(ListId(2), &clean));
        assert!(!board.take_in(ListId(2), &Answer::Failed(Failure::NoReply)), "again");
        assert!(!board.take_in(ListId(1), &clean), "not asked");
        assert!(!board.take_in(ListId(7), &clean), "no such list");
        assert!(!board.is_complete());
        assert!(board.take_in(ListId(0), &Answer::Failed(Failure::NoReply)));
        assert!(board.is_complete());
        assert_eq!(board.states()[1], State::Aside);
    }

    #[test]
    fn sessions_come_and_go() {
        let mut board = Board::new(&Lists::default(), |_| false);
        let [a, b] = [1, 2].map(|slot| SessionId { slot, generation: 1 });
        board.join(a);
        board.join(b);
        assert!(board.leave(a));
        assert!(!board.leave(a));
        assert_eq!(board.waiting(), [b]);
    }
}
