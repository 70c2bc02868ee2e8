//! Physical lines to logical lines: a second, simpler reading, and what was read, written again,
//! is read as the same.

use gatepost::postfix::logical_lines::{is_space, logical_lines};

pub fn check(data: &[u8]) {
    let read = logical_lines(data);
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();

    // What counts, with its number.
    let counts = |line: &[u8]| {
        let start = line.iter().find(|byte| !is_space(**byte));
        start.is_some_and(|byte| *byte != b'#')
    };
    let kept: Vec<(usize, &[u8])> = (1..).zip(lines).filter(|(_, line)| counts(line)).collect();
    let starts: Vec<usize> = (0..kept.len())
        .filter(|at| *at == 0 || !kept[*at].1.first().is_some_and(|byte| is_space(*byte)))
        .collect();
    let mut expected = Vec::new();
    for (nth, start) in starts.iter().enumerate() {
        let end = starts.get(nth + 1).copied().unwrap_or(kept.len());
        let parts = &kept[*start..end];
        let text: Vec<u8> = parts.iter().flat_map(|(_, line)| line.to_vec()).collect();
        let whole = text.len();
        let text = text.split(|byte| *byte == 0).next().unwrap().to_vec();
        expected.push((parts[0].0, parts[parts.len() - 1].0, text.len() < whole, text));
    }
    let all = read.indented.iter().chain(&read.lines);
    let seen: Vec<_> =
        all.map(|line| (line.first_line, line.last_line, line.cut, line.text.to_vec())).collect();
    assert_eq!(seen, expected);
    for line in &read.lines {
        assert!(!line.text.first().is_some_and(|byte| is_space(*byte)), "continues nothing");
    }
    for message in read.warnings("/f") {
        assert!(message.text.len() < 200, "{}", message.text);
    }

    let written: Vec<u8> =
        read.lines.iter().flat_map(|line| [&line.text[..], b"\n"].concat()).collect();
    let again = logical_lines(&written);
    assert!(again.indented.is_none());
    let texts = read.lines.iter().map(|line| &line.text).filter(|text| !text.is_empty());
    assert!(again.lines.iter().map(|line| &line.text).eq(texts));
}
