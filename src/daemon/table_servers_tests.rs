//! Connections to servers that are threads of the test.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::*;
use crate::event::reactor::Reactor;
use crate::postfix::remote::Generation;
use crate::postfix::table::test_files::Files;
use crate::postfix::table::{OpenOptions, TableId, Tables};

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tcp_table(5) server that answers one question of each connection. Tells its number each
/// time, once the connection is closed.
fn server(number: usize, answered: Sender<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            BufReader::new(&stream).read_line(&mut String::new()).unwrap();
            stream.write_all(b"200 found\n").unwrap();
            drop(stream);
            if answered.send(number).is_err() {
                return;
            }
        }
    });
    address
}

struct Bench {
    reactor: Reactor,
    servers: TableServers,
    table: RemoteTable,
    id: TableId,
}

impl Bench {
    fn new(addresses: Vec<SocketAddr>) -> Bench {
        let reactor = Reactor::new().unwrap();
        let settings = TableServerSettings {
            proxymap: "/nonexistent".into(),
            customs: Customs {
                proxymap: Generation::UpTo310,
                socketmap_query: None,
                socketmap_reply: 100,
            },
        };
        let servers = TableServers::new(reactor.share().unwrap(), settings);
        let server = Server::Inet { name: "host:1".into(), addresses };
        let id = Tables::new(false)
            .open("static:x", OpenOptions::EXACT, &Files::new([]), &mut Vec::new())
            .unwrap();
        Bench { reactor, servers, table: RemoteTable { server, dialect: Dialect::Tcp }, id }
    }

    /// Asks for something, and waits for the answer.
    fn ask(&mut self) -> RemoteAnswer {
        let question = RemoteQuestion { table: self.id, key: b"key".as_slice().into() };
        self.servers.ask(question, &self.table, "tcp:host:1", Instant::now());
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some((_, answer)) = self.servers.next_answer() {
                return answer;
            }
            assert!(Instant::now() < until, "no answer");
            self.turn(until);
        }
    }

    /// Takes in what has happened to connections.
    fn turn(&mut self, until: Instant) {
        let mut ready = Vec::new();
        self.reactor.wait(Some(until), &mut ready).unwrap();
        for event in ready {
            if let Source::TableServer(id) = event.source {
                self.servers.ready(id, event, Instant::now());
            }
        }
    }

    /// Waits for the server to be tired of all connections.
    fn until_closed(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.servers.connections.is_empty() {
            assert!(Instant::now() < until, "still connected");
            self.turn(until);
        }
    }
}

fn two_servers() -> (Vec<SocketAddr>, Receiver<usize>) {
    let (answered, numbers) = channel();
    (vec![server(0, answered.clone()), server(1, answered)], numbers)
}

#[test]
fn who_has_answered_is_asked_again() {
    let (addresses, numbers) = two_servers();
    let mut bench = Bench::new(addresses);
    for _ in 0..3 {
        assert_eq!(bench.ask(), RemoteAnswer::Found("found".into()));
        assert_eq!(numbers.recv_timeout(PATIENCE), Ok(0), "the first address is a good one");
        bench.until_closed();
    }
}

#[test]
fn who_cannot_be_reached_is_left_alone() {
    let (mut addresses, numbers) = two_servers();
    // Nobody listens there any more.
    addresses[0] = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut bench = Bench::new(addresses);
    for _ in 0..2 {
        assert_eq!(bench.ask(), RemoteAnswer::Found("found".into()));
        assert_eq!(numbers.recv_timeout(PATIENCE), Ok(1));
        bench.until_closed();
    }
    assert_eq!(bench.servers.servers[0].address, 1, "it was tried once");
}

/// What has come before a question is not the answer to it, even if nobody has looked yet.
#[test]
fn what_comes_before_a_question_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = Bench::new(vec![listener.local_addr().unwrap()]);
    let (said, unasked) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(_)) = lines.next() {
                stream.write_all(b"200 found\n").unwrap();
                // Later than the answer is read, sooner than the next question.
                thread::sleep(Duration::from_millis(100));
                let _ = stream.write_all(b"200 permit\n");
                if said.send(()).is_err() {
                    return;
                }
            }
        }
    });
    for _ in 0..3 {
        assert_eq!(bench.ask(), RemoteAnswer::Found("found".into()));
        unasked.recv_timeout(PATIENCE).unwrap();
        // It takes its way through the kernel, too.
        thread::sleep(Duration::from_millis(50));
    }
}

/// A connection is for one server: two tables are not told apart by anything else.
#[test]
fn each_server_gets_its_own_questions() {
    let mut bench = Bench::new(Vec::new());
    let mut servers = Vec::new();
    for text in ["one", "two"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        servers.push((text, Server::Inet { name: address.to_string(), addresses: vec![address] }));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while let Some(Ok(_)) = lines.next() {
                    let _ = stream.write_all(format!("200 {text}\n").as_bytes());
                }
            }
        });
    }
    for (text, server) in servers.iter().cycle().take(6) {
        bench.table = RemoteTable { server: server.clone(), dialect: Dialect::Tcp };
        assert_eq!(bench.ask(), RemoteAnswer::Found((*text).to_owned()));
    }
}
