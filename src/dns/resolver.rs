//! Asks blocklists. Driven by the loop: questions and readiness go in, answers come out, and
//! time passes only when the caller says so.

mod replies;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use mio::Registry;

use super::cache::AnswerCache;
use super::course::{Course, Step};
use super::index::Index;
use super::lookup::{Lookup, Stage, UnderWay};
use super::query;
use super::queue::FairQueue;
use super::ranking::Ranking;
use super::resolv_conf::Servers;
use super::tick::{Epoch, Tick};
use super::timers::Timers;
pub use super::transport::TokenMaker;
use super::transport::{SendError, Transport};
use super::udp::random_id;
use super::{ChannelId, LookupId, Slots};
use crate::screen::dnsbl::answer::{Answer, Asker, Failure, Question};

/// A datagram that has no answer after this time is no longer under way: the server has read
/// it and is asking others, or it is lost. So a list that is silent takes no room from the
/// others.
const SETTLED: Duration = Duration::from_millis(250);

/// How long a look-up waits for a free descriptor or connection before it tries again.
const SHORTAGE_WAIT: Duration = Duration::from_millis(200);

/// So many times more room than look-ups is given back, if there is room for many.
const SPARE_ROOM: usize = 8;
const MANY: usize = 1000;

/// The bounds of a resolver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many datagrams are under way at once. More would overflow the buffer of a name
    /// server's socket.
    pub under_way: usize,
    /// How many TCP connections are open at once.
    pub connections: usize,
    /// How many sockets there are in all.
    pub sockets: usize,
    /// How many answers are remembered.
    pub answers: usize,
    /// Whether questions are asked in random letter case, which most servers repeat, and a
    /// forger has to guess.
    pub mixed_case: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { under_way: 150, connections: 20, sockets: 116, answers: 20_000, mixed_case: false }
    }
}

/// What a resolver has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Questions.
    pub asked: u64,
    /// Answers from the cache.
    pub remembered: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Connections made for answers that were too long.
    pub connections: u64,
    /// Answers that came.
    pub answered: u64,
    /// Look-ups without an answer.
    pub failed: u64,
    /// Datagrams that answered nothing.
    pub strange: u64,
}

/// Look-ups of addresses in blocklists.
#[derive(Debug)]
pub struct Resolver {
    servers: Servers,
    domains: Vec<String>,
    limits: Limits,
    transport: Transport,
    ranking: Ranking,
    cache: AnswerCache,
    lookups: Slots<Lookup>,
    index: Index,
    queue: FairQueue<LookupId>,
    timers: Timers,
    /// How many datagrams are under way; the older ones may be settled, or answered.
    under_way: usize,
    datagrams: VecDeque<UnderWay>,
    last_datagram: NonZeroU32,
    /// Sockets that have delivered as much as they may, and have more.
    unread: VecDeque<ChannelId>,
    /// Answers that were not taken yet.
    answers: HashMap<Question, Answer>,
    /// Their questions in order, and some whose answers are not wanted any more.
    answered: VecDeque<Question>,
    /// What the times of look-ups count from.
    epoch: Epoch,
    /// The time of the last call.
    now: Instant,
    counters: Counters,
}

impl Resolver {
    /// A resolver for the lists with these domains, by [`ListId`]. Its sockets are registered
    /// with `registry` under tokens that `token` makes from slot and generation; events for
    /// them go to [`Resolver::ready`]. Only after the last fork.
    pub fn new(
        registry: Registry,
        token: TokenMaker,
        servers: Servers,
        domains: Vec<String>,
        limits: Limits,
        now: Instant,
    ) -> Resolver {
        let list = servers.list.clone();
        Resolver {
            ranking: Ranking::new(&servers),
            transport: Transport::new(registry, token, list, limits.connections, limits.sockets),
            cache: AnswerCache::new(limits.answers),
            servers,
            domains,
            limits,
            lookups: Slots::default(),
            index: Index::default(),
            queue: FairQueue::default(),
            timers: Timers::default(),
            under_way: 0,
            datagrams: VecDeque::new(),
            last_datagram: NonZeroU32::MIN,
            unread: VecDeque::new(),
            answers: HashMap::new(),
            answered: VecDeque::new(),
            epoch: Epoch::new(now),
            now,
            counters: Counters::default(),
        }
    }

    /// Asks. The answer comes from [`Resolver::take_answer`], at `deadline` at the latest;
    /// once, however often the same is asked before it is taken. A test point is always
    /// asked about afresh, a client's address only if the last answer is too old.
    pub fn ask(&mut self, question: Question, deadline: Instant, now: Instant) {
        self.now = now;
        self.counters.asked += 1;
        if self.answers.contains_key(&question) {
            return;
        }
        let Question { asker, address, list } = question;
        let lookup = match self.index.get(&self.lookups, address, list) {
            Some(lookup) => lookup,
            None => {
                let remembered = match asker {
                    Asker::Client => self.cache.get(address, list, now),
                    Asker::TestPoint => None,
                };
                if let Some(answer) = remembered {
                    self.counters.remembered += 1;
                    return self.tell(question, answer);
                }
                let Some(lookup) = self.begin(question, now) else {
                    self.counters.failed += 1;
                    return self.tell(question, Answer::Failed(Failure::ServerError));
                };
                lookup
            }
        };
        if let Some(lookup) = self.lookups.get_mut(lookup) {
            lookup.join(asker, self.epoch.tick(deadline));
        }
        self.send_queued(now);
        // Only now: most look-ups are sent at once, and wait for an answer before they wait for
        // their end.
        self.set_timer(lookup);
    }

    /// Makes a look-up, unless there is no list of this number, or the name is impossible.
    fn begin(&mut self, question: Question, now: Instant) -> Option<LookupId> {
        let Question { address, list, .. } = question;
        let domain = self.domains.get(usize::from(list.0))?;
        query::name(address, domain).ok()?;
        let course = Course::new(self.ranking.first(now), self.servers.list.len());
        let case = if self.limits.mixed_case { random_bits() } else { 0 };
        let id = self.lookups.insert(Lookup::new(question, course, case))?;
        self.index.insert(&self.lookups, id);
        self.queue.push(address, id);
        Some(id)
    }

    /// Nobody waits for this any more. An answer that was not taken yet is dropped.
    pub fn cancel(&mut self, question: Question, now: Instant) {
        self.now = now;
        self.answers.remove(&question);
        let Question { asker, address, list } = question;
        let Some(id) = self.index.get(&self.lookups, address, list) else { return };
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        lookup.leave(asker);
        if lookup.is_forgotten() {
            self.remove(id, now);
            self.send_queued(now);
        }
    }

    /// One answer, if there is one.
    pub fn take_answer(&mut self) -> Option<(Question, Answer)> {
        loop {
            let question = self.answered.pop_front()?;
            if let Some(answer) = self.answers.remove(&question) {
                return Some((question, answer));
            }
        }
    }

    /// One of our sockets is ready. A stale slot or generation is ignored.
    pub fn ready(&mut self, slot: u32, generation: u32, now: Instant) {
        self.now = now;
        self.read(ChannelId { slot, generation }, now);
        self.send_queued(now);
    }

    /// When [`Resolver::expired`] is to be called at the latest; at once if it is in the past.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        if !self.answers.is_empty() || !self.unread.is_empty() {
            return Some(self.now);
        }
        let lookups = &self.lookups;
        let timer = self.timers.next(|at, id| is_known(lookups, at, id));
        let timer = timer.map(|at| self.epoch.instant(at));
        let settled = match self.datagrams.front() {
            Some((sent, ..)) if !self.queue.is_empty() => Some(*sent + SETTLED),
            _ => None,
        };
        [timer, settled, self.transport.sweep_at()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn expired(&mut self, now: Instant) {
        self.now = now;
        for _ in 0..self.unread.len() {
            if let Some(channel) = self.unread.pop_front() {
                self.read(channel, now);
            }
        }
        while let Some((at, id)) = self.timers.pop(self.epoch.tick(now)) {
            if is_known(&self.lookups, at, id) {
                self.wake(id, now);
            }
        }
        if self.transport.sweep(now) {
            self.shrink();
        }
        self.send_queued(now);
    }

    /// Gives back the room for what is gone, after a rush.
    fn shrink(&mut self) {
        self.lookups.shrink();
        self.index.shrink(&self.lookups);
        self.queue.shrink();
        let lookups = &self.lookups;
        self.timers.tidy(lookups.len(), |at, id| is_known(lookups, at, id));
        self.timers.shrink();
        self.datagrams.shrink_to(2 * self.datagrams.len());
        self.answers.shrink_to(2 * self.answers.len());
        self.answered.shrink_to(2 * self.answered.len());
    }

    /// Asks other servers from now on, and begins again with what was asked of the old ones.
    pub fn reconfigure(&mut self, servers: Servers, now: Instant) {
        self.now = now;
        if servers == self.servers {
            return;
        }
        self.servers = servers;
        self.ranking = Ranking::new(&self.servers);
        self.transport.replace_servers(self.servers.list.clone());
        self.unread.clear();
        self.datagrams.clear();
        self.under_way = 0;
        self.queue.clear();
        let all: Vec<LookupId> = self.lookups.iter().map(|(id, _)| id).collect();
        for id in all {
            let first = self.ranking.first(now);
            let Some(lookup) = self.lookups.get_mut(id) else { continue };
            lookup.course = Course::new(first, self.servers.list.len());
            // What they were asked over is closed already.
            let _ = lookup.take_exchanges();
            lookup.go_on(Stage::Queued);
            lookup.gives_up = None;
            lookup.under_way = None;
            lookup.forget_alias();
            self.queue.push(lookup.address, id);
            self.set_timer(id);
        }
        self.send_queued(now);
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many look-ups are not answered yet.
    pub fn open_lookups(&self) -> usize {
        self.lookups.len()
    }

    /// How many datagrams are under way.
    pub fn datagrams_under_way(&self) -> usize {
        self.under_way
    }

    /// How many sockets are open.
    pub fn open_sockets(&self) -> usize {
        self.transport.open_sockets()
    }

    fn tell(&mut self, question: Question, answer: Answer) {
        if let Entry::Vacant(place) = self.answers.entry(question) {
            place.insert(answer);
            self.answered.push_back(question);
        }
    }

    /// Something is due for a look-up.
    fn wake(&mut self, id: LookupId, now: Instant) {
        let tick = self.epoch.tick(now);
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        lookup.wakes = None;
        let overdue = [lookup.take_overdue(tick), lookup.take_overdue(tick)];
        let forgotten = lookup.is_forgotten();
        let gives_up = lookup.gives_up.is_some_and(|at| at <= tick);
        let (stage, server) = (lookup.stage(), lookup.course.server());
        let wait = lookup.course.wait(&self.servers);
        for question in overdue.into_iter().flatten() {
            self.counters.failed += 1;
            self.tell(question, Answer::Failed(Failure::TimeLimit));
        }
        if forgotten {
            return self.remove(id, now);
        }
        match stage {
            Stage::Asking(at) if at <= tick => {
                self.settle(id);
                let asked = self.epoch.instant(at).checked_sub(wait).unwrap_or(now);
                self.ranking.missed(server, asked, now);
                if !gives_up {
                    self.take_step(id, Course::silent, now);
                }
            }
            Stage::Resting(at) if at <= tick && !gives_up => {
                self.take_step(id, Course::rested, now);
            }
            Stage::Tcp(channel, server, at) if at <= tick => {
                self.transport.close(channel);
                self.tcp_failed(id, server, now);
            }
            _ => {}
        }
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        if gives_up {
            // The last try was in vain as well.
            if let Stage::Asking(_) = lookup.stage() {
                let _ = lookup.course.silent();
            }
            let failure = lookup.course.failure();
            return self.finish(id, Answer::Failed(failure), now);
        }
        self.set_timer(id);
    }

    fn take_step(&mut self, id: LookupId, step: impl Fn(&mut Course) -> Step, now: Instant) {
        if let Some(lookup) = self.lookups.get_mut(id) {
            let step = step(&mut lookup.course);
            self.follow(id, step, None, now);
        }
    }

    /// Does what a look-up's course says.
    fn follow(&mut self, id: LookupId, step: Step, rest: Option<Duration>, now: Instant) {
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        match step {
            Step::Ask => {
                if lookup.stage() != Stage::Queued {
                    lookup.go_on(Stage::Queued);
                    self.queue.push(lookup.address, id);
                }
            }
            Step::Rest => {
                let rest = rest.unwrap_or_else(|| lookup.course.wait(&self.servers));
                lookup.go_on(Stage::Resting(self.epoch.tick(now + rest)));
            }
            Step::GiveUp(failure) => return self.finish(id, Answer::Failed(failure), now),
        }
        self.settle(id);
        self.set_timer(id);
    }

    /// Sends what may be sent.
    fn send_queued(&mut self, now: Instant) {
        loop {
            while let Some((id, server)) = self.transport.take_refused() {
                self.refused(id, server, now);
            }
            self.forget_settled(now);
            if self.under_way >= self.limits.under_way {
                return;
            }
            let Some(id) = self.queue.pop() else { return };
            if self.lookups.get(id).is_some_and(|lookup| lookup.stage() == Stage::Queued) {
                self.send(id, now);
            }
        }
    }

    fn send(&mut self, id: LookupId, now: Instant) {
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        let domain = self.domains.get(usize::from(lookup.list.0)).map_or("", String::as_str);
        let Ok(name) = lookup.name(domain) else {
            return self.finish(id, Answer::Failed(Failure::ServerError), now);
        };
        let server = lookup.course.server();
        let edns = lookup.course.edns() && self.ranking.edns(server, now);
        let again = lookup.take_exchange(server);
        let sent = self.transport.send(server, id, &name, edns, again, now);
        match sent {
            Ok(exchange) => {
                self.counters.sent += 1;
                if let Some(old) = again.filter(|old| *old != exchange) {
                    self.transport.close_question(old, now);
                }
                lookup.add_exchange(exchange);
                let until = now + lookup.course.wait(&self.servers);
                lookup.go_on(Stage::Asking(self.epoch.tick(until)));
                let gives_up = now + Course::time_limit(&self.servers);
                lookup.gives_up.get_or_insert(self.epoch.tick(gives_up));
                self.last_datagram = self.last_datagram.checked_add(1).unwrap_or(NonZeroU32::MIN);
                lookup.under_way = Some(self.last_datagram);
                self.datagrams.push_back((now, id, self.last_datagram));
                self.under_way += 1;
                self.set_timer(id);
            }
            Err(SendError::Shortage) => {
                again.into_iter().for_each(|again| lookup.add_exchange(again));
                self.wait_for_room(id, now);
            }
            Err(SendError::Unreachable) => {
                // It has left the queue, and joins it again for the next server.
                lookup.go_on(Stage::Resting(self.epoch.tick(now)));
                if let Some(old) = again {
                    self.transport.close_question(old, now);
                }
                self.ranking.missed(server, now, now);
                let step = lookup.course.unreachable(&self.servers);
                self.follow(id, step, None, now);
            }
        }
    }

    fn wait_for_room(&mut self, id: LookupId, now: Instant) {
        if let Some(lookup) = self.lookups.get_mut(id) {
            let step = lookup.course.shortage();
            self.follow(id, step, Some(SHORTAGE_WAIT), now);
        }
    }

    /// A datagram of this look-up is no longer under way.
    fn settle(&mut self, id: LookupId) {
        if let Some(lookup) = self.lookups.get_mut(id)
            && lookup.under_way.take().is_some()
        {
            self.under_way -= 1;
        }
    }

    fn forget_settled(&mut self, now: Instant) {
        while let Some((sent, id, number)) = self.datagrams.front().copied()
            && (sent + SETTLED <= now || !self.is_under_way(id, number))
        {
            self.datagrams.pop_front();
            if self.is_under_way(id, number) {
                self.settle(id);
            }
        }
    }

    fn is_under_way(&self, id: LookupId, number: NonZeroU32) -> bool {
        self.lookups.get(id).is_some_and(|lookup| lookup.under_way == Some(number))
    }

    /// Tells all who wait.
    fn finish(&mut self, id: LookupId, answer: Answer, now: Instant) {
        let Some(lookup) = self.lookups.get(id) else { return };
        let (address, list) = (lookup.address, lookup.list);
        let questions = lookup.askers();
        self.remove(id, now);
        match &answer {
            Answer::Failed(_) => self.counters.failed += 1,
            Answer::Listed { .. } | Answer::NotListed { .. } => {
                self.counters.answered += 1;
                self.cache.insert(address, list, &answer, now);
            }
        }
        for question in questions {
            self.tell(question, answer.clone());
        }
    }

    /// Lets go of a look-up. Its stale id may still be in the queue and in the timers.
    fn remove(&mut self, id: LookupId, now: Instant) {
        self.settle(id);
        self.close_questions(id, now);
        self.index.remove(&self.lookups, id);
        self.lookups.remove(id);
        // After a rush. It does not happen again before most of those who are left have gone.
        if self.lookups.len() < self.lookups.room() / SPARE_ROOM && self.lookups.room() > MANY {
            self.shrink();
        }
    }

    /// No answer to what was asked so far is wanted any more.
    fn close_questions(&mut self, id: LookupId, now: Instant) {
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        for exchange in lookup.take_exchanges() {
            self.transport.close_question(exchange, now);
        }
        if let Stage::Tcp(channel, ..) = lookup.stage() {
            self.transport.close(channel);
        }
    }

    fn set_timer(&mut self, id: LookupId) {
        let Some(lookup) = self.lookups.get_mut(id) else { return };
        let Some(due) = lookup.due() else { return };
        // A timer that comes too early finds out itself.
        if lookup.wakes.is_some_and(|at| at <= due) {
            return;
        }
        lookup.wakes = Some(due);
        self.timers.add(due, id);
        let lookups = &self.lookups;
        self.timers.tidy(lookups.len(), |at, id| is_known(lookups, at, id));
    }
}

fn is_known(lookups: &Slots<Lookup>, at: Tick, id: LookupId) -> bool {
    lookups.get(id).is_some_and(|lookup| lookup.wakes == Some(at))
}

/// Unpredictable, and not 0.
fn random_bits() -> u64 {
    (0..4).fold(0, |bits, _| bits << 16 | u64::from(random_id())).max(1)
}
