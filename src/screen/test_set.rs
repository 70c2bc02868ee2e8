//! The five tests, what became of them, and sets of them.
//!
//! Everything here is a small value: the verdicts of [`super::verdict`] are functions on
//! these types, and the cache stores one [`CacheRecord`] for each client address.

use std::ops::{Index, IndexMut};
use std::time::Duration;

/// Seconds since 1970, as stored in the verdict cache (postscreen's unit: whole seconds).
///
/// Packed, because a waiting client is ten of these and hardly anything else: beside its tag
/// each would take twice the room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(Rust, packed)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This time and `span` later, cut to whole seconds.
    pub fn plus(self, span: Duration) -> UnixTime {
        UnixTime(self.0.saturating_add(span.as_secs()))
    }

    /// This time and `span` earlier, not before 1970.
    pub fn minus(self, span: Duration) -> UnixTime {
        UnixTime(self.0.saturating_sub(span.as_secs()))
    }
}

/// One of postscreen(8)'s tests, in the order of the fields of a cache record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Test {
    /// The client must not talk before the greeting is complete.
    Pregreet,
    /// The client must not be listed at DNS blocklists.
    Dnsbl,
    /// The client must wait for each reply before the next command.
    Pipelining,
    /// The client must speak SMTP, not HTTP or a message header.
    NonSmtpCommand,
    /// Every line must end in CR LF.
    BareNewline,
}

impl Test {
    /// All tests, in the order of the cache record.
    pub const ALL: [Test; 5] =
        [Test::Pregreet, Test::Dnsbl, Test::Pipelining, Test::NonSmtpCommand, Test::BareNewline];

    /// Whether the test runs before the greeting ("tests before SMTP handshake").
    pub const fn is_early(self) -> bool {
        matches!(self, Test::Pregreet | Test::Dnsbl)
    }

    const fn bit(self) -> u8 {
        match self {
            Test::Pregreet => 1,
            Test::Dnsbl => 2,
            Test::Pipelining => 4,
            Test::NonSmtpCommand => 8,
            Test::BareNewline => 16,
        }
    }
}

/// A set of tests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TestSet(u8);

impl TestSet {
    /// No test.
    pub const EMPTY: TestSet = TestSet(0);

    /// The set with `test` added.
    #[must_use]
    pub const fn with(self, test: Test) -> TestSet {
        TestSet(self.0 | test.bit())
    }

    /// The set with `test` taken out.
    #[must_use]
    pub const fn without(self, test: Test) -> TestSet {
        TestSet(self.0 & !test.bit())
    }

    /// Whether `test` is in the set.
    pub const fn contains(self, test: Test) -> bool {
        self.0 & test.bit() != 0
    }

    /// Whether no test is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether an early test is in the set.
    pub fn any_early(self) -> bool {
        self.iter().any(Test::is_early)
    }

    /// Whether a deep test is in the set.
    pub fn any_deep(self) -> bool {
        self.iter().any(|test| !test.is_early())
    }

    /// The members, in the order of [`Test::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Test> {
        Test::ALL.into_iter().filter(move |test| self.contains(*test))
    }
}

impl FromIterator<Test> for TestSet {
    fn from_iter<I: IntoIterator<Item = Test>>(tests: I) -> TestSet {
        tests.into_iter().fold(TestSet::EMPTY, TestSet::with)
    }
}

impl std::fmt::Debug for TestSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// One value for each test.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PerTest<T> {
    /// The value for [`Test::Pregreet`].
    pub pregreet: T,
    /// The value for [`Test::Dnsbl`].
    pub dnsbl: T,
    /// The value for [`Test::Pipelining`].
    pub pipelining: T,
    /// The value for [`Test::NonSmtpCommand`].
    pub non_smtp_command: T,
    /// The value for [`Test::BareNewline`].
    pub bare_newline: T,
}

impl<T> PerTest<T> {
    /// The value that `make` gives for each test.
    pub fn from_fn(mut make: impl FnMut(Test) -> T) -> PerTest<T> {
        PerTest {
            pregreet: make(Test::Pregreet),
            dnsbl: make(Test::Dnsbl),
            pipelining: make(Test::Pipelining),
            non_smtp_command: make(Test::NonSmtpCommand),
            bare_newline: make(Test::BareNewline),
        }
    }
}

impl<T> Index<Test> for PerTest<T> {
    type Output = T;

    fn index(&self, test: Test) -> &T {
        match test {
            Test::Pregreet => &self.pregreet,
            Test::Dnsbl => &self.dnsbl,
            Test::Pipelining => &self.pipelining,
            Test::NonSmtpCommand => &self.non_smtp_command,
            Test::BareNewline => &self.bare_newline,
        }
    }
}

impl<T> IndexMut<Test> for PerTest<T> {
    fn index_mut(&mut self, test: Test) -> &mut T {
        match test {
            Test::Pregreet => &mut self.pregreet,
            Test::Dnsbl => &mut self.dnsbl,
            Test::Pipelining => &mut self.pipelining,
            Test::NonSmtpCommand => &mut self.non_smtp_command,
            Test::BareNewline => &mut self.bare_newline,
        }
    }
}

/// What happens to a client that fails a test (main.cf: `postscreen_*_action`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Log it and let the client go on; the test is due again next time.
    Ignore,
    /// Let the other tests run, then refuse every recipient; never hand the client off.
    Enforce,
    /// Refuse the client at once.
    Drop,
}

/// Until when a test counts as passed. The numbers 0 and 1 that postscreen's cache
/// format uses for the first two exist only in `cache/record.rs`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Expiry {
    /// The test was enabled and never passed; makes the client a "new" one.
    #[default]
    NeverPassed,
    /// The test was off when the record was written, and never passed.
    Disabled,
    /// Passed, and valid up to and including this second.
    Until(UnixTime),
}

impl Expiry {
    /// Whether an enabled test has to be done again.
    pub fn is_due(self, now: UnixTime) -> bool {
        match self {
            Expiry::NeverPassed | Expiry::Disabled => true,
            Expiry::Until(end) => now > end,
        }
    }
}

/// What is remembered about one client address.
pub type CacheRecord = PerTest<Expiry>;
