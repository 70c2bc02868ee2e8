//! What the core may ask, and who takes its clients.

use std::collections::HashMap;
use std::net::IpAddr;

use gatepost::screen::event::{
    Access, Cached, Filtered, HandOffResult, Lookup, Lookups, Spoken, TlsNews, TlsTrouble, Trust,
};
use gatepost::screen::logline::Message;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{CacheRecord, UnixTime};

use crate::faults;
use crate::footers;
use crate::keywords;
use crate::tally::Tally;
use crate::witness::Answers;

/// How smtpd(8) feels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Smtpd {
    Well,
    Slow,
    Full,
    Gone,
    Broken,
    Mute,
}

impl Smtpd {
    pub const ALL: [Smtpd; 6] =
        [Smtpd::Well, Smtpd::Slow, Smtpd::Full, Smtpd::Gone, Smtpd::Broken, Smtpd::Mute];

    /// What comes of a hand-off.
    pub fn result(self) -> HandOffResult<'static> {
        match self {
            Smtpd::Well | Smtpd::Slow | Smtpd::Mute => HandOffResult::Done,
            Smtpd::Full => HandOffResult::Busy,
            Smtpd::Gone => HandOffResult::NoService("No such file or directory"),
            Smtpd::Broken => HandOffResult::NotSent("Broken pipe"),
        }
    }
}

/// How tlsproxy(8) feels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tlsproxy {
    Well,
    Full,
    Gone,
    /// It takes the connection, and closes it.
    Deaf,
    /// It says something else than it should.
    Confused,
    /// It does not introduce itself.
    Silent,
    /// It does not answer.
    Mute,
    Refusing,
    /// It does not take the descriptor.
    Clumsy,
}

impl Tlsproxy {
    pub const ALL: [Tlsproxy; 9] = [
        Tlsproxy::Well,
        Tlsproxy::Full,
        Tlsproxy::Gone,
        Tlsproxy::Deaf,
        Tlsproxy::Confused,
        Tlsproxy::Silent,
        Tlsproxy::Mute,
        Tlsproxy::Refusing,
        Tlsproxy::Clumsy,
    ];

    /// What there is to tell of an attempt, step by step.
    pub fn news(self) -> Vec<TlsNews<'static>> {
        let failed = |trouble, detail| TlsNews::Failed { trouble, detail };
        match self {
            Tlsproxy::Well => vec![TlsNews::Asked, TlsNews::Taken],
            Tlsproxy::Full => vec![TlsNews::Busy],
            Tlsproxy::Gone => vec![failed(TlsTrouble::NoService("Connection refused"), None)],
            Tlsproxy::Deaf => vec![failed(TlsTrouble::NotAsked("Broken pipe"), None)],
            Tlsproxy::Confused => {
                vec![failed(TlsTrouble::NoGreeting("Application error"), Some("what?"))]
            }
            Tlsproxy::Silent => vec![],
            Tlsproxy::Mute => vec![TlsNews::Asked],
            Tlsproxy::Refusing => vec![TlsNews::Asked, failed(TlsTrouble::NoStatus, None)],
            Tlsproxy::Clumsy => vec![TlsNews::Asked, failed(TlsTrouble::NotTaken, None)],
        }
    }
}

/// What the core may ask.
pub struct Outside {
    pub access: HashMap<IpAddr, Access>,
    pub cache: HashMap<IpAddr, CacheRecord>,
    pub cache_fails: bool,
    /// The access list and that of forbidden commands cannot tell.
    pub lists_fail: bool,
    /// The table of footers cannot.
    pub footers_fail: bool,
    /// Newcomers are not let in here.
    pub closed_end: Option<IpAddr>,
    /// Where proxies speak first, and which are trusted.
    pub spoken: Spoken,
    pub trust: Trust,
    pub answers: Answers,
}

impl Outside {
    /// Counts what could not be told in this turn.
    pub fn faults(&self, tally: &mut Tally) {
        let answers = &self.answers;
        let failed = |(_, filtered): &(Vec<u8>, Filtered)| *filtered == Filtered::Failed;
        for (fault, happened) in [
            (faults::CACHE_UNREADABLE, matches!(answers.cached, Some(Cached::Failed(_)))),
            (
                faults::LIST_FAILS,
                self.lists_fail && (answers.access.is_some() || !answers.forbidden.is_empty()),
            ),
            (faults::FOOTERS_FAIL, self.footers_fail && answers.footers > 0),
            (faults::FILTER_FAILS, answers.filtered.iter().any(failed)),
        ] {
            if happened {
                tally.add(fault);
            }
        }
    }
}

impl Lookups for Outside {
    fn access(
        &mut self,
        _: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Access> {
        let known = self.access.get(&client).filter(|_| !self.lists_fail);
        let access = known.copied().unwrap_or(Access::Undecided);
        if access == Access::Undecided {
            messages.push(Message::warning("access list: nothing to say"));
        }
        self.answers.questions += 1;
        self.answers.access = Some(access);
        Lookup::Known(access)
    }

    fn stop_asking(&mut self, _: SessionId) {}

    fn cached(&mut self, client: IpAddr) -> Cached {
        let cached = match self.cache.get(&client) {
            _ if self.cache_fails => Cached::Failed("cache: disk I/O error".into()),
            Some(record) => Cached::Found(*record),
            None => Cached::NotFound,
        };
        self.answers.questions += 1;
        self.answers.cached = Some(cached.clone());
        cached
    }

    fn interface_allowed(
        &mut self,
        _: SessionId,
        server: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<bool> {
        let allowed = self.closed_end != Some(server);
        self.answers.questions += 1;
        self.answers.interface = Some(allowed);
        Lookup::Known(allowed)
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        self.answers.spoken = Some(self.spoken);
        self.spoken
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        self.answers.trust = Some(self.trust);
        self.trust
    }

    fn discarded_keywords(
        &mut self,
        _: SessionId,
        client: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        self.answers.keywords += 1;
        Lookup::Known(keywords::of_client(client).map(str::to_owned))
    }

    fn footer(
        &mut self,
        _: SessionId,
        reply: &str,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        self.answers.footers += 1;
        let footer = footers::in_table(reply).filter(|_| !self.footers_fail);
        Lookup::Known(footer.map(str::to_owned))
    }

    fn local_time(&mut self, time: UnixTime) -> String {
        footers::told(time)
    }

    fn command_filter(
        &mut self,
        _: SessionId,
        line: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<Filtered> {
        let filtered = filtered(line);
        if filtered == Filtered::Failed {
            messages.push(Message::warning("filter: disk I/O error"));
        }
        self.answers.filtered.push((line.to_vec(), filtered.clone()));
        Lookup::Known(filtered)
    }

    fn forbidden(&mut self, _: SessionId, word: &[u8], _: &mut Vec<Message>) -> Lookup<bool> {
        let forbidden = !self.lists_fail && forbidden(word);
        self.answers.forbidden.push((word.to_vec(), forbidden));
        Lookup::Known(forbidden)
    }
}

/// A command filter: some commands become others, and some break it.
pub fn filtered(line: &[u8]) -> Filtered {
    let replaced = |by: &str| Filtered::Replaced(by.into());
    match line.to_ascii_lowercase().as_slice() {
        b"help" => replaced("NOOP"),
        b"" => replaced("  rcpt to:<z@example.test>"),
        b"vrfy x" => replaced("QUIT"),
        b"etrn x" => replaced("get /"),
        b"rcpt to" => replaced(""),
        line if line.starts_with(b"starttls") => Filtered::Failed,
        _ => Filtered::Unchanged,
    }
}

/// `CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}`
pub fn forbidden(word: &[u8]) -> bool {
    [&b"CONNECT"[..], b"GET", b"POST"].iter().any(|other| other.eq_ignore_ascii_case(word))
        || word.first().is_some_and(|byte| !byte.is_ascii_alphabetic())
}
