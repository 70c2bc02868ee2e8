//! What stands in for smtpd(8): takes clients that are passed, greets them and lets them go.
//!
//! One thread and no log, so that it takes as little as possible of what the server under test
//! could have.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gatepost::postfix::attr::{Scan, long, scan_lenient};
use gatepost::screen::session::SessionId;
use gatepost::screen::slots::Slots;
use gatepost::sys::receive_with_descriptor;
use mio::net::{UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, SockaddrStorage, getpeername, recv, send};

use super::reply::LineHead;
use super::{Outcome, id_of, raise_descriptor_limit, token};

const GREETING: &[u8] = b"220 mx.example.test ESMTP\r\n";
const FAREWELL: &[u8] = b"221 2.0.0 Bye\r\n";

const ATTRIBUTES: [&str; 4] = ["client_address", "client_port", "server_address", "server_port"];

/// The byte that comes with the descriptor, and the longest list.
const MESSAGE: usize = 512;

const LISTENER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);

/// Who is connected to us.
enum Peer {
    /// The screening daemon, to pass a client.
    Channel(Channel),
    /// A client that was passed.
    Client { socket: OwnedFd, line: LineHead },
}

struct Channel {
    stream: UnixStream,
    message: Vec<u8>,
    client: Option<OwnedFd>,
}

/// What a look at a channel gave.
enum Progress {
    /// There will be more.
    Waiting,
    /// A client with all that belongs to it.
    Passed(OwnedFd),
    /// Nothing: the screening daemon has thought better of it.
    Abandoned,
    /// Something else than that.
    Wrong,
}

struct Smtpd {
    poll: Poll,
    listener: UnixListener,
    peers: Slots<Peer>,
    taken: u64,
    abandoned: u64,
    wrong: u64,
}

/// Serves until SIGTERM, and prints what was taken.
pub fn run(path: &Path) -> Outcome<()> {
    let signals = gatepost::process::catch(&[Signal::SIGTERM])?;
    raise_descriptor_limit()?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut smtpd = Smtpd {
        poll: Poll::new()?,
        listener: UnixListener::bind(path)?,
        peers: Slots::default(),
        taken: 0,
        abandoned: 0,
        wrong: 0,
    };
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    let registry = smtpd.poll.registry();
    registry.register(&mut smtpd.listener, LISTENER, Interest::READABLE)?;
    registry.register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)?;
    let mut events = Events::with_capacity(512);
    loop {
        match smtpd.poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => smtpd.accept()?,
                SIGNALS => {
                    let Smtpd { taken, abandoned, wrong, .. } = smtpd;
                    println!("{{\"taken\":{taken},\"abandoned\":{abandoned},\"wrong\":{wrong}}}");
                    return Ok(());
                }
                token => smtpd.serve(id_of(token))?,
            }
        }
    }
}

impl Smtpd {
    fn accept(&mut self) -> Outcome<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            // What is to come is there already, as a rule.
            let mut channel = Channel { stream, message: Vec::new(), client: None };
            let progress = channel.receive();
            if !matches!(progress, Progress::Waiting) {
                drop(channel);
                self.conclude(progress)?;
                continue;
            }
            let id = self.peers.insert(Peer::Channel(channel)).ok_or("too many peers")?;
            if let Some(Peer::Channel(channel)) = self.peers.get_mut(id) {
                let stream = &mut channel.stream;
                self.poll.registry().register(stream, token(id), Interest::READABLE)?;
            }
        }
    }

    fn serve(&mut self, id: SessionId) -> Outcome<()> {
        let progress = match self.peers.get_mut(id) {
            None => return Ok(()),
            Some(Peer::Client { socket, line }) => {
                if is_over(socket, line) {
                    self.peers.remove(id);
                }
                return Ok(());
            }
            Some(Peer::Channel(channel)) => channel.receive(),
        };
        if matches!(progress, Progress::Waiting) {
            return Ok(());
        }
        self.peers.remove(id);
        self.conclude(progress)
    }

    /// With the channel closed.
    fn conclude(&mut self, progress: Progress) -> Outcome<()> {
        match progress {
            Progress::Waiting => {}
            Progress::Passed(client) => self.greet(client)?,
            Progress::Abandoned => self.abandoned += 1,
            Progress::Wrong => self.wrong += 1,
        }
        Ok(())
    }

    fn greet(&mut self, client: OwnedFd) -> Outcome<()> {
        self.taken += 1;
        // A client that has gone is seen by the first read.
        let _ = say(&client, GREETING, MsgFlags::empty());
        let number = client.as_raw_fd();
        let id = self.peers.insert(Peer::Client { socket: client, line: LineHead::default() });
        let id = id.ok_or("too many peers")?;
        let registry = self.poll.registry();
        Ok(registry.register(&mut SourceFd(&number), token(id), Interest::READABLE)?)
    }
}

impl Channel {
    fn receive(&mut self) -> Progress {
        loop {
            let mut buffer = [0; MESSAGE];
            let length = if self.client.is_none() {
                match receive_with_descriptor(self.stream.as_fd(), &mut buffer) {
                    Ok((length, client)) => {
                        self.client = client;
                        length
                    }
                    Err(Errno::EAGAIN) => return Progress::Waiting,
                    Err(Errno::EINTR) => continue,
                    Err(_) => return Progress::Wrong,
                }
            } else {
                match self.stream.read(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Progress::Waiting;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => return Progress::Wrong,
                }
            };
            if length == 0 && self.message.is_empty() && self.client.is_none() {
                return Progress::Abandoned;
            }
            if length == 0 || self.client.is_none() {
                return Progress::Wrong;
            }
            self.message.extend(buffer.get(..length).unwrap_or_default());
            let list = self.message.get(1..).unwrap_or_default();
            if let Scan::Complete { values, .. } = scan_lenient(list, ATTRIBUTES) {
                let client = self.client.take();
                return match client.filter(|client| is_whose(client, values)) {
                    Some(client) => Progress::Passed(client),
                    None => Progress::Wrong,
                };
            }
        }
    }
}

/// Whether nothing is missing, and the socket is that of the client that is named.
fn is_whose(client: &OwnedFd, values: [Option<&[u8]>; 4]) -> bool {
    let [Some(address), Some(port), Some(_), Some(_)] = values else { return false };
    let text = std::str::from_utf8(address).unwrap_or_default();
    let Ok(address) = text.parse() else { return false };
    let Ok(port) = long(port) else { return false };
    let named = u16::try_from(port).map(|port| SocketAddr::new(address, port));
    let peer = getpeername::<SockaddrStorage>(client.as_raw_fd());
    let peer = peer.ok().and_then(|peer| {
        let v4 = peer.as_sockaddr_in().map(|peer| SocketAddr::V4((*peer).into()));
        v4.or_else(|| peer.as_sockaddr_in6().map(|peer| SocketAddr::V6((*peer).into())))
    });
    // A client that has gone has no address any more.
    peer.is_none() || named.ok() == peer
}

/// Takes what a client says. `true`: it has said that it leaves, or has gone.
fn is_over(client: &OwnedFd, line: &mut LineHead) -> bool {
    // The socket may be a blocking one: that is up to who has passed it.
    loop {
        let mut buffer = [0; 512];
        match recv(client.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return true,
            Ok(length) => {
                for &byte in buffer.get(..length).unwrap_or_default() {
                    if line.take(byte).is_some_and(|verb| verb.eq_ignore_ascii_case(b"QUIT")) {
                        // In one packet with the end that follows.
                        let _ = say(client, FAREWELL, MsgFlags::from_bits_retain(libc::MSG_MORE));
                        return true;
                    }
                }
            }
            Err(Errno::EAGAIN) => return false,
            Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}

fn say(client: &OwnedFd, text: &[u8], flags: MsgFlags) -> nix::Result<usize> {
    send(client.as_raw_fd(), text, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL | flags)
}
