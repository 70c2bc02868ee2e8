//! The guard: watches the lists themselves, and puts a broken one aside.
//!
//! Lists that die list everybody, or nobody answers for them; lists that refuse service say
//! so with addresses that look like listings. Either has blocked all mail of many sites. The
//! guard looks at the test points of each zone (RFC 5782 section 5: 127.0.0.2 must be listed,
//! 127.0.0.1 must not) at the start, every hour, and when an answer looks odd. A zone that is
//! broken is not asked about clients until its test points are fine again.
//!
//! A zone that does not answer is broken only if another one does that is asked at the same
//! time: otherwise it is the resolver.
//!
//! Like the rest of the core it takes answers and the time, and gives [`Order`]s.

pub mod counting;
mod daily;
pub mod health;
pub mod notice;
mod resolver;
mod round;
pub mod saved;
mod zone;

use std::time::Instant;

use super::answer::{Answer, Asker, Failure, ListId, Question};
use super::lists::{List, Lists};
use crate::screen::event::Now;
use crate::screen::test_set::UnixTime;
use notice::{Case, Effect, Notice, Reach, Why};
use resolver::Resolver;
use round::{Outcome, POINTS};
use saved::{Saved, Trouble};
use zone::Zone;

/// What to do about broken zones (gatepost.cf: `dnsbl_guard`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Warn, and put them aside.
    Enforce,
    /// Warn.
    Warn,
    /// Nothing, as with postscreen(8).
    Off,
}

/// Something to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Ask this, not a cache; the answer goes to [`Guard::point_answered`]. The IPv6 test
    /// points are IPv4-mapped addresses, and must be asked for as the IPv6 addresses they are.
    Ask(Question),
    /// Log this.
    Say(Notice),
    /// Store this under its key, in place of what was there.
    Store(Saved),
}

/// The guard of all zones.
#[derive(Clone, Debug)]
pub struct Guard {
    mode: Mode,
    lists: Lists,
    /// main.cf: `postscreen_dnsbl_threshold`.
    threshold: i32,
    /// One for each list.
    zones: Vec<Zone>,
    resolver: Resolver,
    /// See [`Guard::next_due`]. Kept, because it is asked for after every answer.
    due: Option<Instant>,
}

impl Guard {
    /// A guard of these lists. `threshold` is main.cf's `postscreen_dnsbl_threshold`; `saved`
    /// is what earlier guards have stored, of whatever lists. The first round is due at once.
    pub fn new(mode: Mode, lists: Lists, threshold: i32, saved: &[Saved], now: Now) -> Guard {
        let count = lists.len();
        let zones = lists.iter().map(|(id, _)| Zone::new(id.0, count, now)).collect();
        let resolver = Resolver::default();
        let mut guard = Guard { mode, lists, threshold, zones, resolver, due: None };
        if mode != Mode::Off {
            saved.iter().for_each(|saved| guard.restore(saved, now));
        }
        guard.due = guard.earliest();
        guard
    }

    /// A guard of nothing.
    pub fn none() -> Guard {
        Guard {
            mode: Mode::Off,
            lists: Lists::default(),
            threshold: 0,
            zones: Vec::new(),
            resolver: Resolver::default(),
            due: None,
        }
    }

    /// Lists have other public names now.
    pub fn rename(&mut self, lists: &Lists) {
        if self.lists.len() == lists.len() {
            self.lists.clone_from(lists);
        }
    }

    /// Whether a list must not be asked about clients. Its entries do not count, and it is not
    /// missed.
    pub fn is_aside(&self, list: ListId) -> bool {
        self.mode == Mode::Enforce
            && self.zones.get(place(list)).is_some_and(|zone| zone.trouble.is_some())
    }

    /// Takes the answer to a question about a client. There are many of these, and all are about
    /// one zone: the others are not looked at, unless something unusual happens.
    pub fn observe(&mut self, id: ListId, answer: &Answer, now: Now, orders: &mut Vec<Order>) {
        let Some(zone) = self.zones.get_mut(place(id)) else { return };
        let (due, failing) = (zone.due(), self.resolver.is_failing());
        zone.note(answer, now);
        if let Answer::Failed(_) = answer {
            zone.miss(now);
        }
        if self.mode == Mode::Off {
            return;
        }
        if let Some(list) = self.lists.get(id) {
            zone.judge(list, answer);
        }
        if let Answer::Failed(_) = answer {
            self.look_for_outage(now, orders);
        } else if failing {
            // The answer may come from a cache; a test point's does not.
            zone.hurry();
        }
        self.store_change(id, orders);
        orders.extend(self.resolver.changed().map(Order::Store));
        let now_due = self.zones.get(place(id)).map_or(due, Zone::due);
        if failing != self.resolver.is_failing() || now_due > due && self.due == Some(due) {
            self.due = self.earliest();
        } else if now_due < due {
            self.due = self.due.map(|earliest| earliest.min(now_due));
        }
    }

    /// Takes the answer to a question of the guard itself.
    pub fn point_answered(
        &mut self,
        question: Question,
        answer: &Answer,
        now: Now,
        orders: &mut Vec<Order>,
    ) {
        let Question { asker, address, list: id } = question;
        if asker != Asker::TestPoint || !POINTS.contains(&address) || self.mode == Mode::Off {
            return;
        }
        let index = place(id);
        let (Some(zone), Some(list)) = (self.zones.get_mut(index), self.lists.get(id)) else {
            return;
        };
        zone.note(answer, now);
        let complete = zone.round.as_mut().is_some_and(|round| {
            round.hear(address, list, answer);
            round.waiting() == 0
        });
        if !matches!(answer, Answer::Failed(_)) {
            zone.hear(now);
            if zone.trouble.is_none() {
                self.end_outage(orders);
            }
        }
        if complete {
            self.conclude(id, now, orders);
        }
        self.condemn_silent(now, orders);
        self.store_changes(orders);
        self.due = self.earliest();
    }

    /// When [`due`](Guard::due) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        debug_assert_eq!(self.due, self.earliest());
        self.due
    }

    fn earliest(&self) -> Option<Instant> {
        if self.mode == Mode::Off {
            return None;
        }
        self.zones.iter().map(Zone::due).chain(self.resolver.next_warning(&self.zones)).min()
    }

    /// The time of [`next_due`](Guard::next_due) has come; harmless at any other time.
    pub fn due(&mut self, now: Now, orders: &mut Vec<Order>) {
        if self.mode == Mode::Off {
            return;
        }
        let ids = || (0..=u16::MAX).map(ListId);
        for id in ids().take(self.zones.len()) {
            self.give_up_round(id, now, orders);
        }
        let is_due = |zone: &Zone| zone.round.is_none() && zone.next_round() <= now.mono;
        // Whether a silent zone is to blame, or the resolver, shows when the others are asked at
        // the same time.
        let together = self.zones.iter().any(|zone| is_due(zone) && zone.needs_witness(now.mono));
        for (id, zone) in ids().zip(&mut self.zones) {
            if is_due(zone) || together && zone.can_bear_witness() {
                zone.start_round(now);
                orders.extend(POINTS.map(|address| {
                    Order::Ask(Question { asker: Asker::TestPoint, address, list: id })
                }));
            }
        }
        self.condemn_silent(now, orders);
        self.repeat_warnings(now, orders);
        self.store_changes(orders);
        self.due = self.earliest();
    }

    fn restore(&mut self, saved: &Saved, now: Now) {
        match saved {
            Saved::Zone { domain, memory } => {
                let named = |(_, list): &(ListId, &List)| list.domain == *domain;
                let id = self.lists.iter().find(named).map(|(id, _)| id);
                if let Some(zone) = id.and_then(|id| self.zones.get_mut(place(id))) {
                    zone.restore(*memory, self.mode.effect(), now);
                }
            }
            Saved::Resolver { failing, warned } => {
                self.resolver = Resolver::restored(*failing, *warned, now);
            }
        }
    }

    /// Ends a round that has taken too long.
    fn give_up_round(&mut self, id: ListId, now: Now, orders: &mut Vec<Order>) {
        let Some(zone) = self.zones.get_mut(place(id)) else { return };
        let Some(round) = &zone.round else { return };
        if round.end() > now.mono {
            return;
        }
        for _ in 0..round.waiting() {
            zone.note(&Answer::Failed(Failure::TimeLimit), now);
        }
        self.conclude(id, now, orders);
    }

    /// Draws the conclusion from a round.
    fn conclude(&mut self, id: ListId, now: Now, orders: &mut Vec<Order>) {
        let Some(zone) = self.zones.get_mut(place(id)) else { return };
        let Some(round) = zone.round.take() else { return };
        let trouble = zone.trouble.map(|trouble| trouble.why);
        match round.outcome(zone.is_suspect(), trouble) {
            Outcome::Broken(why) => self.condemn(id, why, now.wall, now, orders),
            Outcome::Odd => zone.suspect(),
            Outcome::Mute => {
                zone.was_mute(round.start, now);
                self.look_for_outage(now, orders);
            }
            Outcome::Fine { listed } => {
                let (trouble, pointless) = zone.acquit(listed, now);
                if let Some(Trouble { since, effect, .. }) = trouble {
                    let zone = self.name(id);
                    orders.push(Order::Say(Notice::Back { zone, since, effect }));
                }
                if pointless {
                    orders.push(Order::Say(Notice::NoTestPoint { zone: self.name(id) }));
                }
                self.end_outage(orders);
            }
            Outcome::Unclear => {}
        }
    }

    /// Puts zones aside that do not answer while others do.
    fn condemn_silent(&mut self, now: Now, orders: &mut Vec<Order>) {
        for id in (0..=u16::MAX).map(ListId).take(self.zones.len()) {
            let Some(zone) = self.zones.get(place(id)) else { return };
            let (Some(start), Some(silence), None) = (zone.accused, zone.silence, zone.trouble)
            else {
                continue;
            };
            if self.zones.iter().any(|other| other.is_witness(start)) {
                self.condemn(id, Why::Silent, silence.since.wall, now, orders);
            }
        }
    }

    fn condemn(
        &mut self,
        id: ListId,
        why: Why,
        since: UnixTime,
        now: Now,
        orders: &mut Vec<Order>,
    ) {
        let effect = self.mode.effect();
        let Some(zone) = self.zones.get_mut(place(id)) else { return };
        if !zone.condemn(why, since.min(now.wall), effect) {
            return;
        }
        let first = zone.warned.is_free(now);
        if first {
            zone.warned.say(now);
        }
        if let Some(case) = self.case(id) {
            let notice = if first { Notice::PutAside(case) } else { Notice::PutAsideAgain(case) };
            orders.push(Order::Say(notice));
        }
    }

    /// Do all zones fail?
    fn look_for_outage(&mut self, now: Now, orders: &mut Vec<Order>) {
        orders.extend(self.resolver.look_at(&self.zones, now).map(Order::Say));
    }

    /// A test point of a good zone was answered.
    fn end_outage(&mut self, orders: &mut Vec<Order>) {
        let since = self.resolver.works();
        orders.extend(since.map(|since| Order::Say(Notice::AnswersAgain { since })));
    }

    fn repeat_warnings(&mut self, now: Now, orders: &mut Vec<Order>) {
        for id in (0..=u16::MAX).map(ListId).take(self.zones.len()) {
            let Some(zone) = self.zones.get_mut(place(id)) else { return };
            if zone.next_warning().is_some_and(|next| next <= now.mono) {
                zone.warned.say(now);
                if let Some(case) = self.case(id) {
                    orders.push(Order::Say(Notice::StillAside(case)));
                }
            }
        }
        orders.extend(self.resolver.repeat_warning(&self.zones, now).map(Order::Say));
    }

    /// What there is to say about a broken zone.
    fn case(&self, id: ListId) -> Option<Case> {
        let trouble = self.zones.get(place(id))?.trouble?;
        let reach = self.reach();
        let (why, since, effect) = (trouble.why, trouble.since, trouble.effect);
        Some(Case { zone: self.name(id), why, since, effect, reach })
    }

    /// Whether the zones that are not broken can reach the threshold.
    fn reach(&self) -> Reach {
        let highest = |all: bool| -> i64 {
            let counted = self.zones.iter().zip(self.lists.iter());
            let counted = counted.filter(|(zone, _)| all || zone.trouble.is_none());
            let entries = counted.flat_map(|(_, (_, list))| &list.entries);
            entries.map(|entry| i64::from(entry.weight.max(0))).sum()
        };
        let threshold = self.threshold;
        let left = highest(false);
        if left < threshold.into() && highest(true) >= threshold.into() {
            Reach::Short { highest: left, threshold }
        } else {
            Reach::Enough
        }
    }

    fn name(&self, id: ListId) -> Box<str> {
        self.lists.get(id).map(|list| list.public_name.clone()).unwrap_or_default()
    }

    fn store_changes(&mut self, orders: &mut Vec<Order>) {
        for id in (0..=u16::MAX).map(ListId).take(self.zones.len()) {
            self.store_change(id, orders);
        }
        orders.extend(self.resolver.changed().map(Order::Store));
    }

    fn store_change(&mut self, id: ListId, orders: &mut Vec<Order>) {
        let (zone, list) = (self.zones.get_mut(place(id)), self.lists.get(id));
        let (Some(zone), Some(list)) = (zone, list) else { return };
        if let Some(memory) = zone.changed_memory() {
            orders.push(Order::Store(Saved::Zone { domain: list.domain.clone(), memory }));
        }
    }
}

impl Mode {
    /// Reads gatepost.cf's `dnsbl_guard`.
    pub fn parse(word: &str) -> Option<Mode> {
        match word {
            "enforce" => Some(Mode::Enforce),
            "warn" => Some(Mode::Warn),
            "off" => Some(Mode::Off),
            _ => None,
        }
    }

    fn effect(self) -> Effect {
        match self {
            Mode::Enforce => Effect::Aside,
            Mode::Warn | Mode::Off => Effect::Told,
        }
    }
}

fn place(id: ListId) -> usize {
    usize::from(id.0)
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
