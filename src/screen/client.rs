//! What is known about an address as long as it has an open session.

use std::collections::HashMap;
use std::net::IpAddr;

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
#[derive(Debug, Default)]
pub struct Clients {
    table: HashMap<IpAddr, Client>,
}

impl Clients {
    /// Counts one more session of an address, and tells how many there are now.
    pub fn enter(&mut self, address: IpAddr, id: SessionId) -> usize {
        let first = || Client {
            session: id,
            more: Vec::new(),
            record: None,
            pass_new_logged: false,
            board: None,
        };
        let entry = self.table.entry(address).and_modify(|client| client.more.push(id));
        let client = entry.or_insert_with(first);
        client.more.len() + 1
    }

    /// Counts one session less; the last one takes the shared state with it.
    pub fn leave(&mut self, address: IpAddr, id: SessionId) {
        let Some(client) = self.table.get_mut(&address) else { return };
        if client.session != id {
            client.more.retain(|other| *other != id);
        } else if let Some(other) = client.more.pop() {
            client.session = other;
        } else {
            self.table.remove(&address);
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
        self.of(address).count()
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
        let mut clients = Clients::default();
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
}
