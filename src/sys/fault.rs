//! A way out of faults, and of abort(3), to which allocations that fail lead: a program that is
//! executed in place of this one. Where a fault happens nothing may be allocated or locked, so
//! everything is made before.

use std::ffi::{CString, c_char, c_int};
use std::fmt;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

/// What a process meets by a fault of its own.
pub const FAULTS: [Signal; 5] =
    [Signal::SIGABRT, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE];

static WAY_OUT: OnceLock<fn(Signal)> = OnceLock::new();

/// A program and its arguments, ready to be executed.
pub struct Execution {
    path: CString,
    /// `pointers` point into it.
    _arguments: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers are to memory that the value owns and that nobody changes.
unsafe impl Send for Execution {}
// SAFETY: as above.
unsafe impl Sync for Execution {}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Execution {
    /// The first argument is the name under which it is executed.
    pub fn new(path: CString, arguments: Vec<CString>) -> Execution {
        let end = std::iter::once(std::ptr::null());
        let pointers = arguments.iter().map(|word| word.as_ptr()).chain(end).collect();
        Execution { path, _arguments: arguments, pointers }
    }

    /// Executes it with the environment of this process. Comes back only if that fails.
    /// It may be called from a signal handler.
    pub fn execute(&self) -> Errno {
        // SAFETY: a path that ends in a NUL, and an array of such texts that ends in a null
        // pointer; all of it lives as long as `self`.
        unsafe { libc::execv(self.path.as_ptr(), self.pointers.as_ptr()) };
        Errno::last()
    }
}

/// At a fault from now on, calls this; when it comes back the process ends as it would have.
/// It must not allocate, lock, or call what is not safe in a signal handler. Only the first one
/// counts.
///
/// # Errors
/// A handler cannot be installed.
pub fn on_fault(way_out: fn(Signal)) -> nix::Result<()> {
    WAY_OUT.get_or_init(|| way_out);
    // Once: what happens after that has its default effect. On a stack of its own, which the
    // standard library has made: the usual one may have run out.
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::Handler(handle), flags, SigSet::empty());
    for signal in FAULTS {
        // SAFETY: the handler reads two atomics and calls what has promised to be harmless.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

extern "C" fn handle(number: c_int) {
    if let (Some(way_out), Ok(signal)) = (WAY_OUT.get(), Signal::try_from(number)) {
        way_out(signal);
        // It comes when this function has returned, and ends the process: also one that was sent
        // the signal by somebody else, where nothing would happen again.
        let _ = raise(signal);
    }
}
