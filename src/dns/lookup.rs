//! One look-up on its way.

use std::net::IpAddr;
use std::time::Instant;

use super::course::Course;
use super::query::{self, NameError, QueryName};
use super::resolv_conf::MOST_SERVERS;
use super::transport::Exchange;
use super::{ChannelId, LookupId};
use crate::screen::dnsbl::answer::{Asker, ListId, Question};

/// How many aliases are asked for one after the other, as in Postfix.
const MOST_ALIASES: u8 = 10;

/// A look-up that is waiting to be sent, or for an answer.
#[derive(Debug)]
pub(super) struct Lookup {
    pub address: IpAddr,
    pub list: ListId,
    /// Until when somebody wants to know: a client, and who tests the list.
    client: Option<Instant>,
    test_point: Option<Instant>,
    pub course: Course,
    pub stage: Stage,
    /// The questions that are out, by server. Their answers are welcome, however late.
    pub exchanges: [Option<Exchange>; MOST_SERVERS],
    /// When the last question went out.
    pub asked: Instant,
    /// When the servers have had all the time that resolv.conf gives them.
    pub gives_up: Option<Instant>,
    /// When the time for this look-up's turn in `timers` is.
    pub wakes: Option<Instant>,
    /// Which datagram counts as under way, if one does; see `resolver`.
    pub under_way: Option<u32>,
    /// What decides about letter case; 0: as it is.
    case: u64,
    alias: Option<Box<Alias>>,
}

/// What a look-up is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It is in the queue.
    Queued,
    /// A question is out; the next one follows then.
    Asking(Instant),
    /// It goes on then.
    Resting(Instant),
    /// It is asking this server over TCP, no longer than that.
    Tcp(ChannelId, usize, Instant),
}

#[derive(Debug)]
struct Alias {
    name: Box<QueryName>,
    number: u8,
}

impl Lookup {
    /// A look-up that nobody waits for yet.
    pub fn new(question: Question, course: Course, case: u64, now: Instant) -> Lookup {
        Lookup {
            address: question.address,
            list: question.list,
            client: None,
            test_point: None,
            course,
            stage: Stage::Queued,
            exchanges: [None; MOST_SERVERS],
            asked: now,
            gives_up: None,
            wakes: None,
            under_way: None,
            case,
            alias: None,
        }
    }

    fn deadline(&mut self, asker: Asker) -> &mut Option<Instant> {
        match asker {
            Asker::Client => &mut self.client,
            Asker::TestPoint => &mut self.test_point,
        }
    }

    /// Somebody waits, at least that long.
    pub fn join(&mut self, asker: Asker, deadline: Instant) {
        let until = self.deadline(asker);
        *until = Some(until.map_or(deadline, |until| until.max(deadline)));
    }

    /// Somebody no longer waits.
    pub fn leave(&mut self, asker: Asker) {
        *self.deadline(asker) = None;
    }

    /// Whether nobody waits.
    pub fn is_forgotten(&self) -> bool {
        self.client.is_none() && self.test_point.is_none()
    }

    /// Who waits.
    pub fn askers(&self) -> impl Iterator<Item = Question> + use<> {
        let (address, list) = (self.address, self.list);
        let client = self.client.map(|_| Asker::Client);
        let test_point = self.test_point.map(|_| Asker::TestPoint);
        let askers = client.into_iter().chain(test_point);
        askers.map(move |asker| Question { asker, address, list })
    }

    /// Takes out one who will not wait any longer.
    pub fn take_overdue(&mut self, now: Instant) -> Option<Question> {
        for asker in [Asker::Client, Asker::TestPoint] {
            if self.deadline(asker).is_some_and(|until| until <= now) {
                self.leave(asker);
                return Some(Question { asker, address: self.address, list: self.list });
            }
        }
        None
    }

    /// When something is due.
    pub fn due(&self) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Queued => None,
            Stage::Asking(at) | Stage::Resting(at) | Stage::Tcp(.., at) => Some(at),
        };
        [self.client, self.test_point, self.gives_up, stage].into_iter().flatten().min()
    }

    /// The name to ask for.
    pub fn name(&self, domain: &str) -> Result<QueryName, NameError> {
        let name = match &self.alias {
            Some(alias) => *alias.name,
            None => query::name(self.address, domain)?,
        };
        Ok(if self.case == 0 { name } else { name.in_mixed_case(self.case) })
    }

    /// Whether answers must repeat the name letter by letter.
    pub fn same_case(&self) -> bool {
        self.case != 0
    }

    /// The name is an alias: ask for another one. `false`: it was one time too many.
    pub fn go_to(&mut self, name: Box<QueryName>) -> bool {
        let number = self.alias.as_ref().map_or(0, |alias| alias.number) + 1;
        self.alias = Some(Box::new(Alias { name, number }));
        number <= MOST_ALIASES
    }

    /// Begins again with the first name.
    pub fn forget_alias(&mut self) {
        self.alias = None;
    }
}

/// What a datagram under way belongs to: the look-up, and the number of the datagram.
pub(super) type UnderWay = (Instant, LookupId, u32);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn lookup(now: Instant) -> Lookup {
        let address = "192.0.2.1".parse().unwrap();
        let question = Question { asker: Asker::Client, address, list: ListId(0) };
        Lookup::new(question, Course::new(0, 1), 0, now)
    }

    #[test]
    fn look_ups_are_small() {
        assert!(size_of::<Lookup>() <= 224, "{}", size_of::<Lookup>());
    }

    #[test]
    fn the_later_deadline_counts_for_each_asker() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut lookup = lookup(start);
        assert!(lookup.is_forgotten());
        assert_eq!(lookup.due(), None);
        lookup.join(Asker::Client, at(5));
        lookup.join(Asker::Client, at(3));
        lookup.join(Asker::TestPoint, at(9));
        lookup.stage = Stage::Resting(at(8));
        assert_eq!(lookup.due(), Some(at(5)));
        assert_eq!(lookup.take_overdue(at(4)), None);
        assert_eq!(lookup.take_overdue(at(9)).map(|q| q.asker), Some(Asker::Client));
        assert_eq!(lookup.due(), Some(at(8)));
        assert_eq!(lookup.askers().map(|q| q.asker).collect::<Vec<_>>(), [Asker::TestPoint]);
        assert_eq!(lookup.take_overdue(at(9)).map(|q| q.asker), Some(Asker::TestPoint));
        assert!(lookup.is_forgotten());
    }

    #[test]
    fn aliases_have_an_end() {
        let mut lookup = lookup(Instant::now());
        let other = query::name("192.0.2.9".parse().unwrap(), "other.test").unwrap();
        for _ in 0..10 {
            assert!(lookup.go_to(Box::new(other)));
            assert_eq!(lookup.name("bl.test"), Ok(other));
        }
        assert!(!lookup.go_to(Box::new(other)));
        lookup.forget_alias();
        assert_eq!(lookup.name("bl.test").unwrap().to_string(), "1.2.0.192.bl.test");
    }
}
