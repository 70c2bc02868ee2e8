//! The answers about one address as they come in, and the sessions that wait for them.

use std::collections::VecDeque;

use super::answer::{Answer, ListId};
use super::guard::Mode;
use super::lists::Lists;
use super::score::{Bounds, State};
use crate::screen::session::SessionId;

/// One set of look-ups. All sessions of the address that want a score while it is under way
/// share it.
///
/// There is one for each new client, so it is small; and none of what is asked of it for each
/// answer goes through all lists or all sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Board {
    /// One for each list.
    states: Box<[State]>,
    /// How many of these are pending.
    pending: usize,
    bounds: Bounds,
    /// The session that waits longest.
    first: Option<SessionId>,
    /// The others, in the order in which they have come; most addresses have none.
    #[expect(
        clippy::box_collection,
        reason = "there is hardly ever one, and it takes four times the room"
    )]
    more: Option<Box<VecDeque<SessionId>>>,
}

impl Board {
    /// Asks all lists, except those that are put aside.
    pub fn new(lists: &Lists, is_aside: impl Fn(ListId) -> bool) -> Board {
        let mut bounds = Bounds::default();
        let mut pending = 0;
        let states = lists.iter().map(|(id, list)| {
            if is_aside(id) {
                return State::Aside;
            }
            pending += 1;
            bounds.expect(list);
            State::Pending
        });
        let states = states.collect();
        Board { states, pending, bounds, first: None, more: None }
    }

    /// One more session waits.
    pub fn join(&mut self, id: SessionId) {
        if self.first.is_none() {
            self.first = Some(id);
        } else {
            self.more.get_or_insert_default().push_back(id);
        }
    }

    /// A session does not wait any more. Returns whether it did.
    pub fn leave(&mut self, id: SessionId) -> bool {
        let more = self.more.as_deref_mut();
        if self.first == Some(id) {
            // Those who wait longest mostly leave first.
            self.first = more.and_then(VecDeque::pop_front);
            return true;
        }
        let Some(more) = more else { return false };
        let place = more.iter().position(|other| *other == id);
        place.and_then(|place| more.remove(place)).is_some()
    }

    /// The sessions that wait, in the order in which they have come.
    pub fn waiting(&self) -> impl Iterator<Item = SessionId> {
        self.first.into_iter().chain(self.more.iter().flat_map(|more| more.iter().copied()))
    }

    /// Whether no session waits.
    pub fn is_forgotten(&self) -> bool {
        self.first.is_none()
    }

    /// Takes an answer in. Returns whether it was wanted.
    pub fn take_in(&mut self, lists: &Lists, id: ListId, answer: &Answer, mode: Mode) -> bool {
        let (state, list) = (self.states.get_mut(usize::from(id.0)), lists.get(id));
        let (Some(state @ State::Pending), Some(list)) = (state, list) else { return false };
        *state = State::Answered(answer.clone());
        self.pending -= 1;
        self.bounds.settle(list, state, mode);
        true
    }

    /// What is known of each list's opinion.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The lowest and the highest score that the answers still to come can lead to.
    pub fn bounds(&self) -> (i32, i32) {
        self.bounds.get()
    }

    /// The lists that have not answered.
    pub fn pending(&self) -> impl Iterator<Item = ListId> {
        let states = (0..).map(ListId).zip(&self.states);
        states.filter(|(_, state)| **state == State::Pending).map(|(id, _)| id)
    }

    /// Whether no answer is to come.
    pub fn is_complete(&self) -> bool {
        self.pending == 0
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
        let failed = Answer::Failed(Failure::NoReply);
        let mut take_in = |id, answer| board.take_in(&lists, ListId(id), answer, Mode::Enforce);
        assert!(take_in(2, &clean));
        assert!(!take_in(2, &failed), "again");
        assert!(!take_in(1, &clean), "not asked");
        assert!(!take_in(7, &clean), "no such list");
        assert!(!board.is_complete());
        assert!(board.take_in(&lists, ListId(0), &failed, Mode::Enforce));
        assert!(board.is_complete());
        assert_eq!(board.states()[1], State::Aside);
    }

    #[test]
    fn sessions_come_and_go() {
        let mut board = Board::new(&Lists::default(), |_| false);
        let [a, b, c, d] = [1, 2, 3, 4].map(|slot| SessionId { slot, generation: 1 });
        assert!(board.is_forgotten() && !board.leave(a));
        for id in [a, b, c, d] {
            board.join(id);
        }
        assert!(board.leave(c));
        assert!(!board.leave(c));
        assert!(board.waiting().eq([a, b, d]));
        assert!(board.leave(a));
        board.join(a);
        assert!(board.waiting().eq([b, d, a]));
        assert!([b, d, a].into_iter().all(|id| !board.is_forgotten() && board.leave(id)));
        assert!(board.is_forgotten());
    }

    #[test]
    fn a_board_is_small() {
        // There is one for each client that waits for answers.
        assert!(size_of::<Board>() <= 64, "{}", size_of::<Board>());
        assert!(size_of::<State>() <= 24, "{}", size_of::<State>());
    }
}
