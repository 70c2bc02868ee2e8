//! What tlsproxy(8) says before it takes a client, put together from pieces.

use crate::postfix::attr::{self, AttrError, Scan};

/// How much tlsproxy may say before it takes a client, bytes. Its answers have some 30.
const ANSWER_LIMIT: usize = 4096;

/// What tlsproxy calls its protocol.
const PROTOCOL: &[u8] = b"tlsproxy_protocol";

/// One attempt, fed with the bytes that come in.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The greeting has come, and the status is next.
    greeted: bool,
    unread: Vec<u8>,
}

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Wait for more bytes.
    Wait,
    /// Send the request.
    Ask,
    /// Send the client's descriptor. There is nothing more to be read.
    Pass,
}

/// Why nothing comes of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The connection was closed before the greeting: there is nobody to be asked.
    Gone,
    /// The greeting is not what it should be.
    Greeting(Flaw),
    /// The status is not what it should be, or does not come.
    Status(Option<Flaw>),
}

/// What is wrong with an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It is not the attribute list that is wanted.
    List(AttrError),
    /// It is the greeting of some other service; what that calls its protocol.
    Protocol(String),
    /// There is more of it than makes sense.
    TooMuch,
}

impl Flaw {
    /// The text of the warning; `stream` names the connection (`private/tlsproxy`).
    pub fn text(&self, stream: &str) -> String {
        match self {
            Flaw::List(error) => error.text(stream),
            Flaw::Protocol(name) => {
                let expected = String::from_utf8_lossy(PROTOCOL);
                format!("unexpected protocol {name} from {stream} (expected: {expected})")
            }
            Flaw::TooMuch => format!("unexpected amount of data from {stream}"),
        }
    }
}

impl From<AttrError> for Flaw {
    fn from(error: AttrError) -> Flaw {
        Flaw::List(error)
    }
}

impl Exchange {
    /// An attempt that waits for the greeting.
    pub fn new() -> Exchange {
        Exchange::default()
    }

    /// Takes some bytes, at least one.
    ///
    /// # Errors
    /// When they are not what they should be; the connection is of no use then.
    pub fn received(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        self.unread.extend_from_slice(bytes);
        let (name, next) =
            if self.greeted { ("status", Step::Pass) } else { ("protocol", Step::Ask) };
        let answer = answer(&self.unread, name);
        let checked = answer.and_then(|answer| match answer {
            None => Ok(None),
            Some(value) if self.greeted => is_ready(value).map(Some),
            Some(value) => is_tlsproxy(value).map(|()| Some(true)),
        });
        match checked {
            Err(flaw) if self.greeted => Err(Failure::Status(Some(flaw))),
            Err(flaw) => Err(Failure::Greeting(flaw)),
            Ok(None) => Ok(Step::Wait),
            Ok(Some(false)) => Err(Failure::Status(None)),
            Ok(Some(true)) => {
                self.greeted = true;
                self.unread.clear();
                Ok(next)
            }
        }
    }

    /// tlsproxy has closed the connection.
    pub fn closed(&self) -> Failure {
        match (self.greeted, attr::end_of_input(&self.unread)) {
            (false, None) => Failure::Gone,
            (false, Some(error)) => Failure::Greeting(error.into()),
            (true, error) => Failure::Status(error.map(Flaw::from)),
        }
    }

    /// Whether the greeting has come.
    pub fn was_greeted(&self) -> bool {
        self.greeted
    }
}

/// The value of an attribute list that has this attribute first, when the list is complete.
/// Attributes that follow it do not matter; bytes behind the list do, because nobody has
/// asked for them.
fn answer<'a>(unread: &'a [u8], name: &'static str) -> Result<Option<&'a [u8]>, Flaw> {
    let complete = match attr::scan_strict(unread, [name]) {
        Ok(Scan::Complete { values: [value], used }) => Some((value, used)),
        Ok(Scan::NeedMore) => None,
        Err(AttrError::Unexpected { wanted: None, .. }) => {
            match attr::scan_lenient(unread, [name]) {
                Scan::Complete { values: [Some(value)], used } => Some((value, used)),
                Scan::Complete { values: [None], .. } => {
                    return Err(AttrError::Missing(name).into());
                }
                Scan::NeedMore => None,
            }
        }
        Err(error) => return Err(error.into()),
    };
    match complete {
        Some((value, used)) if used == unread.len() => Ok(Some(value)),
        None if unread.len() < ANSWER_LIMIT => Ok(None),
        _ => Err(Flaw::TooMuch),
    }
}

fn is_tlsproxy(protocol: &[u8]) -> Result<(), Flaw> {
    if protocol == PROTOCOL {
        Ok(())
    } else {
        let name = protocol.get(..100).unwrap_or(protocol);
        Err(Flaw::Protocol(String::from_utf8_lossy(name).into_owned()))
    }
}

fn is_ready(status: &[u8]) -> Result<bool, Flaw> {
    Ok(attr::long(status)? != 0)
}
