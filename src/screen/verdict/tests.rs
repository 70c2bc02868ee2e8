use super::*;
use crate::screen::smtp::discard::Vocabulary;
use crate::screen::testing::policy;

const NOW: UnixTime = UnixTime(1_800_000_000);
const LATER: UnixTime = UnixTime(1_800_086_400);

const OUTCOMES: [Outcome; 6] = [
    Outcome::NotDue,
    Outcome::Pending,
    Outcome::Passed(LATER),
    Outcome::Ignored,
    Outcome::Excused(NOW),
    Outcome::Failed,
];
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const BLOCKED: Blocked = Blocked { client: CLIENT, by: Some(EntryId(3)) };
const REFUSALS: [Option<Refusal>; 6] = [
    None,
    Some(Refusal::Denylisted),
    Some(Refusal::Pregreet),
    Some(Refusal::Veto),
    Some(Refusal::Blocked(BLOCKED)),
    Some(Refusal::DeepTest),
];

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
                let end = conclude(refusal, &outcomes, &record, TestSet::EMPTY, was_new, logged);
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
            .all(|test| outcomes[test] == Outcome::NotDue || outcomes[test].pass().is_some());
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
    let stamps = [Expiry::NeverPassed, Expiry::Disabled, Expiry::Until(NOW), Expiry::Until(LATER)];
    for enabled in all_sets() {
        for stamp in stamps {
            let record = PerTest::from_fn(|_| stamp);
            for outcomes in all_outcomes() {
                let end = conclude(None, &outcomes, &record, enabled, true, false);
                let Some(stored) = end.record else { continue };
                for test in Test::ALL {
                    let expected = match outcomes[test] {
                        Outcome::Passed(until) | Outcome::Excused(until) => Expiry::Until(until),
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
fn a_veto_does_not_replace_another_reason() {
    for refusal in REFUSALS {
        assert_eq!(vetoed(refusal), refusal.unwrap_or(Refusal::Veto));
    }
}

#[test]
fn who_is_refused_gets_every_deep_test() {
    for outcomes in all_outcomes() {
        for refusal in REFUSALS {
            let tests = engine_tests(refusal, outcomes);
            for test in Test::ALL {
                let added =
                    refusal.is_some() && !test.is_early() && outcomes[test] == Outcome::NotDue;
                let expected = if added { Outcome::Pending } else { outcomes[test] };
                assert_eq!(tests[test], expected);
            }
        }
        let pregreeted = outcomes.pregreet == Outcome::Failed;
        assert_eq!(deserves_greeting(&outcomes), !pregreeted);
    }
}

#[test]
fn every_action_after_every_offence() {
    for (test, farewell) in [
        (Test::Pipelining, Reply::ProtocolError),
        (Test::NonSmtpCommand, Reply::NonSmtpCommand),
        (Test::BareNewline, Reply::ProtocolError),
    ] {
        for (action, expected) in [
            (Action::Drop, AfterOffence::Drop(farewell)),
            (Action::Enforce, AfterOffence::Enforce(Refusal::DeepTest)),
            // The shortest time of all tests: the DNSBL minimum.
            (
                Action::Ignore,
                AfterOffence::Ignore(Outcome::Excused(NOW.plus(Duration::from_secs(60)))),
            ),
        ] {
            let mut policy = policy();
            policy.actions[test] = action;
            assert_eq!(after_offence(&policy, test, NOW), expected);
        }
    }
    for shortest in Test::ALL {
        let mut policy = policy();
        policy.ttl[shortest] = Duration::from_secs(7);
        let excused = Outcome::Excused(NOW.plus(Duration::from_secs(7)));
        let verdict = after_offence(&policy, Test::BareNewline, NOW);
        assert_eq!(verdict, AfterOffence::Ignore(excused));
    }
}

#[test]
fn a_recipient_ends_the_deep_tests_that_are_open() {
    let policy = policy();
    for outcomes in all_outcomes() {
        let after = after_recipient(&policy, &outcomes, NOW);
        for test in Test::ALL {
            let passes = !test.is_early() && outcomes[test] == Outcome::Pending;
            let passed = Outcome::Passed(NOW.plus(policy.ttl[test]));
            assert_eq!(after[test], if passes { passed } else { outcomes[test] });
        }
    }
}

#[test]
fn a_test_is_failed_at_most_once() {
    for outcome in OUTCOMES {
        let open = matches!(outcome, Outcome::Pending | Outcome::Passed(_));
        assert_eq!(outcome.may_fail(), open, "{outcome:?}");
    }
}

/// What a session has passed counts for its parallel sessions exactly as long as it would be
/// remembered if it ended now; postscreen shares more than that.
#[test]
fn parallel_sessions_see_the_passes_of_clean_sessions_only() {
    for outcomes in all_outcomes() {
        for refusal in REFUSALS {
            for stamp in [Expiry::NeverPassed, Expiry::Disabled, Expiry::Until(NOW)] {
                let record = PerTest::from_fn(|_| stamp);
                let helps = helps_others(refusal, &outcomes);
                let seen = if helps { with_passes(&outcomes, record) } else { record };
                let all = Test::ALL.into_iter().collect();
                let stored = conclude(refusal, &outcomes, &record, all, true, false).record;
                let stored = stored.unwrap_or(record);
                let later = PerTest::from_fn(|test| record[test].max(stored[test]));
                assert_eq!(seen, later, "{refusal:?} {outcomes:?}");
                if refusal.is_some() || outcomes.any_failed() {
                    assert_eq!(seen, record);
                }
            }
        }
    }
}

#[test]
fn keywords_that_are_kept_from_one_client_are_news() {
    let set = |words| Discarded::parse(words, Vocabulary::Before311);
    for (of_client, of_everybody, expected) in [
        ("dsn", "", true),
        ("dsn", "vrfy", true),
        ("dsn", "vrfy dsn", true),
        ("dsn", "dsn", false),
        ("dsn", "dsn silent-discard", true),
        ("dsn silent-discard", "vrfy", false),
        ("silent-discard", "dsn", false),
        ("bogus", "dsn", false),
        ("", "", false),
    ] {
        let news = discard_is_news(set(of_client), set(of_everybody));
        assert_eq!(news, expected, "{of_client:?}, for everybody {of_everybody:?}");
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
    let limits = Limits { per_client: Some(2), prefix_ipv6: 128, post_queue: 5, pre_queue: 10 };
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

#[test]
fn who_is_served() {
    let both = Protocols { ipv4: true, ipv6: true };
    let (only_four, only_six) =
        (Protocols { ipv6: false, ..both }, Protocols { ipv4: false, ..both });
    for (client, server, of_four, of_six) in [
        ("192.0.2.1", "192.0.2.2", true, false),
        ("2001:db8::1", "2001:db8::2", false, true),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false, true),
        ("192.0.2.1", "2001:db8::2", false, false),
        ("2001:db8::1", "192.0.2.2", false, false),
    ] {
        let ends = (client.parse().unwrap(), server.parse().unwrap());
        let served = |protocols| is_served(protocols, ends.0, ends.1);
        assert_eq!([both, only_four, only_six].map(served), [true, of_four, of_six], "{client}");
    }
}

#[test]
fn what_follows_from_a_score() {
    let mut policy = policy();
    policy.dnsbl.threshold = 3;
    for action in [Action::Ignore, Action::Enforce, Action::Drop] {
        policy.actions.dnsbl = action;
        for rank in [i32::MIN, -3, 0, 2, 3, 4, i32::MAX] {
            let score = Score { rank, top: BLOCKED.by, ttl: 86_400 };
            let expected = match action {
                _ if rank < 3 => AfterScore::Passed(Outcome::Passed(LATER)),
                Action::Ignore => AfterScore::Ignore,
                Action::Enforce => AfterScore::Enforce(BLOCKED),
                Action::Drop => AfterScore::Drop(BLOCKED),
            };
            assert_eq!(after_score(&policy, CLIENT, score, NOW), expected, "{action:?} {rank}");
        }
    }
}

#[test]
fn a_recommendation_needs_a_threshold_and_a_clean_slate() {
    let mut rules = policy().dnsbl;
    for threshold in [None, Some(-2)] {
        rules.allowlist_threshold = threshold;
        for refusal in REFUSALS {
            for pregreet in OUTCOMES {
                let outcomes = Outcomes { pregreet, ..Outcomes::default() };
                let clean = refusal.is_none()
                    && pregreet != Outcome::Failed
                    && pregreet != Outcome::Ignored;
                for rank in [-3, -2, -1, 0, 5] {
                    assert_eq!(
                        is_recommended(&rules, refusal, &outcomes, rank),
                        clean && threshold.is_some() && rank <= -2,
                    );
                }
            }
        }
    }
}

#[test]
fn a_recommended_client_has_nothing_left_to_pass() {
    for outcomes in all_outcomes() {
        let after = recommended(&outcomes, LATER);
        assert!(after.pending().is_empty());
        assert_eq!(after.due(), outcomes.due());
        for test in Test::ALL {
            if outcomes[test] != Outcome::Pending {
                assert_eq!(after[test], outcomes[test]);
            }
        }
    }
    let old = PerTest {
        pregreet: Expiry::NeverPassed,
        dnsbl: Expiry::Disabled,
        pipelining: Expiry::Until(NOW),
        non_smtp_command: Expiry::Until(LATER),
        bare_newline: Expiry::Until(LATER.plus(Duration::from_secs(1))),
    };
    let later = Expiry::Until(LATER);
    let expected = PerTest {
        pregreet: later,
        dnsbl: later,
        pipelining: later,
        non_smtp_command: later,
        bare_newline: old.bare_newline,
    };
    assert_eq!(raised(old, LATER), expected);
}

/// Whatever the rest of the answers brings, a certain verdict is the verdict.
#[test]
fn what_is_certain_comes_true() {
    let mut policy = policy();
    policy.actions.dnsbl = Action::Enforce;
    let scores = || -4..=5;
    for (threshold, allowlist_threshold) in [(1, None), (3, Some(-2)), (1, Some(-1))] {
        policy.dnsbl.threshold = threshold;
        policy.dnsbl.allowlist_threshold = allowlist_threshold;
        let rules = &policy.dnsbl;
        for (low, high) in scores().flat_map(|low| scores().map(move |high| (low, high))) {
            for (refusal, pregreet) in REFUSALS
                .into_iter()
                .flat_map(|refusal| OUTCOMES.into_iter().map(move |pregreet| (refusal, pregreet)))
            {
                let outcomes = Outcomes { pregreet, ..Outcomes::default() };
                if low > high || !is_certain(rules, refusal, &outcomes, (low, high)) {
                    continue;
                }
                let verdict = |rank| {
                    let score = Score { rank, top: None, ttl: 60 };
                    let recommended = is_recommended(rules, refusal, &outcomes, rank);
                    (recommended, after_score(&policy, CLIENT, score, NOW))
                };
                let certain = verdict(low);
                assert!(matches!(certain.1, AfterScore::Passed(_)), "its rank would be logged");
                assert!((low..=high).all(|rank| verdict(rank) == certain));
                assert!(certain.0 || pregreet != Outcome::Pending, "the wait goes on anyway");
            }
        }
    }
}

#[test]
fn no_pass_counts_for_longer_than_the_longest() {
    let (now, day) = (UnixTime(1_000_000), Duration::from_secs(86_400));
    let at = |seconds| Expiry::Until(UnixTime(seconds));
    let record = PerTest {
        pregreet: at(1_086_401),
        dnsbl: at(1_086_400),
        pipelining: at(u64::MAX),
        non_smtp_command: Expiry::NeverPassed,
        bare_newline: Expiry::Disabled,
    };
    let expected = PerTest { pregreet: at(1_086_400), pipelining: at(1_086_400), ..record };
    assert_eq!(bounded(&record, now, day), expected);
    assert_eq!(bounded(&expected, now.plus(day), day), expected, "what is over stays over");
}
