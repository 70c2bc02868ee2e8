//! The only unsafe code: calls that no safe wrapper offers.
#![allow(unsafe_code)]

pub mod cut_off;
pub mod fault;
pub mod lmdb;
pub mod message;
#[cfg(feature = "pcre")]
pub mod pcre;
pub mod refused;
#[cfg(test)]
pub mod written;

use std::ffi::{CStr, OsStr};
use std::fmt;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
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

/// Takes over a descriptor that the parent process opened for us, if it is open. From now on no
/// program that is executed has it: else a postmap(1) that hangs would go on listening.
///
/// Call it at most once for each number, before anything else is opened.
pub fn adopt(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_SETFD has no effect on memory, and fails if the descriptor is not open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, was inherited, and nothing else in this process
    // owns it: the caller asks once for each number.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets a program that takes this process's place have a descriptor. Whether there is one with
/// this number is for that program to find out.
pub fn pass_on(fd: RawFd) {
    // SAFETY: F_SETFD has no effect on memory, and none on who owns the descriptor here.
    unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
}

/// Under which name this program was executed. Unlike /proc/self/exe, it has the symbolic
/// links still in it.
pub fn executed_as() -> Option<PathBuf> {
    // SAFETY: the call has no preconditions.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) };
    let name = std::ptr::with_exposed_provenance::<libc::c_char>(usize::try_from(name).ok()?);
    if name.is_null() {
        return None;
    }
    // SAFETY: the kernel has put this text, which ends in a NUL, above the stack, where it stays
    // as long as the process; nobody writes to it.
    let name = unsafe { CStr::from_ptr(name) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

/// How many descriptors are open of those below a number.
pub fn open_descriptors(below: usize) -> usize {
    // Beyond these nobody has any at a start.
    let numbers = 0..RawFd::try_from(below.min(4096)).unwrap_or(4096);
    // SAFETY: F_GETFD has no effect on memory or on the descriptor.
    numbers.filter(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0).count()
}

/// Gives memory back to the system that was freed, but is kept for later.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only concerns what is free, and may be called by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
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

/// Has an epoll instance watch for input at a socket that other processes watch, too, such that
/// not all of them are woken for it (`EPOLLEXCLUSIVE`, edges). mio has no word for that.
pub fn epoll_add_shared(
    epoll: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    token: u64,
) -> nix::Result<()> {
    let events = libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE;
    let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: token };
    // SAFETY: both descriptors are open for the length of the call, which reads `event` only.
    Errno::result(unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
    })
    .map(drop)
}

/// Whether a page of a file can be shared with other processes, as SQLite does with its index.
///
/// # Errors
/// Those of mmap(2).
pub fn try_sharing(file: BorrowedFd<'_>) -> nix::Result<()> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
    let length = std::num::NonZeroUsize::MIN;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses a place where nothing is, nobody reads or writes what is mapped
    // there, and it is gone before anybody else can know of it.
    unsafe {
        let place = mmap(None, length, access, MapFlags::MAP_SHARED, file, 0)?;
        munmap(place, length.get())
    }
}

/// Gives a signal back its default effect.
pub fn default_signal(signal: nix::sys::signal::Signal) -> nix::Result<()> {
    // SAFETY: the default disposition runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }.map(drop)
}

/// Whether a signal is ignored.
pub fn is_ignored(signal: nix::sys::signal::Signal) -> bool {
    // SAFETY: integers and pointers, for which zero is a valid value.
    let mut action = unsafe { std::mem::zeroed::<libc::sigaction>() };
    // SAFETY: nothing is changed, and `action` outlives the call.
    let failed = unsafe { libc::sigaction(signal as i32, std::ptr::null(), &raw mut action) } != 0;
    !failed && action.sa_sigaction == libc::SIG_IGN
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

/// The error number of an error that came from a system call; EIO for any other.
pub fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
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

/// How a regular expression is to be understood: the flags of regcomp(3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegexOptions {
    /// Extended syntax, not basic.
    pub extended: bool,
    /// Letter case does not matter.
    pub ignore_case: bool,
    /// Line ends are special: `.` does not match them, `^` and `$` match beside them.
    pub line_by_line: bool,
    /// Where groups match is wanted. Without that a search costs less.
    pub captures: bool,
}

/// A compiled POSIX regular expression, regex(7). As the process never calls setlocale(3),
/// it works on bytes, and letters are those of ASCII.
pub struct Regex {
    /// In a box, as POSIX does not promise that it may be moved.
    compiled: Box<libc::regex_t>,
}

/// Where the groups of a [`Regex`] match.
#[derive(Debug)]
pub struct Captures(Vec<libc::regmatch_t>);

/// The place of `re_nsub` in a `regex_t`, in words: the libc crate does not tell.
const GROUPS_WORD: usize = if cfg!(target_env = "musl") { 0 } else { 6 };

const _: () = assert!(size_of::<libc::regex_t>() >= (GROUPS_WORD + 1) * size_of::<usize>());

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in the C library's words.
    pub fn compile(pattern: &CStr, options: RegexOptions) -> Result<Regex, String> {
        let flags = [
            (options.extended, libc::REG_EXTENDED),
            (options.ignore_case, libc::REG_ICASE),
            (options.line_by_line, libc::REG_NEWLINE),
            (!options.captures, libc::REG_NOSUB),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        // SAFETY: a `regex_t` is integers and pointers, for which zero is a valid value.
        let mut compiled = Box::new(unsafe { std::mem::zeroed::<libc::regex_t>() });
        // SAFETY: both pointers are valid for the call, and the pattern ends in a NUL.
        let code = unsafe { libc::regcomp(&raw mut *compiled, pattern.as_ptr(), flags) };
        if code == 0 {
            Ok(Regex { compiled })
        } else {
            // What failed to compile has been freed, or never owned anything: no `Regex`,
            // which would free it again.
            Err(regex_error(code, &compiled))
        }
    }

    /// How many groups the pattern has.
    pub fn groups(&self) -> usize {
        // SAFETY: the read is within the `regex_t` (see the assertion above) and aligned, and
        // the word is its member `re_nsub`, which regcomp(3) has set.
        unsafe { (&raw const *self.compiled).cast::<usize>().add(GROUPS_WORD).read() }
    }

    /// Whether the pattern matches somewhere.
    ///
    /// # Errors
    ///
    /// Why that cannot be told (memory), in the C library's words.
    pub fn matches(&self, subject: &CStr) -> Result<bool, String> {
        self.execute(subject, &mut [])
    }

    /// Where the first `groups` groups match; `None` if the pattern does not match. The
    /// pattern must have been compiled with captures, else the groups are nowhere.
    ///
    /// # Errors
    ///
    /// Why that cannot be told (memory), in the C library's words.
    pub fn captures(&self, subject: &CStr, groups: usize) -> Result<Option<Captures>, String> {
        let nowhere = libc::regmatch_t { rm_so: -1, rm_eo: -1 };
        // Number 0 is the whole match.
        let mut found = vec![nowhere; groups.saturating_add(1)];
        Ok(self.execute(subject, &mut found)?.then_some(Captures(found)))
    }

    fn execute(&self, subject: &CStr, found: &mut [libc::regmatch_t]) -> Result<bool, String> {
        // SAFETY: the pattern is compiled, the subject ends in a NUL, and the call writes at
        // most `found.len()` entries. It does not keep any of the pointers.
        let code = unsafe {
            libc::regexec(
                &raw const *self.compiled,
                subject.as_ptr(),
                found.len(),
                found.as_mut_ptr(),
                0,
            )
        };
        match code {
            0 => Ok(true),
            libc::REG_NOMATCH => Ok(false),
            code => Err(regex_error(code, &self.compiled)),
        }
    }
}

impl Captures {
    /// The bytes of the subject that a group matched; `None` if it took no part. Groups count
    /// from 1.
    pub fn get(&self, group: usize) -> Option<Range<usize>> {
        let found = self.0.get(group)?;
        Some(usize::try_from(found.rm_so).ok()?..usize::try_from(found.rm_eo).ok()?)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regex").field("groups", &self.groups()).finish_non_exhaustive()
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: a `Regex` exists only when regcomp(3) has succeeded, and this is the only
        // place that frees.
        unsafe { libc::regfree(&raw mut *self.compiled) };
    }
}

fn regex_error(code: libc::c_int, regex: &libc::regex_t) -> String {
    let mut buffer = [0_u8; 256];
    // SAFETY: the call writes at most `buffer.len()` bytes into `buffer`, which outlives it.
    unsafe { libc::regerror(code, regex, buffer.as_mut_ptr().cast(), buffer.len()) };
    match CStr::from_bytes_until_nul(&buffer) {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("Unknown error {code}"),
    }
}

/// What is tried in tests, and no part of the program.
#[cfg(test)]
pub mod attempts {
    use std::num::NonZeroUsize;

    use nix::errno::Errno;
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};

    const LENGTH: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

    fn map(access: ProtFlags) -> nix::Result<std::ptr::NonNull<std::ffi::c_void>> {
        // SAFETY: the kernel chooses a place where nothing is.
        unsafe { mmap_anonymous(None, LENGTH, access, MapFlags::MAP_PRIVATE) }
    }

    /// Memory that is code from the start.
    pub fn map_executable() -> nix::Result<()> {
        map(ProtFlags::PROT_READ | ProtFlags::PROT_EXEC).map(drop)
    }

    /// Memory that was data before.
    pub fn make_executable() -> nix::Result<()> {
        let place = map(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        // SAFETY: nobody uses what is there.
        unsafe { mprotect(place, LENGTH.get(), ProtFlags::PROT_READ | ProtFlags::PROT_EXEC) }
    }

    /// As the kernel has it; the child is gone at once.
    pub fn fork() -> nix::Result<()> {
        // SAFETY: what follows in the child is one system call.
        let result = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        if result == 0 {
            // SAFETY: the end of a process that nobody waits for.
            unsafe { libc::_exit(0) };
        }
        Errno::result(result).map(drop)
    }

    /// A call that makes no sense.
    pub fn call(number: libc::c_long) -> nix::Result<()> {
        // SAFETY: every argument is zero, and stands for no memory of ours.
        Errno::result(unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) }).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENDED: RegexOptions =
        RegexOptions { extended: true, ignore_case: false, line_by_line: false, captures: true };

    #[test]
    fn regular_expressions_and_their_groups() {
        let regex = Regex::compile(c"(a)(b)?(c*)", EXTENDED).unwrap();
        assert_eq!(regex.groups(), 3);
        assert_eq!(regex.matches(c"xxa"), Ok(true));
        assert_eq!(regex.matches(c"xx"), Ok(false));
        assert!(regex.captures(c"xx", 3).unwrap().is_none());
        let found = regex.captures(c"xxac", 3).unwrap().unwrap();
        assert_eq!([0, 1, 2, 3].map(|n| found.get(n)), [Some(2..4), Some(2..3), None, Some(3..4)]);
        assert_eq!(found.get(4), None);
        // Fewer and more than there are.
        assert_eq!(regex.captures(c"xxac", 1).unwrap().unwrap().get(3), None);
        assert_eq!(regex.captures(c"xxac", 90).unwrap().unwrap().get(4), None);
        let basic =
            Regex::compile(c"\\(a\\)(", RegexOptions { extended: false, ..EXTENDED }).unwrap();
        assert_eq!((basic.groups(), basic.matches(c"a(")), (1, Ok(true)));
    }

    #[test]
    fn options_of_regular_expressions() {
        let matches = |pattern, options, subject| {
            Regex::compile(pattern, options).unwrap().matches(subject).unwrap()
        };
        assert!(!matches(c"A", EXTENDED, c"a"));
        assert!(matches(c"A", RegexOptions { ignore_case: true, ..EXTENDED }, c"a"));
        assert!(!matches(c"^b", EXTENDED, c"a\nb"));
        assert!(matches(c"^b", RegexOptions { line_by_line: true, ..EXTENDED }, c"a\nb"));
        let without = RegexOptions { captures: false, ..EXTENDED };
        assert!(matches(c"(a)\\1", without, c"aa"));
        assert!(!matches(c"(a)\\1", without, c"ab"));
        let regex = Regex::compile(c"(a)", without).unwrap();
        assert_eq!(regex.captures(c"a", 1).unwrap().unwrap().get(1), None);
        // Bytes, not characters.
        assert!(matches(c"^..$", EXTENDED, c"\xc3\xa9"));
        assert!(matches(c"^[^a]$", EXTENDED, c"\xff"));
    }

    #[test]
    fn broken_regular_expressions() {
        for (pattern, text) in [
            (c"(", "Unmatched ( or \\("),
            (c"[[:alpha:]", "Unmatched [, [^, [:, [., or [="),
            (c"*", "Invalid preceding regular expression"),
            (c"(a)\\2", "Invalid back reference"),
        ] {
            assert_eq!(Regex::compile(pattern, EXTENDED).err().as_deref(), Some(text));
        }
    }

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
