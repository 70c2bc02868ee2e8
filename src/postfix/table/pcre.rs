//! pcre tables, pcre_table(5): the patterns are Perl-compatible regular expressions.
//!
//! Keys and patterns are bytes, as with Postfix, unless a pattern begins with `(*UTF)`. A search
//! that backtracks too much is given up with a warning, and the rule does not apply.

use std::ffi::CStr;
use std::ops::Range;

use super::patterns::{Engine, Letter, PatternTable};
use super::replacement::ReplacementError;
use crate::sys::pcre::{Pcre, PcreCaptures, PcreOptions};

/// A pcre table, from a file or from inline text.
pub type PcreTable = PatternTable<Pcre>;

impl Engine for Pcre {
    const TYPE: &'static str = "pcre";
    const PAIRS: bool = false;
    const NOT_CLOSED: &'static str = "ignoring this rule";
    const ERRORS_FAIL: bool = false;

    type Flags = PcreOptions;
    type Captures = PcreCaptures;

    fn defaults() -> PcreOptions {
        PcreOptions { ignore_case: true, dot_all: true, ..PcreOptions::default() }
    }

    fn toggle(flags: &mut PcreOptions, letter: u8) -> Letter {
        match letter {
            b'i' => flags.ignore_case = !flags.ignore_case,
            b'm' => flags.multi_line = !flags.multi_line,
            b's' => flags.dot_all = !flags.dot_all,
            b'x' => flags.extended = !flags.extended,
            b'A' => flags.anchored = !flags.anchored,
            b'E' => flags.dollar_end_only = !flags.dollar_end_only,
            b'U' => flags.ungreedy = !flags.ungreedy,
            b'X' => return Letter::Obsolete,
            _ => return Letter::Unknown,
        }
        Letter::Known
    }

    fn compile(pattern: &CStr, flags: PcreOptions, _captures: bool) -> Result<Pcre, String> {
        Pcre::compile(pattern.to_bytes(), flags).map_err(|error| error.to_string())
    }

    fn groups(&self) -> usize {
        self.groups()
    }

    fn matches(&self, key: &CStr) -> Result<bool, String> {
        self.matches(key.to_bytes())
    }

    fn captures(&self, key: &CStr, _groups: usize) -> Result<Option<PcreCaptures>, String> {
        self.captures(key.to_bytes())
    }

    fn group(captures: &PcreCaptures, group: usize) -> Option<Range<usize>> {
        captures.get(group)
    }

    fn replacement_error(error: &ReplacementError) -> String {
        match error {
            ReplacementError::Zero(text) => format!("out of range replacement index \"{text}\""),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
#[path = "pcre_tests.rs"]
mod tests;
