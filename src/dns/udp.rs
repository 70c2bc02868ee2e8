//! One connected UDP socket, and the questions that are out on it.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::Message;
use mio::net::UdpSocket;
use nix::errno::Errno;

use super::LookupId;

/// A socket is used for so many questions, and then another one, with another port.
const MOST_USES: u32 = 500;

/// A socket is used for so long.
const MOST_AGE: Duration = Duration::from_secs(60);

/// A socket that was not used for so long is closed.
const MOST_IDLE: Duration = Duration::from_secs(20);

/// A socket that has heard so many messages that answer nothing is used no more: somebody is
/// guessing ids, and knows the port.
const MOST_STRANGE: u32 = 50;

/// How long an id stays reserved: a late or second answer must not meet another question.
const QUARANTINE: Duration = Duration::from_secs(10);

/// In the place of a look-up that waits for its answer: the last one of all is never given out.
const NOBODY: LookupId = LookupId { slot: u32::MAX, generation: 0 };

/// A socket that is connected to one server: the kernel drops what others send, and tells of
/// "connection refused".
#[derive(Debug)]
pub(super) struct Udp {
    /// The socket.
    pub socket: UdpSocket,
    /// The number of its server.
    pub server: usize,
    opened: Instant,
    last_use: Instant,
    uses: u32,
    strange: u32,
    /// Whose questions have these ids, or [`NOBODY`]'s any more.
    ids: HashMap<u16, LookupId>,
    /// How many of `ids` wait for an answer.
    open: usize,
    /// The others, in the order in which they become free, and when that is: in tenths of a
    /// second since the socket was opened.
    quarantine: VecDeque<(u16, u16)>,
}

/// What a socket has to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// So many bytes, about this id of this look-up.
    Message(usize, u16, LookupId),
    /// An answer that nobody waits for any more.
    Late,
    /// Something that answers nothing.
    Strange,
    /// The server's host refuses, or cannot be reached.
    Refused,
    /// Nothing now.
    Nothing,
}

impl Udp {
    /// Opens a socket with a random port, chosen by the kernel.
    pub fn open(server: usize, address: SocketAddr, now: Instant) -> io::Result<Udp> {
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        Ok(Udp {
            socket,
            server,
            opened: now,
            last_use: now,
            uses: 0,
            strange: 0,
            ids: HashMap::new(),
            open: 0,
            quarantine: VecDeque::new(),
        })
    }

    /// Whether new questions may go out here.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.uses < MOST_USES
            && self.strange < MOST_STRANGE
            && now.saturating_duration_since(self.opened) < MOST_AGE
    }

    /// Whether the socket can be closed.
    pub fn is_useless(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.last_use) >= MOST_IDLE;
        self.open == 0 && (idle || !self.is_fresh(now))
    }

    /// How many questions wait for an answer.
    pub fn open_questions(&self) -> usize {
        self.open
    }

    /// Gives out an id that no other question on this socket has or had lately.
    pub fn give_id(&mut self, lookup: LookupId, now: Instant) -> Option<u16> {
        let tenths = self.tenths(now);
        while let Some((until, id)) = self.quarantine.front()
            && *until <= tenths
        {
            self.ids.remove(id);
            self.quarantine.pop_front();
        }
        // Next to all ids are free: a socket is used for some hundred questions.
        let id = (0..64).map(|_| random_id()).find(|id| !self.ids.contains_key(id))?;
        self.ids.insert(id, lookup);
        self.open += 1;
        self.uses += 1;
        self.last_use = now;
        Some(id)
    }

    /// No answer to the question with this id is wanted any more, perhaps as one has come.
    pub fn close_question(&mut self, id: u16, now: Instant) {
        let until = self.tenths(now + QUARANTINE).saturating_add(1);
        if let Some(lookup) = self.ids.get_mut(&id)
            && *lookup != NOBODY
        {
            *lookup = NOBODY;
            self.open -= 1;
            self.quarantine.push_back((until, id));
        }
    }

    /// Tenths of a second since the socket was opened, rounded down. It is not in use for
    /// nearly as long as there are numbers for.
    fn tenths(&self, at: Instant) -> u16 {
        let age = at.saturating_duration_since(self.opened);
        u16::try_from(age.as_millis() / 100).unwrap_or(u16::MAX)
    }

    /// The look-ups that wait for an answer.
    pub fn waiting(&self) -> impl Iterator<Item = LookupId> {
        self.ids.values().copied().filter(|lookup| *lookup != NOBODY)
    }

    /// A message that was not ours.
    pub fn note_strange(&mut self) {
        self.strange = self.strange.saturating_add(1);
    }

    /// Sends. A full buffer is as good as a lost datagram. Fails when the server cannot be
    /// reached.
    pub fn send(&mut self, message: &[u8], now: Instant) -> io::Result<()> {
        self.last_use = now;
        let mut first = true;
        loop {
            let Err(error) = self.socket.send(message) else { return Ok(()) };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINTR) => {}
                Some(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => return Ok(()),
                // The kernel tells, once, what became of an older datagram. It will tell of
                // this one as well, and then all who wait on this socket hear of it.
                Some(Errno::ECONNREFUSED) if first => first = false,
                _ => return Err(error),
            }
        }
    }

    /// Takes one datagram.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Heard {
        let length = loop {
            match self.socket.recv(buffer) {
                Ok(length) => break length,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return Heard::Nothing,
                    _ => return Heard::Refused,
                },
            }
        };
        let id = match buffer.get(..length) {
            Some([high, low, ..]) => u16::from_be_bytes([*high, *low]),
            _ => return Heard::Strange,
        };
        match self.ids.get(&id) {
            Some(&NOBODY) => Heard::Late,
            Some(lookup) => Heard::Message(length, id, *lookup),
            None => Heard::Strange,
        }
    }
}

/// An unpredictable number: hickory takes ids from a generator for cryptography that is
/// seeded by the kernel. Only after the last fork: a child would go on with the same numbers.
pub(super) fn random_id() -> u16 {
    Message::query().metadata.id
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn lookup(slot: u32) -> LookupId {
        LookupId { slot, generation: 1 }
    }

    fn open(now: Instant) -> (Udp, std::net::UdpSocket) {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        (Udp::open(0, server.local_addr().unwrap(), now).unwrap(), server)
    }

    #[test]
    fn ids_are_all_different_and_in_no_order() {
        let now = Instant::now();
        let (mut udp, _server) = open(now);
        let ids: Vec<u16> = (0..2000).map(|n| udp.give_id(lookup(n), now).unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 2000);
        assert!(!ids.is_sorted());
        // Every bit takes both values.
        assert_eq!(ids.iter().fold(0, |all, id| all | id), u16::MAX);
        assert_eq!(ids.iter().fold(u16::MAX, |all, id| all & id), 0);
    }

    #[test]
    fn an_id_is_not_used_again_at_once() {
        let now = Instant::now();
        let (mut udp, _server) = open(now);
        let id = udp.give_id(lookup(0), now).unwrap();
        udp.close_question(id, now);
        udp.close_question(id, now);
        assert_eq!(udp.open_questions(), 0);
        // All ids but one are in use, and that one is in quarantine.
        for other in 0..=u16::MAX {
            udp.ids.entry(other).or_insert(lookup(1));
        }
        assert_eq!(udp.give_id(lookup(2), now + QUARANTINE - Duration::from_millis(1)), None);
        assert!(udp.ids.contains_key(&id));
        let _ = udp.give_id(lookup(2), now + QUARANTINE + Duration::from_millis(200));
        assert_ne!(udp.ids.get(&id), Some(&NOBODY));
    }

    #[test]
    fn sockets_wear_out() {
        let now = Instant::now();
        let (mut udp, _server) = open(now);
        assert!(udp.is_fresh(now));
        assert!(!udp.is_useless(now));
        assert!(udp.is_useless(now + MOST_IDLE));
        assert!(!udp.is_fresh(now + MOST_AGE));
        for n in 0..MOST_USES {
            assert!(udp.is_fresh(now));
            let id = udp.give_id(lookup(n), now).unwrap();
            if n != 0 {
                udp.close_question(id, now);
            }
        }
        assert!(!udp.is_fresh(now));
        // One answer is still to come.
        assert!(!udp.is_useless(now + MOST_IDLE));
        let (mut udp, _server) = open(now);
        for _ in 0..MOST_STRANGE {
            assert!(udp.is_fresh(now));
            udp.note_strange();
        }
        assert!(udp.is_useless(now));
    }

    #[test]
    fn only_the_server_is_heard_and_only_with_a_known_id() {
        let now = Instant::now();
        let (mut udp, server) = open(now);
        let mut buffer = [0; 64];
        assert_eq!(udp.receive(&mut buffer), Heard::Nothing);
        let id = udp.give_id(lookup(7), now).unwrap();
        udp.send(&id.to_be_bytes(), now).unwrap();
        let (_, us) = server.recv_from(&mut buffer).unwrap();
        let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(&id.to_be_bytes(), us).unwrap();
        server.send_to(&(id ^ 1).to_be_bytes(), us).unwrap();
        server.send_to(&[], us).unwrap();
        server.send_to(&id.to_be_bytes(), us).unwrap();
        assert_eq!(udp.receive(&mut buffer), Heard::Strange);
        assert_eq!(udp.receive(&mut buffer), Heard::Strange);
        assert_eq!(udp.receive(&mut buffer), Heard::Message(2, id, lookup(7)));
        assert_eq!(udp.receive(&mut buffer), Heard::Nothing);
        udp.close_question(id, now);
        server.send_to(&id.to_be_bytes(), us).unwrap();
        assert_eq!(udp.receive(&mut buffer), Heard::Late);
    }

    #[test]
    fn a_server_that_is_gone_refuses() {
        let now = Instant::now();
        let (mut udp, server) = open(now);
        drop(server);
        udp.send(b"xx", now).unwrap();
        assert_eq!(udp.receive(&mut [0; 64]), Heard::Refused);
        // What is told of the first hides neither the second nor what is told of that.
        udp.send(b"xx", now).unwrap();
        udp.send(b"xx", now).unwrap();
        assert_eq!(udp.receive(&mut [0; 64]), Heard::Refused);
        assert_eq!(udp.receive(&mut [0; 64]), Heard::Nothing);
    }
}
