//! Dialogues recorded from Postfix's postscreen(8), replayed against the core.
//!
//! The numbers are those of the recordings. A wait ends here exactly when it should, while
//! Postfix's timers count whole seconds of the wall clock; so order and text are compared,
//! and times only where the log quotes them.

// What a test holds in its hands it may grip; to panic is how it fails.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "vectors/engine.rs"]
mod engine;
#[path = "vectors/lists.rs"]
mod lists;
#[path = "vectors/starttls.rs"]
mod starttls;
#[path = "simulation/stock.rs"]
mod stock;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use gatepost::postfix::screen_tables::{ScreenTableSettings, ScreenTables};
use gatepost::postfix::table::DiskFiles;
use gatepost::screen::dnsbl::answer::{Answer, Question};
use gatepost::screen::event::{
    Access, Cached, Filtered, HandOffResult, Input, Lookup, Lookups, Now, Output, PEEK_LIMIT,
    Spoken, TlsNews, Trust, Watch,
};
use gatepost::screen::logline::{Level, LogLine, Message};
use gatepost::screen::policy::{DetailLog, Policy, Wording};
use gatepost::screen::screener::Screener;
use gatepost::screen::session::SessionId;
use gatepost::screen::slots::Slots;
use gatepost::screen::test_set::{Action, CacheRecord, Test, UnixTime};

const SERVER: &str = "192.0.2.1:25";

/// What a client does.
#[derive(Clone, Copy)]
enum Act {
    Connect(&'static str),
    Say(&'static [u8]),
    HangUp,
    /// Nothing but to wait until then.
    Wait,
}
use Act::{Connect, HangUp, Say, Wait};

/// When (milliseconds), who, what, and what every client gets to see of it: lines of the
/// form `who text` for a reply, `who EOF`, or `who smtpd N`, where N bytes are left to read.
type Step = (u64, char, Act, &'static [&'static str]);

/// The edge's side of a client.
struct Peer {
    name: char,
    address: IpAddr,
    watch: Watch,
    unread: Vec<u8>,
    hung_up: bool,
    deadline: Option<Instant>,
}

/// What the core may ask.
struct Tables {
    access: Access,
    cache: HashMap<IpAddr, CacheRecord>,
    /// The EHLO keywords that are kept from every client, as in an address table.
    discarded: Option<&'static str>,
    /// The command filter of the policy and the default list of forbidden commands.
    commands: ScreenTables,
}

impl Tables {
    fn new(policy: &Policy) -> Tables {
        let settings = ScreenTableSettings {
            command_filter: policy.engine.command_filter.clone(),
            forbidden_commands: "CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}".into(),
            smtputf8: policy.engine.smtputf8,
            ..ScreenTableSettings::default()
        };
        let (commands, messages) = ScreenTables::open(&settings, &DiskFiles).unwrap();
        assert_eq!(messages, []);
        Tables { access: Access::Undecided, cache: HashMap::new(), discarded: None, commands }
    }
}

impl Lookups for Tables {
    fn access(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<Access> {
        Lookup::Known(self.access)
    }

    fn stop_asking(&mut self, _: SessionId) {}

    fn cached(&mut self, client: IpAddr) -> Cached {
        self.cache.get(&client).map_or(Cached::NotFound, |record| Cached::Found(*record))
    }

    fn interface_allowed(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<bool> {
        Lookup::Known(true)
    }

    fn discarded_keywords(
        &mut self,
        _: SessionId,
        _: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        Lookup::Known(self.discarded.map(str::to_owned))
    }

    fn footer(&mut self, _: SessionId, _: &str, _: &mut Vec<Message>) -> Lookup<Option<String>> {
        Lookup::Known(None)
    }

    fn local_time(&mut self, _: UnixTime) -> String {
        "Nov 22 10:44:27".to_owned()
    }

    fn command_filter(
        &mut self,
        _: SessionId,
        line: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<Filtered> {
        Lookup::Known(self.commands.alone().command_filter(line, messages).unwrap())
    }

    fn forbidden(
        &mut self,
        _: SessionId,
        word: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<bool> {
        Lookup::Known(self.commands.alone().forbidden(word, messages).unwrap())
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        Spoken::Yes
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        Trust::Anybody
    }
}

/// One instance of the service, for one or several dialogues.
struct Service {
    policy: Policy,
    screener: Screener,
    tables: Tables,
    smtpd: HandOffResult<'static>,
    /// What there is to tell of an attempt at TLS.
    tlsproxy: &'static [TlsNews<'static>],
    base: Instant,
    time: Duration,
    peers: Slots<Peer>,
    ids: BTreeMap<char, SessionId>,
    seen: Vec<String>,
    log: Vec<String>,
    /// What lists answer, and after which time, by domain.
    answers: HashMap<&'static str, (Duration, Answer)>,
    /// The questions that stand, in the order in which they are answered.
    questions: BTreeMap<(Instant, Question), Answer>,
}

impl Service {
    /// The common settings of the recordings, changed by `set`.
    fn new(set: impl FnOnce(&mut Policy)) -> Service {
        let mut policy = stock::policy();
        policy.greet_wait.normal = Duration::from_secs(1);
        set(&mut policy);
        Service {
            screener: Screener::new(policy.clone()),
            tables: Tables::new(&policy),
            policy,
            smtpd: HandOffResult::Done,
            tlsproxy: &[TlsNews::Asked, TlsNews::Taken],
            base: Instant::now(),
            time: Duration::ZERO,
            peers: Slots::default(),
            ids: BTreeMap::new(),
            seen: Vec::new(),
            log: Vec::new(),
            answers: HashMap::new(),
            questions: BTreeMap::new(),
        }
    }

    /// A list that answers with these records after so many milliseconds.
    fn with_answer(mut self, list: &'static str, after: u64, records: &[&str]) -> Service {
        let addresses: Box<[Ipv4Addr]> = records.iter().map(|text| text.parse().unwrap()).collect();
        let answer = if addresses.is_empty() {
            Answer::NotListed { ttl: Some(300) }
        } else {
            Answer::Listed { addresses, ttl: 300 }
        };
        self.answers.insert(list, (Duration::from_millis(after), answer));
        self
    }

    fn with_access(mut self, access: Access) -> Service {
        self.tables.access = access;
        self
    }

    fn with_smtpd(mut self, result: HandOffResult<'static>) -> Service {
        self.smtpd = result;
        self
    }

    fn with_tlsproxy(mut self, news: &'static [TlsNews<'static>]) -> Service {
        self.tlsproxy = news;
        self
    }

    /// Plays a dialogue. In the log, `P` and a client's name stand for that client's port.
    fn play(&mut self, name: &str, steps: &[Step], log: &[&str]) {
        let start = self.time;
        for (number, (at, who, act, expected)) in steps.iter().enumerate() {
            self.wait_until(start + Duration::from_millis(*at));
            match act {
                Wait => {}
                Connect(address) => self.connect(*who, address),
                Say(data) => {
                    let id = self.ids[who];
                    self.peers.get_mut(id).unwrap().unread.extend_from_slice(data);
                    self.readable(id);
                }
                HangUp => {
                    let id = self.ids[who];
                    self.peers.get_mut(id).unwrap().hung_up = true;
                    self.readable(id);
                }
            }
            assert_eq!(self.seen, *expected, "{name}, step {number}");
            self.seen.clear();
        }
        let log: Vec<String> = log.iter().map(|line| fill_in_ports(line)).collect();
        assert_eq!(self.log, log, "{name}");
        self.log.clear();
        assert_eq!((self.screener.sessions(), self.peers.len()), (0, 0), "{name}: who is left");
    }

    /// Lets the time pass, deadlines and answers first come first.
    fn wait_until(&mut self, end: Duration) {
        loop {
            let deadline = self.peers.iter().filter_map(|(_, peer)| peer.deadline).min();
            if let Some(answered) = self.questions.first_entry()
                && answered.key().0 <= self.base + end
                && deadline.is_none_or(|deadline| answered.key().0 <= deadline)
            {
                let ((at, question), answer) = answered.remove_entry();
                self.time = at - self.base;
                self.feed(Input::ListAnswer { question, answer: &answer });
                continue;
            }
            let due = |(id, peer): (SessionId, &Peer)| Some((peer.deadline?, id));
            let next = self.peers.iter().filter_map(due).min();
            match next.filter(|(deadline, _)| *deadline <= self.base + end) {
                None => break,
                Some((deadline, id)) => {
                    self.time = deadline - self.base;
                    self.peers.get_mut(id).unwrap().deadline = None;
                    self.feed(Input::Deadline { session: id });
                }
            }
        }
        self.time = end;
    }

    fn connect(&mut self, name: char, address: &str) {
        let peer = Peer {
            name,
            address: address.parse().unwrap(),
            watch: Watch::Nothing,
            unread: Vec::new(),
            hung_up: false,
            deadline: None,
        };
        let id = self.peers.insert(peer).unwrap();
        self.ids.insert(name, id);
        let client = SocketAddr::new(address.parse().unwrap(), port(name));
        self.feed(Input::Connected { session: id, client, server: SERVER.parse().unwrap() });
    }

    fn readable(&mut self, id: SessionId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        match peer.watch {
            Watch::Nothing => {}
            _ if peer.unread.is_empty() && peer.hung_up => {
                self.feed(Input::Closed { session: id });
            }
            _ if peer.unread.is_empty() => {}
            Watch::Peek => {
                let data = peer.unread[..peer.unread.len().min(PEEK_LIMIT)].to_vec();
                self.feed(Input::Peeked { session: id, data: &data });
            }
            Watch::Read => {
                let data = std::mem::take(&mut peer.unread);
                self.feed(Input::Received { session: id, data: &data });
            }
        }
    }

    fn feed(&mut self, input: Input<'_>) {
        let passed = matches!(input, Input::HandOff { result: HandOffResult::Done, .. });
        let wall = UnixTime(1_800_000_000 + self.time.as_secs());
        let now = Now { mono: self.base + self.time, wall };
        let mut out = Vec::new();
        self.screener.handle(input, now, &mut self.tables, &mut out);
        self.screener.check_invariants().unwrap();
        let (mut ready, mut handed_off, mut starting) = (Vec::new(), Vec::new(), Vec::new());
        for output in out {
            match output {
                Output::Log(line) => self.log.push(logged(&line)),
                Output::Send(id, reply) => {
                    let mut bytes = Vec::new();
                    reply.write(&self.policy, &mut bytes);
                    let text = String::from_utf8(bytes).unwrap();
                    let name = self.peers.get(id).unwrap().name;
                    self.seen.push(format!("{name} {}", text.strip_suffix("\r\n").unwrap()));
                }
                Output::SendText { session, text, .. } => {
                    let name = self.peers.get(session).unwrap().name;
                    self.seen.push(format!("{name} {text}"));
                }
                Output::Watch(id, watch) => {
                    self.peers.get_mut(id).unwrap().watch = watch;
                    ready.push(id);
                }
                Output::SetDeadline(id, deadline) => {
                    self.peers.get_mut(id).unwrap().deadline = Some(deadline);
                }
                Output::AskList(question) => {
                    let list = self.policy.dnsbl.lists.get(question.list).unwrap();
                    let (after, answer) = self.answers[list.domain.as_str()].clone();
                    let at = self.base + self.time + after;
                    self.questions.insert((at, question), answer);
                }
                Output::ForgetList(question) => {
                    self.questions.retain(|(_, other), _| *other != question);
                }
                Output::SetGuardDeadline(_) | Output::StoreList(_) => {}
                Output::Store(address, record) => {
                    self.tables.cache.insert(address, record);
                }
                Output::HandOff { session, .. } => handed_off.push(session),
                Output::StartTls { session, .. } => starting.push(session),
                Output::Consume(..) => panic!("nobody comes through a proxy here"),
                Output::AbandonTls(_) => {}
                Output::TlsBegins(id) => {
                    let name = self.peers.get(id).unwrap().name;
                    self.seen.push(format!("{name} TLS"));
                }
                Output::Close(id) => self.closed(id, passed),
            }
        }
        ready.into_iter().for_each(|id| self.readable(id));
        for session in starting {
            for news in self.tlsproxy {
                self.feed(Input::Tls { session, news: *news });
            }
        }
        for session in handed_off {
            self.feed(Input::HandOff { session, result: self.smtpd });
        }
    }

    /// The connection is closed, or smtpd(8) has it.
    fn closed(&mut self, id: SessionId, passed: bool) {
        let peer = self.peers.remove(id).unwrap();
        if passed {
            self.log.push(format!("smtpd: connect from unknown[{}]", peer.address));
            self.seen.push(format!("{} smtpd {}", peer.name, peer.unread.len()));
        } else {
            self.seen.push(format!("{} EOF", peer.name));
        }
    }
}

/// The port of a client, by its name.
fn port(name: char) -> u16 {
    40_000 + u16::try_from(u32::from(name)).unwrap()
}

fn fill_in_ports(line: &str) -> String {
    "abcd".chars().fold(line.to_owned(), |line, name| {
        line.replace(&format!(":P{name}"), &format!(":{}", port(name)))
    })
}

/// A log line as the maillog has it, behind the process's name.
fn logged(line: &LogLine) -> String {
    let program = if line.is_dnsblog() { "dnsblog: " } else { "" };
    match line.level() {
        Level::Warning => format!("{program}warning: {line}"),
        _ => format!("{program}{line}"),
    }
}

fn wait_2s(policy: &mut Policy) {
    policy.greet_wait.normal = Duration::from_secs(2);
}

const TEASER: &str = "a 220-mx.example.test ESMTP Postfix";
const GREETING: &str = "a 220 mx.example.test ESMTP Postfix";

#[test]
fn v01_first_visit_v02_second_visit() {
    let mut service = Service::new(wait_2s);
    service.play(
        "V01",
        &[
            (10, 'a', Connect("203.0.113.5"), &[TEASER]),
            (2009, 'a', Wait, &[]),
            (2010, 'a', Wait, &["a smtpd 0"]),
        ],
        &[
            "CONNECT from [203.0.113.5]:Pa to [192.0.2.1]:25",
            "PASS NEW [203.0.113.5]:Pa",
            "smtpd: connect from unknown[203.0.113.5]",
        ],
    );
    service.play(
        "V02",
        &[(0, 'a', Connect("203.0.113.5"), &["a smtpd 0"])],
        &[
            "CONNECT from [203.0.113.5]:Pa to [192.0.2.1]:25",
            "PASS OLD [203.0.113.5]:Pa",
            "smtpd: connect from unknown[203.0.113.5]",
        ],
    );
}

#[test]
fn v04_pregreeter_drop() {
    let mut service = Service::new(|policy| {
        wait_2s(policy);
        policy.actions.pregreet = Action::Drop;
    });
    service.play(
        "V04",
        &[
            (30, 'a', Connect("203.0.113.30"), &[TEASER]),
            (300, 'a', Say(b"HELO spam\r\n"), &["a 521 5.5.1 Protocol error", "a EOF"]),
        ],
        &[
            "CONNECT from [203.0.113.30]:Pa to [192.0.2.1]:25",
            "PREGREET 11 after 0.27 from [203.0.113.30]:Pa: HELO spam\\r\\n",
            "DISCONNECT [203.0.113.30]:Pa",
        ],
    );
}

/// The recording had a DNSBL test in it, whose answer ended the wait; here nothing is left
/// to wait for. What the client said too early is smtpd(8)'s first input.
#[test]
fn v05_pregreeter_ignore() {
    let mut service = Service::new(wait_2s);
    let steps: &[Step] = &[
        (20, 'a', Connect("203.0.113.31"), &[TEASER]),
        (300, 'a', Say(b"EHLO c.example\r\n"), &["a smtpd 16"]),
    ];
    let log = [
        "CONNECT from [203.0.113.31]:Pa to [192.0.2.1]:25",
        "PREGREET 16 after 0.28 from [203.0.113.31]:Pa: EHLO c.example\\r\\n",
        "smtpd: connect from unknown[203.0.113.31]",
    ];
    service.play("V05", steps, &log);
    service.play("V05, again: nothing was passed", steps, &log);
}

#[test]
fn v08_pregreet_longer_than_the_peek_buffer() {
    let mut service = Service::new(|policy| policy.actions.pregreet = Action::Drop);
    service.play(
        "V08",
        &[
            (0, 'a', Connect("203.0.113.138"), &[TEASER]),
            (100, 'a', Say(&[b'A'; 3000]), &["a 521 5.5.1 Protocol error", "a EOF"]),
        ],
        &[
            "CONNECT from [203.0.113.138]:Pa to [192.0.2.1]:25",
            &format!("PREGREET 1023 after 0.1 from [203.0.113.138]:Pa: {}", "A".repeat(100)),
            "DISCONNECT [203.0.113.138]:Pa",
        ],
    );
}

#[test]
fn v21_two_parallel_sessions() {
    let mut service = Service::new(wait_2s);
    service.play(
        "V21",
        &[
            (500, 'a', Connect("203.0.113.31"), &[TEASER]),
            (1130, 'b', Connect("203.0.113.31"), &["b 220-mx.example.test ESMTP Postfix"]),
            (2500, 'a', Wait, &["a smtpd 0"]),
            (3130, 'b', Wait, &["b smtpd 0"]),
        ],
        &[
            "CONNECT from [203.0.113.31]:Pa to [192.0.2.1]:25",
            "CONNECT from [203.0.113.31]:Pb to [192.0.2.1]:25",
            "PASS NEW [203.0.113.31]:Pa",
            "smtpd: connect from unknown[203.0.113.31]",
            "PASS OLD [203.0.113.31]:Pb",
            "smtpd: connect from unknown[203.0.113.31]",
        ],
    );
}

#[test]
fn v22_denylisted_drop() {
    let mut service =
        Service::new(|policy| policy.denylist_action = Action::Drop).with_access(Access::Reject);
    service.play(
        "V22",
        &[(
            350,
            'a',
            Connect("203.0.113.70"),
            &["a 521 5.3.2 Service currently unavailable", "a EOF"],
        )],
        &[
            "CONNECT from [203.0.113.70]:Pa to [192.0.2.1]:25",
            "DENYLISTED [203.0.113.70]:Pa",
            "DISCONNECT [203.0.113.70]:Pa",
        ],
    );
}

#[test]
fn v24_denylisted_ignore() {
    let mut service = Service::new(|_| ()).with_access(Access::Reject);
    service.play(
        "V24",
        &[(340, 'a', Connect("203.0.113.71"), &[TEASER]), (1340, 'a', Wait, &["a smtpd 0"])],
        &[
            "CONNECT from [203.0.113.71]:Pa to [192.0.2.1]:25",
            "DENYLISTED [203.0.113.71]:Pa",
            "PASS NEW [203.0.113.71]:Pa",
            "smtpd: connect from unknown[203.0.113.71]",
        ],
    );
}

/// The recorded client had talked first; nobody looks.
#[test]
fn v25_denylisted_drop_soft_bounce() {
    let mut service = Service::new(|policy| {
        policy.denylist_action = Action::Drop;
        policy.soft_bounce = true;
    })
    .with_access(Access::Reject);
    service.play(
        "V25",
        &[(
            1000,
            'a',
            Connect("203.0.113.51"),
            &["a 421 4.3.2 Service currently unavailable", "a EOF"],
        )],
        &[
            "CONNECT from [203.0.113.51]:Pa to [192.0.2.1]:25",
            "DENYLISTED [203.0.113.51]:Pa",
            "DISCONNECT [203.0.113.51]:Pa",
        ],
    );
}

#[test]
fn v26_a_client_of_our_networks() {
    let mut service = Service::new(|_| ()).with_access(Access::Permit);
    service.play(
        "V26",
        &[(0, 'a', Connect("10.9.1.1"), &["a smtpd 0"])],
        &[
            "CONNECT from [10.9.1.1]:Pa to [192.0.2.1]:25",
            "ALLOWLISTED [10.9.1.1]:Pa",
            "smtpd: connect from unknown[10.9.1.1]",
        ],
    );
}

#[test]
fn v27_old_wording() {
    let mut service =
        Service::new(|policy| policy.wording = Wording::Old { by_compatibility_level: false })
            .with_access(Access::Reject);
    service.play(
        "V27",
        &[(250, 'a', Connect("203.0.113.78"), &[TEASER]), (1250, 'a', Wait, &["a smtpd 0"])],
        &[
            "CONNECT from [203.0.113.78]:Pa to [192.0.2.1]:25",
            "BLACKLISTED [203.0.113.78]:Pa",
            "PASS NEW [203.0.113.78]:Pa",
            "smtpd: connect from unknown[203.0.113.78]",
        ],
    );
}

#[test]
fn v58_no_smtpd_v59_second_visit() {
    let mut service = Service::new(|policy| policy.smtpd_service = "nosuch".into())
        .with_smtpd(HandOffResult::NoService("No such file or directory"));
    service.play(
        "V58",
        &[
            (330, 'a', Connect("203.0.113.72"), &[TEASER]),
            (1330, 'a', Wait, &[GREETING]),
            (1340, 'a', Say(b"EHLO c.ex"), &[]),
            (1350, 'a', Say(b"ample\r\n"), &["a 421 4.3.2 No system resources", "a EOF"]),
        ],
        &[
            "CONNECT from [203.0.113.72]:Pa to [192.0.2.1]:25",
            "PASS NEW [203.0.113.72]:Pa",
            "warning: cannot connect to service private/nosuch: No such file or directory",
            "PASS OLD [203.0.113.72]:Pa",
            "DISCONNECT [203.0.113.72]:Pa",
        ],
    );
    service.play(
        "V59",
        &[(0, 'a', Connect("203.0.113.72"), &["a 421 4.3.2 All server ports are busy", "a EOF"])],
        &[
            "CONNECT from [203.0.113.72]:Pa to [192.0.2.1]:25",
            "PASS OLD [203.0.113.72]:Pa",
            "warning: cannot connect to service private/nosuch: No such file or directory",
        ],
    );
}

#[test]
fn v63_hangup_in_the_greet_wait() {
    let mut service = Service::new(wait_2s);
    service.play(
        "V63",
        &[(0, 'a', Connect("203.0.113.30"), &[TEASER]), (500, 'a', HangUp, &["a EOF"])],
        &[
            "CONNECT from [203.0.113.30]:Pa to [192.0.2.1]:25",
            "HANGUP after 0.5 from [203.0.113.30]:Pa in tests before SMTP handshake",
            "DISCONNECT [203.0.113.30]:Pa",
        ],
    );
}

#[test]
fn v65_too_many_connections() {
    let mut service = Service::new(|policy| policy.limits.per_client = Some(2));
    let teaser_b = &["b 220-mx.example.test ESMTP Postfix"];
    service.play(
        "V65",
        &[
            (0, 'a', Connect("203.0.113.125"), &[TEASER]),
            (30, 'b', Connect("203.0.113.125"), teaser_b),
            (
                500,
                'c',
                Connect("203.0.113.125"),
                &["c 421 4.7.0 Error: too many connections", "c EOF"],
            ),
            (
                550,
                'd',
                Connect("203.0.113.125"),
                &["d 421 4.7.0 Error: too many connections", "d EOF"],
            ),
            (680, 'a', HangUp, &["a EOF"]),
            (680, 'b', HangUp, &["b EOF"]),
        ],
        &[
            "CONNECT from [203.0.113.125]:Pa to [192.0.2.1]:25",
            "CONNECT from [203.0.113.125]:Pb to [192.0.2.1]:25",
            "CONNECT from [203.0.113.125]:Pc to [192.0.2.1]:25",
            "NOQUEUE: reject: CONNECT from [203.0.113.125]:Pc: too many connections",
            "DISCONNECT [203.0.113.125]:Pc",
            "CONNECT from [203.0.113.125]:Pd to [192.0.2.1]:25",
            "NOQUEUE: reject: CONNECT from [203.0.113.125]:Pd: too many connections",
            "DISCONNECT [203.0.113.125]:Pd",
            "HANGUP after 0.68 from [203.0.113.125]:Pa in tests before SMTP handshake",
            "DISCONNECT [203.0.113.125]:Pa",
            "HANGUP after 0.65 from [203.0.113.125]:Pb in tests before SMTP handshake",
            "DISCONNECT [203.0.113.125]:Pb",
        ],
    );
}
