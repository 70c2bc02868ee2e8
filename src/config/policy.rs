//! Parameters to the screening core's [`Policy`].

use super::checks::Actions;
use super::reader::Reader;
use super::settings::{Engine, Settings};
use crate::postfix::lists::split_list;
use crate::postfix::proxy_lists::{ListText, NETWORKS};
use crate::screen::dnsbl::lists::Lists;
use crate::screen::dnsbl::score::TtlLimits;
use crate::screen::footer::{Filter, Footers};
use crate::screen::policy::{
    DnsblRules, EngineRules, Limits, Policy, TlsLevel, UpstreamProxy, Wording,
};
use crate::screen::smtp::discard::{Discarded, Vocabulary};
use crate::screen::smtp::keyword::Keyword;
use crate::screen::test_set::{PerTest, Test, TestSet};

/// The tests that have a switch of their own.
const SWITCHES: [(Test, &str); 3] = [
    (Test::Pipelining, "postscreen_pipelining_enable"),
    (Test::NonSmtpCommand, "postscreen_non_smtp_command_enable"),
    (Test::BareNewline, "postscreen_bare_newline_enable"),
];

/// Makes the policy.
pub fn policy(reader: &mut Reader<'_>, actions: Actions, settings: &Settings) -> Policy {
    let greet_banner = reader.optional("postscreen_greet_banner");
    let pregreet = greet_banner.as_ref().map(|_| Test::Pregreet);
    let deep = SWITCHES.map(|(test, name)| reader.bool(name).then_some(test));
    let dnsbl = (!settings.dnsbl.sites.is_empty()).then_some(Test::Dnsbl);
    let enabled: TestSet =
        pregreet.into_iter().chain(dnsbl).chain(deep.into_iter().flatten()).collect();
    Policy {
        greet_banner,
        smtpd_banner: reader.str("smtpd_banner"),
        myhostname: reader.str("myhostname"),
        enabled,
        actions: actions.tests,
        denylist_action: actions.denylist,
        ttl: PerTest {
            pregreet: reader.time("postscreen_greet_ttl"),
            dnsbl: reader.time("postscreen_dnsbl_min_ttl"),
            pipelining: reader.time("postscreen_pipelining_ttl"),
            non_smtp_command: reader.time("postscreen_non_smtp_command_ttl"),
            bare_newline: reader.time("postscreen_bare_newline_ttl"),
        },
        dnsbl: DnsblRules {
            lists: Lists::new(&settings.dnsbl.sites),
            threshold: settings.dnsbl.threshold,
            allowlist_threshold: Some(settings.dnsbl.allowlist_threshold)
                .filter(|threshold| *threshold < 0),
            ttl: TtlLimits {
                min: reader.time("postscreen_dnsbl_min_ttl"),
                max: reader.time("postscreen_dnsbl_max_ttl"),
            },
            timeout: settings.dnsbl.timeout,
            detail: settings.own.dnsbl_detail_log,
            guard: settings.own.dnsbl_guard,
        },
        greet_wait: reader.stressed_time("postscreen_greet_wait"),
        command_time_limit: reader.stressed_time("postscreen_command_time_limit"),
        line_length_limit: reader.count("line_length_limit"),
        engine: engine(settings),
        protocols: settings.access.inet_protocols,
        limits: Limits {
            prefix_ipv6: u8::try_from(settings.own.client_connection_prefix_ipv6).unwrap_or(128),
            per_client: Some(reader.count("postscreen_client_connection_count_limit"))
                .filter(|limit| *limit > 0),
            post_queue: reader.count("postscreen_post_queue_limit"),
            pre_queue: reader.count("postscreen_pre_queue_limit"),
        },
        soft_bounce: reader.bool("soft_bounce"),
        footers: footers(&settings.engine),
        wording: wording(reader),
        delay_resolution: u8::try_from(reader.int("delay_logging_resolution_limit")).unwrap_or(0),
        smtpd_service: reader.str("smtpd_service_name"),
        tlsproxy_service: reader.str("tlsproxy_service_name"),
        upstream_proxy: settings.upstream_proxy.then(|| upstream_proxy(reader, settings)),
    }
}

fn engine(settings: &Settings) -> EngineRules {
    let wanted = &settings.engine;
    let announced = |keyword: &Keyword| match keyword {
        Keyword::Vrfy => !wanted.vrfy_keyword_disabled,
        Keyword::Smtputf8 => settings.smtputf8,
        Keyword::Starttls => wanted.tls_level != TlsLevel::None,
        _ => true,
    };
    let is_before = |major, minor| {
        settings.mail_version.is_some_and(|version| !version.is_at_least(major, minor))
    };
    let vocabulary = if is_before(3, 11) { Vocabulary::Before311 } else { Vocabulary::Since311 };
    EngineRules {
        command_count_limit: wanted.command_count_limit,
        helo_required: wanted.helo_required,
        vrfy_disabled: wanted.vrfy_command_disabled,
        tls_level: wanted.tls_level,
        discarded_starttls_works: settings
            .mail_version
            .is_some_and(|version| version.is_at_least(3, 12)),
        announced: Keyword::ALL.into_iter().filter(announced).collect(),
        discarded: Discarded::parse(&wanted.discard_ehlo_keywords, vocabulary),
        vocabulary,
        message_size_limit: wanted.message_size_limit,
        smtputf8: settings.smtputf8,
        command_filter: wanted.command_filter.clone(),
        address_format: wanted.address_format,
        old_starttls_syntax: is_before(3, 8),
    }
}

fn upstream_proxy(reader: &mut Reader<'_>, settings: &Settings) -> UpstreamProxy {
    let own = &settings.own;
    if !own.upstream_proxy_log_checks && own.proxy_lists.networks == ListText::Unset {
        reader.warn(format!("upstream_proxy_log_checks = no has no effect without {NETWORKS}"));
    }
    UpstreamProxy {
        timeout: reader.time("postscreen_upstream_proxy_timeout"),
        log_checks: own.upstream_proxy_log_checks,
    }
}

fn footers(wanted: &Engine) -> Footers {
    Footers {
        general: wanted.reject_footer.as_deref().map(Into::into),
        by_reply: split_list(&wanted.reject_footer_maps).next().is_some(),
        filter: Filter::parse(&wanted.expansion_filter),
    }
}

/// Postfix before 3.6 knows the old words only.
fn wording(reader: &mut Reader<'_>) -> Wording {
    let has_choice = reader.values.version().is_none_or(|version| version.is_at_least(3, 6));
    if !has_choice {
        return Wording::Old { by_compatibility_level: false };
    }
    if reader.bool("respectful_logging") {
        return Wording::Respectful;
    }
    Wording::Old { by_compatibility_level: !reader.values.is_set("respectful_logging") }
}
