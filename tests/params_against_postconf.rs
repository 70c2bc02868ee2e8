//! The compiled-in defaults, compared with those of the installed Postfix. Postfix is a
//! prerequisite of the tests: without postconf(1) this fails.

#![allow(clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gatepost::config::build_defaults::{BuildDefaults, ask};
use gatepost::postfix::params::{DefaultValue, Fetched, PostfixVersion, TABLE};

const POSTCONF: &str = "/usr/sbin/postconf";

/// Defaults of the installed Postfix, by name.
fn installed() -> BTreeMap<String, String> {
    let output = Command::new(POSTCONF)
        .arg("-d")
        .output()
        .expect("these tests need an installed Postfix: cannot run postconf");
    assert!(output.status.success(), "postconf -d failed");
    let text = String::from_utf8(output.stdout).expect("postconf -d prints ASCII");
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn version(installed: &BTreeMap<String, String>) -> PostfixVersion {
    PostfixVersion::parse(&installed["mail_version"]).expect("mail_version is a version")
}

/// Names that came with a version later than 3.7, or that are not defaults at all.
fn may_be_missing(name: &str, fetched: Fetched, version: PostfixVersion) -> bool {
    let since = match name {
        "maillog_file_permissions" => (3, 9),
        "socketmap_max_query_size" | "socketmap_max_reply_size" => (3, 10),
        "default_cache_db_type" | "non_bdb_custom_mapping" | "non_bdb_migration_level" => (3, 11),
        "smtpd_tls_enable_rpk"
        | "smtpd_tls_loglevel_maps"
        | "smtpd_tls_trace_size_limit"
        | "tls_trace_rate_limit" => (3, 12),
        "stress" => return true,
        _ if fetched == Fetched::ScreenFrom312 => (3, 12),
        _ => return false,
    };
    !version.is_at_least(since.0, since.1)
}

#[test]
fn defaults_are_those_of_postfix() {
    let installed = installed();
    let version = version(&installed);
    let mut differences = Vec::new();
    for param in TABLE {
        let theirs = installed.get(param.name);
        match (param.default, theirs) {
            (DefaultValue::Text(ours), Some(theirs)) if ours != theirs => {
                differences.push(format!("{}: {ours:?}, Postfix has {theirs:?}", param.name));
            }
            (DefaultValue::Text(_) | DefaultValue::Build(_), None)
                if !may_be_missing(param.name, param.fetched, version) =>
            {
                differences.push(format!("{}: unknown to Postfix", param.name));
            }
            (DefaultValue::Undefined, Some(theirs)) => {
                differences.push(format!("{}: Postfix has {theirs:?}", param.name));
            }
            _ => {}
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_parameter_of_postscreen_is_in_the_table() {
    let known: Vec<&str> = TABLE.iter().map(|param| param.name).collect();
    let missing: Vec<String> = installed()
        .into_keys()
        .filter(|name| name.starts_with("postscreen_") && !known.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_installed_postconf_answers() {
    let installed = installed();
    let answer = ask(Path::new(POSTCONF), Path::new("/etc/postfix"), Duration::from_secs(20))
        .expect("postconf answers");
    for name in ["mail_version", "daemon_directory", "mail_owner", "postscreen_cache_map"] {
        assert_eq!(answer.get(name), installed.get(name).map(String::as_str), "{name}");
    }
    assert_eq!(BuildDefaults::from_text(&answer.to_text()), Some(answer));
}
