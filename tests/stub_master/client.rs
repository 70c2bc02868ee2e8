//! A client of the service.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, connect, setsockopt, socket,
    sockopt,
};

use crate::smtpd::GREETING;
use crate::tlsproxy::TLS_MASK;
use crate::{A_WHILE, PATIENCE};

/// What a new client gets to see first.
pub const TEASER: &str = "220-mx.example.test ESMTP Postfix";

/// A connection.
pub struct Client {
    stream: TcpStream,
    name: String,
    /// What has come in and was not looked at yet.
    unread: Vec<u8>,
    /// What bytes are changed by, both ways: see [`Client::start_tls`].
    mask: u8,
}

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    Line(String),
    End,
    Reset,
    Nothing,
}

impl Client {
    /// Connects from an address of this host.
    pub fn connect(from: IpAddr, to: SocketAddr) -> Client {
        let stream = TcpStream::from(match (from, to) {
            (IpAddr::V4(from), SocketAddr::V4(to)) => {
                let flags = SockFlag::SOCK_CLOEXEC;
                let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
                let from = SockaddrIn::from(SocketAddrV4::new(from, 0));
                bind(socket.as_raw_fd(), &from).unwrap();
                connect(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
                socket
            }
            (IpAddr::V6(from), SocketAddr::V6(to)) => {
                let flags = SockFlag::SOCK_CLOEXEC;
                let socket = socket(AddressFamily::Inet6, SockType::Stream, flags, None).unwrap();
                let from = SockaddrIn6::from(SocketAddrV6::new(from, 0, 0, 0));
                bind(socket.as_raw_fd(), &from).unwrap();
                connect(socket.as_raw_fd(), &SockaddrIn6::from(to)).unwrap();
                socket
            }
            _ => panic!("{from} and {to} are of different families"),
        });
        let local = stream.local_addr().unwrap();
        let name = format!("[{}]:{}", local.ip(), local.port());
        Client { stream, name, unread: Vec::new(), mask: 0 }
    }

    /// How log lines call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its end of the connection.
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Speaks TLS from now on, as the stub of tlsproxy(8) understands it.
    pub fn start_tls(&mut self) {
        assert!(self.unread.is_empty(), "in the clear: {:?}", self.unread);
        self.mask = TLS_MASK;
    }

    /// Sends.
    pub fn send(&mut self, text: &str) {
        let bytes: Vec<u8> = text.bytes().map(|byte| byte ^ self.mask).collect();
        self.stream.write_all(&bytes).unwrap();
    }

    /// Sends a line, and reads a reply of one line.
    #[track_caller]
    pub fn command(&mut self, line: &str, reply: &str) {
        self.send(&format!("{line}\r\n"));
        self.expect(reply);
    }

    /// Sends what may find nobody.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends no more.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks the connection off.
    pub fn reset(self) {
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&self.stream, sockopt::Linger, &at_once).unwrap();
    }

    /// What comes next within this time.
    pub fn next_within(&mut self, limit: Duration) -> Next {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                return Next::Line(line.strip_suffix("\r\n").unwrap().to_owned());
            }
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    assert!(self.unread.is_empty(), "half a line: {:?}", self.unread);
                    return Next::End;
                }
                Ok(count) => {
                    self.unread.extend(buffer[..count].iter().map(|byte| byte ^ self.mask))
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Next::Nothing,
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset => return Next::Reset,
                    _ => panic!("{error}"),
                },
            }
        }
    }

    /// Reads one line.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.next_within(PATIENCE), Next::Line(line.to_owned()), "{}", self.name);
    }

    /// Reads to the end of the connection, which must be an orderly one.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.next_within(PATIENCE), Next::End, "{}", self.name);
    }

    /// Sees that nothing comes for a while.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        assert_eq!(self.next_within(A_WHILE), Next::Nothing, "{}", self.name);
    }

    /// Is taken in as a new client: the greet wait begins.
    #[track_caller]
    pub fn expect_teaser(&mut self) {
        self.expect(TEASER);
    }

    /// Is greeted by the stub of smtpd(8).
    #[track_caller]
    pub fn expect_smtpd(&mut self) {
        self.expect(GREETING);
    }
}
