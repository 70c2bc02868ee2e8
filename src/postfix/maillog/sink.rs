//! The socket of the log service: opened once, kept through the jail, renewed when the
//! service was restarted.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::batch::Batch;
use crate::sys::message::{self, Patience};

/// Longest time that one record may hold up its writer, in seconds.
const SEND_LIMIT: i64 = 1;

/// Shortest time between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A way to the log service.
#[derive(Debug)]
pub struct Sink {
    /// Where the service's socket may be found; the first that answers is taken.
    paths: Vec<PathBuf>,
    channel: Option<Channel>,
    /// When a connection was last attempted.
    attempt: Option<Instant>,
    /// The last record found no room within its time: no more waiting until there is.
    clogged: bool,
}

/// What became of the records that were to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// So many are out.
    Out(usize),
    /// There is no room for the first one now.
    NoRoom,
    /// The first one cannot be sent.
    Lost,
}

#[derive(Debug)]
struct Channel {
    socket: OwnedFd,
    /// A stream, where records end with a NUL byte, instead of datagrams.
    stream: bool,
}

impl Sink {
    /// Not connected to anything, and never will be.
    pub const fn closed() -> Sink {
        Sink { paths: Vec::new(), channel: None, attempt: None, clogged: false }
    }

    /// Connects to the first of `paths` that answers. If none does, later records try again.
    pub fn open(paths: Vec<PathBuf>, now: Instant) -> Sink {
        let mut sink = Sink { paths, ..Sink::closed() };
        sink.connect(now);
        sink
    }

    /// Whether there is a connection, after an attempt to have one, if it is time for that.
    pub fn ready(&mut self, now: Instant) -> bool {
        self.channel.is_some() || self.connect(now)
    }

    /// Sends the records that `batch` begins with, as many as go at once.
    ///
    /// A service that was restarted is connected to again. A full queue is waited for, if
    /// `patience` says so, once, for a second: a log that stands still must not stop the mail.
    pub fn send(&mut self, batch: &Batch, patience: Patience, now: Instant) -> Sent {
        if !self.ready(now) {
            return Sent::Lost;
        }
        let mut result = self.transmit(batch, patience);
        if result.is_err_and(is_gone) {
            self.channel = None;
            if self.connect(now) {
                result = self.transmit(batch, patience);
            }
        }
        match result {
            Ok(count) => {
                self.clogged = false;
                Sent::Out(count)
            }
            Err(Errno::EAGAIN) if patience == Patience::None => Sent::NoRoom,
            Err(errno) => {
                // EAGAIN is a time-out here: the socket is a blocking one.
                self.clogged = errno == Errno::EAGAIN;
                Sent::Lost
            }
        }
    }

    fn connect(&mut self, now: Instant) -> bool {
        let early = |attempt| now.saturating_duration_since(attempt) < RECONNECT_PAUSE;
        if self.attempt.is_some_and(early) {
            return false;
        }
        self.attempt = Some(now);
        self.channel = self.paths.iter().find_map(|path| Channel::open(&UnixAddr::new(path).ok()?));
        self.channel.is_some()
    }

    fn transmit(&mut self, batch: &Batch, patience: Patience) -> Result<usize, Errno> {
        let Some(channel) = &self.channel else { return Err(Errno::ENOTCONN) };
        let patience = if self.clogged { Patience::None } else { patience };
        channel.send(batch, patience)
    }
}

impl Channel {
    fn open(address: &UnixAddr) -> Option<Channel> {
        let attempt = |kind| -> Result<OwnedFd, Errno> {
            let socket = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
            // Before connect(2), because it holds for a stream's connect too.
            setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(SEND_LIMIT))?;
            connect(socket.as_raw_fd(), address)?;
            Ok(socket)
        };
        match attempt(SockType::Datagram) {
            Ok(socket) => Some(Channel { socket, stream: false }),
            // Some syslog daemons listen with a stream socket.
            Err(Errno::EPROTOTYPE) => {
                let socket = attempt(SockType::Stream).ok()?;
                Some(Channel { socket, stream: true })
            }
            Err(_) => None,
        }
    }

    fn send(&self, batch: &Batch, patience: Patience) -> Result<usize, Errno> {
        loop {
            let sent = if self.stream {
                self.send_over_stream(batch, patience)
            } else {
                let records =
                    batch.iter().map(|record| record.strip_suffix(&[0]).unwrap_or(record));
                message::send_many(self.socket.as_fd(), records, patience)
            };
            if sent != Err(Errno::EINTR) {
                return sent;
            }
        }
    }

    /// Sends one record with its NUL byte.
    fn send_over_stream(&self, batch: &Batch, patience: Patience) -> Result<usize, Errno> {
        let Some(record) = batch.iter().next() else { return Ok(0) };
        let mut flags = MsgFlags::MSG_NOSIGNAL;
        flags.set(MsgFlags::MSG_DONTWAIT, patience == Patience::None);
        let mut rest = record;
        while !rest.is_empty() {
            match send(self.socket.as_raw_fd(), rest, flags) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::EINTR) if rest.len() < record.len() => {}
                // The reader could not tell the rest of a record from the next one.
                Err(_) if rest.len() < record.len() => return Err(Errno::ECONNRESET),
                Err(errno) => return Err(errno),
            }
        }
        Ok(1)
    }
}

/// Whether the service at the other end went away, so that only a new connection helps.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::EPIPE)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    /// A socket file that goes away with the value.
    pub struct SocketPath(pub PathBuf);

    impl SocketPath {
        pub fn new(name: &str) -> SocketPath {
            let name = format!("gatepost-log-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::remove_file(&path).ok();
            SocketPath(path)
        }

        pub fn bind(&self) -> UnixDatagram {
            fs::remove_file(&self.0).ok();
            let socket = UnixDatagram::bind(&self.0).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        }
    }

    impl Drop for SocketPath {
        fn drop(&mut self) {
            fs::remove_file(&self.0).ok();
        }
    }

    pub fn next_record(service: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = service.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    fn send(sink: &mut Sink, text: &[u8], now: Instant) -> bool {
        let mut batch = Batch::new();
        batch.add(|out| out.extend_from_slice(text));
        sink.send(&batch, Patience::Waits, now) == Sent::Out(1)
    }

    #[test]
    fn takes_the_first_path_that_answers() {
        let path = SocketPath::new("second");
        let service = path.bind();
        let now = Instant::now();
        let mut sink = Sink::open(vec!["/nonexistent/log".into(), path.0.clone()], now);
        assert!(send(&mut sink, b"one", now));
        assert_eq!(next_record(&service).as_deref(), Some("one"));
    }

    #[test]
    fn connects_again_after_a_restart_of_the_service() {
        let path = SocketPath::new("restart");
        let start = Instant::now();
        let service = path.bind();
        let mut sink = Sink::open(vec![path.0.clone()], start);
        drop(service);
        let second = start + RECONNECT_PAUSE;
        assert!(!send(&mut sink, b"lost", second));

        let service = path.bind();
        assert!(!send(&mut sink, b"too early", second + RECONNECT_PAUSE / 2));
        assert!(send(&mut sink, b"two", second + RECONNECT_PAUSE));
        assert_eq!(next_record(&service).as_deref(), Some("two"));

        drop(service);
        let service = path.bind();
        assert!(send(&mut sink, b"three", second + 2 * RECONNECT_PAUSE));
        assert_eq!(next_record(&service).as_deref(), Some("three"));
    }

    #[test]
    fn a_full_queue_is_waited_for_once() {
        let path = SocketPath::new("full");
        let service = path.bind();
        let mut sink = Sink::open(vec![path.0.clone()], Instant::now());
        sink.clogged = true;
        while send(&mut sink, b"record", Instant::now()) {
            sink.clogged = true;
        }
        assert!(sink.clogged);
        let mut batch = Batch::new();
        batch.add(|out| out.push(b'x'));
        assert_eq!(sink.send(&batch, Patience::None, Instant::now()), Sent::NoRoom);
        let start = Instant::now();
        for _ in 0..100 {
            assert!(!send(&mut sink, b"record", start));
        }
        assert!(start.elapsed() < Duration::from_millis(500));
        next_record(&service).unwrap();
        assert!(send(&mut sink, b"record", Instant::now()));
        assert!(!sink.clogged);
    }

    #[test]
    fn stream_records_end_with_nul() {
        let path = SocketPath::new("stream");
        let service = UnixListener::bind(&path.0).unwrap();
        let now = Instant::now();
        let mut sink = Sink::open(vec![path.0.clone()], now);
        assert!(send(&mut sink, b"one", now));
        assert!(send(&mut sink, b"two", now));
        drop(sink);
        let mut received = Vec::new();
        service.accept().unwrap().0.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"one\0two\0");
    }

    #[test]
    fn works_without_any_service() {
        let now = Instant::now();
        assert!(!send(&mut Sink::closed(), b"x", now));
        assert!(!send(&mut Sink::open(vec!["/nonexistent/log".into()], now), b"x", now));
    }
}
