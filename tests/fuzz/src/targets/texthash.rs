//! texthash tables: the first entry of a key counts, and what is tolerated makes no other
//! difference.
//!
//! Input: the text of a table.

use gatepost::postfix::logical_lines::logical_lines;
use gatepost::postfix::table::{Answer, OpenOptions, Table, TextHash};

pub fn check(data: &[u8]) {
    let mut messages = Vec::new();
    let tolerant = TextHash::parse("F", data, OpenOptions::TOLERANT, &mut messages).unwrap();
    let lines = logical_lines(data);
    assert!(messages.len() <= 3 * lines.lines.len() + 1, "{} messages", messages.len());
    let exact = TextHash::parse("F", data, OpenOptions::EXACT, &mut Vec::new());
    let folded = TextHash::parse("F", data, OpenOptions::FOLDED, &mut Vec::new());
    if folded.is_ok() {
        assert!(exact.is_ok(), "keys that differ when folded differ");
    }

    let texts: Vec<String> = lines.lines.iter().map(|line| line.to_text().into_owned()).collect();
    let entries: Vec<(&str, &str)> = texts.iter().filter_map(|text| entry(text)).collect();
    for (key, _) in &entries {
        let first = entries.iter().find(|(other, _)| other == key).map(|(_, value)| *value);
        assert_eq!(ask(&tolerant, key).as_deref(), first, "{key}");
        let unique = entries.iter().filter(|(other, _)| other == key).count() == 1;
        assert!(unique || exact.is_err(), "{key} is there twice");
        if let Ok(exact) = &exact {
            assert_eq!(ask(exact, key).as_deref(), first, "{key}");
        }
        if let Ok(folded) = &folded {
            assert_eq!(ask(folded, key).as_deref(), first, "{key}");
            assert_eq!(ask(folded, &key.to_lowercase()).as_deref(), first, "{key}");
        }
    }
    for table in [&tolerant].into_iter().chain(&exact).chain(&folded) {
        assert_eq!(ask(table, ""), None);
        assert_eq!(ask(table, "no such key"), None);
    }
}

fn ask(table: &TextHash, key: &str) -> Option<String> {
    let mut warnings = Vec::new();
    let answer = table.lookup(key.as_bytes(), &mut warnings);
    assert_eq!(warnings, []);
    match answer {
        Answer::Found(value) => Some(value.into_owned()),
        Answer::NotFound => None,
        Answer::Failed | Answer::Asked(_) => panic!("{key}: failed"),
    }
}

/// Key and value of a line, told once more.
fn entry(line: &str) -> Option<(&str, &str)> {
    let space = |c: char| " \t\r\n\x0b\x0c".contains(c);
    let line = line.trim_matches(space);
    let (mut quoted, mut end) = (false, line.len());
    let mut letters = line.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '"' => quoted = !quoted,
            _ if space(letter) && !quoted => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let (key, value) = (&line[..end], line[end..].trim_matches(space));
    (!quoted && !key.is_empty() && !value.is_empty()).then_some((key, value))
}
