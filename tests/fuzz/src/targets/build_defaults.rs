//! postconf(1)'s answer, and the file in which it is remembered: what is remembered is recalled,
//! whatever else was in the answer; and version numbers.
//!
//! Input: a version number up to a line end, and an answer.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use gatepost::config::build_defaults::{BuildDefaults, recall, remember};
use gatepost::postfix::params::{DefaultValue, PostfixVersion, TABLE};

use super::scratch::Scratch;
use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    version(&String::from_utf8_lossy(take.until(b'\n')));
    let answer = String::from_utf8_lossy(take.0);
    let defaults = BuildDefaults::parse(&answer);

    // A second, simpler reading: the last line of a name counts.
    for param in TABLE.iter().filter(|param| matches!(param.default, DefaultValue::Build(_))) {
        let mut values = answer.lines().filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim_ascii() == param.name).then(|| value.trim_ascii())
        });
        assert_eq!(defaults.get(param.name), values.next_back(), "{}", param.name);
    }
    let has_version = defaults.get("mail_version").is_some_and(|version| !version.is_empty());
    let text = defaults.to_text();
    assert_eq!(BuildDefaults::from_text(&text), has_version.then(|| defaults.clone()));
    assert_eq!(BuildDefaults::from_text(&answer), has_version.then(|| defaults.clone()));

    let scratch = Scratch::new();
    let file = scratch.file("gatepost.defaults");
    let few = text.len() < 60_000;
    remember(&defaults, None, &file).unwrap();
    let recalled = recall(&file);
    assert!(!few || recalled == has_version.then(|| (defaults.clone(), None)));
    // Any bytes, and a file that others could have written.
    fs::write(&file, take.0).unwrap();
    let recalled = recall(&file);
    assert!(recalled.is_none_or(|(recalled, _)| recalled == defaults));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(recall(&file), None);
}

fn version(text: &str) {
    let Some(version) = PostfixVersion::parse(text) else { return };
    assert!(
        text.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'+'),
        "{text}"
    );
    assert!(version.is_at_least(version.major, version.minor));
    assert!(!version.is_at_least(version.major.saturating_add(1), 0) || version.major == u32::MAX);
    let release = PostfixVersion::release(version.major, version.minor, u32::MAX);
    assert!(version <= release, "{text}");
}
