//! Policies, addresses, cache records and clients' words, drawn at random.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gatepost::screen::dnsbl::answer::{Answer, Failure};
use gatepost::screen::dnsbl::guard::Mode;
use gatepost::screen::dnsbl::lists::Lists;
use gatepost::screen::dnsbl::score::TtlLimits;
use gatepost::screen::dnsbl::site::parse_sites;
use gatepost::screen::policy::{
    DetailLog, DnsblRules, EngineRules, Limits, Policy, Protocols, Stressed, TlsLevel,
    UpstreamProxy, Wording,
};
use gatepost::screen::smtp::keyword::Keyword;
use gatepost::screen::test_set::{Action, CacheRecord, Expiry, PerTest, Test, TestSet, UnixTime};

use crate::footers;
use crate::keywords;
use crate::rng::Rng;
use crate::stock;

const ACTIONS: [Action; 3] = [Action::Ignore, Action::Enforce, Action::Drop];

/// A policy within the bounds that main.cf allows.
pub fn policy(rng: &mut Rng) -> Policy {
    let banner = rng.chance(90).then(|| "mx.example.test ESMTP".to_owned());
    let mut enabled = TestSet::EMPTY;
    if banner.is_some() {
        enabled = enabled.with(Test::Pregreet);
    }
    for test in [Test::Pipelining, Test::NonSmtpCommand, Test::BareNewline] {
        if rng.chance(25) {
            enabled = enabled.with(test);
        }
    }
    let dnsbl = dnsbl(rng);
    if !dnsbl.lists.is_empty() {
        enabled = enabled.with(Test::Dnsbl);
    }
    let stock = stock::policy();
    let tls_level = rng.pick(&[TlsLevel::None, TlsLevel::May, TlsLevel::May, TlsLevel::Encrypt]);
    let upstream_proxy =
        rng.chance(30).then(|| UpstreamProxy { timeout: rng.seconds(1, 5), log_checks: true });
    let both = Protocols { ipv4: true, ipv6: true };
    Policy {
        dnsbl,
        greet_banner: banner,
        enabled,
        actions: PerTest::from_fn(|_| rng.pick(&ACTIONS)),
        denylist_action: rng.pick(&ACTIONS),
        ttl: PerTest { pregreet: rng.pick(&[Duration::from_secs(1), DAY, WEEK]), ..stock.ttl },
        greet_wait: Stressed { normal: rng.seconds(1, 8), stress: rng.seconds(1, 3) },
        command_time_limit: Stressed { normal: rng.seconds(5, 60), stress: rng.seconds(1, 10) },
        line_length_limit: rng.count(512, 2048),
        engine: EngineRules {
            command_count_limit: rng.count(1, 20),
            helo_required: rng.chance(20),
            smtputf8: rng.chance(80),
            discarded: keywords::draw(rng),
            command_filter: rng.chance(40).then(|| "regexp:/filter".to_owned()),
            tls_level,
            announced: match tls_level {
                TlsLevel::None => stock.engine.announced,
                TlsLevel::May | TlsLevel::Encrypt => Keyword::ALL.to_vec(),
            },
            ..stock.engine
        },
        // What a proxy may say depends on it, which is for the tests of the header.
        protocols: match rng.between(0, 13) {
            0 if upstream_proxy.is_none() => Protocols { ipv4: false, ..both },
            1 if upstream_proxy.is_none() => Protocols { ipv6: false, ..both },
            _ => both,
        },
        limits: Limits {
            per_client: rng.chance(70).then(|| rng.count(1, 6)),
            prefix_ipv6: rng.pick(&[128, 128, 124, 64]),
            post_queue: rng.count(5, 40),
            pre_queue: rng.count(10, 80),
        },
        soft_bounce: rng.chance(20),
        footers: footers::draw(rng),
        wording: rng.pick(&[
            Wording::Respectful,
            Wording::Old { by_compatibility_level: false },
            Wording::Old { by_compatibility_level: true },
        ]),
        delay_resolution: u8::try_from(rng.between(0, 6)).unwrap(),
        upstream_proxy,
        ..stock
    }
}

/// DNS blocklists, with weights that make close calls.
fn dnsbl(rng: &mut Rng) -> DnsblRules {
    let count = if rng.chance(60) { rng.count(1, 5) } else { 0 };
    let site = |rng: &mut Rng| {
        let domain = rng.pick(&["a.test", "b.test", "c.test", "d.test"]);
        let filter =
            rng.pick(&["", "=127.0.0.2", "=127.0.0.[3..9]", "=127.0.[0..1].2", "=127.255.255.254"]);
        let weight = rng.pick(&[-5, -2, -1, 0, 1, 1, 2, 3]);
        format!("{domain}{filter}*{weight} ")
    };
    let sites: String = (0..count).map(|_| site(rng)).collect();
    DnsblRules {
        lists: Lists::new(&parse_sites(&sites).unwrap()),
        threshold: rng.pick(&[1, 1, 2, 4]),
        allowlist_threshold: rng.pick(&[None, Some(-1), Some(-3)]),
        ttl: TtlLimits { min: rng.seconds(1, 90), max: rng.seconds(60, 3600) },
        timeout: Duration::from_secs(10),
        guard: rng.pick(&[Mode::Enforce, Mode::Enforce, Mode::Warn, Mode::Off]),
        detail: rng.pick(&[DetailLog::Listed, DetailLog::All, DetailLog::None]),
    }
}

/// What a list says about a test point that it should list, or should not.
pub fn point_answer(rng: &mut Rng, mood: Mood, wanted: bool) -> Answer {
    let listed = |last| Answer::Listed { addresses: [Ipv4Addr::from(last)].into(), ttl: 60 };
    match mood {
        Mood::Well if wanted => listed([127, 0, 0, 2]),
        Mood::Well => Answer::NotListed { ttl: Some(60) },
        Mood::Mad => listed([127, 0, 0, 2]),
        Mood::Refusing => listed([127, 255, 255, 254]),
        Mood::Dead => Answer::Failed(rng.pick(&[Failure::TimeLimit, Failure::ServerError])),
    }
}

/// How a list feels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Well,
    /// It lists everybody.
    Mad,
    Refusing,
    Dead,
}

/// What a list may say.
pub fn answer(rng: &mut Rng) -> Answer {
    const RECORDS: [Ipv4Addr; 6] = [
        Ipv4Addr::new(127, 0, 0, 2),
        Ipv4Addr::new(127, 0, 0, 3),
        Ipv4Addr::new(127, 0, 1, 2),
        Ipv4Addr::new(127, 9, 9, 9),
        Ipv4Addr::new(127, 255, 255, 254),
        Ipv4Addr::new(203, 0, 113, 80),
    ];
    let ttl = rng.pick(&[0, 1, 60, 300, 900, 100_000]);
    match rng.between(0, 9) {
        0..=4 => Answer::NotListed { ttl: rng.chance(80).then_some(ttl) },
        5..=8 => {
            let addresses = (0..rng.count(1, 3)).map(|_| rng.pick(&RECORDS)).collect();
            Answer::Listed { addresses, ttl }
        }
        _ => Answer::Failed(rng.pick(&[
            Failure::TimeLimit,
            Failure::NoReply,
            Failure::ServerError,
            Failure::Unreachable,
        ])),
    }
}

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// One of our clients' addresses: a number from 0 up gives always the same one.
pub fn address(number: usize) -> IpAddr {
    let number = u16::try_from(number).unwrap();
    if number.is_multiple_of(3) {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number))
    } else {
        let [high, low] = number.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(198, 18, high, low))
    }
}

/// What an earlier process may have left in the cache.
pub fn record(rng: &mut Rng, wall: UnixTime) -> CacheRecord {
    // A whole month ahead for most clients, so that some of them need no test at all.
    let known = rng.chance(60);
    PerTest::from_fn(|_| match rng.between(0, 5) {
        _ if known => Expiry::Until(wall.plus(30 * DAY)),
        0 => Expiry::NeverPassed,
        1 => Expiry::Disabled,
        2 => Expiry::Until(wall),
        3 => Expiry::Until(wall.minus(DAY)),
        _ => Expiry::Until(wall.plus(WEEK)),
    })
}

/// What clients say.
const LINES: [&[u8]; 26] = [
    b"EHLO client.example\r\n",
    b"EHLO client.example\r\n",
    b"HELO client.example\r\n",
    b"MAIL FROM:<>\r\n",
    b"MAIL FROM:<a@client.example>\r\n",
    b"mail from:<\"a b\"@client.example> SIZE=1\r\n",
    b"RCPT TO:<x@example.test>\r\n",
    b"RCPT TO:<y@example.test>\r\n",
    b"RCPT TO:<@relay:z@example.test>\r\n",
    b"rcpt to\r\n",
    b"RSET\r\n",
    b"NOOP\0 junk\r\n",
    b"VRFY x\r\n",
    b"ETRN x\r\n",
    b"HELP\r\n",
    b"\r\n",
    b"NOOP\n",
    b"EHLO client.example\n",
    b"Subject: hello\r\n",
    b"GET / HTTP/1.0\r\n",
    b"STARTTLS\r\n",
    b"starttls \r\n",
    b"STARTTLS now\r\n",
    b"DATA\r\n",
    b"BDAT 6 LAST\r\nhello\n",
    b"QUIT\r\n",
];

/// What a client says, in one or several pieces.
pub fn words(rng: &mut Rng) -> Vec<u8> {
    match rng.between(0, 11) {
        0 => b"QUIT\r\n".to_vec(),
        1 => b"EHLO without end".to_vec(),
        2 => vec![b'x'; rng.count(1, 4000)],
        3 => (0..rng.count(1, 60)).map(|_| rng.next().to_le_bytes()[0]).collect(),
        4 => b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<x@example.test>\r\n".to_vec(),
        5 => b"STARTTLS\r\n".to_vec(),
        6 => b"STARTTLS\r\nEHLO c.example\r\nNOO".to_vec(),
        _ => (0..rng.count(1, 12)).flat_map(|_| rng.pick(&LINES).to_vec()).collect(),
    }
}
