use std::time::{Duration, Instant};

use super::*;
use crate::screen::event::{Input, Now, Output};
use crate::screen::policy::{Policy, Protocols};
use crate::screen::test_set::UnixTime;
use crate::screen::testing::{Says, policy};

/// A core with a clock, and sessions that are numbered as they come.
struct Door {
    screener: Screener,
    now: Now,
    next: u32,
}

impl Door {
    fn new(policy: Policy) -> Door {
        let now = Now { mono: Instant::now(), wall: UnixTime(1_800_000_000) };
        Door { screener: Screener::new(policy), now, next: 0 }
    }

    fn feed(&mut self, input: Input<'_>, access: Access) -> Vec<Output> {
        let mut out = Vec::new();
        self.screener.handle(input, self.now, &mut Says(access), &mut out);
        self.screener.check_invariants().unwrap();
        out
    }

    /// A client that the access list has an opinion on: its session and all replies and log
    /// lines.
    fn knocks(&mut self, client: &str, access: Access) -> (SessionId, Vec<String>) {
        let session = SessionId { slot: self.next, generation: 1 };
        self.next += 1;
        let client: SocketAddr = client.parse().unwrap();
        let server = if client.is_ipv4() { "192.0.2.25:25" } else { "[2001:db8::25]:25" };
        let server = server.parse().unwrap();
        let out = self.feed(Input::Connected { session, client, server }, access);
        let policy = self.screener.policy();
        let texts = out.into_iter().filter_map(|output| match output {
            Output::Log(line) => Some(line.to_string()),
            Output::Send(_, reply) => Some(reply.text(policy)),
            Output::HandOff { client, .. } => Some(format!("hand-off of {client}")),
            _ => None,
        });
        (session, texts.skip(1).collect())
    }
}

const TEASER: &str = "220-mx.example.test ESMTP Postfix";

#[test]
fn a_network_is_one_client_for_its_limit() {
    let mut policy = policy();
    policy.limits.per_client = Some(2);
    policy.limits.prefix_ipv6 = 64;
    let mut door = Door::new(policy);
    let mut knocks = |client: &str| door.knocks(client, Access::Undecided);
    let (first, texts) = knocks("[2001:db8::1]:1");
    assert_eq!(texts, [TEASER]);
    assert_eq!(knocks("[2001:db8::2]:2").1, [TEASER]);
    let busy = [
        "NOQUEUE: reject: CONNECT from [2001:db8::3]:3: too many connections",
        "421 4.7.0 Error: too many connections",
        "DISCONNECT [2001:db8::3]:3",
    ];
    assert_eq!(knocks("[2001:db8::3]:3").1, busy);
    assert_eq!(knocks("[2001:db8::3]:3").1, busy);
    assert_eq!(knocks("[2001:db8:0:1::3]:3").1, [TEASER]);
    for four in ["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"] {
        assert_eq!(knocks(four).1, [TEASER]);
    }
    // There is room again when one has gone; what they share otherwise is by address.
    door.feed(Input::Closed { session: first }, Access::Undecided);
    assert_eq!(door.knocks("[2001:db8::3]:3", Access::Undecided).1, [TEASER]);
    assert_eq!(door.screener.clients.sessions("2001:db8::3".parse().unwrap()), 1);
}

#[test]
fn a_protocol_that_smtpd_dies_of_is_not_served() {
    let mut policy = policy();
    policy.protocols = Protocols { ipv4: true, ipv6: false };
    let mut door = Door::new(policy);
    let warning = "inet_protocols is without ipv6, but there are clients that use it: they are \
                   turned away, because smtpd(8) would die of them (to change inet_protocols, \
                   stop and start Postfix)";
    let away = [
        "NOQUEUE: reject: CONNECT from [2001:db8::1]:1: all server ports busy",
        "421 4.3.2 All server ports are busy",
        "DISCONNECT [2001:db8::1]:1",
    ];
    let with_warning = [&[warning][..], &away].concat();
    // Not even who is on the access list.
    for access in [Access::Permit, Access::Undecided, Access::Reject] {
        assert_eq!(door.knocks("[2001:db8::1]:1", access).1, with_warning);
    }
    for _ in 0..1000 {
        assert_eq!(door.knocks("[2001:db8::1]:1", Access::Undecided).1, away);
    }
    assert_eq!(
        door.knocks("192.0.2.1:1", Access::Permit).1,
        ["ALLOWLISTED [192.0.2.1]:1", "hand-off of 192.0.2.1:1"]
    );
    door.now.mono += Duration::from_secs(60);
    assert_eq!(door.knocks("[2001:db8::1]:1", Access::Reject).1, with_warning);
    assert_eq!(door.knocks("[2001:db8::1]:1", Access::Reject).1, away);
}

#[test]
fn an_ipv4_client_in_ipv6_clothes_is_ipv6_where_ipv4_is_off() {
    let mut policy = policy();
    policy.protocols = Protocols { ipv4: false, ipv6: true };
    let mut door = Door::new(policy);
    assert_eq!(
        door.knocks("[::ffff:192.0.2.1]:1", Access::Permit).1,
        ["ALLOWLISTED [::ffff:192.0.2.1]:1", "hand-off of [::ffff:192.0.2.1]:1"]
    );
    let texts = door.knocks("192.0.2.1:1", Access::Permit).1;
    assert_eq!(
        texts[1..],
        [
            "NOQUEUE: reject: CONNECT from [192.0.2.1]:1: all server ports busy",
            "421 4.3.2 All server ports are busy",
            "DISCONNECT [192.0.2.1]:1"
        ]
    );
}
