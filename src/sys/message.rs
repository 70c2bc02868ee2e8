//! Messages without the allocations of the safe wrappers: bytes and a descriptor in one, which
//! every client that is handed off costs, and several in one call.
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

/// The most messages that [`send_many`] sends at once.
pub const MOST_AT_ONCE: usize = 32;

/// Sends messages over a connected socket, one after the other, [`MOST_AT_ONCE`] at most.
/// Returns how many were sent: those after the first that was not sent were not tried. It is not
/// waited.
///
/// # Errors
/// Those of sendmmsg(2), about the first message; EAGAIN when there is no room.
pub fn send_many<'a>(
    socket: BorrowedFd<'_>,
    messages: impl Iterator<Item = &'a [u8]>,
) -> Result<usize, Errno> {
    // SAFETY: both are integers and pointers, for which zero is a valid value.
    let (mut parts, mut headers) = unsafe {
        (
            std::mem::zeroed::<[libc::iovec; MOST_AT_ONCE]>(),
            std::mem::zeroed::<[libc::mmsghdr; MOST_AT_ONCE]>(),
        )
    };
    let mut count = 0;
    for ((part, header), message) in parts.iter_mut().zip(&mut headers).zip(messages) {
        part.iov_base = message.as_ptr().cast_mut().cast();
        part.iov_len = message.len();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: `headers` has at least `count` entries, each with one part, whose bytes are only
    // read; all that outlives the call, and so do the bytes, by the lifetime of `messages`.
    let sent =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _) };
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

    #[test]
    fn as_many_messages_as_there_is_room_for() {
        use std::os::unix::net::UnixDatagram;
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let texts: Vec<Vec<u8>> = (0..100_u8).map(|number| vec![number; 3]).collect();
        let messages = || texts.iter().map(Vec::as_slice);
        assert_eq!(send_many(ours.as_fd(), messages().take(0)), Ok(0));
        let sent = send_many(ours.as_fd(), messages()).unwrap();
        assert!((1..=MOST_AT_ONCE).contains(&sent));
        while send_many(ours.as_fd(), messages()).is_ok() {}
        assert_eq!(send_many(ours.as_fd(), messages()), Err(Errno::EAGAIN));
        let mut buffer = [0; 8];
        for text in texts.iter().take(sent) {
            assert_eq!(theirs.recv(&mut buffer).unwrap(), 3);
            assert_eq!(&buffer[..3], text);
        }
        drop(theirs);
        let gone = send_many(ours.as_fd(), messages());
        assert!(matches!(gone, Err(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET)));
    }
}
