//! A name server that does what a test tells it: answers over UDP and TCP, with all the
//! faults that name servers have. Needs nothing but the standard library.

#![allow(dead_code, reason = "not every test needs everything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; clippy exempts only functions marked as tests"
)]

pub mod message;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use message::{Query, Record, Reply};

pub const FORMERR: u8 = 1;
pub const SERVFAIL: u8 = 2;
pub const NXDOMAIN: u8 = 3;
pub const NOTIMP: u8 = 4;
pub const REFUSED: u8 = 5;

/// How often a thread looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(5);

/// What happens to a question.
#[derive(Clone, Debug)]
pub enum Script {
    /// The name has these addresses, with this time to live.
    Listed(Vec<Ipv4Addr>, u32),
    /// There is no such name; the SOA record has this time to live and this minimum.
    Nxdomain(Option<(u32, u32)>),
    /// The name has no address.
    Nodata(Option<(u32, u32)>),
    /// An answer section of any records.
    Records(Vec<Record>),
    /// An error.
    Code(u8),
    /// An error to those who use EDNS.
    WithEdns(u8, Box<Script>),
    /// Nothing.
    Silence,
    /// Bytes.
    Garbage(Vec<u8>),
    /// After a while.
    Delay(Duration, Box<Script>),
    /// The first so many times the one, then the other.
    FirstThen(usize, Box<Script>, Box<Script>),
    /// When [`NameServer::release`] is called, the last question first; over UDP.
    Hold(Box<Script>),
    /// So many times.
    Times(usize, Box<Script>),
    /// After a lie with another id.
    WrongId(Box<Script>),
    /// After a lie about another name.
    WrongQuestion(Box<Script>),
    /// After a lie from another address and one from another port.
    Forged(Box<Script>),
    /// Cut off over UDP; over TCP, this.
    Truncated(Stream),
    /// The question's letters in lower case.
    LowerCase(Box<Script>),
}

/// What happens over TCP.
#[derive(Clone, Debug)]
pub enum Stream {
    /// An answer.
    Answer(Box<Script>),
    /// These bytes instead of length and message, and the end.
    Bytes(Vec<u8>),
    /// The connection stays open, and nothing comes.
    Nothing,
    /// Byte by byte.
    Slowly(Box<Script>),
}

/// A question that came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// In lower case.
    pub name: String,
    /// As it came.
    pub written: String,
    pub id: u16,
    pub edns: bool,
    pub tcp: bool,
    pub from: SocketAddr,
}

/// A running server; ends when dropped.
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, Script>,
    otherwise: Option<Script>,
    asked: Vec<Asked>,
    /// How often each name was asked for.
    counts: HashMap<String, usize>,
    /// What is to be sent, and when.
    later: Vec<(Instant, SocketAddr, Vec<u8>)>,
    held: Vec<(SocketAddr, Vec<u8>)>,
    ending: bool,
}

impl NameServer {
    /// On a free port of 127.0.0.1, UDP and TCP.
    pub fn start() -> NameServer {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                return NameServer::run(udp, Some(tcp));
            }
        }
    }

    /// As [`NameServer::start`], but connections are refused.
    pub fn start_without_tcp() -> NameServer {
        NameServer::run(UdpSocket::bind("127.0.0.1:0").unwrap(), None)
    }

    /// On this address, which a server had that has ended.
    pub fn start_at(address: SocketAddr) -> NameServer {
        let udp = UdpSocket::bind(address).unwrap();
        NameServer::run(udp, TcpListener::bind(address).ok())
    }

    fn run(udp: UdpSocket, tcp: Option<TcpListener>) -> NameServer {
        let address = udp.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let mut threads = vec![std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve_udp(&udp, &shared)
        })];
        if let Some(tcp) = tcp {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || serve_tcp(&tcp, &shared)));
        }
        NameServer { address, shared, threads }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens to questions for this name.
    pub fn script(&self, name: &str, script: Script) {
        self.state(|state| state.scripts.insert(name.to_ascii_lowercase(), script));
    }

    /// What happens to all other questions; at first there are no such names.
    pub fn otherwise(&self, script: Script) {
        self.state(|state| state.otherwise = Some(script));
    }

    /// All questions so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state(|state| state.asked.clone())
    }

    /// How many questions came so far.
    pub fn count(&self) -> usize {
        self.state(|state| state.asked.len())
    }

    /// Waits until so many questions have come.
    pub fn wait_for(&self, count: usize) {
        let patience = Duration::from_secs(20);
        let state = self.shared.state.lock().unwrap();
        let few = |state: &mut State| state.asked.len() < count;
        let (state, result) = self.shared.changed.wait_timeout_while(state, patience, few).unwrap();
        assert!(!result.timed_out(), "{} questions instead of {count}", state.asked.len());
    }

    /// Sends what was held, the last first.
    pub fn release(&self) {
        self.state(|state| {
            let now = Instant::now();
            while let Some((to, message)) = state.held.pop() {
                state.later.push((now, to, message));
            }
        });
    }

    /// Ends: the ports are closed afterwards.
    pub fn stop(self) -> SocketAddr {
        self.address
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.shared.state.lock().unwrap())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.state(|state| state.ending = true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    socket.set_read_timeout(Some(GLANCE)).unwrap();
    let mut buffer = [0; 2048];
    loop {
        let received = socket.recv_from(&mut buffer);
        let mut state = shared.state.lock().unwrap();
        if state.ending {
            return;
        }
        match received {
            Ok((length, from)) => {
                if let Some(query) = Query::parse(&buffer[..length]) {
                    let script = state.note(&query, from, false);
                    shared.changed.notify_all();
                    perform(&script, &query, from, &mut state);
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused => {}
                other => panic!("{other}"),
            },
        }
        let now = Instant::now();
        let (due, later) = state.later.drain(..).partition(|(at, ..)| *at <= now);
        state.later = later;
        drop(state);
        let due: Vec<(Instant, SocketAddr, Vec<u8>)> = due;
        for (_, to, message) in due {
            let _ = socket.send_to(&message, to);
        }
    }
}

impl State {
    /// Remembers the question, and says what is to be done about it.
    fn note(&mut self, query: &Query, from: SocketAddr, tcp: bool) -> Script {
        let name = query.name.to_ascii_lowercase();
        self.asked.push(Asked {
            name: name.clone(),
            written: query.name.clone(),
            id: query.id,
            edns: query.edns,
            tcp,
            from,
        });
        let count = self.counts.entry(name.clone()).or_default();
        *count += 1;
        let script = self.scripts.get(&name).or(self.otherwise.as_ref());
        let mut script = script.unwrap_or(&Script::Nxdomain(Some((60, 60)))).clone();
        let mut before = 0;
        while let Script::FirstThen(times, first, then) = script {
            before += times;
            script = if *count <= before { *first } else { *then };
        }
        script
    }
}

/// Does what a script says, over UDP.
fn perform(script: &Script, query: &Query, to: SocketAddr, state: &mut State) {
    let lie = Reply::new(query).records(&[Record::a(&query.name, "127.66.66.66", 9999)]);
    let mut send = |message: Vec<u8>| state.later.push((Instant::now(), to, message));
    match script {
        Script::Silence => {}
        Script::Garbage(bytes) => send(bytes.clone()),
        Script::Times(times, script) => {
            for _ in 0..*times {
                perform(script, query, to, state);
            }
        }
        Script::WithEdns(code, _) if query.edns => send(Reply::new(query).code(*code).encode()),
        Script::WithEdns(_, script) => perform(script, query, to, state),
        Script::Delay(time, script) => {
            let before = state.later.len();
            perform(script, query, to, state);
            for (at, ..) in &mut state.later[before..] {
                *at += *time;
            }
        }
        Script::Hold(script) => {
            let before = state.later.len();
            perform(script, query, to, state);
            let held = state.later.drain(before..).map(|(_, to, message)| (to, message));
            state.held.extend(held);
        }
        Script::WrongId(script) => {
            send(lie.id(query.id.wrapping_add(1)).encode());
            perform(script, query, to, state);
        }
        Script::WrongQuestion(script) => {
            send(lie.question("x.other.test").encode());
            perform(script, query, to, state);
        }
        Script::Forged(script) => {
            for from in ["127.0.0.1:0", "127.0.0.9:0"] {
                let forger = UdpSocket::bind(from).unwrap();
                // The client's kernel may refuse it.
                let _ = forger.send_to(&lie.clone().encode(), to);
            }
            perform(script, query, to, state);
        }
        Script::LowerCase(script) => {
            let query = Query { name: query.name.to_ascii_lowercase(), ..query.clone() };
            perform(script, &query, to, state);
        }
        Script::Truncated(_) => send(Reply::new(query).truncated().encode()),
        Script::FirstThen(..) => panic!("FirstThen must be the outermost"),
        Script::Listed(..)
        | Script::Nxdomain(_)
        | Script::Nodata(_)
        | Script::Records(_)
        | Script::Code(_) => send(plain(script, query)),
    }
}

/// The message for a script that needs no more than one.
fn plain(script: &Script, query: &Query) -> Vec<u8> {
    let reply = Reply::new(query);
    match script {
        Script::Listed(addresses, ttl) => {
            let record = |a: &Ipv4Addr| Record::a(&query.name, &a.to_string(), *ttl);
            reply.records(&addresses.iter().map(record).collect::<Vec<_>>())
        }
        Script::Nxdomain(soa) => reply.code(NXDOMAIN).soa(*soa),
        Script::Nodata(soa) => reply.soa(*soa),
        Script::Records(records) => reply.records(records),
        Script::Code(code) => reply.code(*code),
        other => panic!("not over TCP: {other:?}"),
    }
    .encode()
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    listener.set_nonblocking(true).unwrap();
    let mut threads = Vec::new();
    while !shared.state.lock().unwrap().ending {
        match listener.accept() {
            Ok((stream, from)) => {
                let shared = Arc::clone(shared);
                threads.push(std::thread::spawn(move || converse(stream, from, &shared)));
            }
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// One connection.
fn converse(mut stream: TcpStream, from: SocketAddr, shared: &Shared) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut length = [0; 2];
    if stream.read_exact(&mut length).is_err() {
        return;
    }
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    if stream.read_exact(&mut question).is_err() {
        return;
    }
    let Some(query) = Query::parse(&question) else { return };
    let script = shared.state.lock().unwrap().note(&query, from, true);
    shared.changed.notify_all();
    let script = match script {
        Script::Truncated(script) => script,
        Script::Hold(held) => match *held {
            Script::Truncated(script) => script,
            other => panic!("TCP, for {other:?}"),
        },
        other => panic!("TCP, for {other:?}"),
    };
    let framed = |script: &Script| {
        let message = plain(script, &query);
        let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
        bytes.extend(message);
        bytes
    };
    // The client may hang up at any time.
    match script {
        Stream::Answer(script) => {
            let _ = stream.write_all(&framed(&script));
        }
        Stream::Bytes(bytes) => {
            let _ = stream.write_all(&bytes);
        }
        Stream::Slowly(script) => {
            for byte in framed(&script) {
                let _ = stream.set_nodelay(true);
                let _ = stream.write_all(&[byte]);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Stream::Nothing => {
            while !shared.state.lock().unwrap().ending {
                std::thread::sleep(GLANCE);
            }
        }
    }
}
