//! The one place of decisions: total functions on values, no state, no effects.

use std::time::Duration;

use super::event::Access;
use super::policy::{Limits, Policy};
use super::test_set::{Action, CacheRecord, Expiry, PerTest, Test, TestSet, UnixTime};

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
    /// Failed, and the action is to ignore that: due again next time.
    Ignored,
    /// Failed.
    Failed,
}

/// What became of all tests in one session.
pub type Outcomes = PerTest<Outcome>;

impl Outcomes {
    /// The tests that were due when the session began.
    pub fn due(&self) -> TestSet {
        Test::ALL.into_iter().filter(|test| self[*test] != Outcome::NotDue).collect()
    }

    /// The tests that were passed.
    pub fn passed(&self) -> TestSet {
        Test::ALL.into_iter().filter(|test| matches!(self[*test], Outcome::Passed(_))).collect()
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

/// Checks the limits that hold for every client, permitted ones included.
///
/// `of_client` counts this session, `handing_off` the hand-offs in progress.
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

/// Whether stress mode is on after a session has begun.
pub fn stress_after_begin(limits: &Limits, stress: bool, sessions: usize) -> bool {
    stress || sessions >= limits.pre_queue.saturating_mul(9) / 10
}

/// Whether stress mode is on after a session has ended.
pub fn stress_after_end(limits: &Limits, stress: bool, sessions: usize) -> bool {
    stress && sessions > limits.pre_queue.saturating_mul(7) / 10
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
    let failed = Test::ALL.into_iter().any(|test| outcomes[test] == Outcome::Failed);
    let passed = outcomes.passed();
    if refusal.is_some() || failed || passed.is_empty() {
        return Conclusion { pass: None, record: None };
    }
    let word = if was_new && !new_logged { Pass::New } else { Pass::Old };
    let record = PerTest::from_fn(|test| match (outcomes[test], record[test]) {
        (Outcome::Passed(until), _) => Expiry::Until(until),
        (_, Expiry::NeverPassed) if !enabled.contains(test) => Expiry::Disabled,
        (_, expiry) => expiry,
    });
    Conclusion { pass: (passed == outcomes.due()).then_some(word), record: Some(record) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const LATER: UnixTime = UnixTime(1_800_086_400);

    const OUTCOMES: [Outcome; 5] = [
        Outcome::NotDue,
        Outcome::Pending,
        Outcome::Passed(LATER),
        Outcome::Ignored,
        Outcome::Failed,
    ];
    const REFUSALS: [Option<Refusal>; 4] =
        [None, Some(Refusal::Denylisted), Some(Refusal::Pregreet), Some(Refusal::Veto)];

    fn all_outcomes() -> impl Iterator<Item = Outcomes> {
        (0..OUTCOMES.len().pow(5)).map(|number| {
            let mut rest = number;
            PerTest::from_fn(|_| {
                let outcome = OUTCOMES[rest % OUTCOMES.len()];
                rest /= OUTCOMES.len();
                outcome
            })
        })
    }

    fn all_sets() -> impl Iterator<Item = TestSet> {
        (0..32u32).map(|bits| {
            Test::ALL
                .into_iter()
                .enumerate()
                .filter(|(index, _)| bits & (1 << index) != 0)
                .map(|(_, test)| test)
                .collect()
        })
    }

    #[test]
    fn a_failed_client_is_neither_passed_nor_remembered() {
        let record = CacheRecord::default();
        for outcomes in all_outcomes() {
            for refusal in REFUSALS {
                let failed = Test::ALL.into_iter().any(|test| outcomes[test] == Outcome::Failed);
                if refusal.is_none() && !failed {
                    continue;
                }
                for (was_new, logged) in [(false, false), (true, false), (true, true)] {
                    let end =
                        conclude(refusal, &outcomes, &record, TestSet::EMPTY, was_new, logged);
                    assert_eq!(end, Conclusion { pass: None, record: None }, "{outcomes:?}");
                }
            }
        }
    }

    #[test]
    fn pass_is_logged_exactly_when_all_that_was_due_was_passed() {
        for outcomes in all_outcomes() {
            if Test::ALL.into_iter().any(|test| outcomes[test] == Outcome::Failed) {
                continue;
            }
            let complete = Test::ALL
                .into_iter()
                .all(|test| matches!(outcomes[test], Outcome::NotDue | Outcome::Passed(_)));
            let some = !outcomes.passed().is_empty();
            let record = CacheRecord::default();
            let end = conclude(None, &outcomes, &record, TestSet::EMPTY, true, false);
            assert_eq!(end.pass, (complete && some).then_some(Pass::New), "{outcomes:?}");
            assert_eq!(end.record.is_some(), some);
            let again = conclude(None, &outcomes, &record, TestSet::EMPTY, true, true);
            assert_eq!(again.pass, (complete && some).then_some(Pass::Old));
            let old = conclude(None, &outcomes, &record, TestSet::EMPTY, false, false);
            assert_eq!(old.pass, (complete && some).then_some(Pass::Old));
        }
    }

    #[test]
    fn only_passed_tests_change_their_stamps() {
        let stamps =
            [Expiry::NeverPassed, Expiry::Disabled, Expiry::Until(NOW), Expiry::Until(LATER)];
        for enabled in all_sets() {
            for stamp in stamps {
                let record = PerTest::from_fn(|_| stamp);
                for outcomes in all_outcomes() {
                    let end = conclude(None, &outcomes, &record, enabled, true, false);
                    let Some(stored) = end.record else { continue };
                    for test in Test::ALL {
                        let expected = match outcomes[test] {
                            Outcome::Passed(until) => Expiry::Until(until),
                            _ if stamp == Expiry::NeverPassed && !enabled.contains(test) => {
                                Expiry::Disabled
                            }
                            _ => stamp,
                        };
                        assert_eq!(stored[test], expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_test_that_is_off_is_never_due() {
        for enabled in all_sets() {
            for stamp in [Expiry::NeverPassed, Expiry::Disabled, Expiry::Until(NOW)] {
                let record = PerTest::from_fn(|_| stamp);
                for (now, valid) in [(NOW, stamp == Expiry::Until(NOW)), (LATER, false)] {
                    let outcomes = select_tests(enabled, &record, now);
                    let expected = if valid { TestSet::EMPTY } else { enabled };
                    assert_eq!(outcomes.due(), expected);
                    assert_eq!(outcomes.pending(), expected);
                }
            }
        }
    }

    #[test]
    fn a_stamp_is_valid_through_its_last_second() {
        assert!(!Expiry::Until(NOW).is_due(NOW));
        assert!(Expiry::Until(NOW).is_due(UnixTime(NOW.0 + 1)));
    }

    #[test]
    fn nobody_with_a_refusal_or_a_deep_test_ahead_is_handed_off() {
        for outcomes in all_outcomes() {
            for refusal in REFUSALS {
                let deep = Test::ALL
                    .into_iter()
                    .any(|test| !test.is_early() && outcomes[test] == Outcome::Pending);
                let expected =
                    if refusal.is_some() || deep { NextStep::Engine } else { NextStep::HandOff };
                assert_eq!(next_step(refusal, &outcomes), expected);
            }
        }
    }

    #[test]
    fn every_opinion_of_the_access_list() {
        use Action::*;
        for (access, action, expected) in [
            (Access::Permit, Drop, Welcome::LetIn),
            (Access::Permit, Enforce, Welcome::LetIn),
            (Access::Permit, Ignore, Welcome::LetIn),
            (Access::Reject, Drop, Welcome::TurnAway),
            (Access::Reject, Enforce, Welcome::TestAndRefuse),
            (Access::Reject, Ignore, Welcome::Test),
            (Access::Undecided, Drop, Welcome::Test),
            (Access::Undecided, Enforce, Welcome::Test),
            (Access::Undecided, Ignore, Welcome::Test),
        ] {
            assert_eq!(welcome(access, action), expected);
        }
    }

    #[test]
    fn limits() {
        let limits = Limits { per_client: Some(2), post_queue: 5, pre_queue: 10 };
        assert_eq!(admission(&limits, 2, 4), Admission::Admitted);
        assert_eq!(admission(&limits, 3, 5), Admission::TooManyConnections);
        assert_eq!(admission(&limits, 2, 5), Admission::ServerPortsBusy);
        let open = Limits { per_client: None, ..limits };
        assert_eq!(admission(&open, 1000, 4), Admission::Admitted);
        // Seen live: with a limit of 10 nine are screened, and the tenth is turned away.
        assert!(may_screen(&limits, 9));
        assert!(!may_screen(&limits, 10));
        // Seen live at a limit of 10: stress mode from 9 sessions until 7 are left.
        assert!(!stress_after_begin(&limits, false, 8));
        assert!(stress_after_begin(&limits, false, 9));
        assert!(stress_after_end(&limits, true, 8));
        assert!(!stress_after_end(&limits, true, 7));
        assert!(!stress_after_end(&limits, false, 9));
    }
}
