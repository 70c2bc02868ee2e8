//! Signals, limits, the ways to end, and what the kernel has; programs that are run beside.

pub mod note;
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
const IGNORED: [Signal; 2] = [Signal::SIGPIPE, Signal::SIGXFSZ];

/// Ignores the signals that a daemon has no use for.
pub fn ignore_signals() -> nix::Result<()> {
    IGNORED.into_iter().try_for_each(sys::ignore_signal)
}

/// What this process was given and changes for itself: a program that takes its place is to find
/// it as it was.
#[derive(Clone, Debug)]
pub struct Outset {
    mask: Option<SigSet>,
    /// Of the signals that are ignored later on, those that were not.
    heeded: Vec<Signal>,
    /// Soft and hard limit of open descriptors.
    descriptors: Option<(u64, u64)>,
}

impl Outset {
    /// Before anything is changed.
    pub fn note() -> Outset {
        Outset {
            mask: SigSet::thread_get_mask().ok(),
            heeded: IGNORED.into_iter().filter(|signal| !sys::is_ignored(*signal)).collect(),
            descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok(),
        }
    }

    /// Undoes what was changed. It may end the process, by a signal that was held back.
    pub fn restore(&self) {
        // Nothing can fail here for what was so before.
        for signal in &self.heeded {
            let _ = sys::default_signal(*signal);
        }
        if let Some((soft, hard)) = self.descriptors {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
        }
        if let Some(mask) = &self.mask {
            let _ = mask.thread_set_mask();
        }
    }
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

    /// In a thread of its own, as the mask is the thread's; the limit and what is ignored are the
    /// process's, so that they are only noted and set to what they are.
    #[test]
    fn the_mask_is_put_back() {
        std::thread::spawn(|| {
            let before = SigSet::thread_get_mask().unwrap();
            let outset = Outset::note();
            let _signals = catch(&[Signal::SIGUSR2]).unwrap();
            assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR2));
            outset.restore();
            assert_eq!(SigSet::thread_get_mask().unwrap(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn families() {
        assert_eq!(has_family(AddressFamily::Inet), Ok(Ok(())));
        // The one that is nobody's.
        assert_eq!(has_family(AddressFamily::Unspec), Ok(Err(Errno::EAFNOSUPPORT)));
    }
}
