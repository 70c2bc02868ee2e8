//! From a fresh fork to a worker in its jail.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use thiserror::Error;

use super::accept::Listener;
use super::descriptors::{Needs, Room};
use super::effects::saved_lists;
use super::hand_offs::HandOffs;
use super::inquiries::Inquiries;
use super::lists::ListLookups;
use super::lookups::Sources;
use super::names::NameServers;
use super::table_servers::{TableServerSettings, TableServers};
use super::worker::{Parts, Worker, WorkerSettings};
use crate::cache::location::Location;
use crate::cache::sqlite::{self, Opened};
use crate::cache::watchdog::{Heartbeat, Watchdog};
use crate::cache::{Cache, CacheOptions};
use crate::control::{Channel, FromWorker, Received, ToWorker};
use crate::event::reactor::Reactor;
use crate::postfix::maillog;
use crate::postfix::screen_tables::ScreenTables;
use crate::privileges::sandbox::{Role, Sandbox};
use crate::privileges::{Denied, Owner};
use crate::process;
use crate::screen::policy::Policy;
use crate::screen::screener::Screener;
use crate::screen::test_set::UnixTime;
use crate::sys;

/// How long the watchdog's line in the log may take; the pause of a fatal end included.
const WATCHDOG_LAST_WORDS: Duration = Duration::from_secs(3);

/// What a supervisor has prepared for a worker.
#[derive(Debug)]
pub struct Start {
    /// What the core is to apply.
    pub policy: Policy,
    /// Tables and lists, read.
    pub tables: ScreenTables,
    /// Where clients come from.
    pub listeners: Vec<OwnedFd>,
    /// The way to the supervisor.
    pub supervisor: Channel,
    /// Where somebody may ask what was counted.
    pub status: Option<UnixListener>,
    /// Whom to become, unless the master.cf line says to stay root.
    pub owner: Owner,
    /// master.cf: `unprivileged`.
    pub unprivileged: bool,
    /// master.cf: `chroot`; the queue directory.
    pub jail: Option<PathBuf>,
    /// What to give up besides.
    pub sandbox: Sandbox,
    /// Who is asked about DNS blocklists; `None` if there are none.
    pub name_servers: Option<NameServers>,
    /// How Postfix's own servers of tables are asked.
    pub table_servers: TableServerSettings,
    /// Where the cache is.
    pub cache: CacheStart,
    /// main.cf: `postscreen_watchdog_timeout`.
    pub watchdog_timeout: Duration,
    /// The rest.
    pub settings: WorkerSettings,
}

/// Which verdict cache to use.
#[derive(Debug)]
pub enum CacheStart {
    /// None: every client is new.
    None,
    /// One that ends with the process.
    Memory(CacheOptions),
    /// A file.
    File {
        /// Which.
        location: Location,
        /// How to run it.
        options: CacheOptions,
    },
}

/// Why a worker cannot start.
#[derive(Debug, Error)]
enum StartError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("{0}: {text}", text = sys::errno_text(sys::errno_of(.1)))]
    System(&'static str, io::Error),
}

/// Becomes a worker, and ends when there is nothing left to serve.
pub fn run(start: Start) -> ! {
    maillog::reinit_pid();
    match begin(start).and_then(|worker| worker.run().map_err(|e| StartError::System("poll", e))) {
        Ok(()) => {
            // There may be something that only came up when the cache was closed.
            maillog::finish();
            std::process::exit(0)
        }
        Err(error) => maillog::fatal(error.to_string()),
    }
}

fn begin(mut start: Start) -> Result<Worker, StartError> {
    let system = |call| move |error: io::Error| StartError::System(call, error);
    let signals = process::catch(&[Signal::SIGTERM])
        .map_err(|errno| StartError::System("signalfd", errno.into()))?;

    // As mail_owner, so that no later process is kept from a file that root made; and before
    // the jail, out of which nothing can be opened.
    let mut opened = start.owner.act(|| match &start.cache {
        CacheStart::File { location, .. } => open_cache(location),
        CacheStart::None | CacheStart::Memory(_) => None,
    })?;
    let cache_in_use = opened.is_some();
    let import_wanted = opened.as_ref().is_some_and(|opened| opened.import_pending);

    let notes = opened.as_mut().map(|opened| std::mem::take(&mut opened.notes));
    let saved_lists = saved_lists(&notes.unwrap_or_default());

    // As root, like Postfix: a database need not be readable for anybody else.
    for message in start.tables.connect() {
        maillog::message(&message);
    }

    // The time zone is loaded from a file that the jail may lack.
    sys::local_time(UnixTime(0));
    enter(&start)?;

    // A cache that is damaged in this way, too, must not be the end.
    sys::cut_off::survive().map_err(|errno| StartError::System("sigaction", errno.into()))?;
    let reactor = Reactor::new().map_err(system("epoll_create"))?;
    let hand_offs = HandOffs::new().map_err(system("epoll_create"))?;
    let registry = reactor.share().map_err(system("epoll"))?;
    let table_servers = TableServers::new(registry, start.table_servers);
    let heartbeat = Arc::new(Heartbeat::new());
    let waker = reactor.waker().map_err(system("eventfd"))?;
    let watchdog =
        Watchdog::new(Arc::clone(&heartbeat), start.watchdog_timeout, Box::new(watchdog_bites));
    let cache = start_cache(start.cache, opened, watchdog, waker)
        .map_err(system("cannot start the storage thread"))?;

    let listeners: io::Result<_> = start.listeners.into_iter().map(Listener::new).collect();
    let needs =
        Needs::new(&start.policy, start.tables.tables().servers().collect::<HashSet<_>>().len());
    let room = Room::find(needs).map_err(|errno| StartError::System("getrlimit", errno.into()))?;
    let lists = start
        .name_servers
        .map(|names| {
            let now = Instant::now();
            ListLookups::new(&start.policy.dnsbl, names, &reactor, room.lookups, now)
        })
        .transpose()
        .map_err(system("epoll"))?;
    let worker = Worker::new(Parts {
        reactor,
        hand_offs,
        lists,
        room,
        saved_lists,
        listeners: listeners.map_err(system("fcntl"))?,
        screener: Screener::new(start.policy),
        table_servers,
        sources: Sources { tables: start.tables, inquiries: Inquiries::default(), cache },
        settings: start.settings,
        supervisor: start.supervisor,
        signals,
        status: start.status.map(mio::net::UnixListener::from_std),
        heartbeat,
    })
    .map_err(system("epoll_ctl"))?;
    report_for_duty(&worker, cache_in_use, import_wanted).map_err(system("control channel"))?;
    Ok(worker)
}

/// Last of all: whatever fails before this is a start that failed, and the supervisor sees it as
/// one.
fn report_for_duty(worker: &Worker, cache_in_use: bool, import_wanted: bool) -> io::Result<()> {
    let Some(supervisor) = &worker.supervisor else { return Ok(()) };
    let told = match cache_in_use {
        true => supervisor.tell(FromWorker::CacheInUse),
        false => Ok(()),
    };
    if told.and_then(|()| supervisor.tell(FromWorker::Ready)).is_err() {
        no_supervisor();
    }
    match supervisor.order()? {
        // Nothing else is sent before that.
        Received::Message(
            ToWorker::Go | ToWorker::Changed(..) | ToWorker::CacheLost | ToWorker::Log(_),
        ) => {}
        Received::Nothing | Received::Closed => no_supervisor(),
    }
    if import_wanted {
        // A supervisor that has gone meanwhile has a successor, whose worker asks again.
        let _ = supervisor.tell(FromWorker::ImportWanted);
    }
    supervisor.set_nonblocking()
}

/// A reload came before the worker was ready. No client has been promised to it, and a
/// successor takes those that wait.
fn no_supervisor() -> ! {
    std::process::exit(0)
}

/// A cache that cannot be used costs a warning and a memory, not the service.
fn open_cache(location: &Location) -> Option<Opened> {
    let path = &location.sqlite_path;
    match sqlite::open_or_set_aside(path, &sqlite::OpenOptions::default()) {
        Ok(opened) => {
            if opened.created {
                maillog::message(&location.note);
            }
            Some(opened)
        }
        Err(error) => {
            let path = path.display();
            log::warn!("cache file {path}: {error}; verdicts are kept in memory only");
            None
        }
    }
}

fn start_cache(
    wanted: CacheStart,
    opened: Option<Opened>,
    watchdog: Watchdog,
    waker: mio::Waker,
) -> io::Result<Cache> {
    let watchdog = Some(watchdog);
    match (wanted, opened) {
        (CacheStart::None, _) => Cache::none(watchdog),
        (CacheStart::File { options, .. }, Some(opened)) => {
            // A wake-up that fails comes with the next event.
            let wake = move || drop(waker.wake());
            Cache::start(opened, options, watchdog, Box::new(wake))
        }
        (CacheStart::Memory(options) | CacheStart::File { options, .. }, _) => {
            Cache::in_memory(options, watchdog)
        }
    }
}

/// Ends a process whose loop does not turn any more. Not by the usual way: the log may be what
/// the loop hangs in.
fn watchdog_bites() {
    std::thread::spawn(|| maillog::fatal("watchdog timeout"));
    std::thread::sleep(WATCHDOG_LAST_WORDS);
    // With a core, as abort(3) would leave one, but no crash: that would be a panic.
    let _ = nix::sys::signal::raise(Signal::SIGQUIT);
    std::process::abort();
}

/// After this nothing can be opened, and nothing gained. It holds for this thread and those that
/// it starts.
fn enter(start: &Start) -> Result<(), Denied> {
    let role =
        Role { owner: &start.owner, unprivileged: start.unprivileged, jail: start.jail.as_deref() };
    for (layer, result) in start.sandbox.enter(role)? {
        // It worked a moment ago, in another process.
        if let Err(reason) = result {
            log::warn!("sandbox: left out {layer}: {reason}");
        }
    }
    Ok(())
}
