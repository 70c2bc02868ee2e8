//! Perl-compatible regular expressions: the PCRE2 library, without its just-in-time compiler,
//! as the process may not be allowed to make memory executable.

use std::fmt;
use std::ops::Range;
use std::ptr::{self, NonNull};

use pcre2_sys as ffi;

/// How much a search may backtrack. A tenth of the library's own limit: at that, a pattern that
/// tries everything takes some 50 ms, in which the caller does nothing else.
const MATCH_LIMIT: u32 = 1_000_000;

/// How much memory one search may take, KiB. PCRE2 would take 20 GB.
const HEAP_LIMIT: u32 = 16 * 1024;

/// How a [`Pcre`] is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PcreOptions {
    /// Letter case does not matter.
    pub ignore_case: bool,
    /// `^` and `$` match beside line ends, too.
    pub multi_line: bool,
    /// `.` matches line ends, too.
    pub dot_all: bool,
    /// White space and comments in the pattern do not count.
    pub extended: bool,
    /// Only matches at the start of the subject count.
    pub anchored: bool,
    /// `$` does not match before a line end that ends the subject.
    pub dollar_end_only: bool,
    /// Repetitions take as little as they can.
    pub ungreedy: bool,
}

/// A compiled pattern. It works on bytes, unless it begins with `(*UTF)`.
pub struct Pcre {
    code: NonNull<ffi::pcre2_code_8>,
    limits: NonNull<ffi::pcre2_match_context_8>,
}

/// What is wrong with a pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("error in regex at offset {offset}: {text}")]
pub struct PcreError {
    /// Where, in bytes.
    pub offset: usize,
    /// In the library's words.
    pub text: String,
}

/// Where the groups of a [`Pcre`] match.
#[derive(Debug)]
pub struct PcreCaptures(Vec<usize>);

/// What a search writes to.
struct MatchData(NonNull<ffi::pcre2_match_data_8>);

impl Pcre {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn compile(pattern: &[u8], options: PcreOptions) -> Result<Pcre, PcreError> {
        let flags = [
            (options.ignore_case, ffi::PCRE2_CASELESS),
            (options.multi_line, ffi::PCRE2_MULTILINE),
            (options.dot_all, ffi::PCRE2_DOTALL),
            (options.extended, ffi::PCRE2_EXTENDED),
            (options.anchored, ffi::PCRE2_ANCHORED),
            (options.dollar_end_only, ffi::PCRE2_DOLLAR_ENDONLY),
            (options.ungreedy, ffi::PCRE2_UNGREEDY),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        let (mut code, mut offset) = (0, 0);
        // SAFETY: the pattern is as long as it is said to be, both out parameters are valid for
        // the call, and no context means the default one.
        let compiled = unsafe {
            ffi::pcre2_compile_8(
                pattern.as_ptr(),
                pattern.len(),
                flags,
                &raw mut code,
                &raw mut offset,
                ptr::null_mut(),
            )
        };
        let Some(compiled) = NonNull::new(compiled) else {
            return Err(PcreError { offset, text: error_text(code) });
        };
        // SAFETY: no general context means malloc(3).
        let limits = unsafe { ffi::pcre2_match_context_create_8(ptr::null_mut()) };
        let Some(limits) = NonNull::new(limits) else {
            // SAFETY: the pattern is compiled, and nobody else has it.
            unsafe { ffi::pcre2_code_free_8(compiled.as_ptr()) };
            return Err(PcreError { offset: 0, text: error_text(ffi::PCRE2_ERROR_NOMEMORY) });
        };
        // SAFETY: the context was just made. The call cannot fail.
        unsafe { ffi::pcre2_set_match_limit_8(limits.as_ptr(), MATCH_LIMIT) };
        // SAFETY: likewise.
        unsafe { ffi::pcre2_set_heap_limit_8(limits.as_ptr(), HEAP_LIMIT) };
        Ok(Pcre { code: compiled, limits })
    }

    /// How many groups the pattern has.
    pub fn groups(&self) -> usize {
        let mut count = 0_u32;
        // SAFETY: the pattern is compiled, and this question is answered with a `uint32_t`.
        unsafe {
            ffi::pcre2_pattern_info_8(
                self.code.as_ptr(),
                ffi::PCRE2_INFO_CAPTURECOUNT,
                (&raw mut count).cast(),
            )
        };
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Where the groups match; `None` if the pattern does not match.
    ///
    /// # Errors
    ///
    /// Why that cannot be told (too much backtracking, memory, a subject that is not UTF-8 for
    /// a pattern that wants that), in the library's words.
    pub fn captures(&self, subject: &[u8]) -> Result<Option<PcreCaptures>, String> {
        let data = self.search(subject)?;
        Ok(data.map(|data| {
            let numbers = self.groups().saturating_add(1).saturating_mul(2);
            // SAFETY: after a match the vector has two numbers for the whole match and for each
            // group of the pattern that the data were made for, and it lives as long as they.
            let offsets = unsafe {
                let start = ffi::pcre2_get_ovector_pointer_8(data.0.as_ptr());
                std::slice::from_raw_parts(start, numbers)
            };
            PcreCaptures(offsets.to_vec())
        }))
    }

    /// Whether the pattern matches somewhere.
    ///
    /// # Errors
    ///
    /// As [`Pcre::captures`].
    pub fn matches(&self, subject: &[u8]) -> Result<bool, String> {
        Ok(self.search(subject)?.is_some())
    }

    fn search(&self, subject: &[u8]) -> Result<Option<MatchData>, String> {
        // SAFETY: the pattern is compiled; no general context means malloc(3).
        let data = unsafe {
            ffi::pcre2_match_data_create_from_pattern_8(self.code.as_ptr(), ptr::null_mut())
        };
        let data = NonNull::new(data).ok_or_else(|| error_text(ffi::PCRE2_ERROR_NOMEMORY))?;
        let data = MatchData(data);
        // SAFETY: the subject is as long as it is said to be, the data are for this pattern and
        // ours alone, and the context is only read.
        let code = unsafe {
            ffi::pcre2_match_8(
                self.code.as_ptr(),
                subject.as_ptr(),
                subject.len(),
                0,
                0,
                data.0.as_ptr(),
                self.limits.as_ptr(),
            )
        };
        match code {
            ffi::PCRE2_ERROR_NOMATCH => Ok(None),
            code if code < 0 => Err(error_text(code)),
            _ => Ok(Some(data)),
        }
    }
}

impl PcreCaptures {
    /// The bytes of the subject that a group matched; `None` if it took no part. Groups count
    /// from 1.
    pub fn get(&self, group: usize) -> Option<Range<usize>> {
        let place = group.checked_mul(2)?;
        match self.0.get(place..place.checked_add(2)?) {
            Some([start, end]) if *start != ffi::PCRE2_UNSET => Some(*start..*end),
            _ => None,
        }
    }
}

impl fmt::Debug for Pcre {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pcre").field("groups", &self.groups()).finish_non_exhaustive()
    }
}

impl Drop for Pcre {
    fn drop(&mut self) {
        // SAFETY: both were made with this `Pcre`, and this is the only place that frees them.
        unsafe {
            ffi::pcre2_match_context_free_8(self.limits.as_ptr());
            ffi::pcre2_code_free_8(self.code.as_ptr());
        }
    }
}

impl Drop for MatchData {
    fn drop(&mut self) {
        // SAFETY: these data are ours alone, and this is the only place that frees them.
        unsafe { ffi::pcre2_match_data_free_8(self.0.as_ptr()) };
    }
}

fn error_text(code: i32) -> String {
    let mut buffer = [0_u8; 256];
    // SAFETY: the call writes at most `buffer.len()` bytes into `buffer`, which outlives it.
    let length = unsafe { ffi::pcre2_get_error_message_8(code, buffer.as_mut_ptr(), buffer.len()) };
    match usize::try_from(length).ok().and_then(|length| buffer.get(..length)) {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => format!("unexpected pcre2 error code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const PLAIN: PcreOptions = PcreOptions {
        ignore_case: false,
        multi_line: false,
        dot_all: false,
        extended: false,
        anchored: false,
        dollar_end_only: false,
        ungreedy: false,
    };

    #[test]
    fn patterns_and_their_groups() {
        let pattern = Pcre::compile(b"(a)(?<n>b)?(c*)", PLAIN).unwrap();
        assert_eq!(pattern.groups(), 3);
        assert_eq!(pattern.matches(b"xxa"), Ok(true));
        assert_eq!(pattern.matches(b"xx"), Ok(false));
        assert!(pattern.captures(b"xx").unwrap().is_none());
        let found = pattern.captures(b"xxac").unwrap().unwrap();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|group| found.get(group)),
            [Some(2..4), Some(2..3), None, Some(3..4), None]
        );
        assert_eq!(found.get(usize::MAX), None);
    }

    #[test]
    fn options() {
        let matches = |pattern: &[u8], options, subject: &[u8]| {
            Pcre::compile(pattern, options).unwrap().matches(subject).unwrap()
        };
        for (pattern, subject, options) in [
            (&b"A"[..], &b"a"[..], PcreOptions { ignore_case: true, ..PLAIN }),
            (b"^b", b"a\nb", PcreOptions { multi_line: true, ..PLAIN }),
            (b"^a.b$", b"a\nb", PcreOptions { dot_all: true, ..PLAIN }),
            (b"a b", b"ab", PcreOptions { extended: true, ..PLAIN }),
        ] {
            assert!(matches(pattern, options, subject));
            assert!(!matches(pattern, PLAIN, subject));
        }
        for (pattern, subject, options) in [
            (&b"b"[..], &b"ab"[..], PcreOptions { anchored: true, ..PLAIN }),
            (b"a$", b"a\n", PcreOptions { dollar_end_only: true, ..PLAIN }),
        ] {
            assert!(!matches(pattern, options, subject));
            assert!(matches(pattern, PLAIN, subject));
        }
        let lazy = Pcre::compile(b"a+", PcreOptions { ungreedy: true, ..PLAIN }).unwrap();
        assert_eq!(lazy.captures(b"aaa").unwrap().unwrap().get(0), Some(0..1));
        // Bytes, not characters, unless a pattern wants them.
        assert!(matches(b"^..$", PLAIN, b"\xc3\xa9"));
        assert!(matches(b"(*UTF)^.$", PLAIN, b"\xc3\xa9"));
        let text = Pcre::compile(b"(*UTF).", PLAIN).unwrap().matches(b"\xff").unwrap_err();
        assert!(text.starts_with("UTF-8 error: "), "{text}");
    }

    #[test]
    fn broken_patterns() {
        for (pattern, offset, text) in [
            (&b"a("[..], 2, "missing closing parenthesis"),
            (b"*", 0, "quantifier does not follow a repeatable item"),
        ] {
            let error = Pcre::compile(pattern, PLAIN).unwrap_err();
            assert_eq!(error, PcreError { offset, text: text.into() });
        }
    }

    #[test]
    fn a_search_ends() {
        let start = Instant::now();
        for pattern in ["^(a+)+$", "(*LIMIT_MATCH=4000000000)^(a|a)*$"] {
            let pattern = Pcre::compile(pattern.as_bytes(), PLAIN).unwrap();
            let subject = [b"a".repeat(40), b"!".to_vec()].concat();
            assert_eq!(pattern.matches(&subject), Err("match limit exceeded".into()));
        }
        // It would take years; the bound is only that wide for slow machines.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}
