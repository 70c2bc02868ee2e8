//! gatepost.cf: no mistake in it keeps the service from starting, and it changes nothing
//! that main.cf decides.
//!
//! Input: the text of the file.

use std::sync::OnceLock;

use gatepost::config::Loaded;
use gatepost::config::settings::Settings;
use gatepost::postfix::message::Level;
use gatepost::screen::policy::{DnsblRules, Policy};

use super::main_cf::run;

const MAIN_CF: &[u8] = b"compatibility_level = 3.6\nx = $y\ny = ${x?{1}:{2}}\n\
    postscreen_dnsbl_sites = a.test*2 b.test\n";

const BUILD: &str = "mail_version = 3.7.11";

pub fn check(data: &[u8]) {
    let with = run(MAIN_CF, Some(data), &[], BUILD).expect("gatepost.cf is no reason to give up");
    static WITHOUT: OnceLock<Loaded> = OnceLock::new();
    let without = WITHOUT.get_or_init(|| run(MAIN_CF, None, &[], BUILD).unwrap());
    assert!(with.messages.iter().all(|message| message.level <= Level::Warning));
    let lines = data.split(|byte| *byte == b'\n').count();
    let said = with.messages.len().saturating_sub(without.messages.len());
    assert!(said <= 3 * lines + 1, "{said} messages about {lines} lines");
    assert!((1..=64).contains(&with.settings.own.workers));
    assert!(with.settings.own.cache_max_entries >= 1000);
    assert!(with.settings.own.cache_file.iter().all(|path| path.is_absolute()));
    let Loaded { settings, policy, .. } = without.clone();
    let DnsblRules { detail, guard, .. } = with.policy.dnsbl;
    let policy = Policy { dnsbl: DnsblRules { detail, guard, ..policy.dnsbl }, ..policy };
    assert_eq!(with.policy, policy);
    assert_eq!(with.settings, Settings { own: with.settings.own.clone(), ..settings });
}
