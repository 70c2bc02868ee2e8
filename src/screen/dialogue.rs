//! "Tests after SMTP handshake": a session in the built-in SMTP engine.

use std::net::SocketAddr;

use super::census::End;
use super::conclude;
use super::connect::LOOKUP_LIMIT;
use super::event::{Filtered, Lookup, Output, Watch};
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

/// A dialogue that has come to a stop in the middle of a line.
#[derive(Debug)]
pub struct Pause {
    engine: Box<Engine>,
    /// What the client has sent behind that line, and was read with it.
    unread: Box<[u8]>,
    at: Point,
}

/// How far a line has got. Each point comes before a look-up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Point {
    /// It is complete: the command filter may change it.
    Line,
    /// What it will be treated as is known: deep tests look at it.
    Command,
    /// It is an EHLO that is answered, but for the keywords.
    Keywords,
}

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
    screener.keep(id, session);
}

/// The time limit is for a whole line: bytes that trickle in do not extend it.
fn set_deadline(screener: &Screener, turn: &mut Turn<'_>, id: SessionId) {
    let limit = screener.stressed(screener.policy.command_time_limit);
    turn.out.push(Output::SetDeadline(id, turn.now.mono + limit));
}

/// The client sent something.
pub(super) fn received(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, data: &[u8]) {
    let course = hear(screener, turn, id, data, None);
    follow(screener, turn, id, course);
}

/// What was looked up in the middle of a line is known.
pub(super) fn resume(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    mut session: Session,
) {
    let Phase::Pausing(pause) = session.phase else { return };
    let Pause { engine, unread, at } = *pause;
    session.phase = Phase::AfterHandshake(engine);
    screener.keep(id, session);
    turn.out.push(Output::Watch(id, Watch::Read));
    let course = hear(screener, turn, id, &unread, Some(at));
    follow(screener, turn, id, course);
}

/// What was looked up in the middle of a line has taken too long.
pub(super) fn pause_is_over(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: Session,
) {
    turn.lookups.stop_asking(id);
    resume(screener, turn, id, session);
}

/// The dialogue stops until what is looked up is known. Nothing more is read meanwhile.
fn pause(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, unread: &[u8], at: Point) {
    let Some(mut session) = screener.screening.remove(id) else { return };
    if let Phase::AfterHandshake(engine) = session.phase {
        turn.out.push(Output::Watch(id, Watch::Nothing));
        turn.out.push(Output::SetDeadline(id, turn.now.mono + LOOKUP_LIMIT));
        session.phase = Phase::Pausing(Box::new(Pause { engine, unread: unread.into(), at }));
    }
    screener.keep(id, session);
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
    screener.keep(id, session);
    turn.out.push(Output::Watch(id, Watch::Read));
    let course = match hear(screener, turn, id, data, None) {
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
    at: Option<Point>,
) -> Course<'d> {
    let offer = starttls::offer(screener, turn);
    let Some(session) = screener.screening.get_mut(id) else { return Course::Waits };
    let course = converse(&screener.policy, offer, turn, id, session, data, at);
    session.update_standing(&mut screener.clients, id);
    course
}

fn follow(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, course: Course<'_>) {
    match course {
        Course::Waits => {}
        Course::GoesOn => set_deadline(screener, turn, id),
        Course::Pauses(unread, at) => pause(screener, turn, id, unread, at),
        Course::StartsTls(unread) => starttls::begin(screener, turn, id, unread),
        Course::Ends(reply) => {
            if let Some(session) = screener.screening.remove(id) {
                turn.send(&screener.policy, id, session.client, reply);
                conclude::disconnect(screener, turn, id, session, End::TurnedAway);
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
    /// The last line has got this far. This was sent behind it.
    Pauses(&'d [u8], Point),
    /// The last line wants TLS. This was sent behind it.
    StartsTls(&'d [u8]),
    /// This is the last reply.
    Ends(Reply),
}

/// Answers all lines that are complete, beginning with one that has got to `at` already.
fn converse<'d>(
    policy: &Policy,
    offer: TlsOffer,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: &mut Session,
    mut input: &'d [u8],
    mut at: Option<Point>,
) -> Course<'d> {
    let mut course = Course::Waits;
    loop {
        if at.is_none() {
            let Phase::AfterHandshake(engine) = &mut session.phase else { return course };
            match engine.read(&mut input, policy.line_length_limit) {
                Piece::Incomplete => return course,
                Piece::TooLong => {
                    turn.log(LogLine::CommandLengthLimit(session.client, engine.last()));
                    return Course::Ends(Reply::CommandLimit);
                }
                Piece::Line => {}
            }
            match judge(policy, turn, id, session, &offence::OF_LINES, input) {
                Judgement::Ends(reply) => return Course::Ends(reply),
                Judgement::GoesOn | Judgement::Asked => {}
            }
        }
        let from = at.take().unwrap_or(Point::Line);
        match treat(policy, offer, turn, id, session, input, from) {
            Treated::Done => course = Course::GoesOn,
            Treated::Until(point) => return Course::Pauses(input, point),
            Treated::Ends(reply) => return Course::Ends(reply),
            Treated::StartsTls => return Course::StartsTls(input),
        }
    }
}

/// What has become of a line.
enum Treated {
    /// It is answered.
    Done,
    /// It has got to this point.
    Until(Point),
    /// This is the last reply.
    Ends(Reply),
    /// It wants TLS.
    StartsTls,
}

/// Answers the line that was read, of which all up to `from` is done. `unread` has arrived
/// behind it.
fn treat(
    policy: &Policy,
    offer: TlsOffer,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: &mut Session,
    unread: &[u8],
    from: Point,
) -> Treated {
    if from <= Point::Line && filter(policy, turn, id, session) == Lookup::Asked {
        return Treated::Until(Point::Line);
    }
    if from <= Point::Command {
        match judge(policy, turn, id, session, &offence::OF_COMMANDS, unread) {
            Judgement::GoesOn => {}
            Judgement::Ends(reply) => return Treated::Ends(reply),
            Judgement::Asked => return Treated::Until(Point::Command),
        }
        if let Some(treated) = answer(policy, offer, turn, id, session) {
            return treated;
        }
    }
    announce(policy, offer, turn, id, session)
}

/// Answers the line that was read. Nothing comes of an EHLO whose keywords are still to be
/// looked up.
fn answer(
    policy: &Policy,
    offer: TlsOffer,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: &mut Session,
) -> Option<Treated> {
    let Phase::AfterHandshake(engine) = &mut session.phase else { return Some(Treated::Done) };
    if engine.command().verb == Some(Verb::Rcpt) {
        session.outcomes = verdict::after_recipient(policy, &session.outcomes, turn.now.wall);
    }
    let answer = engine.answer(&policy.engine, session.refusal, offer);
    if matches!(answer.reply, Reply::Ehlo(_)) {
        return None;
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
    Some(match answer.then {
        Then::NextLine => {
            turn.send(policy, id, session.client, answer.reply);
            Treated::Done
        }
        Then::Close => Treated::Ends(answer.reply),
        Then::StartTls => Treated::StartsTls,
    })
}

/// Tells a client that says EHLO what there is.
fn announce(
    policy: &Policy,
    offer: TlsOffer,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: &mut Session,
) -> Treated {
    let Lookup::Known(keywords) = keep_back(policy, turn, id, session.client) else {
        return Treated::Until(Point::Keywords);
    };
    if let Phase::AfterHandshake(engine) = &mut session.phase {
        let reply = engine.discard(keywords, offer);
        turn.send(policy, id, session.client, reply);
    }
    Treated::Done
}

/// Lets main.cf: `postscreen_command_filter` change the line that was read.
fn filter(
    policy: &Policy,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: &mut Session,
) -> Lookup<()> {
    let Some(table) = &policy.engine.command_filter else { return Lookup::Known(()) };
    let Phase::AfterHandshake(engine) = &mut session.phase else { return Lookup::Known(()) };
    let Some(key) = engine.filter_key(policy.engine.smtputf8) else { return Lookup::Known(()) };
    let mut messages = Vec::new();
    let Lookup::Known(filtered) = turn.lookups.command_filter(id, key, &mut messages) else {
        return Lookup::Asked;
    };
    turn.log_messages(messages);
    let line = offence::quote(engine.line().text());
    match filtered {
        Filtered::Unchanged => {}
        Filtered::Replaced(by) => {
            let by_bytes = offence::quote(by.as_bytes());
            turn.log(LogLine::Replaced { client: session.client, line, by: by_bytes });
            engine.replace(by);
        }
        Filtered::Failed => {
            let (client, table) = (session.client, table.as_str().into());
            turn.log(LogLine::FilterFailed { client, table, line });
        }
    }
    Lookup::Known(())
}

/// What deep tests say to a line.
enum Judgement {
    /// The session goes on.
    GoesOn,
    /// This is the last reply.
    Ends(Reply),
    /// Nothing yet: a look-up goes before.
    Asked,
}

/// Puts the line that was read to some deep tests; `unread` has arrived behind it. Only the
/// first of them may have to look something up: when it has, all are made anew.
fn judge(
    policy: &Policy,
    turn: &mut Turn<'_>,
    id: SessionId,
    session: &mut Session,
    tests: &[Test],
    unread: &[u8],
) -> Judgement {
    let Phase::AfterHandshake(engine) = &session.phase else { return Judgement::GoesOn };
    for test in tests.iter().copied() {
        if !session.outcomes[test].may_fail() {
            continue;
        }
        let offence = match find_offence(test, policy, turn, id, engine, unread) {
            Lookup::Known(Some(offence)) => offence,
            Lookup::Known(None) => continue,
            Lookup::Asked => return Judgement::Asked,
        };
        turn.log(LogLine::Offence(session.client, offence));
        match verdict::after_offence(policy, test, turn.now.wall) {
            AfterOffence::Drop(reply) => {
                session.outcomes[test] = Outcome::Failed;
                return Judgement::Ends(reply);
            }
            AfterOffence::Enforce(refusal) => {
                session.outcomes[test] = Outcome::Failed;
                session.refusal = Some(refusal);
            }
            AfterOffence::Ignore(outcome) => session.outcomes[test] = outcome,
        }
    }
    Judgement::GoesOn
}

fn find_offence(
    test: Test,
    policy: &Policy,
    turn: &mut Turn<'_>,
    id: SessionId,
    engine: &Engine,
    unread: &[u8],
) -> Lookup<Option<Offence>> {
    Lookup::Known(match test {
        Test::BareNewline => offence::of_line(engine.line()),
        Test::NonSmtpCommand => {
            let command = engine.command();
            let is_non_smtp = match suspicion(&command, policy.engine.smtputf8) {
                Suspicion::None => false,
                Suspicion::Certain => true,
                Suspicion::Word(word) => match is_forbidden(turn, id, word) {
                    Lookup::Known(forbidden) => forbidden,
                    Lookup::Asked => return Lookup::Asked,
                },
            };
            is_non_smtp.then(|| offence::of_word(&command, engine.last()))
        }
        Test::Pipelining => offence::of_haste(&engine.command(), unread),
        Test::Pregreet | Test::Dnsbl => None,
    })
}

fn is_forbidden(turn: &mut Turn<'_>, id: SessionId, word: &[u8]) -> Lookup<bool> {
    let mut messages = Vec::new();
    let forbidden = turn.lookups.forbidden(id, word, &mut messages);
    if forbidden != Lookup::Asked {
        turn.log_messages(messages);
    }
    forbidden
}

/// The keywords to keep from a client that says EHLO.
fn keep_back(
    policy: &Policy,
    turn: &mut Turn<'_>,
    id: SessionId,
    client: SocketAddr,
) -> Lookup<Discarded> {
    let usual = policy.engine.discarded;
    let mut messages = Vec::new();
    let Lookup::Known(words) = turn.lookups.discarded_keywords(id, client.ip(), &mut messages)
    else {
        return Lookup::Asked;
    };
    turn.log_messages(messages);
    let Some(words) = words else { return Lookup::Known(usual) };
    let vocabulary = policy.engine.vocabulary;
    let keywords = Discarded::parse(&words, vocabulary);
    if verdict::discard_is_news(keywords, usual) {
        turn.log(LogLine::Discarding(client, keywords, vocabulary));
    }
    Lookup::Known(keywords)
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
    conclude::disconnect(screener, turn, id, session, End::TurnedAway);
}
