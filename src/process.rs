//! Signals, limits, the ways to end, and what the kernel has; programs that are run beside.

pub mod task;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::wait::WaitStatus;

use crate::sys;

/// Signals that a daemon has no use for: a broken connection and a large file are reported by
/// the call that meets them.
pub fn ignore_signals() -> nix::Result<()> {
    sys::ignore_signal(Signal::SIGPIPE)?;
    sys::ignore_signal(Signal::SIGXFSZ)
}

/// Has these signals delivered through a descriptor from now on. Before the first thread.
pub fn catch(signals: &[Signal]) -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in signals {
        set.add(*signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Makes signals work as in any other program, for a child that starts others.
pub fn forget_signals() {
    // The set of signals is valid, which is all that could be wrong.
    let _ = SigSet::empty().thread_set_mask();
}

/// Ends this process as another one has ended.
pub fn end_as(status: WaitStatus) -> ! {
    match status {
        WaitStatus::Exited(_, code) => std::process::exit(code),
        WaitStatus::Signaled(_, signal, _) => {
            // The other process has left its core, if cores are wanted; ours would tell nothing.
            let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
            let _ = sys::default_signal(signal);
            forget_signals();
            let _ = raise(signal);
            std::process::exit(1)
        }
        _ => std::process::exit(1),
    }
}

/// Whether the kernel has sockets of a family: what it says if it has none.
///
/// # Errors
/// If that cannot be told.
pub fn has_family(family: AddressFamily) -> nix::Result<Result<(), Errno>> {
    match socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None) {
        Ok(_) => Ok(Ok(())),
        Err(errno @ (Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT)) => Ok(Err(errno)),
        Err(errno) => Err(errno),
    }
}

/// Raises the limit of open descriptors to what is needed, beyond the hard limit if we may.
/// Returns the limit in force.
pub fn raise_descriptor_limit(needed: u64) -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= needed {
        return Ok(soft);
    }
    if hard < needed && setrlimit(Resource::RLIMIT_NOFILE, needed, needed).is_ok() {
        return Ok(needed);
    }
    let wanted = needed.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families() {
        assert_eq!(has_family(AddressFamily::Inet), Ok(Ok(())));
        // The one that is nobody's.
        assert_eq!(has_family(AddressFamily::Unspec), Ok(Err(Errno::EAFNOSUPPORT)));
    }
}
