//! What surrounds a service: a queue, data and configuration directory of its own, a log,
//! and listening sockets, which stay when a service goes, because they are master's.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::socket::{Backlog, listen};
use nix::unistd::{Uid, User};

use crate::client::Client;
use crate::maillog::Maillog;
use crate::service::{Launch, Service};

/// An account and a group that every system has, in place of Postfix's.
pub const OWNER: &str = "nobody";
const GROUP: &str = "daemon";

/// Answers for postconf(1), so that a Postfix on this machine makes no difference.
const POSTCONF: &str = "#!/bin/sh\necho mail_version = 3.7.11\n";

/// Whether these tests run as root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// A temporary directory.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatepost-stub-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // What an earlier process with this number may have left.
        let _ = fs::remove_dir_all(&path);
        make_directory(&path, 0o755);
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // It is in nobody's way if it stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn make_directory(path: &Path, mode: u32) {
    fs::DirBuilder::new().mode(mode).create(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a file to `mail_owner`; without root there is only one owner of everything.
pub fn give_to_owner(path: &Path) {
    if is_root() {
        let owner = User::from_name(OWNER).unwrap().unwrap();
        chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).unwrap();
    }
}

/// The lines of both texts of `name = value`, but of those with the same name the latter.
fn override_lines(defaults: &str, changes: &str) -> String {
    let name = |line: &str| line.split_once(" = ").map(|(name, _)| name.to_owned());
    let changed: Vec<_> = changes.lines().filter_map(name).collect();
    let kept = defaults.lines().filter(|line| !changed.contains(&name(line).unwrap()));
    kept.chain(changes.lines()).map(|line| format!("{line}\n")).collect()
}

/// What the log says when a worker has made a call that its sandbox refuses: that a call was
/// forgotten.
pub const REFUSED: &str = "sandbox: refused system call";

/// See the module.
pub struct Site {
    // In the order in which they go.
    pub log: Maillog,
    listeners: Vec<TcpListener>,
    directory: Directory,
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let records = self.log.records();
            let refused = records.iter().find(|record| record.text.contains(REFUSED));
            assert!(refused.is_none(), "{refused:?}");
        }
    }
}

impl Site {
    /// A site with one listening socket and these lines at the end of main.cf.
    pub fn new(main_cf: &str) -> Site {
        Site::listening(&[Ipv4Addr::LOCALHOST.into()], main_cf)
    }

    /// A site that listens on IPv4 and IPv6.
    pub fn dual(main_cf: &str) -> Site {
        Site::listening(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], main_cf)
    }

    /// A site that listens on any address, with one socket that takes IPv4 too.
    pub fn any(main_cf: &str) -> Site {
        Site::listening(&[Ipv6Addr::UNSPECIFIED.into()], main_cf)
    }

    /// A site that listens at these addresses.
    pub fn listening(addresses: &[IpAddr], main_cf: &str) -> Site {
        let directory = Directory::new();
        let root = &directory.0;
        for (name, mode) in [
            ("conf", 0o755),
            ("data", 0o700),
            ("daemons", 0o755),
            ("program", 0o755),
            ("queue", 0o755),
            ("queue/pid", 0o755),
            ("queue/private", 0o700),
            ("queue/public", 0o711),
        ] {
            make_directory(&root.join(name), mode);
        }
        give_to_owner(&root.join("data"));
        give_to_owner(&root.join("queue/private"));
        let postconf = root.join("program/postconf");
        fs::write(&postconf, POSTCONF).unwrap();
        fs::set_permissions(&postconf, fs::Permissions::from_mode(0o755)).unwrap();
        let path = root.display();
        let defaults = format!(
            "compatibility_level = 3.6\n\
             myhostname = mx.example.test\n\
             queue_directory = {path}/queue\n\
             data_directory = {path}/data\n\
             command_directory = {path}/program\n\
             daemon_directory = {path}/daemons\n\
             maillog_file = {path}/maillog\n\
             maillog_file_prefixes = {path}\n\
             mail_owner = {OWNER}\n\
             setgid_group = {GROUP}\n\
             mynetworks = 192.0.2.0/24\n\
             postscreen_greet_wait = 1s\n"
        );
        fs::write(root.join("conf/main.cf"), override_lines(&defaults, main_cf)).unwrap();
        let own = format!("cache_file = {path}/data/verdicts.sqlite\n");
        fs::write(root.join("conf/gatepost.cf"), own).unwrap();
        let listeners = addresses.iter().map(|address| {
            let listener = TcpListener::bind(SocketAddr::new(*address, 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listen(&listener, Backlog::new(512).unwrap()).unwrap();
            listener
        });
        Site {
            log: Maillog::new(root.join("queue/public/postlog")),
            listeners: listeners.collect(),
            directory,
        }
    }

    /// Adds a line to gatepost.cf, or changes one.
    pub fn own_setting(&self, line: &str) {
        let path = self.path("conf/gatepost.cf");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, override_lines(&text, line)).unwrap();
    }

    /// Replaces what postconf(1) answers, and has it note its calls in `program/calls`.
    pub fn postconf(&self, answer: &str) {
        let (path, calls) = (self.path("program/postconf"), self.path("program/calls"));
        let calls = calls.display();
        let script = format!("#!/bin/sh\necho \"$*\" >>{calls}\ncat <<'END'\n{answer}END\n");
        // Beside, then in place: a file that is open for writing somewhere cannot be executed.
        let new = path.with_extension("new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Puts a program where postscreen(8) should be. It does nothing but to stop itself, so that
    /// one can see what it was given.
    pub fn stand_in(&self) -> PathBuf {
        let path = self.path("daemons/postscreen");
        fs::write(&path, "#!/bin/bash\nkill -STOP $$\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A path below the site's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }

    /// The cache file.
    pub fn cache_file(&self) -> PathBuf {
        self.path("data/verdicts.sqlite")
    }

    /// The listening sockets.
    pub fn listeners(&self) -> &[TcpListener] {
        &self.listeners
    }

    /// Where clients connect to, by number of the socket.
    pub fn address(&self, number: usize) -> SocketAddr {
        self.listeners[number].local_addr().unwrap()
    }

    /// A service about to be started.
    pub fn launch(&self) -> Launch<'_> {
        Launch::new(self)
    }

    /// Starts a service and waits until it is ready.
    pub fn start(&self) -> Service {
        let mut service = self.launch().start();
        service.wait_ready();
        service
    }

    /// A client from 127.0.0.1.
    pub fn connect(&self) -> Client {
        self.connect_from("127.0.0.1")
    }

    /// A client from another address of this host, to the first socket.
    pub fn connect_from(&self, address: &str) -> Client {
        Client::connect(address.parse().unwrap(), self.address(0))
    }
}
