//! regexp tables: whatever the patterns and the key, an answer comes, and the same one each
//! time.
//!
//! Input: a key, a line with rules in braces, and the text of a file.

use gatepost::postfix::table::{Answer, OpenOptions, RegexpTable, Table};

use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let key = take.until(b'\n');
    let inline = take.until(b'\n');
    if !is_harmless(data) {
        return;
    }
    for options in [OpenOptions::COMMANDS, OpenOptions::EXACT] {
        let mut messages = Vec::new();
        let table = RegexpTable::parse("F", take.0, options, &mut messages);
        let lines = take.0.split(|byte| *byte == b'\n').count();
        assert!(messages.len() <= 5 * lines + 1, "{} messages", messages.len());
        let found = ask(&table, key);
        assert_eq!(ask(&table, key), found, "a second time");
        // The key is a C string.
        let short = key.split(|byte| *byte == 0).next().unwrap_or_default();
        assert_eq!(ask(&table, short), found);
        // One rule more makes a difference only where there was no answer.
        let longer = [take.0, b"\n\nendif\n/^/ last"].concat();
        let more = ask(&RegexpTable::parse("F", &longer, options, &mut messages), key);
        assert!(more == found || found.is_none(), "{more:?}, not {found:?}");

        let Ok(text) = str::from_utf8(inline) else { continue };
        if let Ok(table) = RegexpTable::parse_inline(text, options, &mut messages) {
            let found = ask(&table, key);
            assert_eq!(ask(&table, key), found, "a second time");
        }
    }
}

fn ask(table: &RegexpTable, key: &[u8]) -> Option<Result<String, ()>> {
    let mut warnings = Vec::new();
    let answer = match table.lookup(key, &mut warnings) {
        Answer::Found(value) => Some(Ok(value.into_owned())),
        Answer::NotFound => None,
        Answer::Failed | Answer::Asked(_) => Some(Err(())),
    };
    let failed = answer == Some(Err(()));
    assert_eq!(warnings.is_empty(), !failed, "{warnings:?}");
    answer
}

/// Whether the C library can be trusted with these patterns. It takes time and memory without
/// end for nested repetitions and for back references, which is the administrator's business.
pub fn is_harmless(data: &[u8]) -> bool {
    let repeats = data.iter().filter(|byte| b"*+?".contains(byte)).count();
    let groups = data.iter().filter(|byte| **byte == b'(').count();
    let pair =
        |pair: &[u8]| matches!(pair, [b'{', b'0'..=b'9' | b','] | [b'\\', b'0'..=b'9' | b'{']);
    repeats <= 20 && groups <= 40 && !data.windows(2).any(pair)
}
