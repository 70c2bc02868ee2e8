//! A program, or a part of this one, that works beside us for a limited time and leaves what
//! it found out in memory: nobody has to read along, so that the one who started it can wait
//! for other things meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::forget_signals;
use crate::sys::{self, Fork};

/// Of what a program complains of, bytes.
const COMPLAINTS_LIMIT: u64 = 64 << 10;

/// The pauses between looks at a program that is waited for. They grow with the time it has
/// taken so far, so that its end is noticed soon after it and yet not looked for too often.
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
const LOOKS_PER_DOUBLING: u32 = 8;

/// One that works. Whoever starts it has to wait for its end, or to reap it.
#[derive(Debug)]
pub struct Task {
    pid: Pid,
    output: File,
    complaints: File,
    limit: Duration,
    ends_at: Instant,
    /// It was told to end, because it took too long.
    killed: bool,
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it wrote to its standard output. It does not change any more.
    pub output: File,
    /// What it wrote to its standard error output.
    pub complaints: String,
}

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Well.
    Success,
    /// With another exit status.
    Failure(i32),
    /// By a signal.
    Signal(Signal),
    /// It took longer than this, and was killed.
    Timeout(Duration),
}

/// A program of Postfix's, an absolute path, with nothing of our environment.
pub fn postfix_program(program: &Path, config_directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("MAIL_CONFIG", config_directory)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

/// postmap(1), so that it writes all of a table, line by line: key, TAB, value.
pub fn postmap_dump(
    command_directory: &Path,
    config_directory: &Path,
    table: impl AsRef<OsStr>,
) -> Command {
    let mut command = postfix_program(&command_directory.join("postmap"), config_directory);
    command.arg("-s").arg(table);
    command
}

impl Task {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn run(mut command: Command, limit: Duration) -> io::Result<Task> {
        let (output, complaints) = (memory()?, memory()?);
        let child = command
            .stdout(Stdio::from(output.try_clone()?))
            .stderr(Stdio::from(complaints.try_clone()?))
            .spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        Ok(Task::new(pid, output, complaints, limit))
    }

    /// Starts `work` in a copy of this process, which must have one thread only. It gets what
    /// to write its output and its complaints to.
    ///
    /// # Errors
    ///
    /// If there cannot be another process.
    pub fn fork(
        limit: Duration,
        work: impl FnOnce(&mut File, &mut File) -> io::Result<()>,
    ) -> io::Result<Task> {
        let (mut output, mut complaints) = (memory()?, memory()?);
        match sys::fork()? {
            Fork::Parent(pid) => Ok(Task::new(pid, output, complaints, limit)),
            Fork::Child => {
                forget_signals();
                // A core of ours would not tell what is wrong with a file.
                let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
                let done = work(&mut output, &mut complaints);
                std::process::exit(i32::from(done.is_err()));
            }
        }
    }

    fn new(pid: Pid, output: File, complaints: File, limit: Duration) -> Task {
        let ends_at = Instant::now() + limit;
        Task { pid, output, complaints, limit, ends_at, killed: false }
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Kills it if its time is up.
    pub fn check(&mut self, now: Instant) {
        if now >= self.ends_at && !self.killed {
            self.killed = true;
            self.kill();
        }
    }

    /// Kills it.
    pub fn kill(&self) {
        // Whoever has not been reaped is there, if only as a dead one.
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    /// What came of it, when it has been reaped.
    pub fn finish(mut self, status: WaitStatus) -> Outcome {
        let end = match status {
            _ if self.killed => End::Timeout(self.limit),
            WaitStatus::Exited(_, 0) => End::Success,
            WaitStatus::Signaled(_, signal, _) => End::Signal(signal),
            WaitStatus::Exited(_, code) => End::Failure(code),
            _ => End::Failure(-1),
        };
        // Several processes may get the output to read, and none may change it for the others.
        let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        let _ = fcntl(&self.output, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL));
        let mut complaints = Vec::new();
        // What cannot be read has not been said.
        let _ = self.complaints.rewind();
        let _ = self.complaints.take(COMPLAINTS_LIMIT).read_to_end(&mut complaints);
        let _ = self.output.rewind();
        let complaints = String::from_utf8_lossy(&complaints).into_owned();
        Outcome { end, output: self.output, complaints }
    }

    /// Waits for the end, which comes at the limit at the latest.
    ///
    /// # Errors
    ///
    /// If somebody else has reaped it.
    pub fn wait(mut self) -> io::Result<Outcome> {
        let began = Instant::now();
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) => {}
                Ok(status) => return Ok(self.finish(status)),
                Err(errno) => return Err(errno.into()),
            }
            let now = Instant::now();
            self.check(now);
            let pause = now.saturating_duration_since(began) / LOOKS_PER_DOUBLING;
            std::thread::sleep(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        }
    }
}

/// A file without a name.
fn memory() -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    Ok(File::from(memfd_create(c"gatepost", flags)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str, limit: Duration) -> Outcome {
        let mut command = postfix_program(Path::new("/bin/sh"), Path::new("/etc"));
        command.args(["-c", script]);
        Task::run(command, limit).unwrap().wait().unwrap()
    }

    fn text(mut outcome: Outcome) -> String {
        let mut text = String::new();
        outcome.output.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_a_program_says_is_kept() {
        let outcome = shell("echo out $MAIL_CONFIG $HOME; echo wrong >&2", PATIENCE);
        assert_eq!(outcome.end, End::Success);
        assert_eq!(outcome.complaints, "wrong\n");
        let mut again = outcome.output.try_clone().unwrap();
        assert!(again.write_all(b"x").is_err(), "nobody changes it");
        assert_eq!(text(outcome), "out /etc\n");
    }

    #[test]
    fn ends() {
        assert_eq!(shell("exit 3", PATIENCE).end, End::Failure(3));
        assert_eq!(shell("kill -BUS $$", PATIENCE).end, End::Signal(Signal::SIGBUS));
        let limit = Duration::from_millis(50);
        assert_eq!(shell("exec sleep 60", limit).end, End::Timeout(limit));
        let nowhere = postfix_program(Path::new("/no/such/program"), Path::new("/"));
        assert_eq!(Task::run(nowhere, PATIENCE).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_dump_is_asked_of_postmap() {
        let command = postmap_dump(Path::new("/sbin"), Path::new("/conf"), "hash:/x");
        assert_eq!(command.get_program(), "/sbin/postmap");
        assert!(command.get_args().eq(["-s", "hash:/x"]));
    }
}
