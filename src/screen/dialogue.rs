//! "Tests after SMTP handshake": a session in the built-in SMTP engine.

use std::net::SocketAddr;

use super::conclude;
use super::event::{Filtered, Output, Watch};
use super::logline::LogLine;
use super::policy::{AddressFormat, Policy};
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::{Phase, Session, SessionId};
use super::smtp::address;
use super::smtp::command::{LastCommand, Verb};
use super::smtp::discard::Discarded;
use super::smtp::engine::{Engine, Envelope, Note, Then};
use super::smtp::forbidden::{Suspicion, suspicion};
use super::smtp::line::Piece;
use super::smtp::offence::{self, Offence};
use super::starttls;
use super::test_set::Test;
use super::verdict::{self, AfterOffence, Outcome, TlsOffer};

/// The engine takes over a client that must not be handed off, or has a deep test ahead.
pub(super) fn begin(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    session.outcomes = verdict::engine_tests(session.refusal, session.outcomes);
    enter(screener, turn, id, session, Engine::default());
}

/// The engine takes over, with this as its answer to the first command.
pub(super) fn begin_with(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
    last_word: Reply,
) {
    enter(screener, turn, id, session, Engine::with_last_word(last_word));
}

fn enter(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
    engine: Engine,
) {
    if verdict::deserves_greeting(&session.outcomes) {
        turn.send(&screener.policy, id, session.client, Reply::Greeting);
    }
    turn.out.push(Output::Watch(id, Watch::Read));
    set_deadline(screener, turn, id);
    session.phase = Phase::AfterHandshake(Box::new(engine));
    session.phase_began = turn.now.mono;
    screener.screening.insert(id, session);
}

/// The time limit is for a whole line: bytes that trickle in do not extend it.
fn set_deadline(screener: &Screener, turn: &mut Turn<'_>, id: SessionId) {
    let limit = screener.stressed(screener.policy.command_time_limit);
    turn.out.push(Output::SetDeadline(id, turn.now.mono + limit));
}

/// The client sent something.
pub(super) fn received(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, data: &[u8]) {
    let course = hear(screener, turn, id, data);
    follow(screener, turn, id, course);
}

/// A session returns to its dialogue, with input that has been read already. The time limit
/// for the next line begins anew.
pub(super) fn go_on(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
    data: &[u8],
) {
    screener.screening.insert(id, session);
    turn.out.push(Output::Watch(id, Watch::Read));
    let course = match hear(screener, turn, id, data) {
        Course::Waits => Course::GoesOn,
        course => course,
    };
    follow(screener, turn, id, course);
}

fn hear<'d>(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    data: &'d [u8],
) -> Course<'d> {
    let offer = starttls::offer(screener, turn);
    match screener.screening.get_mut(id) {
        Some(session) => converse(&screener.policy, offer, turn, id, session, data),
        None => Course::Waits,
    }
}

fn follow(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, course: Course<'_>) {
    match course {
        Course::Waits => {}
        Course::GoesOn => set_deadline(screener, turn, id),
        Course::StartsTls(unread) => starttls::begin(screener, turn, id, unread),
        Course::Ends(reply) => {
            if let Some(session) = screener.screening.remove(id) {
                turn.send(&screener.policy, id, session.client, reply);
                conclude::disconnect(screener, turn, id, session);
            }
        }
    }
}

/// What some input has come to.
enum Course<'d> {
    /// No line is complete.
    Waits,
    /// There was a line or several, and there may be more.
    GoesOn,
    /// The last line wants TLS. This was sent behind it.
    StartsTls(&'d [u8]),
    /// This is the last reply.
    Ends(Reply),
}

/// Answers all lines that are complete.
fn converse<'d>(
    policy: &Policy,
    offer: TlsOffer,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: &mut Session,
    mut input: &'d [u8],
) -> Course<'d> {
    let mut course = Course::Waits;
    loop {
        let Phase::AfterHandshake(engine) = &mut session.phase else { return course };
        match engine.read(&mut input, policy.line_length_limit) {
            Piece::Incomplete => return course,
            Piece::TooLong => {
                turn.log(LogLine::CommandLengthLimit(session.client, engine.last()));
                return Course::Ends(Reply::CommandLimit);
            }
            Piece::Line => course = Course::GoesOn,
        }
        if let Some(reply) = judge(policy, turn, session, &offence::OF_LINES, input) {
            return Course::Ends(reply);
        }
        filter(policy, turn, session);
        if let Some(reply) = judge(policy, turn, session, &offence::OF_COMMANDS, input) {
            return Course::Ends(reply);
        }
        let Phase::AfterHandshake(engine) = &mut session.phase else { return course };
        if engine.command().verb == Some(Verb::Rcpt) {
            let now = turn.now.wall;
            session.outcomes = verdict::after_recipient(policy, &session.outcomes, now);
        }
        let mut answer = engine.answer(&policy.engine, session.refusal, offer);
        if matches!(answer.reply, Reply::Ehlo(_)) {
            let keywords = keep_back(policy, turn, session.client);
            answer.reply = engine.discard(keywords, offer);
        }
        if let Some(note) = answer.note {
            turn.log(match note {
                Note::Recipient(envelope) => LogLine::RejectRcpt {
                    client: session.client,
                    reply: answer.reply.text(policy).into(),
                    envelope: for_the_log(envelope, policy.engine.address_format),
                },
                Note::Data => LogLine::NoValidRcpt(session.client, LastCommand::Known(Verb::Data)),
                Note::Bdat => LogLine::NoValidRcpt(session.client, LastCommand::Known(Verb::Bdat)),
                Note::TooManyCommands(last) => LogLine::CommandCountLimit(session.client, last),
            });
        }
        match answer.then {
            Then::NextLine => turn.send(policy, id, session.client, answer.reply),
            Then::Close => return Course::Ends(answer.reply),
            Then::StartTls => return Course::StartsTls(input),
        }
    }
}

/// Lets main.cf: `postscreen_command_filter` change the line that was read.
fn filter(policy: &Policy, turn: &mut Turn<'_>, session: &mut Session) {
    let Some(table) = &policy.engine.command_filter else { return };
    let Phase::AfterHandshake(engine) = &mut session.phase else { return };
    let Some(key) = engine.filter_key(policy.engine.smtputf8) else { return };
    let mut messages = Vec::new();
    let filtered = turn.lookups.command_filter(key, &mut messages);
    turn.log_messages(messages);
    let line = offence::quote(engine.line().text());
    match filtered {
        Filtered::Unchanged => {}
        Filtered::Replaced(by) => {
            let by_bytes = offence::quote(by.as_bytes());
            turn.log(LogLine::Replaced { client: session.client, line, by: by_bytes });
            engine.replace(by);
        }
        Filtered::Failed => turn.log(LogLine::FilterFailed { table: table.as_str().into(), line }),
    }
}

/// Puts the line that was read to some deep tests; `unread` has arrived behind it. Returns the
/// last reply if the session ends here.
fn judge(
    policy: &Policy,
    turn: &mut Turn<'_>,
    session: &mut Session,
    tests: &[Test],
    unread: &[u8],
) -> Option<Reply> {
    let Phase::AfterHandshake(engine) = &session.phase else { return None };
    for test in tests.iter().copied() {
        if !session.outcomes[test].may_fail() {
            continue;
        }
        let Some(offence) = find_offence(test, policy, turn, engine, unread) else { continue };
        turn.log(LogLine::Offence(session.client, offence));
        match verdict::after_offence(policy, test, turn.now.wall) {
            AfterOffence::Drop(reply) => {
                session.outcomes[test] = Outcome::Failed;
                return Some(reply);
            }
            AfterOffence::Enforce(refusal) => {
                session.outcomes[test] = Outcome::Failed;
                session.refusal = Some(refusal);
            }
            AfterOffence::Ignore(outcome) => session.outcomes[test] = outcome,
        }
    }
    None
}

fn find_offence(
    test: Test,
    policy: &Policy,
    turn: &mut Turn<'_>,
    engine: &Engine,
    unread: &[u8],
) -> Option<Offence> {
    match test {
        Test::BareNewline => offence::of_line(engine.line()),
        Test::NonSmtpCommand => {
            let command = engine.command();
            let is_non_smtp = match suspicion(&command, policy.engine.smtputf8) {
                Suspicion::None => false,
                Suspicion::Certain => true,
                Suspicion::Word(word) => is_forbidden(turn, word),
            };
            is_non_smtp.then(|| offence::of_word(&command, engine.last()))
        }
        Test::Pipelining => offence::of_haste(&engine.command(), unread),
        Test::Pregreet | Test::Dnsbl => None,
    }
}

fn is_forbidden(turn: &mut Turn<'_>, word: &[u8]) -> bool {
    let mut messages = Vec::new();
    let forbidden = turn.lookups.forbidden(word, &mut messages);
    turn.log_messages(messages);
    forbidden
}

/// The keywords to keep from a client that says EHLO.
fn keep_back(policy: &Policy, turn: &mut Turn<'_>, client: SocketAddr) -> Discarded {
    let usual = policy.engine.discarded;
    let mut messages = Vec::new();
    let words = turn.lookups.discarded_keywords(client.ip(), &mut messages);
    turn.log_messages(messages);
    let Some(words) = words else { return usual };
    let vocabulary = policy.engine.vocabulary;
    let keywords = Discarded::parse(&words, vocabulary);
    if verdict::discard_is_news(keywords, usual) {
        turn.log(LogLine::Discarding(client, keywords, vocabulary));
    }
    keywords
}

fn for_the_log(envelope: Envelope, format: AddressFormat) -> Envelope {
    match format {
        AddressFormat::Internal => envelope,
        AddressFormat::External => Envelope {
            sender: address::external(&envelope.sender).into(),
            recipient: address::external(&envelope.recipient).into(),
            ..envelope
        },
    }
}

/// A command took too long.
pub(super) fn time_is_up(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
) {
    if let Phase::AfterHandshake(engine) = &session.phase {
        turn.log(LogLine::CommandTimeLimit(session.client, engine.last()));
    }
    turn.send(&screener.policy, id, session.client, Reply::CommandTimeLimit);
    conclude::disconnect(screener, turn, id, session);
}
