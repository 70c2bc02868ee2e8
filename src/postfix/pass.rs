//! The hand-off of a client to smtpd(8): its socket and four attributes over one connection.
//!
//! The receiver trusts the attributes without asking the socket, so a wrong address here
//! is an open relay, and up to Postfix 3.10 a missing one ends the smtpd process.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use thiserror::Error;

use crate::postfix::attr::AttrWriter;
use crate::postfix::local;
use crate::sys::errno_text;

/// Why a client could not be handed off: the descriptor was not delivered, or not usably. The
/// text is the reason alone; `screen::logline` says what could not be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PassError {
    /// The service's listen queue is full: it is at its process limit, or throttled.
    #[error("{}", errno_text(Errno::EAGAIN))]
    Busy,
    /// The kernel has as many descriptors under way for this user as it lets him have: the limit
    /// of open ones of a process.
    #[error("{}", errno_text(Errno::ETOOMANYREFS))]
    Crowded,
    /// There is no service.
    #[error("{}", errno_text(*.0))]
    Connect(Errno),
    /// The service did not take the descriptor and the attributes.
    #[error("{}", errno_text(*.0))]
    Send(Errno),
}

/// What to send along with the client's descriptor: the one byte that carries it, then the
/// attribute list. It takes the place of what was in `payload`. Where IPv4 is served,
/// IPv4-mapped addresses have become plain IPv4 before; where it is not, smtpd dies of a plain
/// one and takes a mapped one as it is.
pub fn encode(payload: &mut Vec<u8>, client: SocketAddr, server: SocketAddr) {
    payload.clear();
    payload.push(0);
    let mut list = AttrWriter::after(std::mem::take(payload));
    list.address("client_address", client.ip())
        .long("client_port", u64::from(client.port()))
        .address("server_address", server.ip())
        .long("server_port", u64::from(server.port()))
        .end();
    *payload = list.into_bytes();
}

/// Hands `client` to the service that listens at `path` (relative to the queue directory, so
/// that it holds in a jail too), without ever waiting.
///
/// The returned connection becomes readable (end of file) when the receiver has taken
/// everything. The client is the receiver's from now on: our descriptor may be closed, as the
/// kernel keeps what is under way, but neither read nor written.
///
/// # Errors
/// See [`PassError`]; the caller still owns the client then.
pub fn connect_and_send(
    path: &Path,
    client: BorrowedFd<'_>,
    payload: &[u8],
) -> Result<OwnedFd, PassError> {
    let channel = local::open(path).map_err(|errno| match errno {
        Errno::EAGAIN => PassError::Busy,
        errno => PassError::Connect(errno),
    })?;
    local::send(channel.as_fd(), payload, Some(client)).map_err(|errno| match errno {
        Errno::ETOOMANYREFS => PassError::Crowded,
        errno => PassError::Send(errno),
    })?;
    Ok(channel)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{IoSliceMut, Read, Write};
    use std::os::fd::{AsRawFd, RawFd};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use nix::sys::socket::{
        AddressFamily, Backlog, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind,
        listen, recvmsg,
    };

    use super::*;
    use crate::sys::adopt;

    const WORKED_EXAMPLE: &[u8] = b"client_address\x00127.1.2.3\0client_port\x0059313\0\
        server_address\x00127.0.0.1\0server_port\x0012025\0\0";

    struct Socket(PathBuf);

    impl Socket {
        fn new(name: &str) -> Socket {
            let name = format!("gatepost-pass-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::remove_file(&path).ok();
            Socket(path)
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            fs::remove_file(&self.0).ok();
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn encoded(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
        let mut payload = b"old".to_vec();
        encode(&mut payload, client, server);
        payload
    }

    fn receive(channel: &UnixStream) -> Option<RawFd> {
        let mut byte = [1];
        let mut space = nix::cmsg_space!(RawFd);
        let mut slices = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::empty();
        let message =
            recvmsg::<UnixAddr>(channel.as_raw_fd(), &mut slices, Some(&mut space), flags).unwrap();
        assert_eq!(message.bytes, 1);
        message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
            _ => None,
        })
    }

    #[test]
    fn payload_is_a_byte_and_the_worked_example() {
        let payload = encoded(address("127.1.2.3:59313"), address("127.0.0.1:12025"));
        assert_eq!(payload.split_first(), Some((&0, WORKED_EXAMPLE)));
        assert_eq!(WORKED_EXAMPLE.len(), 87);
    }

    #[test]
    fn payload_has_addresses_as_they_are() {
        for (client, expected) in [
            ("[::ffff:192.0.2.65]:1", "::ffff:192.0.2.65"),
            ("[::192.0.2.65]:1", "::192.0.2.65"),
            ("[fe80::5%1]:1", "fe80::5"),
        ] {
            let payload = encoded(address(client), address("[2001:db8::19]:25"));
            let expected = format!(
                "\0client_address\0{expected}\0client_port\x001\0\
                 server_address\x002001:db8::19\0server_port\x0025\0\0"
            );
            assert_eq!(payload, expected.as_bytes());
        }
    }

    #[test]
    fn receiver_gets_the_descriptor_and_the_list() {
        let socket = Socket::new("whole");
        let listener = UnixListener::bind(&socket.0).unwrap();
        let (mut client, ours) = UnixStream::pair().unwrap();
        let payload = encoded(address("127.1.2.3:59313"), address("127.0.0.1:12025"));
        let channel = connect_and_send(&socket.0, ours.as_fd(), &payload).unwrap();
        let flags = FdFlag::from_bits_retain(fcntl(&channel, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        drop(ours);

        // As smtpd does: one byte with the descriptor first, then the list.
        let (mut accepted, _) = listener.accept().unwrap();
        let passed = adopt(receive(&accepted).unwrap()).unwrap();
        let mut list = [0; WORKED_EXAMPLE.len()];
        accepted.read_exact(&mut list).unwrap();
        assert_eq!(list, WORKED_EXAMPLE);

        let mut passed = UnixStream::from(passed);
        passed.write_all(b"220 ").unwrap();
        let mut greeting = [0; 4];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 ");

        let mut channel = UnixStream::from(channel);
        assert!(channel.read(&mut [0]).is_err(), "nothing to read before the receiver closes");
        drop(accepted);
        assert_eq!(channel.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn connect_errors_have_postfix_texts() {
        let socket = Socket::new("errors");
        let (client, _peer) = UnixStream::pair().unwrap();
        let error = connect_and_send(&socket.0, client.as_fd(), b"\0\0").unwrap_err();
        assert_eq!(error, PassError::Connect(Errno::ENOENT));
        assert_eq!(error.to_string(), "No such file or directory");

        drop(UnixListener::bind(&socket.0).unwrap());
        let error = connect_and_send(&socket.0, client.as_fd(), b"\0\0").unwrap_err();
        assert_eq!(error, PassError::Connect(Errno::ECONNREFUSED));
        assert_eq!(error.to_string(), "Connection refused");
        assert_eq!(PassError::Send(Errno::EPIPE).to_string(), "Broken pipe");

        let long = PathBuf::from("x".repeat(200));
        let error = connect_and_send(&long, client.as_fd(), b"\0\0").unwrap_err();
        assert_eq!(error, PassError::Connect(Errno::ENAMETOOLONG));
    }

    #[test]
    fn a_full_listen_queue_is_busy() {
        let socket = Socket::new("busy");
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener =
            nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&socket.0).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let (client, _peer) = UnixStream::pair().unwrap();
        let waiting = connect_and_send(&socket.0, client.as_fd(), b"\0\0").unwrap();
        let error = connect_and_send(&socket.0, client.as_fd(), b"\0\0").unwrap_err();
        assert_eq!(error, PassError::Busy);
        assert_eq!(error.to_string(), "Resource temporarily unavailable");
        drop(waiting);
    }
}
