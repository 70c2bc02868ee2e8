//! proxymap(8): tables that other processes of Postfix have open.
//!
//! ```text
//! up to 3.10   request = lookup, table, flags, key                 ->  status, value
//! since 3.11   request = open, table, instance_flags               ->  status, flags
//!              request = lookup, table, instance_flags, flags, key ->  status, flags, value
//! ```
//!
//! Since 3.11 `flags` replaces what the server knows of the table, so it has to be what the
//! server said last; with other flags it may panic. Neither side says of which kind it is:
//! that goes by the version of Postfix.

use super::{Asked, Progress, Then, failed, found, quoted_key};
use crate::postfix::attr::{self, AttrError, AttrWriter, Scan};
use crate::postfix::table::RemoteAnswer;

/// What proxymap(8) understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// That of Postfix up to 3.10.
    UpTo310,
    /// That of Postfix since 3.11.
    Since311,
}

/// What proxymap calls its protocol.
const PROTOCOL: &[u8] = b"proxymap_protocol";

/// How long an answer may be, bytes. The longest value that a table of postscreen(8) can use is
/// far below.
const ANSWER_LIMIT: usize = 1 << 20;

/// How much of what the server calls itself a warning quotes, bytes.
const QUOTE_LIMIT: usize = 100;

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    generation: Generation,
    state: State,
    /// What the server has said last of its tables.
    flags: Vec<(String, u64)>,
}

#[derive(Debug)]
enum State {
    /// The server introduces itself; then this is asked, if there is a question already.
    Greeting(Option<Question>),
    Ready,
    /// The table is being opened.
    Opening(Question),
    /// The key is being looked up.
    LookingUp(Question),
}

#[derive(Clone, Debug)]
struct Question {
    table: String,
    /// How the table is to be opened.
    flags: u32,
    implied: bool,
    key: Box<[u8]>,
}

/// What an answer says besides its values.
enum Status {
    Ok,
    NoKey,
    Retry,
    Bad,
    Deny,
    Config,
    Other(u64),
}

impl Status {
    fn read(value: &[u8]) -> Result<Status, AttrError> {
        Ok(match attr::long(value)? {
            0 => Status::Ok,
            1 => Status::NoKey,
            2 => Status::Retry,
            3 => Status::Bad,
            4 => Status::Deny,
            5 => Status::Config,
            other => Status::Other(other),
        })
    }
}

impl Client {
    pub(super) fn new(generation: Generation) -> Client {
        Client { generation, state: State::Greeting(None), flags: Vec::new() }
    }

    pub(super) fn awaits_greeting(&self) -> bool {
        matches!(self.state, State::Greeting(_))
    }

    pub(super) fn ask(
        &mut self,
        table: &str,
        flags: u32,
        implied: bool,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Asked {
        // NUL is what separates attributes; no table of Postfix has such a key.
        if key.contains(&0) {
            return Asked::NotAtAll(None);
        }
        let question = Question { table: table.to_owned(), flags, implied, key: key.into() };
        match &mut self.state {
            State::Greeting(waiting) => *waiting = Some(question),
            State::Ready | State::Opening(_) | State::LookingUp(_) => self.say(question, out),
        }
        Asked::Sent
    }

    /// Says what has to be said next about a question.
    fn say(&mut self, question: Question, out: &mut Vec<u8>) {
        let known = self.flags.iter().find(|(table, _)| *table == question.table);
        match (self.generation, known) {
            (Generation::UpTo310, _) => {
                out.extend(request(&question, "lookup", None, None));
                self.state = State::LookingUp(question);
            }
            (Generation::Since311, None) => {
                out.extend(request(&question, "open", Some(question.flags), None));
                self.state = State::Opening(question);
            }
            (Generation::Since311, Some((_, flags))) => {
                out.extend(request(&question, "lookup", Some(question.flags), Some(*flags)));
                self.state = State::LookingUp(question);
            }
        }
    }

    pub(super) fn received(&mut self, unread: &mut Vec<u8>, out: &mut Vec<u8>) -> Progress {
        loop {
            match self.step(unread, out) {
                Ok(Step::Again) => {}
                Ok(Step::Waits) if unread.len() > ANSWER_LIMIT => {
                    return self.misunderstood("unexpected amount of data from private/proxymap");
                }
                Ok(Step::Waits) => return Progress::Waits,
                Ok(Step::Done(progress)) => return progress,
                Err(error) => return self.misunderstood(&error.text("private/proxymap")),
            }
        }
    }

    fn misunderstood(&self, text: &str) -> Progress {
        failed(text.to_owned(), Then::Misunderstood)
    }

    /// Takes one answer, if it is complete.
    fn step(&mut self, unread: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Step, AttrError> {
        match (&self.state, self.generation) {
            (State::Greeting(_), _) => {
                let Scan::Complete { values: [protocol], used } =
                    attr::scan_strict(unread, ["protocol"])?
                else {
                    return Ok(Step::Waits);
                };
                if protocol != PROTOCOL {
                    let name = protocol.get(..QUOTE_LIMIT).unwrap_or(protocol);
                    let name = String::from_utf8_lossy(name).into_owned();
                    return Err(AttrError::Unexpected { name, wanted: Some("proxymap_protocol") });
                }
                unread.drain(..used);
                if let State::Greeting(Some(question)) =
                    std::mem::replace(&mut self.state, State::Ready)
                {
                    self.say(question, out);
                }
                Ok(Step::Again)
            }
            // Nobody has asked: whatever comes belongs to nothing.
            (State::Ready, _) => Ok(Step::Waits),
            (State::Opening(_), _) => {
                let Scan::Complete { values: [status, flags], used } =
                    attr::scan_strict(unread, ["status", "flags"])?
                else {
                    return Ok(Step::Waits);
                };
                let (status, flags) = (Status::read(status)?, attr::long(flags)?);
                unread.drain(..used);
                self.opened(&status, flags, out)
            }
            (State::LookingUp(_), Generation::UpTo310) => {
                let Scan::Complete { values: [status, value], used } =
                    attr::scan_strict(unread, ["status", "value"])?
                else {
                    return Ok(Step::Waits);
                };
                let (status, value) = (Status::read(status)?, found(value));
                unread.drain(..used);
                Ok(self.answered(&status, None, value))
            }
            (State::LookingUp(_), Generation::Since311) => {
                let Scan::Complete { values: [status, flags, value], used } =
                    attr::scan_strict(unread, ["status", "flags", "value"])?
                else {
                    return Ok(Step::Waits);
                };
                let (status, flags) = (Status::read(status)?, attr::long(flags)?);
                let value = found(value);
                unread.drain(..used);
                Ok(self.answered(&status, Some(flags), value))
            }
        }
    }

    fn opened(
        &mut self,
        status: &Status,
        flags: u64,
        out: &mut Vec<u8>,
    ) -> Result<Step, AttrError> {
        let State::Opening(question) = std::mem::replace(&mut self.state, State::Ready) else {
            return Ok(Step::Waits);
        };
        if matches!(status, Status::Ok) {
            self.flags.push((question.table.clone(), flags));
            self.say(question, out);
            return Ok(Step::Again);
        }
        Ok(Step::Done(verdict(&question, status, RemoteAnswer::NotFound, "open")))
    }

    fn answered(&mut self, status: &Status, flags: Option<u64>, value: RemoteAnswer) -> Step {
        let State::LookingUp(question) = std::mem::replace(&mut self.state, State::Ready) else {
            return Step::Waits;
        };
        let entry = self.flags.iter_mut().find(|(table, _)| *table == question.table);
        if let (Some((_, known)), Some(flags)) = (entry, flags) {
            *known = flags;
        }
        Step::Done(verdict(&question, status, value, "lookup"))
    }
}

enum Step {
    /// There may be more to take.
    Again,
    Waits,
    Done(Progress),
}

/// What an answer to a question comes to.
fn verdict(question: &Question, status: &Status, value: RemoteAnswer, call: &str) -> Progress {
    let table = &question.table;
    let key = quoted_key(&question.key);
    let failure =
        |why: &str| format!("proxymap {call} failed for table \"{table}\" key \"{key}\": {why}");
    match status {
        Status::Ok => Progress::Answered(value),
        Status::NoKey => Progress::Answered(RemoteAnswer::NotFound),
        // proxymap(8) has logged why.
        Status::Retry | Status::Config => {
            Progress::Failed { warning: None, then: Then::NextQuestion }
        }
        Status::Bad => failed(failure("invalid request"), Then::Misunderstood),
        Status::Deny if question.implied => failed(
            format!(
                "proxymap service is not configured for table \"{table}\"; this type of table is \
                 only to be had there: list proxy:{table} in main.cf:proxy_read_maps"
            ),
            Then::NextQuestion,
        ),
        Status::Deny => failed(
            format!("proxymap service is not configured for table \"{table}\""),
            Then::NextQuestion,
        ),
        Status::Other(status) => {
            failed(failure(&format!("unexpected reply status {status}")), Then::NextQuestion)
        }
    }
}

/// The bytes of a request. Of what there is in it, only the key is not ours, and has no NUL.
fn request(
    question: &Question,
    call: &'static str,
    instance_flags: Option<u32>,
    flags: Option<u64>,
) -> Vec<u8> {
    let mut list = AttrWriter::new();
    let written = list
        .string("request", call)
        .and_then(|list| list.string("table", &question.table))
        .map(|list| {
            let own = instance_flags.or(Some(question.flags).filter(|_| flags.is_none()));
            match (instance_flags, flags) {
                (None, _) => list.long("flags", own.unwrap_or_default().into()),
                (Some(instance), None) => list.long("instance_flags", instance.into()),
                (Some(instance), Some(flags)) => {
                    list.long("instance_flags", instance.into()).long("flags", flags)
                }
            }
        })
        .and_then(
            |list| if call == "lookup" { list.string("key", &question.key) } else { Ok(list) },
        );
    debug_assert!(written.is_ok());
    list.end();
    list.into_bytes()
}
