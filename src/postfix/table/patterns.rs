//! Tables of patterns, regexp_table(5) and pcre_table(5): the first pattern that matches gives
//! the result. What the two have in common: the grammar of their rules, and how a table of them
//! is searched.
//!
//! Patterns are compiled once, when the table is read; a lookup only runs them.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::Range;

use super::replacement::{Replacement, ReplacementError};
use super::value::value;
use super::{Answer, OpenOptions, Table};
use crate::postfix::lists::{BraceError, inside_braces, split_list};
use crate::postfix::logical_lines::{is_space, logical_lines};
use crate::postfix::message::Message;

/// A kind of patterns.
pub trait Engine: fmt::Debug + Sized {
    /// The type of the table, as messages name it.
    const TYPE: &'static str;
    /// `/a/!/b/` is two patterns.
    const PAIRS: bool;
    /// What becomes of a rule whose pattern does not end.
    const NOT_CLOSED: &'static str;
    /// A search that cannot be finished is a failed lookup; else the pattern does not match.
    const ERRORS_FAIL: bool;

    /// What the letters behind a pattern say.
    type Flags: Copy + fmt::Debug;
    /// Where groups match.
    type Captures;

    /// What applies without letters.
    fn defaults() -> Self::Flags;

    /// Turns the default of a letter around.
    fn toggle(flags: &mut Self::Flags, letter: u8) -> Letter;

    /// Compiles a pattern. Where groups match is only asked for if `captures` is set.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for the log.
    fn compile(pattern: &CStr, flags: Self::Flags, captures: bool) -> Result<Self, String>;

    /// How many groups the pattern has.
    fn groups(&self) -> usize;

    /// Whether the pattern matches.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    fn matches(&self, key: &CStr) -> Result<bool, String>;

    /// Where the first `groups` groups match, if the pattern does.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    fn captures(&self, key: &CStr, groups: usize) -> Result<Option<Self::Captures>, String>;

    /// The bytes of the key that a group matched; `None` if it took no part.
    fn group(captures: &Self::Captures, group: usize) -> Option<Range<usize>>;

    /// What is wrong with a result, in words for the log.
    fn replacement_error(error: &ReplacementError) -> String {
        error.to_string()
    }
}

/// What a letter behind a pattern is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Letter {
    /// It says something.
    Known,
    /// It once did.
    Obsolete,
    /// The rule is no good.
    Unknown,
}

/// A table of patterns, from a file or from inline text.
#[derive(Debug)]
pub struct PatternTable<E> {
    /// How warnings call the file.
    name: String,
    rules: Vec<Rule<E>>,
    options: OpenOptions,
}

#[derive(Debug)]
struct Rule<E> {
    /// Where it stands in the file.
    line: usize,
    pattern: Pattern<E>,
    then: Then<E>,
}

#[derive(Debug)]
enum Then<E> {
    /// The search ends here, if the second pattern agrees.
    Result { and: Option<Pattern<E>>, replacement: Replacement },
    /// An if; a key that does not match goes on with this rule.
    Block { else_at: usize },
}

/// A pattern, or everything that it does not match.
#[derive(Debug)]
struct Pattern<E> {
    engine: E,
    negated: bool,
}

/// A pattern as written.
#[derive(Clone, Copy, Debug)]
struct Source<'a, F> {
    text: &'a [u8],
    negated: bool,
    flags: F,
}

/// A line that is no rule, or an end of one; the messages are Postfix's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum LineError {
    #[error("no regexp: skipping this rule")]
    NoPattern,
    #[error("no closing regexp delimiter \"{0}\": {1}")]
    NotClosed(char, &'static str),
    #[error("unknown regexp option \"{0}\": skipping this rule")]
    UnknownOption(char),
    #[error("bad replacement syntax: skipping this rule")]
    Replacement,
    #[error("$number found in negative match replacement text: skipping this rule")]
    GroupOfNegated,
    #[error("out of range replacement index \"{0}\": skipping this rule")]
    NoSuchGroup(usize),
    #[error("ignoring ENDIF without matching IF")]
    EndifWithoutIf,
    #[error("ignoring unrecognized request")]
    Unrecognized,
    /// The engine says so.
    #[error("{0}")]
    Compile(String),
}

impl<E: Engine> PatternTable<E> {
    /// Reads a table file. Bad lines are skipped with a warning; `name` is how the warnings
    /// call the file.
    pub fn parse(
        name: &str,
        file: &[u8],
        options: OpenOptions,
        messages: &mut Vec<Message>,
    ) -> PatternTable<E> {
        let lines = logical_lines(file);
        messages.extend(lines.warnings(name));
        let mut reader = Reader { name, line: 0, rules: Vec::new(), open: Vec::new(), messages };
        for line in &lines.lines {
            reader.line = line.first_line;
            if let Err(error) = reader.read(trim(&line.text)) {
                reader.warn(error);
            }
        }
        let rules = reader.finish();
        PatternTable { name: name.to_owned(), rules, options }
    }

    /// Reads the rules in the name of a table like `regexp:{{/^a/ x}, {...}}`.
    pub fn parse_inline(
        name: &str,
        options: OpenOptions,
        messages: &mut Vec<Message>,
    ) -> Result<PatternTable<E>, BraceError> {
        let rules: Vec<&str> =
            split_list(inside_braces(name)?).map(inside_braces).collect::<Result<_, _>>()?;
        Ok(PatternTable::parse(name, rules.join("\n").as_bytes(), options, messages))
    }

    /// The result of the first rule that matches.
    ///
    /// # Errors
    ///
    /// There is a warning about a rule that cannot be applied.
    fn find(
        &self,
        key: &CStr,
        warnings: &mut Vec<Message>,
    ) -> Result<Option<Cow<'_, [u8]>>, Unfinished> {
        let mut next = 0;
        while let Some(rule) = self.rules.get(next) {
            next += 1;
            let matched = match rule.apply(key) {
                Ok(matched) => matched,
                Err(error) => {
                    warnings.push(warning::<E>(&self.name, rule.line, &error));
                    if E::ERRORS_FAIL {
                        return Err(Unfinished);
                    }
                    None
                }
            };
            match (&rule.then, matched) {
                (Then::Result { .. }, Some(result)) => return Ok(Some(result)),
                (Then::Block { else_at }, None) => next = *else_at,
                (Then::Result { .. }, None) | (Then::Block { .. }, Some(_)) => {}
            }
        }
        Ok(None)
    }
}

/// A search that could not be finished.
struct Unfinished;

impl<E: Engine> Table for PatternTable<E> {
    fn lookup(&self, key: &[u8], warnings: &mut Vec<Message>) -> Answer<'_> {
        match with_c_str(key, |key| self.find(key, warnings)) {
            Ok(None) => Answer::NotFound,
            Ok(Some(result)) => {
                let table = format_args!("{}:{}", E::TYPE, self.name);
                value(table, key, result, self.options, warnings)
            }
            Err(Unfinished) => Answer::Failed,
        }
    }
}

impl<E: Engine> Rule<E> {
    /// The result if the rule matches; that of an if is empty.
    fn apply(&self, key: &CStr) -> Result<Option<Cow<'_, [u8]>>, String> {
        let Then::Result { and, replacement } = &self.then else {
            return Ok(self.pattern.matches(key)?.then_some(Cow::Borrowed(&[])));
        };
        let agrees = || and.as_ref().map_or(Ok(true), |pattern| pattern.matches(key));
        if replacement.groups() == 0 {
            let matches = self.pattern.matches(key)? && agrees()?;
            return Ok(matches.then(|| replacement.fill(|_| &[])));
        }
        // Only patterns that are not negated have groups in their results.
        match self.pattern.engine.captures(key, replacement.groups())? {
            Some(captures) if agrees()? => Ok(Some(replacement.fill(|group| {
                let range = E::group(&captures, group);
                range.and_then(|range| key.to_bytes().get(range)).unwrap_or_default()
            }))),
            _ => Ok(None),
        }
    }
}

impl<E: Engine> Pattern<E> {
    fn matches(&self, key: &CStr) -> Result<bool, String> {
        Ok(self.engine.matches(key)? != self.negated)
    }
}

/// A pattern, and what follows it.
type Taken<'t, E> = (Source<'t, <E as Engine>::Flags>, &'t [u8]);

/// Reads one line after another.
struct Reader<'a, E> {
    name: &'a str,
    line: usize,
    rules: Vec<Rule<E>>,
    /// The ifs without endif so far, by their numbers.
    open: Vec<usize>,
    messages: &'a mut Vec<Message>,
}

impl<E: Engine> Reader<'_, E> {
    fn warn(&mut self, problem: impl ToString) {
        self.messages.push(warning::<E>(self.name, self.line, &problem.to_string()));
    }

    fn read(&mut self, line: &[u8]) -> Result<(), LineError> {
        if !line.first().is_some_and(u8::is_ascii_alphanumeric) {
            self.rule(line)
        } else if let Some(rest) = after_keyword(line, b"if") {
            self.begin_block(rest)
        } else if let Some(rest) = after_keyword(line, b"endif") {
            self.end_block(rest)
        } else {
            Err(LineError::Unrecognized)
        }
    }

    fn rule(&mut self, line: &[u8]) -> Result<(), LineError> {
        let (first, mut rest) = self.take_pattern(line)?;
        let mut second = None;
        if E::PAIRS && rest.starts_with(b"!") {
            let (and, after) = self.take_pattern(rest)?;
            (second, rest) = (Some(and), after);
        }
        let text = trim(rest);
        if text.is_empty() {
            self.warn("no replacement text: using empty string");
        }
        let replacement = match Replacement::parse(text) {
            Ok(replacement) => replacement,
            Err(errors) => {
                for error in errors {
                    let text = E::replacement_error(&error);
                    if error.is_located() {
                        self.warn(text);
                    } else {
                        self.messages.push(Message::warning(text));
                    }
                }
                return Err(LineError::Replacement);
            }
        };
        let groups = replacement.groups();
        if groups > 0 && first.negated {
            return Err(LineError::GroupOfNegated);
        }
        let pattern: Pattern<E> = compile(first, groups > 0)?;
        if groups > pattern.engine.groups() {
            return Err(LineError::NoSuchGroup(groups));
        }
        let and = second.map(|second| compile(second, false)).transpose()?;
        self.push(pattern, Then::Result { and, replacement });
        Ok(())
    }

    fn begin_block(&mut self, rest: &[u8]) -> Result<(), LineError> {
        let (pattern, rest) = self.take_pattern(rest)?;
        let rest = trim(rest);
        if !rest.is_empty() {
            let rest = String::from_utf8_lossy(rest);
            self.warn(format!("ignoring extra text after IF statement: \"{rest}\""));
            // A rule inside that is indented continues the line of the if.
            self.warn("do not prepend whitespace to statements between IF and ENDIF");
        }
        let pattern = compile(pattern, false)?;
        self.open.push(self.rules.len());
        // Without endif it reaches to the end of the file.
        self.push(pattern, Then::Block { else_at: usize::MAX });
        Ok(())
    }

    fn end_block(&mut self, rest: &[u8]) -> Result<(), LineError> {
        let opened = self.open.pop().ok_or(LineError::EndifWithoutIf)?;
        if !rest.is_empty() {
            self.warn("ignoring extra text after ENDIF");
        }
        let end = self.rules.len();
        if let Some(Rule { then: Then::Block { else_at }, .. }) = self.rules.get_mut(opened) {
            *else_at = end;
        }
        Ok(())
    }

    /// Takes `!/pattern/flags` from the start of a text: exclamation marks, each of which turns
    /// the meaning around, a pattern between any two equal bytes, and letters, each of which
    /// turns its default around.
    fn take_pattern<'t>(&mut self, text: &'t [u8]) -> Result<Taken<'t, E>, LineError> {
        let mut negated = false;
        let mut rest = text;
        let delimiter = loop {
            let (byte, after) = rest.split_first().ok_or(LineError::NoPattern)?;
            rest = after;
            match byte {
                b'!' => negated = !negated,
                byte if is_space(*byte) => {}
                byte => break *byte,
            }
        };
        let end = closing(rest, delimiter)
            .ok_or(LineError::NotClosed(letter(delimiter), E::NOT_CLOSED))?;
        let text = rest.get(..end).unwrap_or_default();
        let mut flags = E::defaults();
        rest = rest.get(end + 1..).unwrap_or_default();
        while let Some((byte, after)) = rest.split_first() {
            if is_space(*byte) || E::PAIRS && *byte == b'!' {
                break;
            }
            match E::toggle(&mut flags, *byte) {
                Letter::Known => {}
                Letter::Obsolete => {
                    self.warn(format!("ignoring obsolete regexp option \"{}\"", letter(*byte)));
                }
                Letter::Unknown => return Err(LineError::UnknownOption(letter(*byte))),
            }
            rest = after;
        }
        Ok((Source { text, negated, flags }, rest))
    }

    fn push(&mut self, pattern: Pattern<E>, then: Then<E>) {
        self.rules.push(Rule { line: self.line, pattern, then });
    }

    fn finish(mut self) -> Vec<Rule<E>> {
        while let Some(opened) = self.open.pop() {
            self.line = self.rules.get(opened).map_or(0, |rule| rule.line);
            self.warn("IF has no matching ENDIF");
        }
        self.rules
    }
}

/// Only what is needed: captures make a search slower.
fn compile<E: Engine>(
    source: Source<'_, E::Flags>,
    captures: bool,
) -> Result<Pattern<E>, LineError> {
    let engine = with_c_str(source.text, |text| E::compile(text, source.flags, captures))
        .map_err(LineError::Compile)?;
    Ok(Pattern { engine, negated: source.negated })
}

/// Where the delimiter comes again. A backslash protects what follows it, and stays.
fn closing(text: &[u8], delimiter: u8) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = *byte == b'\\';
        !escaped && *byte == delimiter
    })
}

/// What follows a keyword, if the line begins with it as a word.
fn after_keyword<'a>(line: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    let (word, rest) = line.split_at_checked(keyword.len())?;
    let whole = !rest.first().is_some_and(u8::is_ascii_alphanumeric);
    (whole && word.eq_ignore_ascii_case(keyword)).then_some(rest)
}

/// Calls with a copy of the bytes, up to the first NUL, that ends in one.
fn with_c_str<T>(bytes: &[u8], call: impl FnOnce(&CStr) -> T) -> T {
    // Most keys are short, and then this costs no allocation.
    let mut buffer = [0; 128];
    if let Some(copy) = buffer.get_mut(..bytes.len()) {
        copy.copy_from_slice(bytes);
        if let Ok(text) = CStr::from_bytes_until_nul(&buffer) {
            return call(text);
        }
    }
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    call(&CString::new(bytes).unwrap_or_default())
}

/// A byte in a warning.
fn letter(byte: u8) -> char {
    if byte.is_ascii() { char::from(byte) } else { '?' }
}

/// Removes whitespace of C's `isspace` at both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let Some((_, rest)) = text.split_first().filter(|(byte, _)| is_space(**byte)) {
        text = rest;
    }
    while let Some((_, rest)) = text.split_last().filter(|(byte, _)| is_space(**byte)) {
        text = rest;
    }
    text
}

fn warning<E: Engine>(name: &str, line: usize, problem: &str) -> Message {
    Message::warning(format!("{} map {name}, line {line}: {problem}", E::TYPE))
}
