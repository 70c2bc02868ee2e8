//! Clients come, by themselves or through a proxy.

use std::net::SocketAddr;
use std::time::Duration;

use gatepost::screen::event::Input;
use gatepost::screen::session::SessionId;

use crate::agenda::Event;
use crate::draw;
use crate::proxy;
use crate::world::{ENDS, Seat, World};

impl World {
    /// The next client comes.
    pub fn arrival(&mut self) -> Result<(), String> {
        if self.to_come == 0 {
            return Ok(());
        }
        self.to_come -= 1;
        // Now and then all go away before the next one comes.
        let idle = self.rng.chance(1) && self.rng.chance(20);
        let after = self.rng.span(0, if idle { 900_000 } else { self.pause });
        self.plan(after, Event::Arrival);

        let client = SocketAddr::new(self.address(), self.port);
        self.port = self.port.checked_add(1).unwrap_or(1024);
        let id = self.seats.insert(Seat::new(client)).ok_or("no id left")?;
        self.come += 1;
        if self.rng.chance(1) {
            let reason = "Transport endpoint is not connected";
            return self.feed(Input::Unidentified { session: id, call: "getpeername", reason });
        }
        let wait = u64::try_from(self.policy.greet_wait.normal.as_millis()).unwrap();
        if self.policy.upstream_proxy.is_none() && self.rng.chance(25) {
            let (after, words) = (self.rng.span(0, wait + 100), draw::words(&mut self.rng));
            self.plan(after, Event::Says(id, words));
        }
        if self.rng.chance(25) {
            let (after, reset) = (self.rng.span(0, wait + 3000), self.rng.chance(30));
            self.plan(after, Event::HangsUp(id, reset));
        }
        if self.rng.chance(4) {
            let after = self.rng.span(0, wait + 3000);
            self.plan(after, Event::Vanishes(id));
        }
        let server: SocketAddr = self.rng.pick(&ENDS).parse().unwrap();
        if self.policy.upstream_proxy.is_some() {
            return self.through_a_proxy(id, client, server);
        }
        self.feed(Input::Connected { session: id, client, server })
    }

    /// The same through a proxy, whose header comes in pieces, with or without words behind it.
    fn through_a_proxy(
        &mut self,
        id: SessionId,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<(), String> {
        let header = proxy::header(&mut self.rng, client, server);
        let mut bytes = header.bytes.clone();
        if self.rng.chance(10) {
            bytes.extend(draw::words(&mut self.rng));
        }
        let breaks_off = self.rng.chance(5);
        if breaks_off {
            bytes.truncate(self.rng.count(0, header.bytes.len() - 1));
        }
        self.laws.headers.insert(id, header);
        let mut after = Duration::ZERO;
        while !bytes.is_empty() {
            let rest = bytes.split_off(self.rng.count(1, bytes.len()));
            self.plan(after, Event::Says(id, bytes));
            let most = if self.rng.chance(5) { 8000 } else { 200 };
            after += self.rng.span(10, most);
            bytes = rest;
        }
        if !breaks_off && self.rng.chance(25) {
            let words = draw::words(&mut self.rng);
            after += self.rng.span(0, 5000);
            self.plan(after, Event::Says(id, words));
        }
        self.proxy = self.proxy.checked_add(1).unwrap_or(1024);
        let peer = SocketAddr::new([10, 0, 0, 9].into(), self.proxy);
        self.feed(Input::Connected { session: id, client: peer, server })
    }
}
