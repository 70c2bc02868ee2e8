//! What the core's tests share.

use std::net::IpAddr;
use std::time::Duration;

use super::dnsbl::guard::Mode;
use super::dnsbl::lists::Lists;
use super::dnsbl::score::TtlLimits;
use super::event::{Access, Cached, Filtered, Lookup, Lookups, Spoken, Trust};
use super::footer::Footers;
use super::logline::Message;
use super::policy::{
    AddressFormat, DetailLog, DnsblRules, EngineRules, Limits, Policy, Protocols, Stressed,
    TlsLevel, Wording,
};
use super::session::SessionId;
use super::smtp::discard::{Discarded, Vocabulary};
use super::smtp::keyword::Keyword;
use super::test_set::{Action, PerTest, Test, TestSet, UnixTime};

/// A policy like that of a stock main.cf at compatibility level 3.6.
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
            pregreet: Duration::from_secs(86_400),
            dnsbl: Duration::from_secs(60),
            pipelining: Duration::from_secs(30 * 86_400),
            non_smtp_command: Duration::from_secs(30 * 86_400),
            bare_newline: Duration::from_secs(30 * 86_400),
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
        footers: Footers::default(),
        wording: Wording::Respectful,
        delay_resolution: 2,
        smtpd_service: "smtpd".into(),
        tlsproxy_service: "tlsproxy".into(),
        upstream_proxy: None,
    }
}

/// Tables and a cache that say this about every client, and nothing else.
pub struct Says(pub Access);

impl Lookups for Says {
    fn access(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<Access> {
        Lookup::Known(self.0)
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
        _: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        Lookup::Known(None)
    }

    fn command_filter(&mut self, _: SessionId, _: &[u8], _: &mut Vec<Message>) -> Lookup<Filtered> {
        Lookup::Known(Filtered::Unchanged)
    }

    fn forbidden(&mut self, _: SessionId, _: &[u8], _: &mut Vec<Message>) -> Lookup<bool> {
        Lookup::Known(false)
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        Spoken::Yes
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        Trust::Anybody
    }

    fn footer(&mut self, _: SessionId, _: &str, _: &mut Vec<Message>) -> Lookup<Option<String>> {
        Lookup::Known(None)
    }

    fn local_time(&mut self, _: UnixTime) -> String {
        String::new()
    }
}
