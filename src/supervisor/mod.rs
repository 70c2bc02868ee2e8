//! The process that master(8) knows: thin, privileged, and blind to the network.
//!
//! It prepares what workers need, forks them once, and then only waits: for the end of the
//! status channel, which means reload or stop, so that master can start a successor while
//! the workers finish their clients; for signals; for the few requests of `control`; and for
//! changes of what it has read for the workers.

mod cache;
mod changes;
mod crashes;
mod descriptors;
mod fallback;
mod outside;
mod prepare;
mod sandbox;
pub mod snapshots;
mod start_error;
mod status;
mod tls;
mod upgrade;
mod watch;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::control::{Channel, FromWorker, Received};
use crate::postfix::maillog;
use crate::postfix::master::{
    Availability, BadGeneration, Environment, OptionError, Options, status_record,
};
use crate::privileges::Owner;
use crate::process::end_as;
use crate::sys;
use cache::CacheDuty;
use changes::Changes;
use crashes::is_crash;
use descriptors::Descriptors;
pub use fallback::AFTER_FAULT;
use fallback::{Fallback, Reason};
use start_error::StartError;

/// How often watched files are looked at.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// How long workers may take to end after SIGTERM.
const LAST_CALL: Duration = Duration::from_millis(4800);

/// How long the end of a worker may come after the end of its channel.
const LEAVE_TAKING: Duration = Duration::from_millis(500);

/// The same for one that never was ready: it pauses after its last words.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long master(8) may take to read that this process has been of use. If it sees the end
/// first, it counts as a failed start.
const MASTER_READS: Duration = Duration::from_millis(500);

/// How long workers may take to be ready, if postscreen(8) could serve instead. Usually that is
/// some hundredths of a second; clients wait meanwhile.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A worker, as its supervisor sees it.
#[derive(Debug)]
struct WorkerProcess {
    pid: Pid,
    channel: Channel,
    state: State,
    was_ready: bool,
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

/// The supervisor after start-up.
#[derive(Debug)]
struct Supervisor {
    descriptors: Descriptors,
    fallback: Arc<Fallback>,
    started: Instant,
    generation: u32,
    /// Since when master(8) knows that this process has been of use.
    told_master: Option<Instant>,
    signals: SignalFd,
    workers: Vec<WorkerProcess>,
    changes: Changes,
    owner: Owner,
    cache: Option<CacheDuty>,
    importer: Option<Pid>,
    /// After SIGTERM: when to stop waiting.
    ends_at: Option<Instant>,
    /// When to try again to send what the log service had no room for.
    log_waits: Option<Instant>,
}

/// Runs the service.
pub fn run(
    options: Result<Options, OptionError>,
    environment: Result<Environment, BadGeneration>,
) -> ! {
    let words = std::env::args_os().collect();
    let fallback = Fallback::new(words, options.as_ref().ok(), environment.as_ref().ok());
    let fallback = Arc::new(fallback);
    // First of all: whatever is opened before could get the number of a listening socket that
    // master promised with `-s` and did not open, and would be taken for it.
    // They stay here until a supervisor has them: closed, they could not be passed on.
    let mut descriptors = Descriptors::default();
    let adopted = options.as_ref().map_or(Ok(()), |options| descriptors.adopt(options));
    let way_out = Arc::clone(&fallback);
    maillog::install_panic_hook(move || way_out.panicked());
    fallback.guard();
    maillog::init_early();
    let start = || {
        let (options, environment) = (options?, environment?);
        maillog::also_stderr(options.stderr);
        adopted?;
        prepare::prepare(&options, &environment, &mut descriptors, &fallback)
    };
    match start() {
        Ok(supervisor) => supervisor.supervise(),
        Err(error) => fallback.or_fatal(&error),
    }
}

/// Lets postscreen(8) serve: this process has met a fault when it was about to start, and was
/// executed anew, with the words that it had been started with.
pub fn run_after_fault(signal: &str, words: Vec<OsString>) -> ! {
    let options = Options::parse(words.clone()).ok();
    let environment = Environment::read().ok();
    let fallback = Fallback::new(words, options.as_ref(), environment.as_ref());
    maillog::init_early();
    fallback.become_postscreen(&Reason::Fault(signal));
    maillog::fatal(format!("cannot start: {signal}"))
}

impl Supervisor {
    fn supervise(mut self) -> ! {
        loop {
            match self.turn() {
                Ok(()) => {}
                Err(Errno::EINTR) => {}
                Err(errno) if self.told_master.is_none() => {
                    self.fallback.or_fatal(&StartError::System("supervisor", errno));
                }
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
        let status = self.descriptors.status.as_ref().filter(|_| self.ends_at.is_none());
        if let Some(status) = status {
            fds.push(PollFd::new(status.as_fd(), PollFlags::POLLIN));
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
        if self.start_limit().is_some_and(|at| Instant::now() >= at) {
            self.give_up_start();
        }
        self.look_after_cache();
        self.attend_to_changes();
        self.log_waits = maillog::end_turn().map(|backlog| Instant::now() + backlog.pause);
        Ok(())
    }

    /// Ends this process, and what it has others do for it. Workers see it go, and finish their
    /// clients.
    fn leave(&mut self) -> ! {
        self.changes.abandon();
        maillog::finish();
        std::process::exit(0)
    }

    fn kill_and_exit(&mut self) -> ! {
        for worker in self.workers.iter().filter(|worker| worker.state != State::Gone) {
            log::warn!("worker {} does not end: killed", worker.pid);
            self.signal(worker.pid, Signal::SIGKILL);
        }
        self.leave()
    }

    /// Until when workers have to be ready.
    fn start_limit(&self) -> Option<Instant> {
        let starts = self.workers.iter().any(|worker| worker.state == State::Starting);
        let limited = starts && self.ends_at.is_none() && self.fallback.is_possible();
        limited.then(|| self.started + START_LIMIT)
    }

    /// Nobody knows what holds the workers up. They are killed, as they are not to serve beside
    /// postscreen(8) one day.
    fn give_up_start(&mut self) -> ! {
        self.changes.abandon();
        for worker in self.workers.iter().filter(|worker| worker.state != State::Gone) {
            // One that is ready has clients, and finishes them when we have gone.
            if !worker.was_ready {
                self.signal(worker.pid, Signal::SIGKILL);
            }
        }
        self.fallback.or_fatal(&StartError::WorkerLate(START_LIMIT))
    }

    fn timeout(&self) -> PollTimeout {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let pause = match self.ends_at.or_else(|| self.start_limit()) {
            Some(at) => Some(until(at)),
            None if self.changes.has_to_look() => Some(WATCH_PAUSE),
            None => self.cache_pause(),
        };
        let pause = pause.into_iter().chain(self.log_waits.map(until)).min();
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
        let Some(status) = &self.descriptors.status else { return };
        match nix::unistd::read(status, &mut nothing) {
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
            self.signal(pid, Signal::SIGTERM);
        }
    }

    fn signal(&self, process: Pid, signal: Signal) {
        if let Err(error) = self.owner.signal(process, signal) {
            // Whoever cannot become root again must not go on as somebody else.
            maillog::fatal(error.to_string());
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
            let was_ready = worker.was_ready;
            let all_gone = self.workers.iter().all(|worker| worker.state == State::Gone);
            match (self.ends_at, status) {
                (Some(_), _) if all_gone => self.leave(),
                (Some(_), _) => {}
                (None, status) => self.mourn(status, was_ready),
            }
        }
    }

    /// A worker's end is ours, or that of Gatepost in this process: its siblings see us go, and
    /// finish their clients.
    fn mourn(&mut self, status: WaitStatus, was_ready: bool) -> ! {
        self.changes.abandon();
        if !was_ready {
            self.fallback.become_postscreen(&Reason::Start(&StartError::WorkerEnded(status)));
        } else if is_crash(status) {
            self.fallback.crashed();
        }
        if let Some(told) = self.told_master {
            std::thread::sleep(MASTER_READS.saturating_sub(told.elapsed()));
        }
        maillog::finish();
        end_as(status)
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
                    let was_ready = worker.was_ready;
                    return self.await_end(was_ready);
                }
                Err(error) => {
                    log::warn!("worker {}: {error}", worker.pid);
                    worker.state = State::Silent;
                    let was_ready = worker.was_ready;
                    return self.await_end(was_ready);
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
                FromWorker::CacheInUse => self.cache_in_use(),
                FromWorker::CacheDamaged => self.cache_damaged(),
                FromWorker::Outdated(number) => self.changes.outdated(number),
                FromWorker::Misunderstood => self.changes.misunderstood(),
                FromWorker::LogAway => self.reconnect_log(index),
            }
        }
    }

    /// A worker has closed its channel. Usually it is about to end, and then its end is ours; but
    /// one that has taken leave of us only finishes its clients, and master needs a successor.
    fn await_end(&mut self, was_ready: bool) {
        if self.ends_at.is_some() {
            return;
        }
        let until = Instant::now() + if was_ready { LEAVE_TAKING } else { LAST_WORDS };
        while Instant::now() < until {
            self.reap();
            std::thread::sleep(Duration::from_millis(5));
        }
        if !was_ready {
            self.changes.abandon();
            self.fallback.or_fatal(&StartError::WorkerSilent);
        }
        self.leave()
    }

    /// A worker is ready. Before it parses the first byte of a client, master has to know that
    /// this process has been of use: else a crash would count as a failed start, and close the
    /// port for a minute.
    fn let_go(&mut self, index: usize) {
        if self.told_master.is_none() {
            self.told_master = Some(Instant::now());
            let pid = i32::try_from(std::process::id()).unwrap_or_default();
            let record = |availability| status_record(pid, self.generation, availability);
            let pair = [record(Availability::Taken), record(Availability::Available)].concat();
            // In one piece: under a process limit above 1, master would start another process
            // for the next client if it read the first record before the second is there.
            let status = self.descriptors.status.as_ref();
            if status.is_some_and(|status| write_all(status, &pair).is_err()) {
                self.leave();
            }
            self.fallback.is_serving();
        }
        let Some(worker) = self.workers.get_mut(index) else { return };
        worker.state = State::Busy;
        worker.was_ready = true;
        if let Err(error) = worker.channel.go() {
            log::debug!("worker {}: {error}", worker.pid);
        }
    }

    /// A worker does not reach the log service, which is away, or out of its jail. If it is away,
    /// the worker asks again.
    fn reconnect_log(&self, index: usize) {
        if let Some(connection) = maillog::another_connection()
            && let Some(worker) = self.workers.get(index)
            && let Err(error) = worker.channel.log(connection.as_fd())
        {
            log::debug!("worker {}: {error}", worker.pid);
        }
    }
}

fn write_all(descriptor: &OwnedFd, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::File::from(descriptor.try_clone()?).write_all(bytes)
}
