//! The recordings in which DNS blocklists have a say.
//!
//! A recording that has several lists with nothing to say about the client is played with
//! those that matter.

use super::*;
use gatepost::screen::dnsbl::lists::Lists;
use gatepost::screen::dnsbl::site::parse_sites;

const EHLO: &str = "a 250-mx.example.test\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
                    250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n\
                    250 CHUNKING";
const SENDER_OK: &str = "a 250 2.1.0 Ok";
const BYE: &[&str] = &["a 221 2.0.0 Bye", "a EOF"];

/// The settings of a recording: these lists, this action, a wait of so many seconds.
fn lists(sites: &str, action: Action, wait: u64) -> impl FnOnce(&mut Policy) {
    move |policy| {
        policy.enabled = policy.enabled.with(Test::Dnsbl);
        policy.dnsbl.lists = Lists::new(&parse_sites(sites).unwrap());
        policy.dnsbl.detail = DetailLog::None;
        policy.actions.dnsbl = action;
        policy.greet_wait.normal = Duration::from_secs(wait);
    }
}

/// A service, the settings of which are changed once more.
fn service(sites: &str, action: Action, wait: u64, set: impl FnOnce(&mut Policy)) -> Service {
    Service::new(|policy| {
        lists(sites, action, wait)(policy);
        set(policy);
    })
}

fn pregreet(action: Action) -> impl FnOnce(&mut Policy) {
    move |policy| policy.actions.pregreet = action
}

#[test]
fn v03_pregreeter_enforce_nothing_to_wait_for() {
    service("bl.test", Action::Ignore, 2, pregreet(Action::Enforce))
        .with_answer("bl.test", 20, &[])
        .play(
            "V03",
            &[
                (0, 'a', Connect("203.0.113.6"), &[TEASER]),
                (0, 'a', Say(b"EHLO client.example\r\n"), &[]),
                (20, 'a', Wait, &[EHLO]),
                (20, 'a', Say(b"MAIL FROM:<a@client.example>\r\n"), &[SENDER_OK]),
                (20, 'a', Say(b"RCPT TO:<b@example.test>\r\n"), &["a 550 5.5.1 Protocol error"]),
                (20, 'a', Say(b"QUIT\r\n"), BYE),
            ],
            &[
                "CONNECT from [203.0.113.6]:Pa to [192.0.2.1]:25",
                "PREGREET 21 after 0 from [203.0.113.6]:Pa: EHLO client.example\\r\\n",
                "NOQUEUE: reject: RCPT from [203.0.113.6]:Pa: 550 5.5.1 Protocol error; \
                 from=<a@client.example>, to=<b@example.test>, proto=ESMTP, helo=<client.example>",
                "DISCONNECT [203.0.113.6]:Pa",
            ],
        );
}

#[test]
fn v05_pregreeter_ignore_ends_with_the_answer() {
    service("bl.test", Action::Ignore, 2, pregreet(Action::Ignore))
        .with_answer("bl.test", 620, &[])
        .play(
            "V05",
            &[
                (20, 'a', Connect("203.0.113.31"), &[TEASER]),
                (300, 'a', Say(b"EHLO c.example\r\n"), &[]),
                (639, 'a', Wait, &[]),
                (640, 'a', Wait, &["a smtpd 16"]),
            ],
            &[
                "CONNECT from [203.0.113.31]:Pa to [192.0.2.1]:25",
                "PREGREET 16 after 0.28 from [203.0.113.31]:Pa: EHLO c.example\\r\\n",
                "smtpd: connect from unknown[203.0.113.31]",
            ],
        );
}

#[test]
fn v09_pregreeter_listed_both_enforced() {
    service("s.test", Action::Enforce, 4, pregreet(Action::Enforce))
        .with_answer("s.test", 1010, &["127.0.0.2"])
        .play(
            "V09",
            &[
                (10, 'a', Connect("203.0.113.41"), &[TEASER]),
                (300, 'a', Say(b"EHLO x\r\n"), &[]),
                (1019, 'a', Wait, &[]),
                (1020, 'a', Wait, &[EHLO]),
                (3300, 'a', Say(b"MAIL FROM:<a@c.example>\r\n"), &[SENDER_OK]),
                (
                    3310,
                    'a',
                    Say(b"RCPT TO:<b@example.test>\r\n"),
                    &["a 550 5.7.1 Service unavailable; client [203.0.113.41] blocked using s.test"],
                ),
                (3310, 'a', Say(b"QUIT\r\n"), BYE),
            ],
            &[
                "CONNECT from [203.0.113.41]:Pa to [192.0.2.1]:25",
                "PREGREET 8 after 0.29 from [203.0.113.41]:Pa: EHLO x\\r\\n",
                "dnsblog: addr 203.0.113.41 listed by domain s.test as 127.0.0.2",
                "DNSBL rank 1 for [203.0.113.41]:Pa",
                "NOQUEUE: reject: RCPT from [203.0.113.41]:Pa: 550 5.7.1 Service unavailable; \
                 client [203.0.113.41] blocked using s.test; from=<a@c.example>, \
                 to=<b@example.test>, proto=ESMTP, helo=<x>",
                "DISCONNECT [203.0.113.41]:Pa",
            ],
        );
}

#[test]
fn v10_listed_enforce() {
    service("bl.test*2", Action::Enforce, 2, |policy| policy.dnsbl.threshold = 2)
        .with_answer("bl.test", 10, &["127.0.0.2"])
        .play(
            "V10",
            &[
                (0, 'a', Connect("203.0.113.10"), &[TEASER]),
                (1999, 'a', Wait, &[]),
                (2000, 'a', Wait, &[GREETING]),
                (2000, 'a', Say(b"EHLO client.example\r\n"), &[EHLO]),
                (2000, 'a', Say(b"MAIL FROM:<a@client.example>\r\n"), &[SENDER_OK]),
                (
                    2000,
                    'a',
                    Say(b"RCPT TO:<b@example.test>\r\n"),
                    &["a 550 5.7.1 Service unavailable; client [203.0.113.10] blocked using bl.test"],
                ),
                (2000, 'a', Say(b"QUIT\r\n"), BYE),
            ],
            &[
                "CONNECT from [203.0.113.10]:Pa to [192.0.2.1]:25",
                "dnsblog: addr 203.0.113.10 listed by domain bl.test as 127.0.0.2",
                "DNSBL rank 2 for [203.0.113.10]:Pa",
                "NOQUEUE: reject: RCPT from [203.0.113.10]:Pa: 550 5.7.1 Service unavailable; \
                 client [203.0.113.10] blocked using bl.test; from=<a@client.example>, \
                 to=<b@example.test>, proto=ESMTP, helo=<client.example>",
                "DISCONNECT [203.0.113.10]:Pa",
            ],
        );
}

#[test]
fn v11_listed_drop_ipv6() {
    service("bl.test", Action::Drop, 2, |_| ()).with_answer("bl.test", 10, &["127.0.0.2"]).play(
        "V11",
        &[
            (30, 'a', Connect("2001:db8:1::7"), &[TEASER]),
            (
                2030,
                'a',
                Wait,
                &[
                    "a 521 5.7.1 Service unavailable; client [2001:db8:1::7] blocked using bl.test",
                    "a EOF",
                ],
            ),
        ],
        &[
            "CONNECT from [2001:db8:1::7]:Pa to [192.0.2.1]:25",
            "dnsblog: addr 2001:db8:1::7 listed by domain bl.test as 127.0.0.2",
            "DNSBL rank 1 for [2001:db8:1::7]:Pa",
            "DISCONNECT [2001:db8:1::7]:Pa",
        ],
    );
}

#[test]
fn v12_listed_ignore() {
    service("bl.test", Action::Ignore, 2, |_| ()).with_answer("bl.test", 10, &["127.0.0.2"]).play(
        "V12",
        &[(10, 'a', Connect("203.0.113.12"), &[TEASER]), (2010, 'a', Wait, &["a smtpd 0"])],
        &[
            "CONNECT from [203.0.113.12]:Pa to [192.0.2.1]:25",
            "dnsblog: addr 203.0.113.12 listed by domain bl.test as 127.0.0.2",
            "DNSBL rank 1 for [203.0.113.12]:Pa",
            "smtpd: connect from unknown[203.0.113.12]",
        ],
    );
}

/// The log has the public name of the second list, unlike the recording.
#[test]
fn v13_filters_weights_reply_map() {
    let sites = "bl.test*2 secret.bl2.test=127.0.0.[2;4..6]";
    service(sites, Action::Drop, 2, |policy| {
        let map = |domain: &str| {
            Ok::<_, ()>((domain == "secret.bl2.test").then(|| "bl2.example".to_owned()))
        };
        policy.dnsbl.lists.rename(map).unwrap();
    })
    .with_answer("bl.test", 10, &["127.0.0.4", "127.0.0.10"])
    .with_answer("secret.bl2.test", 20, &["127.0.0.5"])
    .play(
        "V13",
        &[
            (0, 'a', Connect("203.0.113.11"), &[TEASER]),
            (
                2000,
                'a',
                Wait,
                &[
                    "a 521 5.7.1 Service unavailable; client [203.0.113.11] blocked using bl.test",
                    "a EOF",
                ],
            ),
        ],
        &[
            "CONNECT from [203.0.113.11]:Pa to [192.0.2.1]:25",
            "dnsblog: addr 203.0.113.11 listed by domain bl.test as 127.0.0.4",
            "dnsblog: addr 203.0.113.11 listed by domain bl.test as 127.0.0.10",
            "dnsblog: addr 203.0.113.11 listed by domain bl2.example as 127.0.0.5",
            "DNSBL rank 3 for [203.0.113.11]:Pa",
            "DISCONNECT [203.0.113.11]:Pa",
        ],
    );
}

const FOUR_TIMES: &str =
    "ttl.test=127.0.0.2*1 ttl.test=127.0.0.[2..4]*2 ttl.test=127.0.0.4*4 ttl.test*-1";

#[test]
fn v14_one_domain_four_times() {
    service(FOUR_TIMES, Action::Drop, 1, |_| ())
        .with_answer("ttl.test", 10, &["127.0.0.2", "127.0.0.4"])
        .play(
            "V14",
            &[
                (30, 'a', Connect("203.0.113.160"), &[TEASER]),
                (
                    1030,
                    'a',
                    Wait,
                    &[
                        "a 521 5.7.1 Service unavailable; client [203.0.113.160] blocked using \
                         ttl.test",
                        "a EOF",
                    ],
                ),
            ],
            &[
                "CONNECT from [203.0.113.160]:Pa to [192.0.2.1]:25",
                "dnsblog: addr 203.0.113.160 listed by domain ttl.test as 127.0.0.2",
                "dnsblog: addr 203.0.113.160 listed by domain ttl.test as 127.0.0.4",
                "DNSBL rank 6 for [203.0.113.160]:Pa",
                "DISCONNECT [203.0.113.160]:Pa",
            ],
        );
}

#[test]
fn v15_one_domain_four_times_the_negative_entry() {
    service(FOUR_TIMES, Action::Drop, 1, |_| ()).with_answer("ttl.test", 10, &["127.0.0.9"]).play(
        "V15",
        &[(10, 'a', Connect("203.0.113.155"), &[TEASER]), (1010, 'a', Wait, &["a smtpd 0"])],
        &[
            "CONNECT from [203.0.113.155]:Pa to [192.0.2.1]:25",
            "dnsblog: addr 203.0.113.155 listed by domain ttl.test as 127.0.0.9",
            "PASS NEW [203.0.113.155]:Pa",
            "smtpd: connect from unknown[203.0.113.155]",
        ],
    );
}

#[test]
fn v16_allowlisted_by_dns() {
    let mut service = service("bl.test wl.test*-2", Action::Drop, 6, |policy| {
        policy.dnsbl.allowlist_threshold = Some(-1);
        for test in [Test::Pipelining, Test::NonSmtpCommand, Test::BareNewline] {
            policy.enabled = policy.enabled.with(test);
        }
    })
    .with_answer("bl.test", 5, &[])
    .with_answer("wl.test", 20, &["127.0.5.1"]);
    service.play(
        "V16",
        &[
            (10, 'a', Connect("203.0.113.20"), &[TEASER]),
            (29, 'a', Wait, &[]),
            (30, 'a', Wait, &["a smtpd 0"]),
        ],
        &[
            "CONNECT from [203.0.113.20]:Pa to [192.0.2.1]:25",
            "dnsblog: addr 203.0.113.20 listed by domain wl.test as 127.0.5.1",
            "PASS NEW [203.0.113.20]:Pa",
            "smtpd: connect from unknown[203.0.113.20]",
        ],
    );
    let record = service.tables.cache.values().next().unwrap();
    assert!(Test::ALL.iter().all(|test| record[*test] == record.dnsbl), "{record:?}");
}

/// In the recording dnsblog(8) logs the late answer; here nobody asks any more.
#[test]
fn v17_answer_after_the_wait() {
    service("slow.test", Action::Drop, 2, |_| ())
        .with_answer("slow.test", 3000, &["127.0.0.2"])
        .play(
            "V17",
            &[
                (0, 'a', Connect("203.0.113.18"), &[TEASER]),
                (2000, 'a', Wait, &["a smtpd 0"]),
                (4000, 'a', Wait, &[]),
            ],
            &[
                "CONNECT from [203.0.113.18]:Pa to [192.0.2.1]:25",
                "PASS NEW [203.0.113.18]:Pa",
                "smtpd: connect from unknown[203.0.113.18]",
            ],
        );
}

/// Both sessions are let go with the answer; the one that has talked too early at once.
#[test]
fn v20_two_sessions_share_a_look_up() {
    service("bl.test", Action::Drop, 3, |_| ()).with_answer("bl.test", 1300, &["127.0.0.2"]).play(
        "V20",
        &[
            (310, 'a', Connect("203.0.113.14"), &[TEASER]),
            (500, 'b', Connect("203.0.113.14"), &["b 220-mx.example.test ESMTP Postfix"]),
            (
                3310,
                'a',
                Wait,
                &[
                    "a 521 5.7.1 Service unavailable; client [203.0.113.14] blocked using bl.test",
                    "a EOF",
                ],
            ),
            (
                3500,
                'b',
                Wait,
                &[
                    "b 521 5.7.1 Service unavailable; client [203.0.113.14] blocked using bl.test",
                    "b EOF",
                ],
            ),
        ],
        &[
            "CONNECT from [203.0.113.14]:Pa to [192.0.2.1]:25",
            "CONNECT from [203.0.113.14]:Pb to [192.0.2.1]:25",
            "dnsblog: addr 203.0.113.14 listed by domain bl.test as 127.0.0.2",
            "DNSBL rank 1 for [203.0.113.14]:Pa",
            "DISCONNECT [203.0.113.14]:Pa",
            "DNSBL rank 1 for [203.0.113.14]:Pb",
            "DISCONNECT [203.0.113.14]:Pb",
        ],
    );
}

#[test]
fn v64_hangup_in_the_engine() {
    service("bl.test*2", Action::Enforce, 2, |_| ())
        .with_answer("bl.test", 10, &["127.0.0.2"])
        .play(
            "V64",
            &[
                (0, 'a', Connect("203.0.113.23"), &[TEASER]),
                (2000, 'a', Wait, &[GREETING]),
                (2870, 'a', HangUp, &["a EOF"]),
            ],
            &[
                "CONNECT from [203.0.113.23]:Pa to [192.0.2.1]:25",
                "dnsblog: addr 203.0.113.23 listed by domain bl.test as 127.0.0.2",
                "DNSBL rank 2 for [203.0.113.23]:Pa",
                "HANGUP after 0.87 from [203.0.113.23]:Pa in tests after SMTP handshake",
                "DISCONNECT [203.0.113.23]:Pa",
            ],
        );
}
