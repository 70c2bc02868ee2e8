//! regexp tables, regexp_table(5): the first POSIX regular expression that matches gives the
//! result.
//!
//! Patterns are compiled once, when the table is read; a lookup only runs them.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use super::replacement::Replacement;
use super::{Answer, OpenOptions, Table};
use crate::postfix::lists::{BraceError, inside_braces, split_list};
use crate::postfix::logical_lines::{is_space, logical_lines};
use crate::postfix::message::Message;
use crate::screen::logline::Shown;
use crate::sys::{Regex, RegexOptions};

/// A regexp table, from a file or from inline text.
#[derive(Debug)]
pub struct RegexpTable {
    /// How warnings call the file.
    name: String,
    rules: Vec<Rule>,
    options: OpenOptions,
}

#[derive(Debug)]
struct Rule {
    /// Where it stands in the file.
    line: usize,
    pattern: Pattern,
    then: Then,
}

#[derive(Debug)]
enum Then {
    /// The search ends here, if the second pattern agrees.
    Result { and: Option<Pattern>, replacement: Replacement },
    /// An if; a key that does not match goes on with this rule.
    Block { else_at: usize },
}

/// A pattern, or everything that it does not match.
#[derive(Debug)]
struct Pattern {
    regex: Regex,
    negated: bool,
}

/// A pattern as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Source<'a> {
    text: &'a [u8],
    negated: bool,
    options: RegexOptions,
}

/// A line that is no rule, or an end of one; the messages are Postfix's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum LineError {
    #[error("no regexp: skipping this rule")]
    NoPattern,
    #[error("no closing regexp delimiter \"{0}\": skipping this rule")]
    NotClosed(char),
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
    /// regcomp(3) says so.
    #[error("{0}")]
    Compile(String),
}

impl RegexpTable {
    /// Reads a table file. Bad lines are skipped with a warning; `name` is how the warnings
    /// call the file.
    pub fn parse(
        name: &str,
        file: &[u8],
        options: OpenOptions,
        messages: &mut Vec<Message>,
    ) -> RegexpTable {
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
        RegexpTable { name: name.to_owned(), rules, options }
    }

    /// Reads the rules in the name of a table like `regexp:{{/^a/ x}, {...}}`.
    pub fn parse_inline(
        name: &str,
        options: OpenOptions,
        messages: &mut Vec<Message>,
    ) -> Result<RegexpTable, BraceError> {
        let rules: Vec<&str> =
            split_list(inside_braces(name)?).map(inside_braces).collect::<Result<_, _>>()?;
        Ok(RegexpTable::parse(name, rules.join("\n").as_bytes(), options, messages))
    }

    /// The result of the first rule that matches. The error is the line of a rule that
    /// cannot be applied, and why.
    fn find(&self, key: &CStr) -> Result<Option<Cow<'_, [u8]>>, (usize, String)> {
        let mut next = 0;
        while let Some(rule) = self.rules.get(next) {
            next += 1;
            let matched = rule.apply(key).map_err(|error| (rule.line, error))?;
            match (&rule.then, matched) {
                (Then::Result { .. }, Some(result)) => return Ok(Some(result)),
                (Then::Block { else_at }, None) => next = *else_at,
                (Then::Result { .. }, None) | (Then::Block { .. }, Some(_)) => {}
            }
        }
        Ok(None)
    }

    /// A result as text. `None` if it has to be text and is not.
    fn value<'a>(
        &self,
        key: &[u8],
        result: Cow<'a, [u8]>,
        warnings: &mut Vec<Message>,
    ) -> Option<Cow<'a, str>> {
        let text = match result {
            Cow::Borrowed(bytes) => {
                str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| bytes.to_vec())
            }
            Cow::Owned(bytes) => {
                String::from_utf8(bytes).map(Cow::Owned).map_err(|error| error.into_bytes())
            }
        };
        match text {
            Ok(text) => Some(text),
            Err(bytes) if self.options.utf8_values => {
                warnings.push(Message::warning(format!(
                    "regexp:{}: key \"{}\": non-UTF-8 value \"{}\": malformed UTF-8 or invalid \
                     codepoint",
                    self.name,
                    Shown(key),
                    Shown(&bytes)
                )));
                None
            }
            // As it will be logged, if it is.
            Err(bytes) => Some(Cow::Owned(without_broken(&bytes))),
        }
    }
}

impl Table for RegexpTable {
    fn lookup(&self, key: &[u8], warnings: &mut Vec<Message>) -> Answer<'_> {
        match with_c_str(key, |key| self.find(key)) {
            Ok(None) => Answer::NotFound,
            Ok(Some(result)) => {
                self.value(key, result, warnings).map_or(Answer::Failed, Answer::Found)
            }
            Err((line, error)) => {
                warnings.push(warning(&self.name, line, &error));
                Answer::Failed
            }
        }
    }
}

impl Rule {
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
        match self.pattern.regex.captures(key, replacement.groups())? {
            Some(captures) if agrees()? => Ok(Some(replacement.fill(|group| {
                captures.get(group).and_then(|range| key.to_bytes().get(range)).unwrap_or_default()
            }))),
            _ => Ok(None),
        }
    }
}

impl Pattern {
    fn matches(&self, key: &CStr) -> Result<bool, String> {
        Ok(self.regex.matches(key)? != self.negated)
    }
}

/// Reads one line after another.
struct Reader<'a> {
    name: &'a str,
    line: usize,
    rules: Vec<Rule>,
    /// The ifs without endif so far, by their numbers.
    open: Vec<usize>,
    messages: &'a mut Vec<Message>,
}

impl Reader<'_> {
    fn warn(&mut self, problem: impl ToString) {
        self.messages.push(warning(self.name, self.line, &problem.to_string()));
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
        let (first, mut rest) = take_pattern(line)?;
        let mut second = None;
        if rest.starts_with(b"!") {
            let (and, after) = take_pattern(rest)?;
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
                    if error.is_located() {
                        self.warn(error);
                    } else {
                        self.messages.push(Message::warning(error.to_string()));
                    }
                }
                return Err(LineError::Replacement);
            }
        };
        let groups = replacement.groups();
        if groups > 0 && first.negated {
            return Err(LineError::GroupOfNegated);
        }
        let pattern = first.compile(groups > 0)?;
        if groups > pattern.regex.groups() {
            return Err(LineError::NoSuchGroup(groups));
        }
        let and = second.map(|second| second.compile(false)).transpose()?;
        self.push(pattern, Then::Result { and, replacement });
        Ok(())
    }

    fn begin_block(&mut self, rest: &[u8]) -> Result<(), LineError> {
        let (pattern, rest) = take_pattern(rest)?;
        let rest = trim(rest);
        if !rest.is_empty() {
            let rest = String::from_utf8_lossy(rest);
            self.warn(format!("ignoring extra text after IF statement: \"{rest}\""));
            // A rule inside that is indented continues the line of the if.
            self.warn("do not prepend whitespace to statements between IF and ENDIF");
        }
        let pattern = pattern.compile(false)?;
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

    fn push(&mut self, pattern: Pattern, then: Then) {
        self.rules.push(Rule { line: self.line, pattern, then });
    }

    fn finish(mut self) -> Vec<Rule> {
        while let Some(opened) = self.open.pop() {
            self.line = self.rules.get(opened).map_or(0, |rule| rule.line);
            self.warn("IF has no matching ENDIF");
        }
        self.rules
    }
}

impl Source<'_> {
    /// Only what is needed: captures make a search slower.
    fn compile(self, captures: bool) -> Result<Pattern, LineError> {
        let options = RegexOptions { captures, ..self.options };
        let regex = with_c_str(self.text, |text| Regex::compile(text, options))
            .map_err(LineError::Compile)?;
        Ok(Pattern { regex, negated: self.negated })
    }
}

/// Takes `!/pattern/flags` from the start of a text: exclamation marks, each of which turns
/// the meaning around, a pattern between any two equal bytes, and flags, each of which turns
/// its default around.
fn take_pattern(text: &[u8]) -> Result<(Source<'_>, &[u8]), LineError> {
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
    let end = closing(rest, delimiter).ok_or(LineError::NotClosed(letter(delimiter)))?;
    let text = rest.get(..end).unwrap_or_default();
    let mut options =
        RegexOptions { extended: true, ignore_case: true, line_by_line: false, captures: false };
    rest = rest.get(end + 1..).unwrap_or_default();
    while let Some((byte, after)) = rest.split_first() {
        match byte {
            b'i' => options.ignore_case = !options.ignore_case,
            b'm' => options.line_by_line = !options.line_by_line,
            b'x' => options.extended = !options.extended,
            b'!' => break,
            byte if is_space(*byte) => break,
            byte => return Err(LineError::UnknownOption(letter(*byte))),
        }
        rest = after;
    }
    Ok((Source { text, negated, options }, rest))
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

/// Text with a question mark for each byte that is not UTF-8.
pub(super) fn without_broken(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
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

fn warning(name: &str, line: usize, problem: &str) -> Message {
    Message::warning(format!("regexp map {name}, line {line}: {problem}"))
}

#[cfg(test)]
#[path = "regexp_tests.rs"]
mod tests;
