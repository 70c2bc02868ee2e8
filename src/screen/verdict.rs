//! The one place of decisions: total functions on values, no state, no effects.

mod proxy;
mod tls;

use std::net::IpAddr;
use std::time::Duration;

use super::dnsbl::lists::EntryId;
use super::dnsbl::score::Score;
use super::policy::{DnsblRules, Limits, Policy, Protocols};
use super::reply::Reply;
use super::smtp::discard::Discarded;
use super::test_set::{Action, CacheRecord, Expiry, PerTest, Test, TestSet, UnixTime};
pub use proxy::{Approach, Spoken, Trust, approach, is_logged, unknown_is_local};
pub use tls::{
    TLS_FAILURES, TLS_PAUSE, TlsHealth, TlsNotice, TlsOffer, after_tls_failure, after_tls_success,
    tls_offer,
};

/// What became of one test in one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Outcome {
    /// There is no need for it: off, or still counted as passed.
    #[default]
    NotDue,
    /// It is due, and not decided.
    Pending,
    /// Passed; counts until then.
    Passed(UnixTime),
    /// An early test failed, and the action is to ignore that: due again next time.
    Ignored,
    /// A deep test failed, and the action is to ignore that: counts as passed until then.
    Excused(UnixTime),
    /// Failed.
    Failed,
}

impl Outcome {
    /// Until when it counts as a pass, if it does.
    pub fn pass(self) -> Option<UnixTime> {
        match self {
            Outcome::Passed(until) | Outcome::Excused(until) => Some(until),
            Outcome::NotDue | Outcome::Pending | Outcome::Ignored | Outcome::Failed => None,
        }
    }

    /// Whether a deep test still watches the client: until it has failed, and also after a
    /// pass.
    pub fn may_fail(self) -> bool {
        matches!(self, Outcome::Pending | Outcome::Passed(_))
    }
}

/// What became of all tests in one session.
pub type Outcomes = PerTest<Outcome>;

impl Outcomes {
    /// The tests that were due when the session began.
    pub fn due(&self) -> TestSet {
        Test::ALL.into_iter().filter(|test| self[*test] != Outcome::NotDue).collect()
    }

    /// The tests that were passed, or count as passed.
    pub fn passed(&self) -> TestSet {
        Test::ALL.into_iter().filter(|test| self[*test].pass().is_some()).collect()
    }

    /// Whether a test has failed and that was not ignored.
    pub fn any_failed(&self) -> bool {
        Test::ALL.into_iter().any(|test| self[test] == Outcome::Failed)
    }

    /// The tests that are due and not decided.
    pub fn pending(&self) -> TestSet {
        Test::ALL.into_iter().filter(|test| self[*test] == Outcome::Pending).collect()
    }
}

/// Why a client must not be handed to smtpd(8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The access list rejects it.
    Denylisted,
    /// It talked before its turn.
    Pregreet,
    /// It came to an address of ours that is not for newcomers.
    Veto,
    /// DNS blocklists know it.
    Blocked(Blocked),
    /// It failed a deep test.
    DeepTest,
}

/// Who is on which blocklist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocked {
    /// The client.
    pub client: IpAddr,
    /// The entry that names the list; there is one whenever the score is above zero.
    pub by: Option<EntryId>,
}

/// The reason after main.cf: `postscreen_allowlist_interfaces` has spoken against a client.
/// Unlike a failed test it does not take the place of an earlier reason.
pub fn vetoed(refusal: Option<Refusal>) -> Refusal {
    refusal.unwrap_or(Refusal::Veto)
}

/// Whether a connection is taken at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Yes.
    Admitted,
    /// The client has too many sessions already.
    TooManyConnections,
    /// Too many hand-offs are in progress.
    ServerPortsBusy,
}

/// Whether smtpd(8) takes a client by this protocol. Up to Postfix 3.10 it dies of one that
/// main.cf's `inet_protocols` does not have, and a few such deaths close the port for all. An
/// IPv4-mapped address counts as IPv6, as it does there: where IPv4 is served it has become a
/// plain one long before.
pub fn is_served(protocols: Protocols, client: IpAddr, server: IpAddr) -> bool {
    [client, server].into_iter().all(|address| match address {
        IpAddr::V4(_) => protocols.ipv4,
        IpAddr::V6(_) => protocols.ipv6,
    })
}

/// Checks the limits that hold for every client, permitted ones included.
///
/// `of_client` counts this session among those of its address or IPv6 network, `handing_off`
/// the hand-offs in progress.
pub fn admission(limits: &Limits, of_client: usize, handing_off: usize) -> Admission {
    if limits.per_client.is_some_and(|limit| of_client > limit) {
        Admission::TooManyConnections
    } else if limits.post_queue > 0 && handing_off >= limits.post_queue {
        Admission::ServerPortsBusy
    } else {
        Admission::Admitted
    }
}

/// Whether there is room to screen one client more; `screening` counts it already.
pub fn may_screen(limits: &Limits, screening: usize) -> bool {
    limits.pre_queue == 0 || screening < limits.pre_queue
}

/// Whether there is room for one more connection that waits for a proxy's header, besides so
/// many. They are no sessions, and have a limit of the same size for themselves.
pub fn may_approach(limits: &Limits, approaching: usize) -> bool {
    limits.pre_queue == 0 || approaching < limits.pre_queue
}

/// Whether stress mode is on after a session has begun.
pub fn stress_after_begin(limits: &Limits, stress: bool, sessions: usize) -> bool {
    stress || sessions >= limits.pre_queue.saturating_mul(9) / 10
}

/// Whether stress mode is on after a session has ended.
pub fn stress_after_end(limits: &Limits, stress: bool, sessions: usize) -> bool {
    stress && sessions > limits.pre_queue.saturating_mul(7) / 10
}

/// What the access list says about a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Let the client in without tests.
    Permit,
    /// The client is not wanted.
    Reject,
    /// No opinion.
    Undecided,
}

/// What the access list's opinion means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Welcome {
    /// Hand the client off, without tests.
    LetIn,
    /// Turn it away at once.
    TurnAway,
    /// Test it, and refuse it whatever the tests say.
    TestAndRefuse,
    /// Test it.
    Test,
}

/// Applies main.cf: `postscreen_denylist_action` to the access list's opinion.
pub fn welcome(access: Access, denylist_action: Action) -> Welcome {
    match (access, denylist_action) {
        (Access::Permit, _) => Welcome::LetIn,
        (Access::Reject, Action::Drop) => Welcome::TurnAway,
        (Access::Reject, Action::Enforce) => Welcome::TestAndRefuse,
        (Access::Reject, Action::Ignore) | (Access::Undecided, _) => Welcome::Test,
    }
}

/// Which tests are due: switched on, and not (or no longer) passed.
pub fn select_tests(enabled: TestSet, record: &CacheRecord, now: UnixTime) -> Outcomes {
    PerTest::from_fn(|test| {
        if enabled.contains(test) && record[test].is_due(now) {
            Outcome::Pending
        } else {
            Outcome::NotDue
        }
    })
}

/// A record as far as it can be true: no pass counts for longer than the longest one that is
/// given. What is further away was stamped by a clock that was ahead, and would count until that
/// time comes.
pub fn bounded(record: &CacheRecord, now: UnixTime, longest: Duration) -> CacheRecord {
    let last = Expiry::Until(now.plus(longest));
    PerTest::from_fn(|test| record[test].min(last))
}

/// Whether a record makes its client a new one.
pub fn is_new(record: &CacheRecord) -> bool {
    Test::ALL.into_iter().any(|test| record[test] == Expiry::NeverPassed)
}

/// What follows from a pregreet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterPregreet {
    /// Refuse the client and close.
    Drop,
    /// The client has failed: go on, and refuse every recipient.
    Enforce,
    /// The client may go on; the test is due again next time.
    Ignore,
}

/// Applies main.cf: `postscreen_greet_action`.
pub fn after_pregreet(policy: &Policy) -> AfterPregreet {
    match policy.actions.pregreet {
        Action::Drop => AfterPregreet::Drop,
        Action::Enforce => AfterPregreet::Enforce,
        Action::Ignore => AfterPregreet::Ignore,
    }
}

/// Whether the DNS lists speak so well of a client that it need not pass any other test
/// (main.cf: `postscreen_dnsbl_allowlist_threshold`). One that has failed a test must.
pub fn is_recommended(
    rules: &DnsblRules,
    refusal: Option<Refusal>,
    outcomes: &Outcomes,
    rank: i32,
) -> bool {
    refusal.is_none()
        && !matches!(outcomes.pregreet, Outcome::Failed | Outcome::Ignored)
        && rules.allowlist_threshold.is_some_and(|threshold| rank <= threshold)
}

/// A recommended client has passed everything that was due.
pub fn recommended(outcomes: &Outcomes, until: UnixTime) -> Outcomes {
    PerTest::from_fn(|test| match outcomes[test] {
        Outcome::Pending => Outcome::Passed(until),
        outcome => outcome,
    })
}

/// The stamps of a recommended client: no test is due until then, whether it is on or not.
pub fn raised(record: CacheRecord, until: UnixTime) -> CacheRecord {
    PerTest::from_fn(|test| record[test].max(Expiry::Until(until)))
}

/// Whether the verdict on a client is certain before all lists have answered, when its score
/// will be between `low` and `high`. For one that will be logged with its score it never is.
pub fn is_certain(
    rules: &DnsblRules,
    refusal: Option<Refusal>,
    outcomes: &Outcomes,
    (low, high): (i32, i32),
) -> bool {
    if is_recommended(rules, refusal, outcomes, high) {
        return true;
    }
    // The wait for a client that may still talk too early goes on anyway.
    outcomes.pregreet != Outcome::Pending
        && high < rules.threshold
        && !is_recommended(rules, refusal, outcomes, low)
}

/// What follows from the score.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterScore {
    /// Below the threshold; the test has this outcome.
    Passed(Outcome),
    /// Refuse the client and close.
    Drop(Blocked),
    /// The client has failed: go on, and refuse every recipient.
    Enforce(Blocked),
    /// The client may go on; the test is due again next time.
    Ignore,
}

/// Applies main.cf: `postscreen_dnsbl_threshold` and `postscreen_dnsbl_action`.
pub fn after_score(policy: &Policy, client: IpAddr, score: Score, now: UnixTime) -> AfterScore {
    if score.rank < policy.dnsbl.threshold {
        return AfterScore::Passed(pass(now, score.valid_for()));
    }
    let blocked = Blocked { client, by: score.top };
    match policy.actions.dnsbl {
        Action::Drop => AfterScore::Drop(blocked),
        Action::Enforce => AfterScore::Enforce(blocked),
        Action::Ignore => AfterScore::Ignore,
    }
}

/// Until when a pass of a test counts that is passed now.
pub fn pass(now: UnixTime, ttl: Duration) -> Outcome {
    Outcome::Passed(now.plus(ttl))
}

/// Where a client goes when the early tests are over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextStep {
    /// To smtpd(8).
    HandOff,
    /// To the built-in SMTP engine.
    Engine,
}

/// Who has failed, or has a deep test before it, never goes to smtpd(8) in this session.
pub fn next_step(refusal: Option<Refusal>, outcomes: &Outcomes) -> NextStep {
    if refusal.is_some() || outcomes.pending().any_deep() {
        NextStep::Engine
    } else {
        NextStep::HandOff
    }
}

/// The tests of a client that enters the built-in SMTP engine. One that is refused anyway
/// gets all deep tests, enabled or not: what they find belongs into the log.
pub fn engine_tests(refusal: Option<Refusal>, outcomes: Outcomes) -> Outcomes {
    PerTest::from_fn(|test| match outcomes[test] {
        Outcome::NotDue if refusal.is_some() && !test.is_early() => Outcome::Pending,
        outcome => outcome,
    })
}

/// Whether a client gets the greeting of the engine. One that talked before its turn has
/// had its chance, unless that was ignored.
pub fn deserves_greeting(outcomes: &Outcomes) -> bool {
    outcomes.pregreet != Outcome::Failed
}

/// What follows from the failure of a deep test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterOffence {
    /// Say this and close; the test has failed.
    Drop(Reply),
    /// The test has failed: go on, and refuse every recipient for this reason.
    Enforce(Refusal),
    /// The test has this outcome, and the session goes on.
    Ignore(Outcome),
}

/// Applies main.cf: `postscreen_pipelining_action` and its like.
pub fn after_offence(policy: &Policy, test: Test, now: UnixTime) -> AfterOffence {
    match (policy.actions[test], test) {
        (Action::Drop, Test::NonSmtpCommand) => AfterOffence::Drop(Reply::NonSmtpCommand),
        (Action::Drop, _) => AfterOffence::Drop(Reply::ProtocolError),
        (Action::Enforce, _) => AfterOffence::Enforce(Refusal::DeepTest),
        (Action::Ignore, _) => {
            AfterOffence::Ignore(Outcome::Excused(now.plus(excused_for(&policy.ttl))))
        }
    }
}

/// postscreen's longest default (main.cf: `postscreen_bare_newline_ttl` and its like).
const USUAL_TTL: Duration = Duration::from_secs(30 * 24 * 3_600);

/// How long a pass may count at most. Not less than with postscreen's defaults, as the verdicts
/// that are there may be older than what main.cf says now.
pub fn longest_pass(policy: &Policy) -> Duration {
    let listed = policy.dnsbl.ttl.max;
    Test::ALL.into_iter().map(|test| policy.ttl[test]).fold(listed.max(USUAL_TTL), Duration::max)
}

/// How long an ignored failure of a deep test counts as a pass: no longer than any test.
fn excused_for(ttl: &PerTest<Duration>) -> Duration {
    Test::ALL.into_iter().map(|test| ttl[test]).min().unwrap_or_default()
}

/// The deep tests are over when the client names a recipient, in whatever words; what was
/// not failed until then is passed.
pub fn after_recipient(policy: &Policy, outcomes: &Outcomes, now: UnixTime) -> Outcomes {
    PerTest::from_fn(|test| match outcomes[test] {
        Outcome::Pending if !test.is_early() => pass(now, policy.ttl[test]),
        outcome => outcome,
    })
}

/// Whether what an open session has passed counts for a parallel one of the same client: if
/// there is anything, and the session has not failed in some way.
pub fn helps_others(refusal: Option<Refusal>, outcomes: &Outcomes) -> bool {
    refusal.is_none() && !outcomes.any_failed() && !outcomes.passed().is_empty()
}

/// The stamps of a client together with what an open session of it has passed, which must be
/// one that helps others. Of two stamps the later one counts.
pub fn with_passes(outcomes: &Outcomes, record: CacheRecord) -> CacheRecord {
    PerTest::from_fn(|test| match outcomes[test].pass() {
        Some(until) => record[test].max(Expiry::Until(until)),
        None => record[test],
    })
}

/// Whether it is logged that these EHLO keywords are kept from a client: not if they are kept
/// from everybody.
pub fn discard_is_news(of_client: Discarded, of_everybody: Discarded) -> bool {
    of_client != of_everybody && of_client != Discarded::NOTHING && !of_client.is_silent()
}

/// Which word is logged about a client that has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    /// PASS NEW.
    New,
    /// PASS OLD.
    Old,
}

/// What is logged and remembered at the end of the tests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conclusion {
    /// The word to log, if the client has passed everything that was due.
    pub pass: Option<Pass>,
    /// The record to store, if the client has passed something.
    pub record: Option<CacheRecord>,
}

/// Draws the conclusion. `record` has the stamps so far, `new_logged` says that PASS NEW
/// has been logged for another session of this client.
///
/// A session that failed in any way leaves nothing behind: the cache holds no bad verdicts,
/// and no good ones of bad clients.
pub fn conclude(
    refusal: Option<Refusal>,
    outcomes: &Outcomes,
    record: &CacheRecord,
    enabled: TestSet,
    was_new: bool,
    new_logged: bool,
) -> Conclusion {
    let passed = outcomes.passed();
    if refusal.is_some() || outcomes.any_failed() || passed.is_empty() {
        return Conclusion { pass: None, record: None };
    }
    let word = if was_new && !new_logged { Pass::New } else { Pass::Old };
    let record = PerTest::from_fn(|test| match (outcomes[test].pass(), record[test]) {
        (Some(until), _) => Expiry::Until(until),
        (None, Expiry::NeverPassed) if !enabled.contains(test) => Expiry::Disabled,
        (None, expiry) => expiry,
    });
    Conclusion { pass: (passed == outcomes.due()).then_some(word), record: Some(record) }
}

#[cfg(test)]
mod tests;
