//! regexp tables, regexp_table(5): the patterns are POSIX regular expressions.

use std::ffi::CStr;
use std::ops::Range;

use super::patterns::{Engine, Letter, PatternTable};
use crate::sys::{Captures, Regex, RegexOptions};

/// A regexp table, from a file or from inline text.
pub type RegexpTable = PatternTable<Posix>;

/// The longest key that is searched for a pattern with back references, bytes. The C library
/// needs time that grows with a high power of the length (minutes for a kilobyte), cannot be
/// stopped, and keys may be what clients say.
const REFERRED_KEY: usize = 64;

/// A pattern.
#[derive(Debug)]
pub struct Posix {
    regex: Regex,
    refers_back: bool,
}

impl Posix {
    fn is_bearable(&self, key: &CStr) -> Result<(), String> {
        if self.refers_back && key.to_bytes().len() > REFERRED_KEY {
            Err(format!(
                "a pattern with back references is for keys of at most {REFERRED_KEY} bytes"
            ))
        } else {
            Ok(())
        }
    }
}

/// Whether there is something like `\1`. It does not matter that brackets could make it something
/// else.
fn refers_back(pattern: &[u8]) -> bool {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'\\' && bytes.next().is_some_and(|next| matches!(next, b'1'..=b'9')) {
            return true;
        }
    }
    false
}

impl Engine for Posix {
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

    fn compile(pattern: &CStr, flags: RegexOptions, captures: bool) -> Result<Posix, String> {
        let regex = Regex::compile(pattern, RegexOptions { captures, ..flags })?;
        Ok(Posix { regex, refers_back: refers_back(pattern.to_bytes()) })
    }

    fn groups(&self) -> usize {
        self.regex.groups()
    }

    fn matches(&self, key: &CStr) -> Result<bool, String> {
        self.is_bearable(key)?;
        self.regex.matches(key)
    }

    fn captures(&self, key: &CStr, groups: usize) -> Result<Option<Captures>, String> {
        self.is_bearable(key)?;
        self.regex.captures(key, groups)
    }

    fn group(captures: &Captures, group: usize) -> Option<Range<usize>> {
        captures.get(group)
    }
}

#[cfg(test)]
#[path = "regexp_tests.rs"]
mod tests;
