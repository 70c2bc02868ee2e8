//! The whole contract of the core on one page: what goes in, what comes out, and what
//! it may ask in between.
//!
//! `Screener::handle` takes one [`Input`] and the time, asks [`Lookups`], and leaves
//! [`Output`]s in the order in which they must be applied. Nothing flows back inside a
//! turn: the result of an output is a later input. A [`SessionId`] whose session has
//! ended is a no-op everywhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::dnsbl::answer::{Answer, Question};
use super::dnsbl::guard;
use super::logline::{LogLine, Message};
use super::reply::Reply;
use super::session::SessionId;
use super::test_set::{CacheRecord, UnixTime};
pub use super::verdict::{Access, Spoken, Trust};

/// The time of one turn of the loop. Timers use `mono`, cache stamps use `wall`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// A clock that never jumps.
    pub mono: Instant,
    /// The wall clock, whole seconds.
    pub wall: UnixTime,
}

/// Something that has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input<'a> {
    /// A connection was accepted. IPv4-mapped addresses come as IPv4.
    Connected {
        /// The id that the caller has given to it.
        session: SessionId,
        /// The client's end.
        client: SocketAddr,
        /// Our end.
        server: SocketAddr,
    },
    /// A connection was accepted, but its ends cannot be told.
    Unidentified {
        /// The id that the caller has given to it.
        session: SessionId,
        /// The name of the call that failed, `getpeername` or `getsockname`.
        call: &'static str,
        /// strerror(3)'s text.
        reason: &'a str,
    },
    /// Input is waiting in the socket of a session under [`Watch::Peek`]; it stays there, unless
    /// [`Output::Consume`] says otherwise.
    Peeked {
        /// The session.
        session: SessionId,
        /// The first bytes, at least one and at most [`PEEK_LIMIT`].
        data: &'a [u8],
    },
    /// Input was read from the socket of a session under [`Watch::Read`].
    Received {
        /// The session.
        session: SessionId,
        /// The bytes, at least one.
        data: &'a [u8],
    },
    /// The client has closed or reset the connection, or a write has failed.
    Closed {
        /// The session.
        session: SessionId,
    },
    /// The deadline last set with [`Output::SetDeadline`] has come.
    Deadline {
        /// The session.
        session: SessionId,
    },
    /// What came of [`Output::HandOff`].
    HandOff {
        /// The session.
        session: SessionId,
        /// The result.
        result: HandOffResult<'a>,
    },
    /// What came of [`Output::AskList`].
    ListAnswer {
        /// What was asked.
        question: Question,
        /// The answer.
        answer: &'a Answer,
    },
    /// The time last set with [`Output::SetGuardDeadline`] has come.
    GuardDeadline,
    /// What came of [`Output::StartTls`], step by step.
    Tls {
        /// The session.
        session: SessionId,
        /// What is new.
        news: TlsNews<'a>,
    },
    /// A table elsewhere has answered what this session has asked ([`Lookup::Asked`]): the same
    /// look-up gets further now.
    Answered {
        /// The session.
        session: SessionId,
    },
    /// The process is told to end at once (SIGTERM).
    Terminate,
}

/// What came of an attempt to hand a client to smtpd(8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOffResult<'a> {
    /// The receiver has taken the descriptor and closed the channel.
    Done,
    /// The listen queue of the service is full.
    Busy,
    /// The service cannot be reached; strerror(3)'s text.
    NoService(&'a str),
    /// The service was reached, but the descriptor could not be sent; strerror(3)'s text.
    NotSent(&'a str),
}

/// How it goes with tlsproxy(8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsNews<'a> {
    /// The listen queue of the service is full.
    Busy,
    /// It has introduced itself, and was asked to take the client.
    Asked,
    /// It has the client's socket. What is sent from now on goes to the client in the clear
    /// until [`Output::TlsBegins`], and must be no more than the word that it waits for.
    Taken,
    /// Nothing comes of it; the client is still ours.
    Failed {
        /// What could not be done.
        trouble: TlsTrouble<'a>,
        /// What was wrong with its answer, if that says more.
        detail: Option<&'a str>,
    },
}

/// What could not be done about tlsproxy(8); reasons are strerror(3)'s texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsTrouble<'a> {
    /// The service cannot be reached.
    NoService(&'a str),
    /// It has not introduced itself as it should.
    NoGreeting(&'a str),
    /// It cannot be asked.
    NotAsked(&'a str),
    /// It refuses, or its answer makes no sense.
    NoStatus,
    /// It says that it is ready, but does not take the descriptor.
    NotTaken,
}

/// How many bytes of early input are looked at, and so the highest count in a PREGREET
/// line.
pub const PEEK_LIMIT: usize = 1023;

/// What to do about input from the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Do not look; what arrives stays in the socket.
    Nothing,
    /// Report it and leave it in the socket ([`Input::Peeked`]).
    Peek,
    /// Read it ([`Input::Received`]).
    Read,
}

/// Something to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Log this.
    Log(LogLine),
    /// Send this to the client; a failure is a later [`Input::Closed`].
    Send(SessionId, Reply),
    /// The same, with a footer.
    SendText {
        /// The session.
        session: SessionId,
        /// The reply.
        reply: Reply,
        /// Its text with the footer, without the last CR LF.
        text: Box<str>,
    },
    /// Look for input in this way from now on. Input that has already arrived counts.
    Watch(SessionId, Watch),
    /// Take so many of the bytes last reported by [`Input::Peeked`] out of the socket.
    Consume(SessionId, usize),
    /// Report [`Input::Deadline`] then; replaces the session's earlier deadline.
    SetDeadline(SessionId, Instant),
    /// Ask a DNS blocklist; the answer is an [`Input::ListAnswer`].
    AskList(Question),
    /// Nobody wants to know any more.
    ForgetList(Question),
    /// Report [`Input::GuardDeadline`] then; replaces the earlier one.
    SetGuardDeadline(Instant),
    /// Remember this about a DNS blocklist, beyond the end of the process.
    StoreList(guard::saved::Saved),
    /// Remember this about the address.
    Store(IpAddr, CacheRecord),
    /// Hand the client to smtpd(8). If that fails, [`Input::HandOff`] says so, and the client
    /// is still there.
    HandOff {
        /// The session.
        session: SessionId,
        /// The client's end, as smtpd(8) is told it.
        client: SocketAddr,
        /// Our end, likewise.
        server: SocketAddr,
    },
    /// Ask tlsproxy(8) to take the client over ([`Input::Tls`]), whose input is not looked at
    /// meanwhile.
    StartTls {
        /// The session.
        session: SessionId,
        /// The client's end, as tlsproxy(8) is told it.
        client: SocketAddr,
    },
    /// Close the connection to tlsproxy(8) of a session that it has not taken, if there is one.
    AbandonTls(SessionId),
    /// Let go of the client's socket, which tlsproxy(8) has. From now on the connection to
    /// tlsproxy(8) is the client's.
    TlsBegins(SessionId),
    /// The session has ended: send what is left to send, then close the connection.
    Close(SessionId),
}

impl Output {
    /// The session whose client sees this, or whose connection it is about.
    pub(super) fn to_client(&self) -> Option<SessionId> {
        match *self {
            Output::Send(session, _)
            | Output::SendText { session, .. }
            | Output::Watch(session, _)
            | Output::Consume(session, _)
            | Output::HandOff { session, .. }
            | Output::StartTls { session, .. }
            | Output::AbandonTls(session)
            | Output::TlsBegins(session)
            | Output::Close(session) => Some(session),
            Output::Log(_)
            | Output::SetDeadline(..)
            | Output::AskList(_)
            | Output::ForgetList(_)
            | Output::SetGuardDeadline(_)
            | Output::StoreList(_)
            | Output::Store(..) => None,
        }
    }
}

/// What the verdict cache says about a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cached {
    /// The client has been here.
    Found(CacheRecord),
    /// It has not.
    NotFound,
    /// The cache cannot tell; the reason. The client counts as unknown.
    Failed(String),
}

/// What main.cf: `postscreen_command_filter` makes of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filtered {
    /// Nothing.
    Unchanged,
    /// This, in its place.
    Replaced(Box<str>),
    /// The table cannot tell. The line stays as it is.
    Failed,
}

/// What came of a look-up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup<T> {
    /// This.
    Known(T),
    /// Nothing yet: a table elsewhere is being asked. [`Input::Answered`] follows in bounded
    /// time.
    Asked,
}

/// The questions that the core asks while it handles an input. Each takes a list for
/// messages that the look-up gave rise to; those that may have to be asked elsewhere take the
/// session on whose behalf that is done.
pub trait Lookups {
    /// main.cf: `postscreen_access_list`.
    fn access(
        &mut self,
        asker: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Access>;

    /// The next look-up of this session is not to wait for anybody any more: what is not known
    /// by then counts as failed.
    fn stop_asking(&mut self, asker: SessionId);

    /// main.cf: `postscreen_cache_map`.
    fn cached(&mut self, client: IpAddr) -> Cached;

    /// main.cf: `postscreen_allowlist_interfaces`: may a client that connects to this
    /// address of ours be let in?
    fn interface_allowed(
        &mut self,
        asker: SessionId,
        server: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<bool>;

    /// main.cf: `postscreen_discard_ehlo_keyword_address_maps`: the words that hold for this
    /// client; `None` for those that hold for everybody.
    fn discarded_keywords(
        &mut self,
        asker: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Option<String>>;

    /// main.cf: `postscreen_reject_footer_maps`: the footer for this reply, which comes without
    /// its last CR LF and before `soft_bounce`; `None` for the one that all replies get.
    fn footer(
        &mut self,
        asker: SessionId,
        reply: &str,
        messages: &mut Vec<Message>,
    ) -> Lookup<Option<String>>;

    /// A time in the server's time zone, in the form of strftime(3)'s `%b %d %H:%M:%S`.
    fn local_time(&mut self, time: UnixTime) -> String;

    /// main.cf: `postscreen_command_filter`; the line without the blanks before it. Only
    /// asked if the policy has a filter.
    fn command_filter(
        &mut self,
        asker: SessionId,
        line: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<Filtered>;

    /// main.cf: `postscreen_forbidden_commands`: is this command word on the list? Not if
    /// there is trouble.
    fn forbidden(
        &mut self,
        asker: SessionId,
        word: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<bool>;

    /// gatepost.cf: `upstream_proxy_interfaces`: is the PROXY protocol spoken at this address
    /// of ours? Only asked if main.cf has it on.
    fn proxy_spoken(&mut self, server: IpAddr, messages: &mut Vec<Message>) -> Spoken;

    /// gatepost.cf: `upstream_proxy_networks`: is this a proxy that may say whom it speaks for?
    /// Only asked where the PROXY protocol is, or may be, spoken.
    fn proxy_trusted(&mut self, proxy: IpAddr, messages: &mut Vec<Message>) -> Trust;
}
