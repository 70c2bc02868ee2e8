//! A disk that takes its time: a library that is loaded before all others (LD_PRELOAD, or
//! /etc/ld.so.preload in a mount namespace) and makes fsync(2) and fdatasync(2) take longer.
//!
//! By how many milliseconds, the environment tells as SLOWSYNC_MS, or the file
//! /run/slowsync_ms, because master(8) cleans the environment of what it starts. The file is read
//! at every call, so that the figure can change while a daemon runs; one that has locked itself
//! in keeps the figure that there was at its start.
#![allow(unsafe_code, reason = "the C library's functions are replaced by their names")]

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

const VARIABLE: &str = "SLOWSYNC_MS";
const FILE: &str = "/run/slowsync_ms";

/// What was last known, in milliseconds.
static DELAY: AtomicU64 = AtomicU64::new(0);

// SAFETY: the loader calls what this section points to, in C's calling convention and before
// there is a thread; the arguments that it gives may be ignored.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    let given = std::env::var(VARIABLE).ok().and_then(|text| text.trim().parse().ok());
    DELAY.store(given.unwrap_or(0), Ordering::Relaxed);
    look();
}

/// Looks at the file, if it can be seen.
fn look() {
    let text = std::fs::read_to_string(FILE).ok();
    if let Some(milliseconds) = text.and_then(|text| text.trim().parse().ok()) {
        DELAY.store(milliseconds, Ordering::Relaxed);
    }
}

fn slowly(number: c_long, descriptor: c_int) -> c_int {
    look();
    sleep(Duration::from_millis(DELAY.load(Ordering::Relaxed)));
    // SAFETY: the call has one argument, a number, and touches no memory of ours. It sets errno
    // as the function does that it stands for.
    let result = unsafe { libc::syscall(number, descriptor) };
    c_int::try_from(result).unwrap_or(-1)
}

/// fsync(2).
// SAFETY: it has the signature of the function whose name it takes, and does what that does.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(descriptor: c_int) -> c_int {
    slowly(libc::SYS_fsync, descriptor)
}

/// fdatasync(2).
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(descriptor: c_int) -> c_int {
    slowly(libc::SYS_fdatasync, descriptor)
}
