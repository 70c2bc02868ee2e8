//! What must hold whatever happens, told a second time and in the simplest way.
//!
//! The laws follow each session by what goes in and what comes out, never by the core's
//! tables, and know after every input what should have come out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use gatepost::screen::dnsbl::answer::{Asker, ListId};
use gatepost::screen::event::{HandOffResult, Input, Now, Output, Watch};
use gatepost::screen::policy::Policy;
use gatepost::screen::reply::Reply;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{Action, Expiry, PerTest, Test};

use crate::lists::without_the_guard;
use crate::proxy::{Header, Proxy};
use crate::seen::{Seen, Word};
use crate::tally::Tally;
use crate::witness::{Answers, Expected, Fate, Place, Run, Witness, ensure, law_of_hand_off};

/// How long smtpd(8) may keep us waiting.
const HAND_OFF_LIMIT: Duration = Duration::from_secs(100);

/// How long a full listen queue is tried again.
pub const BUSY_LIMIT: Duration = Duration::from_secs(1);

/// How long tlsproxy(8) may take for each of its answers.
const TLS_ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The model of all sessions.
pub struct Laws {
    pub policy: Policy,
    pub sessions: HashMap<SessionId, Witness>,
    pub runs: HashMap<IpAddr, Run>,
    /// Connections that wait for a proxy's header.
    pub proxies: HashMap<SessionId, Proxy>,
    /// How many there were.
    pub came: u64,
    /// What connections are going to begin with.
    pub headers: HashMap<SessionId, Header>,
    pub stress: bool,
    pub terminating: bool,
    /// The DNS blocklists that are put aside.
    pub aside: HashSet<ListId>,
    /// How often in a row tlsproxy(8) was not to be had.
    pub tls_failures: u32,
    /// When it is worth another attempt.
    pub tls_again: Option<Instant>,
    /// Each time that it is said that there are clients that are not served costs a minute:
    /// until when that is paid for.
    pub unserved_paid: Option<Instant>,
    /// The table of footers cannot tell.
    pub footers_fail: bool,
    pub tally: Tally,
}

impl Laws {
    /// A model without sessions.
    pub fn new(policy: Policy) -> Laws {
        Laws {
            policy,
            sessions: HashMap::new(),
            runs: HashMap::new(),
            proxies: HashMap::new(),
            came: 0,
            headers: HashMap::new(),
            stress: false,
            terminating: false,
            aside: HashSet::new(),
            tls_failures: 0,
            tls_again: None,
            unserved_paid: None,
            footers_fail: false,
            tally: Tally::default(),
        }
    }

    /// How many sessions are open.
    pub fn open(&self) -> usize {
        self.sessions.len()
    }

    /// How many hand-offs are in progress.
    pub fn hand_offs(&self) -> usize {
        self.sessions.values().filter(|witness| !witness.place.is_screened()).count()
    }

    /// Judges what came out of one input.
    pub fn check(
        &mut self,
        input: &Input<'_>,
        now: Now,
        answers: &Answers,
        out: &[Output],
    ) -> Result<(), String> {
        self.footers(input, now, answers, out)?;
        let out = without_the_guard(self, out)?;
        let out = out.as_slice();
        let mut approaching = false;
        match *input {
            Input::GuardDeadline => ensure(out.is_empty(), || "the guard meddles".into())?,
            Input::ListAnswer { question, .. } if question.asker == Asker::TestPoint => {
                ensure(out.is_empty(), || "a test point says nothing about clients".into())?;
            }
            Input::Connected { session, client, server } => {
                if self.approaches(session, (client, server), now, answers, out)? {
                    self.connected(session, (client, server), now, answers, out)?;
                }
            }
            Input::Unidentified { session, .. } => {
                let right = matches!(out, [Output::Log(_), Output::Send(a, Reply::NoResources), Output::Close(b)]
                    if (*a, *b) == (session, session));
                ensure(right, || "an unidentified connection gets one reply".into())?;
            }
            Input::Peeked { session, .. }
            | Input::Received { session, .. }
            | Input::Closed { session }
            | Input::Deadline { session }
            | Input::HandOff { session, .. }
            | Input::Answered { session }
            | Input::Tls { session, .. }
                if self.proxies.contains_key(&session) =>
            {
                self.proxied(session, input, now, answers, out)?;
                approaching = true;
            }
            Input::Peeked { session, .. }
            | Input::Received { session, .. }
            | Input::Closed { session }
            | Input::Deadline { session }
            | Input::HandOff { session, .. }
            | Input::Answered { session }
            | Input::Tls { session, .. } => self.event(session, input, now, answers, out)?,
            Input::ListAnswer { question, answer } => {
                self.list_answer(question, answer, now, out)?;
            }
            Input::Terminate => self.terminate(input, now, out)?,
        }
        if !approaching && !matches!(input, Input::Connected { .. }) {
            ensure(answers.questions == 0, || "only a new client gives rise to questions".into())?;
        }
        // What was said behind STARTTLS waits for what comes of that.
        let words = matches!(input, Input::Received { .. }) || out.iter().any(abandons_tls);
        if !words {
            let none = answers.filtered.is_empty() && answers.forbidden.is_empty();
            ensure(none, || "only what is said gives rise to questions about it".into())?;
        }
        self.limits()
    }

    /// The rules for a session that is open, or was.
    fn event(
        &mut self,
        id: SessionId,
        input: &Input<'_>,
        now: Now,
        answers: &Answers,
        out: &[Output],
    ) -> Result<(), String> {
        let Some(mut witness) = self.sessions.remove(&id) else {
            self.tally.add("input for nobody");
            return ensure(out.is_empty(), || "outputs for a session that has ended".into());
        };
        let seen = Seen::of(id, witness.client, witness.server, out)?;
        let news = self.keywords(witness.client.ip(), answers, &seen.replies)?;
        let told = seen.words.iter().filter(|word| **word == Word::Discarding).count();
        ensure(told == news, || format!("{told} lines about keywords, not {news}"))?;
        let mut expected = Expected::default();
        if matches!(input, Input::Deadline { .. }) {
            witness.deadline = None;
        }
        let before = witness.place;
        match (before, input) {
            (Place::Waiting, Input::Peeked { .. }) if witness.pregreet() == Fate::Pending => {
                self.pregreet(&mut witness, &mut expected, now);
            }
            (Place::Waiting, Input::Deadline { .. }) => {
                let over = now.mono >= witness.began + witness.wait;
                if over && witness.pregreet() == Fate::Pending {
                    let until = now.wall.plus(self.policy.ttl.pregreet);
                    witness.fates.pregreet = Fate::Passed(until);
                }
                self.takes_what_there_is(id, &mut witness, &mut expected, now);
                self.early_tests_over(&mut witness, &mut expected, now);
            }
            (place, Input::Closed { .. }) if place.is_screened() => {
                expected.words.push(Word::Hangup);
                self.end_here(&witness, &mut expected);
            }
            (Place::Engine, Input::Deadline { .. }) => {
                expected.words.push(Word::TimeLimit);
                expected.replies.push(Reply::CommandTimeLimit);
                self.end_here(&witness, &mut expected);
            }
            (Place::Engine, Input::Received { data, .. }) => {
                self.received(&mut witness, &mut expected, now, data, answers, &seen)?;
            }
            (Place::Greeting | Place::Status | Place::TlsPause, Input::Deadline { .. }) => {
                self.tls_deadline(&mut witness, &mut expected, now, answers, &seen)?;
            }
            (Place::Greeting | Place::Status, Input::Tls { news, .. }) => {
                self.tls_news(&mut witness, &mut expected, now, *news, answers, &seen)?;
            }
            (Place::HandingOff, Input::HandOff { result, .. }) => {
                self.hand_off_result(&mut witness, &mut expected, now, *result);
            }
            (Place::HandingOff, Input::Deadline { .. }) => {
                expected.words.push(Word::HandOffTimeout);
                expected.closed = true;
            }
            (Place::Pausing, Input::Deadline { .. }) => {
                witness.place = Place::HandingOff;
                expected.hand_off = true;
            }
            _ => {
                self.tally.add("input out of place");
                ensure(out.is_empty(), || {
                    format!("outputs for an input out of place ({before:?})")
                })?;
            }
        }
        let moved = witness.place != before || expected.restarts;
        self.settle(id, witness, seen, expected, now, moved)
    }

    fn pregreet(&mut self, witness: &mut Witness, expected: &mut Expected, now: Now) {
        expected.words.push(Word::Pregreet);
        match self.policy.actions.pregreet {
            Action::Drop => {
                self.tally.add("pregreet drop");
                witness.fates.pregreet = Fate::Failed;
                expected.replies.push(Reply::ProtocolError);
                self.end_here(witness, expected);
            }
            Action::Enforce => {
                self.tally.add("pregreet enforce");
                witness.fates.pregreet = Fate::Failed;
                witness.refused = true;
                if !self.waits_on(witness, expected, now) {
                    self.early_tests_over(witness, expected, now);
                }
            }
            Action::Ignore => {
                self.tally.add("pregreet ignore");
                witness.fates.pregreet = Fate::Ignored;
                if !self.waits_on(witness, expected, now) {
                    self.early_tests_over(witness, expected, now);
                }
            }
        }
    }

    /// The engine for whoever is refused or has a deep test ahead, smtpd(8) for all others.
    pub fn early_tests_over(&mut self, witness: &mut Witness, expected: &mut Expected, now: Now) {
        if self.score_counts(witness, expected, now) {
            return;
        }
        let ahead = |test: &Test| !test.is_early() && witness.fates[*test] == Fate::Pending;
        if witness.refused || Test::ALL.iter().any(ahead) {
            witness.place = Place::Engine;
            if witness.pregreet() != Fate::Failed {
                expected.replies.push(Reply::Greeting);
            }
            for test in Test::ALL.into_iter().filter(|test| !test.is_early()) {
                if witness.refused && witness.fates[test] == Fate::NotDue {
                    witness.fates[test] = Fate::Pending;
                }
            }
        } else {
            self.conclude(witness, expected);
            self.begin_hand_off(witness, expected, now);
        }
    }

    pub fn begin_hand_off(&mut self, witness: &mut Witness, expected: &mut Expected, now: Now) {
        witness.place = Place::HandingOff;
        witness.handed = now.mono;
        expected.hand_off = true;
    }

    fn hand_off_result(
        &mut self,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
        result: HandOffResult<'_>,
    ) {
        let reply = match result {
            HandOffResult::Done => {
                self.tally.add("handed off");
                expected.closed = true;
                return;
            }
            HandOffResult::Busy if now.mono - witness.handed < BUSY_LIMIT && !self.terminating => {
                self.tally.add("busy");
                witness.place = Place::Pausing;
                return;
            }
            HandOffResult::Busy => {
                self.tally.add("busy too long");
                expected.words.push(Word::CannotConnect);
                Reply::ServerPortsBusy
            }
            HandOffResult::NoService(_) => {
                expected.words.push(Word::CannotConnect);
                Reply::ServerPortsBusy
            }
            HandOffResult::NotSent(_) => {
                expected.words.push(Word::CannotPass);
                Reply::NoResources
            }
        };
        if self.terminating {
            self.tally.add("sent away at the end");
            expected.replies.push(Reply::Unavailable);
            expected.closed = true;
        } else if witness.pregreet() == Fate::NotDue {
            expected.replies.push(reply);
            expected.closed = true;
        } else {
            self.tally.add("back from smtpd");
            witness.returned = true;
            witness.place = Place::Engine;
            expected.replies.push(Reply::Greeting);
        }
    }

    /// SIGTERM ends every session that is not in smtpd(8)'s hands.
    fn terminate(&mut self, input: &Input<'_>, now: Now, out: &[Output]) -> Result<(), String> {
        self.terminating = true;
        for group in out.split_inclusive(|output| matches!(output, Output::Close(_))) {
            let Some(Output::Close(id)) = group.last() else {
                return Err(format!("{input:?}: outputs for nobody: {group:?}"));
            };
            if self.proxies.remove(id).is_some() {
                let right =
                    matches!(group, [Output::Send(whom, Reply::Unavailable), _] if whom == id);
                ensure(right, || format!("a proxy gets one reply, not {group:?}"))?;
                continue;
            }
            let witness = self.sessions.remove(id).ok_or("ends a session that has ended")?;
            let seen = Seen::of(*id, witness.client, witness.server, group)?;
            let mut expected =
                Expected { replies: vec![Reply::Unavailable], closed: true, ..Expected::default() };
            match witness.place {
                place if place.is_screened() => self.end_here(&witness, &mut expected),
                Place::Pausing => self.tally.add("terminated in a pause"),
                _ => return Err("terminates what is in smtpd's hands".into()),
            }
            self.settle(*id, witness, seen, expected, now, true)?;
        }
        ensure(self.proxies.is_empty(), || "a proxy outlives a Terminate".into())?;
        let left = self.sessions.values().find(|witness| witness.place != Place::HandingOff);
        ensure(left.is_none(), || format!("{left:?} outlives a Terminate"))
    }

    /// The end of a session in our hands: conclusion and DISCONNECT.
    pub fn end_here(&mut self, witness: &Witness, expected: &mut Expected) {
        self.conclude(witness, expected);
        expected.words.push(Word::Disconnect);
        expected.closed = true;
    }

    /// PASS for who has passed all that was due, a record for who has passed something, and
    /// nothing for who has failed.
    fn conclude(&mut self, witness: &Witness, expected: &mut Expected) {
        let passed =
            |test: &Test| matches!(witness.fates[*test], Fate::Passed(_) | Fate::Excused(_));
        let Some(run) = self.runs.get_mut(&witness.client.ip()) else { return };
        if witness.refused
            || witness.fates == PerTest::default()
            || Test::ALL.into_iter().any(|test| witness.fates[test] == Fate::Failed)
            || !Test::ALL.iter().any(passed)
        {
            return;
        }
        if witness.due.iter().all(|test| passed(&test)) {
            if witness.was_new && !run.new_logged {
                run.new_logged = true;
                expected.words.push(Word::PassNew);
            } else {
                if witness.was_new {
                    self.tally.add("second pass new");
                }
                expected.words.push(Word::PassOld);
            }
        }
        let old = run.record.unwrap_or_default();
        let record = PerTest::from_fn(|test| match (witness.pass(test), old[test]) {
            (Some(passed), _) => passed,
            (None, stamp) if witness.recommended.is_some() => {
                stamp.max(witness.recommended.map(Expiry::Until).unwrap_or_default())
            }
            (None, Expiry::NeverPassed) if !self.policy.enabled.contains(test) => Expiry::Disabled,
            (None, stamp) => stamp,
        });
        run.record = Some(record);
        expected.store = Some(record);
    }

    /// Compares what was seen with what was expected, and remembers the session's new state.
    pub fn settle(
        &mut self,
        id: SessionId,
        mut witness: Witness,
        seen: Seen,
        mut expected: Expected,
        now: Now,
        moved: bool,
    ) -> Result<(), String> {
        if expected.closed {
            self.stops_waiting(id, &witness, &mut expected);
            self.leave(&witness, &mut expected);
        }
        let same = seen.words == expected.words
            && seen.replies == expected.replies
            && seen.store == expected.store
            && seen.handed_off == expected.hand_off
            && seen.asked == expected.asked
            && seen.forgotten == expected.forgotten
            && seen.starts_tls == expected.starts_tls
            && seen.abandons_tls == expected.abandons_tls
            && seen.tls_begins == expected.tls_begins
            && seen.closed == expected.closed;
        ensure(same, || format!("expected {expected:?}, saw {seen:?}, of {witness:?}"))?;
        for word in &seen.words {
            self.tally.add(word.name());
        }
        if let Some(store) = &seen.store {
            self.tally.add("stored");
            ensure(!witness.refused, || format!("{store:?} stored for {witness:?}"))?;
        }
        witness.watch = seen.watch.unwrap_or(witness.watch);
        if seen.handed_off {
            law_of_hand_off(&witness, now)?;
        }
        if seen.closed {
            return Ok(());
        }
        self.settle_deadline(&mut witness, &seen, now, moved, expected.grace)?;
        let watch = match (witness.place, witness.pregreet()) {
            (Place::Waiting, Fate::Pending) => Watch::Peek,
            (Place::Engine, _) => Watch::Read,
            _ => Watch::Nothing,
        };
        ensure(witness.watch == watch, || {
            format!("{watch:?} is the right way to look: {witness:?}")
        })?;
        self.sessions.insert(id, witness);
        Ok(())
    }

    /// A session that is open has exactly one deadline, and the right one.
    fn settle_deadline(
        &self,
        witness: &mut Witness,
        seen: &Seen,
        now: Now,
        moved: bool,
        grace: Option<Duration>,
    ) -> Result<(), String> {
        let limit = self.policy.command_time_limit;
        let right = match (seen.deadline.map(|deadline| deadline - now.mono), witness.place) {
            (None, _) => !moved && !seen.handed_off && !seen.starts_tls && grace.is_none(),
            (Some(span), Place::Waiting) => match grace {
                Some(grace) => span == grace,
                None => moved && span == witness.wait,
            },
            (Some(span), Place::Engine) => {
                span == if self.stress { limit.stress } else { limit.normal }
            }
            (Some(span), Place::Greeting | Place::Status) => span == TLS_ANSWER_LIMIT,
            (Some(span), Place::TlsPause) => moved && !span.is_zero() && span <= BUSY_LIMIT,
            (Some(span), Place::HandingOff) => seen.handed_off && span == HAND_OFF_LIMIT,
            (Some(span), Place::Pausing) => moved && !span.is_zero() && span <= BUSY_LIMIT,
        };
        ensure(right, || format!("not the right deadline: {seen:?}, {witness:?}"))?;
        witness.deadline = seen.deadline.or(witness.deadline);
        ensure(witness.deadline.is_some(), || format!("waits for ever: {witness:?}"))
    }

    fn leave(&mut self, witness: &Witness, expected: &mut Expected) {
        let address = witness.client.ip();
        if let Some(run) = self.runs.get_mut(&address) {
            run.sessions -= 1;
            if run.sessions == 0 {
                self.runs.remove(&address);
            }
        }
        if self.stress && self.open() <= self.policy.limits.pre_queue * 7 / 10 {
            self.stress = false;
            expected.words.push(Word::LeavingStress(self.open()));
        }
    }

    /// How many sessions there are of this address, and of those that agree with it in as many
    /// bits as make an IPv6 client.
    pub fn crowd(&self, address: IpAddr) -> usize {
        let same = |other: &IpAddr| match (address, *other) {
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                let equal = (one.to_bits() ^ other.to_bits()).leading_zeros();
                equal >= u32::from(self.policy.limits.prefix_ipv6)
            }
            (one, other) => one == other,
        };
        self.runs.iter().filter(|(other, _)| same(other)).map(|(_, run)| run.sessions).sum()
    }

    /// The limits hold for the sum of all sessions, however they came about.
    fn limits(&self) -> Result<(), String> {
        let limits = self.policy.limits;
        let most = self.runs.keys().map(|address| self.crowd(*address)).max().unwrap_or_default();
        ensure(limits.per_client.is_none_or(|limit| most <= limit), || {
            format!("{most} sessions of one client")
        })?;
        let screened = |witness: &&Witness| !witness.returned && witness.place.is_screened();
        let screened = self.sessions.values().filter(screened).count();
        ensure(limits.pre_queue == 0 || screened < limits.pre_queue, || {
            format!("{screened} clients are screened")
        })
    }
}

fn abandons_tls(output: &Output) -> bool {
    matches!(output, Output::AbandonTls(_))
}
