//! From the STARTTLS command to its reply: tlsproxy(8) takes the client, or does not.
//!
//! tlsproxy(8) introduces itself, is asked, and answers; each of its two answers has a time
//! limit. It gets the client's socket only after that, so until then every failure leaves the
//! client with us, in the clear.

use std::time::{Duration, Instant};

use super::conclude::{BUSY_LIMIT, BUSY_PAUSE, BUSY_REASON};
use super::dialogue;
use super::event::{Output, TlsNews, TlsTrouble, Watch};
use super::logline::{LogLine, Message, TlsFailure};
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::{Phase, Session, SessionId};
use super::smtp::engine::Engine;
use super::verdict::{self, TlsNotice, TlsOffer};

/// How long tlsproxy(8) may take for each of its answers. Postfix's limit.
pub const TLS_ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A session that waits for tlsproxy(8).
#[derive(Debug)]
pub struct StartingTls {
    /// The dialogue, to be gone on with.
    engine: Box<Engine>,
    /// What the client sent behind STARTTLS, and was read before that was understood. It
    /// counts if the session stays in the clear, and must never get into a TLS session.
    unread: Box<[u8]>,
    step: Step,
    began: Instant,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The next attempt: the service's listen queue was full.
    Queue,
    /// An introduction.
    Greeting,
    /// An answer to the question.
    Status,
}

/// What STARTTLS is good for now.
pub(super) fn offer(screener: &Screener, turn: &Turn<'_>) -> TlsOffer {
    verdict::tls_offer(screener.policy.engine.tls_level, screener.tls_health, turn.now.mono)
}

/// The client wants TLS, and has sent `unread` behind that.
pub(super) fn begin(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, unread: &[u8]) {
    let Some(mut session) = screener.screening.remove(id) else { return };
    if let Phase::AfterHandshake(engine) = session.phase {
        turn.out.push(Output::Watch(id, Watch::Nothing));
        let began = turn.now.mono;
        let start = StartingTls { engine, unread: unread.into(), step: Step::Greeting, began };
        session.phase = Phase::StartingTls(Box::new(start));
        ask(turn, id, &session);
    }
    screener.keep(id, session);
}

/// Begins an attempt.
fn ask(turn: &mut Turn<'_>, id: SessionId, session: &Session) {
    turn.out.push(Output::SetDeadline(id, turn.now.mono + TLS_ANSWER_LIMIT));
    turn.out.push(Output::StartTls { session: id, client: session.client });
}

/// There are news from tlsproxy(8). What comes out of step is of no account.
pub(super) fn news(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, news: TlsNews<'_>) {
    let Some(session) = screener.screening.get_mut(id) else { return };
    let Phase::StartingTls(start) = &mut session.phase else { return };
    match (start.step, news) {
        (Step::Greeting, TlsNews::Busy) => {
            let waited = turn.now.mono.saturating_duration_since(start.began);
            if waited < BUSY_LIMIT {
                start.step = Step::Queue;
                turn.out.push(Output::SetDeadline(id, turn.now.mono + BUSY_PAUSE));
            } else {
                fail(screener, turn, id, TlsFailure::NoService(BUSY_REASON.into()));
            }
        }
        (Step::Greeting, TlsNews::Asked) => {
            start.step = Step::Status;
            turn.out.push(Output::SetDeadline(id, turn.now.mono + TLS_ANSWER_LIMIT));
        }
        (Step::Status, TlsNews::Taken) => taken(screener, turn, id),
        (Step::Greeting | Step::Status, TlsNews::Failed { trouble, detail }) => {
            turn.log_messages(detail.map(Message::warning).into_iter().collect());
            fail(screener, turn, id, owned(trouble));
        }
        (Step::Greeting, TlsNews::Taken)
        | (Step::Status, TlsNews::Busy | TlsNews::Asked)
        | (Step::Queue, _) => {}
    }
}

fn owned(trouble: TlsTrouble<'_>) -> TlsFailure {
    match trouble {
        TlsTrouble::NoService(reason) => TlsFailure::NoService(reason.into()),
        TlsTrouble::NoGreeting(reason) => TlsFailure::NoGreeting(reason.into()),
        TlsTrouble::NotAsked(reason) => TlsFailure::NotAsked(reason.into()),
        TlsTrouble::NoStatus => TlsFailure::NoStatus,
        TlsTrouble::NotTaken => TlsFailure::NotTaken,
    }
}

/// Either the next attempt is due, or tlsproxy(8) has not answered in time.
pub(super) fn time_is_up(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    let Phase::StartingTls(start) = &mut session.phase else { return };
    let failure = match start.step {
        Step::Queue => {
            start.step = Step::Greeting;
            None
        }
        Step::Greeting => Some(TlsFailure::LateGreeting),
        Step::Status => Some(TlsFailure::LateStatus),
    };
    if failure.is_none() {
        ask(turn, id, &session);
    }
    screener.keep(id, session);
    if let Some(failure) = failure {
        fail(screener, turn, id, failure);
    }
}

/// tlsproxy(8) has the client's socket: what was sent before is forgotten, and the client may
/// begin.
fn taken(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId) {
    let Some((session, _)) = leave(screener, id, Engine::enter_tls) else { return };
    turn.send(&screener.policy, id, session.client, Reply::ReadyForTls);
    turn.out.push(Output::TlsBegins(id));
    let level = screener.policy.engine.tls_level;
    let (health, notice) = verdict::after_tls_success(level, screener.tls_health);
    screener.tls_health = health;
    tell(screener, turn, notice);
    dialogue::go_on(screener, turn, id, session, &[]);
}

/// The session stays in the clear, with what the client has sent meanwhile.
fn fail(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, trouble: TlsFailure) {
    let Some((session, unread)) = leave(screener, id, |_| {}) else { return };
    let service = screener.policy.tlsproxy_service.as_str().into();
    turn.log(LogLine::TlsTrouble { service, trouble });
    turn.out.push(Output::AbandonTls(id));
    let level = screener.policy.engine.tls_level;
    let (health, notice) = verdict::after_tls_failure(level, screener.tls_health, turn.now.mono);
    screener.tls_health = health;
    tell(screener, turn, notice);
    turn.send(&screener.policy, id, session.client, Reply::TlsUnavailable);
    dialogue::go_on(screener, turn, id, session, &unread);
}

/// Takes a session out of the table and back to its dialogue, after a change to that. Says
/// what the client has sent meanwhile.
fn leave(
    screener: &mut Screener,
    id: SessionId,
    change: impl FnOnce(&mut Engine),
) -> Option<(Session, Box<[u8]>)> {
    if !matches!(screener.screening.get(id)?.phase, Phase::StartingTls(_)) {
        return None;
    }
    let session = screener.screening.remove(id)?;
    let Phase::StartingTls(start) = session.phase else { return None };
    let StartingTls { mut engine, unread, .. } = *start;
    change(&mut engine);
    Some((Session { phase: Phase::AfterHandshake(engine), ..session }, unread))
}

fn tell(screener: &Screener, turn: &mut Turn<'_>, notice: Option<TlsNotice>) {
    if let Some(notice) = notice {
        let service = screener.policy.tlsproxy_service.as_str().into();
        turn.log(LogLine::TlsNotice { service, notice });
    }
}

#[cfg(test)]
mod tests;
