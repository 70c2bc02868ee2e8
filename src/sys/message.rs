//! Bytes and a descriptor in one message, without the allocations of the safe wrapper: every
//! client that is handed off costs one such message.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

/// Room for a control message with one descriptor, in the alignment of its header.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    bytes: [u8; 64],
}

const DESCRIPTOR_SIZE: libc::c_uint = RawFd::BITS / u8::BITS;

/// Sends `payload`, and a descriptor with it, over a connected socket. It is not waited, and
/// there is no SIGPIPE.
///
/// # Errors
/// Those of sendmsg(2); EAGAIN when there is no room.
pub fn send(
    socket: BorrowedFd<'_>,
    payload: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<usize, Errno> {
    let mut part =
        libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    let mut control = Control { bytes: [0; 64] };
    // SAFETY: a `msghdr` is integers and pointers, for which zero is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(descriptor) = descriptor {
        message.msg_control = (&raw mut control).cast();
        // SAFETY: arithmetic on a constant. It is 24 on Linux, well below the room there is.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(DESCRIPTOR_SIZE) } as _;
        // SAFETY: `msg_control` is room for one control message, zeroed and aligned as its
        // header, so that the first header and its data lie within `control`.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(DESCRIPTOR_SIZE) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor.as_raw_fd());
        }
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: everything that `message` points to outlives the call, which only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    usize::try_from(sent).map_err(|_| Errno::last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_arrives_with_its_bytes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut far, near) = UnixStream::pair().unwrap();
        assert_eq!(send(ours.as_fd(), b"abc", Some(near.as_fd())), Ok(3));
        drop(near);
        let mut buffer = [0; 8];
        let (count, descriptor) =
            super::super::receive_with_descriptor(theirs.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"abc");
        UnixStream::from(descriptor.unwrap()).write_all(b"near").unwrap();
        far.read_exact(&mut buffer[..4]).unwrap();
        assert_eq!(&buffer[..4], b"near");
    }

    #[test]
    fn without_a_descriptor_none_arrives() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert_eq!(send(ours.as_fd(), b"abc", None), Ok(3));
        let mut buffer = [0; 8];
        let (count, descriptor) =
            super::super::receive_with_descriptor(theirs.as_fd(), &mut buffer).unwrap();
        assert!(count == 3 && descriptor.is_none());
    }

    #[test]
    fn a_peer_that_has_gone_is_an_error_and_no_signal() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(send(ours.as_fd(), b"abc", Some(ours.as_fd())), Err(Errno::EPIPE));
    }
}
