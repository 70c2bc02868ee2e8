//! main.cf's postscreen_dnsbl_sites: what is accepted means what it says, and the score that
//! answers come to stays within what was foretold.
//!
//! Input: a line with numbers for the answers, then the parameter's value.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost::screen::dnsbl::answer::{Answer, Failure};
use gatepost::screen::dnsbl::guard::Mode;
use gatepost::screen::dnsbl::lists::Lists;
use gatepost::screen::dnsbl::score::{Bounds, State, TtlLimits, score};
use gatepost::screen::dnsbl::site::{Filter, Site, parse_sites};
use gatepost::screen::hostname;

use super::take::Take;

const LIMITS: TtlLimits =
    TtlLimits { min: Duration::from_secs(60), max: Duration::from_secs(3600) };

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let numbers = take.until(b'\n');
    let Ok(text) = str::from_utf8(take.0) else { return };
    let words: Vec<&str> =
        text.split(|c| ", \t\r\n".contains(c)).filter(|s| !s.is_empty()).collect();
    match parse_sites(text) {
        Ok(sites) => {
            let one_by_one: Vec<Site> = words.iter().map(|w| Site::parse(w).unwrap()).collect();
            assert_eq!(sites, one_by_one);
            for (site, word) in sites.iter().zip(&words) {
                entry(site, word);
            }
            scores(&Lists::new(&sites), Take(numbers));
        }
        Err(error) => {
            let first = words.iter().find_map(|word| Site::parse(word).err());
            assert_eq!(first.as_ref(), Some(&error), "the first bad one");
            assert!(!error.to_string().is_empty());
        }
    }
}

/// The entry, read a second time by somebody who knows that nothing is wrong in it.
fn entry(site: &Site, word: &str) {
    let (rest, weight) = word.split_once('*').unwrap_or((word, "1"));
    let (domain, filter) = match rest.split_once('=') {
        Some((domain, filter)) => (domain, Some(filter)),
        None => (rest, None),
    };
    assert_eq!(site.domain, domain);
    assert_eq!(hostname::check(domain), Ok(()));
    if let Ok(weight) = weight.parse::<i64>() {
        let bounds = (i64::from(i32::MIN), i64::from(i32::MAX));
        assert_eq!(i64::from(site.weight), weight.clamp(bounds.0, bounds.1));
    }
    assert_eq!(site.filter.is_some(), filter.is_some());
    if let (Some(filter), Some(text)) = (&site.filter, filter) {
        fields(filter, text);
    }
}

/// Asks a filter about addresses around each of its numbers.
fn fields(filter: &Filter, text: &str) {
    let mut fields: Vec<Vec<(u8, u8)>> = vec![Vec::new()];
    let mut inside = 0;
    // Brackets around the whole mean nothing.
    let whole = partner(text).is_some_and(|end| end + 1 == text.len());
    let text = if whole { &text[1..text.len() - 1] } else { text };
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let number: u8 = rest[..digits].parse().unwrap();
            fields.last_mut().unwrap().push((number, number));
            rest = &rest[digits..];
        } else if let Some(after) = rest.strip_prefix("..") {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let range = fields.last_mut().unwrap().last_mut().unwrap();
            range.1 = after[..digits].parse().unwrap();
            assert!(range.0 <= range.1, "an empty range in {text}");
            rest = &after[digits..];
        } else {
            match c {
                '[' => inside += 1,
                ']' => inside -= 1,
                '.' if inside == 0 => fields.push(Vec::new()),
                other => assert_eq!(other, ';', "in {text}"),
            }
            rest = &rest[1..];
        }
    }
    assert_eq!(fields.len(), 4, "{text}");
    let first: Vec<u8> = fields.iter().map(|field| field[0].0).collect();
    for place in 0..4 {
        let around = fields[place].iter().flat_map(|(low, high)| [*low, *high]);
        let around = around.flat_map(|n| [n.wrapping_sub(1), n, n.wrapping_add(1)]).take(60);
        for number in around.collect::<Vec<u8>>() {
            let mut octets = [first[0], first[1], first[2], first[3]];
            octets[place] = number;
            let holds = |(field, octet): (&Vec<(u8, u8)>, u8)| {
                field.iter().any(|(low, high)| (*low..=*high).contains(&octet))
            };
            let expected = fields.iter().zip(octets).all(holds);
            assert_eq!(filter.matches(Ipv4Addr::from(octets)), expected, "{text}: {octets:?}");
        }
    }
}

/// Where the bracket is closed that opens the text.
fn partner(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.starts_with('[').then(|| {
        text.bytes().position(|byte| {
            match byte {
                b'[' => depth += 1,
                b']' => depth -= 1,
                _ => {}
            }
            depth == 0
        })
    })?
}

/// Answers come in one after the other; what is foretold only gets narrower.
fn scores(lists: &Lists, mut take: Take<'_>) {
    let count = lists.len().min(40);
    let mut states = vec![State::Pending; lists.len()];
    let mode = take.pick(&[Mode::Off, Mode::Enforce, Mode::Warn]);
    let mut bounds = Bounds::default();
    lists.iter().for_each(|(_, list)| bounds.expect(list));
    let mut foretold = bounds.get();
    for (place, (_, list)) in lists.iter().enumerate().take(count) {
        states[place] = match take.number() % 5 {
            0 => State::Answered(Answer::NotListed { ttl: Some(take.number().into()) }),
            1 => State::Answered(Answer::Failed(Failure::NoReply)),
            2 => State::Aside,
            _ => {
                let addresses =
                    [[127, take.pick(&[0, 255]), take.pick(&[0, 255]), take.number()].into()]
                        .into();
                State::Answered(Answer::Listed { addresses, ttl: take.number().into() })
            }
        };
        bounds.settle(list, &states[place], mode);
        let now = bounds.get();
        assert!(foretold.0 <= now.0 && now.0 <= now.1 && now.1 <= foretold.1, "{now:?}");
        foretold = now;
        let score = score(lists, &states, LIMITS, mode);
        assert!((60..=3600).contains(&score.ttl), "{score:?}");
        assert!(score.top.is_some() || score.rank == 0, "{score:?}");
        assert!(score.top.is_none_or(|entry| lists.of_entry(entry).is_some()));
    }
    if count == lists.len() {
        let rank = score(lists, &states, LIMITS, mode).rank;
        assert_eq!(bounds.get(), (rank, rank));
    }
}
