//! "Tests after SMTP handshake": a session in the built-in SMTP engine.

use super::conclude;
use super::event::{Output, Watch};
use super::logline::{LastCommand, LogLine};
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::{Phase, Session, SessionId};
use super::smtp::engine::{Engine, Reaction};
use super::verdict::Refusal;

/// The engine takes over a client that must not be handed off.
pub(super) fn begin(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, session: Session) {
    let last_word = match session.refusal {
        Some(Refusal::Denylisted) => Reply::Denylisted,
        Some(Refusal::Pregreet) => Reply::ProtocolError,
        Some(Refusal::Veto) | None => Reply::Unavailable,
    };
    begin_with(screener, turn, id, session, last_word);
}

/// The engine takes over, with this as its answer to the first command.
pub(super) fn begin_with(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
    last_word: Reply,
) {
    // A client that talked before its turn has had its chance of a greeting.
    if session.refusal != Some(Refusal::Pregreet) {
        turn.send(id, Reply::Greeting);
    }
    turn.out.push(Output::Watch(id, Watch::Read));
    let limit = screener.stressed(screener.policy.command_time_limit);
    turn.out.push(Output::SetDeadline(id, turn.now.mono + limit));
    session.phase = Phase::AfterHandshake(Box::new(Engine::new(last_word)));
    session.phase_began = turn.now.mono;
    screener.screening.insert(id, session);
}

/// The client sent something.
pub(super) fn received(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, data: &[u8]) {
    let limit = screener.policy.line_length_limit;
    let Some(session) = screener.screening.get_mut(id) else { return };
    let Phase::AfterHandshake(engine) = &mut session.phase else { return };
    let reply = match engine.receive(data, limit) {
        Reaction::Wait => return,
        Reaction::End(reply) => reply,
        Reaction::TooLong => {
            turn.log(LogLine::CommandLengthLimit(session.client, LastCommand::Connect));
            Reply::CommandLimit
        }
    };
    if let Some(session) = screener.screening.remove(id) {
        turn.send(id, reply);
        conclude::disconnect(screener, turn, id, session);
    }
}

/// A command took too long.
pub(super) fn time_is_up(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
) {
    turn.log(LogLine::CommandTimeLimit(session.client, LastCommand::Connect));
    turn.send(id, Reply::CommandTimeLimit);
    conclude::disconnect(screener, turn, id, session);
}
