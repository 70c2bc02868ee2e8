//! Which name server a look-up begins with.

use std::time::{Duration, Instant};

use super::resolv_conf::Servers;

/// So many disappointments in a row, and another server is preferred.
const MOST_MISSES: u32 = 3;

/// How long the first server is left alone before a look-up begins with it again.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// How long a server is asked without EDNS that did not understand it.
const PLAIN_TIME: Duration = Duration::from_secs(600);

/// What is known of the servers.
///
/// The first one is preferred while it answers, whatever it answers: SERVFAIL for one zone
/// says nothing about others.
#[derive(Debug)]
pub(super) struct Ranking {
    servers: Vec<Health>,
    preferred: usize,
    /// When the first server gets its next chance.
    probe_at: Option<Instant>,
    /// resolv.conf: `rotate`; the number of the last server.
    rotation: Option<usize>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Health {
    heard: Option<Instant>,
    misses: u32,
    plain_until: Option<Instant>,
}

impl Ranking {
    /// Nothing is known yet.
    pub fn new(servers: &Servers) -> Ranking {
        Ranking {
            servers: vec![Health::default(); servers.list.len()],
            preferred: 0,
            probe_at: None,
            rotation: servers.rotate.then_some(servers.list.len().saturating_sub(1)),
        }
    }

    /// The server with which the next look-up begins.
    pub fn first(&mut self, now: Instant) -> usize {
        if let Some(last) = &mut self.rotation {
            *last = (*last + 1) % self.servers.len().max(1);
            return *last;
        }
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe_at = Some(now + PROBE_INTERVAL);
            return 0;
        }
        self.preferred
    }

    /// A server has said something.
    pub fn answered(&mut self, server: usize, now: Instant) {
        let Some(health) = self.servers.get_mut(server) else { return };
        health.heard = Some(now);
        health.misses = 0;
        if server == 0 {
            self.preferred = 0;
            self.probe_at = None;
        }
    }

    /// A server has not answered a question that was sent at `asked`, or could not be
    /// reached. It does not count against a server that has answered others since.
    pub fn missed(&mut self, server: usize, asked: Instant, now: Instant) {
        let count = self.servers.len();
        let Some(health) = self.servers.get_mut(server) else { return };
        if health.heard.is_some_and(|heard| heard > asked) {
            return;
        }
        health.misses += 1;
        if health.misses < MOST_MISSES || server != self.preferred || count < 2 {
            return;
        }
        self.preferred = (server + 1) % count;
        self.probe_at = (self.preferred != 0).then_some(now + PROBE_INTERVAL);
        if let Some(next) = self.servers.get_mut(self.preferred) {
            next.misses = 0;
        }
    }

    /// Whether a server can be asked with EDNS.
    pub fn edns(&self, server: usize, now: Instant) -> bool {
        let until = self.servers.get(server).and_then(|health| health.plain_until);
        until.is_none_or(|until| until <= now)
    }

    /// A server does not understand EDNS.
    pub fn no_edns(&mut self, server: usize, now: Instant) {
        if let Some(health) = self.servers.get_mut(server) {
            health.plain_until = Some(now + PLAIN_TIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(servers: usize) -> (Ranking, impl Fn(u64) -> Instant) {
        let list = vec!["192.0.2.1:53".parse().unwrap(); servers];
        let start = Instant::now();
        let at = move |seconds| start + Duration::from_secs(seconds);
        (Ranking::new(&Servers { list, ..Servers::default() }), at)
    }

    #[test]
    fn some_misses_in_a_row_move_the_preference() {
        let (mut ranking, at) = ranking(3);
        ranking.missed(0, at(0), at(1));
        ranking.missed(0, at(1), at(2));
        ranking.answered(0, at(3));
        ranking.missed(0, at(4), at(5));
        ranking.missed(0, at(5), at(6));
        assert_eq!(ranking.first(at(6)), 0);
        ranking.missed(0, at(6), at(7));
        assert_eq!(ranking.first(at(7)), 1);
        // Look-ups that began with the old one move nothing any more.
        for _ in 0..9 {
            ranking.missed(0, at(6), at(8));
        }
        assert_eq!(ranking.first(at(8)), 1);
        for _ in 0..3 {
            ranking.missed(1, at(8), at(9));
        }
        assert_eq!(ranking.first(at(9)), 2);
        for _ in 0..3 {
            ranking.missed(2, at(8), at(9));
        }
        assert_eq!(ranking.first(at(9)), 0);
        assert_eq!(ranking.first(at(99)), 0);
    }

    /// One dead list behind a server that answers for the others.
    #[test]
    fn a_server_that_answers_others_has_missed_nothing() {
        let (mut ranking, at) = ranking(2);
        for second in 1..100 {
            ranking.answered(0, at(second));
            for _ in 0..5 {
                ranking.missed(0, at(second - 1), at(second));
            }
            assert_eq!(ranking.first(at(second)), 0);
        }
    }

    #[test]
    fn the_first_server_gets_another_chance_now_and_then() {
        let (mut ranking, at) = ranking(2);
        for _ in 0..3 {
            ranking.missed(0, at(0), at(1));
        }
        let firsts = |ranking: &mut Ranking, from: u64, to: u64| {
            (from..to).filter(|second| ranking.first(at(*second)) == 0).collect::<Vec<_>>()
        };
        assert_eq!(firsts(&mut ranking, 1, 100), [31, 61, 91]);
        ranking.answered(1, at(100));
        assert_eq!(ranking.first(at(100)), 1);
        ranking.answered(0, at(100));
        assert_eq!(firsts(&mut ranking, 100, 200).len(), 100);
    }

    #[test]
    fn rotation() {
        let (ranking, at) = ranking(3);
        let mut ranking = Ranking { rotation: Some(2), ..ranking };
        let firsts: Vec<usize> = (0..5).map(|_| ranking.first(at(0))).collect();
        assert_eq!(firsts, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn edns_is_tried_again_some_day() {
        let (mut ranking, at) = ranking(2);
        ranking.no_edns(1, at(5));
        assert!(ranking.edns(0, at(5)));
        assert!(!ranking.edns(1, at(604)));
        assert!(ranking.edns(1, at(605)));
    }
}
