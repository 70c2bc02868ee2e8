//! A process that has locked itself in tries what it may not do. The tests start this program once
//! more for that, as some of it would be the end of a process without a sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::unistd::{Uid, chroot, execv, getppid, setuid};

use super::*;
use crate::postfix::maillog;
use crate::sys::{self, Fork, attempts};

const LAYERS: &str = "GATEPOST_TEST_LAYERS";
const DIRECTORY: &str = "GATEPOST_TEST_DIRECTORY";
const PORT: &str = "GATEPOST_TEST_PORT";

type Attempt = (&'static str, fn() -> io::Result<()>);

fn done<T, E: Into<io::Error>>(result: Result<T, E>) -> io::Result<()> {
    result.map(drop).map_err(Into::into)
}

fn place(name: &str) -> std::path::PathBuf {
    Path::new(&std::env::var_os(DIRECTORY).unwrap()).join(name)
}

fn abstract_name() -> SocketAddr {
    SocketAddr::from_abstract_name(place("abstract").as_os_str().as_encoded_bytes()).unwrap()
}

fn free_socket(
    family: AddressFamily,
    kind: SockType,
    protocol: Option<SockProtocol>,
) -> io::Result<()> {
    done(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol))
}

/// What Landlock refuses.
const FILES: [Attempt; 10] = [
    ("read", || done(fs::File::open("/etc/passwd"))),
    ("list", || done(fs::read_dir("."))),
    ("write", || done(fs::OpenOptions::new().write(true).open(place("file")))),
    ("create", || done(fs::File::create(place("new")))),
    ("rename", || fs::rename(place("file"), place("other"))),
    ("remove", || fs::remove_file(place("file"))),
    ("mkdir", || fs::create_dir(place("directory"))),
    ("execute", || done(execv(c"/bin/true", &[c"true"]))),
    ("bind TCP", || done(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))),
    ("connect TCP", || {
        let port: u16 = std::env::var(PORT).unwrap().parse().unwrap();
        done(TcpStream::connect((Ipv4Addr::LOCALHOST, port)))
    }),
];

/// What it refuses from its sixth version on.
const SCOPES: [Attempt; 2] = [
    ("signal", || done(kill(getppid(), Signal::SIGURG))),
    ("abstract socket", || done(UnixStream::connect_addr(&abstract_name()))),
];

/// What only the filter refuses.
const CALLS: [Attempt; 18] = [
    ("spawn", || done(Command::new("/bin/true").spawn())),
    ("fork", || match sys::fork() {
        Ok(Fork::Child) => std::process::exit(0),
        result => done(result),
    }),
    ("raw fork", || done(attempts::fork())),
    ("ptrace", || done(attempts::call(libc::SYS_ptrace))),
    ("netlink", || free_socket(AddressFamily::Netlink, SockType::Raw, None)),
    ("packet", || free_socket(AddressFamily::Packet, SockType::Datagram, None)),
    ("raw IP", || free_socket(AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp))),
    ("socketpair", || done(UnixStream::pair())),
    ("map code", || done(attempts::map_executable())),
    ("make code", || done(attempts::make_executable())),
    ("setuid", || done(setuid(Uid::from_raw(0)))),
    ("chroot", || done(chroot("."))),
    ("unshare", || done(unshare(CloneFlags::CLONE_NEWUSER))),
    ("memory file", || {
        done(nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::empty()))
    }),
    ("pipe", || done(io::pipe())),
    ("io_uring", || done(attempts::call(libc::SYS_io_uring_setup))),
    ("bpf", || done(attempts::call(libc::SYS_bpf))),
    ("unknown", || done(attempts::call(999))),
];

/// What a worker does all the time.
const WORK: [Attempt; 6] = [
    ("thread", || {
        // Signals are for others; this one is not.
        let thread = std::thread::Builder::new().name("t".into()).spawn(|| {
            let _ = sys::refused::others().thread_block();
            fs::File::open("/etc/passwd").is_err()
        })?;
        if thread.join().unwrap() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }),
    ("UDP", || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, 53))
    }),
    ("local socket", || done(UnixStream::connect(place("socket")))),
    ("memory", || {
        let room = vec![1_u8; 1 << 24];
        if room.last() == Some(&1) { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }),
    ("raise", || done(raise(Signal::SIGURG))),
    ("SIGSYS from somebody", || done(raise(Signal::SIGSYS))),
];

/// What would be the end of this process, or of its parent's peace, if it were allowed.
const WITHOUT_FILTER: [&str; 3] = ["fork", "ptrace", "SIGSYS from somebody"];
const WITHOUT_ANYTHING: [&str; 1] = ["execute"];

fn all(layers: &[Layer]) -> impl Iterator<Item = Attempt> {
    let all = FILES.into_iter().chain(SCOPES).chain(CALLS).chain(WORK);
    let filter = layers.contains(&Layer::Seccomp);
    let anything = filter || layers.contains(&Layer::Landlock);
    all.filter(move |(name, _)| {
        (filter || !WITHOUT_FILTER.contains(name)) && (anything || !WITHOUT_ANYTHING.contains(name))
    })
}

/// Locks itself in and tries. One line for each attempt, with the error number.
#[test]
#[ignore = "run in child processes by the tests below"]
fn child() {
    let Ok(wanted) = std::env::var(LAYERS) else { return };
    let wanted = |layer: &Layer| wanted.contains(&layer.to_string());
    let layers: Vec<Layer> = Layer::ALL.into_iter().filter(wanted).collect();
    maillog::init_early();
    let owner = Owner::find("nobody").unwrap().unwrap();
    let role = Role { owner: &owner, unprivileged: Uid::effective().is_root(), jail: None };
    let needs = Needs { tcp_ports: &[53], asks_name_servers: true, looks_at_files: false };
    for (layer, outcome) in Sandbox::new(&layers, needs).enter(role).unwrap() {
        println!("= {layer}: {outcome:?}");
    }
    for (name, attempt) in all(&layers) {
        let errno = attempt().err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
        println!("= {name}: {errno}");
    }
    // The second time it is no news.
    for (_, attempt) in all(&layers) {
        let _ = attempt();
    }
    maillog::finish();
    let _ = SigSet::empty().thread_set_mask();
    println!("= end: 0");
}

/// What a child came to: by attempt, and what the log was told.
struct Tried {
    results: BTreeMap<String, String>,
    log: Vec<String>,
}

impl Tried {
    fn new(layers: &[Layer]) -> Tried {
        let directory = Directory::new();
        let path = |name: &str| directory.0.join(name);
        fs::write(path("file"), "content").unwrap();
        let log = UnixDatagram::bind(path("log")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for name in ["file", "log", "socket", "."] {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let name = path("abstract");
        let name = SocketAddr::from_abstract_name(name.as_os_str().as_encoded_bytes()).unwrap();
        let _abstract = UnixListener::bind_addr(&name).unwrap();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
        // Read all along: the kernel's queue may hold no more than ten records.
        log.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "privileges::sandbox::tests::child"])
            .env(LAYERS, layers.join(","))
            .env(DIRECTORY, &directory.0)
            .env(PORT, tcp.local_addr().unwrap().port().to_string())
            .env("POSTLOG_SERVICE", path("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let waiting = std::thread::spawn(|| child.wait_with_output().unwrap());
        let mut told = Vec::new();
        loop {
            let last = waiting.is_finished();
            let mut buffer = [0; 512];
            while let Ok(count) = log.recv(&mut buffer) {
                let record = String::from_utf8_lossy(&buffer[..count]).into_owned();
                told.push(record.split_once("]: ").unwrap().1.to_owned());
            }
            if last {
                break;
            }
        }
        let output = waiting.join().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}\n{text}", output.status);
        let lines = text.lines().filter_map(|line| line.split_once("= ")?.1.split_once(": "));
        let results: BTreeMap<String, String> =
            lines.map(|(name, result)| (name.to_owned(), result.to_owned())).collect();
        assert_eq!(results["end"], "0", "{text}");
        Tried { results, log: told }
    }

    #[track_caller]
    fn assert_all(&self, attempts: &[Attempt], expected: &[i32]) {
        for (name, _) in attempts {
            let errno: i32 = self.results[*name].parse().unwrap();
            assert!(expected.contains(&errno), "{name}: {errno}");
        }
    }
}

struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Directory {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatepost-sandbox-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const REFUSED: &[i32] = &[Errno::EPERM as i32];

/// The version of Landlock that a child found.
fn landlock(tried: &Tried) -> Option<i32> {
    let text = tried.results.get("Landlock")?;
    text.strip_prefix("Ok(\"Landlock ")?.strip_suffix("\")")?.parse().ok()
}

#[test]
fn all_layers_together() {
    let tried = Tried::new(&Layer::ALL);
    tried.assert_all(&FILES[..8], REFUSED);
    // The filter lets a socket be bound, as those to name servers are.
    tried.assert_all(&FILES[8..], &[Errno::EPERM as i32, Errno::EACCES as i32]);
    tried.assert_all(&SCOPES[..1], REFUSED);
    tried.assert_all(&CALLS, REFUSED);
    tried.assert_all(&WORK, &[0]);
    // Each call once, whoever makes it and however often.
    let mut log = tried.log.clone();
    for call in [
        "openat",
        "execve",
        "socket",
        "mmap",
        "mprotect",
        "ptrace",
        "setuid",
        "chroot",
        "unshare",
        "memfd_create",
        "pipe2",
        "io_uring_setup",
        "bpf",
        "999",
        "socketpair",
        "clone",
        "kill",
    ] {
        let line = format!("warning: sandbox: refused system call: {call}");
        let count = log.iter().filter(|told| **told == line).count();
        assert_eq!(count, 1, "{call}: {:#?}", tried.log);
        log.retain(|told| *told != line);
    }
    for line in &log {
        assert!(line.starts_with("warning: sandbox: refused system call: "), "{line}");
        assert_eq!(tried.log.iter().filter(|told| *told == line).count(), 1, "{line}");
    }
}

#[test]
fn the_filter_alone() {
    let tried = Tried::new(&[Layer::Seccomp]);
    // To connect is not refused where a name server is: Landlock knows the ports.
    tried.assert_all(&FILES[..9], REFUSED);
    tried.assert_all(&FILES[9..], &[0]);
    tried.assert_all(&SCOPES[..1], REFUSED);
    tried.assert_all(&CALLS, REFUSED);
    tried.assert_all(&WORK, &[0]);
}

#[test]
fn landlock_alone() {
    let tried = Tried::new(&[Layer::Capabilities, Layer::NoNewPrivs, Layer::Landlock]);
    let Some(version) = landlock(&tried) else {
        eprintln!("landlock_alone: not run, because the kernel has none");
        return;
    };
    let refused = [Errno::EPERM as i32, Errno::EACCES as i32];
    tried.assert_all(&FILES[..8], &refused);
    if version >= 4 {
        tried.assert_all(&FILES[8..], &refused);
    }
    if version >= 6 {
        tried.assert_all(&SCOPES, &refused);
    }
    // The thread reads a file, which must not work; the rest must. There is nobody who would
    // catch SIGSYS.
    tried.assert_all(&WORK[..5], &[0]);
    assert!(tried.log.is_empty(), "{:?}", tried.log);
}

/// So that the attempts are worth something: without layers they succeed, or fail otherwise.
#[test]
fn without_layers_nothing_is_refused() {
    let tried = Tried::new(&[Layer::NoNewPrivs]);
    let free: Vec<&str> = tried
        .results
        .iter()
        .filter(|(_, errno)| *errno == "0")
        .map(|(name, _)| name.as_str())
        .collect();
    for name in [
        "read",
        "list",
        "write",
        "create",
        "rename",
        "mkdir",
        "bind TCP",
        "connect TCP",
        "abstract socket",
        "spawn",
        "raw fork",
        "netlink",
        "socketpair",
        "map code",
        "make code",
        "memory file",
        "pipe",
    ] {
        assert!(free.contains(&name), "{name}: {:?}", tried.results);
    }
}
