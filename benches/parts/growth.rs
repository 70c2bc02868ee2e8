//! Whether a client costs more when there are many of something: of DNS blocklists, of sessions
//! of one address.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use gatepost::screen::dnsbl::answer::{Answer, Question};
use gatepost::screen::dnsbl::guard::Mode;
use gatepost::screen::dnsbl::lists::Lists;
use gatepost::screen::dnsbl::site::parse_sites;
use gatepost::screen::event::{Input, Output};
use gatepost::screen::policy::Policy;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{Action, Test};

use crate::numbers::v4;
use crate::session::{GREET_WAIT, stage};
use crate::stage::Stage;
use crate::stock;

/// What the lists do.
#[derive(Clone, Copy)]
enum Mood {
    Answer,
    AreSilent,
}

pub fn benches(criterion: &mut Criterion) {
    zones(criterion);
    sessions(criterion);
}

/// A policy with so many DNS blocklists.
pub fn with_lists(count: usize) -> Policy {
    let sites: Vec<String> = (0..count).map(|number| format!("bl{number}.test*2")).collect();
    let mut policy = stock::policy();
    policy.enabled = policy.enabled.with(Test::Dnsbl);
    policy.actions.dnsbl = Action::Enforce;
    policy.dnsbl.threshold = 3;
    policy.dnsbl.lists = Lists::new(&parse_sites(&sites.join(" ")).unwrap());
    policy.dnsbl.guard = Mode::Enforce;
    policy
}

/// From connect to hand-off, for each list.
fn zones(criterion: &mut Criterion) {
    for (what, lists) in [("answer", Mood::Answer), ("are silent", Mood::AreSilent)] {
        let mut group = criterion.benchmark_group(format!("visit by lists that {what}"));
        for count in [1, 3, 30, 300] {
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                let mut stage = stage(with_lists(count), 0);
                watch_lists(&mut stage);
                bencher.iter(|| visit(&mut stage, lists));
            });
        }
        group.finish();
    }
}

fn watch_lists(stage: &mut Stage) {
    let mut out = Vec::new();
    stage.screener.watch_lists(&[], stage.now, &mut out);
}

fn visit(stage: &mut Stage, lists: Mood) {
    let session = stage.connect();
    let address = stage.last_address();
    let questions = questions(stage);
    if let Mood::Answer = lists {
        for question in questions {
            assert_eq!(question.address, address);
            answer(stage, question);
        }
    }
    stage.wait(GREET_WAIT);
    stage.deadline(session);
    stage.taken(session);
}

fn questions(stage: &Stage) -> Vec<Question> {
    let asked = stage.out.iter().filter_map(|output| match output {
        Output::AskList(question) => Some(*question),
        _ => None,
    });
    asked.collect()
}

fn answer(stage: &mut Stage, question: Question) {
    stage.feed(Input::ListAnswer { question, answer: &Answer::NotListed { ttl: Some(300) } });
}

/// Many sessions of one address, by each: connect, three lists that answer when all have come
/// or do not answer, deadline, hand-off.
fn sessions(criterion: &mut Criterion) {
    for (what, lists) in [("answer", Mood::Answer), ("are silent", Mood::AreSilent)] {
        let mut group = criterion.benchmark_group(format!("sessions of one address, lists {what}"));
        for count in [1, 50, 1_000] {
            group.bench_function(BenchmarkId::new("whole", count), |bencher| {
                let mut stage = stage(with_lists(3), 0);
                watch_lists(&mut stage);
                bencher.iter_custom(|visits| {
                    per_session(&mut stage, count, lists, visits).iter().sum()
                });
            });
        }
        // Which step it is.
        for (place, step) in ["connect", "answers", "deadline", "taken"].into_iter().enumerate() {
            for count in [50, 1_000] {
                group.bench_function(BenchmarkId::new(step, count), |bencher| {
                    let mut stage = stage(with_lists(3), 0);
                    watch_lists(&mut stage);
                    bencher
                        .iter_custom(|visits| per_session(&mut stage, count, lists, visits)[place]);
                });
            }
        }
        group.finish();
    }
}

/// The times of so many visits, step by step, when so many sessions of one address come at once.
fn per_session(stage: &mut Stage, count: usize, lists: Mood, visits: u64) -> [Duration; 4] {
    let rounds = usize::try_from(visits).unwrap().div_ceil(count);
    let mut spent = [Duration::ZERO; 4];
    for _ in 0..rounds {
        let mut time = Instant::now();
        let mut lap = |place: usize| {
            let now = Instant::now();
            spent[place] += now - time;
            time = now;
        };
        let address = v4(0x00ff_fffe);
        let first = stage.connect_from(address);
        let questions = questions(stage);
        let mut sessions: Vec<SessionId> = vec![first];
        sessions.extend((1..count).map(|_| stage.connect_from(address)));
        lap(0);
        if let Mood::Answer = lists {
            questions.into_iter().for_each(|question| answer(stage, question));
        }
        lap(1);
        stage.wait(GREET_WAIT);
        sessions.iter().for_each(|session| stage.deadline(*session));
        lap(2);
        sessions.iter().for_each(|session| stage.taken(*session));
        lap(3);
    }
    let done = u32::try_from(rounds * count).unwrap();
    spent.map(|time| time / done * u32::try_from(visits).unwrap())
}
