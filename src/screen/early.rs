//! "Tests before SMTP handshake": the greet wait and the pregreet test.

use super::conclude;
use super::dialogue;
use super::event::{Output, Watch};
use super::logline::{LogLine, QUOTE_LIMIT};
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::{Phase, Session, SessionId};
use super::test_set::Test;
use super::verdict::{self, AfterPregreet, NextStep, Outcome, Refusal};

/// The wait begins, with the teaser if the client is tested for talking too early.
pub(super) fn begin(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    if session.due().contains(Test::Pregreet) {
        turn.send(id, Reply::Teaser);
        turn.out.push(Output::Watch(id, Watch::Peek));
    }
    let wait = screener.stressed(screener.policy.greet_wait);
    turn.out.push(Output::SetDeadline(id, turn.now.mono + wait));
    session.phase = Phase::BeforeHandshake;
    session.phase_began = turn.now.mono;
    screener.screening.insert(id, session);
}

/// The client talks before its turn. Its bytes stay in the socket.
pub(super) fn peeked(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, data: &[u8]) {
    let is_early = |session: &Session| {
        matches!(session.phase, Phase::BeforeHandshake)
            && session.outcomes.pregreet == Outcome::Pending
    };
    if !screener.screening.get(id).is_some_and(is_early) {
        return;
    }
    let Some(mut session) = screener.screening.remove(id) else { return };
    turn.log(LogLine::Pregreet {
        client: session.client,
        count: data.len(),
        after: screener.elapsed(turn.now, &session),
        data: data.get(..QUOTE_LIMIT).unwrap_or(data).into(),
    });
    match verdict::after_pregreet(&screener.policy) {
        AfterPregreet::Drop => {
            session.outcomes.pregreet = Outcome::Failed;
            turn.send(id, Reply::ProtocolError);
            conclude::disconnect(screener, turn, id, session);
            return;
        }
        AfterPregreet::Enforce => {
            session.outcomes.pregreet = Outcome::Failed;
            session.refusal = Some(Refusal::Pregreet);
        }
        AfterPregreet::Ignore => session.outcomes.pregreet = Outcome::Ignored,
    }
    turn.out.push(Output::Watch(id, Watch::Nothing));
    end(screener, turn, id, session);
}

/// The greet wait is over.
pub(super) fn wait_is_over(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    if session.outcomes.pregreet == Outcome::Pending {
        session.outcomes.pregreet = verdict::pass(turn.now.wall, screener.policy.ttl.pregreet);
        turn.out.push(Output::Watch(id, Watch::Nothing));
    }
    end(screener, turn, id, session);
}

/// All early tests are decided.
fn end(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, session: Session) {
    match verdict::next_step(session.refusal, &session.outcomes) {
        NextStep::Engine => dialogue::begin(screener, turn, id, session),
        NextStep::HandOff => conclude::conclude_and_hand_off(screener, turn, id, session),
    }
}
