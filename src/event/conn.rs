//! A client's socket: looked at, read, written, and let go in an orderly way.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use mio::Interest;
use mio::net::{TcpStream, UnixStream};

use super::reactor::{Reactor, Source};
use super::stream::Stream;
use crate::screen::event::{PEEK_LIMIT, Watch};
use crate::screen::session::SessionId;

/// How much output may wait for a client that does not read, bytes. More than one buffer of
/// EHLO commands gives rise to, whatever main.cf: `postscreen_command_count_limit` allows; within
/// its default, a client gets a tenth of it at most.
pub const OUTPUT_LIMIT: usize = 256 * 1024;

/// How much is thrown away of what a client still sends after our last word, bytes.
const DISCARD_LIMIT: u32 = 64 * 1024;

/// A client's socket, or in its place the channel to tlsproxy(8) or smtpd(8), which has it.
///
/// It is registered with the reactor only while something is to be heard from it: a client
/// that is handed off at once never is.
#[derive(Debug)]
pub struct Conn {
    stream: Stream,
    registered: Option<Interest>,
    watch: Watch,
    /// What the client has not taken yet. Most clients take all, and a waiting one should cost
    /// little; so it is elsewhere.
    unsent: Option<Box<Unsent>>,
    /// The client will send no more than is there.
    ended: bool,
    /// How much of the input that is still in the socket has been looked at, bytes.
    peeked: u16,
    /// Another process may have the socket too.
    shared: bool,
    stage: Stage,
}

/// Bytes that a client has not taken; there are some.
#[derive(Debug)]
struct Unsent {
    bytes: Vec<u8>,
}

/// Who the socket belongs to.
#[derive(Debug)]
enum Stage {
    /// To us.
    Open,
    /// To smtpd(8); the stream is the channel, which smtpd closes when it has the socket. Ours
    /// is closed: the kernel keeps what is under way.
    Passed,
    /// To nobody: we wait for the client to have read our last word.
    Lingering {
        /// How much has been thrown away since, bytes.
        discarded: u32,
    },
}

/// What is to be had from a socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The client has closed or reset the connection.
    Closed,
}

/// Whether a socket that is let go can be closed now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Farewell {
    /// Yes.
    Done,
    /// Not before the client has taken our last word, or a deadline.
    Lingers,
}

impl Conn {
    /// Takes over an accepted socket, in non-blocking mode.
    pub fn new(stream: TcpStream) -> Conn {
        Conn {
            stream: Stream::Tcp(stream),
            registered: None,
            watch: Watch::Nothing,
            unsent: None,
            ended: false,
            peeked: 0,
            shared: false,
            stage: Stage::Open,
        }
    }

    /// What input is wanted.
    pub fn watch(&self) -> Watch {
        self.watch
    }

    /// Whether the socket only waits for its end.
    pub fn is_lingering(&self) -> bool {
        matches!(self.stage, Stage::Lingering { .. })
    }

    /// Chooses what input is wanted from now on. Returns whether the caller has to look for
    /// input that is there already: the reactor reports the edges only.
    ///
    /// A socket whose input is not wanted for now stays registered. Mostly it is on its way to
    /// somebody who wants it, or to [`Conn::lend`]; and what the reactor reports until then is
    /// an edge, of which nobody takes notice.
    pub fn set_watch(
        &mut self,
        reactor: &Reactor,
        id: SessionId,
        watch: Watch,
    ) -> io::Result<bool> {
        let was_registered = self.registered.is_some();
        self.watch = watch;
        if watch != Watch::Nothing {
            self.update(reactor, id)?;
        }
        // A new registration reports what is there by itself; an old one has done so.
        Ok(watch != Watch::Nothing && was_registered)
    }

    /// Whether output waits for a client that does not read.
    pub fn is_clogged(&self) -> bool {
        self.unsent.is_some()
    }

    /// Looks at waiting input without taking it.
    pub fn peek(&mut self, buffer: &mut [u8]) -> Input {
        let input = input(|| self.stream.peek(buffer));
        if let Input::Bytes(count) = input {
            self.peeked = u16::try_from(count).unwrap_or(u16::MAX);
        }
        input
    }

    /// Takes so many bytes of waiting input, which have been looked at before, and throws them
    /// away.
    pub fn consume(&mut self, count: usize) -> io::Result<()> {
        let mut buffer = [0; PEEK_LIMIT];
        let mut left = count;
        while left > 0 {
            let Some(room) = buffer.get_mut(..left.min(PEEK_LIMIT)) else { break };
            match self.read(room) {
                Input::Bytes(taken) => left = left.saturating_sub(taken),
                // Somebody else has taken them.
                Input::Nothing | Input::Closed => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(())
    }

    /// The client will send no more than is there.
    pub fn saw_end(&mut self) {
        self.ended = true;
    }

    /// Whether it is known that the client will send no more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes waiting input.
    pub fn read(&mut self, buffer: &mut [u8]) -> Input {
        self.peeked = 0;
        input(|| self.stream.read(buffer))
    }

    /// Sends, now or when there is room.
    pub fn send(&mut self, reactor: &Reactor, id: SessionId, bytes: &[u8]) -> io::Result<()> {
        if let Some(unsent) = &mut self.unsent {
            // One reply of any length may wait: a footer is the administrator's affair.
            if unsent.bytes.len() + bytes.len() > OUTPUT_LIMIT {
                return Err(ErrorKind::OutOfMemory.into());
            }
            unsent.bytes.extend_from_slice(bytes);
        } else {
            let sent = self.write(bytes)?;
            match bytes.get(sent..) {
                None | Some([]) => return Ok(()),
                Some(rest) => self.unsent = Some(Box::new(Unsent { bytes: rest.to_vec() })),
            }
        }
        self.update(reactor, id)
    }

    /// There is room for output.
    pub fn flush(&mut self, reactor: &Reactor, id: SessionId) -> io::Result<()> {
        if !self.is_clogged() {
            return Ok(());
        }
        self.write_unsent()?;
        self.update(reactor, id)
    }

    fn write_unsent(&mut self) -> io::Result<()> {
        let Some(mut unsent) = self.unsent.take() else { return Ok(()) };
        let sent = self.write(&unsent.bytes)?;
        unsent.bytes.drain(..sent);
        self.unsent = Some(unsent).filter(|unsent| !unsent.bytes.is_empty());
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Registers for what is wanted now.
    fn update(&mut self, reactor: &Reactor, id: SessionId) -> io::Result<()> {
        let read = self.watch != Watch::Nothing || self.is_lingering();
        let wanted = match (read, self.is_clogged()) {
            (false, false) => None,
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
        };
        let source = Source::Client(id);
        match (self.registered, wanted) {
            (None, Some(interest)) => reactor.register(&mut self.stream, source, interest)?,
            (Some(_), None) => reactor.deregister(&mut self.stream)?,
            (Some(old), Some(new)) if old != new => {
                reactor.reregister(&mut self.stream, source, new)?;
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.registered = wanted;
        Ok(())
    }

    /// Takes the socket out of the reactor, so that it can be passed on, and lends it.
    pub fn lend(&mut self, reactor: &Reactor) -> io::Result<BorrowedFd<'_>> {
        if self.registered.take().is_some() {
            reactor.deregister(&mut self.stream)?;
        }
        self.watch = Watch::Nothing;
        self.shared = true;
        Ok(self.stream.as_fd())
    }

    /// The socket is under way to smtpd(8), which closes this channel when it has it; the
    /// channel takes its place. Fails when `channels` cannot watch it; the socket is smtpd's all
    /// the same.
    pub fn passed(
        &mut self,
        channels: &Reactor,
        id: SessionId,
        channel: std::os::unix::net::UnixStream,
    ) -> io::Result<()> {
        self.stream = Stream::Unix(UnixStream::from_std(channel));
        self.shared = false;
        self.stage = Stage::Passed;
        channels.register(&mut self.stream, Source::PassChannel(id), Interest::READABLE)
    }

    /// Whether the socket is under way to smtpd(8), or with it.
    pub fn is_passed(&self) -> bool {
        matches!(self.stage, Stage::Passed)
    }

    /// Whether smtpd(8) has closed the channel, and so has the client. `ended` is what the
    /// reactor knows of that: its word spares a read.
    pub fn was_taken(&mut self, ended: bool) -> bool {
        if !self.is_passed() {
            return false;
        }
        if ended {
            return true;
        }
        let mut nothing = [0; 16];
        loop {
            match self.stream.read(&mut nothing) {
                Ok(0) => return true,
                Ok(_) => {} // The receiver has nothing to say.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }

    /// tlsproxy(8) has the client's socket, lent before: ours is closed, and the channel to
    /// tlsproxy takes its place.
    ///
    /// # Errors
    /// When the client has not taken what it was sent before: that cannot be sent any more.
    pub fn become_tls(&mut self, reactor: &Reactor, channel: UnixStream) -> io::Result<()> {
        // A reply that did not fit has put it there again.
        if self.registered.take().is_some() {
            reactor.deregister(&mut self.stream)?;
        }
        self.stream = Stream::Unix(channel);
        self.shared = false;
        if self.is_clogged() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    /// The session has ended. A socket that is closed with unread input, or that gets more
    /// after that, makes the kernel send a reset, which can overtake our last word. So what is
    /// there is thrown away; and if the client goes on talking meanwhile, or has not taken our
    /// last word, our half is shut down, and it gets a moment to do likewise. One that waits for
    /// our last word, as all should, needs no moment.
    pub fn say_farewell(&mut self, reactor: &Reactor, id: SessionId) -> io::Result<Farewell> {
        if self.is_passed() {
            return Ok(Farewell::Done);
        }
        self.watch = Watch::Nothing;
        self.stage = Stage::Lingering { discarded: 0 };
        let expected = self.peeked.into();
        if self.is_over()? {
            return Ok(Farewell::Done);
        }
        match self.stage {
            Stage::Lingering { discarded } if discarded <= expected && !self.is_clogged() => {
                Ok(Farewell::Done)
            }
            _ => self.half_close(reactor, id),
        }
    }

    /// Something has happened to a socket that lingers.
    pub fn go_on_lingering(&mut self, reactor: &Reactor, id: SessionId) -> io::Result<Farewell> {
        if self.is_over()? { Ok(Farewell::Done) } else { self.half_close(reactor, id) }
    }

    /// Sends what is left to send, throws away what there is, and tells whether that was the
    /// end, or enough.
    fn is_over(&mut self) -> io::Result<bool> {
        self.write_unsent()?;
        let mut buffer = [0; 4096];
        loop {
            let count = match self.read(&mut buffer) {
                Input::Closed => return Ok(true),
                Input::Nothing => return Ok(false),
                Input::Bytes(count) => count,
            };
            let Stage::Lingering { discarded } = &mut self.stage else { return Ok(false) };
            *discarded = discarded.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            if *discarded > DISCARD_LIMIT {
                return Ok(true);
            }
            // The end, if it is there already, has been reported, or will be.
            if count < buffer.len() && !self.ended {
                return Ok(false);
            }
        }
    }

    fn half_close(&mut self, reactor: &Reactor, id: SessionId) -> io::Result<Farewell> {
        if !self.is_clogged() {
            self.stream.shutdown_write()?;
        }
        self.update(reactor, id)?;
        Ok(Farewell::Lingers)
    }

    /// Closes the socket. The kernel takes it out of the reactor, unless somebody else has it
    /// too.
    pub fn release(mut self, reactor: &Reactor) {
        if self.shared && self.registered.is_some() {
            // An error means that it was not registered, and then there is nothing to undo.
            let _ = reactor.deregister(&mut self.stream);
        }
    }
}

fn input(mut call: impl FnMut() -> io::Result<usize>) -> Input {
    loop {
        return match call() {
            Ok(0) => Input::Closed,
            Ok(count) => Input::Bytes(count),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::WouldBlock => Input::Nothing,
                _ => Input::Closed,
            },
        };
    }
}
