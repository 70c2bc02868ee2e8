//! The first step: limits, access list, cache, and which tests are due.

use std::net::SocketAddr;
use std::time::Duration;

use super::census::End;
use super::client::Client;
use super::conclude;
use super::dialogue;
use super::early;
use super::event::{Access, Cached, Lookup, Output};
use super::logline::{LogLine, Message};
use super::policy::Wording;
use super::ration::Ration;
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::{Door, GreetWait, Phase, Session, SessionId};
use super::test_set::CacheRecord;
use super::verdict::{self, Admission, NextStep, Outcomes, Refusal, Welcome};

/// A session begins.
pub(super) fn connected(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    client: SocketAddr,
    server: SocketAddr,
) {
    turn.log(LogLine::Connect { client, server });
    screener.clients.enter(client.ip());
    let session = Session {
        client,
        server,
        outcomes: Outcomes::default(),
        refusal: None,
        was_new: false,
        recommended: false,
        phase: Phase::BeforeHandshake(GreetWait::until(turn.now.mono)),
        phase_began: turn.now.mono,
        helps: false,
    };

    let sessions = screener.sessions() + 1;
    let stress = verdict::stress_after_begin(&screener.policy.limits, screener.stress, sessions);
    if stress && !screener.stress {
        turn.log(LogLine::EnteringStress(sessions));
    }
    screener.stress = stress;

    if !verdict::is_served(screener.policy.protocols, client.ip(), server.ip()) {
        warn_unserved(screener, turn, client);
        turn.log(LogLine::ServerPortsBusy(client));
        return turn_away(screener, turn, id, session, Reply::ServerPortsBusy);
    }
    let (limits, of_client) = (&screener.policy.limits, screener.clients.crowd(client.ip()));
    match verdict::admission(limits, of_client, screener.handing_off.len()) {
        Admission::Admitted => {}
        Admission::TooManyConnections => {
            turn.log(LogLine::TooManyConnections(client));
            return turn_away(screener, turn, id, session, Reply::TooManyConnections);
        }
        Admission::ServerPortsBusy => {
            turn.log(LogLine::ServerPortsBusy(client));
            return turn_away(screener, turn, id, session, Reply::ServerPortsBusy);
        }
    }

    consult_access_list(screener, turn, id, session);
}

/// How long tables elsewhere have for what they are asked in one go. Whoever asks them sees to
/// that; this is for the case that he forgets.
pub(super) const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

/// The session waits until it is known who this is.
fn wait(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, session: Session, door: Door) {
    turn.out.push(Output::SetDeadline(id, turn.now.mono + LOOKUP_LIMIT));
    let phase = Phase::AtTheDoor(door);
    screener.keep(id, Session { phase, ..session });
}

/// A table elsewhere has answered, or will not answer any more.
pub(super) fn go_on(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
    door: Door,
) {
    match door {
        Door::AccessList => consult_access_list(screener, turn, id, session),
        Door::Interfaces => check_interface(screener, turn, id, session),
    }
}

/// A table elsewhere has taken too long.
pub(super) fn time_is_up(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
    door: Door,
) {
    turn.lookups.stop_asking(id);
    go_on(screener, turn, id, session, door);
}

fn consult_access_list(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    let client = session.client;
    let Lookup::Known(access) = ask_access_list(screener, turn, id, client) else {
        return wait(screener, turn, id, session, Door::AccessList);
    };
    match verdict::welcome(access, screener.policy.denylist_action) {
        Welcome::LetIn => return conclude::hand_off(screener, turn, id, session),
        Welcome::TurnAway => {
            return turn_away(screener, turn, id, session, Reply::Denylisted);
        }
        Welcome::TestAndRefuse => session.refusal = Some(Refusal::Denylisted),
        Welcome::Test => {}
    }

    if select_tests(screener, turn, &mut session) == Standing::Known {
        turn.log(LogLine::PassOld(client));
        return conclude::hand_off(screener, turn, id, session);
    }
    check_interface(screener, turn, id, session);
}

fn check_interface(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    let (client, server) = (session.client, session.server);
    let mut messages = Vec::new();
    let open = match turn.lookups.interface_allowed(id, server.ip(), &mut messages) {
        Lookup::Known(open) => open,
        Lookup::Asked => return wait(screener, turn, id, session, Door::Interfaces),
    };
    turn.log_messages(messages);
    if !open {
        turn.log(LogLine::AllowlistVeto(client, screener.policy.wording));
        notice_old_words(screener, turn, client);
        session.refusal = Some(verdict::vetoed(session.refusal));
    }

    if !verdict::may_screen(&screener.policy.limits, screener.screening.len() + 1) {
        turn.log(LogLine::ScreeningPortsBusy(client));
        return turn_away(screener, turn, id, session, Reply::ScreeningPortsBusy);
    }

    if session.due().any_early() {
        early::begin(screener, turn, id, session);
        return;
    }
    match verdict::next_step(session.refusal, &session.outcomes) {
        NextStep::Engine => dialogue::begin(screener, turn, id, session),
        NextStep::HandOff => conclude::conclude_and_hand_off(screener, turn, id, session),
    }
}

/// Refuses a connection with one reply.
fn turn_away(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
    reply: Reply,
) {
    turn.send(&screener.policy, id, session.client, reply);
    turn.log(LogLine::Disconnect(session.client));
    screener.release(turn, id, &session, End::TurnedAway);
}

fn ask_access_list(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    client: SocketAddr,
) -> Lookup<Access> {
    let mut messages: Vec<Message> = Vec::new();
    let Lookup::Known(access) = turn.lookups.access(id, client.ip(), &mut messages) else {
        return Lookup::Asked;
    };
    turn.log_messages(messages);
    let line = match access {
        Access::Permit => LogLine::Allowlisted(client, screener.policy.wording),
        Access::Reject => LogLine::Denylisted(client, screener.policy.wording),
        Access::Undecided => return Lookup::Known(access),
    };
    turn.log(line);
    notice_old_words(screener, turn, client);
    Lookup::Known(access)
}

/// Says, but not for every client, that this one comes by a protocol that is switched off.
fn warn_unserved(screener: &mut Screener, turn: &mut Turn<'_>, client: SocketAddr) {
    let now = turn.now.mono;
    let ration = screener.unserved.get_or_insert_with(|| Ration::new(now));
    // How many it was not said of shows in the lines that they have anyway.
    if ration.take(now).is_some() {
        turn.log(LogLine::NotServed(client));
    }
}

/// Says once that the old words are there only because of `compatibility_level`.
fn notice_old_words(screener: &mut Screener, turn: &mut Turn<'_>, client: SocketAddr) {
    let by_default =
        matches!(screener.policy.wording, Wording::Old { by_compatibility_level: true });
    if by_default && !screener.old_words_noticed {
        screener.old_words_noticed = true;
        turn.log(LogLine::OldWordsByDefault(client));
    }
}

/// What the cache says about a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Everything is still valid: PASS OLD.
    Known,
    /// There is something to test, or nothing to say.
    Other,
}

/// Finds out which tests are due.
///
/// The only session of an address asks the cache; a parallel one uses what the first has
/// found, and what the others have passed since; one that is refused anyway is tested from
/// scratch.
fn select_tests(screener: &mut Screener, turn: &mut Turn<'_>, session: &mut Session) -> Standing {
    let mut standing = Standing::Other;
    let record = if session.refusal.is_some() {
        CacheRecord::default()
    } else {
        let address = session.client.ip();
        let shared = screener.clients.get_mut(address).and_then(|client| client.record);
        let record = match shared {
            Some(record) if screener.clients.sessions(address) > 1 => record,
            _ => match turn.lookups.cached(address) {
                Cached::Found(record) => {
                    standing = Standing::Known;
                    record
                }
                Cached::NotFound => CacheRecord::default(),
                Cached::Failed(reason) => {
                    turn.log(LogLine::Message(Message::warning(reason)));
                    CacheRecord::default()
                }
            },
        };
        let client = screener.clients.get_mut(address).map(|client| {
            client.record = Some(record);
            &*client
        });
        let helpers = client.into_iter().flat_map(Client::helpers);
        let helpers = helpers.filter_map(|id| screener.screening.get(id));
        helpers.fold(record, |record, other| verdict::with_passes(&other.outcomes, record))
    };
    session.outcomes = verdict::select_tests(screener.policy.enabled, &record, turn.now.wall);
    session.was_new = verdict::is_new(&record);
    if session.due().is_empty() { standing } else { Standing::Other }
}

#[cfg(test)]
mod tests;
