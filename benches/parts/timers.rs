//! Deadlines of sessions.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use gatepost::event::timers::{Key, Timers};

use crate::numbers::Numbers;

/// A deadline for each number.
#[derive(Clone, Copy)]
struct Number(u64);

impl Key for Number {
    fn index(self) -> usize {
        usize::try_from(self.0).unwrap()
    }
}

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    for live in [10_u64, 10_000] {
        let start = Instant::now();
        let mut numbers = Numbers(1);
        let mut at = move || start + Duration::from_micros(numbers.below(6_000_000));
        let mut timers = Timers::default();
        for key in 0..live {
            timers.set(Number(key), at());
        }
        group.bench_function(BenchmarkId::new("set again", live), |bencher| {
            let mut key = 0;
            bencher.iter(|| {
                key = (key + 1) % live;
                timers.set(Number(key), at());
            });
        });
        group.bench_function(BenchmarkId::new("set, next, cancel", live), |bencher| {
            bencher.iter(|| {
                timers.set(Number(live), at());
                black_box(timers.next_deadline());
                timers.cancel(Number(live));
            });
        });
        // As sessions do: each waits as long as the others.
        let mut now = start + Duration::from_secs(10);
        for key in 0..live {
            timers.set(Number(key), now + Duration::from_micros(key));
        }
        group.bench_function(BenchmarkId::new("pop and set", live), |bencher| {
            bencher.iter(|| {
                now += Duration::from_micros(1);
                while let Some(key) = timers.pop_expired(now) {
                    timers.set(key, now + Duration::from_micros(live));
                }
            });
        });
    }
    group.finish();
}
