//! The only unsafe code: calls that no safe wrapper offers.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

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
