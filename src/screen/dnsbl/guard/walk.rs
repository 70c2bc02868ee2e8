//! Guards among zones that change at random, and laws that hold whatever happens.

use std::collections::BTreeMap;

use super::bench::{Bench, DAY, HOUR, MINUTE, Zone};
use super::health::State;
use super::notice::{Case, Notice, Why};
use super::{Answer, Asker, ListId, Mode, Order, POINTS, Question};
use crate::screen::logline::Level;
use crate::screen::test_set::UnixTime;

/// splitmix64: what a seed gives never changes.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }
}

const ZONES: [Zone; 12] = [
    Zone::Good,
    Zone::Busy,
    Zone::Private,
    Zone::Cached,
    Zone::Everything,
    Zone::Everything6,
    Zone::Code(254),
    Zone::CodeForClients(255),
    Zone::CodeOnce,
    Zone::Dead,
    Zone::DeadPoints,
    Zone::Lost,
];

/// Whether test points and clients get right answers.
fn is_right(zone: Zone) -> bool {
    match zone {
        Zone::Good | Zone::Busy | Zone::Private | Zone::Cached | Zone::CodeForClients(_) => true,
        Zone::Everything
        | Zone::Everything6
        | Zone::Code(_)
        | Zone::CodeOnce
        | Zone::Dead
        | Zone::DeadPoints
        | Zone::Lost => false,
    }
}

/// Whether the test points alone show what is wrong.
fn is_wrong(zone: Zone) -> bool {
    match zone {
        Zone::Everything | Zone::Everything6 | Zone::Code(_) | Zone::CodeOnce => true,
        Zone::Good
        | Zone::Busy
        | Zone::Private
        | Zone::Cached
        | Zone::CodeForClients(_)
        | Zone::Dead
        | Zone::DeadPoints
        | Zone::Lost => false,
    }
}

struct Walk {
    bench: Bench,
    rng: Rng,
    mode: Mode,
    /// When each zone began to be right, if it is.
    right_since: Vec<Option<u64>>,
    /// When each zone began to be as it is.
    same_since: Vec<u64>,
    /// When the resolver began to be as it is.
    resolver_since: u64,
    /// When the process began.
    process_since: u64,
    /// When clients came.
    clients: Vec<u64>,
    /// All warnings.
    warnings: Vec<(u64, Notice)>,
}

impl Walk {
    /// The first zone is always right.
    fn new(seed: u64) -> Walk {
        let mut rng = Rng(seed);
        let mode = rng.pick(&[Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Warn, Mode::Off]);
        let mut zones = vec![rng.pick(&[Zone::Good, Zone::Busy])];
        let names = ["a.test*2", "b.test", "c.test*-3", "d.test d.test=127.0.0.4*2"];
        let count = 1 + rng.below(4);
        zones.extend((1..count).map(|_| rng.pick(&ZONES)));
        let sites = names[..zones.len()].join(" ");
        let same_since = vec![0; zones.len()];
        let right_since = zones.iter().map(|zone| is_right(*zone).then_some(0)).collect();
        Walk {
            bench: Bench::new(mode, &sites, 3, &zones),
            rng,
            mode,
            right_since,
            same_since,
            resolver_since: 0,
            process_since: 0,
            clients: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.below(12) {
            0..=4 => {
                let gap = self.rng.pick(&[0, 1, 7, 30, 100, 400]);
                for _ in 0..self.rng.below(30) {
                    self.clients.push(self.bench.at());
                    self.bench.client();
                    self.run(gap);
                }
            }
            5 | 6 => {
                let span = self.rng.pick(&[MINUTE, 10 * MINUTE, 2 * HOUR, 8 * HOUR]);
                let span = self.rng.below(span);
                self.run(span);
            }
            7 | 8 => self.change_a_zone(),
            9 => {
                self.bench.resolver_works = !self.bench.resolver_works;
                self.resolver_since = self.bench.at();
            }
            10 => {
                self.bench.restart();
                self.process_since = self.bench.at();
            }
            _ => {
                // Back only: what a process said before a jump ahead may be repeated after it.
                let jump = self.rng.pick(&[1, HOUR, 400 * DAY]);
                let wall = &mut self.bench.now.wall;
                *wall = UnixTime(wall.0.saturating_sub(jump));
            }
        }
    }

    fn change_a_zone(&mut self) {
        let which = self.rng.below(self.bench.zones.len() as u64 + 1);
        let which = usize::try_from(which).unwrap();
        if which == 0 || which >= self.bench.zones.len() {
            return;
        }
        let (at, zone) = (self.bench.at(), self.rng.pick(&ZONES));
        self.bench.zones[which] = zone;
        self.same_since[which] = at;
        let since = self.right_since[which].unwrap_or(at);
        self.right_since[which] = is_right(zone).then_some(since);
    }

    /// Lets time pass, and looks at every law.
    fn run(&mut self, seconds: u64) {
        self.bench.run(seconds);
        self.bench.asked.clear();
        let at = self.bench.at();
        let health: Vec<State> = self.bench.guard.health().map(|health| health.state).collect();
        for (number, state) in health.into_iter().enumerate() {
            let list = ListId(u16::try_from(number).unwrap());
            let broken = match state {
                State::Broken(why, _) => Some(why),
                State::Unknown | State::Answering | State::Failing => None,
            };
            let aside = self.bench.guard.is_aside(list);
            assert_eq!(aside, self.mode == Mode::Enforce && broken.is_some(), "only in force");
            assert!(self.mode != Mode::Off || broken.is_none(), "off is off");
            assert!(number != 0 || broken.is_none(), "put aside although always right");
            if !self.bench.resolver_works {
                continue;
            }
            let zone = self.bench.zones[number];
            if let (Some(since), Some(why)) = (self.right_since[number], broken) {
                // A zone that has to answer for IPv6 may not.
                let (since, owes) = match why {
                    Why::ListsEverything { .. } => (self.same_since[number], zone == Zone::Private),
                    Why::Refuses(_) | Why::Silent => (since, false),
                };
                // A look every ten minutes, and one may just have begun.
                let late = at > since.max(self.resolver_since) + 10 * MINUTE + ROUND;
                assert!(!late || owes, "{at}: {why:?}, still aside although right since {since}");
            }
            if self.mode != Mode::Off && broken.is_none() {
                let since = self.same_since[number].max(self.resolver_since);
                let since = since.max(self.process_since);
                let late = is_wrong(zone) && at > since + 2 * HOUR;
                assert!(!late, "{at}: {zone:?} not noticed since {since}");
                let first = self.clients.partition_point(|client| *client <= since);
                let asked = self.clients.get(first).is_some_and(|from| at > from + 20 * MINUTE);
                let late = zone == Zone::Dead && asked;
                assert!(!late, "{at}: {zone:?} not noticed since {since}");
            }
        }
        self.look_at_what_is_said();
    }

    fn look_at_what_is_said(&mut self) {
        let said = std::mem::take(&mut self.bench.said);
        assert!(self.mode != Mode::Off || said.is_empty(), "off says nothing: {said:?}");
        for (at, notice) in said {
            if let Notice::PutAside(case) | Notice::PutAsideAgain(case) = &notice {
                self.look_at_case(at, case);
            }
            if notice.level() == Level::Warning {
                let mut before = self.warnings.iter().rev();
                let before = before.find(|(_, other)| about(other) == about(&notice));
                if let Some((before, other)) = before {
                    assert!(at >= before + DAY, "{at}: {notice}\n{before}: {other}");
                }
                self.warnings.push((at, notice));
            }
        }
    }

    /// A zone was put aside.
    fn look_at_case(&self, at: u64, case: &Case) {
        let number = self.bench.guard.health().position(|health| *health.zone == *case.zone);
        let right = self.right_since[number.unwrap()];
        assert!(
            right.is_none_or(|since| at < since + ROUND),
            "{at}: right since {right:?}, and put aside: {case:?}"
        );
        if case.why == Why::Silent {
            let dead = !self.bench.resolver_works && at > self.resolver_since + ROUND;
            assert!(!dead, "{at}: called silent when all fail: {case:?}");
        }
    }
}

/// What a round takes at most, seconds.
const ROUND: u64 = 2 * MINUTE + 20;

/// The zone that a warning is about, or nothing for the resolver.
fn about(notice: &Notice) -> Option<&str> {
    match notice {
        Notice::PutAside(case) | Notice::StillAside(case) => Some(&case.zone),
        Notice::NoAnswers { .. } => None,
        Notice::PutAsideAgain(_)
        | Notice::Back { .. }
        | Notice::NoTestPoint { .. }
        | Notice::NoAnswersAgain { .. }
        | Notice::AnswersAgain { .. } => panic!("{notice} is no warning"),
    }
}

/// What a warning says.
fn kind(notice: &Notice) -> &'static str {
    match notice {
        Notice::PutAside(Case { why: Why::Silent, .. }) => "silent",
        Notice::PutAside(Case { why: Why::Refuses(_), .. }) => "refuses",
        Notice::PutAside(Case { why: Why::ListsEverything { .. }, .. }) => "everything",
        Notice::StillAside(_) => "still",
        _ => "resolver",
    }
}

#[test]
fn laws_hold_on_random_walks() {
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..150 {
        let mut walk = Walk::new(seed);
        println!("seed {seed}: {:?} {:?}", walk.mode, walk.bench.zones);
        for _ in 0..150 {
            walk.step();
        }
        for (_, notice) in &walk.warnings {
            *kinds.entry(kind(notice)).or_default() += 1;
        }
    }
    // The walks have been everywhere.
    println!("{kinds:?}");
    assert!(kinds.len() == 5 && kinds.values().all(|count| *count >= 20), "{kinds:?}");
}

/// Calls that make no sense, in any order: nothing panics, nothing spins.
#[test]
fn nonsense_is_survived() {
    for seed in 0..200 {
        let mut walk = Walk::new(1_000_000 + seed);
        for _ in 0..200 {
            let mut orders = Vec::new();
            let (rng, bench) = (&mut walk.rng, &mut walk.bench);
            let list = ListId(rng.pick(&[0, 1, 2, 3, 4, u16::MAX]));
            let answer = match rng.below(5) {
                0 => Zone::failure(),
                1 => Zone::listed(2),
                2 => Zone::code(254),
                3 => Answer::Listed { addresses: [].into(), ttl: 0 },
                _ => Answer::NotListed { ttl: None },
            };
            match rng.below(4) {
                0 => bench.guard.observe(list, &answer, bench.now, &mut orders),
                1 | 2 => {
                    let address = rng.pick(&POINTS);
                    let asker = rng.pick(&[Asker::TestPoint, Asker::TestPoint, Asker::Client]);
                    let question = Question { asker, address, list };
                    bench.guard.point_answered(question, &answer, bench.now, &mut orders);
                }
                _ => {
                    bench.now.mono += std::time::Duration::from_secs(rng.below(1000));
                    bench.guard.due(bench.now, &mut orders);
                    assert!(bench.guard.next_due().is_none_or(|next| next > bench.now.mono));
                }
            }
            let asked = orders.iter().filter(|order| matches!(order, Order::Ask(_))).count();
            assert!(asked <= 4 * bench.zones.len());
        }
    }
}
