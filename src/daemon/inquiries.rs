//! Who has asked tables elsewhere what, and what was answered.

use std::collections::{HashMap, VecDeque};

use crate::postfix::table::{Known, RemoteAnswer, RemoteQuestion};
use crate::screen::session::SessionId;

/// Whoever asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Asker {
    /// A session.
    Session(SessionId),
    /// We ourselves, what DNS blocklists are called.
    ListNames,
}

/// All askers, and the questions that are under way.
#[derive(Debug, Default)]
pub struct Inquiries {
    askers: HashMap<Asker, Inquiry>,
    /// Who waits for which answer. The same question is asked once.
    waiting: HashMap<RemoteQuestion, Vec<Asker>>,
    /// Questions that were not sent yet.
    fresh: VecDeque<RemoteQuestion>,
}

#[derive(Debug, Default)]
struct Inquiry {
    known: Vec<(RemoteQuestion, RemoteAnswer)>,
    /// How many answers are to come.
    open: usize,
    /// Nothing more is to be asked.
    hurried: bool,
}

/// What comes of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inquired {
    /// The answer will come.
    Later,
    /// The asker does not wait for it: it is known to be none.
    AtOnce,
}

impl Inquiries {
    /// What was answered to somebody.
    pub fn known(&self, asker: Asker) -> &Known {
        // Most sites ask nobody.
        if self.askers.is_empty() {
            return &[];
        }
        self.askers.get(&asker).map_or(&[], |inquiry| &inquiry.known)
    }

    /// Somebody needs an answer.
    pub fn ask(&mut self, asker: Asker, question: RemoteQuestion) -> Inquired {
        let inquiry = self.askers.entry(asker).or_default();
        if inquiry.hurried {
            inquiry.known.push((question, RemoteAnswer::Failed));
            return Inquired::AtOnce;
        }
        match self.waiting.get_mut(&question) {
            Some(waiting) if waiting.contains(&asker) => {}
            Some(waiting) => {
                waiting.push(asker);
                inquiry.open += 1;
            }
            None => {
                self.waiting.insert(question.clone(), vec![asker]);
                self.fresh.push_back(question);
                inquiry.open += 1;
            }
        }
        Inquired::Later
    }

    /// Somebody knows enough. What it was told is forgotten, unless it waits for something else
    /// and will need that again.
    pub fn settled(&mut self, asker: Asker) {
        if let Some(inquiry) = self.askers.get_mut(&asker) {
            inquiry.hurried = false;
            if inquiry.open == 0 {
                self.askers.remove(&asker);
            }
        }
    }

    /// Nobody is to be asked for the next look-up of this asker.
    pub fn hurry(&mut self, asker: Asker) {
        self.askers.entry(asker).or_default().hurried = true;
    }

    /// The next question to be sent.
    pub fn next_question(&mut self) -> Option<RemoteQuestion> {
        self.fresh.pop_front()
    }

    /// An answer has come. Returns who waited for it.
    pub fn answered(&mut self, question: &RemoteQuestion, answer: &RemoteAnswer) -> Vec<Asker> {
        let mut askers = self.waiting.remove(question).unwrap_or_default();
        askers.retain(|asker| {
            let Some(inquiry) = self.askers.get_mut(asker) else { return false };
            inquiry.known.push((question.clone(), answer.clone()));
            inquiry.open = inquiry.open.saturating_sub(1);
            true
        });
        askers
    }

    /// An asker has gone.
    pub fn forget(&mut self, asker: Asker) {
        if self.askers.remove(&asker).is_some_and(|inquiry| inquiry.open > 0) {
            for waiting in self.waiting.values_mut() {
                waiting.retain(|other| *other != asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postfix::table::test_files::Files;
    use crate::postfix::table::{OpenOptions, Tables};

    fn question(key: &str) -> RemoteQuestion {
        let mut tables = Tables::new(false);
        let files = Files::new([]);
        let table = tables.open("proxy:hash:/x", OpenOptions::EXACT, &files, &mut Vec::new());
        RemoteQuestion { table: table.unwrap(), key: key.as_bytes().into() }
    }

    fn asker(slot: u32) -> Asker {
        Asker::Session(SessionId { slot, generation: 1 })
    }

    #[test]
    fn a_question_is_sent_once_and_answered_to_all() {
        let mut inquiries = Inquiries::default();
        let (a, b) = (question("a"), question("b"));
        assert_eq!(inquiries.ask(asker(1), a.clone()), Inquired::Later);
        assert_eq!(inquiries.ask(asker(1), a.clone()), Inquired::Later);
        inquiries.ask(asker(2), a.clone());
        inquiries.ask(asker(2), b.clone());
        assert_eq!(inquiries.next_question(), Some(a.clone()));
        assert_eq!(inquiries.next_question(), Some(b.clone()));
        assert_eq!(inquiries.next_question(), None);
        assert_eq!(inquiries.answered(&a, &RemoteAnswer::NotFound), [asker(1), asker(2)]);
        assert_eq!(inquiries.known(asker(1)), [(a.clone(), RemoteAnswer::NotFound)]);
        inquiries.settled(asker(1));
        assert_eq!(inquiries.known(asker(1)), []);
        inquiries.settled(asker(2));
        assert_eq!(inquiries.known(asker(2)).len(), 1, "still waits for the other answer");
        assert_eq!(inquiries.answered(&a, &RemoteAnswer::NotFound), [], "once");
    }

    #[test]
    fn who_has_gone_hears_nothing() {
        let mut inquiries = Inquiries::default();
        let a = question("a");
        inquiries.ask(asker(1), a.clone());
        inquiries.ask(asker(2), a.clone());
        inquiries.forget(asker(1));
        assert_eq!(inquiries.answered(&a, &RemoteAnswer::NotFound), [asker(2)]);
        inquiries.forget(asker(2));
        assert_eq!(inquiries.known(asker(2)), []);
        assert!(inquiries.askers.is_empty() && inquiries.waiting.is_empty());
    }

    #[test]
    fn in_a_hurry_nobody_is_asked() {
        let mut inquiries = Inquiries::default();
        inquiries.hurry(asker(1));
        assert_eq!(inquiries.ask(asker(1), question("a")), Inquired::AtOnce);
        assert_eq!(inquiries.known(asker(1)), [(question("a"), RemoteAnswer::Failed)]);
        assert_eq!(inquiries.next_question(), None);
        inquiries.settled(asker(1));
        assert_eq!(inquiries.ask(asker(1), question("a")), Inquired::Later);
    }
}
