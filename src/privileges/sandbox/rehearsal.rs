//! Which layers can be had, and do not keep a worker from its work: tried in a process of its
//! own, which a layer may kill.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::get_no_new_privs;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::wait::{WaitStatus, waitpid};

use super::{Layer, Needs, Role, Sandbox};
use crate::sys::{self, Fork, errno_text};

/// How long a rehearsal may take.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Finds out which layers can be had. `log` is where the log service's socket may be. The lines
/// are for the log: what is in force, and what is left out.
///
/// This process must have one thread.
pub fn rehearse(role: Role<'_>, needs: Needs<'_>, log: &[PathBuf]) -> (Sandbox, Vec<String>) {
    let all = Sandbox::new(&Layer::ALL, needs);
    if let Ok(in_force) = attempt(&all, role, log) {
        return (all, vec![in_force_line(&in_force)]);
    }
    let mut kept = Vec::new();
    let (mut in_force, mut lines) = (String::new(), Vec::new());
    for layer in Layer::ALL {
        kept.push(layer);
        match attempt(&Sandbox::new(&kept, needs), role, log) {
            Ok(names) => in_force = names,
            Err(reason) => {
                kept.pop();
                lines.push(format!("sandbox: left out {layer}: {reason}"));
            }
        }
    }
    lines.insert(0, in_force_line(&in_force));
    (Sandbox::new(&kept, needs), lines)
}

fn in_force_line(names: &str) -> String {
    format!("sandbox: {}", if names.is_empty() { "none" } else { names })
}

/// Tries a sandbox; returns what the log calls it, or why it cannot be had.
fn attempt(sandbox: &Sandbox, role: Role<'_>, log: &[PathBuf]) -> Result<String, String> {
    let failed = |error: io::Error| error.to_string();
    let (reader, mut writer) = io::pipe().map_err(failed)?;
    match sys::fork().map_err(|errno| errno_text(errno).to_owned())? {
        Fork::Child => {
            drop(reader);
            // Whatever ends it, there is nothing to be learned from its memory.
            let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
            let text = match perform(sandbox, role, log) {
                Ok(names) => format!("+{names}"),
                Err(reason) => format!("-{reason}"),
            };
            // Who cannot tell is told of by its end.
            let _ = writer.write_all(text.as_bytes());
            std::process::exit(0)
        }
        Fork::Parent(child) => {
            drop(writer);
            let text = read_all(reader);
            // It may have ended by itself.
            let _ = kill(child, Signal::SIGKILL);
            let end = loop {
                match waitpid(child, None) {
                    Err(Errno::EINTR) => {}
                    end => break end,
                }
            };
            match (text, end) {
                (Err(error), _) => Err(error.to_string()),
                (Ok(text), _) if text.starts_with('+') => Ok(text.replacen('+', "", 1)),
                (Ok(text), _) if text.starts_with('-') => Err(text.replacen('-', "", 1)),
                (_, Ok(WaitStatus::Signaled(_, signal, _))) => Err(format!("ends by {signal}")),
                _ => Err("ends".into()),
            }
        }
    }
}

/// Reads to the end, which is that of the process at the other end.
fn read_all(mut reader: io::PipeReader) -> io::Result<String> {
    let deadline = Instant::now() + TIME_LIMIT;
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::TimedOut)),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = [0; 512];
        match reader.read(&mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            count => text.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// What is done in the process that is only there for this.
fn perform(sandbox: &Sandbox, role: Role<'_>, log: &[PathBuf]) -> Result<String, String> {
    let props = Props::new(sandbox.needs(), log).map_err(|error| error.to_string())?;
    let bounds = sandbox.leave_bounds();
    role.enter().map_err(|denied| denied.to_string())?;
    // What fails here anyway is not the sandbox's fault.
    let before: Vec<bool> = STEPS.iter().map(|(_, step)| step(&props).is_ok()).collect();
    let mut names = Vec::new();
    for layer in &sandbox.layers {
        names.push(sandbox.set(*layer, role, bounds.clone())?);
        is_in_force(*layer)?;
    }
    for ((what, step), worked) in STEPS.iter().zip(before) {
        if worked && let Err(error) = step(&props) {
            return Err(format!("{what}: {error}"));
        }
    }
    Ok(names.join(", "))
}

/// Something between us and the kernel may say yes to everything.
fn is_in_force(layer: Layer) -> Result<(), String> {
    // Anybody may open this directory, in a jail too.
    let refusal = || File::open("/").err().and_then(|error| error.raw_os_error());
    let in_force = match layer {
        // It has been looked at already.
        Layer::Capabilities => true,
        Layer::NoNewPrivs => get_no_new_privs() == Ok(true),
        Layer::Landlock => refusal() == Some(libc::EACCES),
        Layer::Seccomp => refusal() == Some(libc::EPERM),
    };
    if in_force { Ok(()) } else { Err("has no effect".into()) }
}

/// What the steps work with: made before, as in a worker.
struct Props<'a> {
    needs: Needs<'a>,
    log: &'a [PathBuf],
    file: File,
}

impl<'a> Props<'a> {
    fn new(needs: Needs<'a>, log: &'a [PathBuf]) -> io::Result<Props<'a>> {
        let file: OwnedFd = memfd_create(c"rehearsal", MFdFlags::MFD_CLOEXEC)?;
        Ok(Props { needs, log, file: file.into() })
    }
}

type Step = fn(&Props<'_>) -> io::Result<()>;

/// What a worker must be able to do.
const STEPS: [(&str, Step); 8] = [
    ("memory", memory),
    ("file", file),
    ("events", events),
    ("thread", thread),
    ("signal", signal),
    ("local socket", local_sockets),
    ("log", log_service),
    ("network", network),
];

fn memory(_: &Props<'_>) -> io::Result<()> {
    // Large enough to be asked of the kernel, and to be given back.
    let mut room = vec![1_u8; 1 << 20];
    room.resize(1 << 22, 2);
    if room.last() == Some(&2) { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
}

/// What SQLite does with the cache file, its log and its index.
fn file(props: &Props<'_>) -> io::Result<()> {
    let file = &props.file;
    file.set_len(1 << 16)?;
    file.write_all_at(b"rehearsal", 100)?;
    let mut text = [0; 9];
    file.read_exact_at(&mut text, 100)?;
    file.sync_data()?;
    file.metadata()?;
    let lock = libc::flock {
        l_type: short(libc::F_RDLCK),
        l_whence: short(libc::SEEK_SET),
        l_start: 120,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&lock))?;
    fcntl(file, FcntlArg::F_SETLK(&libc::flock { l_type: short(libc::F_UNLCK), ..lock }))?;
    sys::try_sharing(file.as_fd())?;
    file.set_len(0)
}

/// These constants are small; the type of the fields is.
fn short(value: i32) -> i16 {
    i16::try_from(value).unwrap_or_default()
}

fn events(_: &Props<'_>) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    EventFd::from_value(1)?;
    epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO)?;
    std::thread::sleep(Duration::from_micros(1));
    Ok(())
}

fn thread(_: &Props<'_>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("rehearsal".into()).spawn(|| {})?;
    thread.join().map_err(|_| io::ErrorKind::Other.into())
}

fn signal(_: &Props<'_>) -> io::Result<()> {
    // Ignored unless somebody wants it.
    Ok(raise(Signal::SIGURG)?)
}

fn local_sockets(_: &Props<'_>) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    drop(socket(AddressFamily::Unix, SockType::Stream, flags, None)?);
    // Where nobody is; or else who was the client of nobody.
    match UnixStream::connect("private/rehearsal") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map(drop),
    }
}

fn log_service(props: &Props<'_>) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let mut result = Ok(());
    for path in props.log {
        result = socket.connect(path);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Nothing is sent, and nobody connected to.
fn network(props: &Props<'_>) -> io::Result<()> {
    if props.needs.asks_name_servers {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, 53))?;
    }
    if !props.needs.tcp_ports.is_empty() {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        TcpStream::from(socket).set_nodelay(true)?;
    }
    Ok(())
}
