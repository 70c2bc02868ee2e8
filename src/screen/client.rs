//! What is known about an address as long as it has an open session.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};

use super::dnsbl::board::Board;
use super::session::SessionId;
use super::test_set::CacheRecord;

/// The state that all open sessions of one address share.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Client {
    /// How many sessions are open.
    sessions: u32,
    /// Whether PASS NEW has been logged in this unbroken run of open sessions.
    pub pass_new_logged: bool,
    /// The address's stamps, once a session has asked the cache; kept up to date with what
    /// sessions of this address have passed when they end.
    pub record: Option<CacheRecord>,
    /// A session that has passed something and is still open.
    helper: Option<SessionId>,
    /// The others; most addresses have none.
    more_helpers: Vec<SessionId>,
    /// The look-ups at DNS blocklists that are under way.
    pub board: Option<Box<Board>>,
}

impl Client {
    /// The open sessions whose passes count for a parallel one.
    pub fn helpers(&self) -> impl Iterator<Item = SessionId> {
        self.more_helpers.iter().copied().chain(self.helper)
    }
}

/// All addresses with open sessions.
#[derive(Debug)]
pub struct Clients {
    /// Where in `states` an address is. The states are apart from it, because a hash table has
    /// to have room to spare, and that would be twice their size.
    places: HashMap<IpAddr, u32>,
    states: Vec<Client>,
    free: Vec<u32>,
    /// How many sessions are open from each IPv6 network, by its first address. Not kept when
    /// a network is one address.
    networks: HashMap<Ipv6Addr, usize>,
    /// See [`super::policy::Limits::prefix_ipv6`].
    prefix_ipv6: u8,
}

impl Clients {
    /// No sessions. IPv6 addresses that agree in `prefix_ipv6` bits count as one client.
    pub fn new(prefix_ipv6: u8) -> Clients {
        Clients {
            places: HashMap::new(),
            states: Vec::new(),
            free: Vec::new(),
            networks: HashMap::new(),
            prefix_ipv6,
        }
    }

    /// Counts one more session of an address.
    pub fn enter(&mut self, address: IpAddr) {
        if let Some(network) = self.network(address) {
            *self.networks.entry(network).or_insert(0) += 1;
        }
        let place = *self.places.entry(address).or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.states.push(Client::default());
                // There are fewer sessions than numbers for them.
                u32::try_from(self.states.len() - 1).unwrap_or(u32::MAX)
            })
        });
        if let Some(client) = self.states.get_mut(place as usize) {
            client.sessions += 1;
        }
    }

    /// Counts one session less; the last one takes the shared state with it.
    pub fn leave(&mut self, address: IpAddr) {
        let Entry::Occupied(entry) = self.places.entry(address) else { return };
        let place = *entry.get();
        let Some(client) = self.states.get_mut(place as usize) else { return };
        client.sessions -= 1;
        if client.sessions == 0 {
            *client = Client::default();
            self.free.push(place);
            entry.remove();
        }
        let Some(network) = self.network(address) else { return };
        if let Entry::Occupied(mut count) = self.networks.entry(network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// From now on the passes of an open session count for parallel ones.
    pub fn add_helper(&mut self, address: IpAddr, id: SessionId) {
        let Some(client) = self.get_mut(address) else { return };
        if let Some(other) = client.helper.replace(id) {
            client.more_helpers.push(other);
        }
    }

    /// They do not any more.
    pub fn remove_helper(&mut self, address: IpAddr, id: SessionId) {
        let Some(client) = self.get_mut(address) else { return };
        if client.helper == Some(id) {
            client.helper = client.more_helpers.pop();
        } else if let Some(place) = client.more_helpers.iter().position(|other| *other == id) {
            client.more_helpers.swap_remove(place);
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

    /// The shared state of an address with an open session.
    pub fn get(&self, address: IpAddr) -> Option<&Client> {
        self.states.get(*self.places.get(&address)? as usize)
    }

    /// The shared state of an address with an open session.
    pub fn get_mut(&mut self, address: IpAddr) -> Option<&mut Client> {
        self.states.get_mut(*self.places.get(&address)? as usize)
    }

    /// How many sessions of an address are open.
    pub fn sessions(&self, address: IpAddr) -> usize {
        self.get(address).map_or(0, |client| client.sessions as usize)
    }

    /// How many addresses have open sessions.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no address has an open session.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_session_takes_the_state_with_it() {
        let mut clients = Clients::new(128);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        clients.enter(address);
        clients.enter(address);
        assert_eq!(clients.sessions(address), 2);
        clients.get_mut(address).unwrap().pass_new_logged = true;
        clients.leave(address);
        assert!(clients.get_mut(address).unwrap().pass_new_logged);
        clients.leave(address);
        assert_eq!(clients.sessions(address), 0);
        assert!(clients.is_empty());
        clients.enter("192.0.2.2".parse().unwrap());
        clients.enter(address);
        assert!(!clients.get_mut(address).unwrap().pass_new_logged);
        assert_eq!(clients.states.len(), 2);
    }

    #[test]
    fn helpers_come_and_go() {
        let mut clients = Clients::new(128);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let ids = [0, 1, 2].map(|slot| SessionId { slot, generation: 1 });
        for gone in ids {
            clients.enter(address);
            for id in ids {
                clients.add_helper(address, id);
            }
            clients.remove_helper(address, gone);
            clients.remove_helper(address, gone);
            let mut left: Vec<_> = clients.get(address).unwrap().helpers().collect();
            left.sort();
            assert!(left.into_iter().eq(ids.into_iter().filter(|id| *id != gone)));
            clients.leave(address);
        }
    }

    /// Who is in one crowd after sessions of these addresses have begun.
    fn crowds<const N: usize>(prefix: u8, addresses: [&str; N]) -> [usize; N] {
        let mut clients = Clients::new(prefix);
        let addresses = addresses.map(|text| text.parse::<IpAddr>().unwrap());
        for address in addresses {
            clients.enter(address);
        }
        let crowds = addresses.map(|address| clients.crowd(address));
        for address in addresses {
            clients.leave(address);
        }
        clients.leave(addresses[0]);
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
        clients.enter("2001:db8::1".parse().unwrap());
        assert!(clients.networks.is_empty());
    }
}
