//! A wall clock that jumps in the middle of visits changes nothing but the stamps of verdicts.
//!
//! The worker's time of verdicts does not jump ahead or back with the wall clock; but it may go
//! on by what the machine was off, and the core relies on nothing of the kind.

use std::time::{Duration, Instant};

use gatepost::screen::event::{Input, Now, Output};
use gatepost::screen::policy::{Policy, TlsLevel};
use gatepost::screen::screener::Screener;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{CacheRecord, Expiry, PerTest, Test, UnixTime};

use crate::draw;
use crate::rng::Rng;
use crate::splits::Newcomers;

const START: u64 = 1_800_000_000;
const ID: SessionId = SessionId { slot: 0, generation: 1 };

/// One visit; the clock reads so after each step.
struct Visit<'p> {
    screener: Screener,
    policy: &'p Policy,
    base: Instant,
    /// Where the clock jumps to, if it does.
    jumps: Option<Rng>,
    wall: u64,
    seen: Vec<Output>,
    stored: Vec<(u64, CacheRecord)>,
}

impl Visit<'_> {
    fn feed(&mut self, input: Input<'_>, seconds: u64) {
        if let Some(rng) = &mut self.jumps {
            const YEARS: u64 = 10 * 365 * 86_400;
            self.wall = rng.pick(&[
                0,
                60,
                START - YEARS,
                START - 86_400,
                START - 1,
                START,
                START + 3_600,
                START + YEARS,
            ]);
        }
        let now = Now { mono: self.base + Duration::from_secs(seconds), wall: UnixTime(self.wall) };
        let mut out = Vec::new();
        self.screener.handle(input, now, &mut Newcomers, &mut out);
        self.screener.check_invariants().unwrap();
        for output in out {
            match output {
                Output::Store(_, record) => self.stored.push((self.wall, record)),
                output => self.seen.push(output),
            }
        }
    }
}

fn visit<'p>(
    policy: &'p Policy,
    base: Instant,
    pieces: &[&[u8]],
    hasty: bool,
    jumps: Option<Rng>,
) -> Visit<'p> {
    let mut visit = Visit {
        screener: Screener::new(policy.clone()),
        policy,
        base,
        jumps,
        wall: START,
        seen: Vec::new(),
        stored: Vec::new(),
    };
    let (client, server) = ("192.0.2.1:4711".parse().unwrap(), "192.0.2.25:25".parse().unwrap());
    visit.feed(Input::Connected { session: ID, client, server }, 0);
    if hasty {
        visit.feed(Input::Peeked { session: ID, data: b"x" }, 1);
    }
    visit.feed(Input::Deadline { session: ID }, 9);
    for data in pieces {
        visit.feed(Input::Received { session: ID, data }, 10);
    }
    visit.feed(Input::Deadline { session: ID }, 400);
    visit.feed(Input::Closed { session: ID }, 401);
    visit
}

/// Which tests count as passed.
fn kinds(record: &CacheRecord) -> PerTest<u8> {
    PerTest::from_fn(|test| match record[test] {
        Expiry::NeverPassed => 0,
        Expiry::Disabled => 1,
        Expiry::Until(_) => 2,
    })
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing_but_stamps() {
    let mut rng = Rng::new(9);
    let (mut stores, mut deadlines) = (0, 0);
    let base = Instant::now();
    for round in 0..3000 {
        let mut policy = draw::policy(&mut rng);
        policy.engine.tls_level = TlsLevel::None;
        policy.upstream_proxy = None;
        policy.dnsbl.lists = Default::default();
        policy.enabled = policy.enabled.without(Test::Dnsbl).with(Test::Pregreet);
        // A footer may tell the time.
        policy.footers = Default::default();
        let words: Vec<u8> = (0..3).flat_map(|_| draw::words(&mut rng)).collect();
        let size = rng.count(1, 60);
        let pieces: Vec<&[u8]> = words.chunks(size).collect();
        let hasty = rng.chance(20);
        let steady = visit(&policy, base, &pieces, hasty, None);
        let jumping = visit(&policy, base, &pieces, hasty, Some(Rng::new(round)));
        assert_eq!(jumping.seen, steady.seen, "round {round}");
        let of = |visit: &Visit<'_>| -> Vec<_> {
            visit.stored.iter().map(|(_, record)| kinds(record)).collect()
        };
        assert_eq!(of(&jumping), of(&steady), "round {round}: the verdicts");
        // No stamp is further away than the longest time for which a pass counts, by a clock
        // that it was made by.
        for (_, record) in &steady.stored {
            for test in Test::ALL {
                if let Expiry::Until(UnixTime(end)) = record[test] {
                    let longest = steady.policy.ttl[test].as_secs();
                    assert!(end <= START + longest, "round {round}: {test:?} until {end}");
                }
            }
        }
        stores += steady.stored.len();
        deadlines +=
            steady.seen.iter().filter(|output| matches!(output, Output::SetDeadline(..))).count();
    }
    assert!(stores > 500 && deadlines > 3000, "too little: {stores} {deadlines}");
}
