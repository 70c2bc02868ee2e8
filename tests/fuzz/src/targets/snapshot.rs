//! Snapshots of databases: what is written as a line is read as what it was, and a second,
//! simpler reading gives the same.
//!
//! Input: a key and a value, each up to a line end, and the text of a snapshot.

use gatepost::postfix::table::{Answer, Index, IndexKind, IndexedTable, OpenOptions, Table};

use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let (key, value) = (take.until(b'\n'), take.until(b'\n'));
    let text = take.0;
    let table = parse(text);
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let whole = || lines.iter().filter_map(|line| line.strip_suffix(b"\n"));
    assert!(table.len() <= whole().count());
    assert_eq!(table.is_empty(), whole().count() == 0);
    let entries: Vec<(&[u8], &[u8])> = whole().map(entry).collect();
    if entries.len() > 200 {
        return; // It would take long, and show nothing more.
    }
    for (key, _) in &entries {
        let first = entries.iter().find(|(other, _)| other == key).map(|(_, value)| *value);
        expect(&table, key, first);
    }
    let known = entries.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
    expect(&table, key, known);

    // Behind what is there already, a new entry is found, and disturbs no other.
    if let Some(line) = IndexedTable::line(key, value) {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(entry(line.strip_suffix(b"\n").unwrap()), (key, value));
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let table = parse(&[&text[..end], &line].concat());
        expect(&table, key, known.or(Some(value)));
        for (other, _) in &entries {
            let first = entries.iter().find(|(key, _)| key == other).map(|(_, value)| *value);
            expect(&table, other, first);
        }
    }
}

fn parse(text: &[u8]) -> IndexedTable {
    let index = Index { kind: IndexKind::Hash, name: "/f".into() };
    IndexedTable::parse(index, text.to_vec(), OpenOptions::EXACT)
}

/// Keys and values that are not UTF-8 have no answer, which is another law.
fn expect(table: &IndexedTable, key: &[u8], value: Option<&[u8]>) {
    if std::str::from_utf8(key).is_err() {
        return;
    }
    let mut warnings = Vec::new();
    let answer = table.lookup(key, &mut warnings);
    match value.map(std::str::from_utf8) {
        None => assert_eq!(answer, Answer::NotFound, "{}", key.escape_ascii()),
        Some(Ok(text)) => assert_eq!(answer, Answer::Found(text.into()), "{}", key.escape_ascii()),
        Some(Err(_)) => assert_eq!(answer, Answer::Failed, "{}", key.escape_ascii()),
    }
    let fails = answer == Answer::Failed;
    assert_eq!(warnings.len(), usize::from(fails));
}

/// Key and value of a line, told once more: of the TABs, the first with an even number of
/// quotes before it that no backslash protects ends the key, else the first.
fn entry(line: &[u8]) -> (&[u8], &[u8]) {
    let tabs: Vec<usize> = (0..line.len()).filter(|at| line[*at] == b'\t').collect();
    let is_outside = |at: &&usize| {
        let (mut quotes, mut rest) = (0, &line[..**at]);
        while let Some((first, after)) = rest.split_first() {
            rest = if *first == b'\\' { after.get(1..).unwrap_or_default() } else { after };
            quotes += usize::from(*first == b'"');
        }
        let backslashes = line[..**at].iter().rev().take_while(|byte| **byte == b'\\').count();
        quotes % 2 == 0 && backslashes % 2 == 0
    };
    match tabs.iter().find(is_outside).or(tabs.first()) {
        Some(tab) => (&line[..*tab], &line[*tab + 1..]),
        None => (line, b""),
    }
}
