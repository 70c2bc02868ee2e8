//! The two things that a client can be at the other end of, under one name.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

/// What a client's bytes come from.
#[derive(Debug)]
pub enum Stream {
    /// Its socket.
    Client(TcpStream),
    /// tlsproxy(8), which has its socket.
    Tls(UnixStream),
}

impl Stream {
    /// Looks at waiting input without taking it. That is for the time before the greeting, so
    /// of tlsproxy nothing is to be had in this way.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Client(stream) => stream.peek(buffer),
            Stream::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Says that no more output comes.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Client(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Client(stream) => stream,
            Stream::Tls(stream) => stream,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Client(stream) => stream.as_fd(),
            Stream::Tls(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Client(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Client(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}
