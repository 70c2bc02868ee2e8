//! Everything at random: questions, faults, cancelled look-ups, lost servers, time. Whatever
//! happens, each question gets one answer, no lie is believed, and nothing is left over.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::Limits;
use gatepost::screen::dnsbl::answer::{Answer, Asker, ListId, Question};

use crate::bench::{Bench, DOMAINS};
use crate::name_server::message::Record;
use crate::name_server::{FORMERR, NameServer, REFUSED, SERVFAIL, Script, Stream};

const CLIENTS: u8 = 40;
const STEPS: usize = 150;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end
    }

    fn question(&mut self) -> Question {
        let last = u8::try_from(self.below(usize::from(CLIENTS))).unwrap();
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        let list = ListId(u16::try_from(self.below(DOMAINS.len())).unwrap());
        let asker = if self.below(10) == 0 { Asker::TestPoint } else { Asker::Client };
        Question { asker, address, list }
    }

    fn script(&mut self, name: &str) -> Script {
        let yes = || Script::Listed(vec![Ipv4Addr::new(127, 0, 0, 2)], 30);
        let alias = |target: &str| Script::Records(vec![Record::cname(name, target, 30)]);
        let first = match self.below(20) {
            0 => Script::Nxdomain(Some((30, 30))),
            1 => Script::Nodata(None),
            2 => Script::Code(SERVFAIL),
            3 => Script::Code(REFUSED),
            4 => Script::WithEdns(FORMERR, Box::new(yes())),
            5 => Script::Silence,
            6 => Script::Garbage(vec![0xa5; 77]),
            7 => Script::Delay(Duration::from_millis(20), Box::new(yes())),
            8 => Script::Hold(Box::new(yes())),
            9 => Script::Times(3, Box::new(yes())),
            10 => Script::WrongId(Box::new(yes())),
            11 => Script::WrongQuestion(Box::new(Script::Silence)),
            12 => Script::Forged(Box::new(Script::Nxdomain(None))),
            13 => Script::Truncated(Stream::Answer(Box::new(yes()))),
            14 => Script::Truncated(Stream::Nothing),
            15 => Script::Truncated(Stream::Bytes(vec![1, 2, 3])),
            16 => alias("listed.test"),
            17 => alias(name),
            _ => yes(),
        };
        match self.below(4) {
            0 => Script::FirstThen(1, Box::new(Script::Silence), Box::new(first)),
            1 if !matches!(first, Script::Truncated(_)) => {
                Script::FirstThen(1, Box::new(first), Box::new(yes()))
            }
            _ => first,
        }
    }

    fn server(&mut self) -> NameServer {
        let server = NameServer::start();
        for domain in DOMAINS {
            for last in 0..CLIENTS {
                let name = format!("{last}.2.0.192.{domain}");
                server.script(&name, self.script(&name));
            }
        }
        server.script("listed.test", Script::Listed(vec![Ipv4Addr::new(127, 0, 0, 2)], 30));
        server
    }
}

fn take_answers(bench: &mut Bench, waiting: &mut HashSet<Question>) {
    while let Some((question, answer)) = bench.resolver.take_answer() {
        assert!(waiting.remove(&question), "nobody waits for {question:?}");
        if let Answer::Listed { addresses, .. } = &answer {
            assert_eq!(**addresses, [Ipv4Addr::new(127, 0, 0, 2)], "a lie was believed");
        }
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut servers: Vec<NameServer> = (0..1 + random.below(3)).map(|_| random.server()).collect();
    let list = |servers: &[NameServer]| servers.iter().map(NameServer::address).collect();
    let limits = Limits {
        under_way: 1 + random.below(20),
        sockets: 116,
        connections: random.below(3),
        answers: 20,
        mixed_case: random.below(2) == 0,
    };
    let mut bench = Bench::with(Servers::default().with_list(list(&servers)), limits);
    let mut waiting = HashSet::new();
    for _ in 0..STEPS {
        match random.below(12) {
            0..=4 => {
                let question = random.question();
                let time = Duration::from_millis(random.below(20_000).try_into().unwrap());
                bench.ask_within(question, time);
                waiting.insert(question);
            }
            5 => {
                let question = random.question();
                let now = bench.now();
                bench.resolver.cancel(question, now);
                waiting.remove(&question);
            }
            6 | 7 => bench.skip(Duration::from_millis(random.below(1500).try_into().unwrap())),
            8 => servers.iter().for_each(NameServer::release),
            9 if random.below(8) == 0 => {
                let gone = random.below(servers.len());
                let address = servers.remove(gone).stop();
                bench.turn();
                let again = NameServer::start_at(address);
                again.otherwise(Script::Listed(vec![Ipv4Addr::new(127, 0, 0, 2)], 30));
                servers.insert(gone, again);
            }
            10 if random.below(8) == 0 => {
                servers.rotate_left(1);
                let now = bench.now();
                let servers = Servers::default().with_list(list(&servers));
                bench.resolver.reconfigure(servers, now);
            }
            _ => bench.turn(),
        }
        take_answers(&mut bench, &mut waiting);
        assert!(bench.resolver.datagrams_under_way() <= limits.under_way);
    }
    // Time heals all.
    for _ in 0..400 {
        if waiting.is_empty() {
            break;
        }
        bench.skip(Duration::from_millis(100));
        take_answers(&mut bench, &mut waiting);
    }
    assert!(waiting.is_empty(), "{waiting:?} {:?}", bench.resolver);
    assert_eq!(bench.resolver.open_lookups(), 0);
    assert_eq!(bench.resolver.datagrams_under_way(), 0);
    for _ in 0..10 {
        bench.skip(Duration::from_secs(10));
    }
    assert_eq!(bench.resolver.open_sockets(), 0);
    assert_eq!(bench.resolver.next_deadline(), None);
}

#[test]
fn nothing_is_lost_or_left() {
    for seed in 1..=20_u64 {
        let result = std::panic::catch_unwind(|| run(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        if let Err(panic) = result {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
