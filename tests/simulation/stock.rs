//! The policy of a stock main.cf, from which the tests start.

use std::time::Duration;

use gatepost::screen::dnsbl::guard::Mode;
use gatepost::screen::dnsbl::lists::Lists;
use gatepost::screen::dnsbl::score::TtlLimits;
use gatepost::screen::footer::{Filter, Footers};
use gatepost::screen::policy::{
    AddressFormat, DetailLog, DnsblRules, EngineRules, Limits, Policy, Protocols, Stressed,
    TlsLevel, Wording,
};
use gatepost::screen::smtp::discard::{Discarded, Vocabulary};
use gatepost::screen::smtp::keyword::Keyword;
use gatepost::screen::test_set::{Action, PerTest, Test, TestSet};

const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Postfix's defaults at compatibility level 3.6, on a host named mx.example.test.
pub fn policy() -> Policy {
    Policy {
        greet_banner: Some("mx.example.test ESMTP Postfix".into()),
        smtpd_banner: "mx.example.test ESMTP Postfix".into(),
        myhostname: "mx.example.test".into(),
        enabled: TestSet::EMPTY.with(Test::Pregreet),
        actions: PerTest {
            pregreet: Action::Ignore,
            dnsbl: Action::Ignore,
            pipelining: Action::Enforce,
            non_smtp_command: Action::Drop,
            bare_newline: Action::Ignore,
        },
        denylist_action: Action::Ignore,
        ttl: PerTest {
            pregreet: DAY,
            dnsbl: Duration::from_secs(60),
            pipelining: MONTH,
            non_smtp_command: MONTH,
            bare_newline: MONTH,
        },
        dnsbl: DnsblRules {
            lists: Lists::default(),
            threshold: 1,
            allowlist_threshold: None,
            ttl: TtlLimits { min: Duration::from_secs(60), max: Duration::from_secs(3600) },
            timeout: Duration::from_secs(10),
            detail: DetailLog::Listed,
            guard: Mode::Off,
        },
        greet_wait: Stressed { normal: Duration::from_secs(6), stress: Duration::from_secs(2) },
        command_time_limit: Stressed {
            normal: Duration::from_secs(300),
            stress: Duration::from_secs(10),
        },
        line_length_limit: 2048,
        engine: EngineRules {
            command_count_limit: 20,
            helo_required: false,
            vrfy_disabled: false,
            tls_level: TlsLevel::None,
            discarded_starttls_works: false,
            announced: Keyword::ALL.into_iter().filter(|word| *word != Keyword::Starttls).collect(),
            discarded: Discarded::NOTHING,
            vocabulary: Vocabulary::Before311,
            message_size_limit: 10_240_000,
            smtputf8: true,
            command_filter: None,
            address_format: AddressFormat::External,
            old_starttls_syntax: true,
        },
        protocols: Protocols { ipv4: true, ipv6: true },
        limits: Limits { per_client: Some(50), prefix_ipv6: 128, post_queue: 100, pre_queue: 100 },
        soft_bounce: false,
        footers: Footers { general: None, by_reply: false, filter: printable() },
        wording: Wording::Respectful,
        delay_resolution: 2,
        smtpd_service: "smtpd".into(),
        tlsproxy_service: "tlsproxy".into(),
        upstream_proxy: None,
    }
}

/// main.cf: `smtpd_expansion_filter`
fn printable() -> Filter {
    let bytes: String = (' '..='~').collect();
    Filter::parse(&bytes.replace('\\', r"\\\t"))
}
