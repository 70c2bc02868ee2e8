//! The header phase from the outside: what goes in, what comes out.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::screen::event::{Access, Cached, Filtered, Input, Lookup, Lookups, Now, Trust};
use crate::screen::logline::Message;
use crate::screen::policy::{Limits, Policy, UpstreamProxy};
use crate::screen::test_set::{Test, UnixTime};
use crate::screen::testing::{Says, policy};

const ID: SessionId = SessionId { slot: 0, generation: 1 };
const PEER: &str = "192.0.2.250:4711";
const SERVER: &str = "192.0.2.25:25";

/// Lists that say this about every proxy; for the rest, [`Says`].
struct Lists(Spoken, Trust, Says);

impl Lookups for Lists {
    fn access(
        &mut self,
        asker: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Access> {
        self.2.access(asker, client, messages)
    }
    fn stop_asking(&mut self, asker: SessionId) {
        self.2.stop_asking(asker);
    }
    fn cached(&mut self, client: IpAddr) -> Cached {
        self.2.cached(client)
    }
    fn interface_allowed(
        &mut self,
        asker: SessionId,
        server: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<bool> {
        self.2.interface_allowed(asker, server, messages)
    }
    fn discarded_keywords(
        &mut self,
        asker: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        self.2.discarded_keywords(asker, client, messages)
    }
    fn footer(
        &mut self,
        asker: SessionId,
        reply: &str,
        messages: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        self.2.footer(asker, reply, messages)
    }
    fn local_time(&mut self, time: UnixTime) -> String {
        self.2.local_time(time)
    }
    fn command_filter(
        &mut self,
        asker: SessionId,
        line: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<Filtered> {
        self.2.command_filter(asker, line, messages)
    }
    fn forbidden(
        &mut self,
        asker: SessionId,
        word: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<bool> {
        self.2.forbidden(asker, word, messages)
    }
    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        self.0
    }
    fn proxy_trusted(&mut self, _: IpAddr, messages: &mut Vec<Message>) -> Trust {
        messages.push(Message::warning("list: trouble"));
        self.1
    }
}

struct Bench {
    screener: Screener,
    lists: Lists,
    now: Now,
}

impl Bench {
    fn new(spoken: Spoken, trust: Trust, log_checks: bool) -> Bench {
        let rules = UpstreamProxy { timeout: Duration::from_secs(5), log_checks };
        let policy = Policy { upstream_proxy: Some(rules), ..policy() };
        Bench {
            screener: Screener::new(policy),
            lists: Lists(spoken, trust, Says(Access::Undecided)),
            now: Now { mono: Instant::now(), wall: UnixTime(1_800_000_000) },
        }
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        self.screener.handle(input, self.now, &mut self.lists, &mut out);
        self.screener.check_invariants().unwrap();
        out
    }

    fn connect(&mut self) -> Vec<Output> {
        let (client, server) = (PEER.parse().unwrap(), SERVER.parse().unwrap());
        self.give(Input::Connected { session: ID, client, server })
    }

    fn says(&mut self, data: &[u8]) -> Vec<Output> {
        self.give(Input::Peeked { session: ID, data })
    }
}

/// The log lines among outputs.
fn log(out: &[Output]) -> Vec<String> {
    let lines = out.iter().filter_map(|output| match output {
        Output::Log(line) => Some(line.to_string()),
        _ => None,
    });
    lines.collect()
}

fn is_dismissed(out: &[Output]) -> bool {
    matches!(out, [.., Output::Send(ID, Reply::NoResources), Output::Close(ID)])
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[test]
fn a_header_makes_a_session() {
    let mut bench = Bench::new(Spoken::Yes, Trust::Anybody, true);
    let out = bench.connect();
    let deadline = bench.now.mono + Duration::from_secs(5);
    assert_eq!(out[1..], [Output::Watch(ID, Watch::Peek), Output::SetDeadline(ID, deadline)]);
    assert_eq!((bench.screener.sessions(), bench.screener.approaching()), (0, 1));
    let header = b"PROXY TCP4 192.0.2.5 198.51.100.25 40001 25\r\n";
    assert_eq!(bench.says(&header[..20]), []);
    let out = bench.says(&[header, &b"EHLO x\r\n"[..]].concat());
    assert_eq!(out[..2], [Output::Watch(ID, Watch::Nothing), Output::Consume(ID, header.len())]);
    assert_eq!(log(&out), ["CONNECT from [192.0.2.5]:40001 to [198.51.100.25]:25"]);
    assert_eq!((bench.screener.sessions(), bench.screener.approaching()), (1, 0));
    let out = bench.says(b"EHLO x\r\n");
    assert!(log(&out)[0].starts_with("PREGREET 8 after 0 from [192.0.2.5]:40001"));
}

#[test]
fn local_is_the_proxy_itself() {
    for (trust, header) in
        [(Trust::Anybody, LOCAL), (Trust::Listed, LOCAL), (Trust::Listed, b"PROXY UNKNOWN\r\n")]
    {
        let mut bench = Bench::new(Spoken::Yes, trust, true);
        bench.connect();
        assert_eq!(
            log(&bench.says(header)),
            ["CONNECT from [192.0.2.250]:4711 to [192.0.2.25]:25"]
        );
    }
    let mut bench = Bench::new(Spoken::Yes, Trust::Anybody, true);
    bench.connect();
    let out = bench.says(b"PROXY UNKNOWN\r\n");
    let line = "haproxy read: bad or missing protocol type: PROXY UNKNOWN\\r\\n";
    assert_eq!(log(&out), [line]);
    assert!(is_dismissed(&out));
}

#[test]
fn what_is_no_header_is_told_once() {
    let bytes = [b'x'; 1023];
    let all: String = ["haproxy read: unrecognized protocol header: ", &"x".repeat(536)].concat();
    for (input, line) in [
        (Input::Peeked { session: ID, data: &bytes }, all.as_str()),
        (Input::Closed { session: ID }, "haproxy read: EOF"),
        (Input::Deadline { session: ID }, "haproxy read: time limit exceeded"),
    ] {
        let mut bench = Bench::new(Spoken::Yes, Trust::Anybody, false);
        bench.connect();
        let out = bench.give(input);
        assert_eq!(log(&out), [line]);
        assert!(is_dismissed(&out));
        for late in [input, Input::Closed { session: ID }, Input::Deadline { session: ID }] {
            assert_eq!(bench.give(late), []);
        }
    }
    let mut bench = Bench::new(Spoken::Yes, Trust::Anybody, true);
    bench.connect();
    let out = bench.give(Input::Terminate);
    assert_eq!(out, [Output::Send(ID, Reply::Unavailable), Output::Close(ID)]);
    assert_eq!(bench.screener.approaching(), 0);
}

#[test]
fn strangers_are_turned_away_in_few_words() {
    for (spoken, trust) in [
        (Spoken::Yes, Trust::Stranger),
        (Spoken::Unknown, Trust::Stranger),
        (Spoken::Unknown, Trust::Anybody),
    ] {
        let mut bench = Bench::new(spoken, trust, true);
        let mut told = Vec::new();
        for _ in 0..10 {
            let out = bench.connect();
            assert!(is_dismissed(&out));
            told.extend(log(&out));
        }
        bench.now.mono += Duration::from_secs(60);
        told.extend(log(&bench.connect()));
        let line = "haproxy: [192.0.2.250]:4711 is not in upstream_proxy_networks -- dropping this \
                    connection";
        let last = format!("{line} (7 more since the last such line)");
        let trouble = "list: trouble";
        let expected = [trouble, line, trouble, line, trouble, line, trouble, &last];
        assert_eq!(told, expected);
        assert_eq!(bench.screener.approaching(), 0);
    }
}

#[test]
fn without_the_protocol_a_client_is_a_client() {
    let mut bench = Bench::new(Spoken::No, Trust::Stranger, true);
    assert_eq!(log(&bench.connect()), ["CONNECT from [192.0.2.250]:4711 to [192.0.2.25]:25"]);
    let out = bench.says(b"PROXY TCP4 192.0.2.5 198.51.100.25 40001 25\r\n");
    assert!(log(&out)[0].starts_with("PREGREET 45 after 0 from [192.0.2.250]:4711: PROXY TCP4"));
}

#[test]
fn health_checks_are_kept_out_of_the_log() {
    let mut bench = Bench::new(Spoken::Yes, Trust::Listed, false);
    bench.connect();
    let out = bench.give(Input::Closed { session: ID });
    assert_eq!(out, [Output::Send(ID, Reply::NoResources), Output::Close(ID)]);

    bench.connect();
    assert!(log(&bench.says(LOCAL)).is_empty());
    let out = bench.give(Input::Closed { session: ID });
    assert_eq!(out, [Output::Close(ID)]);

    // In version 1, HAProxy's checks name its own end of the connection.
    bench.connect();
    assert!(log(&bench.says(b"PROXY TCP4 192.0.2.250 192.0.2.25 4711 25\r\n")).is_empty());
    assert_eq!(bench.give(Input::Closed { session: ID }), [Output::Close(ID)]);

    // Who has begun a header, or speaks for somebody else, is told of.
    bench.connect();
    bench.says(b"PROXY U");
    assert_eq!(log(&bench.give(Input::Closed { session: ID })), ["haproxy read: EOF"]);
    bench.connect();
    assert_eq!(log(&bench.says(b"PROXY TCP4 192.0.2.5 192.0.2.6 1 2\r\n")).len(), 1);
    bench.give(Input::Closed { session: ID });
    assert_eq!(bench.screener.sessions(), 0);
}

#[test]
fn what_turns_out_to_be_no_check_is_logged_from_its_beginning() {
    let mut bench = Bench::new(Spoken::Yes, Trust::Listed, false);
    bench.lists.2 = Says(Access::Reject);
    bench.connect();
    let out = bench.says(LOCAL);
    assert_eq!(
        log(&out),
        ["CONNECT from [192.0.2.250]:4711 to [192.0.2.25]:25", "DENYLISTED [192.0.2.250]:4711"]
    );
    assert_eq!(log(&bench.give(Input::Closed { session: ID })).len(), 2, "HANGUP, DISCONNECT");
}

#[test]
fn who_names_a_sender_is_no_check() {
    let mut bench = Bench::new(Spoken::Yes, Trust::Listed, false);
    let policy = bench.screener.policy().clone();
    let enabled = policy.enabled.with(Test::Pipelining);
    bench.screener = Screener::new(Policy { enabled, ..policy });
    bench.connect();
    assert!(log(&bench.says(LOCAL)).is_empty());
    bench.now.mono += Duration::from_secs(6);
    assert!(log(&bench.give(Input::Deadline { session: ID })).is_empty());
    let out = bench.give(Input::Received { session: ID, data: b"HELO x\r\n" });
    assert!(log(&out).is_empty());
    let out = bench.give(Input::Received { session: ID, data: b"MAIL FROM:<a@b>\r\n" });
    assert_eq!(log(&out), ["CONNECT from [192.0.2.250]:4711 to [192.0.2.25]:25"]);
    assert!(out.contains(&Output::Send(ID, Reply::SenderOk)));
}

#[test]
fn silent_connections_have_a_limit_and_make_room_for_new_ones() {
    let mut bench = Bench::new(Spoken::Yes, Trust::Anybody, true);
    let limits = Limits { pre_queue: 10, ..bench.screener.policy().limits };
    let policy = Policy { limits, ..bench.screener.policy().clone() };
    bench.screener = Screener::new(policy);
    let id = |slot| SessionId { slot, generation: 1 };
    let connect = |bench: &mut Bench, slot: u32| {
        let client = SocketAddr::from(([192, 0, 2, 250], 2000 + u16::try_from(slot).unwrap()));
        let server = SERVER.parse().unwrap();
        let out = bench.give(Input::Connected { session: id(slot), client, server });
        assert!(out.contains(&Output::Watch(id(slot), Watch::Peek)), "{slot}: {out:?}");
        assert!(bench.screener.approaching() <= 10);
        out
    };
    let goes = |out: &[Output]| {
        let closed = |output: &Output| match output {
            Output::Close(id) => Some(id.slot),
            _ => None,
        };
        let gone: Vec<u32> = out.iter().filter_map(closed).collect();
        for slot in &gone {
            assert!(out.contains(&Output::Send(id(*slot), Reply::NoResources)));
        }
        gone
    };
    for slot in 0..10 {
        assert_eq!(goes(&connect(&mut bench, slot)), [0; 0]);
    }
    // One that speaks does not wait any more, and one that has begun to has no privilege.
    let data: &[u8] = b"PROXY TCP4 198.51.100.7 198.51.100.25 40001 25\r\n";
    bench.give(Input::Peeked { session: id(1), data });
    assert_eq!(bench.give(Input::Peeked { session: id(0), data: b"PROXY" }), []);
    assert_eq!(goes(&connect(&mut bench, 10)), [0; 0]);
    let out = connect(&mut bench, 11);
    assert_eq!(goes(&out), [0]);
    let line = "haproxy read: too many connections without a header -- dropping the oldest one";
    assert_eq!(log(&out)[1], line);
    // Then those that came next; the log hears of some.
    let mut lines = 1;
    for slot in 12..1012 {
        let out = connect(&mut bench, slot);
        assert_eq!(goes(&out), [slot - 10]);
        lines += log(&out).iter().filter(|text| text.starts_with(line)).count();
    }
    assert_eq!(lines, 3);
    bench.now.mono += Duration::from_secs(61);
    assert_eq!(
        log(&connect(&mut bench, 1012))[1],
        format!("{line} (998 more since the last such line)")
    );
    // None of them was a session; the one that spoke still is.
    assert_eq!(bench.screener.sessions(), 1);
    for slot in 0..1013 {
        bench.give(Input::Closed { session: id(slot) });
    }
    assert_eq!((bench.screener.sessions(), bench.screener.approaching()), (0, 0));
}

#[test]
fn the_queue_of_those_that_approach_does_not_grow() {
    let mut lobby = Lobby::default();
    let end: SocketAddr = PEER.parse().unwrap();
    for slot in 0..100_000 {
        let id = SessionId { slot: slot % 7, generation: slot };
        lobby.enter(id, Approaching { peer: end, server: end, listed: false, has_begun: false });
        assert!(lobby.order.len() <= 2 * lobby.len() + 17);
        assert!(lobby.leave(id).is_some());
    }
}
