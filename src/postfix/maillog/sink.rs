//! The socket of the log service: opened once, kept through the jail, renewed when the
//! service was restarted. Nothing here waits unless it is asked to.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, send, socket,
    sockopt,
};

use super::batch::Batch;
use crate::sys::message;

/// Shortest time between two attempts to connect.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// A socket that has had no room for so long may be one that nobody will ever read again:
/// there may be another one in its place.
const STUCK_LIMIT: Duration = Duration::from_secs(1);

/// A way to the log service.
#[derive(Debug)]
pub struct Sink {
    /// Where the service's socket may be found; the first that answers is taken.
    paths: Vec<PathBuf>,
    channel: Option<Channel>,
    /// When a connection was last attempted.
    attempt: Option<Instant>,
    /// Since when the service has had no room.
    stuck: Option<Instant>,
    /// An attempt has failed that nobody was told of.
    cry: bool,
}

/// What became of the records that were to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// So many are out.
    Out(usize),
    /// The service is away, or has no room for the first one now.
    NotNow,
    /// The first one can never be sent.
    Never,
}

#[derive(Debug)]
struct Channel {
    socket: OwnedFd,
    /// A stream, where records end with a NUL byte, instead of datagrams.
    stream: bool,
    /// How much of the next record is out, in a stream.
    begun: usize,
}

impl Sink {
    /// Not connected to anything, and never will be.
    pub const fn closed() -> Sink {
        Sink { paths: Vec::new(), channel: None, attempt: None, stuck: None, cry: false }
    }

    /// Connects to the first of `paths` that answers. If none does, later records try again.
    pub fn open(paths: Vec<PathBuf>, now: Instant) -> Sink {
        let mut sink = Sink { paths, ..Sink::closed() };
        sink.connect(now);
        sink
    }

    /// Another connection to the same service, for somebody who cannot make one.
    pub fn another(&self) -> Option<OwnedFd> {
        self.look_for().map(|channel| channel.socket)
    }

    /// Takes a connection that somebody else has made, unless there is one that works.
    pub fn adopt(&mut self, socket: OwnedFd) {
        if self.channel.is_none() || self.stuck.is_some() {
            let stream = getsockopt(&socket, sockopt::SockType) == Ok(SockType::Stream);
            self.use_channel(Channel { socket, stream, begun: 0 });
        }
    }

    /// Whether an attempt to connect has failed since the last time that this was asked.
    pub fn take_cry(&mut self) -> bool {
        std::mem::take(&mut self.cry)
    }

    /// Whether there is a connection, after an attempt to have one, if it is time for that.
    pub fn ready(&mut self, now: Instant) -> bool {
        self.channel.is_some() || self.connect(now)
    }

    /// Whether a part of the next record is out.
    pub fn is_midway(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.begun > 0)
    }

    /// The next record will not be sent, or not in the same words.
    pub fn forget_record(&mut self) {
        // The reader could not tell the rest of one record from another.
        if self.is_midway() {
            self.channel = None;
        }
    }

    /// Sends the records that `batch` begins with, as many as go at once. A service that was
    /// restarted is connected to again.
    pub fn send(&mut self, batch: &Batch, now: Instant) -> Sent {
        if !self.ready(now) {
            return Sent::NotNow;
        }
        let mut result = self.transmit(batch);
        if result.is_err_and(is_gone) {
            self.channel = None;
            self.stuck = None;
            if !self.connect(now) {
                return Sent::NotNow;
            }
            result = self.transmit(batch);
        }
        if result.is_err_and(is_full) {
            let since = *self.stuck.get_or_insert(now);
            let is_long = now.saturating_duration_since(since) >= STUCK_LIMIT;
            if is_long && self.connect(now) {
                result = self.transmit(batch);
            }
        }
        match result {
            Ok(count) => {
                self.stuck = None;
                Sent::Out(count)
            }
            Err(errno) if is_full(errno) || is_gone(errno) => Sent::NotNow,
            Err(_) => Sent::Never,
        }
    }

    /// Waits until the service has room, or something else is to be learned by another attempt
    /// to send. Whether that came within the time.
    pub fn wait_for_room(&self, limit: Duration) -> bool {
        let Some(channel) = &self.channel else { return false };
        let mut descriptors = [PollFd::new(channel.socket.as_fd(), PollFlags::POLLOUT)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        match poll(&mut descriptors, limit) {
            Ok(count) => count > 0,
            Err(errno) => errno == Errno::EINTR,
        }
    }

    /// A new connection takes the place of the one there is, if there is somebody to connect to.
    fn connect(&mut self, now: Instant) -> bool {
        let early = |attempt| now.saturating_duration_since(attempt) < RECONNECT_PAUSE;
        if self.attempt.is_some_and(early) {
            return false;
        }
        self.attempt = Some(now);
        match self.look_for() {
            Some(channel) => {
                self.use_channel(channel);
                true
            }
            None => {
                self.cry = true;
                false
            }
        }
    }

    fn use_channel(&mut self, channel: Channel) {
        self.channel = Some(channel);
        self.cry = false;
    }

    fn look_for(&self) -> Option<Channel> {
        self.paths.iter().find_map(|path| Channel::open(&UnixAddr::new(path).ok()?))
    }

    fn transmit(&mut self, batch: &Batch) -> Result<usize, Errno> {
        self.channel.as_mut().map_or(Err(Errno::ENOTCONN), |channel| channel.send(batch))
    }
}

impl Channel {
    fn open(address: &UnixAddr) -> Option<Channel> {
        let attempt = |kind| -> Result<OwnedFd, Errno> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(AddressFamily::Unix, kind, flags, None)?;
            connect(socket.as_raw_fd(), address)?;
            Ok(socket)
        };
        match attempt(SockType::Datagram) {
            Ok(socket) => Some(Channel { socket, stream: false, begun: 0 }),
            // Some syslog daemons listen with a stream socket.
            Err(Errno::EPROTOTYPE) => {
                let socket = attempt(SockType::Stream).ok()?;
                Some(Channel { socket, stream: true, begun: 0 })
            }
            Err(_) => None,
        }
    }

    fn send(&mut self, batch: &Batch) -> Result<usize, Errno> {
        loop {
            let sent = if self.stream {
                self.send_over_stream(batch)
            } else {
                let records =
                    batch.iter().map(|record| record.strip_suffix(&[0]).unwrap_or(record));
                message::send_many(self.socket.as_fd(), records)
            };
            if sent != Err(Errno::EINTR) {
                return sent;
            }
        }
    }

    /// Sends one record with its NUL byte, or what is left of it.
    fn send_over_stream(&mut self, batch: &Batch) -> Result<usize, Errno> {
        let Some(record) = batch.iter().next() else { return Ok(0) };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        while let Some(rest) = record.get(self.begun..)
            && !rest.is_empty()
        {
            self.begun += send(self.socket.as_raw_fd(), rest, flags)?;
        }
        self.begun = 0;
        Ok(1)
    }
}

/// Whether the service at the other end went away, so that only a new connection helps.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::EPIPE)
}

/// Whether there may be room at another time.
fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM)
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
        sink.send(&batch, now) == Sent::Out(1)
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
    fn a_full_queue_is_no_reason_to_wait_unless_asked_to() {
        let path = SocketPath::new("full");
        let service = path.bind();
        let mut sink = Sink::open(vec![path.0.clone()], Instant::now());
        let start = Instant::now();
        while send(&mut sink, b"record", start) {}
        assert!(start.elapsed() < Duration::from_millis(500));
        assert!(!sink.wait_for_room(Duration::from_millis(100)));
        assert!(start.elapsed() >= Duration::from_millis(100));
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            next_record(&service).unwrap();
            service
        });
        assert!(sink.wait_for_room(Duration::from_secs(10)));
        assert!(send(&mut sink, b"record", start));
        drop(reader.join().unwrap());
        assert!(!sink.take_cry());
    }

    /// The socket that nobody reads has been replaced, and somebody still has it open.
    #[test]
    fn a_socket_that_stays_full_is_left_for_its_successor() {
        let path = SocketPath::new("replaced");
        let _forgotten = path.bind();
        let start = Instant::now();
        let mut sink = Sink::open(vec![path.0.clone()], start);
        while send(&mut sink, b"record", start) {}
        let successor = path.bind();
        let soon = start + STUCK_LIMIT / 2;
        assert!(!send(&mut sink, b"too early", soon));
        assert!(send(&mut sink, b"two", start + STUCK_LIMIT));
        assert_eq!(next_record(&successor).as_deref(), Some("two"));
    }

    /// From inside a jail there may be no way to the service.
    #[test]
    fn somebody_else_may_connect() {
        let path = SocketPath::new("adopted");
        let start = Instant::now();
        let outside = Sink::open(vec![path.0.clone()], start);
        let mut sink = Sink::open(vec!["/nonexistent/log".into()], start);
        assert!(sink.take_cry() && !sink.take_cry());
        assert!(outside.another().is_none());
        let service = path.bind();
        sink.adopt(outside.another().unwrap());
        assert!(send(&mut sink, b"one", start));
        assert_eq!(next_record(&service).as_deref(), Some("one"));
        // While all is well, another connection is not needed.
        let other = SocketPath::new("not-adopted");
        let unused = other.bind();
        sink.adopt(Sink::open(vec![other.0.clone()], start).another().unwrap());
        assert!(send(&mut sink, b"two", start));
        assert_eq!(next_record(&unused), None);
        // One that leads nowhere is.
        drop(service);
        assert!(!send(&mut sink, b"lost", start + RECONNECT_PAUSE));
        assert!(sink.take_cry());
        sink.adopt(Sink::open(vec![other.0.clone()], start).another().unwrap());
        assert!(send(&mut sink, b"three", start));
        assert_eq!(next_record(&unused).as_deref(), Some("three"));
    }

    #[test]
    fn a_stream_goes_on_where_it_stopped() {
        let path = SocketPath::new("stream-full");
        let service = UnixListener::bind(&path.0).unwrap();
        let start = Instant::now();
        let mut sink = Sink::open(vec![path.0.clone()], start);
        let (mut stream, _) = service.accept().unwrap();
        let text = |number: u32| format!("{number:07}").repeat(20_000);
        let mut sent = 0;
        let mut batch = Batch::new();
        for number in 0..20 {
            batch.add(|out| out.extend_from_slice(text(number).as_bytes()));
        }
        while sink.send(&batch, start) == Sent::Out(1) {
            batch.advance(1);
            sent += 1;
        }
        assert!((0..20).contains(&sent), "{sent}");
        assert!(sink.is_midway());
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received
        });
        while !batch.is_empty() {
            match sink.send(&batch, start) {
                Sent::Out(count) => batch.advance(count),
                _ => assert!(sink.wait_for_room(Duration::from_secs(10))),
            }
        }
        drop(sink);
        let received = reader.join().unwrap();
        let records = received.strip_suffix(&[0]).unwrap().split(|byte| *byte == 0);
        assert!(records.eq((0..20).map(|number| text(number).into_bytes())));
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
