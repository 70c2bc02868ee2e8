//! The screening core: which input goes to which step, and the tables that the steps share.
//!
//! The steps themselves are in the files named after them: `proxy`, `connect`, `early`,
//! `dialogue`, `starttls`, `conclude`.

use std::net::SocketAddr;
use std::time::Instant;

use super::blocklist;
use super::census::{Census, End};
use super::client::{Client, Clients};
use super::conclude;
use super::connect;
use super::dialogue;
use super::dnsbl::guard::Guard;
use super::dnsbl::guard::saved::Saved;
use super::dnsbl::trouble::Troubles;
use super::early;
use super::event::{Input, Lookup, Lookups, Now, Output};
use super::footer::{self, Recipient};
use super::holding::{self, Holding, LateReply, Patience};
use super::logline::{Elapsed, LogLine, Message, Stage};
use super::policy::{Policy, Stressed};
use super::proxy::{self, Lobby, Untold};
use super::ration::Ration;
use super::reply::Reply;
use super::session::{Phase, Session, SessionId};
use super::slots::ById;
use super::starttls;
use super::verdict::{self, TlsHealth};

/// All sessions of one process, and the policy they are judged by.
#[derive(Debug)]
pub struct Screener {
    pub(super) policy: Policy,
    pub(super) census: Census,
    pub(super) clients: Clients,
    /// Connections whose proxy has not said whom it speaks for. They are no sessions yet.
    pub(super) approaching: Lobby,
    /// Sessions of which the log may not have to tell.
    pub(super) untold: Untold,
    /// What is left to say about strangers where only trusted proxies should come from.
    pub(super) strangers: Option<Ration>,
    /// Sessions before and after the greeting.
    pub(super) screening: ById<Session>,
    /// Sessions that smtpd(8) has not taken yet.
    pub(super) handing_off: ById<Session>,
    pub(super) stress: bool,
    /// What clients are not told yet.
    pub(super) holding: Holding,
    /// How it went with tlsproxy(8) of late.
    pub(super) tls_health: TlsHealth,
    /// The process is about to end: nobody is kept waiting.
    pub(super) terminating: bool,
    /// The notice about old log words is given once per process.
    pub(super) old_words_noticed: bool,
    /// What is left to say about clients whose protocol is not served.
    pub(super) unserved: Option<Ration>,
    /// Look-ups that failed.
    pub(super) troubles: Troubles,
    /// Watches the DNS blocklists themselves.
    pub(super) guard: Guard,
    /// When the guard is to be called.
    pub(super) guard_due: Option<Instant>,
}

/// What one call of [`Screener::handle`] works with.
pub(super) struct Turn<'a> {
    pub now: Now,
    pub lookups: &'a mut dyn Lookups,
    pub out: &'a mut Vec<Output>,
    /// Replies whose footers are not known yet.
    pub late: Vec<LateReply>,
    /// Where in `out` begins what they can hold up.
    pub held_from: usize,
}

impl Turn<'_> {
    pub fn log(&mut self, line: LogLine) {
        self.out.push(Output::Log(line));
    }

    pub fn log_messages(&mut self, messages: Vec<Message>) {
        self.out.extend(messages.into_iter().map(|m| Output::Log(LogLine::Message(m))));
    }

    /// Sends a reply, with a footer if it gets one.
    pub fn send(&mut self, policy: &Policy, id: SessionId, client: SocketAddr, reply: Reply) {
        match self.footed(policy, id, client, reply) {
            Lookup::Known(output) => self.out.push(output),
            Lookup::Asked => {
                let place = self.out.len();
                self.late.push(LateReply { place, session: id, client, reply });
            }
        }
    }

    /// The same, at the end of the process: for a footer that is elsewhere there is no time.
    pub fn send_last(&mut self, policy: &Policy, id: SessionId, client: SocketAddr, reply: Reply) {
        self.lookups.stop_asking(id);
        self.send(policy, id, client, reply);
    }

    /// A reply, with its footer if it gets one.
    pub fn footed(
        &mut self,
        policy: &Policy,
        id: SessionId,
        client: SocketAddr,
        reply: Reply,
    ) -> Lookup<Output> {
        let (now, mut messages) = (self.now, Vec::new());
        let whom = Recipient { session: id, client };
        match footer::reply_with_footer(policy, now, self.lookups, whom, reply, &mut messages) {
            Lookup::Known(text) => {
                self.log_messages(messages);
                Lookup::Known(match text {
                    Some(text) => Output::SendText { session: id, reply, text },
                    None => Output::Send(id, reply),
                })
            }
            Lookup::Asked => Lookup::Asked,
        }
    }
}

impl Screener {
    /// A core without sessions, and without a guard of the DNS blocklists.
    pub fn new(policy: Policy) -> Screener {
        Screener {
            guard: Guard::none(),
            guard_due: None,
            clients: Clients::new(policy.limits.prefix_ipv6),
            unserved: None,
            policy,
            census: Census::default(),
            approaching: Lobby::default(),
            untold: Untold::default(),
            strangers: None,
            screening: ById::default(),
            handing_off: ById::default(),
            stress: false,
            holding: Holding::default(),
            tls_health: TlsHealth::default(),
            terminating: false,
            old_words_noticed: false,
            troubles: Troubles::default(),
        }
    }

    /// Lets the guard begin that main.cf and gatepost.cf ask for. `saved` is what earlier
    /// processes have stored of DNS blocklists ([`Output::StoreList`]).
    pub fn watch_lists(&mut self, saved: &[Saved], now: Now, out: &mut Vec<Output>) {
        let rules = &self.policy.dnsbl;
        let (lists, threshold) = (rules.lists.clone(), rules.threshold);
        self.guard = Guard::new(rules.guard, lists, threshold, saved, now);
        self.guard_due = self.guard.next_due();
        out.extend(self.guard_due.map(Output::SetGuardDeadline));
    }

    /// The policy that sessions are judged by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Gives DNS blocklists the names that `map` has for their domains.
    ///
    /// # Errors
    /// The first error of `map`; the names are as they were, or partly new.
    pub fn rename_lists<E>(
        &mut self,
        map: impl FnMut(&str) -> Result<Option<String>, E>,
    ) -> Result<(), E> {
        self.policy.dnsbl.lists.rename(map)?;
        self.guard.rename(&self.policy.dnsbl.lists);
        Ok(())
    }

    /// How many sessions are open, hand-offs in progress included.
    pub fn sessions(&self) -> usize {
        self.screening.len() + self.handing_off.len()
    }

    /// How many connections wait for a proxy's header; they are no sessions yet.
    pub fn approaching(&self) -> usize {
        self.approaching.len()
    }

    /// How many connections there were, and what has become of them.
    pub fn census(&self) -> Census {
        self.census
    }

    /// Gives back the room of sessions that are gone: a rush is over.
    pub fn shrink(&mut self) {
        self.screening.shrink();
        self.handing_off.shrink();
    }

    /// How many hand-offs are in progress.
    pub fn hand_offs(&self) -> usize {
        self.handing_off.len()
    }

    /// Takes one input and appends what has to be done about it to `out`.
    pub fn handle(
        &mut self,
        input: Input<'_>,
        now: Now,
        lookups: &mut dyn Lookups,
        out: &mut Vec<Output>,
    ) {
        let held_from = out.len();
        let mut turn = Turn { now, lookups, out, late: Vec::new(), held_from };
        self.take(input, &mut turn);
        let Turn { late, held_from: from, .. } = turn;
        if !late.is_empty() || !self.holding.is_empty() {
            self.holding.hold_back(late, from, out);
        }
        self.untold.sift(out, held_from);
    }

    fn take(&mut self, input: Input<'_>, turn: &mut Turn<'_>) {
        match input {
            Input::Connected { session, client, server } => {
                self.census.accepted += 1;
                proxy::connected(self, turn, session, client, server);
            }
            Input::Unidentified { session, call, reason } => {
                turn.log(LogLine::Unidentified { call, reason: reason.into() });
                // Without a footer: nobody knows whom it would be for.
                turn.out.push(Output::Send(session, Reply::NoResources));
                turn.out.push(Output::Close(session));
                self.census.accepted += 1;
                self.census.count(End::TurnedAway);
            }
            Input::Peeked { session, data } if self.approaching.has(session) => {
                proxy::peeked(self, turn, session, data);
            }
            Input::Peeked { session, data } => early::peeked(self, turn, session, data),
            Input::Received { session, data } => dialogue::received(self, turn, session, data),
            Input::Closed { session } => self.closed(turn, session),
            Input::Deadline { session } => self.deadline(turn, session),
            Input::HandOff { session, result } => {
                conclude::hand_off_result(self, turn, session, result);
            }
            Input::ListAnswer { question, answer } => {
                blocklist::answered(self, turn, question, answer);
            }
            Input::GuardDeadline => blocklist::guard_deadline(self, turn),
            Input::Tls { session, news } => starttls::news(self, turn, session, news),
            Input::Answered { session } => self.answered(turn, session),
            Input::Terminate => self.terminate(turn),
        }
    }

    /// The client hung up, or what we sent could not be written. Not a failure: what was
    /// passed so far is remembered.
    fn closed(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        let Some(session) = self.screening.remove(id) else {
            return proxy::closed(self, turn, id);
        };
        let stage = match session.phase {
            Phase::AtTheDoor(_) | Phase::BeforeHandshake(_) => Stage::BeforeHandshake,
            Phase::AfterHandshake(_)
            | Phase::Pausing(_)
            | Phase::StartingTls(_)
            | Phase::HandingOff(_) => Stage::AfterHandshake,
        };
        let after = self.elapsed(turn.now, &session);
        turn.log(LogLine::Hangup { client: session.client, after, stage });
        conclude::disconnect(self, turn, id, session, End::HungUp);
    }

    /// A session gets on with what it has looked up.
    fn answered(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        holding::go_on(self, turn, id, Patience::Waits);
        let Some(session) = self.screening.remove(id) else { return };
        match session.phase {
            Phase::AtTheDoor(door) => connect::go_on(self, turn, id, session, door),
            Phase::Pausing(_) => dialogue::resume(self, turn, id, session),
            Phase::BeforeHandshake(_)
            | Phase::AfterHandshake(_)
            | Phase::StartingTls(_)
            | Phase::HandingOff(_) => {
                self.keep(id, session);
            }
        }
    }

    fn deadline(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        if let Some(session) = self.handing_off.remove(id) {
            conclude::hand_off_deadline(self, turn, id, session);
        } else if let Some(session) = self.screening.remove(id) {
            match session.phase {
                Phase::AtTheDoor(door) => connect::time_is_up(self, turn, id, session, door),
                Phase::Pausing(_) => dialogue::pause_is_over(self, turn, id, session),
                Phase::BeforeHandshake(_) => early::deadline(self, turn, id, session),
                Phase::AfterHandshake(_) => dialogue::time_is_up(self, turn, id, session),
                Phase::StartingTls(_) => starttls::time_is_up(self, turn, id, session),
                Phase::HandingOff(_) => conclude::hand_off_deadline(self, turn, id, session),
            }
        } else {
            proxy::time_is_up(self, turn, id);
        }
    }

    /// Ends every session that smtpd(8) is not about to take, with a reply.
    fn terminate(&mut self, turn: &mut Turn<'_>) {
        self.terminating = true;
        for id in self.holding.sessions() {
            holding::go_on(self, turn, id, Patience::IsOver);
        }
        let waiting: Vec<SessionId> = self.screening.iter().map(|(id, _)| id).collect();
        for id in waiting {
            if let Some(session) = self.screening.remove(id) {
                turn.send_last(&self.policy, id, session.client, Reply::Unavailable);
                conclude::disconnect(self, turn, id, session, End::TurnedAway);
            }
        }
        conclude::abandon_retries(self, turn);
        proxy::terminate(self, turn);
    }

    pub(super) fn elapsed(&self, now: Now, session: &Session) -> Elapsed {
        Elapsed {
            span: now.mono.saturating_duration_since(session.phase_began),
            digits: self.policy.delay_resolution,
        }
    }

    /// The value of a setting that depends on stress mode, for a timer that starts now.
    pub(super) fn stressed<T>(&self, setting: Stressed<T>) -> T {
        if self.stress { setting.stress } else { setting.normal }
    }

    /// Keeps a session until its next input.
    pub(super) fn keep(&mut self, id: SessionId, mut session: Session) {
        session.update_standing(&mut self.clients, id);
        self.screening.insert(id, session);
    }

    /// Lets a session go: the counterpart of its beginning in `connect`.
    pub(super) fn release(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        session: &Session,
        end: End,
    ) {
        self.census.count(end);
        blocklist::leave(self, turn, id, session.client.ip());
        if session.helps {
            self.clients.remove_helper(session.client.ip(), id);
        }
        self.clients.leave(session.client.ip());
        let stress = verdict::stress_after_end(&self.policy.limits, self.stress, self.sessions());
        if self.stress && !stress {
            turn.log(LogLine::LeavingStress(self.sessions()));
        }
        self.stress = stress;
        turn.out.push(Output::Close(id));
    }

    fn helpers(&self, session: &Session) -> impl Iterator<Item = SessionId> {
        self.clients.get(session.client.ip()).into_iter().flat_map(Client::helpers)
    }

    /// Checks what must hold between two inputs; says what does not. For tests.
    pub fn check_invariants(&self) -> Result<(), String> {
        let all = || self.screening.iter().chain(self.handing_off.iter());
        let open = self.sessions() + self.approaching();
        let expected = self.census.accepted.checked_sub(self.census.ended());
        if u64::try_from(open).ok() != expected {
            return Err(format!("{open} connections are open: {:?}", self.census));
        }
        for (id, session) in self.screening.iter() {
            if matches!(session.phase, Phase::HandingOff(_)) {
                return Err(format!("{id:?} is being handed off, but counts as screened"));
            }
            let counts = self.helpers(session).any(|helper| helper == id);
            if verdict::helps_others(session.refusal, &session.outcomes) != counts {
                return Err(format!("{id:?} counts for others: {counts}; {session:?}"));
            }
            if self.handing_off.get(id).is_some() {
                return Err(format!("{id:?} is in both tables"));
            }
        }
        for id in self.approaching.ids() {
            if self.screening.get(id).is_some() || self.handing_off.get(id).is_some() {
                return Err(format!("{id:?} is here, and yet to come"));
            }
        }
        let (pre_queue, waiting) = (self.policy.limits.pre_queue, self.approaching.len());
        if pre_queue > 0 && waiting > pre_queue {
            return Err(format!("{waiting} connections wait for a header"));
        }
        for (id, session) in self.handing_off.iter() {
            if self.helpers(session).any(|helper| helper == id) {
                return Err(format!("{id:?} counts for others, and is handed off"));
            }
            if !matches!(session.phase, Phase::HandingOff(_)) {
                return Err(format!("{id:?} is not being handed off: {:?}", session.phase));
            }
            if session.refusal.is_some() {
                return Err(format!("{id:?} is handed off in spite of {:?}", session.refusal));
            }
        }
        let mut addresses = std::collections::HashMap::new();
        for (_, session) in all() {
            *addresses.entry(session.client.ip()).or_insert(0) += 1;
        }
        if addresses.len() != self.clients.len() {
            return Err(format!(
                "{} addresses have sessions, {} are in the table",
                addresses.len(),
                self.clients.len()
            ));
        }
        for (address, sessions) in addresses {
            if self.clients.sessions(address) != sessions {
                return Err(format!("{address} has {sessions} sessions, not as counted"));
            }
            for helper in self.clients.get(address).into_iter().flat_map(Client::helpers) {
                if self.screening.get(helper).is_none_or(|session| session.client.ip() != address) {
                    return Err(format!("{helper:?} counts for {address}, and is not there"));
                }
            }
            let crowd = self.clients.crowd(address);
            if crowd < sessions || crowd > self.sessions() {
                return Err(format!("{address} is in a crowd of {crowd}"));
            }
        }
        Ok(())
    }
}
