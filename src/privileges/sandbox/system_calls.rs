//! The system calls that a worker has a use for: the loop, the resolver, the log, SQLite, and the
//! C library on their behalf. All others are refused.
//!
//! Whatever makes a call that is missing here gets EPERM, and the log a warning
//! ([`refused`](crate::sys::refused)). Some calls the filter answers by itself: those by which the
//! C library starts processes, because all signals are blocked then; and those by which SQLite
//! looks at the name of a file that it closes, because that is nothing to warn of.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::Needs;
use crate::sys::refused;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Refuses all other calls, in this thread and those that it starts.
///
/// # Errors
/// Why it does not work; something may be refused already.
pub fn refuse_others(needs: Needs<'_>) -> Result<(), String> {
    refused::catch().map_err(|errno| match errno {
        nix::errno::Errno::ENOSYS => "not on this kind of processor".to_owned(),
        errno => crate::sys::errno_text(errno).to_owned(),
    })?;
    for program in programs(needs).map_err(|error| error.to_string())? {
        seccompiler::apply_filter(&program).map_err(|error| reason(&error))?;
    }
    Ok(())
}

fn reason(error: &seccompiler::Error) -> String {
    match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
            crate::sys::errno_text(crate::sys::errno_of(error)).to_owned()
        }
        other => other.to_string(),
    }
}

/// In the order in which they have to be set: the last one refuses to set others. Of their
/// answers the strictest counts, so it has to allow what the others refuse.
fn programs(needs: Needs<'_>) -> Result<[BpfProgram; 3], BackendError> {
    // The C library starts threads by it, and takes the older call if the kernel has none. What
    // it asks for is in memory, where a filter cannot look.
    let newer_clone = Rules::from([(libc::SYS_clone3, Vec::new())]);
    Ok([
        refusing(newer_clone, libc::ENOSYS)?,
        refusing(without_a_word(needs)?, libc::EPERM)?,
        program(allowed(needs)?, SeccompAction::Trap, SeccompAction::Allow)?,
    ])
}

fn refusing(rules: Rules, errno: i32) -> Result<BpfProgram, BackendError> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    program(rules, SeccompAction::Allow, errno)
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, matching, machine)?.try_into()
}

/// What would make a process, and not a thread of this one; and what looks at files by name.
fn without_a_word(needs: Needs<'_>) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let namespaces =
        [libc::CLONE_NEWNET, libc::CLONE_NEWIPC, libc::CLONE_NEWUTS, libc::CLONE_NEWCGROUP];
    let mut alternatives = vec![SeccompRule::new(vec![has_not(0, libc::CLONE_THREAD)?])?];
    for namespace in namespaces {
        alternatives.push(SeccompRule::new(vec![has(0, namespace)?])?);
    }
    rules.insert(libc::SYS_clone, alternatives);
    #[cfg(target_arch = "x86_64")]
    {
        rules.insert(libc::SYS_fork, Vec::new());
        rules.insert(libc::SYS_vfork, Vec::new());
    }
    if !needs.looks_at_files {
        // With the flag it is fstat(3) of newer C libraries.
        let by_name = SeccompRule::new(vec![has_not(3, libc::AT_EMPTY_PATH)?])?;
        rules.insert(libc::SYS_newfstatat, vec![by_name]);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_stat, Vec::new());
    }
    Ok(rules)
}

/// Allowed whatever the arguments.
const ALWAYS: &[c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Files that are open: the cache above all. Names of files are refused elsewhere.
    libc::SYS_close,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    // Events.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    // Sockets that are there.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Threads. What would be processes is refused elsewhere, by all its names.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_gettid,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    // Signals.
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // Time, where it is not to be had without the kernel.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // What only tells something. sysinfo(2) is for qsort(3).
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// The same on processors that have kept their oldest calls.
#[cfg(target_arch = "x86_64")]
const ALWAYS_HERE: &[c_long] = &[
    libc::SYS_epoll_wait,
    libc::SYS_fork,
    libc::SYS_poll,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_HERE: &[c_long] = &[];

/// Looking at files without opening them.
const LOOKS: &[c_long] = &[libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_statx];
#[cfg(target_arch = "x86_64")]
const LOOKS_HERE: &[c_long] = &[libc::SYS_access, libc::SYS_lstat];
#[cfg(not(target_arch = "x86_64"))]
const LOOKS_HERE: &[c_long] = &[];

fn allowed(needs: Needs<'_>) -> Result<Rules, BackendError> {
    let mut rules: Rules =
        ALWAYS.iter().chain(ALWAYS_HERE).map(|call| (*call, Vec::new())).collect();
    let mut allow = |call: c_long, conditions: Vec<SeccompCondition>| {
        SeccompRule::new(conditions).map(|rule| rules.entry(call).or_default().push(rule))
    };

    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        allow(call, vec![has_not(2, libc::PROT_EXEC)?])?;
    }
    for command in [
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETLK,
        libc::F_SETLK,
        libc::F_SETLKW,
    ] {
        allow(libc::SYS_fcntl, vec![is(1, number(command))?])?;
    }
    // Sockets that do not block; and what waits in one.
    for request in [libc::FIONBIO, libc::FIONREAD, libc::TIOCOUTQ] {
        allow(libc::SYS_ioctl, vec![is(1, request & u64::from(u32::MAX))?])?;
    }
    // Threads get names, and with newer C libraries memory too.
    for option in [libc::PR_SET_NAME, libc::PR_SET_VMA] {
        allow(libc::SYS_prctl, vec![is(0, number(option))?])?;
    }
    // To ask, not to set.
    allow(
        libc::SYS_prlimit64,
        vec![SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?],
    )?;
    // abort(3) sends a signal to ourselves.
    let own = u64::from(std::process::id());
    allow(libc::SYS_tgkill, vec![is(0, own)?])?;
    // Files that are open; where all may be looked at, see below.
    allow(libc::SYS_statx, vec![has(2, libc::AT_EMPTY_PATH)?])?;

    for (family, kind) in needs.sockets() {
        let conditions = vec![is(0, number(family))?, masked(1, 0xf, kind)?, is(2, 0)?];
        allow(libc::SYS_socket, conditions)?;
    }

    if needs.asks_name_servers {
        rules.insert(libc::SYS_bind, Vec::new());
    }
    if needs.looks_at_files {
        rules.extend(LOOKS.iter().chain(LOOKS_HERE).map(|call| (*call, Vec::new())));
    }
    Ok(rules)
}

impl Needs<'_> {
    /// Families and types of the sockets that are made.
    fn sockets(self) -> Vec<(i32, i32)> {
        let mut sockets = vec![
            (libc::AF_UNIX, libc::SOCK_STREAM),
            // The log.
            (libc::AF_UNIX, libc::SOCK_DGRAM),
        ];
        for family in [libc::AF_INET, libc::AF_INET6] {
            if self.asks_name_servers {
                sockets.push((family, libc::SOCK_DGRAM));
            }
            if !self.tcp_ports.is_empty() {
                sockets.push((family, libc::SOCK_STREAM));
            }
        }
        sockets
    }
}

/// A flag or number of the C library, as the kernel compares it.
fn number(value: i32) -> u64 {
    value.cast_unsigned().into()
}

fn is(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: i32, value: i32) -> Result<SeccompCondition, BackendError> {
    let operator = SeccompCmpOp::MaskedEq(number(mask));
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, number(value))
}

fn has(argument: u8, flag: i32) -> Result<SeccompCondition, BackendError> {
    masked(argument, flag, flag)
}

fn has_not(argument: u8, flag: i32) -> Result<SeccompCondition, BackendError> {
    masked(argument, flag, 0)
}
