//! What is known about an address as long as it has an open session.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};

use super::dnsbl::board::Board;
use super::session::SessionId;
use super::test_set::CacheRecord;

/// The state that all open sessions of one address share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// One session of this address that is open.
    session: SessionId,
    /// The others; most addresses have none.
    more: Vec<SessionId>,
    /// The address's stamps, once a session has asked the cache; kept up to date with what
    /// sessions of this address have passed when they end.
    pub record: Option<CacheRecord>,
    /// Whether PASS NEW has been logged in this unbroken run of open sessions.
    pub pass_new_logged: bool,
    /// The look-ups at DNS blocklists that are under way.
    pub board: Option<Box<Board>>,
}

/// All addresses with open sessions.
#[derive(Debug)]
pub struct Clients {
    table: HashMap<IpAddr, Client>,
    /// How many sessions are open from each IPv6 network, by its first address. Not kept when
    /// a network is one address.
    networks: HashMap<Ipv6Addr, usize>,
    /// See [`super::policy::Limits::prefix_ipv6`].
    prefix_ipv6: u8,
}

impl Clients {
    /// No sessions. IPv6 addresses that agree in `prefix_ipv6` bits count as one client.
    pub fn new(prefix_ipv6: u8) -> Clients {
        Clients { table: HashMap::new(), networks: HashMap::new(), prefix_ipv6 }
    }

    /// Counts one more session of an address, and tells how many there are now.
    pub fn enter(&mut self, address: IpAddr, id: SessionId) -> usize {
        let first = || Client {
            session: id,
            more: Vec::new(),
            record: None,
            pass_new_logged: false,
            board: None,
        };
        if let Some(network) = self.network(address) {
            *self.networks.entry(network).or_insert(0) += 1;
        }
        let entry = self.table.entry(address).and_modify(|client| client.more.push(id));
        let client = entry.or_insert_with(first);
        client.more.len() + 1
    }

    /// Counts one session less; the last one takes the shared state with it.
    pub fn leave(&mut self, address: IpAddr, id: SessionId) {
        let Some(client) = self.table.get_mut(&address) else { return };
        if client.session != id {
            let before = client.more.len();
            client.more.retain(|other| *other != id);
            if client.more.len() == before {
                return;
            }
        } else if let Some(other) = client.more.pop() {
            client.session = other;
        } else {
            self.table.remove(&address);
        }
        let Some(network) = self.network(address) else { return };
        if let Entry::Occupied(mut count) = self.networks.entry(network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// The network whose sessions count as one client's, unless it is just this address. An
    /// IPv4 address is itself, in IPv6 clothes too.
    fn network(&self, address: IpAddr) -> Option<Ipv6Addr> {
        let IpAddr::V6(six) = address else { return None };
        if self.prefix_ipv6 >= 128 || six.to_ipv4_mapped().is_some() {
            return None;
        }
        let host_bits = u128::MAX.checked_shr(self.prefix_ipv6.into()).unwrap_or(0);
        Some(Ipv6Addr::from_bits(six.to_bits() & !host_bits))
    }

    /// How many sessions are open that count as this client's when it comes to limits.
    pub fn crowd(&self, address: IpAddr) -> usize {
        match self.network(address) {
            Some(network) => self.networks.get(&network).copied().unwrap_or(0),
            None => self.sessions(address),
        }
    }

    /// The open sessions of an address.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = SessionId> {
        let client = self.table.get(&address);
        client.into_iter().flat_map(|client| client.more.iter().chain([&client.session])).copied()
    }

    /// The shared state of an address with an open session.
    pub fn get_mut(&mut self, address: IpAddr) -> Option<&mut Client> {
        self.table.get_mut(&address)
    }

    /// How many sessions of an address are open.
    pub fn sessions(&self, address: IpAddr) -> usize {
        self.table.get(&address).map_or(0, |client| client.more.len() + 1)
    }

    /// How many addresses have open sessions.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no address has an open session.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_session_takes_the_state_with_it() {
        let mut clients = Clients::new(128);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let [a, b, c] = [0, 1, 2].map(|slot| SessionId { slot, generation: 1 });
        assert_eq!(clients.enter(address, a), 1);
        assert_eq!(clients.enter(address, b), 2);
        clients.get_mut(address).unwrap().pass_new_logged = true;
        clients.leave(address, a);
        assert!(clients.of(address).eq([b]));
        assert_eq!(clients.enter(address, c), 2);
        clients.leave(address, c);
        assert!(clients.get_mut(address).unwrap().pass_new_logged);
        clients.leave(address, b);
        assert_eq!(clients.sessions(address), 0);
        assert!(clients.is_empty());
        clients.enter(address, a);
        assert!(!clients.get_mut(address).unwrap().pass_new_logged);
    }

    /// Who is in one crowd after sessions of these addresses have begun.
    fn crowds<const N: usize>(prefix: u8, addresses: [&str; N]) -> [usize; N] {
        let mut clients = Clients::new(prefix);
        let addresses = addresses.map(|text| text.parse::<IpAddr>().unwrap());
        let ids: Vec<SessionId> =
            (0..).take(N).map(|slot| SessionId { slot, generation: 1 }).collect();
        for (address, id) in addresses.iter().zip(&ids) {
            clients.enter(*address, *id);
        }
        let crowds = addresses.map(|address| clients.crowd(address));
        let stranger = SessionId { slot: 99, generation: 1 };
        for (address, id) in addresses.iter().zip(&ids) {
            clients.leave(*address, stranger);
            clients.leave(*address, *id);
            clients.leave(*address, *id);
        }
        assert!(clients.is_empty() && clients.networks.is_empty());
        crowds
    }

    #[test]
    fn networks_count_as_one_client() {
        let addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::2", "2001:db8:0:1::1", "fe80::1"];
        assert_eq!(crowds(128, addresses), [1, 2, 2, 1, 1]);
        assert_eq!(crowds(127, addresses), [1, 2, 2, 1, 1]);
        assert_eq!(crowds(64, addresses), [3, 3, 3, 1, 1]);
        assert_eq!(crowds(48, addresses), [4, 4, 4, 4, 1]);
        assert_eq!(crowds(1, addresses), [4, 4, 4, 4, 1]);
        let fours = ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1", "::ffff:192.0.2.2"];
        assert_eq!(crowds(64, fours), [1, 1, 1, 1]);
    }

    #[test]
    fn without_networks_nothing_is_kept_of_them() {
        let mut clients = Clients::new(128);
        clients.enter("2001:db8::1".parse().unwrap(), SessionId { slot: 0, generation: 1 });
        assert!(clients.networks.is_empty());
    }
}
