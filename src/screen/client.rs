//! What is known about an address as long as it has an open session.

use std::collections::HashMap;
use std::net::IpAddr;

use super::test_set::CacheRecord;

/// The state that all open sessions of one address share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// How many sessions of this address are open; at least 1.
    sessions: usize,
    /// The address's stamps, once a session has asked the cache; kept up to date with what
    /// sessions of this address pass.
    pub record: Option<CacheRecord>,
    /// Whether PASS NEW has been logged in this unbroken run of open sessions.
    pub pass_new_logged: bool,
}

/// All addresses with open sessions.
#[derive(Debug, Default)]
pub struct Clients {
    table: HashMap<IpAddr, Client>,
}

impl Clients {
    /// Counts one more session of an address, and tells how many there are now.
    pub fn enter(&mut self, address: IpAddr) -> usize {
        let client = self.table.entry(address).or_insert_with(|| Client {
            sessions: 0,
            record: None,
            pass_new_logged: false,
        });
        client.sessions += 1;
        client.sessions
    }

    /// Counts one session less; the last one takes the shared state with it.
    pub fn leave(&mut self, address: IpAddr) {
        if let Some(client) = self.table.get_mut(&address) {
            client.sessions -= 1;
            if client.sessions == 0 {
                self.table.remove(&address);
            }
        }
    }

    /// The shared state of an address with an open session.
    pub fn get_mut(&mut self, address: IpAddr) -> Option<&mut Client> {
        self.table.get_mut(&address)
    }

    /// How many sessions of an address are open.
    pub fn sessions(&self, address: IpAddr) -> usize {
        self.table.get(&address).map_or(0, |client| client.sessions)
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
        assert_eq!(clients.enter(address), 1);
        assert_eq!(clients.enter(address), 2);
        clients.get_mut(address).unwrap().pass_new_logged = true;
        clients.leave(address);
        assert!(clients.get_mut(address).unwrap().pass_new_logged);
        clients.leave(address);
        assert_eq!(clients.sessions(address), 0);
        assert!(clients.is_empty());
        clients.enter(address);
        assert!(!clients.get_mut(address).unwrap().pass_new_logged);
    }
}
