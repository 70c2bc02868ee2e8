//! A clock that can be set without setting that of the machine: a library that is loaded before
//! all others (LD_PRELOAD) and makes the wall clock differ.
//!
//! By how many seconds, the first eight bytes of the file /run/setclock tell, a number in the
//! machine's order. The next eight tell for how many seconds the machine was suspended, which is
//! added to what the clocks say that go on in suspend. They are mapped at the start of a process, so that a change is seen at once,
//! also by a process that has locked itself in. What the kernel itself stamps, such as the times
//! of files, stays right.
#![allow(unsafe_code, reason = "the C library's functions are replaced by their names")]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::{self, null_mut};
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

const FILE: &str = "/run/setclock";

/// Where the numbers are; null if there is no file.
static NUMBERS: AtomicPtr<[AtomicI64; 2]> = AtomicPtr::new(null_mut());

// SAFETY: the loader calls what this section points to, in C's calling convention and before
// there is a thread; the arguments that it gives may be ignored.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    let Ok(file) = File::open(FILE) else { return };
    // SAFETY: a new mapping, which nobody else knows and which is never removed.
    let place = unsafe {
        libc::mmap(null_mut(), 16, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if ptr::eq(place, libc::MAP_FAILED) {
        return;
    }
    NUMBERS.store(place.cast(), Ordering::Relaxed);
}

/// What to add to a clock.
fn ahead(clock: libc::clockid_t) -> i64 {
    let place = NUMBERS.load(Ordering::Relaxed);
    // SAFETY: null, or the mapping, which is aligned to a page and only read.
    let Some([set, suspended]) = (unsafe { place.as_ref() }) else { return 0 };
    let suspended = suspended.load(Ordering::Relaxed);
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            set.load(Ordering::Relaxed) + suspended
        }
        libc::CLOCK_BOOTTIME => suspended,
        _ => 0,
    }
}

/// clock_gettime(2).
///
/// # Safety
/// As that function: there must be room for the answer.
// SAFETY: it has the signature of the function whose name it takes, and does what that does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    // SAFETY: the caller's room, as for the function that it stands for.
    unsafe {
        let result = libc::syscall(libc::SYS_clock_gettime, clock, time);
        if result == 0 {
            (*time).tv_sec += ahead(clock);
        }
        c_int::try_from(result).unwrap_or(-1)
    }
}

/// gettimeofday(2).
///
/// # Safety
/// As that function: there must be room for the answer, or null.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut libc::timeval, zone: *mut c_void) -> c_int {
    // SAFETY: as above.
    unsafe {
        let result = libc::syscall(libc::SYS_gettimeofday, time, zone);
        if result == 0 && !time.is_null() {
            (*time).tv_sec += ahead(libc::CLOCK_REALTIME);
        }
        c_int::try_from(result).unwrap_or(-1)
    }
}

/// time(2).
///
/// # Safety
/// As that function: there must be room for the answer, or null.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(place: *mut libc::time_t) -> libc::time_t {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the room is here, and the caller's.
    unsafe {
        clock_gettime(libc::CLOCK_REALTIME, &raw mut now);
        if !place.is_null() {
            *place = now.tv_sec;
        }
    }
    now.tv_sec
}
