//! The core with a made-up world around it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use gatepost::screen::event::{
    Access, Cached, Filtered, HandOffResult, Input, Lookup, Lookups, Now, Output, Spoken, Trust,
};
use gatepost::screen::logline::Message;
use gatepost::screen::policy::{Limits, Policy};
use gatepost::screen::screener::Screener;
use gatepost::screen::session::SessionId;
use gatepost::screen::slots::Slots;
use gatepost::screen::test_set::{CacheRecord, UnixTime};

use crate::numbers::v4;

/// Tables that are silent, and a cache that says the same of every client.
struct World {
    cached: Option<CacheRecord>,
}

impl Lookups for World {
    fn access(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<Access> {
        Lookup::Known(Access::Undecided)
    }

    fn stop_asking(&mut self, _: SessionId) {}

    fn cached(&mut self, _: IpAddr) -> Cached {
        self.cached.map_or(Cached::NotFound, Cached::Found)
    }

    fn interface_allowed(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<bool> {
        Lookup::Known(true)
    }

    fn discarded_keywords(
        &mut self,
        _: SessionId,
        _: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        Lookup::Known(None)
    }

    fn footer(&mut self, _: SessionId, _: &str, _: &mut Vec<Message>) -> Lookup<Option<String>> {
        Lookup::Known(None)
    }

    fn local_time(&mut self, _: UnixTime) -> String {
        String::new()
    }

    fn command_filter(&mut self, _: SessionId, _: &[u8], _: &mut Vec<Message>) -> Lookup<Filtered> {
        Lookup::Known(Filtered::Unchanged)
    }

    fn forbidden(&mut self, _: SessionId, _: &[u8], _: &mut Vec<Message>) -> Lookup<bool> {
        Lookup::Known(false)
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        Spoken::No
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        Trust::Anybody
    }
}

/// A core, its sessions, and the time.
pub struct Stage {
    pub screener: Screener,
    slots: Slots<()>,
    world: World,
    pub now: Now,
    /// What the last input led to.
    pub out: Vec<Output>,
    clients: u32,
}

impl Stage {
    /// Without limits on the number of sessions.
    pub fn new(mut policy: Policy) -> Stage {
        let many = 1_000_000;
        policy.limits =
            Limits { per_client: None, prefix_ipv6: 128, post_queue: many, pre_queue: many };
        let now = Now { mono: Instant::now(), wall: UnixTime(1_790_000_000) };
        Stage {
            screener: Screener::new(policy),
            slots: Slots::default(),
            world: World { cached: None },
            now,
            out: Vec::new(),
            clients: 0,
        }
    }

    /// Lets the cache know every client from now on, or none.
    pub fn cache_says(&mut self, record: Option<CacheRecord>) {
        self.world.cached = record;
    }

    pub fn feed(&mut self, input: Input<'_>) {
        self.out.clear();
        self.screener.handle(input, self.now, &mut self.world, &mut self.out);
    }

    /// A client from an address of its own.
    pub fn connect(&mut self) -> SessionId {
        self.clients = self.clients.wrapping_add(1);
        self.connect_from(v4(self.clients))
    }

    pub fn connect_from(&mut self, address: IpAddr) -> SessionId {
        let session = self.slots.insert(()).unwrap();
        let client = SocketAddr::new(address, 40_000);
        let server = SocketAddr::from(([192, 0, 2, 25], 25));
        self.feed(Input::Connected { session, client, server });
        session
    }

    /// The last client's address.
    pub fn last_address(&self) -> IpAddr {
        v4(self.clients)
    }

    pub fn wait(&mut self, time: Duration) {
        self.now.mono += time;
    }

    pub fn deadline(&mut self, session: SessionId) {
        self.feed(Input::Deadline { session });
    }

    /// smtpd(8) has taken the client.
    pub fn taken(&mut self, session: SessionId) {
        self.feed(Input::HandOff { session, result: HandOffResult::Done });
        self.slots.remove(session);
    }

    pub fn hang_up(&mut self, session: SessionId) {
        self.feed(Input::Closed { session });
        self.slots.remove(session);
    }

    pub fn says(&mut self, session: SessionId, line: &[u8]) {
        self.feed(Input::Received { session, data: line });
    }
}
