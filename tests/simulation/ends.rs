//! How a client's visit ends: in exactly one way, and in one that has a name.

use gatepost::screen::event::{HandOffResult, Input, Output};
use gatepost::screen::logline::{LogLine, ProxyLine};
use gatepost::screen::reply::Reply;
use gatepost::screen::session::SessionId;

use crate::world::World;

const HANDED_OFF: &str = "handed to smtpd";
const TOO_SLOW: &str = "smtpd has not taken it in time";
const HUNG_UP: &str = "hung up";
const UNIDENTIFIED: &str = "no address";
const BAD_HEADER: &str = "bad, late or no PROXY header";
const STRANGER: &str = "not a trusted proxy";
const NO_SMTPD: &str = "smtpd is not to be had";
const NOT_PASSED: &str = "cannot be passed to smtpd";
const BACK: &str = "back from smtpd, and told so";
const TERMINATED: &str = "sent away at the end of the process";
const PER_CLIENT: &str = "421, too many connections";
const POST_QUEUE: &str = "421, server ports busy";
const PRE_QUEUE: &str = "421, screening ports busy";
const DENYLISTED: &str = "denylisted";
const PREGREET: &str = "dropped for a pregreet";
const PROTOCOL: &str = "dropped for a deep test";
const BLOCKED: &str = "dropped for DNS blocklists";
const NO_SMTP: &str = "dropped for a non-SMTP command";
const QUIT: &str = "QUIT";
const TIME_LIMIT: &str = "time limit";
const COMMAND_LIMIT: &str = "too many commands, or too long a line";
const DATA: &str = "DATA or BDAT";

/// All of them.
pub const ALL: [&str; 22] = [
    HANDED_OFF,
    TOO_SLOW,
    HUNG_UP,
    UNIDENTIFIED,
    BAD_HEADER,
    STRANGER,
    NO_SMTPD,
    NOT_PASSED,
    BACK,
    TERMINATED,
    PER_CLIENT,
    POST_QUEUE,
    PRE_QUEUE,
    DENYLISTED,
    PREGREET,
    PROTOCOL,
    BLOCKED,
    NO_SMTP,
    QUIT,
    TIME_LIMIT,
    COMMAND_LIMIT,
    DATA,
];

/// What `out` says about the end of a session.
fn end(id: SessionId, input: &Input<'_>, out: &[Output]) -> Result<&'static str, String> {
    let last = out.iter().rev().find_map(|output| match output {
        Output::Send(whom, reply) | Output::SendText { session: whom, reply, .. } => {
            (*whom == id).then_some(*reply)
        }
        _ => None,
    });
    let header = |output: &Output| {
        matches!(output, Output::Log(LogLine::Proxy(line))
            if !matches!(line, ProxyLine::Stranger { .. }))
    };
    Ok(match (last, input) {
        (None, Input::Closed { .. }) => HUNG_UP,
        (None, Input::HandOff { result: HandOffResult::Done, .. }) => HANDED_OFF,
        (None, Input::Deadline { .. }) => TOO_SLOW,
        (Some(Reply::NoResources), Input::Unidentified { .. }) => UNIDENTIFIED,
        (Some(Reply::NoResources), Input::Received { .. }) => BACK,
        (Some(Reply::NoResources), Input::HandOff { .. }) => NOT_PASSED,
        (Some(Reply::NoResources), _) if out.iter().any(header) => BAD_HEADER,
        (Some(Reply::NoResources), Input::Connected { .. }) => STRANGER,
        (Some(Reply::Unavailable), _) => TERMINATED,
        (Some(Reply::TooManyConnections), _) => PER_CLIENT,
        (Some(Reply::ServerPortsBusy), Input::HandOff { .. }) => NO_SMTPD,
        (Some(Reply::ServerPortsBusy), _) => POST_QUEUE,
        (Some(Reply::ScreeningPortsBusy), _) => PRE_QUEUE,
        (Some(Reply::Denylisted), _) => DENYLISTED,
        (Some(Reply::ProtocolError), Input::Peeked { .. }) => PREGREET,
        (Some(Reply::ProtocolError), _) => PROTOCOL,
        (Some(Reply::Blocked(_)), _) => BLOCKED,
        (Some(Reply::NonSmtpCommand), _) => NO_SMTP,
        (Some(Reply::Bye), _) => QUIT,
        (Some(Reply::CommandTimeLimit), _) => TIME_LIMIT,
        (Some(Reply::CommandLimit), _) => COMMAND_LIMIT,
        (
            Some(
                Reply::NoRecipients
                | Reply::RcptFirst
                | Reply::DataSyntax
                | Reply::BdatSyntax
                | Reply::MailFirstForChunks
                | Reply::NotImplemented,
            ),
            _,
        ) => DATA,
        (last, _) => return Err(format!("{last:?} is no last word: {input:?}: {out:?}")),
    })
}

impl World {
    /// Counts the ends in one turn.
    pub fn ends(&mut self, input: &Input<'_>, out: &[Output]) -> Result<(), String> {
        for output in out {
            if let Output::Close(id) = output {
                self.laws.tally.add(end(*id, input, out)?);
            }
        }
        Ok(())
    }
}
