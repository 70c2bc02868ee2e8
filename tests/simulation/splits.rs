//! The same bytes in other pieces: nothing may depend on how TCP cuts them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use gatepost::screen::event::{
    Access, Cached, Filtered, Input, Lookup, Lookups, Now, Output, Spoken, Trust,
};
use gatepost::screen::logline::{LogLine, Message};
use gatepost::screen::policy::{Policy, Protocols, TlsLevel};
use gatepost::screen::screener::Screener;
use gatepost::screen::session::SessionId;
use gatepost::screen::smtp::offence::Offence;
use gatepost::screen::test_set::{Action, Test, UnixTime};

use crate::draw;
use crate::footers;
use crate::keywords;
use crate::outside::{filtered, forbidden};
use crate::rng::Rng;

/// Everybody is new.
pub struct Newcomers;

impl Lookups for Newcomers {
    fn access(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<Access> {
        Lookup::Known(Access::Undecided)
    }

    fn stop_asking(&mut self, _: SessionId) {}

    fn cached(&mut self, _: IpAddr) -> Cached {
        Cached::NotFound
    }

    fn interface_allowed(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<bool> {
        Lookup::Known(true)
    }

    fn discarded_keywords(
        &mut self,
        _: SessionId,
        client: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        Lookup::Known(keywords::of_client(client).map(str::to_owned))
    }

    fn footer(
        &mut self,
        _: SessionId,
        reply: &str,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        Lookup::Known(footers::in_table(reply).map(str::to_owned))
    }

    fn local_time(&mut self, time: UnixTime) -> String {
        footers::told(time)
    }

    fn command_filter(
        &mut self,
        _: SessionId,
        line: &[u8],
        _: &mut Vec<Message>,
    ) -> Lookup<Filtered> {
        Lookup::Known(filtered(line))
    }

    fn forbidden(&mut self, _: SessionId, word: &[u8], _: &mut Vec<Message>) -> Lookup<bool> {
        Lookup::Known(forbidden(word))
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        Spoken::Yes
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        Trust::Anybody
    }
}

/// What comes out of one session that says these pieces in the engine: log, replies and
/// record, without deadlines and what the pipelining test says.
fn session(policy: &Policy, pieces: &[&[u8]]) -> Vec<Output> {
    let mut screener = Screener::new(policy.clone());
    let id = SessionId { slot: 0, generation: 1 };
    let base = Instant::now();
    let (client, server) = ("192.0.2.1:4711".parse().unwrap(), "192.0.2.25:25".parse().unwrap());
    let mut seen = Vec::new();
    let mut feed = |input, seconds| {
        let now = Now {
            mono: base + Duration::from_secs(seconds),
            wall: UnixTime(1_800_000_000 + seconds),
        };
        screener.handle(input, now, &mut Newcomers, &mut seen);
        screener.check_invariants().unwrap();
    };
    feed(Input::Connected { session: id, client, server }, 0);
    feed(Input::Deadline { session: id }, 9);
    for data in pieces.iter().filter(|piece| !piece.is_empty()) {
        feed(Input::Received { session: id, data }, 10);
    }
    feed(Input::Closed { session: id }, 11);
    let is_hasty = |output: &Output| {
        matches!(output, Output::Log(LogLine::Offence(_, Offence::Pipelining { .. })))
    };
    seen.retain(|output| !matches!(output, Output::SetDeadline(..)) && !is_hasty(output));
    seen
}

/// A policy that sends everybody into the engine, and lets nobody be punished for haste.
fn policy(rng: &mut Rng) -> Policy {
    let drawn = draw::policy(rng);
    let mut policy = Policy { enabled: drawn.enabled.with(Test::BareNewline), ..drawn };
    policy.enabled = policy.enabled.without(Test::Pipelining);
    policy.actions[Test::Pipelining] = Action::Ignore;
    // What is read behind STARTTLS is forgotten, what is not read yet is not.
    policy.engine.tls_level = TlsLevel::None;
    policy.protocols = Protocols { ipv4: true, ipv6: true };
    policy.upstream_proxy = None;
    policy
}

#[test]
fn any_pieces_give_the_same_dialogue() {
    let mut rng = Rng::new(1);
    for round in 0..2000 {
        let policy = policy(&mut rng);
        let words: Vec<u8> = (0..3).flat_map(|_| draw::words(&mut rng)).collect();
        let whole = session(&policy, &[&words]);
        let cut = rng.count(0, words.len());
        let (head, tail) = words.split_at(cut);
        assert_eq!(session(&policy, &[head, tail]), whole, "round {round}, cut at {cut}");
        let size = rng.count(1, 7);
        let small: Vec<&[u8]> = words.chunks(size).collect();
        assert_eq!(session(&policy, &small), whole, "round {round}, pieces of {size}");
    }
}

/// With the pipelining test on, pieces that end where lines end are what counts.
#[test]
fn haste_is_what_arrives_behind_a_line() {
    let mut rng = Rng::new(2);
    let mut policy = policy(&mut rng);
    policy.enabled = policy.enabled.with(Test::Pipelining);
    policy.actions[Test::Pipelining] = Action::Enforce;
    policy.engine.command_count_limit = 20;
    policy.soft_bounce = false;
    let hasty = |pieces: &[&[u8]]| {
        let rejects = |output: &Output| match output {
            Output::Log(LogLine::RejectRcpt { reply, .. }) => Some(reply.starts_with("550")),
            _ => None,
        };
        session(&policy, pieces).iter().find_map(rejects)
    };
    assert_eq!(hasty(&[b"HELO x\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<>\r\n"]), Some(false));
    assert_eq!(hasty(&[b"HELO x\r", b"\nMAIL FROM:<>\r\n", b"RCPT TO:<>\r\n"]), Some(true));
    assert_eq!(hasty(&[b"HELO x\r\n", b"MAIL FROM:<>\r\nRCPT TO:<>\r\n"]), Some(true));
}
