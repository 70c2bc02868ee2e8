//! How many descriptors clients may have, so that enough are left for what is done on their
//! behalf.
//!
//! A client that is here must not be lost for want of a descriptor: its hand-off, the look-ups
//! about it, the log and changed tables have theirs put by. So clients are not accepted until
//! accept(2) fails, but as long as there is room; the others wait in the listen queue.

use nix::sys::resource::{Resource, getrlimit};

use super::table_servers::MOST_CONNECTIONS;
use crate::config::limits::share;
use crate::dns::resolver;
use crate::screen::policy::{Policy, TlsLevel};
use crate::sys;

/// Descriptors for other things than clients: listeners, log, cache, tables, name look-ups.
const OTHERS: usize = 256;

/// What is put by for what takes one or two for a moment: the channel of a hand-off, a new
/// connection to the log service, a changed table that comes from the supervisor.
const SPARE: usize = 16;

/// Of all descriptors, name look-ups and channels to tlsproxy(8) have one in so many each, if
/// they need that many.
const SHARE: usize = 8;

/// How many channels to tlsproxy(8) have theirs put by at most. It takes clients in
/// milliseconds.
const CHANNELS: usize = 256;

/// How many descriptors a worker needs, so that the limits of main.cf are what limits clients.
///
/// A client has one, and one more while tlsproxy(8) is asked to take it; smtpd(8)'s channel
/// takes the place of the client's socket. A connection without a header has one, too.
pub fn needed(policy: &Policy, workers: usize) -> u64 {
    // The largest share.
    let limits = share(policy.limits, 0, workers);
    let each = if policy.engine.tls_level == TlsLevel::None { 1 } else { 2 };
    let approaching = policy.upstream_proxy.map_or(0, |_| limits.pre_queue);
    let clients = limits
        .pre_queue
        .saturating_mul(each)
        .saturating_add(limits.post_queue)
        .saturating_add(approaching);
    u64::try_from(clients.saturating_add(OTHERS)).unwrap_or(u64::MAX)
}

/// What clients may need descriptors for, besides their sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs {
    /// tlsproxy(8) may be asked.
    pub tls: bool,
    /// How many sockets name look-ups have at most; 0 if there are no DNS blocklists.
    pub lookups: usize,
    /// How many servers of tables there are.
    pub table_servers: usize,
}

impl Needs {
    /// Those of a policy.
    pub fn new(policy: &Policy, table_servers: usize) -> Needs {
        let lists = !policy.dnsbl.lists.is_empty();
        Needs {
            tls: policy.engine.tls_level != TlsLevel::None,
            lookups: if lists { resolver::Limits::default().sockets } else { 0 },
            table_servers,
        }
    }
}

/// How the descriptors of a worker are divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// The limit.
    pub limit: usize,
    /// For sockets of clients.
    pub clients: usize,
    /// For sockets of clients and channels to tlsproxy(8), together.
    pub channels: usize,
    /// For the sockets of name look-ups.
    pub lookups: usize,
}

impl Room {
    /// The room that this process has, besides what is open.
    pub fn find(needs: Needs) -> nix::Result<Room> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Room::divide(limit, sys::open_descriptors(limit), needs))
    }

    fn divide(limit: usize, open: usize, needs: Needs) -> Room {
        let lookups = needs.lookups.min(limit / SHARE);
        let tables = needs.table_servers.saturating_mul(MOST_CONNECTIONS).min(limit / SHARE);
        let tls = if needs.tls { CHANNELS.min(limit / SHARE) } else { 0 };
        let others = open.saturating_add(SPARE).saturating_add(lookups).saturating_add(tables);
        // One client at a time can be served with whatever there is.
        let channels = limit.saturating_sub(others).max(1);
        let clients = channels.saturating_sub(tls).max(1);
        Room { limit, clients, channels, lookups }
    }

    /// Whether there is room for a client when so many descriptors are with clients and
    /// channels.
    pub fn for_client(&self, taken: usize) -> bool {
        taken < self.clients
    }

    /// The same for a channel to tlsproxy(8).
    pub fn for_channel(&self, taken: usize) -> bool {
        taken < self.channels
    }

    /// Whether sockets may be kept that only wait for their end. Not if that would soon keep
    /// clients out.
    pub fn for_lingering(&self, taken: usize) -> bool {
        taken < self.clients / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::policy::{Limits, UpstreamProxy};
    use crate::screen::testing::policy;
    use std::time::Duration;

    const ALL: Needs = Needs { tls: true, lookups: 116, table_servers: 2 };

    fn with(pre_queue: usize, post_queue: usize, tls: bool, proxy: bool) -> Policy {
        let mut policy = policy();
        policy.limits = Limits { pre_queue, post_queue, ..policy.limits };
        policy.engine.tls_level = if tls { TlsLevel::May } else { TlsLevel::None };
        let rules = UpstreamProxy { timeout: Duration::from_secs(5), log_checks: true };
        policy.upstream_proxy = proxy.then_some(rules);
        policy
    }

    #[test]
    fn what_the_limits_of_main_cf_need() {
        assert_eq!(needed(&with(100, 100, false, false), 1), 456);
        assert_eq!(needed(&with(100, 100, true, false), 1), 556);
        assert_eq!(needed(&with(100, 100, false, true), 1), 556);
        assert_eq!(needed(&with(100, 100, true, true), 1), 656);
        // Each of some workers has its share only, rounded up.
        assert_eq!(needed(&with(101, 100, true, true), 4), 3 * 26 + 25 + 256);
        assert_eq!(needed(&with(usize::MAX, usize::MAX, true, true), 1), u64::MAX);
    }

    #[test]
    fn with_what_is_needed_the_limits_of_main_cf_are_what_limits() {
        for (pre_queue, post_queue) in [(10, 5), (100, 100), (5000, 3000), (50_000, 10)] {
            for workers in [1, 3] {
                for (tls, proxy) in [(false, false), (false, true), (true, false), (true, true)] {
                    let policy = with(pre_queue, post_queue, tls, proxy);
                    let limit = usize::try_from(needed(&policy, workers)).unwrap();
                    let room = Room::divide(limit, 50, Needs { tls, ..ALL });
                    let share = share(policy.limits, 0, workers);
                    let clients = share.pre_queue * (1 + usize::from(proxy)) + share.post_queue;
                    assert!(room.clients >= clients, "{room:?} {clients}");
                }
            }
        }
    }

    #[test]
    fn where_there_are_few_all_get_some() {
        let room = Room::divide(256, 30, ALL);
        assert_eq!(room, Room { limit: 256, clients: 138, channels: 170, lookups: 32 });
        // What is put by is never less than what it is for.
        for limit in 0..3000 {
            let room = Room::divide(limit, 30, ALL);
            let sum = 30 + SPARE + room.lookups + 8.min(limit / SHARE) + room.channels;
            assert!(sum <= limit || room.channels == 1, "{limit}: {room:?}");
            assert!(room.clients <= room.channels && room.clients > 0);
        }
    }

    #[test]
    fn where_there_are_many_next_to_all_are_for_clients() {
        assert!(Room::divide(20_000, 60, ALL).clients > 19_500);
        let plain = Needs { tls: false, lookups: 0, table_servers: 0 };
        assert_eq!(Room::divide(20_000, 60, plain).clients, 19_924);
    }

    #[test]
    fn room_is_what_is_not_taken() {
        let room = Room { limit: 256, clients: 100, channels: 130, lookups: 0 };
        assert!(room.for_client(99) && !room.for_client(100));
        assert!(room.for_channel(129) && !room.for_channel(130));
        assert!(room.for_lingering(74) && !room.for_lingering(75));
    }

    #[test]
    fn what_is_open_is_counted() {
        let before = sys::open_descriptors(4096);
        let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close some, too.
        assert!(sys::open_descriptors(4096) + 10 > before + files.len());
        assert!(sys::open_descriptors(2) <= 2);
    }
}
