//! cidr tables: the first rule whose network contains the address gives the result.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use super::first_match::{FirstMatch, Pattern, Rules};
use super::network::{Network, NetworkError};
use super::{Answer, Table};
use crate::postfix::lists::{
    BraceError, inside_braces, is_space_char, split_list, split_word, trim,
};
use crate::postfix::logical_lines::logical_lines;
use crate::postfix::message::Message;

/// A cidr table, from a file or from inline text.
#[derive(Clone, Debug)]
pub struct CidrTable {
    /// Which of `texts` is the result.
    rules: FirstMatch,
    /// The distinct results.
    texts: Vec<Box<str>>,
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
        let mut builder = Builder::default();
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
        let text = usize::try_from(self.rules.find(address)?).ok()?;
        self.texts.get(text).map(AsRef::as_ref)
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

/// An if that waits for its endif.
struct OpenIf {
    line: usize,
    pattern: Pattern,
    /// The number of the first rule that follows.
    number: usize,
}

/// Puts rules and ifs together, in file order.
#[derive(Default)]
struct Builder {
    rules: Rules,
    texts: HashMap<Box<str>, u32>,
    open: Vec<OpenIf>,
}

impl Builder {
    fn rule(&mut self, pattern: Pattern, result: &str) {
        let text = match self.texts.get(result) {
            Some(text) => *text,
            None => {
                // Memory ends before the numbers do.
                let text = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
                self.texts.insert(result.into(), text);
                text
            }
        };
        self.rules.add(pattern, text);
    }

    fn open(&mut self, pattern: Pattern, line: usize) {
        self.open.push(OpenIf { line, pattern, number: self.rules.len() });
    }

    fn close(&mut self) -> Result<(), LineError> {
        let opened = self.open.pop().ok_or(LineError::EndifWithoutIf)?;
        self.rules.enclose(opened.pattern, opened.number);
        Ok(())
    }

    /// The lines of the ifs that are still open, the innermost first.
    fn unclosed(&self) -> Vec<usize> {
        self.open.iter().rev().map(|open| open.line).collect()
    }

    fn finish(mut self) -> CidrTable {
        // An if without endif reaches to the end of the file.
        while self.close().is_ok() {}
        let mut texts: Vec<(Box<str>, u32)> = self.texts.into_iter().collect();
        texts.sort_unstable_by_key(|(_, number)| *number);
        CidrTable {
            rules: self.rules.compile(),
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
