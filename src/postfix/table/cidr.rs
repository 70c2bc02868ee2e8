//! cidr tables: the first rule whose network contains the address gives the result.
//!
//! A table may have 100,000 rules, almost always plain ones. So the plain rules of a block
//! go into an index that gives the first of them that matches; only negated rules and
//! if-blocks are walked, and only those that come before that first match.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::network::{Network, NetworkError, range_v4, range_v6};
use super::range_index::RangeIndex;
use super::{Answer, Table};
use crate::postfix::lists::{
    BraceError, inside_braces, is_space_char, split_list, split_word, trim,
};
use crate::postfix::logical_lines::logical_lines;
use crate::postfix::message::Message;

/// A cidr table, from a file or from inline text.
#[derive(Clone, Debug)]
pub struct CidrTable {
    /// The blocks of the file; the first is the file itself, each other one is the inside
    /// of an if.
    blocks: Vec<Block>,
    /// Which of `texts` each rule gives, by rule number.
    results: Vec<usize>,
    /// The distinct results.
    texts: Vec<Box<str>>,
}

/// The rules between an `if` and its `endif`, or those of the file. Rule numbers count
/// through the whole file, so they tell what comes first.
#[derive(Clone, Debug)]
struct Block {
    plain_v4: RangeIndex<Ipv4Addr>,
    plain_v6: RangeIndex<Ipv6Addr>,
    /// What the indices cannot express, in file order.
    special: Vec<Special>,
}

/// A negated rule or an if-block.
#[derive(Clone, Copy, Debug)]
struct Special {
    /// The rule's own number; for an if, the number of the next rule.
    number: usize,
    pattern: Pattern,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Result,
    Enter { block: usize },
}

/// A network or, within its address family, everything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pattern {
    network: Network,
    negated: bool,
}

impl Pattern {
    fn matches(self, address: IpAddr) -> bool {
        self.network.same_family(address) && self.network.contains(address) != self.negated
    }
}

/// A line that is no rule; the messages are Postfix's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum LineError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("no address pattern")]
    NoPattern,
    #[error("no lookup result")]
    NoResult,
    #[error("garbage after ENDIF")]
    GarbageAfterEndif,
    #[error("ENDIF without IF")]
    EndifWithoutIf,
}

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Line<'a> {
    If(Pattern),
    Endif,
    Rule(Pattern, &'a str),
}

impl CidrTable {
    /// Reads a table file. Bad lines are skipped with a warning; `name` is how the
    /// warnings call the file.
    pub fn parse(name: &str, file: &[u8], messages: &mut Vec<Message>) -> CidrTable {
        let lines = logical_lines(file);
        messages.extend(lines.warnings(name));
        let mut builder = Builder::new();
        for line in &lines.lines {
            let read = read_line(&line.to_text()).and_then(|read| match read {
                Line::If(pattern) => {
                    builder.open(pattern, line.first_line);
                    Ok(())
                }
                Line::Endif => builder.close(),
                Line::Rule(pattern, result) => {
                    builder.rule(pattern, result);
                    Ok(())
                }
            });
            if let Err(error) = read {
                messages.push(warning(
                    name,
                    line.first_line,
                    &format!("{error}: skipping this rule"),
                ));
            }
        }
        for line in builder.unclosed() {
            messages.push(warning(name, line, "IF has no matching ENDIF"));
        }
        builder.finish()
    }

    /// Reads the rules in the name of a table like `cidr:{{10.0.0.0/8 reject}, {...}}`.
    pub fn parse_inline(name: &str, messages: &mut Vec<Message>) -> Result<CidrTable, BraceError> {
        let rules: Vec<&str> =
            split_list(inside_braces(name)?).map(inside_braces).collect::<Result<_, _>>()?;
        Ok(CidrTable::parse(name, rules.join("\n").as_bytes(), messages))
    }

    /// The result of the first rule that matches.
    pub fn find(&self, address: IpAddr) -> Option<&str> {
        let rule = self.find_rule(address)?;
        self.texts.get(*self.results.get(rule)?).map(AsRef::as_ref)
    }

    fn find_rule(&self, address: IpAddr) -> Option<usize> {
        // Explicit, because a file may nest ifs deeper than our stack reaches.
        let mut outer = Vec::new();
        let mut walk = Walk::new(self.blocks.first()?, address);
        loop {
            match walk.step(address) {
                Step::Found(rule) => return Some(rule),
                Step::Enter(block) => {
                    let inner = Walk::new(self.blocks.get(block)?, address);
                    outer.push(std::mem::replace(&mut walk, inner));
                }
                Step::Leave => walk = outer.pop()?,
            }
        }
    }
}

impl Table for CidrTable {
    fn lookup(&self, key: &[u8], _warnings: &mut Vec<Message>) -> Answer<'_> {
        let address = str::from_utf8(key).ok().and_then(|key| key.parse().ok());
        match address.and_then(|address| self.find(address)) {
            Some(result) => Answer::Found(Cow::Borrowed(result)),
            None => Answer::NotFound,
        }
    }
}

/// The way through one block.
struct Walk<'a> {
    /// The first plain rule that matches.
    plain: Option<usize>,
    special: std::slice::Iter<'a, Special>,
}

enum Step {
    Found(usize),
    Enter(usize),
    Leave,
}

impl<'a> Walk<'a> {
    fn new(block: &'a Block, address: IpAddr) -> Walk<'a> {
        let plain = match address {
            IpAddr::V4(address) => block.plain_v4.first_rule(address),
            IpAddr::V6(address) => block.plain_v6.first_rule(address),
        };
        Walk { plain, special: block.special.iter() }
    }

    fn step(&mut self, address: IpAddr) -> Step {
        for special in self.special.by_ref() {
            if self.plain.is_some_and(|plain| plain < special.number) {
                break;
            }
            if special.pattern.matches(address) {
                return match special.then {
                    Then::Result => Step::Found(special.number),
                    Then::Enter { block } => Step::Enter(block),
                };
            }
        }
        self.plain.map_or(Step::Leave, Step::Found)
    }
}

/// A block that is being read.
#[derive(Default)]
struct Draft {
    plain_v4: Vec<(RangeInclusive<Ipv4Addr>, usize)>,
    plain_v6: Vec<(RangeInclusive<Ipv6Addr>, usize)>,
    special: Vec<Special>,
}

impl Draft {
    fn finish(self) -> Block {
        Block {
            plain_v4: RangeIndex::new(self.plain_v4),
            plain_v6: RangeIndex::new(self.plain_v6),
            special: self.special,
        }
    }
}

/// An if that waits for its endif.
struct OpenIf {
    line: usize,
    pattern: Pattern,
    /// The number of the first rule that follows.
    number: usize,
    /// The block around it.
    outside: Draft,
}

/// Puts rules and blocks together, in file order.
struct Builder {
    blocks: Vec<Block>,
    results: Vec<usize>,
    texts: HashMap<Box<str>, usize>,
    current: Draft,
    open: Vec<OpenIf>,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            // The file's own block has number 0 but is finished last.
            blocks: vec![Draft::default().finish()],
            results: Vec::new(),
            texts: HashMap::new(),
            current: Draft::default(),
            open: Vec::new(),
        }
    }

    fn rule(&mut self, pattern: Pattern, result: &str) {
        let number = self.results.len();
        let text = match self.texts.get(result) {
            Some(text) => *text,
            None => {
                let text = self.texts.len();
                self.texts.insert(result.into(), text);
                text
            }
        };
        self.results.push(text);
        match pattern.network {
            _ if pattern.negated => {
                self.current.special.push(Special { number, pattern, then: Then::Result });
            }
            Network::V4(first, length) => {
                self.current.plain_v4.push((range_v4(first, length), number));
            }
            Network::V6(first, length) => {
                self.current.plain_v6.push((range_v6(first, length), number));
            }
        }
    }

    fn open(&mut self, pattern: Pattern, line: usize) {
        let outside = std::mem::take(&mut self.current);
        self.open.push(OpenIf { line, pattern, number: self.results.len(), outside });
    }

    fn close(&mut self) -> Result<(), LineError> {
        let opened = self.open.pop().ok_or(LineError::EndifWithoutIf)?;
        let inside = std::mem::replace(&mut self.current, opened.outside);
        let block = self.blocks.len();
        self.blocks.push(inside.finish());
        self.current.special.push(Special {
            number: opened.number,
            pattern: opened.pattern,
            then: Then::Enter { block },
        });
        Ok(())
    }

    /// The lines of the ifs that are still open, the innermost first.
    fn unclosed(&self) -> Vec<usize> {
        self.open.iter().rev().map(|open| open.line).collect()
    }

    fn finish(mut self) -> CidrTable {
        // An if without endif reaches to the end of the file.
        while self.close().is_ok() {}
        if let Some(file) = self.blocks.first_mut() {
            *file = self.current.finish();
        }
        let mut texts: Vec<(Box<str>, usize)> = self.texts.into_iter().collect();
        texts.sort_unstable_by_key(|(_, number)| *number);
        CidrTable {
            blocks: self.blocks,
            results: self.results,
            texts: texts.into_iter().map(|(text, _)| text).collect(),
        }
    }
}

fn read_line(line: &str) -> Result<Line<'_>, LineError> {
    let line = trim(line);
    if let Some(rest) = after_keyword(line, "endif") {
        return if rest.is_empty() { Ok(Line::Endif) } else { Err(LineError::GarbageAfterEndif) };
    }
    if let Some(rest) = after_keyword(line, "if") {
        // Not only the first word: what follows the pattern counts as part of it.
        let (negated, network) = strip_negation(rest)?;
        return Ok(Line::If(Pattern { network: Network::parse(network)?, negated }));
    }
    let (negated, rest) = strip_negation(line)?;
    let (network, result) = split_word(rest);
    let pattern = Pattern { network: Network::parse(network)?, negated };
    if result.is_empty() { Err(LineError::NoResult) } else { Ok(Line::Rule(pattern, result)) }
}

/// What follows a keyword, if the line begins with it as a word.
fn after_keyword<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = line.split_at_checked(keyword.len())?;
    let whole = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    (whole && word.eq_ignore_ascii_case(keyword)).then(|| trim(rest))
}

/// Takes the exclamation marks off; each one turns the meaning around.
fn strip_negation(text: &str) -> Result<(bool, &str), LineError> {
    let rest = text.trim_start_matches(|c| c == '!' || is_space_char(c));
    if rest.is_empty() {
        return Err(LineError::NoPattern);
    }
    let marks = text.strip_suffix(rest).unwrap_or_default().matches('!').count();
    Ok((marks % 2 == 1, rest))
}

fn warning(name: &str, line: usize, problem: &str) -> Message {
    Message::warning(format!("cidr map {name}, line {line}: {problem}"))
}

#[cfg(test)]
#[path = "cidr_tests.rs"]
mod tests;
