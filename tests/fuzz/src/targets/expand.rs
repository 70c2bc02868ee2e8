//! Macros: whatever is written, the result comes soon and has a size.
//!
//! Input: lines `name=value`, an empty line, and the text to expand.

use std::borrow::Cow;
use std::collections::HashMap;

use gatepost::screen::expand::{CompatibilityLevel, Mode, expand, sole_reference};

/// Twice what one expansion may cost.
const LONGEST: usize = 1 << 21;

pub fn check(data: &[u8]) {
    let Ok(data) = str::from_utf8(data) else { return };
    let (definitions, text) = data.split_once("\n\n").unwrap_or(("", data));
    let names: HashMap<&str, &str> =
        definitions.lines().filter_map(|line| line.split_once('=')).collect();
    let lookup = |name: &str| names.get(name).copied().map(Cow::Borrowed);

    let plain = expand(text, Mode::Plain, lookup);
    let recursive = expand(text, Mode::Recursive, lookup);
    for result in [&plain, &recursive].into_iter().flatten() {
        assert!(result.len() < LONGEST, "{} bytes", result.len());
    }
    // Where no value has a macro in it, there is nothing to do a second time.
    if !definitions.contains('$') {
        assert!(plain == recursive || plain.is_err() || recursive.is_err(), "{text:?}");
    }
    if !text.contains('$') {
        assert_eq!(plain.as_deref(), Ok(text));
    }
    let quoted = text.replace('$', "$$");
    assert_eq!(expand(&quoted, Mode::Recursive, lookup).as_deref(), Ok(text), "quoted");
    if let Some(name) = sole_reference(text) {
        assert_eq!(plain.as_deref(), Ok(*names.get(name).unwrap_or(&"")), "{name}");
    }
    if let (Ok(one), Ok(other)) = (&plain, expand("$$|", Mode::Plain, lookup)) {
        let behind = format!("{text}$$|");
        let text = expand(&behind, Mode::Plain, lookup);
        // A name at the end goes on behind the text.
        assert!(text.is_err() || text == Ok(format!("{one}{other}")), "{behind:?}");
    }
    if let Ok(level) = CompatibilityLevel::parse(text) {
        let CompatibilityLevel { major, minor, patch } = level;
        assert_eq!(CompatibilityLevel::parse(&format!("{major}.{minor}.{patch}")), Ok(level));
    }
}
