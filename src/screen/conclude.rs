//! The end of the tests: PASS, the cache, and the way to smtpd(8) or out.

use std::time::Duration;

use super::census::End;
use super::dialogue;
use super::event::{HandOffResult, Output};
use super::logline::LogLine;
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::{HandingOff, Phase, Session, SessionId};
use super::verdict::{self, Outcome, Pass};

/// How long smtpd(8) may take to accept a client. Postfix's limit for the whole exchange.
pub const HAND_OFF_LIMIT: Duration = Duration::from_secs(100);

/// How long a full listen queue is tried again, and how often. postscreen(8) gives up at
/// once; a queue that is full for a moment is no reason to send a good client away.
pub const BUSY_LIMIT: Duration = Duration::from_secs(1);
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// strerror(3)'s text of EAGAIN, which is what postscreen(8) logs about a full listen queue.
pub(super) const BUSY_REASON: &str = "Resource temporarily unavailable";

/// Logs the verdict and remembers it.
fn conclude(screener: &mut Screener, turn: &mut Turn<'_>, session: &Session) {
    let address = session.client.ip();
    let Some(client) = screener.clients.get_mut(address) else { return };
    let record = client.record.unwrap_or_default();
    let record = match session.outcomes.dnsbl.pass() {
        Some(until) if session.recommended => verdict::raised(record, until),
        _ => record,
    };
    let end = verdict::conclude(
        session.refusal,
        &session.outcomes,
        &record,
        screener.policy.enabled,
        session.was_new,
        client.pass_new_logged,
    );
    match end.pass {
        Some(Pass::New) => {
            client.pass_new_logged = true;
            turn.log(LogLine::PassNew(session.client));
        }
        Some(Pass::Old) => turn.log(LogLine::PassOld(session.client)),
        None => {}
    }
    if let Some(record) = end.record {
        client.record = Some(record);
        turn.out.push(Output::Store(address, record));
    }
}

/// Ends a session here. A reply, if there is one, has been sent.
pub(super) fn disconnect(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
    end: End,
) {
    conclude(screener, turn, &session);
    turn.log(LogLine::Disconnect(session.client));
    screener.release(turn, id, &session, end);
}

/// Ends the tests of a client that has passed, or need not pass, and lets it in.
pub(super) fn conclude_and_hand_off(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
) {
    conclude(screener, turn, &session);
    hand_off(screener, turn, id, session);
}

/// Begins the hand-off to smtpd(8).
pub(super) fn hand_off(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    session.phase_began = turn.now.mono;
    attempt(screener, turn, id, session);
}

fn attempt(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, mut session: Session) {
    session.phase = Phase::HandingOff(HandingOff::Sent);
    if std::mem::take(&mut session.helps) {
        // The client's record has it all.
        screener.clients.remove_helper(session.client.ip(), id);
    }
    turn.out.push(Output::SetDeadline(id, turn.now.mono + HAND_OFF_LIMIT));
    let (client, server) = (session.client, session.server);
    turn.out.push(Output::HandOff { session: id, client, server });
    screener.handing_off.insert(id, session);
}

/// The hand-off has come to something. A result while none is under way, in the pause
/// before the next attempt, is of no account.
pub(super) fn hand_off_result(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    result: HandOffResult<'_>,
) {
    let under_way =
        |session: &Session| matches!(session.phase, Phase::HandingOff(HandingOff::Sent));
    if !screener.handing_off.get(id).is_some_and(under_way) {
        return;
    }
    let Some(session) = screener.handing_off.remove(id) else { return };
    let service = || screener.policy.smtpd_service.as_str().into();
    match result {
        HandOffResult::Done => screener.release(turn, id, &session, End::HandedOff),
        HandOffResult::Busy => busy(screener, turn, id, session),
        HandOffResult::NoService(reason) => {
            turn.log(LogLine::CannotConnect { service: service(), reason: reason.into() });
            send_away(screener, turn, id, session, Reply::ServerPortsBusy);
        }
        HandOffResult::NotSent(reason) => {
            turn.log(LogLine::CannotPass { service: service(), reason: reason.into() });
            send_away(screener, turn, id, session, Reply::NoResources);
        }
    }
}

fn busy(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, mut session: Session) {
    let waited = turn.now.mono.saturating_duration_since(session.phase_began);
    if waited < BUSY_LIMIT && !screener.terminating {
        session.phase = Phase::HandingOff(HandingOff::Busy);
        turn.out.push(Output::SetDeadline(id, turn.now.mono + BUSY_PAUSE));
        screener.handing_off.insert(id, session);
    } else {
        give_up(screener, turn, id, session);
    }
}

fn give_up(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, session: Session) {
    let service = screener.policy.smtpd_service.as_str().into();
    turn.log(LogLine::CannotConnect { service, reason: BUSY_REASON.into() });
    send_away(screener, turn, id, session, Reply::ServerPortsBusy);
}

/// smtpd(8) does not take the client.
///
/// A client that has seen a teaser gets the rest of the greeting first, as with
/// postscreen(8): a 421 after `220-` would not be a reply at all.
fn send_away(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
    reply: Reply,
) {
    if screener.terminating {
        turn.send_last(&screener.policy, id, session.client, Reply::Unavailable);
        screener.release(turn, id, &session, End::TurnedAway);
    } else if session.outcomes.pregreet == Outcome::NotDue {
        turn.send(&screener.policy, id, session.client, reply);
        screener.release(turn, id, &session, End::TurnedAway);
    } else {
        dialogue::begin_with(screener, turn, id, session, Reply::NoResources);
    }
}

/// Either the next attempt is due, or smtpd(8) has not taken the client in time.
pub(super) fn hand_off_deadline(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
) {
    if matches!(session.phase, Phase::HandingOff(HandingOff::Busy)) {
        return attempt(screener, turn, id, session);
    }
    let service = screener.policy.smtpd_service.as_str().into();
    turn.log(LogLine::HandOffTimeout { service });
    screener.release(turn, id, &session, End::TurnedAway);
}

/// Gives up the hand-offs that wait for their next attempt.
pub(super) fn abandon_retries(screener: &mut Screener, turn: &mut Turn<'_>) {
    let busy: Vec<SessionId> = screener
        .handing_off
        .iter()
        .filter(|(_, session)| matches!(session.phase, Phase::HandingOff(HandingOff::Busy)))
        .map(|(id, _)| id)
        .collect();
    for id in busy {
        if let Some(session) = screener.handing_off.remove(id) {
            turn.send_last(&screener.policy, id, session.client, Reply::Unavailable);
            screener.release(turn, id, &session, End::TurnedAway);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::screen::event::{Access, Input, Now};
    use crate::screen::test_set::UnixTime;
    use crate::screen::testing::{Says, policy};

    #[test]
    fn a_result_counts_once() {
        let mut screener = Screener::new(policy());
        let id = SessionId { slot: 0, generation: 1 };
        let now = Now { mono: Instant::now(), wall: UnixTime(1_800_000_000) };
        let mut out = Vec::new();
        let client = "192.0.2.1:4711".parse().unwrap();
        let server = "192.0.2.25:25".parse().unwrap();
        let result = |result| Input::HandOff { session: id, result };
        for input in [Input::Connected { session: id, client, server }, result(HandOffResult::Busy)]
        {
            screener.handle(input, now, &mut Says(Access::Permit), &mut out);
        }
        out.clear();
        for late in [HandOffResult::Busy, HandOffResult::Done, HandOffResult::NoService("")] {
            screener.handle(result(late), now, &mut Says(Access::Permit), &mut out);
        }
        assert_eq!(out, []);
        assert_eq!(screener.hand_offs(), 1);
    }
}
