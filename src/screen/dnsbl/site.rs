//! Which lists are asked, and which of their answers count (main.cf:
//! `postscreen_dnsbl_sites`).

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use crate::screen::hostname::{self, HostnameError};

/// One entry, `domain[=filter][*weight]`. A domain may have several entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// The list's domain, as written.
    pub domain: String,
    /// The answers that count; `None`: all of them.
    pub filter: Option<Filter>,
    /// What the entry adds to the client's score; may be negative.
    pub weight: i32,
}

/// A pattern of four fields for an IPv4 address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter([Field; 4]);

/// The numbers that a field accepts.
type Field = Vec<RangeInclusive<u8>>;

/// Why an entry is refused, in postscreen(8)'s words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SiteError {
    /// The text after `*` is no integer.
    #[error("bad DNSBL weight factor \"{weight}\" in \"{site}\"")]
    Weight {
        /// The text after `*`.
        weight: String,
        /// The entry.
        site: String,
    },
    /// The text between `=` and `*` is no filter.
    #[error("bad DNSBL filter syntax: {0}")]
    Filter(#[from] FilterError),
    /// The domain is no host name.
    #[error("bad DNSBL domain name \"{domain}\" in \"{site}\"")]
    Domain {
        /// The domain.
        domain: String,
        /// The entry.
        site: String,
        /// What is wrong with it; logged first, as a warning.
        #[source]
        why: HostnameError,
    },
}

/// Why a filter is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// Nothing between `=` and the end, or between outer brackets.
    #[error("empty address pattern")]
    Empty,
    /// An opening bracket at the start has no partner.
    #[error("missing \"]\" character")]
    Unclosed,
    /// The filter is wrong at one spot.
    #[error("{wanted} at \"{before}>{token}<{after}\"")]
    At {
        /// What is wrong there.
        wanted: Wanted,
        /// The pattern up to the spot.
        before: String,
        /// The number or the character that does not fit; empty at the end.
        token: String,
        /// The rest of the pattern.
        after: String,
    },
}

/// What a filter should have had at the spot of an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Wanted {
    /// The start of a field.
    #[error("need decimal number 0..255 or \"[\"")]
    Field,
    /// A number in brackets.
    #[error("need decimal number 0..255")]
    Number,
    /// The separator of fields.
    #[error("need \".\"")]
    Dot,
    /// The end of an item in brackets.
    #[error("need \";\" or \"]\"")]
    ItemEnd,
    /// The upper end of a range, not below the lower one.
    #[error("numeric range error")]
    Range,
    /// The end of the pattern.
    #[error("garbage after pattern")]
    End,
}

/// Reads a list of entries, separated by commas and white space.
///
/// # Errors
/// The first bad entry.
pub fn parse_sites(text: &str) -> Result<Vec<Site>, SiteError> {
    text.split([',', ' ', '\t', '\r', '\n'])
        .filter(|site| !site.is_empty())
        .map(Site::parse)
        .collect()
}

impl Site {
    /// Reads one entry: cut at the first `*`, then the rest at the first `=`.
    ///
    /// # Errors
    /// The weight is looked at first, then the filter, then the domain.
    pub fn parse(site: &str) -> Result<Site, SiteError> {
        let (rest, weight) = match site.split_once('*') {
            Some((rest, weight)) => (rest, parse_weight(weight, site)?),
            None => (site, 1),
        };
        let (domain, filter) = match rest.split_once('=') {
            Some((domain, filter)) => (domain, Some(Filter::parse(filter)?)),
            None => (rest, None),
        };
        hostname::check(domain).map_err(|why| SiteError::Domain {
            domain: domain.to_owned(),
            site: site.to_owned(),
            why,
        })?;
        Ok(Site { domain: domain.to_owned(), filter, weight })
    }
}

/// A signed decimal number; one that is too large for an `i32` counts as the largest.
fn parse_weight(text: &str, site: &str) -> Result<i32, SiteError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SiteError::Weight { weight: text.to_owned(), site: site.to_owned() });
    }
    let extreme = if text.starts_with('-') { i32::MIN } else { i32::MAX };
    Ok(text.parse().unwrap_or(extreme))
}

impl Filter {
    /// Reads four fields joined by dots: numbers, or `[` numbers and `low..high` ranges
    /// separated by `;` `]`. Brackets around the whole are dropped.
    ///
    /// # Errors
    /// The first problem.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        let pattern = without_outer_brackets(text)?;
        if pattern.is_empty() {
            return Err(FilterError::Empty);
        }
        let mut scanner = Scanner { pattern, at: 0 };
        let first = scanner.field()?;
        let second = scanner.next_field()?;
        let third = scanner.next_field()?;
        let fourth = scanner.next_field()?;
        match scanner.token() {
            Token::End => Ok(Filter([first, second, third, fourth])),
            token => Err(scanner.error(Wanted::End, token)),
        }
    }

    /// Whether an answer counts.
    pub fn matches(&self, answer: Ipv4Addr) -> bool {
        let holds = |(field, octet): (&Field, u8)| field.iter().any(|range| range.contains(&octet));
        self.0.iter().zip(answer.octets()).all(holds)
    }

    /// Whether it names the error codes of lists, 127.255.255.0/24: its first three fields
    /// accept nothing else.
    pub fn names_error_codes(&self) -> bool {
        let only =
            |(field, octet): (&Field, u8)| field.iter().all(|range| *range == (octet..=octet));
        self.0.iter().zip([127, 255, 255]).all(only)
    }
}

/// Drops the first and the last byte if they are a pair of brackets.
fn without_outer_brackets(text: &str) -> Result<&str, FilterError> {
    let Some(inside) = text.strip_prefix('[') else { return Ok(text) };
    let mut depth = 1_usize;
    let partner = inside.bytes().position(|byte| {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    match partner {
        None => Err(FilterError::Unclosed),
        Some(at) if at + 1 == inside.len() => Ok(inside.strip_suffix(']').unwrap_or(inside)),
        Some(_) => Ok(text),
    }
}

/// A piece of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'p> {
    /// A run of digits.
    Number(&'p str),
    /// Any other character.
    Mark(&'p str),
    End,
}

impl<'p> Token<'p> {
    fn text(self) -> &'p str {
        match self {
            Token::Number(text) | Token::Mark(text) => text,
            Token::End => "",
        }
    }

    fn octet(self) -> Option<u8> {
        match self {
            Token::Number(text) => text.parse().ok(),
            Token::Mark(_) | Token::End => None,
        }
    }
}

struct Scanner<'p> {
    pattern: &'p str,
    /// Where the next token starts.
    at: usize,
}

impl<'p> Scanner<'p> {
    fn token(&mut self) -> Token<'p> {
        let rest = self.pattern.get(self.at..).unwrap_or_default();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let length =
            if digits > 0 { digits } else { rest.chars().next().map_or(0, char::len_utf8) };
        self.at += length;
        let text = rest.get(..length).unwrap_or_default();
        match (digits, length) {
            (0, 0) => Token::End,
            (0, _) => Token::Mark(text),
            _ => Token::Number(text),
        }
    }

    /// An error at the token that was read last.
    fn error(&self, wanted: Wanted, token: Token<'p>) -> FilterError {
        let start = self.at.saturating_sub(token.text().len());
        FilterError::At {
            wanted,
            before: self.pattern.get(..start).unwrap_or_default().to_owned(),
            token: token.text().to_owned(),
            after: self.pattern.get(self.at..).unwrap_or_default().to_owned(),
        }
    }

    fn next_field(&mut self) -> Result<Field, FilterError> {
        match self.token() {
            Token::Mark(".") => self.field(),
            token => Err(self.error(Wanted::Dot, token)),
        }
    }

    fn field(&mut self) -> Result<Field, FilterError> {
        match self.token() {
            Token::Mark("[") => self.items(),
            token => match token.octet() {
                Some(octet) => Ok(vec![octet..=octet]),
                None => Err(self.error(Wanted::Field, token)),
            },
        }
    }

    fn items(&mut self) -> Result<Field, FilterError> {
        let mut field = Field::new();
        loop {
            let token = self.token();
            let Some(low) = token.octet() else { return Err(self.error(Wanted::Number, token)) };
            let mut end = self.token();
            let high = if end == Token::Mark(".") {
                let high = self.range_end(low)?;
                end = self.token();
                high
            } else {
                low
            };
            field.push(low..=high);
            match end {
                Token::Mark(";") => {}
                Token::Mark("]") => return Ok(field),
                token => return Err(self.error(Wanted::ItemEnd, token)),
            }
        }
    }

    /// What follows the first dot of `low..high`.
    fn range_end(&mut self, low: u8) -> Result<u8, FilterError> {
        let dot = self.token();
        if dot != Token::Mark(".") {
            return Err(self.error(Wanted::Range, dot));
        }
        let token = self.token();
        token.octet().filter(|high| *high >= low).ok_or_else(|| self.error(Wanted::Range, token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(site: &str) -> String {
        match parse_sites(site) {
            Ok(sites) => format!("accepted: {sites:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn entries() {
        let sites = parse_sites("a.test, B.test*-3\tc_d.test=127.0.0.[2..4]*2").unwrap();
        let short: Vec<(&str, i32, bool)> = sites
            .iter()
            .map(|site| (site.domain.as_str(), site.weight, site.filter.is_some()))
            .collect();
        assert_eq!(short, [("a.test", 1, false), ("B.test", -3, false), ("c_d.test", 2, true)]);
        assert_eq!(parse_sites(" ,").unwrap(), []);
        assert_eq!(Site::parse("bar*+3").unwrap().weight, 3);
        assert_eq!(Site::parse("bar*99999999999").unwrap().weight, i32::MAX);
        assert_eq!(Site::parse("bar*-99999999999").unwrap().weight, i32::MIN);
    }

    #[test]
    fn filters() {
        let matches = |filter: &str, answer: [u8; 4]| {
            Filter::parse(filter).unwrap().matches(Ipv4Addr::from(answer))
        };
        assert!(matches("1.2.[3].4", [1, 2, 3, 4]));
        assert!(!matches("1.2.[3].4", [1, 2, 4, 4]));
        assert!(matches("1.2.[1..127;128..255].5", [1, 2, 200, 5]));
        assert!(!matches("1.2.[1..127;128..255].5", [1, 2, 0, 5]));
        assert!(matches("[[1;2].3.4.5]", [2, 3, 4, 5]));
        assert!(matches("[1].2.3.[4]", [1, 2, 3, 4]));
        assert!(matches("1.2.3.0004", [1, 2, 3, 4]));
    }

    #[test]
    fn filters_that_name_error_codes() {
        let names = |filter: &str| Filter::parse(filter).unwrap().names_error_codes();
        assert!(names("127.255.255.254"));
        assert!(names("127.255.[255;255..255].[0..255]"));
        assert!(!names("127.255.[254..255].254"));
        assert!(!names("127.[254;255].255.254"));
        assert!(!names("[0..255].255.255.254"));
        assert!(!names("127.0.0.2"));
    }

    #[test]
    fn weights_and_domains() {
        assert_eq!(error("bar*x"), r#"bad DNSBL weight factor "x" in "bar*x""#);
        assert_eq!(error("bar* 3"), r#"bad DNSBL weight factor "" in "bar*""#);
        assert_eq!(error("bar*3*4"), r#"bad DNSBL weight factor "3*4" in "bar*3*4""#);
        assert_eq!(error("-bad-.test"), r#"bad DNSBL domain name "-bad-.test" in "-bad-.test""#);
        assert_eq!(error("*3"), r#"bad DNSBL domain name "" in "*3""#);
        assert_eq!(error("127.0.0.1"), r#"bad DNSBL domain name "127.0.0.1" in "127.0.0.1""#);
    }

    #[test]
    fn live_filter_errors() {
        for (filter, text) in [
            ("127.0.0.300", r#"need decimal number 0..255 or "[" at "127.0.0.>300<""#),
            ("1.2.3", r#"need "." at "1.2.3><""#),
            ("1.2.3;4", r#"need "." at "1.2.3>;<4""#),
            ("1.2.[].4", r#"need decimal number 0..255 at "1.2.[>]<.4""#),
            ("1.2.[1-255].5", r#"need ";" or "]" at "1.2.[1>-<255].5""#),
            ("1.2.3.[4..1]", r#"numeric range error at "1.2.3.[4..>1<]""#),
            ("1.2.3.[4.5]", r#"numeric range error at "1.2.3.[4.>5<]""#),
            ("1.2.3.[4..x]", r#"numeric range error at "1.2.3.[4..>x<]""#),
            ("1.2.3.[1..300]", r#"numeric range error at "1.2.3.[1..>300<]""#),
            ("1.2.3.4x", r#"garbage after pattern at "1.2.3.4>x<""#),
            ("1;2].3.4.5", r#"need "." at "1>;<2].3.4.5""#),
            ("", "empty address pattern"),
            ("[]", "empty address pattern"),
            ("[", r#"missing "]" character"#),
            ("[1.2.3.[4]", r#"missing "]" character"#),
            ("1.2.3.[4", r#"need ";" or "]" at "1.2.3.[4><""#),
            ("1.2.3.[4;", r#"need decimal number 0..255 at "1.2.3.[4;><""#),
            ("1.2.3.[4..", r#"numeric range error at "1.2.3.[4..><""#),
            ("[1.2.3.4]x", r#"numeric range error at "[1.>2<.3.4]x""#),
            ("1.2.3.[4]]", r#"garbage after pattern at "1.2.3.[4]>]<""#),
            ("1.2.3.", r#"need decimal number 0..255 or "[" at "1.2.3.><""#),
            ("::1", r#"need decimal number 0..255 or "[" at ">:<:1""#),
            ("bar=127.0.0.1", r#"need decimal number 0..255 or "[" at ">b<ar=127.0.0.1""#),
        ] {
            assert_eq!(error(&format!("foo={filter}")), format!("bad DNSBL filter syntax: {text}"));
        }
    }
}
