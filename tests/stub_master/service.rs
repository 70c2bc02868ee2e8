//! What master(8) does: start a service with fixed descriptors, hear its status, end it.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::Pid;

use crate::proc::Process;
use crate::site::Site;
use crate::{PATIENCE, eventually};

/// Gives inherited descriptors their numbers, closes all others, and makes the rest of the
/// process as master leaves it. To do this between fork and exec would be unsafe code, and
/// dash knows descriptors of one digit only. `$1`: descriptors from number 3 on,
/// blank-separated; `$2`: directory; `$3`: arguments of ulimit, one word; `$4`: argv[0]; then
/// the program and its arguments.
const LAUNCHER: &str = r#"
number=3
for from in $1; do eval "exec $number<&$from $from<&-"; number=$((number + 1)); done
for path in /proc/self/fd/*; do
    other=${path##*/}
    [ "$other" -lt "$number" ] || eval "exec $other<&-"
done
cd "$2" && umask 077 && trap '' PIPE
[ -z "$3" ] || ulimit $3
name=$4
shift 4
unset PWD OLDPWD SHLVL
exec -a "$name" "$@"
"#;

/// Where the launcher finds descriptors: beyond those that bash may want for itself.
const HANDED_OVER: i32 = 200;

/// Held while descriptors are inheritable, so that no other test's child gets them.
static SPAWNING: Mutex<()> = Mutex::new(());

/// Takes the right to start a process.
pub fn spawning() -> MutexGuard<'static, ()> {
    SPAWNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let child = {
        let _right = spawning();
        command.args(arguments).stdin(Stdio::null()).spawn()
    };
    let status = child.unwrap().wait().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// A service about to be started.
pub struct Launch<'s> {
    site: &'s Site,
    program: PathBuf,
    name: String,
    words: Vec<OsString>,
    generation: u32,
    limit: String,
    setting: Option<String>,
}

impl<'s> Launch<'s> {
    /// As master starts `smtp inet n - n - 1 gatepost`, with `unprivileged` n.
    pub fn new(site: &'s Site) -> Launch<'s> {
        let mut words: Vec<OsString> = ["-l", "-n", "smtp", "-t", "inet"].map(Into::into).into();
        let sockets = site.listeners().len();
        if sockets > 1 {
            words.extend(["-s".into(), sockets.to_string().into()]);
        }
        Launch {
            site,
            program: env!("CARGO_BIN_EXE_gatepost").into(),
            name: "gatepost".to_owned(),
            words,
            generation: 1,
            limit: String::new(),
            setting: None,
        }
    }

    /// Adds arguments.
    pub fn words(mut self, words: &[&str]) -> Launch<'s> {
        self.words.extend(words.iter().map(Into::into));
        self
    }

    /// Adds an argument that need not be UTF-8.
    pub fn word(mut self, word: &[u8]) -> Launch<'s> {
        self.words.push(OsString::from_vec(word.to_vec()));
        self
    }

    /// Replaces all arguments.
    pub fn only_words(mut self, words: &[&str]) -> Launch<'s> {
        self.words.clear();
        self.words(words)
    }

    /// Runs another program, under the name of its file.
    pub fn program(mut self, program: PathBuf) -> Launch<'s> {
        self.name = program.file_name().unwrap().to_str().unwrap().to_owned();
        self.program = program;
        self
    }

    /// The number that status records have to carry.
    pub fn generation(mut self, generation: u32) -> Launch<'s> {
        self.generation = generation;
        self
    }

    /// Sets a limit, in the words of ulimit (`-Sn 100`).
    pub fn limit(mut self, limit: &str) -> Launch<'s> {
        self.limit = limit.to_owned();
        self
    }

    /// Under settings of a service manager or a container; see `units.py`.
    pub fn under(mut self, setting: &str) -> Launch<'s> {
        self.setting = Some(setting.to_owned());
        self
    }

    /// Starts it.
    pub fn start(self) -> Service {
        let site = self.site;
        let (status, theirs) = UnixStream::pair().unwrap();
        let (flow_read, flow_write) = std::io::pipe().unwrap();
        let mut inherited: Vec<BorrowedFd<'_>> =
            vec![flow_read.as_fd(), flow_write.as_fd(), theirs.as_fd()];
        inherited.extend(site.listeners().iter().map(AsFd::as_fd));
        let queue = site.path("queue");
        let mut command = Command::new("/bin/bash");
        command
            .args(["--noprofile", "--norc", "-c", LAUNCHER, "launcher"])
            .env_clear()
            .env("GENERATION", format!("{:o}", self.generation))
            .env("MAIL_CONFIG", site.path("conf"))
            .env("MAIL_LOGTAG", "postfix")
            .env("LANG", "C")
            .env("POSTLOG_SERVICE", site.log.path())
            .env("POSTLOG_HOSTNAME", "mx.example.test")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = {
            let _right = spawning();
            let copies: Vec<OwnedFd> = inherited.iter().map(inheritable).collect();
            let numbers: Vec<String> =
                copies.iter().map(|copy| copy.as_raw_fd().to_string()).collect();
            command
                .arg(numbers.join(" "))
                .arg(queue)
                .args([self.limit, self.name.clone()])
                .args(self.setting.iter().flat_map(|setting| {
                    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stub_master/units.py");
                    ["/usr/bin/python3", path, setting, &self.name]
                }))
                .arg(self.program)
                .args(self.words)
                .spawn()
                .unwrap()
        };
        Service { child, status: Some(status), generation: self.generation, ended: None }
    }
}

/// A copy that a child inherits.
fn inheritable(descriptor: &BorrowedFd<'_>) -> OwnedFd {
    let number = fcntl(descriptor, FcntlArg::F_DUPFD(HANDED_OVER)).unwrap();
    let copy = gatepost::sys::adopt(number).unwrap();
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    copy
}

/// A status record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    pub pid: i32,
    pub generation: u32,
    pub available: i32,
}

/// A service that was started, from master's point of view: the supervisor is its process.
pub struct Service {
    child: Child,
    /// `None` when master has closed it.
    status: Option<UnixStream>,
    generation: u32,
    ended: Option<ExitStatus>,
}

impl Service {
    /// The supervisor's id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Master's end of the status channel.
    fn status(&mut self) -> &mut UnixStream {
        self.status.as_mut().expect("the status channel was closed")
    }

    /// The next status record; `None` at the end of the channel.
    pub fn next_status(&mut self) -> Option<Status> {
        let status = self.status();
        status.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut record = [0; 12];
        match status.read(&mut record[..1]).unwrap() {
            0 => return None,
            _ => status.read_exact(&mut record[1..]).unwrap(),
        }
        let word = |at: usize| record[at..at + 4].try_into().unwrap();
        Some(Status {
            pid: i32::from_ne_bytes(word(0)),
            generation: u32::from_ne_bytes(word(4)),
            available: i32::from_ne_bytes(word(8)),
        })
    }

    /// How many bytes of status wait, without waiting for any.
    pub fn waiting_status(&mut self) -> usize {
        let status = self.status();
        status.set_nonblocking(true).unwrap();
        let mut buffer = [0; 256];
        let waiting = match recv(status.as_raw_fd(), &mut buffer, MsgFlags::MSG_PEEK) {
            Err(Errno::EAGAIN) => 0,
            result => result.unwrap(),
        };
        status.set_nonblocking(false).unwrap();
        waiting
    }

    /// Waits for the pair of records that says that the service has been of use.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let (pid, generation) = (self.pid().as_raw(), self.generation);
        for available in [0, 1] {
            let expected = Status { pid, generation, available };
            assert_eq!(self.next_status(), Some(expected));
        }
    }

    /// Waits for the pair of records, and leaves it unread.
    pub fn wait_ready_unread(&mut self) {
        eventually("status records", || self.waiting_status() == 24);
    }

    /// What master does at a reload or stop, or when it dies.
    pub fn close_status(&mut self) {
        self.status = None;
    }

    /// The workers that live, oldest first.
    pub fn workers(&self) -> Vec<Pid> {
        let mut workers: Vec<Pid> = Process::all()
            .into_iter()
            .filter(|process| process.parent == self.pid())
            .map(|process| process.pid)
            .collect();
        workers.sort();
        workers
    }

    /// The only worker.
    #[track_caller]
    pub fn worker(&self) -> Pid {
        // The supervisor may have another child for a moment: a program that it asks something.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let workers = self.workers();
            if let [worker] = workers[..] {
                return worker;
            }
            assert!(Instant::now() < deadline, "{workers:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends the supervisor a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Whether the supervisor lives.
    pub fn lives(&mut self) -> bool {
        self.ended.is_none() && {
            self.ended = self.child.try_wait().unwrap();
            self.ended.is_none()
        }
    }

    /// Waits for the supervisor's end.
    #[track_caller]
    pub fn wait_end(&mut self) -> ExitStatus {
        eventually("end of the supervisor", || !self.lives());
        self.ended.unwrap()
    }

    /// Every process of the service that lives: all are in the supervisor's session, once
    /// that exists.
    fn processes(&self) -> Vec<Pid> {
        let mine = |process: &Process| process.session == self.pid();
        Process::all().into_iter().filter(mine).map(|process| process.pid).collect()
    }

    /// Waits until no process of the service is left, and says how long that took.
    #[track_caller]
    pub fn wait_gone(&mut self) -> Duration {
        let start = Instant::now();
        self.wait_end();
        eventually("end of the service", || self.processes().is_empty());
        start.elapsed()
    }

    /// Waits for one more status record to see that there is none.
    #[track_caller]
    pub fn assert_no_more_status(&mut self) {
        self.status().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let error = self.status().read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(error, Ok(0) | Err(ErrorKind::WouldBlock)), "{error:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for pid in self.processes() {
            // It may end by itself at this very moment.
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            eventually("end of what was killed", || self.processes().is_empty());
        }
    }
}
