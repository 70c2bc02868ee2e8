//! What is done outside the jail on behalf of the cache: files that are damaged or not there any
//! more, and what postscreen(8) left behind.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{State, Supervisor};
use crate::cache::import::import_old_cache;
use crate::cache::location::OldCache;
use crate::cache::{Identity, set_aside_known};
use crate::postfix::maillog;
use crate::privileges::{Denied, Owner};
use crate::process;
use crate::sys::{self, Fork};

/// How often to look whether the files are what they were.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a process has served before it makes room for one with a fresh file, if its own was
/// damaged. A broken disk damages one file after the other.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// The cache file, seen from outside.
#[derive(Debug)]
pub(super) struct CacheDuty {
    /// The SQLite file.
    pub path: PathBuf,
    /// What postscreen(8) left behind.
    pub old: Option<OldCache>,
    pub command_directory: PathBuf,
    pub config_directory: PathBuf,
    /// The files that workers have open.
    pub in_use: Option<Identity>,
    /// When that was last looked at.
    pub looked: Instant,
}

impl CacheDuty {
    /// In a process of its own.
    fn import(&self, owner: &Owner) {
        maillog::reinit_pid();
        process::forget_signals();
        if let Err(error) = owner.become_for_good(None) {
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

    /// Workers have opened the file.
    fn note_use(&mut self) {
        if self.in_use.is_none() {
            self.in_use = Some(Identity::of(&self.path));
        }
    }

    /// Whether a worker still has files open that have lost their names.
    fn is_lost(&mut self, now: Instant) -> bool {
        let Some(in_use) = &self.in_use else { return false };
        if now.duration_since(self.looked) < PAUSE {
            return false;
        }
        self.looked = now;
        Identity::of(&self.path) != *in_use
    }

    /// Moves what workers have had open; nobody shall mix it up with what comes. Says what has
    /// become of it.
    fn set_aside(&mut self, owner: &Owner, what: &str) -> Result<(), Denied> {
        let Some(in_use) = self.in_use.take() else { return Ok(()) };
        let path = self.path.display();
        match owner.act(|| set_aside_known(&self.path, &in_use))? {
            Ok(Some(target)) => log::warn!(
                "cache file {path} {what}; it is now {}, and the next process starts afresh",
                target.display()
            ),
            Ok(None) => {
                log::warn!("cache file {path} {what}, and the next process starts afresh");
            }
            Err(error) => log::warn!("cache file {path} {what}, and cannot be renamed: {error}"),
        }
        Ok(())
    }
}

impl Supervisor {
    /// A worker has opened the file.
    pub(super) fn cache_in_use(&mut self) {
        if let Some(duty) = &mut self.cache {
            duty.note_use();
        }
    }

    /// How long until the cache has to be looked at.
    pub(super) fn cache_pause(&self) -> Option<Duration> {
        self.cache.as_ref().and_then(|duty| duty.in_use.as_ref()).map(|_| PAUSE)
    }

    /// A worker has found damage, and goes on from memory.
    pub(super) fn cache_damaged(&mut self) {
        self.set_cache_aside("is damaged");
        if self.changes.age() >= LONG_LIFE {
            self.changes.depart("the cache file was damaged - finishing in the background".into());
        }
    }

    /// Looks whether somebody has removed or replaced one of the files.
    pub(super) fn look_after_cache(&mut self) {
        let Some(duty) = &mut self.cache else { return };
        if self.ends_at.is_some() || !duty.is_lost(Instant::now()) {
            return;
        }
        self.set_cache_aside("was removed or replaced");
        for worker in self.workers.iter().filter(|worker| worker.state != State::Gone) {
            // One that cannot be told goes on with files that nobody else has.
            if let Err(error) = worker.channel.cache_lost() {
                log::debug!("worker {}: {error}", worker.pid);
            }
        }
        self.changes.depart("the cache file has changed - finishing in the background".into());
    }

    fn set_cache_aside(&mut self, what: &str) {
        let Some(duty) = &mut self.cache else { return };
        // Whoever cannot become root again must not go on as somebody else.
        if let Err(error) = duty.set_aside(&self.owner, what) {
            maillog::fatal(error.to_string());
        }
    }

    /// What postscreen(8) remembered becomes ours, in a process of its own: clients do not
    /// wait for it.
    pub(super) fn import_old_cache(&mut self) {
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
                    duty.import(&self.owner);
                }
                std::process::exit(0);
            }
            Err(errno) => log::warn!("fork: {}", sys::errno_text(errno)),
        }
    }
}
