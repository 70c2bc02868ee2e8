//! cidr tables: the index gives what reading line by line gives.
//!
//! Input: the text of a table.

use std::net::IpAddr;

use gatepost::postfix::lists::{split_word, trim};
use gatepost::postfix::logical_lines::logical_lines;
use gatepost::postfix::table::{CidrTable, Network};

/// How many addresses one table is asked about.
const MOST_QUESTIONS: usize = 40;

pub fn check(data: &[u8]) {
    let mut messages = Vec::new();
    let table = CidrTable::parse("F", data, &mut messages);
    let lines = logical_lines(data);
    let texts: Vec<String> = lines.lines.iter().map(|line| line.to_text().into_owned()).collect();
    assert!(messages.len() <= 2 * texts.len() + 1, "{} messages", messages.len());
    for address in questions(&texts) {
        let expected = linear(&texts, address);
        assert_eq!(table.find(address), expected.as_deref(), "{address}");
    }
    if let Ok(text) = str::from_utf8(data) {
        networks(text);
        // Rules in the table's own name are the lines of a table.
        if let Ok(inline) = CidrTable::parse_inline(text, &mut messages) {
            inline.find(IpAddr::from([127, 0, 0, 1]));
        }
    }
}

/// The addresses at both ends of all networks, and those beyond.
fn questions(texts: &[String]) -> Vec<IpAddr> {
    let mut questions = vec![IpAddr::from([192, 0, 2, 1]), IpAddr::from([0; 16])];
    for text in texts {
        for word in text.split(|c: char| c.is_whitespace() || c == '!') {
            match Network::parse(word) {
                Ok(Network::V4(first, length)) => {
                    let last = first.to_bits() | u32::MAX.checked_shr(length.into()).unwrap_or(0);
                    let four = |bits: u32| IpAddr::V4(bits.into());
                    questions.extend([first.into(), four(last), four(last.wrapping_add(1))]);
                }
                Ok(Network::V6(first, length)) => {
                    let last = first.to_bits() | u128::MAX.checked_shr(length.into()).unwrap_or(0);
                    let six = |bits: u128| IpAddr::V6(bits.into());
                    questions.extend([first.into(), six(last), six(last.wrapping_add(1))]);
                }
                Err(_) => {}
            }
        }
    }
    questions.truncate(MOST_QUESTIONS);
    questions
}

/// The rules as they stand in the file, one after the other.
fn linear(texts: &[String], address: IpAddr) -> Option<String> {
    // How many of the ifs around the current line there are, and how many apply.
    let (mut depth, mut applies) = (0_usize, 0_usize);
    for text in texts {
        let text = trim(text);
        if let Some(rest) = after_keyword(text, "endif") {
            if rest.is_empty() && depth > 0 {
                depth -= 1;
                applies = applies.min(depth);
            }
        } else if let Some(rest) = after_keyword(text, "if") {
            let Some(matches) = pattern(rest) else { continue };
            if depth == applies && matches(address) {
                applies += 1;
            }
            depth += 1;
        } else {
            let bare = text.trim_start_matches(|c: char| c == '!' || " \t\r\n\x0b\x0c".contains(c));
            let (network, result) = split_word(bare);
            let marks = &text[..text.len() - bare.len()];
            let Some(matches) = pattern(&format!("{marks}{network}")) else { continue };
            if !result.is_empty() && depth == applies && matches(address) {
                return Some(result.to_owned());
            }
        }
    }
    None
}

fn after_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let rest = text.get(keyword.len()..)?;
    let word = text[..keyword.len()].eq_ignore_ascii_case(keyword);
    let ends = !rest.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    (word && ends).then(|| trim(rest))
}

fn pattern(text: &str) -> Option<impl Fn(IpAddr) -> bool + use<>> {
    let bare = text.trim_start_matches(|c: char| c == '!' || " \t\r\n\x0b\x0c".contains(c));
    let marks = text[..text.len() - bare.len()].matches('!').count();
    let network = Network::parse(bare).ok()?;
    Some(move |address: IpAddr| {
        let same = matches!(network, Network::V4(..)) == address.is_ipv4();
        same && (network.contains(address) != (marks % 2 == 1))
    })
}

/// A network in its own text form is the same network.
fn networks(text: &str) {
    for word in text.split_whitespace().take(20) {
        if let Ok(network) = Network::parse(word) {
            assert_eq!(Network::parse(&network.to_string()), Ok(network), "{word}");
        }
    }
}
