//! The policy, and what the core may ask.
//!
//! One byte each, in the order in which they are taken here; 0, and what is missing, stands
//! for what a stock main.cf has. A new choice is taken last, so that corpus files keep their
//! meaning.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gatepost::screen::dnsbl::guard::Mode;
use gatepost::screen::dnsbl::guard::saved::Saved;
use gatepost::screen::dnsbl::lists::Lists;
use gatepost::screen::dnsbl::site::parse_sites;
use gatepost::screen::event::{Access, Cached, Filtered, Lookup, Lookups, Spoken, Trust};
use gatepost::screen::footer::{Filter, Footers};
use gatepost::screen::logline::Message;
use gatepost::screen::policy::{
    AddressFormat, DetailLog, DnsblRules, EngineRules, Limits, Policy, TlsLevel, Wording,
};
use gatepost::screen::session::SessionId;
use gatepost::screen::smtp::discard::{Discarded, Vocabulary};
use gatepost::screen::smtp::keyword::Keyword;
use gatepost::screen::test_set::{Action, CacheRecord, Expiry, PerTest, Test, TestSet, UnixTime};

use super::world::START;
use crate::targets::take::Take;

#[path = "../../../../simulation/stock.rs"]
mod stock;

const SITES: [&str; 5] = [
    "",
    "a.test",
    "a.test*2 b.test=127.0.0.[2..4]*3 good.test*-2",
    "a.test a.test=127.0.0.2*2 k3y0123456789abcdef.b.test*2147483647 c.test*2147483647",
    "good.test*-2147483648 also.test*-2147483648 a.test=127.0.0.[1;9]",
];

const FOOTERS: [Option<&str>; 5] = [
    None,
    Some("Call us; you are ${client_address}:$client_port"),
    Some("\\c, $server_name\\nat $localtime\\n"),
    Some("${client_address"),
    Some("\\c$$ $unknown\\n${client_port?{odd}:{even}}"),
];

const KEYWORDS: [&str; 3] = ["", "chunking dsn", "size,silent-discard,starttls"];

/// How many sessions one client may have, and how much of an IPv6 address is a client.
const CROWDS: [(Option<usize>, u8); 6] =
    [(Some(50), 128), (Some(1), 128), (Some(2), 128), (None, 128), (Some(1), 64), (Some(2), 1)];

/// What was remembered of lists.
const SAVED: [Option<&str>; 5] = [
    None,
    Some("1 zone a.test aside=silent since=1799990000 silent=1799990000"),
    Some("1 zone a.test aside=refuses,127.255.255.254 since=1 warned=1"),
    Some("1 zone good.test aside=silent since=18446744073709551615 warned=18446744073709551615"),
    Some("1 resolver since=0 warned=18446744073709551615"),
];

/// What the world begins with.
pub fn draw(take: &mut Take<'_>) -> (Policy, Outside, Vec<Saved>) {
    let mut policy = policy(take);
    let outside = Outside {
        access: [(); 2].map(|()| {
            take.pick(&[Access::Undecided, Access::Permit, Access::Reject, Access::Undecided])
        }),
        records: [(); 2].map(|()| record(take)),
        closed_end: take.pick(&[None, Some(0), Some(1)]).map(server),
        footer: take.pick(&FOOTERS),
        keywords: take.pick(&[None, Some(KEYWORDS[1]), Some(KEYWORDS[2])]),
        stored: HashMap::new(),
    };
    let saved = take.pick(&SAVED).map(|text| Saved::decode(text).unwrap());
    policy.engine.command_filter = take.pick(&[None, Some("regexp:/f")]).map(str::to_owned);
    policy.engine.tls_level = take.pick(&[TlsLevel::None, TlsLevel::May, TlsLevel::Encrypt]);
    if policy.engine.tls_level != TlsLevel::None {
        policy.engine.announced = Keyword::ALL.to_vec();
    }
    policy.engine.discarded_starttls_works = take.pick(&[false, true]);
    (policy, outside, saved.into_iter().collect())
}

fn policy(take: &mut Take<'_>) -> Policy {
    let stock = stock::policy();
    let switches = take.number();
    let on = |bit: u8| switches & bit != 0;
    let banner = stock.greet_banner.filter(|_| !on(16));
    let sites = take.pick(&SITES);
    let tests = [
        (banner.is_some(), Test::Pregreet),
        (!sites.is_empty(), Test::Dnsbl),
        (on(1), Test::Pipelining),
        (on(2), Test::NonSmtpCommand),
        (on(4), Test::BareNewline),
    ];
    let enabled: TestSet = tests.into_iter().filter(|(on, _)| *on).map(|(_, test)| test).collect();
    let (per_client, prefix_ipv6) = take.pick(&CROWDS);
    Policy {
        greet_banner: banner,
        enabled,
        actions: PerTest::from_fn(|test| action(take, stock.actions[test])),
        denylist_action: action(take, stock.denylist_action),
        dnsbl: DnsblRules {
            lists: Lists::new(&parse_sites(sites).unwrap()),
            threshold: take.pick(&[stock.dnsbl.threshold, 2, 3, i32::MAX]),
            allowlist_threshold: take.pick(&[None, Some(-1), Some(i32::MIN)]),
            detail: take.pick(&[DetailLog::Listed, DetailLog::All, DetailLog::None]),
            guard: take.pick(&[stock.dnsbl.guard, Mode::Enforce, Mode::Warn]),
            ..stock.dnsbl
        },
        line_length_limit: take.pick(&[stock.line_length_limit, 512, 513]),
        limits: Limits {
            per_client,
            prefix_ipv6,
            post_queue: take.pick(&[stock.limits.post_queue, 1, 2, 0]),
            pre_queue: take.pick(&[stock.limits.pre_queue, 2, 3, 0]),
        },
        soft_bounce: take.pick(&[false, true]),
        footers: Footers {
            general: take.pick(&FOOTERS).map(Into::into),
            by_reply: take.pick(&[false, true]),
            filter: take
                .pick(&[None, Some("0123456789.:")])
                .map_or(stock.footers.filter, Filter::parse),
        },
        wording: take.pick(&[
            Wording::Respectful,
            Wording::Old { by_compatibility_level: false },
            Wording::Old { by_compatibility_level: true },
        ]),
        delay_resolution: take.pick(&[stock.delay_resolution, 0, 6]),
        engine: EngineRules {
            command_count_limit: take.pick(&[stock.engine.command_count_limit, 1, 2, 4]),
            helo_required: take.pick(&[false, true]),
            vrfy_disabled: take.pick(&[false, true]),
            discarded: Discarded::parse(take.pick(&KEYWORDS), stock.engine.vocabulary),
            vocabulary: take.pick(&[stock.engine.vocabulary, Vocabulary::Since311]),
            message_size_limit: take.pick(&[stock.engine.message_size_limit, 0, u64::MAX]),
            smtputf8: take.pick(&[true, false]),
            address_format: take.pick(&[stock.engine.address_format, AddressFormat::Internal]),
            old_starttls_syntax: take.pick(&[true, false]),
            ..stock.engine
        },
        ..stock
    }
}

fn action(take: &mut Take<'_>, stock: Action) -> Action {
    take.pick(&[stock, Action::Ignore, Action::Enforce, Action::Drop])
}

fn record(take: &mut Take<'_>) -> Cached {
    let good = Expiry::Until(START.plus(Duration::from_secs(40 * 86_400)));
    let stale = Expiry::Until(UnixTime(START.0 - 1));
    let all = |expiry| Cached::Found(PerTest::from_fn(|_| expiry));
    match take.number() % 7 {
        1 => all(good),
        2 => all(stale),
        3 => all(Expiry::Disabled),
        4 => all(Expiry::Until(START)),
        5 => Cached::Found(PerTest {
            pregreet: stale,
            bare_newline: Expiry::NeverPassed,
            ..PerTest::from_fn(|_| good)
        }),
        6 => Cached::Failed("cache: disk I/O error".into()),
        _ => Cached::NotFound,
    }
}

/// The clients' addresses; only the first two are on lists.
pub fn address(number: u8) -> IpAddr {
    match number % 4 {
        0 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        1 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        number => IpAddr::V4(Ipv4Addr::new(198, 51, 100, number)),
    }
}

/// Our addresses.
pub fn server(number: u8) -> IpAddr {
    match number % 2 {
        0 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 25)),
        _ => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 25)),
    }
}

/// What the core may ask.
pub struct Outside {
    access: [Access; 2],
    records: [Cached; 2],
    closed_end: Option<IpAddr>,
    footer: Option<&'static str>,
    keywords: Option<&'static str>,
    pub stored: HashMap<IpAddr, CacheRecord>,
}

impl Lookups for Outside {
    fn access(
        &mut self,
        _: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Access> {
        messages.push(Message::warning("access list: something to say"));
        let known = self.access.iter().zip(0..).find(|(_, number)| address(*number) == client);
        Lookup::Known(known.map_or(Access::Undecided, |(access, _)| *access))
    }

    fn stop_asking(&mut self, _: SessionId) {}

    fn cached(&mut self, client: IpAddr) -> Cached {
        if let Some(record) = self.stored.get(&client) {
            return Cached::Found(*record);
        }
        let known = self.records.iter().zip(0..).find(|(_, number)| address(*number) == client);
        known.map_or(Cached::NotFound, |(cached, _)| cached.clone())
    }

    fn interface_allowed(
        &mut self,
        _: SessionId,
        server: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<bool> {
        Lookup::Known(self.closed_end != Some(server))
    }

    fn discarded_keywords(
        &mut self,
        _: SessionId,
        _: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        Lookup::Known(self.keywords.map(str::to_owned))
    }

    fn footer(
        &mut self,
        _: SessionId,
        reply: &str,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        assert!(reply.starts_with(['4', '5']), "no footer for {reply}");
        Lookup::Known(self.footer.map(str::to_owned))
    }

    fn command_filter(
        &mut self,
        _: SessionId,
        line: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<Filtered> {
        Lookup::Known({
            match line {
                b"help" => Filtered::Replaced("QUIT".into()),
                b"nothing" => Filtered::Replaced("".into()),
                b"trouble" => {
                    messages.push(Message::warning("filter: disk I/O error"));
                    Filtered::Failed
                }
                [b'x' | b'y', rest @ ..] => {
                    let rest = String::from_utf8_lossy(rest);
                    Filtered::Replaced(format!("MAIL FROM:<{rest}>").into())
                }
                _ => Filtered::Unchanged,
            }
        })
    }

    fn forbidden(
        &mut self,
        _: SessionId,
        word: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<bool> {
        if word == b"trouble" {
            messages.push(Message::warning("list: disk I/O error"));
        }
        Lookup::Known(
            word.first().is_some_and(|byte| !byte.is_ascii_alphabetic()) || word == b"GET",
        )
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        Spoken::Yes
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        Trust::Anybody
    }

    fn local_time(&mut self, _: UnixTime) -> String {
        "Jan 15 08:00:00".into()
    }
}
