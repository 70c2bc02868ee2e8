//! What the resolver keeps of its look-ups. Time passes only when the bench says so; the name
//! server is a socket that is answered or not.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::ops::Range;
use std::time::{Duration, Instant};

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::{Limits, Resolver};
use gatepost::event::reactor::{Reactor, Ready, Source};
use gatepost::screen::dnsbl::answer::{Asker, ListId, Question};

use crate::count::{self, Point, heading};
use crate::numbers::v4;

const DOMAINS: [&str; 3] = ["zen.spamhaus.test", "bl.spamcop.test", "b.barracudacentral.test"];

const LISTS: u16 = 3;

/// main.cf: `postscreen_dnsbl_timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);

pub fn tell() {
    heading("By look-up, in the resolver; a client has three:");
    let mut bench = Bench::with(1, Limits::default());
    let mut asked = 0;
    count::slope_of(u32::from(LISTS), "waiting to be asked", |more| {
        bench.ask(asked..asked + more);
        asked += more;
    });
    for servers in [1, 3] {
        // No datagram waits for others.
        let mut bench = Bench::with(servers, Limits { under_way: usize::MAX, ..Limits::default() });
        let before = Point::now();
        bench.ask(0..count::FEW);
        let few = Point::now();
        let look_ups = count::FEW * u32::from(LISTS);
        count::tell(&format!("asked, no answer, {servers} servers"), before, few, look_ups);
        bench.now += TIMEOUT;
        bench.turn();
        count::tell("the same when all have given up", before, Point::now(), look_ups);
    }

    let mut bench = Bench::with(1, Limits::default());
    let before = Point::now();
    let look_ups = bench.answer_all(0..count::FEW);
    count::tell("answered, and remembered", before, Point::now(), look_ups);
    let before = Point::now();
    let look_ups = bench.answer_all(0x10_0000..0x10_0000 + count::FEW);
    count::tell("the next after them", before, Point::now(), look_ups);
}

struct Bench {
    resolver: Resolver,
    reactor: Reactor,
    ready: Vec<Ready>,
    server: UdpSocket,
    now: Instant,
    answers: u32,
}

impl Bench {
    fn with(servers: usize, limits: Limits) -> Bench {
        let reactor = Reactor::new().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let list = vec![server.local_addr().unwrap(); servers];
        let servers = Servers::default().with_list(list);
        let now = Instant::now();
        let domains = DOMAINS.map(str::to_owned).to_vec();
        let (registry, token) = (reactor.share().unwrap(), Source::dns_token);
        let resolver = Resolver::new(registry, token, servers, domains, limits, now);
        Bench { resolver, reactor, ready: Vec::with_capacity(64), server, now, answers: 0 }
    }

    fn ask(&mut self, clients: Range<u32>) {
        for client in clients {
            for list in 0..LISTS {
                let question =
                    Question { asker: Asker::Client, address: v4(client), list: ListId(list) };
                self.resolver.ask(question, self.now + TIMEOUT, self.now);
            }
        }
    }

    fn turn(&mut self) {
        self.reactor.wait(Some(Instant::now()), &mut self.ready).unwrap();
        for event in &self.ready {
            if let Source::Dns { slot, generation } = event.source {
                self.resolver.ready(slot, generation, self.now);
            }
        }
        self.resolver.expired(self.now);
        while self.resolver.take_answer().is_some() {
            self.answers += 1;
        }
    }

    /// Asks for all clients, no more at a time than the server takes, and answers.
    fn answer_all(&mut self, clients: Range<u32>) -> u32 {
        const SOME: u32 = 30;
        let before = self.answers;
        for first in clients.step_by(30) {
            let until = self.answers + SOME * u32::from(LISTS);
            self.ask(first..first + SOME);
            while self.answers < until {
                answer(&self.server);
                self.turn();
            }
        }
        self.answers - before
    }
}

/// Says of all names asked for that there is no such name, for five minutes.
fn answer(server: &UdpSocket) {
    let mut message = [0; 512];
    loop {
        let (length, from) = match server.recv_from(&mut message) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        };
        // The OPT record goes, an SOA record with short names comes.
        let end = length - 11;
        let soa = b"\xc0\x0c\0\x06\0\x01\0\0\x01\x2c\0\x16\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
        message[2] |= 0x80;
        message[3] = 0x83;
        message[9] = 1;
        message[11] = 0;
        message[end..end + soa.len()].copy_from_slice(soa);
        server.send_to(&message[..end + soa.len()], from).unwrap();
    }
}
