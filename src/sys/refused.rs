//! System calls that a filter has refused: their callers get EPERM, and whoever logs next hears of
//! it.
//!
//! The kernel reports a refusal by SIGSYS to the thread that made the call. The handler answers in
//! its place and takes a note; it makes no call itself. Where SIGSYS is blocked it would be the
//! process's end, so no thread of ours may block it.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

/// Notes are taken of numbers below this; what is above stands for any other.
const NUMBERS: usize = 1024;

const WORDS: usize = NUMBERS / 64;

/// The bit of a number is set in `SEEN` when it was refused, and in `TOLD` when somebody was told.
static SEEN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static TOLD: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// There is something in `SEEN` that is not in `TOLD`.
static NEWS: AtomicBool = AtomicBool::new(false);

/// Has this thread, and those that it starts, survive refused calls.
///
/// # Errors
/// The C library refuses the handler, or this kind of processor is not known.
pub fn catch() -> Result<(), Errno> {
    if !machine::IS_KNOWN {
        return Err(Errno::ENOSYS);
    }
    // SAFETY: a `sigaction` is integers and pointers, for which zero is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_refusal;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for, and does nothing but
    // atomic operations and writes to its context: it is safe at any moment.
    Errno::result(unsafe {
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut())
    })?;
    // The C library copies a process while all signals are blocked, so that the filter must
    // answer by itself then. This is how such an attempt gets noted all the same.
    // SAFETY: the function does nothing but atomic operations.
    Errno::result(unsafe { libc::pthread_atfork(Some(note_fork), None, None) })?;
    let mut set = SigSet::empty();
    set.add(Signal::SIGSYS);
    set.thread_unblock()
}

/// All signals that a thread which wants none may block.
pub fn others() -> SigSet {
    let mut set = SigSet::all();
    set.remove(Signal::SIGSYS);
    set
}

/// The calls that were refused and that nobody was told of, by name. Each call comes once in the
/// life of a process.
pub fn news() -> Vec<String> {
    // Nearly always there is none, and this is asked with every record.
    if !NEWS.load(Ordering::Relaxed) || !NEWS.swap(false, Ordering::AcqRel) {
        return Vec::new();
    }
    let mut names = Vec::new();
    for (number, (seen, told)) in (0..).step_by(64).zip(SEEN.iter().zip(&TOLD)) {
        let all = seen.load(Ordering::Acquire);
        let fresh = all & !told.fetch_or(all, Ordering::AcqRel);
        names.extend((0..64).filter(|bit| fresh >> bit & 1 == 1).map(|bit| name(number + bit)));
    }
    names
}

fn note(number: usize) {
    let number = number.min(NUMBERS - 1);
    let bit = 1 << (number % 64);
    if let Some(word) = SEEN.get(number / 64)
        && word.fetch_or(bit, Ordering::AcqRel) & bit == 0
    {
        NEWS.store(true, Ordering::Release);
    }
}

extern "C" fn note_fork() {
    note(usize::try_from(libc::SYS_clone).unwrap_or(NUMBERS));
}

/// `si_code` of a SIGSYS from a filter.
const SYS_SECCOMP: libc::c_int = 1;

/// The start of a `siginfo_t` of SIGSYS.
#[repr(C)]
struct Refusal {
    signal: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    call_address: *const libc::c_void,
    number: libc::c_int,
    architecture: libc::c_uint,
}

const _: () = assert!(size_of::<Refusal>() <= size_of::<libc::siginfo_t>());

extern "C" fn on_refusal(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over a valid `siginfo_t`, whose first members these are when a
    // filter sent it; the size and alignment are no larger than its own, and any bits are valid.
    let refusal = unsafe { &*info.cast::<Refusal>() };
    // Somebody may send SIGSYS by kill(2). That has no effect.
    if refusal.code == SYS_SECCOMP {
        note(usize::try_from(refusal.number).unwrap_or(NUMBERS));
        // SAFETY: the kernel hands over a valid `ucontext_t`, which is ours until we return.
        unsafe { machine::answer(&mut *context.cast::<libc::ucontext_t>(), -libc::EPERM) };
    }
}

#[cfg(target_arch = "x86_64")]
mod machine {
    pub const IS_KNOWN: bool = true;

    /// What the interrupted call is to return.
    pub fn answer(context: &mut libc::ucontext_t, value: i32) {
        let index = usize::try_from(libc::REG_RAX).unwrap_or_default();
        if let Some(register) = context.uc_mcontext.gregs.get_mut(index) {
            *register = value.into();
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    pub const IS_KNOWN: bool = true;

    /// What the interrupted call is to return.
    pub fn answer(context: &mut libc::ucontext_t, value: i32) {
        if let Some(register) = context.uc_mcontext.regs.first_mut() {
            *register = i64::from(value).cast_unsigned();
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod machine {
    pub const IS_KNOWN: bool = false;

    pub fn answer(_context: &mut libc::ucontext_t, _value: i32) {}
}

macro_rules! names {
    ($($name:ident $call:ident),* $(,)?) => {
        &[$((libc::$call, stringify!($name))),*]
    };
}

/// Calls that may be met, and what they are called.
const NAMES: &[(libc::c_long, &str)] = names![
    bind SYS_bind, bpf SYS_bpf, capset SYS_capset, chdir SYS_chdir, chroot SYS_chroot,
    clone SYS_clone, clone3 SYS_clone3, connect SYS_connect, dup SYS_dup, dup3 SYS_dup3,
    execve SYS_execve, execveat SYS_execveat, faccessat SYS_faccessat, faccessat2 SYS_faccessat2,
    fchdir SYS_fchdir, fchmod SYS_fchmod, fchmodat SYS_fchmodat, fchown SYS_fchown,
    fchownat SYS_fchownat, fcntl SYS_fcntl, flock SYS_flock, fstatfs SYS_fstatfs,
    getdents64 SYS_getdents64, getcwd SYS_getcwd, io_uring_setup SYS_io_uring_setup,
    ioctl SYS_ioctl, kill SYS_kill, linkat SYS_linkat, listen SYS_listen,
    memfd_create SYS_memfd_create, mkdirat SYS_mkdirat, mknodat SYS_mknodat, mmap SYS_mmap,
    mount SYS_mount, mprotect SYS_mprotect, name_to_handle_at SYS_name_to_handle_at,
    newfstatat SYS_newfstatat, openat SYS_openat, openat2 SYS_openat2, personality SYS_personality,
    pidfd_open SYS_pidfd_open, pipe2 SYS_pipe2, pkey_mprotect SYS_pkey_mprotect, prctl SYS_prctl,
    prlimit64 SYS_prlimit64, process_vm_readv SYS_process_vm_readv,
    process_vm_writev SYS_process_vm_writev, ptrace SYS_ptrace, readlinkat SYS_readlinkat,
    renameat SYS_renameat, renameat2 SYS_renameat2, seccomp SYS_seccomp, setfsuid SYS_setfsuid,
    setgid SYS_setgid, setgroups SYS_setgroups, setns SYS_setns, setresuid SYS_setresuid,
    setsid SYS_setsid, setuid SYS_setuid, signalfd4 SYS_signalfd4, socket SYS_socket,
    socketpair SYS_socketpair, splice SYS_splice, statfs SYS_statfs, statx SYS_statx,
    symlinkat SYS_symlinkat, tgkill SYS_tgkill, timerfd_create SYS_timerfd_create,
    truncate SYS_truncate, umask SYS_umask, unlinkat SYS_unlinkat, unshare SYS_unshare,
    userfaultfd SYS_userfaultfd, utimensat SYS_utimensat, wait4 SYS_wait4,
];

/// Those that newer processors have no more.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[(libc::c_long, &str)] = names![
    access SYS_access, chmod SYS_chmod, chown SYS_chown, creat SYS_creat, dup2 SYS_dup2,
    fork SYS_fork, getdents SYS_getdents, link SYS_link, lstat SYS_lstat, mkdir SYS_mkdir,
    mknod SYS_mknod, open SYS_open, pipe SYS_pipe, readlink SYS_readlink, rename SYS_rename,
    rmdir SYS_rmdir, select SYS_select, stat SYS_stat, symlink SYS_symlink, unlink SYS_unlink,
    vfork SYS_vfork,
];

#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[(libc::c_long, &str)] = &[];

fn name(number: usize) -> String {
    let is_it = |call: &libc::c_long| usize::try_from(*call) == Ok(number);
    let known = NAMES.iter().chain(OLD_NAMES).find(|(call, _)| is_it(call));
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_told_of_once() {
        assert!(news().is_empty());
        let openat = usize::try_from(libc::SYS_openat).unwrap();
        note(openat);
        note(1000);
        note(openat);
        note(usize::MAX);
        assert_eq!(news(), ["openat", "1000", "1023"]);
        note(1000);
        assert!(news().is_empty());
        note(65);
        assert_eq!(news().len(), 1);
    }
}
