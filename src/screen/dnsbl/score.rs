//! The score of a client: what the answers of all lists come to.
//!
//! Everything is computed from all answers at once, so that the order in which they come
//! makes no difference.

use std::time::Duration;

use super::answer::Answer;
use super::guard::Mode;
use super::lists::{Entry, EntryId, List, Lists};

/// What is known of one list's opinion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It has been asked.
    Pending,
    /// It has answered, or failed to.
    Answered(Answer),
    /// It is broken, and was not asked: as if main.cf did not name it.
    Aside,
}

impl State {
    /// Whether this list was asked, and has not said anything of use.
    pub fn is_missing(&self) -> bool {
        matches!(self, State::Pending | State::Answered(Answer::Failed(_)))
    }
}

/// A score, and what else is derived from the answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Score {
    /// The sum of the weights of the entries that count.
    pub rank: i32,
    /// The entry that names the list in replies: of those that count the heaviest, of equal
    /// ones the one that main.cf names first.
    pub top: Option<EntryId>,
    /// For how long a pass of the test counts, seconds.
    pub ttl: u32,
}

impl Score {
    /// For how long a pass of the test counts.
    pub fn valid_for(&self) -> Duration {
        Duration::from_secs(self.ttl.into())
    }
}

/// The bounds of [`Score::ttl`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TtlLimits {
    /// main.cf: `postscreen_dnsbl_min_ttl`.
    pub min: Duration,
    /// main.cf: `postscreen_dnsbl_max_ttl`. It wins if it is below the minimum.
    pub max: Duration,
}

impl TtlLimits {
    /// The time nearest to `ttl` within the bounds, seconds.
    fn clamp(self, ttl: u32) -> u32 {
        let bounded = Duration::from_secs(ttl.into()).max(self.min).min(self.max);
        u32::try_from(bounded.as_secs()).unwrap_or(u32::MAX)
    }
}

/// Adds up what has been answered. `states` has one element for each list; `mode` says whether
/// error codes of lists count as listings.
pub fn score(lists: &Lists, states: &[State], limits: TtlLimits, mode: Mode) -> Score {
    let counting = || {
        lists.iter().zip(states).flat_map(|((_, list), state)| {
            list.entries.iter().filter(move |entry| counts(entry, state, mode))
        })
    };
    let rank = sum(counting().map(|entry| entry.weight));
    let mut top: Option<&Entry> = None;
    for entry in counting() {
        let heavier = |best: &Entry| {
            (entry.weight, std::cmp::Reverse(entry.id)) > (best.weight, std::cmp::Reverse(best.id))
        };
        if top.is_none_or(heavier) {
            top = Some(entry);
        }
    }
    let ttl = limits.clamp(ttl(lists, states, rank).unwrap_or(0));
    Score { rank, top: top.map(|entry| entry.id), ttl }
}

/// The lowest and the highest score that the answers still to come can lead to, kept up to date
/// answer by answer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Bounds {
    low: i64,
    high: i64,
}

impl Bounds {
    /// One more list is asked.
    pub fn expect(&mut self, list: &List) {
        let (low, high) = reach(list);
        self.low += low;
        self.high += high;
    }

    /// It is not pending any more.
    pub fn settle(&mut self, list: &List, state: &State, mode: Mode) {
        let (low, high) = reach(list);
        let counting = list.entries.iter().filter(|entry| counts(entry, state, mode));
        let sum: i64 = counting.map(|entry| i64::from(entry.weight)).sum();
        self.low += sum - low;
        self.high += sum - high;
    }

    /// The lowest and the highest score.
    pub fn get(self) -> (i32, i32) {
        (clamp(self.low), clamp(self.high))
    }
}

/// The sums of the negative and of the positive weights.
fn reach(list: &List) -> (i64, i64) {
    list.entries.iter().fold((0, 0), |(low, high), entry| {
        let weight = i64::from(entry.weight);
        (low + weight.min(0), high + weight.max(0))
    })
}

fn counts(entry: &Entry, state: &State, mode: Mode) -> bool {
    match state {
        State::Answered(Answer::Listed { addresses, .. }) => mode.counts(entry, addresses),
        State::Answered(_) | State::Pending | State::Aside => false,
    }
}

/// Adds up without overflow, whatever the order.
fn sum(weights: impl Iterator<Item = i32>) -> i32 {
    clamp(weights.map(i64::from).sum())
}

fn clamp(total: i64) -> i32 {
    i32::try_from(total).unwrap_or(if total < 0 { i32::MIN } else { i32::MAX })
}

/// How long the answers that speak for this score are good: those that could have raised it
/// for a client that is not listed, and those that lower it; for a listed one the others.
/// `None` when there are none, or when an answer is missing: who passes for want of an
/// answer is asked about again soon.
///
/// Whether a filter matches makes no difference here, as with postscreen(8).
fn ttl(lists: &Lists, states: &[State], rank: i32) -> Option<u32> {
    let mut lowest: Option<u32> = None;
    for ((_, list), state) in lists.iter().zip(states) {
        let (listed, ttl) = match state {
            State::Answered(Answer::Listed { ttl, .. }) => (true, *ttl),
            // An answer that does not say how long it is good is good for this once.
            State::Answered(Answer::NotListed { ttl }) => (false, ttl.unwrap_or(0)),
            State::Answered(Answer::Failed(_)) | State::Pending => return None,
            State::Aside => continue,
        };
        let speaks = |entry: &Entry| {
            let speaks_for_a_pass = listed != (entry.weight > 0);
            speaks_for_a_pass == (rank <= 0)
        };
        if list.entries.iter().any(speaks) {
            lowest = Some(lowest.map_or(ttl, |lowest| lowest.min(ttl)));
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::dnsbl::answer::Failure;
    use crate::screen::dnsbl::site::parse_sites;

    const LIMITS: TtlLimits =
        TtlLimits { min: Duration::from_secs(60), max: Duration::from_secs(3600) };

    fn lists(text: &str) -> Lists {
        Lists::new(&parse_sites(text).unwrap())
    }

    fn listed(addresses: &[&str], ttl: u32) -> State {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        State::Answered(Answer::Listed { addresses, ttl })
    }

    fn clean(ttl: impl Into<Option<u32>>) -> State {
        State::Answered(Answer::NotListed { ttl: ttl.into() })
    }

    fn failed() -> State {
        State::Answered(Answer::Failed(Failure::ServerError))
    }

    /// The bounds after these answers.
    fn bounds(lists: &Lists, states: &[State]) -> (i32, i32) {
        let mut bounds = Bounds::default();
        let asked = || lists.iter().zip(states).filter(|(_, state)| **state != State::Aside);
        asked().for_each(|((_, list), _)| bounds.expect(list));
        let answered = asked().filter(|(_, state)| **state != State::Pending);
        answered.for_each(|((_, list), state)| bounds.settle(list, state, Mode::Enforce));
        bounds.get()
    }

    fn seconds(sites: &str, states: &[State]) -> u32 {
        score(&lists(sites), states, LIMITS, Mode::Enforce).ttl
    }

    #[test]
    fn weights_add_up_and_the_heaviest_names_itself() {
        let lists = lists("light.test middle.test*2 heavy.test*3 good.test*-4");
        let hit = || listed(&["127.0.0.2"], 300);
        let result = |states: [State; 4]| {
            let Score { rank, top, .. } = score(&lists, &states, LIMITS, Mode::Enforce);
            (rank, top.map(|id| lists.of_entry(id).unwrap().domain.clone()))
        };
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(result([hit(), hit(), hit(), clean(60)]), (6, named("heavy.test")));
        assert_eq!(result([hit(), hit(), clean(60), clean(60)]), (3, named("middle.test")));
        assert_eq!(result([hit(), clean(60), clean(60), hit()]), (-3, named("light.test")));
        assert_eq!(result([clean(60), clean(60), clean(60), hit()]), (-4, named("good.test")));
        assert_eq!(result([clean(60), clean(60), clean(60), clean(60)]), (0, None));
        assert_eq!(
            result([hit(), State::Pending, failed(), State::Aside]),
            (1, named("light.test"))
        );
    }

    #[test]
    fn of_equal_weights_the_first_in_main_cf_names_itself() {
        let lists = lists("a.test b.test=127.0.0.2 b.test=127.0.0.3");
        let top = |states: [State; 2]| score(&lists, &states, LIMITS, Mode::Enforce).top;
        let hit = || listed(&["127.0.0.2", "127.0.0.3"], 300);
        assert_eq!(top([hit(), hit()]), Some(EntryId(0)));
        assert_eq!(top([clean(60), hit()]), Some(EntryId(1)));
        assert_eq!(top([clean(60), listed(&["127.0.0.3"], 300)]), Some(EntryId(2)));
    }

    #[test]
    fn an_entry_counts_once_however_many_records_match() {
        let lists = lists("a.test=127.0.0.[2..4]*3 a.test*5 a.test=127.0.0.9*100");
        let states = [listed(&["127.0.0.2", "127.0.0.3", "127.0.0.8"], 300)];
        assert_eq!(score(&lists, &states, LIMITS, Mode::Enforce).rank, 8);
    }

    #[test]
    fn scores_do_not_overflow() {
        let lists = lists("a.test*2147483647 b.test*2147483647 c.test*-1");
        let hit = || listed(&["127.0.0.2"], 300);
        assert_eq!(score(&lists, &[hit(), hit(), hit()], LIMITS, Mode::Enforce).rank, i32::MAX);
        assert_eq!(bounds(&lists, &[hit(), hit(), State::Pending]).1, i32::MAX);
    }

    #[test]
    fn live_ttls() {
        assert_eq!(seconds("bl.test*10", &[clean(1000)]), 1000);
        assert_eq!(seconds("bl.test*10", &[clean(300)]), 300);
        assert_eq!(seconds("bl.test*10", &[clean(99999)]), 3600);
        assert_eq!(seconds("bl.test*10", &[clean(None)]), 60);
        assert_eq!(seconds("bl.test*10", &[failed()]), 60);
        assert_eq!(seconds("bl.test", &[listed(&["127.0.0.2"], 900)]), 900);
        let no_match = [listed(&["127.0.0.9"], 700)];
        assert_eq!(seconds("bl.test=127.0.0.2", &no_match), 60);
    }

    #[test]
    fn the_lowest_ttl_that_speaks_for_the_score_counts() {
        let sites = "bl.test*2 wl.test*-5 other.test";
        let hit = |ttl| listed(&["127.0.0.2"], ttl);
        // A pass: clean at positive lists, known to good ones.
        assert_eq!(seconds(sites, &[clean(900), hit(400), clean(700)]), 400);
        // That the list of good clients does not know it speaks against it.
        assert_eq!(seconds(sites, &[clean(900), clean(100), clean(700)]), 700);
        // Above zero, what speaks against the client decides.
        assert_eq!(seconds(sites, &[hit(500), clean(800), clean(70)]), 500);
    }

    #[test]
    fn a_missing_answer_is_no_clean_bill() {
        for missing in [failed(), State::Pending] {
            for states in [[clean(700), missing.clone()], [missing.clone(), clean(700)]] {
                assert_eq!(seconds("a.test b.test", &states), 60);
            }
        }
        assert_eq!(seconds("a.test b.test", &[State::Aside, clean(700)]), 700);
        assert_eq!(seconds("a.test b.test", &[State::Aside, State::Aside]), 60);
    }

    #[test]
    fn the_maximum_wins_over_the_minimum() {
        let limits = TtlLimits { min: Duration::from_secs(600), max: Duration::from_secs(30) };
        assert_eq!(score(&lists("a.test"), &[clean(100)], limits, Mode::Enforce).ttl, 30);
    }

    #[test]
    fn bounds_hold_what_can_still_come() {
        let lists = lists("a.test*2 a.test=127.0.0.9*-1 b.test*3 c.test*-4");
        let hit = || listed(&["127.0.0.2"], 300);
        assert_eq!(bounds(&lists, &[State::Pending, State::Pending, State::Pending]), (-5, 5));
        assert_eq!(bounds(&lists, &[hit(), State::Pending, clean(60)]), (2, 5));
        assert_eq!(bounds(&lists, &[hit(), failed(), State::Pending]), (-2, 2));
        assert_eq!(bounds(&lists, &[hit(), State::Aside, clean(60)]), (2, 2));
    }
}
