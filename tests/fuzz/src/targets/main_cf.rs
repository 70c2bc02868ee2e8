//! main.cf, gatepost.cf, the command line, and postconf's answer: a service that starts, or
//! the reason why not.
//!
//! Input: main.cf, gatepost.cf, arguments of `-o`, lines of `postconf -d`; 0xff between them.

use std::path::Path;

use gatepost::config::build_defaults::BuildDefaults;
use gatepost::config::{Fatal, Loaded, Request, Sources, load};
use gatepost::postfix::main_cf::Dictionary;
use gatepost::postfix::message::Level;

use super::take::Take;

const MARK: u8 = 0xff;

/// What the texts come to on a host of ours.
pub fn run(
    main_cf: &[u8],
    gatepost_cf: Option<&[u8]>,
    overrides: &[String],
    build: &str,
) -> Result<Loaded, Fatal> {
    let sources = Sources::from_texts(Path::new("CONF"), main_cf, gatepost_cf, overrides)?;
    let request = Request {
        service_name: "smtp".to_owned(),
        process_name: "postscreen".to_owned(),
        process_id: 1,
        host_name: "mx.example.test".to_owned(),
        build_defaults: BuildDefaults::parse(build),
    };
    load(&sources, &request)
}

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let main_cf = take.until(MARK);
    let gatepost_cf = Some(take.until(MARK)).filter(|text| !text.is_empty());
    let overrides = String::from_utf8_lossy(take.until(MARK)).into_owned();
    let overrides: Vec<String> = overrides.lines().map(str::to_owned).collect();
    let build = String::from_utf8_lossy(take.0).into_owned();
    again(main_cf);
    match run(main_cf, gatepost_cf, &overrides, &build) {
        Ok(loaded) => {
            assert!(loaded.messages.iter().all(|message| message.level < Level::Fatal));
            bounds(&loaded);
        }
        Err(fatal) => {
            assert!(fatal.messages.iter().any(|message| message.level == Level::Fatal));
            assert!(!fatal.reason().is_empty());
        }
    }
    let defaults = BuildDefaults::parse(&build);
    assert_eq!(BuildDefaults::parse(&defaults.to_text()), defaults);
}

/// A dictionary, written as a file, is the same dictionary.
fn again(text: &[u8]) {
    let mut messages = Vec::new();
    let lenient = Dictionary::parse_leniently("F", text, &mut messages);
    if let Ok(strict) = Dictionary::parse("F", text, &mut Vec::new()) {
        assert_eq!(strict, lenient, "who forgives and who does not");
    }
    let settings = |dictionary: &Dictionary| -> Vec<(String, String)> {
        dictionary.iter().map(|(name, entry)| (name.to_owned(), entry.value.clone())).collect()
    };
    let expected = settings(&lenient);
    let lines: Vec<String> =
        expected.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let mut none = Vec::new();
    let read = Dictionary::parse("F", lines.concat().as_bytes(), &mut none).unwrap();
    assert_eq!(settings(&read), expected);
    assert_eq!(none, []);
    let mut overridden = Dictionary::default();
    for line in &lines {
        overridden.override_with(line).unwrap();
    }
    assert_eq!(settings(&overridden), expected);
}

/// What the core relies on.
fn bounds(loaded: &Loaded) {
    let Loaded { settings, policy, .. } = loaded;
    assert!(policy.line_length_limit >= 512, "{policy:?}");
    assert!(policy.delay_resolution <= 6, "{policy:?}");
    assert!(policy.engine.command_count_limit >= 1, "{policy:?}");
    assert!(policy.limits.per_client != Some(0), "{policy:?}");
    assert!(policy.dnsbl.threshold >= 1, "{policy:?}");
    assert!(policy.dnsbl.allowlist_threshold.is_none_or(|score| score < 0), "{policy:?}");
    assert!(!policy.greet_wait.normal.is_zero() && !policy.greet_wait.stress.is_zero());
    assert!(!policy.command_time_limit.normal.is_zero());
    assert!(!policy.command_time_limit.stress.is_zero());
    assert!((1..=64).contains(&settings.own.workers), "{settings:?}");
    assert!(settings.own.cache_max_entries >= 1000, "{settings:?}");
    assert!(settings.watchdog_timeout.as_secs() >= 10, "{settings:?}");
}
