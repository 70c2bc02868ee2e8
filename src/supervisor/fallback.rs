//! postscreen(8) in our place. A front door that cannot serve must not close the port: this
//! process becomes postscreen(8), with what master(8) gave it, as if master.cf had named that.

use std::ffi::{CString, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, access};
use thiserror::Error;

use super::crashes::{Crashes, PERIOD, TOO_MANY, file_name_of};
use super::start_error::{Scope, StartError};
use crate::cache::location::OldCache;
use crate::config::build_defaults::BuildDefaults;
use crate::config::gatepost_cf::{OwnSettings, Substitute};
use crate::config::settings::Settings;
use crate::postfix::maillog;
use crate::postfix::master::{Environment, FLOW_FDS, Options, STATUS_FD};
use crate::postfix::proxy_lists::ProxyListSettings;
use crate::process::Outset;
use crate::sys::fault::{Execution, FAULTS, on_fault};
use crate::sys::{self, errno_text};

/// The program, in Postfix's `daemon_directory`.
const PROGRAM: &str = "postscreen";

/// How many caches to try if others have them.
const MOST_CACHES: usize = 20;

/// How the settings of gatepost.cf begin that decide which proxies are believed.
const PROXY_SETTINGS: &[u8] = b"upstream_proxy_";

/// What a program whose predecessor has met a fault is told, before the words of that: it has
/// not done anything yet, and does not meet it again.
pub const AFTER_FAULT: &str = "--after-fault";

/// The way out of a fault at the start: ourselves once more.
static SECOND_LIFE: OnceLock<SecondLife> = OnceLock::new();

#[derive(Debug)]
struct SecondLife {
    fallback: Arc<Fallback>,
    /// By signal, as nothing can be put together when it comes.
    executions: Vec<(Signal, Execution)>,
}

/// What it takes to become postscreen(8). Made before anything else, and told what main.cf says
/// when that is known.
#[derive(Debug)]
pub struct Fallback {
    /// Children have this too, and no right to use it.
    process: u32,
    words: Vec<OsString>,
    /// `None` if they cannot be read.
    options: Option<Options>,
    gatepost_cf: PathBuf,
    outset: Outset,
    known: OnceLock<Known>,
    /// Its cache, if it has one, as the configuration says.
    cache: OnceLock<OldCache>,
    serving: AtomicBool,
}

/// What main.cf and gatepost.cf say about it.
#[derive(Debug)]
struct Known {
    daemon_directory: PathBuf,
    substitute: Substitute,
    /// Not everybody is believed who says to be a proxy.
    wary_of_proxies: bool,
    /// gatepost.cf says more than that.
    other_settings: bool,
    crashes: Crashes,
}

/// What has happened.
#[derive(Debug)]
pub enum Reason<'a> {
    /// See there.
    Start(&'a StartError),
    /// We have panicked, and have said so, before anybody was served.
    Panic,
    /// We have met a fault before anybody was served, by the name of its signal.
    Fault(&'a str),
    /// [`TOO_MANY`] crashes.
    Crashes,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Start(error) => write!(f, "cannot start: {error}"),
            Reason::Panic => write!(f, "cannot start: panic"),
            Reason::Fault(signal) => write!(f, "cannot start: {signal}"),
            Reason::Crashes => write!(f, "{TOO_MANY} crashes within {} s", PERIOD.as_secs()),
        }
    }
}

/// Why postscreen(8) cannot be had.
#[derive(Debug, Error)]
enum Obstacle {
    #[error("fallback = none")]
    Unwanted,
    #[error(
        "it does not know upstream_proxy_networks and upstream_proxy_interfaces of gatepost.cf, \
         and would believe whoever connects"
    )]
    Proxies,
    #[error("daemon_directory is not known")]
    NoDirectory,
    #[error("{}: {}", .0.display(), errno_text(*.1))]
    Unusable(PathBuf, nix::Error),
    #[error("{} is this program itself", .0.display())]
    Ourselves(PathBuf),
    #[error("/proc/self/exe: {}", errno_text(sys::errno_of(.0)))]
    CannotTell(io::Error),
}

impl Fallback {
    /// For the program with this command line (its name included), as it was started.
    pub fn new(
        words: Vec<OsString>,
        options: Option<&Options>,
        environment: Option<&Environment>,
    ) -> Fallback {
        let config = environment.map(Environment::config_directory).unwrap_or_default();
        Fallback {
            process: std::process::id(),
            words,
            options: options.cloned(),
            gatepost_cf: config.join("gatepost.cf"),
            outset: Outset::note(),
            known: OnceLock::new(),
            cache: OnceLock::new(),
            serving: AtomicBool::new(false),
        }
    }

    /// The configuration has been read.
    pub fn learn(&self, settings: &Settings, service: &str) {
        let (own, directories) = (&settings.own, &settings.directories);
        let lists = own.proxy_lists != ProxyListSettings::default();
        // It is read once.
        let _ = self.known.set(Known {
            daemon_directory: directories.daemon.clone(),
            substitute: own.fallback,
            wary_of_proxies: settings.upstream_proxy && lists,
            other_settings: *own != OwnSettings::default(),
            crashes: Crashes::of(&directories.queue, service),
        });
    }

    /// The cache that postscreen(8) would use.
    pub fn learn_cache(&self, cache: Option<&OldCache>) {
        if let Some(cache) = cache {
            // It is found once.
            let _ = self.cache.set(cache.clone());
        }
    }

    /// A worker is ready. A panic from now on is a crash like one of a worker.
    pub fn is_serving(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// Whether postscreen(8) could serve, as far as can be told.
    pub fn is_possible(&self) -> bool {
        self.program().is_ok()
    }

    /// Becomes postscreen(8) if that is of use, and ends as a Postfix daemon does if not.
    pub fn or_fatal(&self, error: &StartError) -> ! {
        if error.scope() == Scope::Ours {
            self.become_postscreen(&Reason::Start(error));
        }
        maillog::fatal(error.to_string())
    }

    /// A process has crashed while clients were served. Comes back unless that makes too many.
    pub fn crashed(&self) {
        let Some(known) = self.known.get() else { return };
        if known.substitute == Substitute::Postscreen && known.crashes.are_too_many_with_one_more()
        {
            self.become_postscreen(&Reason::Crashes);
        }
    }

    /// The way out of a panic, if it is the supervisor's.
    pub fn panicked(&self) {
        if std::process::id() != self.process {
            return;
        }
        if self.serving.load(Ordering::Relaxed) {
            self.crashed();
        } else {
            self.become_postscreen(&Reason::Panic);
        }
    }

    /// Becomes postscreen(8). Comes back if that cannot be, after saying why, unless the
    /// administrator has said so.
    pub fn become_postscreen(&self, reason: &Reason<'_>) {
        let program = match self.program() {
            Ok(program) => program,
            Err(Obstacle::Unwanted) => return,
            Err(obstacle) => {
                log::warn!("gatepost: {reason}; postscreen(8) cannot serve instead: {obstacle}");
                return;
            }
        };
        let without = match self.known.get() {
            Some(known) if known.other_settings => ", without the settings of gatepost.cf",
            _ => "",
        };
        log::warn!(
            "gatepost: {reason}; postscreen(8) serves instead{without}, until the next start (at \
             the next reload, or when no client has come for a while), which tries gatepost again"
        );
        let mut arguments = self.arguments();
        if let Some(options) = self.options.as_ref().filter(|options| !options.alone) {
            log::warn!(
                "service {}: the process limit in master.cf is not 1; postscreen(8), which would \
                 refuse to start, is told that it is",
                options.service
            );
            arguments.insert(1, c"-l".into());
        }
        if let Some(map) = self.cache_of_its_own() {
            log::warn!("another process uses the cache; postscreen(8) uses {map} instead");
            let setting = CString::new(format!("postscreen_cache_map={map}"));
            arguments.splice(1..1, setting.into_iter().flat_map(|text| [c"-o".into(), text]));
        }
        maillog::finish();
        let Ok(path) = CString::new(program.as_os_str().as_bytes()) else { return };
        let execution = Execution::new(path, arguments);
        self.put_back();
        let errno = execution.execute();
        log::warn!(
            "gatepost: postscreen(8) cannot serve instead: {}: {}",
            program.display(),
            errno_text(errno)
        );
    }

    /// Makes this process what it was when it was executed.
    fn put_back(&self) {
        for number in self.descriptors() {
            sys::pass_on(number);
        }
        self.outset.restore();
    }

    /// At a fault from now on, until somebody is served, this program is executed anew, to become
    /// postscreen(8): a process that has met a fault cannot even log.
    pub fn guard(self: &Arc<Fallback>) {
        let Some(path) = sys::executed_as() else { return };
        let Ok(path) = CString::new(path.into_os_string().into_vec()) else { return };
        let words = |signal: Signal| {
            let (name, rest) = self.words.split_first()?;
            let told = [AFTER_FAULT, signal.as_str()].map(OsString::from);
            let words = std::iter::once(name.clone()).chain(told).chain(rest.iter().cloned());
            words.map(|word| CString::new(word.into_vec()).ok()).collect::<Option<Vec<_>>>()
        };
        let executions = FAULTS
            .into_iter()
            .filter_map(|signal| Some((signal, Execution::new(path.clone(), words(signal)?))));
        let life = SecondLife { fallback: Arc::clone(self), executions: executions.collect() };
        if SECOND_LIFE.set(life).is_ok()
            && let Err(errno) = on_fault(live_again)
        {
            log::warn!("sigaction: {}", errno_text(errno));
        }
    }

    /// What master(8) opened.
    fn descriptors(&self) -> impl Iterator<Item = i32> {
        let listeners = self.options.iter().flat_map(Options::listeners);
        FLOW_FDS.into_iter().chain([STATUS_FD]).chain(listeners)
    }

    /// The command line that master(8) would have made for postscreen(8).
    fn arguments(&self) -> Vec<CString> {
        let own_name = self.words.first().map(Path::new).and_then(Path::file_name);
        // master(8) leaves the service's name out if the program is called like it.
        let unnamed = self.options.as_ref().map(|options| options.service.as_str());
        let unnamed = unnamed.filter(|service| own_name.is_some_and(|name| name == *service));
        let added = unnamed.iter().flat_map(|service| ["-n", service]).map(OsString::from);
        let words =
            std::iter::once(PROGRAM.into()).chain(added).chain(self.words.iter().skip(1).cloned());
        // No word that came to us has a NUL in it.
        words.filter_map(|word| CString::new(word.into_vec()).ok()).collect()
    }

    /// Services of ours can share a cache, those of postscreen(8) cannot: it would not start. This
    /// happens if two services have to fall back, or master(8) starts two processes of one.
    fn cache_of_its_own(&self) -> Option<String> {
        let cache = self.cache.get().filter(|cache| cache.is_for_one_process())?;
        if !is_locked(&cache.db_file) {
            return None;
        }
        let service = self.options.as_ref().map(|options| file_name_of(&options.service))?;
        let suffix = cache.db_file.extension()?.to_str()?;
        let maps = (1..=MOST_CACHES).map(|number| format!("{}.{service}-{number}", cache.spec));
        let file = |map: &str| Some(format!("{}.{suffix}", map.split_once(':')?.1));
        maps.into_iter().find(|map| file(map).is_some_and(|file| !is_locked(Path::new(&file))))
    }

    /// postscreen(8), if there is nothing against it.
    fn program(&self) -> Result<PathBuf, Obstacle> {
        let usual = || {
            let defaults = BuildDefaults::compiled_in();
            defaults.get("daemon_directory").map(PathBuf::from)
        };
        let directories = match self.known.get() {
            Some(known) if known.substitute == Substitute::None => return Err(Obstacle::Unwanted),
            Some(known) if known.wary_of_proxies => return Err(Obstacle::Proxies),
            Some(known) => vec![known.daemon_directory.clone()],
            None => match self.suspicion() {
                Some(obstacle) => return Err(obstacle),
                None => self.directory_of_master().into_iter().chain(usual()).collect(),
            },
        };
        let mut obstacle = Obstacle::NoDirectory;
        for directory in directories {
            let program = directory.join(PROGRAM);
            match check(&program) {
                Ok(()) => return Ok(program),
                Err(error) => obstacle = error,
            }
        }
        Err(obstacle)
    }

    /// For as long as nothing is known for sure: what gatepost.cf seems to have against it, read
    /// as simply as can be. To believe every proxy is worse than to serve nobody.
    fn suspicion(&self) -> Option<Obstacle> {
        let text = match fs::read(&self.gatepost_cf) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(_) => return Some(Obstacle::Proxies),
        };
        let unwanted = |line: &[u8]| {
            let value = line.trim_ascii().strip_prefix(b"fallback").map(<[u8]>::trim_ascii);
            let value = value.and_then(|value| value.strip_prefix(b"="));
            value.is_some_and(|value| value.trim_ascii() == b"none")
        };
        if text.windows(PROXY_SETTINGS.len()).any(|part| part == PROXY_SETTINGS) {
            Some(Obstacle::Proxies)
        } else if text.split(|byte| *byte == b'\n').any(unwanted) {
            Some(Obstacle::Unwanted)
        } else {
            None
        }
    }

    /// The directory in which master(8) looks for what master.cf names, from what it made of
    /// that.
    fn directory_of_master(&self) -> Option<PathBuf> {
        let path = sys::executed_as()?;
        let path = path.as_os_str().as_bytes();
        let directory = match self.words.first() {
            Some(word) if !word.is_empty() => path.strip_suffix(word.as_bytes())?,
            _ => return None,
        };
        directory.ends_with(b"/").then(|| OsString::from_vec(directory.to_vec()).into())
    }
}

/// Called where a fault has happened.
fn live_again(signal: Signal) {
    let Some(SecondLife { fallback, executions }) = SECOND_LIFE.get() else { return };
    let ours = std::process::id() == fallback.process;
    if !ours || fallback.serving.load(Ordering::Relaxed) {
        return;
    }
    if let Some((_, execution)) = executions.iter().find(|(its, _)| *its == signal) {
        fallback.put_back();
        // If it fails, the process ends as it would have.
        let _ = execution.execute();
    }
}

/// Whether a postscreen(8) has this database open.
fn is_locked(database: &Path) -> bool {
    let lock = |file| Flock::lock(file, FlockArg::LockExclusiveNonblock);
    // A lock that is had is given up again at once.
    File::open(database).is_ok_and(|file| matches!(lock(file), Err((_, Errno::EAGAIN))))
}

/// Whether a program can be executed, and is not this one: it would not start either, and try
/// the same again, without end.
fn check(program: &Path) -> Result<(), Obstacle> {
    let unusable = |errno| Obstacle::Unusable(program.to_owned(), errno);
    let file = fs::metadata(program).map_err(|error| unusable(sys::errno_of(&error)))?;
    access(program, AccessFlags::X_OK).map_err(unusable)?;
    if !file.is_file() {
        return Err(unusable(nix::Error::EACCES));
    }
    let own = fs::metadata("/proc/self/exe").or_else(|error| match sys::executed_as() {
        Some(path) => fs::metadata(path),
        None => Err(error),
    });
    let own = own.map_err(Obstacle::CannotTell)?;
    if (own.dev(), own.ino()) == (file.dev(), file.ino()) {
        return Err(Obstacle::Ourselves(program.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
#[path = "fallback_tests.rs"]
mod tests;
