//! The sockets of Postfix's services: reached and written to without ever waiting.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::sys::message;

/// Connects to the service that listens at `path` (relative to the queue directory, so that it
/// holds in a jail too).
///
/// # Errors
/// EAGAIN when the service's listen queue is full, ENOENT when there is no service, and so on.
pub fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let channel = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(channel.as_raw_fd(), &address)?;
    Ok(channel)
}

/// Sends some bytes, and a descriptor with them, in one piece.
///
/// # Errors
/// EMSGSIZE when not all of it could be sent. What is short goes into an empty socket buffer
/// whole or not at all; should it ever be cut, the receiver must not wait for a rest that never
/// comes.
pub fn send(
    channel: BorrowedFd<'_>,
    payload: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let sent = message::send(channel, payload, descriptor)?;
    if sent == payload.len() { Ok(()) } else { Err(Errno::EMSGSIZE) }
}
