//! regexp tables, regexp_table(5): the patterns are POSIX regular expressions.

use std::ffi::CStr;
use std::ops::Range;

use super::patterns::{Engine, Letter, PatternTable};
use crate::sys::{Captures, Regex, RegexOptions};

/// A regexp table, from a file or from inline text.
pub type RegexpTable = PatternTable<Regex>;

impl Engine for Regex {
    const TYPE: &'static str = "regexp";
    const PAIRS: bool = true;
    const NOT_CLOSED: &'static str = "skipping this rule";
    const ERRORS_FAIL: bool = true;

    type Flags = RegexOptions;
    type Captures = Captures;

    fn defaults() -> RegexOptions {
        RegexOptions { extended: true, ignore_case: true, line_by_line: false, captures: false }
    }

    fn toggle(flags: &mut RegexOptions, letter: u8) -> Letter {
        match letter {
            b'i' => flags.ignore_case = !flags.ignore_case,
            b'm' => flags.line_by_line = !flags.line_by_line,
            b'x' => flags.extended = !flags.extended,
            _ => return Letter::Unknown,
        }
        Letter::Known
    }

    fn compile(pattern: &CStr, flags: RegexOptions, captures: bool) -> Result<Regex, String> {
        Regex::compile(pattern, RegexOptions { captures, ..flags })
    }

    fn groups(&self) -> usize {
        self.groups()
    }

    fn matches(&self, key: &CStr) -> Result<bool, String> {
        self.matches(key)
    }

    fn captures(&self, key: &CStr, groups: usize) -> Result<Option<Captures>, String> {
        self.captures(key, groups)
    }

    fn group(captures: &Captures, group: usize) -> Option<Range<usize>> {
        captures.get(group)
    }
}

#[cfg(test)]
#[path = "regexp_tests.rs"]
mod tests;
