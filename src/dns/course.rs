//! The way of one look-up through the name servers: whom to ask next, and when to give up.

use std::time::Duration;

use super::resolv_conf::{MOST_SERVERS, Servers};
use crate::screen::dnsbl::answer::Failure;

/// How long the first datagram is waited for before another one is sent. The C library waits
/// for `timeout` (5 s), and one lost datagram would outlast the greet wait. The wait doubles
/// with each round, up to `timeout`.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How often a look-up waits for a free descriptor.
const MOST_SHORTAGES: u8 = 10;

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Ask [`Course::server`].
    Ask,
    /// Wait for [`Course::wait`], then call [`Course::rested`]. Late answers are welcome.
    Rest,
    /// There will be no answer.
    GiveUp(Failure),
}

/// Where a look-up is.
///
/// It goes round the servers. A server that has answered with an error is not asked again;
/// one that is silent or cannot be reached is, in the next round. A round with nothing left
/// to ask at once ends in a rest. The time for all is that of the C library: `attempts`
/// times `timeout` for each server, however often it is asked in that time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    servers: u8,
    first: u8,
    /// How many servers of this round are done with.
    position: u8,
    round: u8,
    /// Servers that answered with an error.
    erred: Set,
    /// Servers that could not be reached in this round.
    unreachable: Set,
    /// Servers that are asked without EDNS.
    plain: Set,
    /// Whether some server was silent.
    silence: bool,
    shortages: u8,
}

/// A set of servers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Set(u8);

impl Set {
    fn has(self, server: u8) -> bool {
        self.0 >> server & 1 == 1
    }

    fn add(&mut self, server: u8) {
        self.0 |= 1 << server;
    }
}

const _: () = assert!(MOST_SERVERS < 8, "a set of servers has 8 bits");

impl Course {
    /// Begins with the server number `first` of so many.
    pub fn new(first: usize, servers: usize) -> Course {
        let small = |number: usize| u8::try_from(number).unwrap_or(0);
        let servers = small(servers.min(MOST_SERVERS)).max(1);
        Course {
            servers,
            first: small(first) % servers,
            position: 0,
            round: 0,
            erred: Set::default(),
            unreachable: Set::default(),
            plain: Set::default(),
            silence: false,
            shortages: 0,
        }
    }

    /// The server whose turn it is.
    pub fn server(&self) -> usize {
        usize::from(self.current())
    }

    fn current(&self) -> u8 {
        (self.first + self.position) % self.servers
    }

    /// How long to wait for the server, or to rest.
    pub fn wait(&self, servers: &Servers) -> Duration {
        let doubled = FIRST_WAIT * (1 << self.round.min(5));
        doubled.min(servers.timeout)
    }

    /// How long the whole may take.
    pub fn time_limit(servers: &Servers) -> Duration {
        let count = u32::try_from(servers.list.len()).unwrap_or(1);
        servers.timeout * servers.attempts * count
    }

    /// The server has not answered in time.
    pub fn silent(&mut self) -> Step {
        self.silence = true;
        if self.next_server() { Step::Ask } else { self.begin_round() }
    }

    /// The server could not be reached.
    pub fn unreachable(&mut self, servers: &Servers) -> Step {
        self.unreachable.add(self.current());
        if self.next_server() {
            return Step::Ask;
        }
        let nobody =
            (0..self.servers).all(|server| self.erred.has(server) || self.unreachable.has(server));
        if nobody && u32::from(self.round) + 1 >= servers.attempts {
            return Step::GiveUp(self.failure());
        }
        Step::Rest
    }

    /// A server has answered with an error. `None`: it is not the one whose turn it is, and
    /// nothing changes.
    pub fn erred(&mut self, server: usize) -> Option<Step> {
        let server = u8::try_from(server).ok().filter(|server| *server < self.servers)?;
        self.erred.add(server);
        if (0..self.servers).all(|server| self.erred.has(server)) {
            return Some(Step::GiveUp(Failure::ServerError));
        }
        if self.position >= self.servers || server != self.current() {
            return None;
        }
        Some(if self.next_server() { Step::Ask } else { Step::Rest })
    }

    /// A rest is over.
    pub fn rested(&mut self) -> Step {
        if self.position < self.servers { Step::Ask } else { self.begin_round() }
    }

    /// There is no descriptor to be had.
    pub fn shortage(&mut self) -> Step {
        self.shortages += 1;
        if self.shortages > MOST_SHORTAGES {
            Step::GiveUp(Failure::Unreachable)
        } else {
            Step::Rest
        }
    }

    /// The failure that describes best what has happened so far.
    pub fn failure(&self) -> Failure {
        if self.erred != Set::default() {
            Failure::ServerError
        } else if self.silence || self.unreachable == Set::default() {
            Failure::NoReply
        } else {
            Failure::Unreachable
        }
    }

    /// Whether the server whose turn it is can be asked with EDNS.
    pub fn edns(&self) -> bool {
        !self.plain.has(self.current())
    }

    /// A server does not understand EDNS.
    pub fn no_edns(&mut self, server: usize) {
        self.plain.add(u8::try_from(server).unwrap_or(0) % self.servers);
    }

    /// Goes to the next server of the round that may be asked, or to the end of the round.
    fn next_server(&mut self) -> bool {
        self.position += 1;
        while self.position < self.servers && self.erred.has(self.current()) {
            self.position += 1;
        }
        self.position < self.servers
    }

    fn begin_round(&mut self) -> Step {
        self.round = self.round.saturating_add(1);
        self.position = 0;
        self.unreachable = Set::default();
        if self.erred.has(self.current()) && !self.next_server() {
            return Step::GiveUp(Failure::ServerError);
        }
        Step::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: usize, timeout: u64, attempts: u32) -> Servers {
        let list = vec!["192.0.2.1:53".parse().unwrap(); count];
        Servers { list, timeout: Duration::from_secs(timeout), attempts, rotate: false }
    }

    #[test]
    fn silent_servers_are_asked_in_turn_with_growing_patience() {
        let three = servers(3, 5, 2);
        let mut course = Course::new(1, 3);
        let mut seen = Vec::new();
        for _ in 0..10 {
            seen.push((course.server(), course.wait(&three).as_secs()));
            assert_eq!(course.silent(), Step::Ask);
        }
        assert_eq!(
            seen,
            [(1, 1), (2, 1), (0, 1), (1, 2), (2, 2), (0, 2), (1, 4), (2, 4), (0, 4), (1, 5)]
        );
        assert_eq!(course.failure(), Failure::NoReply);
        assert_eq!(Course::time_limit(&three).as_secs(), 30);
    }

    #[test]
    fn patience_is_bounded_by_the_timeout() {
        let one = servers(1, 1, 1);
        let mut course = Course::new(0, 1);
        for _ in 0..1000 {
            assert_eq!(course.wait(&one).as_secs(), 1);
            assert_eq!(course.silent(), Step::Ask);
        }
        assert_eq!(Course::time_limit(&one).as_secs(), 1);
    }

    #[test]
    fn servers_that_err_are_not_asked_again() {
        let mut course = Course::new(0, 3);
        assert_eq!(course.erred(0), Some(Step::Ask));
        assert_eq!(course.server(), 1);
        assert_eq!(course.silent(), Step::Ask);
        assert_eq!(course.server(), 2);
        // The last of the round errs, while a silent one may still answer.
        assert_eq!(course.erred(2), Some(Step::Rest));
        assert_eq!(course.rested(), Step::Ask);
        assert_eq!(course.server(), 1);
        assert_eq!(course.silent(), Step::Ask);
        assert_eq!(course.server(), 1);
        assert_eq!(course.failure(), Failure::ServerError);
        assert_eq!(course.erred(1), Some(Step::GiveUp(Failure::ServerError)));
    }

    #[test]
    fn one_server_that_errs_is_enough_if_there_is_no_other() {
        let mut course = Course::new(0, 1);
        assert_eq!(course.erred(0), Some(Step::GiveUp(Failure::ServerError)));
        assert_eq!(course.erred(7), None);
    }

    #[test]
    fn a_late_error_changes_nothing_but_the_next_round() {
        let mut course = Course::new(0, 2);
        assert_eq!(course.silent(), Step::Ask);
        assert_eq!(course.erred(0), None);
        assert_eq!(course.server(), 1);
        assert_eq!(course.silent(), Step::Ask);
        assert_eq!(course.server(), 1);
    }

    #[test]
    fn a_late_error_does_not_end_a_rest() {
        let mut course = Course::new(0, 3);
        course.silent();
        course.silent();
        assert_eq!(course.erred(2), Some(Step::Rest));
        assert_eq!(course.erred(0), None);
        assert_eq!(course.rested(), Step::Ask);
        assert_eq!(course.server(), 1);
    }

    #[test]
    fn unreachable_servers_get_another_chance_after_a_rest() {
        let two = servers(2, 5, 2);
        let mut course = Course::new(0, 2);
        assert_eq!(course.unreachable(&two), Step::Ask);
        assert_eq!(course.unreachable(&two), Step::Rest);
        assert_eq!(course.wait(&two).as_secs(), 1);
        assert_eq!(course.rested(), Step::Ask);
        assert_eq!(course.server(), 0);
        assert_eq!(course.unreachable(&two), Step::Ask);
        assert_eq!(course.unreachable(&two), Step::GiveUp(Failure::Unreachable));
    }

    #[test]
    fn unreachable_and_silent_servers() {
        let two = servers(2, 5, 1);
        let mut course = Course::new(0, 2);
        assert_eq!(course.silent(), Step::Ask);
        // The silent one may still answer.
        assert_eq!(course.unreachable(&two), Step::Rest);
        assert_eq!(course.rested(), Step::Ask);
        assert_eq!(course.failure(), Failure::NoReply);
    }

    #[test]
    fn unreachable_and_erring_servers() {
        let two = servers(2, 5, 1);
        let mut course = Course::new(0, 2);
        assert_eq!(course.erred(0), Some(Step::Ask));
        assert_eq!(course.unreachable(&two), Step::GiveUp(Failure::ServerError));
    }

    #[test]
    fn waiting_for_descriptors_has_an_end() {
        let mut course = Course::new(0, 2);
        for _ in 0..MOST_SHORTAGES {
            assert_eq!(course.shortage(), Step::Rest);
            assert_eq!(course.rested(), Step::Ask);
            assert_eq!(course.server(), 0);
        }
        assert_eq!(course.shortage(), Step::GiveUp(Failure::Unreachable));
    }

    #[test]
    fn edns_is_given_up_server_by_server() {
        let mut course = Course::new(0, 2);
        course.no_edns(0);
        assert!(!course.edns());
        course.silent();
        assert!(course.edns());
    }
}
