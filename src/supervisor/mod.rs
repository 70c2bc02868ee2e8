//! The process that master(8) knows: thin, privileged, and blind to the network.
//!
//! It prepares what workers need, forks them once, and then only waits: for the end of the
//! status channel, which means reload or stop, so that master can start a successor while
//! the workers finish their clients; for signals; for the few requests of `control`; and for
//! changes of what it has read for the workers.

mod changes;
mod outside;
mod prepare;
pub mod snapshots;
mod status;
mod tls;
mod upgrade;
mod watch;

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::cache::import::import_old_cache;
use crate::cache::location::OldCache;
use crate::cache::set_aside;
use crate::control::{Channel, FromWorker, Received};
use crate::postfix::maillog;
use crate::postfix::master::{Availability, Environment, Options, status_record};
use crate::privileges::Owner;
use crate::process::{self, end_as};
use crate::sys::{self, Fork};
use changes::Changes;

/// How often watched files are looked at.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// How long workers may take to end after SIGTERM.
const LAST_CALL: Duration = Duration::from_millis(4800);

/// How long the end of a worker may come after the end of its channel.
const LEAVE_TAKING: Duration = Duration::from_millis(500);

/// A worker, as its supervisor sees it.
#[derive(Debug)]
struct WorkerProcess {
    pid: Pid,
    channel: Channel,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not ready yet.
    Starting,
    /// Serving.
    Busy,
    /// Without clients for `max_idle`.
    Idle,
    /// It has closed its channel: it ends, or will.
    Silent,
    /// Reaped.
    Gone,
}

impl State {
    /// Whether there is anything to be heard from the worker.
    fn is_present(self) -> bool {
        matches!(self, State::Starting | State::Busy | State::Idle)
    }
}

/// What is done outside the jail on behalf of the cache.
#[derive(Debug)]
struct CacheDuty {
    owner: Owner,
    /// The SQLite file.
    path: PathBuf,
    /// What postscreen(8) left behind.
    old: Option<OldCache>,
    command_directory: PathBuf,
    config_directory: PathBuf,
}

impl CacheDuty {
    /// In a process of its own.
    fn import(&self) {
        maillog::reinit_pid();
        process::forget_signals();
        if let Err(error) = self.owner.become_for_good(None) {
            maillog::fatal(error.to_string());
        }
        let Some(old) = &self.old else { return };
        match import_old_cache(old, &self.path, &self.command_directory, &self.config_directory) {
            Ok(report) => log::info!(
                "cache {}: {} verdicts imported, {} known already, {} skipped",
                old.spec,
                report.imported,
                report.known,
                report.skipped
            ),
            Err(error) => log::warn!("cache {}: import: {error}; trying again later", old.spec),
        }
    }
}

/// The supervisor after start-up.
#[derive(Debug)]
struct Supervisor {
    status: OwnedFd,
    generation: u32,
    told_master: bool,
    signals: SignalFd,
    workers: Vec<WorkerProcess>,
    changes: Changes,
    cache: Option<CacheDuty>,
    importer: Option<Pid>,
    /// After SIGTERM: when to stop waiting.
    ends_at: Option<Instant>,
}

/// Runs the service.
pub fn run(options: Options, environment: Environment) -> ! {
    // First of all: whatever is opened before could get the number of a listening socket that
    // master promised with `-s` and did not open, and would be taken for it.
    let descriptors = prepare::adopt(&options);
    maillog::install_panic_hook();
    maillog::init_early();
    maillog::also_stderr(options.stderr);
    match prepare::prepare(&options, &environment, descriptors) {
        Ok(supervisor) => supervisor.supervise(),
        Err(reason) => maillog::fatal(reason.to_string()),
    }
}

impl Supervisor {
    fn supervise(mut self) -> ! {
        loop {
            match self.turn() {
                Ok(()) => {}
                Err(Errno::EINTR) => {}
                Err(errno) => maillog::fatal(format!("supervisor: {}", sys::errno_text(errno))),
            }
        }
    }

    fn turn(&mut self) -> Result<(), Errno> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        for worker in self.workers.iter().filter(|worker| worker.state.is_present()) {
            fds.push(PollFd::new(worker.channel.as_fd(), PollFlags::POLLIN));
        }
        // After SIGTERM it is all the same to us what master does.
        if self.ends_at.is_none() {
            fds.push(PollFd::new(self.status.as_fd(), PollFlags::POLLIN));
        }
        poll(&mut fds, self.timeout())?;
        if self.ends_at.is_none() && fds.last().is_some_and(|status| status.any() == Some(true)) {
            self.check_status();
        }
        self.take_signals();
        for index in 0..self.workers.len() {
            self.hear(index);
        }
        if self.ends_at.is_some_and(|at| Instant::now() >= at) {
            self.kill_and_exit();
        }
        self.attend_to_changes();
        Ok(())
    }

    /// Ends this process, and what it has others do for it. Workers see it go, and finish their
    /// clients.
    fn leave(&mut self) -> ! {
        self.changes.abandon();
        std::process::exit(0)
    }

    fn kill_and_exit(&mut self) -> ! {
        for worker in self.workers.iter().filter(|worker| worker.state != State::Gone) {
            log::warn!("worker {} does not end: killed", worker.pid);
            // It may have ended by itself at this very moment.
            let _ = kill(worker.pid, Signal::SIGKILL);
        }
        self.leave()
    }

    fn timeout(&self) -> PollTimeout {
        let pause = match self.ends_at {
            Some(at) => Some(at.saturating_duration_since(Instant::now())),
            None if self.changes.has_to_look() => Some(WATCH_PAUSE),
            None => None,
        };
        // Rounded up, so that the deadline has come when poll returns.
        let pause = pause.map(|pause| pause + Duration::from_millis(1));
        pause.map_or(PollTimeout::NONE, |pause| {
            PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX)
        })
    }

    /// Nobody writes to us on the status channel: whatever can be read there is its end. master
    /// holds us for available until our process has gone, so it goes at once.
    fn check_status(&mut self) {
        let mut nothing = [0; 16];
        match nix::unistd::read(&self.status, &mut nothing) {
            Ok(count) if count > 0 => {}
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(_) | Err(_) => self.leave(),
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if i32::try_from(info.ssi_signo) == Ok(Signal::SIGTERM as i32) {
                self.terminate();
            }
        }
        self.reap();
    }

    /// SIGTERM: from master when our line has gone from master.cf, from systemd at a stop.
    fn terminate(&mut self) {
        if self.ends_at.is_some() {
            return;
        }
        self.ends_at = Some(Instant::now() + LAST_CALL);
        let workers = self.workers.iter().filter(|worker| worker.state != State::Gone);
        for pid in workers.map(|worker| worker.pid).chain(self.importer) {
            // It may have ended by itself at this very moment.
            let _ = kill(pid, Signal::SIGTERM);
        }
    }

    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let Some(pid) = status.pid() else { break };
            if self.importer == Some(pid) {
                self.importer = None;
                continue;
            }
            if self.changes.reaped(pid, status) {
                continue;
            }
            let Some(worker) = self.workers.iter_mut().find(|worker| worker.pid == pid) else {
                continue;
            };
            worker.state = State::Gone;
            let all_gone = self.workers.iter().all(|worker| worker.state == State::Gone);
            match (self.ends_at, status) {
                (Some(_), _) if all_gone => self.leave(),
                (Some(_), _) => {}
                // A worker's end is ours: its siblings see us go and finish their clients.
                (None, status) => {
                    self.changes.abandon();
                    end_as(status)
                }
            }
        }
    }

    fn hear(&mut self, index: usize) {
        loop {
            let Some(worker) = self.workers.get_mut(index) else { return };
            if !worker.state.is_present() {
                return;
            }
            let message = match worker.channel.hear() {
                Ok(Received::Message(message)) => message,
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => {
                    worker.state = State::Silent;
                    return self.await_end();
                }
                Err(error) => {
                    log::warn!("worker {}: {error}", worker.pid);
                    worker.state = State::Silent;
                    return self.await_end();
                }
            };
            match message {
                FromWorker::Ready => self.let_go(index),
                FromWorker::Idle => {
                    worker.state = State::Idle;
                    if self.workers.iter().all(|worker| worker.state == State::Idle) {
                        self.leave();
                    }
                }
                FromWorker::Busy => worker.state = State::Busy,
                FromWorker::ImportWanted => self.import_old_cache(),
                FromWorker::CacheDamaged => self.set_cache_aside(),
                FromWorker::Outdated(number) => self.changes.outdated(number),
                FromWorker::Misunderstood => self.changes.misunderstood(),
            }
        }
    }

    /// A worker has closed its channel. Usually it is about to end, and then its end is ours; but
    /// one that has taken leave of us only finishes its clients, and master needs a successor.
    fn await_end(&mut self) {
        if self.ends_at.is_some() {
            return;
        }
        let until = Instant::now() + LEAVE_TAKING;
        while Instant::now() < until {
            self.reap();
            std::thread::sleep(Duration::from_millis(5));
        }
        self.leave()
    }

    /// A worker is ready. Before it parses the first byte of a client, master has to know that
    /// this process has been of use: else a crash would count as a failed start, and close the
    /// port for a minute.
    fn let_go(&mut self, index: usize) {
        if !self.told_master {
            self.told_master = true;
            let pid = i32::try_from(std::process::id()).unwrap_or_default();
            let record = |availability| status_record(pid, self.generation, availability);
            let pair = [record(Availability::Taken), record(Availability::Available)].concat();
            // In one piece: under a process limit above 1, master would start another process
            // for the next client if it read the first record before the second is there.
            if write_all(&self.status, &pair).is_err() {
                self.leave();
            }
        }
        let Some(worker) = self.workers.get_mut(index) else { return };
        worker.state = State::Busy;
        if let Err(error) = worker.channel.go() {
            log::debug!("worker {}: {error}", worker.pid);
        }
    }

    /// What postscreen(8) remembered becomes ours, in a process of its own: clients do not
    /// wait for it.
    fn import_old_cache(&mut self) {
        let Some(CacheDuty { old: Some(old), .. }) = &self.cache else { return };
        if self.importer.is_some() || !old.db_file.exists() {
            return;
        }
        match sys::fork() {
            Ok(Fork::Parent(pid)) => self.importer = Some(pid),
            Ok(Fork::Child) => {
                // Workers see their supervisor's end by their channels: the copies have to go.
                self.workers.clear();
                if let Some(duty) = &self.cache {
                    duty.import();
                }
                std::process::exit(0);
            }
            Err(errno) => log::warn!("fork: {}", sys::errno_text(errno)),
        }
    }

    fn set_cache_aside(&self) {
        let Some(duty) = &self.cache else { return };
        match duty.owner.act(|| set_aside(&duty.path)) {
            Ok(Ok(target)) => log::warn!(
                "cache file {} is damaged; it is now {}, and the next process starts afresh",
                duty.path.display(),
                target.display()
            ),
            Ok(Err(error)) => log::warn!(
                "cache file {} is damaged, and cannot be renamed: {error}",
                duty.path.display()
            ),
            // Whoever cannot become root again must not go on as somebody else.
            Err(error) => maillog::fatal(error.to_string()),
        }
    }
}

fn write_all(descriptor: &OwnedFd, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::File::from(descriptor.try_clone()?).write_all(bytes)
}
