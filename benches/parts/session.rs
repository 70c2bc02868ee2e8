//! The steps of a session.

use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use gatepost::screen::event::{Input, Output};
use gatepost::screen::policy::Policy;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{CacheRecord, Expiry, PerTest, Test, UnixTime};

use crate::stage::Stage;
use crate::stock;

/// How many clients take a step one after the other. Their number is what the core has to
/// keep, beside those that wait all the time.
const CROWD: usize = 500;

pub const GREET_WAIT: Duration = Duration::from_secs(6);

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    for waiting in [0, 8_000] {
        let with = |name: &str| format!("{name}, {waiting} waiting");
        group.bench_function(with("known client: connect to hand-off"), |bencher| {
            let mut stage = stage(stock::policy(), waiting);
            stage.cache_says(Some(passed()));
            step(bencher, &mut stage, |_| None, |stage, _| stage.connect(), Stage::taken);
        });
        group.bench_function(with("new client: connect to teaser"), |bencher| {
            let mut stage = stage(stock::policy(), waiting);
            step(bencher, &mut stage, |_| None, |stage, _| stage.connect(), Stage::hang_up);
        });
        group.bench_function(with("new client: deadline to hand-off"), |bencher| {
            let mut stage = stage(stock::policy(), waiting);
            step(bencher, &mut stage, come_and_wait, deadline, Stage::taken);
        });
    }
    group.bench_function("handed off to closed", |bencher| {
        let mut stage = stage(stock::policy(), 0);
        stage.cache_says(Some(passed()));
        let taken = |stage: &mut Stage, session: Option<SessionId>| {
            stage.taken(session.unwrap());
            session.unwrap()
        };
        step(bencher, &mut stage, |stage| Some(stage.connect()), taken, |_, _| ());
    });
    group.bench_function("pregreeter: drop", |bencher| {
        let mut policy = stock::policy();
        policy.actions.pregreet = gatepost::screen::test_set::Action::Drop;
        let mut stage = stage(policy, 0);
        let talk = |stage: &mut Stage, session: Option<SessionId>| {
            let session = session.unwrap();
            stage.feed(Input::Peeked { session, data: b"EHLO client.example.test\r\n" });
            session
        };
        step(bencher, &mut stage, |stage| Some(stage.connect()), talk, |_, _| ());
    });
    group.bench_function("engine: a dialogue of five lines", |bencher| {
        let mut policy = stock::policy();
        policy.enabled = policy.enabled.with(Test::Pipelining).with(Test::NonSmtpCommand);
        let mut stage = stage(policy, 0);
        let greeted = |stage: &mut Stage| {
            let session = come_and_wait(stage);
            stage.wait(GREET_WAIT);
            deadline(stage, session);
            session
        };
        let talk = |stage: &mut Stage, session: Option<SessionId>| {
            let session = session.unwrap();
            for line in [
                &b"EHLO client.example.test\r\n"[..],
                b"MAIL FROM:<sender@example.test>\r\n",
                b"RCPT TO:<recipient@example.test>\r\n",
                b"NOOP\r\n",
                b"QUIT\r\n",
            ] {
                stage.says(session, line);
            }
            assert!(matches!(stage.out.last(), Some(Output::Close(_))), "{:?}", stage.out);
            session
        };
        step(bencher, &mut stage, greeted, talk, |_, _| ());
    });
    group.finish();
}

/// A stage on which so many clients wait.
pub fn stage(policy: Policy, waiting: usize) -> Stage {
    let mut stage = Stage::new(policy);
    for _ in 0..waiting {
        stage.connect();
    }
    stage
}

/// A record with which a client is known.
pub fn passed() -> CacheRecord {
    PerTest::from_fn(|_| Expiry::Until(UnixTime(2_000_000_000)))
}

pub fn come_and_wait(stage: &mut Stage) -> Option<SessionId> {
    Some(stage.connect())
}

pub fn deadline(stage: &mut Stage, session: Option<SessionId>) -> SessionId {
    stage.deadline(session.unwrap());
    session.unwrap()
}

/// Measures one step of a session: what goes `before` and `after` is not measured. The time
/// of a greet wait passes in between.
fn step(
    bencher: &mut Bencher<'_>,
    stage: &mut Stage,
    mut before: impl FnMut(&mut Stage) -> Option<SessionId>,
    mut step: impl FnMut(&mut Stage, Option<SessionId>) -> SessionId,
    mut after: impl FnMut(&mut Stage, SessionId),
) {
    bencher.iter_custom(|count| {
        let mut spent = Duration::ZERO;
        let mut left = usize::try_from(count).unwrap();
        while left > 0 {
            let crowd = left.min(CROWD);
            left -= crowd;
            let ready: Vec<_> = (0..crowd).map(|_| before(stage)).collect();
            stage.wait(GREET_WAIT);
            let mut done = Vec::with_capacity(crowd);
            let start = Instant::now();
            done.extend(ready.into_iter().map(|session| step(stage, session)));
            spent += start.elapsed();
            done.into_iter().for_each(|session| after(stage, session));
        }
        spent
    });
}
