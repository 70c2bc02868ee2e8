//! What changes while the service runs, and how it gets to the workers: files as open
//! descriptors; databases as snapshots, which others take meanwhile; and what a worker in its
//! jail cannot take in, by a successor.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::snapshots::{Snapshots, judge};
use super::upgrade::Upgrade;
use super::watch::{News, Watch};
use super::{State, Supervisor, WorkerProcess};
use crate::daemon::Watched;
use crate::postfix::maillog;
use crate::postfix::table::Index;
use crate::process::task::{End, Outcome, Task};

/// When to take a snapshot again that failed for a reason that may pass by itself.
const AGAIN: Duration = Duration::from_secs(60);

/// How long a process serves at least before it makes room for a successor because of a
/// change: whatever keeps changing, processes do not follow each other faster.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);

/// Something that is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// Workers take it in.
    ForWorkers(Watched),
    /// Workers hold the file of this table open. They cannot follow if another one takes its
    /// place.
    Held(String),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::ForWorkers(watched) => write!(f, "{watched}"),
            Item::Held(table) => write!(f, "table {table}"),
        }
    }
}

/// What is being done about changes.
#[derive(Debug)]
pub struct Changes {
    /// What is watched, in the order of their numbers.
    pub items: Vec<Item>,
    /// The same, in the same order.
    pub watch: Watch,
    /// How databases are read.
    pub snapshots: Snapshots,
    /// What version of Postfix is around us.
    pub upgrade: Upgrade,
    /// Since when this process serves.
    started: Instant,
    tasks: Vec<(Errand, Task)>,
    /// Snapshots that not every worker has, by the numbers of their items.
    ready: BTreeMap<u32, File>,
    /// Items to look at again.
    again: Vec<(Instant, u32)>,
    /// Why a successor is wanted.
    departure: Option<String>,
}

/// What a task is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Errand {
    /// A snapshot of the item with this number.
    Snapshot(u32),
    /// The version of Postfix.
    Version,
}

impl Changes {
    /// Nothing has happened yet.
    pub fn new(items: Vec<Item>, watch: Watch, snapshots: Snapshots, upgrade: Upgrade) -> Changes {
        Changes {
            items,
            watch,
            snapshots,
            upgrade,
            started: Instant::now(),
            tasks: Vec::new(),
            ready: BTreeMap::new(),
            again: Vec::new(),
            departure: None,
        }
    }

    /// Whether time alone brings something about.
    pub fn has_to_look(&self) -> bool {
        !self.watch.is_empty() || !self.tasks.is_empty() || self.departure.is_some()
    }

    /// Ends what is being done.
    pub fn abandon(&mut self) {
        for (_, task) in self.tasks.drain(..) {
            task.kill();
        }
    }

    fn item(&self, number: u32) -> Option<&Item> {
        self.items.get(usize::try_from(number).ok()?)
    }

    fn index(&self, number: u32) -> Option<&Index> {
        match self.item(number)? {
            Item::ForWorkers(Watched::Index(index)) => Some(index),
            Item::ForWorkers(Watched::Table(_) | Watched::NameServers(..)) | Item::Held(_) => None,
        }
    }

    /// A worker cannot take this in.
    pub fn outdated(&mut self, number: u32) {
        if let Some(item) = self.item(number) {
            let table = match item {
                // postscreen(8) calls everything a table that makes it start anew.
                Item::ForWorkers(Watched::Table(path)) => format!("table {}", path.display()),
                item => item.to_string(),
            };
            self.depart(format!("{table} has changed - finishing in the background"));
        }
    }

    /// The first reason is as good as any.
    pub fn depart(&mut self, reason: String) {
        self.departure.get_or_insert(reason);
    }

    /// How long this process has served.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The reason to go, when it is time to.
    fn departure(&self) -> Option<&str> {
        self.departure.as_deref().filter(|_| self.age() >= SHORTEST_LIFE)
    }

    /// A worker was not understood by another daemon.
    pub fn misunderstood(&mut self) {
        if let Some(task) = self.upgrade.look(Instant::now()) {
            self.tasks.push((Errand::Version, task));
        }
    }

    /// A process has ended; whether it was one of ours.
    pub fn reaped(&mut self, pid: Pid, status: WaitStatus) -> bool {
        let Some(at) = self.tasks.iter().position(|(_, task)| task.pid() == pid) else {
            return false;
        };
        let (errand, task) = self.tasks.swap_remove(at);
        let outcome = task.finish(status);
        match errand {
            Errand::Snapshot(number) => self.snapshot_done(number, outcome),
            Errand::Version => {
                if let Some(reason) = self.upgrade.judge(outcome) {
                    self.depart(reason);
                }
            }
        }
        true
    }

    fn snapshot_done(&mut self, number: u32, outcome: Outcome) {
        let Some(index) = self.index(number).cloned() else { return };
        let may_pass = matches!(outcome.end, End::Timeout(_));
        let mut messages = Vec::new();
        let judged = judge(&index, outcome, &mut messages);
        for message in &messages {
            maillog::message(message);
        }
        match judged {
            Ok(file) => drop(self.ready.insert(number, file)),
            Err(reason) => {
                log::warn!("{reason}; {index} stays as it was");
                if may_pass {
                    self.again.push((Instant::now() + AGAIN, number));
                }
            }
        }
    }

    fn is_being_read(&self, number: u32) -> bool {
        self.tasks.iter().any(|(errand, _)| *errand == Errand::Snapshot(number))
    }
}

impl Supervisor {
    /// Looks at everything that may have changed.
    pub(super) fn attend_to_changes(&mut self) {
        let now = Instant::now();
        for (_, task) in &mut self.changes.tasks {
            task.check(now);
        }
        // A worker that is not ready does not listen yet.
        let starting = self.workers.iter().any(|worker| worker.state == State::Starting);
        if self.ends_at.is_some() || starting {
            return;
        }
        if let Some(reason) = self.changes.departure() {
            log::info!("{reason}");
            self.leave();
        }
        let (due, later) = self.changes.again.drain(..).partition(|(at, _)| *at <= now);
        self.changes.again = later;
        let due: Vec<(Instant, u32)> = due;
        for (_, number) in due {
            self.changes.watch.forget(number);
        }
        for change in self.changes.watch.changes(SystemTime::now()) {
            let noted = match &change.news {
                News::Content(file) => hand_over(&self.workers, change.number, file.as_fd()),
                News::Changed => self.take_snapshot(change.number),
                News::Replaced => {
                    self.changes.outdated(change.number);
                    true
                }
            };
            if noted {
                self.changes.watch.note(&change);
            }
        }
        let workers = &self.workers;
        self.changes.ready.retain(|number, file| !hand_over(workers, *number, file.as_fd()));
    }

    /// Whether the change is seen to; not if the last one is still being.
    fn take_snapshot(&mut self, number: u32) -> bool {
        if self.changes.is_being_read(number) {
            return false;
        }
        let Some(index) = self.changes.index(number).cloned() else { return true };
        let workers = &mut self.workers;
        // Workers see their supervisor's end by their channels: a copy of us has to let go.
        match self.changes.snapshots.start(&index, || workers.clear()) {
            Ok(task) => self.changes.tasks.push((Errand::Snapshot(number), task)),
            Err(reason) => {
                log::warn!("{reason}; {index} stays as it was");
                self.changes.again.push((Instant::now() + AGAIN, number));
            }
        }
        true
    }
}

/// Gives every worker the descriptor. A worker whose channel is full gets it next time, and
/// the others once more.
fn hand_over(workers: &[WorkerProcess], number: u32, file: BorrowedFd<'_>) -> bool {
    let present = workers.iter().filter(|worker| worker.state != State::Gone);
    present.map(|worker| worker.channel.changed(number, file)).all(|sent| sent.is_ok())
}
