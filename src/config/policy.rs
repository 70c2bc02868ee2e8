//! Parameters to the screening core's [`Policy`].

use super::checks::Actions;
use super::reader::Reader;
use crate::postfix::message::Message;
use crate::screen::policy::{Limits, Policy, Wording};
use crate::screen::test_set::{PerTest, Test, TestSet};

/// The parameters that switch on tests which do not exist yet, besides
/// `postscreen_dnsbl_sites`.
const SWITCHES: [&str; 3] = [
    "postscreen_pipelining_enable",
    "postscreen_non_smtp_command_enable",
    "postscreen_bare_newline_enable",
];

/// Makes the policy; warns about tests that are switched on but do not exist yet.
pub fn policy(reader: &mut Reader<'_>, actions: Actions) -> Policy {
    let greet_banner = reader.optional("postscreen_greet_banner");
    let enabled = match greet_banner {
        Some(_) => TestSet::EMPTY.with(Test::Pregreet),
        None => TestSet::EMPTY,
    };
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
        dnsbl_max_ttl: reader.time("postscreen_dnsbl_max_ttl"),
        greet_wait: reader.stressed_time("postscreen_greet_wait"),
        command_time_limit: reader.stressed_time("postscreen_command_time_limit"),
        line_length_limit: reader.count("line_length_limit"),
        limits: Limits {
            per_client: Some(reader.count("postscreen_client_connection_count_limit"))
                .filter(|limit| *limit > 0),
            post_queue: reader.count("postscreen_post_queue_limit"),
            pre_queue: reader.count("postscreen_pre_queue_limit"),
        },
        soft_bounce: reader.bool("soft_bounce"),
        wording: wording(reader),
        delay_resolution: u8::try_from(reader.int("delay_logging_resolution_limit")).unwrap_or(0),
        smtpd_service: reader.str("smtpd_service_name"),
    }
}

/// Says which tests main.cf asks for in vain.
pub fn missing_tests(reader: &mut Reader<'_>) -> Vec<Message> {
    let dnsbl = reader.optional("postscreen_dnsbl_sites").map(|_| "postscreen_dnsbl_sites");
    let deep = SWITCHES.map(|name| reader.bool(name).then_some(name));
    let names = dnsbl.into_iter().chain(deep.into_iter().flatten());
    names
        .map(|name| {
            Message::warning(format!(
                "{name} is set, but this version of Gatepost does not do that test yet"
            ))
        })
        .collect()
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
