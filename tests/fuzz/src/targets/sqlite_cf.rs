//! The files of sqlite tables: whatever the key, what it adds to a query stays between the
//! quotes that it was meant to stand in.
//!
//! Input: a key, a result, and the text of a file.

use gatepost::postfix::table::SqliteConfig;

use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let key = String::from_utf8_lossy(take.until(b'\n'));
    let result = take.until(b'\n');
    let mut messages = Vec::new();
    let Ok(config) = SqliteConfig::parse("F", take.0, &mut messages) else { return };
    assert_eq!(SqliteConfig::parse("F", take.0, &mut Vec::new()), Ok(config.clone()));
    assert!(!config.dbpath().is_empty());
    let scope = config.scope(&key);
    assert_eq!(config.scope(&key), scope);
    let Some(query) = config.query(&key, &mut Vec::new()) else { return };
    // A key without quotes in its place makes a query with as many quotes, but for pairs.
    let quotes = |text: &str| text.matches('\'').count();
    if let Some(plain) = config.query(&key.replace('\'', "q"), &mut Vec::new()) {
        assert_eq!(quotes(&query) % 2, quotes(&plain) % 2, "{query}");
    }
    let mut results = Vec::new();
    let mut warnings = Vec::new();
    let counts = config.add_result(&key, result, &mut results, &mut warnings);
    assert!(counts || results.is_empty());
    let first = results.clone();
    if config.add_result(&key, result, &mut results, &mut warnings) && !first.is_empty() {
        assert_eq!(results, [first.as_slice(), b",", &first].concat());
    }
}
