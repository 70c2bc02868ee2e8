//! Logging as a Postfix daemon logs: to syslog or postlogd(8), under postscreen's name.
//!
//! One log for the whole process, for all its threads. [`init_early`] comes first, then
//! [`init`] when main.cf has been read and while the log service's socket is within reach;
//! after a fork, [`reinit_pid`]. Before all that, records go to standard error.

mod batch;
mod journal;
mod record;
mod sink;

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{LevelFilter, Log, Metadata, Record};

pub use journal::{Backlog, Config, Destination, UnknownFacility, parse_facility};
pub use record::{Form, Header, Program, Stamp, TEXT_LIMIT, Utf8Filter, format_record};

use crate::postfix::message::{Level, Message};
use crate::screen::test_set::UnixTime;
use crate::sys::refused;
use journal::{Journal, Moment};

/// How many errors a process survives, less one.
const ERROR_LIMIT: u32 = 13;

/// How long to wait before an end with an error, so that a service that dies at every start
/// does not fill the log.
const LAST_PAUSE: Duration = Duration::from_secs(1);

static JOURNAL: Mutex<Journal> = Mutex::new(Journal::new());
static ERRORS: ErrorCount = ErrorCount::new();
static FACADE: Facade = Facade { verbose: AtomicU8::new(0) };

/// Starts logging with what the environment says, before main.cf is read.
pub fn init_early() {
    init(Config::from_environment(|name| std::env::var_os(name)));
}

/// Logs as `config` says from now on. The socket is opened anew; it keeps working in a jail.
/// If there is no log service, records are dropped and counted, until there is one.
pub fn init(config: Config) {
    FACADE.verbose.store(config.verbose, Ordering::Relaxed);
    lock().configure(config, now());
    // It fails when it is set already, as it is at the second call.
    log::set_logger(&FACADE).ok();
    log::set_max_level(FACADE.filter());
}

/// Logs under the id of the current process, after a fork.
pub fn reinit_pid() {
    lock().renew_pid();
}

/// Whether records go to standard error too (`-V`, or a terminal).
pub fn also_stderr(on: bool) {
    lock().set_stderr(on);
}

/// Logs one record; `text` comes without the level's prefix and is filtered here.
///
/// The thirteenth error ends the process. A fatal record does not: see [`fatal`].
pub fn write(program: Program, level: Level, text: impl AsRef<[u8]>) {
    tell_of_refusals();
    lock().write(now(), program, level, text.as_ref());
    if level == Level::Error && ERRORS.is_exhausted_by_one_more() {
        fatal("too many errors - program terminated");
    }
}

/// Logs one record at the next [`end_turn`], or before that if too many wait. For the loop: one
/// call for all the records of a turn. A record of any kind that is
/// written meanwhile comes after those that wait.
pub fn write_later(program: Program, level: Level, text: impl AsRef<[u8]>) {
    if level == Level::Error {
        return write(program, level, text);
    }
    lock().write_later(now(), program, level, text.as_ref());
}

/// The end of a turn: sends the records that wait, as far as the log service has room for them;
/// tells when to try again if some are left. A log service that is busy or away does not hold up
/// the mail: what other records wait for it before the next end of a turn is a second in all.
pub fn end_turn() -> Option<Backlog> {
    tell_of_refusals();
    lock().end_turn(now())
}

/// Sends the records that wait, and waits for the log service, for a second at most.
pub fn finish() {
    tell_of_refusals();
    lock().finish(now());
}

/// Another connection to the log service, for a process that cannot make one.
pub fn another_connection() -> Option<OwnedFd> {
    lock().another_connection()
}

/// Takes a connection to the log service that another process has made.
pub fn adopt_connection(socket: OwnedFd) {
    lock().adopt_connection(socket);
}

/// Whoever logs next tells of calls that the sandbox has refused: where that happens, nobody can.
fn tell_of_refusals() {
    for call in refused::news() {
        let text = format!("sandbox: refused system call: {call}");
        lock().write(now(), Program::Postscreen, Level::Warning, text.as_bytes());
    }
}

/// Logs a message under postscreen's name.
pub fn message(message: &Message) {
    write(Program::Postscreen, message.level, &message.text);
}

/// Logs the reason and ends the process, after a second, with status 1.
pub fn fatal(text: impl AsRef<[u8]>) -> ! {
    write(Program::Postscreen, Level::Fatal, text);
    finish();
    thread::sleep(LAST_PAUSE);
    process::exit(1);
}

/// Logs every panic, then waits a second; what follows, abort or unwinding, is the profile's
/// business. `way_out` is called in between, and need not return.
pub fn install_panic_hook(way_out: impl Fn() + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |info| {
        log_panic(panic_text(info).as_bytes());
        way_out();
        thread::sleep(LAST_PAUSE);
    }));
}

/// The panic may have come while this thread, or one that will never run again, held the lock.
fn log_panic(text: &[u8]) {
    for _ in 0..20 {
        match JOURNAL.try_lock() {
            Ok(mut journal) => {
                return journal.write(now(), Program::Postscreen, Level::Panic, text);
            }
            Err(TryLockError::Poisoned(journal)) => {
                return journal.into_inner().write(now(), Program::Postscreen, Level::Panic, text);
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
    let line = [b"postscreen: panic: ", text, b"\n"].concat();
    std::io::stderr().write_all(&line).ok();
}

fn panic_text(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("no message");
    match info.location() {
        Some(place) => format!("{message} at {}:{}", place.file(), place.line()),
        None => message.to_owned(),
    }
}

fn lock() -> MutexGuard<'static, Journal> {
    // A journal is valid between any two statements, so a panic elsewhere does not matter.
    JOURNAL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Moment {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { wall: UnixTime(since_1970.as_secs()), mono: Instant::now() }
}

/// Counts errors up to the limit.
struct ErrorCount(AtomicU32);

impl ErrorCount {
    const fn new() -> ErrorCount {
        ErrorCount(AtomicU32::new(0))
    }

    fn is_exhausted_by_one_more(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= ERROR_LIMIT
    }
}

/// The way from the `log` crate's macros into the journal.
struct Facade {
    verbose: AtomicU8,
}

impl Facade {
    fn filter(&self) -> LevelFilter {
        match self.verbose.load(Ordering::Relaxed) {
            0 => LevelFilter::Info,
            1 => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        }
    }
}

impl Log for Facade {
    /// Libraries' own records are for whoever asked for the most: nobody expects them in a
    /// mail log.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let filter = self.filter();
        let own = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        metadata.level() <= filter && (own || filter == LevelFilter::Trace)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warning,
            log::Level::Info | log::Level::Debug | log::Level::Trace => Level::Info,
        };
        with_text(record, |text| write(Program::Postscreen, level, text));
    }

    fn flush(&self) {}
}

thread_local! {
    /// Spares an allocation per record.
    static SCRATCH: Cell<String> = const { Cell::new(String::new()) };
}

/// The text is made before the journal is locked, because the values in it may log too.
fn with_text(record: &Record<'_>, use_text: impl FnOnce(&str)) {
    if let Some(text) = record.args().as_str() {
        return use_text(text);
    }
    // At the end of a thread there may be no scratch left, nor a need to keep one.
    let mut text = SCRATCH.try_with(Cell::take).unwrap_or_default();
    text.clear();
    // A value that cannot show itself leaves what was shown before it.
    text.write_fmt(*record.args()).ok();
    use_text(&text);
    SCRATCH.try_with(|scratch| scratch.set(text)).ok();
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::sink::tests::{SocketPath, next_record};
    use super::*;

    const TASK: &str = "GATEPOST_TEST_LOG_TASK";

    /// The global log of a process of its own, because some tasks end it.
    #[test]
    #[ignore = "run in child processes by the tests below"]
    fn child() {
        let Ok(task) = std::env::var(TASK) else { return };
        init_early();
        install_panic_hook(|| {});
        match task.as_str() {
            "facade" => {
                log::info!("number {}", 1);
                log::warn!("w");
                log::debug!("hidden");
                log::warn!(target: "mio", "hidden");
                log::error!("e");
                message(&Message::info("m"));
                write(Program::Dnsblog, Level::Info, b"\xff");
            }
            "errors" => (0..20).for_each(|number| log::error!("{number}")),
            "panic" => panic!("number {}", 2),
            "panic while locked" => {
                let _journal = lock();
                panic!("stuck");
            }
            _ => fatal("f"),
        }
    }

    fn run(service: &SocketPath, task: &str) -> (Option<i32>, Vec<String>, String) {
        let socket = service.bind();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "postfix::maillog::tests::child"])
            .env(TASK, task)
            .env("POSTLOG_SERVICE", &service.0)
            .env("POSTLOG_HOSTNAME", "mx.example.com")
            .env("MAIL_LOGTAG", "tag")
            .env_remove("MAIL_VERBOSE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Read all along: the kernel's queue may hold no more than ten records.
        let mut records = Vec::new();
        let mut ended = false;
        while !ended {
            ended = child.try_wait().unwrap().is_some();
            while let Some(record) = next_record(&socket) {
                assert_eq!(&record[15..23], " mx tag/");
                records.push(record.split_once("]: ").unwrap().1.to_owned());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        (output.status.code(), records, String::from_utf8(output.stderr).unwrap())
    }

    #[test]
    fn the_log_of_a_process() {
        let service = SocketPath::new("process");
        let (status, records, _) = run(&service, "facade");
        assert_eq!(status, Some(0));
        assert_eq!(records, ["number 1", "warning: w", "error: e", "m", "?"]);
    }

    #[test]
    fn too_many_errors_end_a_process() {
        let service = SocketPath::new("errors");
        let (status, records, _) = run(&service, "errors");
        assert_eq!(status, Some(1));
        let mut expected: Vec<_> = (0..13).map(|number| format!("error: {number}")).collect();
        expected.push("fatal: too many errors - program terminated".into());
        assert_eq!(records, expected);
    }

    #[test]
    fn fatal_ends_a_process() {
        let service = SocketPath::new("fatal");
        assert_eq!(run(&service, "fatal").1, ["fatal: f"]);
    }

    #[test]
    fn panics_are_logged() {
        let service = SocketPath::new("panic");
        let (status, records, _) = run(&service, "panic");
        assert_ne!(status, Some(0));
        let [record] = records.as_slice() else { panic!("{records:?}") };
        assert!(record.starts_with("panic: number 2 at src/postfix/maillog/mod.rs:"), "{record}");

        let (_, records, stderr) = run(&service, "panic while locked");
        assert!(records.is_empty());
        assert!(stderr.contains("postscreen: panic: stuck at "), "{stderr}");
    }

    #[test]
    fn the_thirteenth_error_is_one_too_many() {
        let errors = ErrorCount::new();
        let survived = (0..20).take_while(|_| !errors.is_exhausted_by_one_more()).count();
        assert_eq!(survived, 12);
    }

    #[test]
    fn verbosity_opens_the_filter_step_by_step() {
        let shows = |verbose, target: &str, level| {
            let facade = Facade { verbose: AtomicU8::new(verbose) };
            facade.enabled(&Metadata::builder().target(target).level(level).build())
        };
        for (verbose, own_debug, own_trace, foreign) in
            [(0, false, false, false), (1, true, false, false), (2, true, true, true)]
        {
            assert!(shows(verbose, "gatepost::daemon", log::Level::Info));
            assert_eq!(shows(verbose, "gatepost::daemon", log::Level::Debug), own_debug);
            assert_eq!(shows(verbose, "gatepost", log::Level::Trace), own_trace);
            assert_eq!(shows(verbose, "mio::poll", log::Level::Warn), foreign);
        }
    }

    #[test]
    fn texts_are_made_whole() {
        let mut seen = Vec::new();
        for number in [1, 22] {
            with_text(&Record::builder().args(format_args!("a {number} b")).build(), |text| {
                seen.push(text.to_owned());
            });
        }
        with_text(&Record::builder().args(format_args!("plain")).build(), |text| {
            seen.push(text.to_owned());
        });
        assert_eq!(seen, ["a 1 b", "a 22 b", "plain"]);
    }
}
