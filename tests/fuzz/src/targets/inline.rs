//! Tables that are written in main.cf itself: what comes in braces.
//!
//! Input: the part after `inline:`, which is also tried as a list, and behind `static:` and
//! `randmap:`.

use gatepost::postfix::lists::{inside_braces, split_list};
use gatepost::postfix::table::{Answer, InlineTable, OpenOptions, RandomTable, StaticTable, Table};

pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let space = |c: char| " \t\r\n\x0b\x0c".contains(c);
    let items: Vec<&str> = split_list(text).collect();
    assert_eq!(items, split(text));
    // Put together again with other separators, it is the same list, unless a brace is open.
    if items.iter().all(|item| is_balanced(item)) {
        let again = items.join(" ,\t");
        assert!(split_list(&again).eq(items.iter().copied()), "{items:?}");
    }
    let inside = inside_braces(text).ok();
    if let Some(inside) = inside {
        assert!(text.starts_with('{') && text.ends_with('}'));
        assert_eq!(inside, text[1..text.len() - 1].trim_matches(space));
    }
    let inline = InlineTable::parse(text, OpenOptions::EXACT);
    assert!(inline.is_err() || inside.is_some(), "a table without braces");
    assert_eq!(inline.is_ok(), InlineTable::parse(text, OpenOptions::FOLDED).is_ok());
    if let (Ok(table), Some(inside)) = (&inline, inside) {
        for item in split_list(inside) {
            let entry = inside_braces(item).unwrap_or(item);
            let (key, _) = entry.split_once('=').expect("an entry without an equal sign");
            assert!(matches!(ask(table, key.trim_matches(space)), Answer::Found(_)), "{key}");
        }
    }
    let random = RandomTable::parse(text);
    let values: Vec<&str> = inside.map(|inside| split_list(inside).collect()).unwrap_or_default();
    assert_eq!(random.is_ok(), !values.is_empty());
    if let Ok(random) = random {
        let Answer::Found(value) = ask(&random, "key") else { panic!("no value") };
        assert!(values.contains(&&*value), "{value}");
    }
    if let Ok(table) = StaticTable::parse(text) {
        let expected = inside.unwrap_or(text);
        assert_eq!(ask(&table, "key"), Answer::Found(expected.into()));
    } else {
        assert!(text.starts_with('{') && inside.is_none());
    }
}

fn ask<'t>(table: &'t dyn Table, key: &str) -> Answer<'t> {
    let mut warnings = Vec::new();
    let answer = table.lookup(key.as_bytes(), &mut warnings);
    assert_eq!(warnings, []);
    answer
}

/// Commas and white space separate, but not in braces.
fn split(text: &str) -> Vec<&str> {
    let (mut items, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, letter) in text.char_indices().chain([(text.len(), ',')]) {
        let end = at == text.len() || (depth == 0 && ", \t\r\n".contains(letter));
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if end {
            items.extend(text.get(start..at).filter(|item| !item.is_empty()));
            start = at + 1;
        }
    }
    items
}

fn is_balanced(item: &str) -> bool {
    let mut depth = 0_usize;
    for c in item.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth == 0
}
