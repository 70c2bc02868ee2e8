//! The only unsafe code: calls that no safe wrapper offers.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::errno::Errno;

use crate::screen::test_set::UnixTime;

/// Local date and time, for log records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalTime {
    /// Month, 0..=11.
    pub month: u8,
    /// Day of the month, 1..=31.
    pub day: u8,
    /// Hour, 0..=23.
    pub hour: u8,
    /// Minute, 0..=59.
    pub minute: u8,
    /// Second, 0..=60.
    pub second: u8,
}

impl LocalTime {
    /// The month's short English name, whatever the locale, as Postfix has it.
    pub fn month_name(self) -> &'static str {
        const NAMES: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        NAMES.get(usize::from(self.month)).copied().unwrap_or("Jan")
    }
}

/// Converts to local time. The time zone is loaded at the first call, so make one before
/// chroot(2).
pub fn local_time(time: UnixTime) -> LocalTime {
    let seconds = libc::time_t::try_from(time.0).unwrap_or(libc::time_t::MAX);
    // SAFETY: an all-zero `tm` is valid; `localtime_r` writes only to it, reads only
    // `seconds`, and is thread-safe. On failure (a year out of range) `tm` stays zero.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut tm);
        tm
    };
    let small = |value: libc::c_int| u8::try_from(value).unwrap_or(0);
    LocalTime {
        month: small(tm.tm_mon),
        day: small(tm.tm_mday),
        hour: small(tm.tm_hour),
        minute: small(tm.tm_min),
        second: small(tm.tm_sec),
    }
}

/// Takes over a descriptor that the parent process opened for us, if it is open.
///
/// Call it at most once for each number, before anything else is opened.
pub fn adopt(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_GETFD has no effect on memory or on the descriptor.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, was inherited, and nothing else in this process
    // owns it: the caller asks once for each number.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Which side of a fork(2) this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's process id.
    Parent(nix::unistd::Pid),
}

/// Makes a copy of this process, which must have one thread only.
pub fn fork() -> nix::Result<Fork> {
    debug_assert_eq!(std::fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(1), 1);
    // SAFETY: with one thread, no lock is held by a thread that the child lacks, so the child
    // may do whatever the parent may.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(Fork::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Fork::Parent(child)),
    }
}

/// Receives one datagram and at most one descriptor that came with it.
pub fn receive_with_descriptor(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> nix::Result<(usize, Option<OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [std::io::IoSliceMut::new(buffer)];
    let message = recvmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut descriptor = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            for number in numbers {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else in
                // the process knows its number. One too many is closed at once by drop.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok((message.bytes, descriptor))
}

/// Gives a signal back its default effect.
pub fn default_signal(signal: nix::sys::signal::Signal) -> nix::Result<()> {
    // SAFETY: the default disposition runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }.map(drop)
}

/// Ignores a signal.
pub fn ignore_signal(signal: nix::sys::signal::Signal) -> nix::Result<()> {
    // SAFETY: an ignored signal runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }.map(drop)
}

/// Largest error number whose text is kept; Linux defines fewer.
const ERRNO_TEXTS: usize = 200;

/// The C library's text for an error number ("Connection refused"), as Postfix's log lines
/// have it. nix's own texts differ from it in places.
pub fn errno_text(errno: Errno) -> &'static str {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| (0..).take(ERRNO_TEXTS).map(strerror).collect());
    let known = usize::try_from(errno as i32).ok().and_then(|code| texts.get(code));
    known.map_or(errno.desc(), String::as_str)
}

fn strerror(code: libc::c_int) -> String {
    let mut buffer = [0_u8; 256];
    // SAFETY: the call writes at most `buffer.len()` bytes into `buffer`, which outlives it,
    // and is thread-safe.
    let failed = unsafe { libc::strerror_r(code, buffer.as_mut_ptr().cast(), buffer.len()) } != 0;
    match CStr::from_bytes_until_nul(&buffer) {
        Ok(text) if !failed => text.to_string_lossy().into_owned(),
        _ => format!("Unknown error {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_are_those_of_the_c_library() {
        for (errno, text) in [
            (Errno::ENOENT, "No such file or directory"),
            (Errno::ECONNREFUSED, "Connection refused"),
            (Errno::EAGAIN, "Resource temporarily unavailable"),
            (Errno::EIO, "Input/output error"),
            (Errno::EPIPE, "Broken pipe"),
            (Errno::EBADF, "Bad file descriptor"),
            (Errno::UnknownErrno, "Success"),
        ] {
            assert_eq!(errno_text(errno), text);
        }
        assert_eq!(strerror(9999), "Unknown error 9999");
    }
}
