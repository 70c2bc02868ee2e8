//! "Tests before SMTP handshake": the greet wait, the pregreet test, and DNS blocklists.

use super::blocklist;
use super::census::End;
use super::conclude;
use super::dialogue;
use super::dnsbl::score::Score;
use super::event::{Output, Watch};
use super::logline::{LogLine, Quote};
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::{GreetWait, Phase, Session, SessionId};
use super::test_set::Test;
use super::verdict::{self, AfterPregreet, AfterScore, NextStep, Outcome, Refusal};

/// The wait begins, with the teaser if the client is tested for talking too early.
pub(super) fn begin(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    if session.due().contains(Test::Pregreet) {
        turn.send(&screener.policy, id, session.client, Reply::Teaser);
        turn.out.push(Output::Watch(id, Watch::Peek));
    }
    let ends = turn.now.mono + screener.stressed(screener.policy.greet_wait);
    turn.out.push(Output::SetDeadline(id, ends));
    session.phase = Phase::BeforeHandshake(GreetWait::until(ends));
    session.phase_began = turn.now.mono;
    let (asks, address) = (session.due().contains(Test::Dnsbl), session.client.ip());
    screener.keep(id, session);
    if asks {
        blocklist::ask(screener, turn, id, address);
    }
}

/// The client talks before its turn. Its bytes stay in the socket.
pub(super) fn peeked(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, data: &[u8]) {
    let is_early = |session: &Session| {
        matches!(session.phase, Phase::BeforeHandshake(_))
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
        data: Quote::of(data),
    });
    match verdict::after_pregreet(&screener.policy) {
        AfterPregreet::Drop => {
            session.outcomes.pregreet = Outcome::Failed;
            turn.send(&screener.policy, id, session.client, Reply::ProtocolError);
            conclude::disconnect(screener, turn, id, session, End::TurnedAway);
            return;
        }
        AfterPregreet::Enforce => {
            session.outcomes.pregreet = Outcome::Failed;
            session.refusal = Some(Refusal::Pregreet);
        }
        AfterPregreet::Ignore => session.outcomes.pregreet = Outcome::Ignored,
    }
    turn.out.push(Output::Watch(id, Watch::Nothing));
    if waits_for_lists(&session) {
        let address = session.client.ip();
        screener.keep(id, session);
        blocklist::hurry(screener, turn, id, address);
    } else {
        end(screener, turn, id, session);
    }
}

fn waits_for_lists(session: &Session) -> bool {
    let no_score = matches!(session.phase, Phase::BeforeHandshake(GreetWait { score: None, .. }));
    no_score && session.outcomes.dnsbl == Outcome::Pending
}

/// All lists have answered. A polite client waits on, unless it need not be tested.
pub(super) fn scored(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, score: Score) {
    let Some(mut session) = screener.screening.remove(id) else { return };
    take(screener, turn, id, &mut session, score);
    if session.outcomes.pregreet == Outcome::Pending {
        screener.keep(id, session);
    } else {
        end(screener, turn, id, session);
    }
}

/// Keeps the score for the end of the wait, and ends the wait for a client that DNS lists
/// speak well of.
fn take(
    screener: &Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: &mut Session,
    score: Score,
) {
    if let Phase::BeforeHandshake(wait) = &mut session.phase {
        wait.score = Some(score);
    }
    let rules = &screener.policy.dnsbl;
    if verdict::is_recommended(rules, session.refusal, &session.outcomes, score.rank) {
        if session.outcomes.pregreet == Outcome::Pending {
            turn.out.push(Output::Watch(id, Watch::Nothing));
        }
        let until = turn.now.wall.plus(score.valid_for());
        session.outcomes = verdict::recommended(&session.outcomes, until);
        session.recommended = true;
    }
}

/// The wait is over, or so much of it that the rest makes no difference.
pub(super) fn deadline(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    let Phase::BeforeHandshake(wait) = session.phase else { return };
    if turn.now.mono >= wait.ends && session.outcomes.pregreet == Outcome::Pending {
        session.outcomes.pregreet = verdict::pass(turn.now.wall, screener.policy.ttl.pregreet);
        turn.out.push(Output::Watch(id, Watch::Nothing));
    }
    if waits_for_lists(&session)
        && let Some(score) = blocklist::score_so_far(screener, turn, id, session.client)
    {
        take(screener, turn, id, &mut session, score);
    }
    if session.outcomes.pregreet == Outcome::Pending {
        turn.out.push(Output::SetDeadline(id, wait.ends));
        screener.keep(id, session);
    } else {
        end(screener, turn, id, session);
    }
}

/// All early tests are decided.
fn end(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, mut session: Session) {
    if session.outcomes.dnsbl == Outcome::Pending
        && let Phase::BeforeHandshake(GreetWait { score: Some(score), .. }) = session.phase
    {
        let (policy, now) = (&screener.policy, turn.now.wall);
        let verdict = verdict::after_score(policy, session.client.ip(), score, now);
        if !matches!(verdict, AfterScore::Passed(_)) {
            turn.log(LogLine::DnsblRank(session.client, score.rank));
        }
        match verdict {
            AfterScore::Passed(outcome) => session.outcomes.dnsbl = outcome,
            AfterScore::Drop(blocked) => {
                session.outcomes.dnsbl = Outcome::Failed;
                turn.send(&screener.policy, id, session.client, Reply::Blocked(blocked));
                conclude::disconnect(screener, turn, id, session, End::TurnedAway);
                return;
            }
            AfterScore::Enforce(blocked) => {
                session.outcomes.dnsbl = Outcome::Failed;
                session.refusal = Some(Refusal::Blocked(blocked));
            }
            AfterScore::Ignore => session.outcomes.dnsbl = Outcome::Ignored,
        }
    }
    match verdict::next_step(session.refusal, &session.outcomes) {
        NextStep::Engine => dialogue::begin(screener, turn, id, session),
        NextStep::HandOff => conclude::conclude_and_hand_off(screener, turn, id, session),
    }
}
