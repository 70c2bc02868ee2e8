//! Files that are cut off while they are mapped.
//!
//! SQLite maps the index of its log, and the kernel kills whoever touches a mapped page that the
//! file does not have any more: because somebody has emptied the file, or because a disk has given
//! up. In place of such a page comes an empty one of our own, and whoever uses the file is told.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::errno::Errno;

static HAPPENED: AtomicBool = AtomicBool::new(false);
/// The size of a page; 0 until that is known.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// From now on a file that is cut off does not kill this process.
///
/// # Errors
/// Those of sigaction(2).
pub fn survive() -> Result<(), Errno> {
    // SAFETY: it only answers a question.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE.store(usize::try_from(page).unwrap_or(4_096), Ordering::Relaxed);
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    // SAFETY: an all-zero action with an empty mask is valid; the handler has the signature that
    // SA_SIGINFO asks for, calls nothing that a signal handler must not, and stays.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut())
    };
    Errno::result(result).map(drop)
}

/// Whether it has happened.
pub fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

extern "C" fn on_bus_error(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let page = PAGE.load(Ordering::Relaxed);
    // SAFETY: the kernel gives us a valid `siginfo_t`, with an address for this signal. What is
    // replaced is a page of a mapped file that nobody can read or write any more. Whoever touched
    // it goes on with an empty one, which SQLite's checksums tell from a good one. mmap(2),
    // signal(2) and raise(3) are plain system calls.
    unsafe {
        if (*info).si_code == libc::BUS_ADRERR && page > 0 {
            let start = (*info).si_addr() as usize & !(page - 1);
            let place = libc::mmap(
                start as *mut c_void,
                page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            );
            if place != libc::MAP_FAILED {
                HAPPENED.store(true, Ordering::Relaxed);
                return;
            }
        }
        // Once more, and to the death. What somebody has sent does not come again by itself.
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
        libc::raise(libc::SIGBUS);
    }
}
