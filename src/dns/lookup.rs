//! One look-up on its way.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use super::course::Course;
use super::query::{self, NameError, QueryName};
use super::resolv_conf::MOST_SERVERS;
use super::tick::Tick;
use super::transport::Exchange;
use super::{ChannelId, LookupId};
use crate::screen::dnsbl::answer::{Asker, ListId, Question};

/// How many aliases are asked for one after the other, as in Postfix.
const MOST_ALIASES: u8 = 10;

/// A look-up that is waiting to be sent, or for an answer.
///
/// While no server answers there are three for each client that waits, so it is small: what
/// few look-ups have is elsewhere.
#[derive(Debug)]
pub(super) struct Lookup {
    pub address: IpAddr,
    pub list: ListId,
    pub course: Course,
    doing: Doing,
    /// Which datagram counts as under way, if one does; see `resolver`.
    pub under_way: Option<NonZeroU32>,
    /// A question that is out. Its answer is welcome, however late.
    exchange: Option<Exchange>,
    /// Until when what it is doing lasts.
    until: Option<Tick>,
    /// Until when the client wants to know.
    client: Option<Tick>,
    /// When the servers have had all the time that resolv.conf gives them.
    pub gives_up: Option<Tick>,
    /// When the time for this look-up's turn in `timers` is.
    pub wakes: Option<Tick>,
    rare: Option<Box<Rare>>,
}

/// What a look-up is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It is in the queue.
    Queued,
    /// A question is out; the next one follows then.
    Asking(Tick),
    /// It goes on then.
    Resting(Tick),
    /// It is asking this server over TCP, no longer than that.
    Tcp(ChannelId, usize, Tick),
}

/// The same, without the details.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Queued,
    Asking,
    Resting,
    Tcp,
}

/// What few look-ups have.
#[derive(Default, Debug)]
struct Rare {
    /// Until when those who test the list want to know.
    test_point: Option<Tick>,
    /// What decides about letter case; 0: as it is.
    case: u64,
    tcp: Option<(ChannelId, usize)>,
    /// The questions that are out to other servers.
    exchanges: [Option<Exchange>; MOST_SERVERS],
    alias: Option<Box<QueryName>>,
    aliases: u8,
}

impl Lookup {
    /// A look-up that nobody waits for yet.
    pub fn new(question: Question, course: Course, case: u64) -> Lookup {
        let rare = Rare { case, ..Rare::default() };
        Lookup {
            address: question.address,
            list: question.list,
            course,
            doing: Doing::Queued,
            under_way: None,
            exchange: None,
            until: None,
            client: None,
            gives_up: None,
            wakes: None,
            rare: (case != 0).then(|| Box::new(rare)),
        }
    }

    /// What it is doing.
    pub fn stage(&self) -> Stage {
        let tcp = self.rare.as_ref().and_then(|rare| rare.tcp);
        match (self.doing, self.until, tcp) {
            (Doing::Asking, Some(until), _) => Stage::Asking(until),
            (Doing::Resting, Some(until), _) => Stage::Resting(until),
            (Doing::Tcp, Some(until), Some((channel, server))) => {
                Stage::Tcp(channel, server, until)
            }
            (Doing::Queued | Doing::Asking | Doing::Resting | Doing::Tcp, ..) => Stage::Queued,
        }
    }

    /// It goes on to do something else.
    pub fn go_on(&mut self, stage: Stage) {
        (self.doing, self.until) = match stage {
            Stage::Queued => (Doing::Queued, None),
            Stage::Asking(until) => (Doing::Asking, Some(until)),
            Stage::Resting(until) => (Doing::Resting, Some(until)),
            Stage::Tcp(channel, server, until) => {
                self.rare().tcp = Some((channel, server));
                (Doing::Tcp, Some(until))
            }
        };
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn until(&self, asker: Asker) -> Option<Tick> {
        match asker {
            Asker::Client => self.client,
            Asker::TestPoint => self.rare.as_ref().and_then(|rare| rare.test_point),
        }
    }

    /// Somebody waits, at least that long.
    pub fn join(&mut self, asker: Asker, deadline: Tick) {
        let until = Some(self.until(asker).map_or(deadline, |until| until.max(deadline)));
        match asker {
            Asker::Client => self.client = until,
            Asker::TestPoint => self.rare().test_point = until,
        }
    }

    /// Somebody no longer waits.
    pub fn leave(&mut self, asker: Asker) {
        match asker {
            Asker::Client => self.client = None,
            Asker::TestPoint => {
                if let Some(rare) = &mut self.rare {
                    rare.test_point = None;
                }
            }
        }
    }

    /// Whether nobody waits.
    pub fn is_forgotten(&self) -> bool {
        self.until(Asker::Client).is_none() && self.until(Asker::TestPoint).is_none()
    }

    /// Who waits.
    pub fn askers(&self) -> impl Iterator<Item = Question> + use<> {
        let (address, list) = (self.address, self.list);
        let client = self.until(Asker::Client).map(|_| Asker::Client);
        let test_point = self.until(Asker::TestPoint).map(|_| Asker::TestPoint);
        let askers = client.into_iter().chain(test_point);
        askers.map(move |asker| Question { asker, address, list })
    }

    /// Takes out one who will not wait any longer.
    pub fn take_overdue(&mut self, now: Tick) -> Option<Question> {
        for asker in [Asker::Client, Asker::TestPoint] {
            if self.until(asker).is_some_and(|until| until <= now) {
                self.leave(asker);
                return Some(Question { asker, address: self.address, list: self.list });
            }
        }
        None
    }

    /// When something is due.
    pub fn due(&self) -> Option<Tick> {
        let test_point = self.until(Asker::TestPoint);
        [self.client, test_point, self.gives_up, self.until].into_iter().flatten().min()
    }

    /// The question that is out to a server.
    pub fn exchange(&self, server: usize) -> Option<Exchange> {
        let more = self.rare.iter().flat_map(|rare| &rare.exchanges);
        let mut all = std::iter::once(&self.exchange).chain(more).flatten();
        all.find(|exchange| exchange.server() == server).copied()
    }

    /// No answer of this server is waited for any more.
    pub fn take_exchange(&mut self, server: usize) -> Option<Exchange> {
        let more = self.rare.iter_mut().flat_map(|rare| &mut rare.exchanges);
        let mut all = std::iter::once(&mut self.exchange).chain(more);
        all.find_map(|place| place.take_if(|exchange| exchange.server() == server))
    }

    /// A question is out; there is no other one to its server.
    pub fn add_exchange(&mut self, exchange: Exchange) {
        if self.exchange.is_none() {
            self.exchange = Some(exchange);
            return;
        }
        // There is one place for each server.
        if let Some(place) = self.rare().exchanges.iter_mut().find(|place| place.is_none()) {
            *place = Some(exchange);
        }
    }

    /// Takes out all the questions.
    pub fn take_exchanges(&mut self) -> impl Iterator<Item = Exchange> + use<> {
        let more = self.rare.as_mut().map(|rare| std::mem::take(&mut rare.exchanges));
        self.exchange.take().into_iter().chain(more.into_iter().flatten().flatten())
    }

    /// The name to ask for.
    pub fn name(&self, domain: &str) -> Result<QueryName, NameError> {
        let Some(rare) = &self.rare else { return query::name(self.address, domain) };
        let name = match &rare.alias {
            Some(alias) => **alias,
            None => query::name(self.address, domain)?,
        };
        Ok(if rare.case == 0 { name } else { name.in_mixed_case(rare.case) })
    }

    /// Whether answers must repeat the name letter by letter.
    pub fn same_case(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.case != 0)
    }

    /// The name is an alias: ask for another one. `false`: it was one time too many.
    pub fn go_to(&mut self, name: Box<QueryName>) -> bool {
        let rare = self.rare();
        rare.alias = Some(name);
        rare.aliases += 1;
        rare.aliases <= MOST_ALIASES
    }

    /// Begins again with the first name.
    pub fn forget_alias(&mut self) {
        if let Some(rare) = &mut self.rare {
            (rare.alias, rare.aliases) = (None, 0);
        }
    }
}

/// What a datagram under way belongs to: the look-up, and the number of the datagram.
pub(super) type UnderWay = (Instant, LookupId, NonZeroU32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::tick::Epoch;
    use std::time::Duration;

    fn lookup() -> Lookup {
        let address = "192.0.2.1".parse().unwrap();
        let question = Question { asker: Asker::Client, address, list: ListId(0) };
        Lookup::new(question, Course::new(0, 1), 0)
    }

    #[test]
    fn look_ups_are_small() {
        assert!(size_of::<Lookup>() <= 88, "{}", size_of::<Lookup>());
    }

    #[test]
    fn the_later_deadline_counts_for_each_asker() {
        let start = Instant::now();
        let at = |seconds| Epoch::new(start).tick(start + Duration::from_secs(seconds));
        let mut lookup = lookup();
        assert!(lookup.is_forgotten());
        assert_eq!(lookup.due(), None);
        lookup.join(Asker::Client, at(5));
        lookup.join(Asker::Client, at(3));
        lookup.join(Asker::TestPoint, at(9));
        lookup.go_on(Stage::Resting(at(8)));
        assert_eq!(lookup.due(), Some(at(5)));
        assert_eq!(lookup.take_overdue(at(4)), None);
        assert_eq!(lookup.take_overdue(at(9)).map(|q| q.asker), Some(Asker::Client));
        assert_eq!(lookup.due(), Some(at(8)));
        assert_eq!(lookup.askers().map(|q| q.asker).collect::<Vec<_>>(), [Asker::TestPoint]);
        assert_eq!(lookup.take_overdue(at(9)).map(|q| q.asker), Some(Asker::TestPoint));
        assert!(lookup.is_forgotten());
    }

    #[test]
    fn stages_come_back_as_they_were() {
        let start = Instant::now();
        let soon = Epoch::new(start).tick(start);
        let mut lookup = lookup();
        let channel = ChannelId { slot: 7, generation: 8 };
        for stage in
            [Stage::Asking(soon), Stage::Tcp(channel, 2, soon), Stage::Resting(soon), Stage::Queued]
        {
            lookup.go_on(stage);
            assert_eq!(lookup.stage(), stage);
        }
    }

    #[test]
    fn there_is_a_question_for_each_server() {
        let mut lookup = lookup();
        let channel = ChannelId { slot: 7, generation: 8 };
        let to = |server| Exchange::new(server, channel, 9, true);
        for server in 0..MOST_SERVERS {
            lookup.add_exchange(to(server));
        }
        for server in [0, 2] {
            assert_eq!(lookup.exchange(server), Some(to(server)));
            assert_eq!(lookup.take_exchange(server), Some(to(server)));
            assert_eq!(lookup.take_exchange(server), None);
        }
        lookup.add_exchange(to(2));
        assert_eq!(lookup.exchange(1), Some(to(1)));
        assert_eq!(lookup.take_exchanges().collect::<Vec<_>>(), [to(2), to(1)]);
        assert_eq!(lookup.take_exchanges().next(), None);
    }

    #[test]
    fn aliases_have_an_end() {
        let mut lookup = lookup();
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
