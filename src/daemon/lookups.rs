//! The core's questions, answered from tables and cache.

use std::net::IpAddr;

use crate::cache::Cache;
use crate::postfix::screen_tables::ScreenTables;
use crate::screen::event::{Access, Cached, Lookups};
use crate::screen::logline::Message;

/// Everything that the core may ask.
#[derive(Debug)]
pub struct Sources {
    /// The lookup tables and lists of main.cf.
    pub tables: ScreenTables,
    /// The verdict cache.
    pub cache: Cache,
}

impl Lookups for Sources {
    fn access(&mut self, client: IpAddr, messages: &mut Vec<Message>) -> Access {
        self.tables.access(client, messages)
    }

    fn cached(&mut self, client: IpAddr) -> Cached {
        self.cache.lookup(client)
    }

    fn interface_allowed(&mut self, server: IpAddr, messages: &mut Vec<Message>) -> bool {
        self.tables.interface_allowed(server, messages)
    }
}
