//! pcre tables: whatever the patterns and the key, an answer comes soon, and the same one each
//! time.
//!
//! Input: a key of 14 bytes at most, a line with rules in braces, and the text of a file.

use gatepost::postfix::table::{Answer, OpenOptions, PcreTable, Table};

use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    // With longer ones, searches that are given up are all that time is spent on.
    let key = take.until(b'\n');
    let key = &key[..key.len().min(14)];
    let inline = take.until(b'\n');
    // Each pattern may take its time; that of many adds up.
    if take.0.iter().filter(|byte| **byte == b'\n').count() > 20 {
        return;
    }
    for options in [OpenOptions::COMMANDS, OpenOptions::EXACT] {
        let mut messages = Vec::new();
        let table = PcreTable::parse("F", take.0, options, &mut messages);
        let lines = take.0.split(|byte| *byte == b'\n').count();
        // A letter X and a reference in a result are worth a warning each.
        let letters = take.0.iter().filter(|byte| b"X$".contains(byte)).count();
        assert!(messages.len() <= 5 * lines + letters + 1, "{} messages", messages.len());
        let found = ask(&table, key);
        assert_eq!(ask(&table, key), found, "a second time");
        // The key is a C string.
        let short = key.split(|byte| *byte == 0).next().unwrap_or_default();
        assert_eq!(ask(&table, short), found);
        // One rule more makes a difference only where there was no answer.
        let longer = [take.0, b"\n\nendif\n/^/ last"].concat();
        let more = ask(&PcreTable::parse("F", &longer, options, &mut messages), key);
        assert!(more == found || found.is_none(), "{more:?}, not {found:?}");

        let Ok(text) = str::from_utf8(inline) else { continue };
        if let Ok(table) = PcreTable::parse_inline(text, options, &mut messages) {
            let found = ask(&table, key);
            assert_eq!(ask(&table, key), found, "a second time");
        }
    }
}

fn ask(table: &PcreTable, key: &[u8]) -> Option<Result<String, ()>> {
    let mut warnings = Vec::new();
    match table.lookup(key, &mut warnings) {
        Answer::Found(value) => Some(Ok(value.into_owned())),
        Answer::NotFound => None,
        Answer::Failed | Answer::Asked(_) => {
            assert!(!warnings.is_empty(), "a failure without a word");
            Some(Err(()))
        }
    }
}
