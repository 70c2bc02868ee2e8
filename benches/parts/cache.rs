//! The verdict cache, from the loop's side: what is in the memory, and what in the file.

use std::fs;
use std::hint::black_box;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use gatepost::cache::record::{self, Key};
use gatepost::cache::sqlite::{self, OpenOptions};
use gatepost::cache::{Cache, CacheOptions};
use gatepost::screen::event::Cached;
use gatepost::screen::test_set::{Test, TestSet};

use crate::numbers::v4;
use crate::session::passed;

/// How many verdicts are in the file: more than in the memory.
const STORED: u32 = 100_000;

/// How many verdicts the memory holds, as the daemon does.
const RECENT: usize = 20_000;

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache");
    let stored = passed();
    let text = record::to_text(&stored);
    group.bench_function("record to integers and back", |bencher| {
        bencher.iter(|| record::from_columns(record::to_columns(black_box(&stored))));
    });
    group.bench_function("record to text", |bencher| {
        bencher.iter(|| record::to_text(black_box(&stored)));
    });
    group.bench_function("record from text", |bencher| {
        bencher.iter(|| record::parse(black_box(&text)));
    });
    group.bench_function("key", |bencher| {
        bencher.iter(|| black_box(Key::of(black_box(v4(7)))).bytes().len());
    });

    let directory = Directory::new();
    let mut cache = directory.open();
    let mut number = 0;
    let mut next = |limit: u32| {
        number = (number + 1) % limit;
        v4(number)
    };
    group.bench_function("store", |bencher| {
        let mut number = 0;
        bencher.iter_batched(
            || {
                number = (number + 1) % STORED;
                // As fast as the loop would ever be: what waits for the disk is bounded.
                if number.is_multiple_of(20_000) {
                    std::thread::sleep(Duration::from_millis(200));
                }
                v4(number)
            },
            |address| cache.store(address, stored),
            BatchSize::SmallInput,
        );
    });
    for number in 0..STORED {
        cache.store(v4(number), stored);
        if number.is_multiple_of(20_000) {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    settle(&mut cache);
    group.bench_function("look-up, in the memory", |bencher| {
        // Young enough to answer: the memory counts for 10 seconds.
        for number in 0..1_000 {
            cache.store(v4(number), stored);
        }
        bencher.iter(|| found(cache.lookup(next(1_000))));
    });
    cache.flush_and_close();
    // Nothing is in the memory of this one, and it cannot hold all that is asked for in turn.
    let mut cache = directory.open();
    group.bench_function("look-up, in the file", |bencher| {
        bencher.iter(|| found(cache.lookup(next(STORED))));
    });
    group.bench_function("look-up, nowhere", |bencher| {
        bencher.iter(|| cache.lookup(black_box(IpAddr::from([192, 0, 2, 1]))));
    });
    cache.flush_and_close();
    group.finish();
}

fn found(cached: Cached) {
    assert!(matches!(cached, Cached::Found(_)), "{cached:?}");
}

/// Waits until what was stored is written.
fn settle(cache: &mut Cache) {
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        black_box(cache.events());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory of its own, which goes with its owner.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("gatepost-bench-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn open(&self) -> Cache {
        let path = self.0.join("cache.sqlite");
        let opened = sqlite::open_or_set_aside(&path, &OpenOptions::default()).unwrap();
        let enabled = TestSet::EMPTY.with(Test::Pregreet);
        let options =
            CacheOptions { recent_entries: RECENT, ..CacheOptions::new("bench", enabled) };
        Cache::start(opened, options, None, Box::new(|| ())).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is below the system's directory for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}
