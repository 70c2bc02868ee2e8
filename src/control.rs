//! What a supervisor and its workers tell each other over their socketpair.
//!
//! Messages have a fixed size and no variable part, so that a worker, which reads what the
//! network sends, can ask its privileged supervisor for nothing but what is listed here.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair,
};

use crate::sys;

/// A worker to its supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromWorker {
    /// Start-up is done; waiting for [`ToWorker::Go`].
    Ready,
    /// No client for `max_idle`.
    Idle,
    /// A client again.
    Busy,
    /// The cache file is new: what postscreen(8) remembered should be imported.
    ImportWanted,
    /// The cache file is open.
    CacheInUse,
    /// The cache file was found damaged in use: it should be set aside.
    CacheDamaged,
    /// The watched file with this number names what the worker has not read and, in its jail,
    /// cannot read: a successor has to go on.
    Outdated(u32),
    /// Another daemon of Postfix's does not talk as one of the known version would: it may
    /// have been upgraded meanwhile.
    Misunderstood,
    /// The log service is out of reach.
    LogAway,
}

/// A supervisor to its worker.
#[derive(Debug)]
pub enum ToWorker {
    /// The status channel knows about us: serve.
    Go,
    /// The watched file with this number has changed; here it is, open.
    Changed(u32, OwnedFd),
    /// The cache file that is open has no name any more: what is written there is lost.
    CacheLost,
    /// Here is a connection to the log service.
    Log(OwnedFd),
}

const MESSAGE_SIZE: usize = 5;

/// One end of the channel. When the other end's process has gone, receiving says so.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// What is to be had from the channel.
#[derive(Debug)]
pub enum Received<T> {
    /// A message.
    Message(T),
    /// Nothing now.
    Nothing,
    /// The other end has gone.
    Closed,
}

impl Channel {
    /// The two ends, in blocking mode, close-on-exec.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (a, b) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel { socket: a }, Channel { socket: b }))
    }

    /// Makes receiving and sending return at once.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let flags = OFlag::from_bits_retain(fcntl(&self.socket, FcntlArg::F_GETFL)?);
        fcntl(&self.socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(())
    }

    /// A worker sends.
    pub fn tell(&self, message: FromWorker) -> io::Result<()> {
        let (kind, number) = match message {
            FromWorker::Ready => (b'R', 0),
            FromWorker::Idle => (b'I', 0),
            FromWorker::Busy => (b'B', 0),
            FromWorker::ImportWanted => (b'C', 0),
            FromWorker::CacheInUse => (b'U', 0),
            FromWorker::CacheDamaged => (b'D', 0),
            FromWorker::Outdated(number) => (b'O', number),
            FromWorker::Misunderstood => (b'M', 0),
            FromWorker::LogAway => (b'L', 0),
        };
        self.send(kind, number, None)
    }

    /// A supervisor receives. What makes no sense is dropped.
    pub fn hear(&self) -> io::Result<Received<FromWorker>> {
        loop {
            let mut buffer = [0; MESSAGE_SIZE];
            let message = match self.receive(&mut buffer)? {
                Received::Message(None) => {
                    let [kind, number @ ..] = buffer;
                    match kind {
                        b'R' => FromWorker::Ready,
                        b'I' => FromWorker::Idle,
                        b'B' => FromWorker::Busy,
                        b'C' => FromWorker::ImportWanted,
                        b'U' => FromWorker::CacheInUse,
                        b'D' => FromWorker::CacheDamaged,
                        b'O' => FromWorker::Outdated(u32::from_ne_bytes(number)),
                        b'M' => FromWorker::Misunderstood,
                        b'L' => FromWorker::LogAway,
                        _ => continue,
                    }
                }
                Received::Message(Some(_)) => continue,
                Received::Nothing => return Ok(Received::Nothing),
                Received::Closed => return Ok(Received::Closed),
            };
            return Ok(Received::Message(message));
        }
    }

    /// A supervisor lets its worker go.
    pub fn go(&self) -> io::Result<()> {
        self.send(b'G', 0, None)
    }

    /// A supervisor hands over a changed file.
    pub fn changed(&self, number: u32, file: BorrowedFd<'_>) -> io::Result<()> {
        self.send(b'F', number, Some(file))
    }

    /// A supervisor says that the cache file is not there any more.
    pub fn cache_lost(&self) -> io::Result<()> {
        self.send(b'L', 0, None)
    }

    /// A supervisor hands over a connection to the log service.
    pub fn log(&self, connection: BorrowedFd<'_>) -> io::Result<()> {
        self.send(b'J', 0, Some(connection))
    }

    /// A worker receives.
    pub fn order(&self) -> io::Result<Received<ToWorker>> {
        loop {
            let mut buffer = [0; MESSAGE_SIZE];
            let descriptor = match self.receive(&mut buffer)? {
                Received::Message(descriptor) => descriptor,
                Received::Nothing => return Ok(Received::Nothing),
                Received::Closed => return Ok(Received::Closed),
            };
            let [kind, number @ ..] = buffer;
            let order = match (kind, descriptor) {
                (b'G', None) => ToWorker::Go,
                (b'L', None) => ToWorker::CacheLost,
                (b'F', Some(file)) => ToWorker::Changed(u32::from_ne_bytes(number), file),
                (b'J', Some(connection)) => ToWorker::Log(connection),
                _ => continue,
            };
            return Ok(Received::Message(order));
        }
    }

    fn send(&self, kind: u8, number: u32, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let [a, b, c, d] = number.to_ne_bytes();
        let message = [kind, a, b, c, d];
        let numbers: Vec<_> = file.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
        let parts = [IoSlice::new(&message)];
        let socket = self.socket.as_raw_fd();
        sendmsg::<UnixAddr>(socket, &parts, control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// Receives a message of the one size that there is.
    fn receive(&self, buffer: &mut [u8; MESSAGE_SIZE]) -> io::Result<Received<Option<OwnedFd>>> {
        // One more than a message has, to see what is longer.
        let mut space = [0; MESSAGE_SIZE + 1];
        loop {
            return match sys::receive_with_descriptor(self.socket.as_fd(), &mut space) {
                Ok((0, _)) => Ok(Received::Closed),
                Ok((MESSAGE_SIZE, descriptor)) => {
                    let [message @ .., _] = space;
                    *buffer = message;
                    Ok(Received::Message(descriptor))
                }
                Ok(_) => continue,
                Err(Errno::EAGAIN) => Ok(Received::Nothing),
                Err(Errno::EINTR) => continue,
                Err(Errno::ECONNRESET | Errno::EPIPE) => Ok(Received::Closed),
                Err(errno) => Err(errno.into()),
            };
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn messages_arrive_one_by_one() {
        let (supervisor, worker) = Channel::pair().unwrap();
        supervisor.set_nonblocking().unwrap();
        assert!(matches!(supervisor.hear().unwrap(), Received::Nothing));
        let all = [
            FromWorker::Ready,
            FromWorker::Idle,
            FromWorker::Busy,
            FromWorker::ImportWanted,
            FromWorker::CacheInUse,
            FromWorker::CacheDamaged,
            FromWorker::Outdated(70_000),
            FromWorker::Misunderstood,
            FromWorker::LogAway,
        ];
        for message in all {
            worker.tell(message).unwrap();
        }
        for message in all {
            let Received::Message(heard) = supervisor.hear().unwrap() else { panic!() };
            assert_eq!(heard, message);
        }
        drop(worker);
        assert!(matches!(supervisor.hear().unwrap(), Received::Closed));
        assert!(supervisor.go().is_err());
    }

    #[test]
    fn a_changed_file_travels_as_a_descriptor() {
        let (supervisor, worker) = Channel::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        supervisor.go().unwrap();
        supervisor.changed(70_000, reader.as_fd()).unwrap();
        drop(reader);
        std::io::Write::write_all(&mut &writer, b"text").unwrap();
        drop(writer);
        assert!(matches!(worker.order().unwrap(), Received::Message(ToWorker::Go)));
        let Received::Message(ToWorker::Changed(number, file)) = worker.order().unwrap() else {
            panic!()
        };
        assert_eq!(number, 70_000);
        let mut text = String::new();
        std::fs::File::from(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        let (reader, _writer) = std::io::pipe().unwrap();
        supervisor.log(reader.as_fd()).unwrap();
        assert!(matches!(worker.order().unwrap(), Received::Message(ToWorker::Log(_))));
        drop(supervisor);
        assert!(matches!(worker.order().unwrap(), Received::Closed));
    }

    #[test]
    fn what_has_another_size_or_a_descriptor_too_many_is_dropped() {
        use crate::sys::message;
        let (supervisor, worker) = Channel::pair().unwrap();
        supervisor.set_nonblocking().unwrap();
        worker.set_nonblocking().unwrap();
        let (file, _) = std::io::pipe().unwrap();
        for bytes in [&b"O"[..], b"O\x01\0\0", b"R\0\0\0\0\0", b"G\0\0\0\0 and more"] {
            message::send(worker.as_fd(), bytes, None).unwrap();
            message::send(supervisor.as_fd(), bytes, None).unwrap();
        }
        message::send(worker.as_fd(), b"R\0\0\0\0", Some(file.as_fd())).unwrap();
        message::send(supervisor.as_fd(), b"G\0\0\0\0", Some(file.as_fd())).unwrap();
        assert!(matches!(supervisor.hear().unwrap(), Received::Nothing));
        assert!(matches!(worker.order().unwrap(), Received::Nothing));
    }

    #[test]
    fn nonsense_is_dropped() {
        let (supervisor, worker) = Channel::pair().unwrap();
        worker.send(b'?', 0, None).unwrap();
        worker.tell(FromWorker::Ready).unwrap();
        assert!(matches!(supervisor.hear().unwrap(), Received::Message(FromWorker::Ready)));
        supervisor.send(b'F', 1, None).unwrap();
        supervisor.go().unwrap();
        assert!(matches!(worker.order().unwrap(), Received::Message(ToWorker::Go)));
    }
}
