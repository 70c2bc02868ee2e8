//! What the core did about one session in one turn, sorted.

use std::net::SocketAddr;
use std::time::Instant;

use gatepost::screen::dnsbl::answer::Question;
use gatepost::screen::event::{Output, Watch};
use gatepost::screen::logline::{ListLine, LogLine};
use gatepost::screen::reply::Reply;
use gatepost::screen::session::SessionId;
use gatepost::screen::smtp::offence::Offence;
use gatepost::screen::test_set::{CacheRecord, Test};
use gatepost::screen::verdict::TlsNotice;

/// A log line without its details.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    Connect,
    EnteringStress(usize),
    LeavingStress(usize),
    TooManyConnections,
    NotServed,
    ServerPortsBusy,
    ScreeningPortsBusy,
    Allowlisted,
    Denylisted,
    Veto,
    PassNew,
    PassOld,
    Pregreet,
    /// How a score came about.
    Score(i32),
    DnsblRank(i32),
    Hangup,
    TimeLimit,
    LengthLimit,
    CountLimit,
    /// A deep test has failed.
    Offence(Test),
    Discarding,
    /// The command filter has replaced a line.
    Replaced,
    FilterFailed,
    RejectRcpt,
    NoValidRcpt,
    CannotConnect,
    CannotPass,
    HandOffTimeout,
    TlsTrouble,
    TlsNotice(TlsNotice),
    Disconnect,
}

impl Word {
    /// The name under which it is counted.
    pub fn name(self) -> &'static str {
        match self {
            Word::Connect => "connect",
            Word::EnteringStress(_) => "entering stress",
            Word::LeavingStress(_) => "leaving stress",
            Word::TooManyConnections => "too many connections",
            Word::NotServed => "not served",
            Word::ServerPortsBusy => "server ports busy",
            Word::ScreeningPortsBusy => "screening ports busy",
            Word::Allowlisted => "allowlisted",
            Word::Denylisted => "denylisted",
            Word::Veto => "veto",
            Word::PassNew => "pass new",
            Word::PassOld => "pass old",
            Word::Pregreet => "pregreet",
            Word::Score(_) => "score",
            Word::DnsblRank(_) => "dnsbl rank",
            Word::Hangup => "hangup",
            Word::TimeLimit => "time limit",
            Word::LengthLimit => "length limit",
            Word::CountLimit => "count limit",
            Word::Offence(Test::Pipelining) => "pipelining",
            Word::Offence(Test::NonSmtpCommand) => "non-SMTP command",
            Word::Offence(_) => "bare newline",
            Word::Discarding => "discarding",
            Word::Replaced => "replaced",
            Word::FilterFailed => "filter failed",
            Word::RejectRcpt => "reject RCPT",
            Word::NoValidRcpt => "no valid RCPT",
            Word::CannotConnect => "cannot connect",
            Word::CannotPass => "cannot pass",
            Word::HandOffTimeout => "hand-off timeout",
            Word::TlsTrouble => "TLS trouble",
            Word::TlsNotice(TlsNotice::Suspended) => "TLS suspended",
            Word::TlsNotice(TlsNotice::Resumed) => "TLS resumed",
            Word::Disconnect => "disconnect",
        }
    }
}

/// The outputs of one turn, all about the same session.
#[derive(Default, Debug)]
pub struct Seen {
    pub words: Vec<Word>,
    pub replies: Vec<Reply>,
    pub watch: Option<Watch>,
    pub deadline: Option<Instant>,
    pub store: Option<CacheRecord>,
    pub handed_off: bool,
    pub starts_tls: bool,
    pub abandons_tls: bool,
    pub tls_begins: bool,
    pub closed: bool,
    pub asked: Vec<Question>,
    pub forgotten: Vec<Question>,
}

impl Seen {
    /// Sorts the outputs. The error says that one of them is about somebody else, or comes
    /// after the end, or twice.
    pub fn of(
        id: SessionId,
        client: SocketAddr,
        server: SocketAddr,
        out: &[Output],
    ) -> Result<Seen, String> {
        let mut seen = Seen::default();
        for output in out {
            if seen.closed {
                return Err(format!("{output:?} after the Close"));
            }
            let about_it = match output {
                Output::Log(line) => seen.line(line, client),
                Output::Send(whom, reply) => {
                    seen.replies.push(*reply);
                    *whom == id
                }
                Output::SendText { session: whom, reply, .. } => {
                    seen.replies.push(*reply);
                    *whom == id
                }
                Output::Consume(..) => false,
                Output::Watch(whom, watch) => {
                    seen.watch = Some(*watch);
                    *whom == id
                }
                Output::SetDeadline(whom, deadline) => {
                    seen.deadline = Some(*deadline);
                    *whom == id
                }
                Output::Store(whom, record) => {
                    *whom == client.ip() && seen.store.replace(*record).is_none()
                }
                Output::HandOff { session, client: from, server: to } => {
                    if seen.watch.is_some_and(|watch| watch != Watch::Nothing) {
                        return Err("handed off while its input is looked at".into());
                    }
                    let first = !std::mem::replace(&mut seen.handed_off, true);
                    first && (*session, *from, *to) == (id, client, server)
                }
                Output::AskList(question) => {
                    seen.asked.push(*question);
                    question.address == client.ip()
                }
                Output::ForgetList(question) => {
                    seen.forgotten.push(*question);
                    question.address == client.ip()
                }
                Output::SetGuardDeadline(_) | Output::StoreList(_) => false,
                Output::StartTls { session, client: from } => {
                    let first = !std::mem::replace(&mut seen.starts_tls, true);
                    let unseen = seen.watch != Some(Watch::Read);
                    first && unseen && (*session, *from) == (id, client)
                }
                Output::AbandonTls(whom) => {
                    let before = !seen.starts_tls && seen.replies.is_empty();
                    before && !std::mem::replace(&mut seen.abandons_tls, true) && *whom == id
                }
                Output::TlsBegins(whom) => {
                    // One word in the clear, and no other.
                    let first = !std::mem::replace(&mut seen.tls_begins, true);
                    first && seen.replies == [Reply::ReadyForTls] && *whom == id
                }
                Output::Close(whom) => {
                    seen.closed = true;
                    *whom == id
                }
            };
            if !about_it {
                return Err(format!("{output:?} is wrong here"));
            }
        }
        Ok(seen)
    }

    /// Notes a log line; false if it is about another client.
    fn line(&mut self, line: &LogLine, client: SocketAddr) -> bool {
        let (word, about) = match line {
            LogLine::Connect { client: about, .. } => (Word::Connect, *about),
            LogLine::Allowlisted(about, _) => (Word::Allowlisted, *about),
            LogLine::Denylisted(about, _) => (Word::Denylisted, *about),
            LogLine::AllowlistVeto(about, _) => (Word::Veto, *about),
            LogLine::PassNew(about) => (Word::PassNew, *about),
            LogLine::PassOld(about) => (Word::PassOld, *about),
            LogLine::Pregreet { client: about, .. } => (Word::Pregreet, *about),
            LogLine::DnsblRank(about, rank) => (Word::DnsblRank(*rank), *about),
            LogLine::List(ListLine::Score { client: about, rank, .. }) => {
                (Word::Score(*rank), *about)
            }
            LogLine::List(_) => return false,
            LogLine::Hangup { client: about, .. } => (Word::Hangup, *about),
            LogLine::CommandTimeLimit(about, _) => (Word::TimeLimit, *about),
            LogLine::CommandLengthLimit(about, _) => (Word::LengthLimit, *about),
            LogLine::CommandCountLimit(about, _) => (Word::CountLimit, *about),
            LogLine::Offence(about, offence) => {
                let test = match offence {
                    Offence::BareNewline { .. } => Test::BareNewline,
                    Offence::NonSmtpCommand { .. } => Test::NonSmtpCommand,
                    Offence::Pipelining { .. } => Test::Pipelining,
                };
                (Word::Offence(test), *about)
            }
            LogLine::Discarding(about, ..) => (Word::Discarding, *about),
            LogLine::Replaced { client: about, .. } => (Word::Replaced, *about),
            LogLine::FilterFailed { client: about, .. } => (Word::FilterFailed, *about),
            LogLine::RejectRcpt { client: about, .. } => (Word::RejectRcpt, *about),
            LogLine::NoValidRcpt(about, _) => (Word::NoValidRcpt, *about),
            LogLine::TooManyConnections(about) => (Word::TooManyConnections, *about),
            LogLine::NotServed(about) => (Word::NotServed, *about),
            LogLine::ServerPortsBusy(about) => (Word::ServerPortsBusy, *about),
            LogLine::ScreeningPortsBusy(about) => (Word::ScreeningPortsBusy, *about),
            LogLine::Disconnect(about) => (Word::Disconnect, *about),
            LogLine::EnteringStress(sessions) => (Word::EnteringStress(*sessions), client),
            LogLine::LeavingStress(sessions) => (Word::LeavingStress(*sessions), client),
            LogLine::CannotConnect { .. } => (Word::CannotConnect, client),
            LogLine::CannotPass { .. } => (Word::CannotPass, client),
            LogLine::HandOffTimeout { .. } => (Word::HandOffTimeout, client),
            LogLine::TlsTrouble { .. } => (Word::TlsTrouble, client),
            LogLine::TlsNotice { notice, .. } => (Word::TlsNotice(*notice), client),
            LogLine::OldWordsByDefault(about) => return *about == client,
            LogLine::Message(_) => return true,
            LogLine::Unidentified { .. } | LogLine::Dnsbl(_) | LogLine::Proxy(_) => return false,
        };
        self.words.push(word);
        about == client
    }
}
