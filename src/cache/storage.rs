//! The storage thread: verdicts and notes first, then syncs, checkpoints and clean-up; and the
//! watchdog, because it is the only part of the process that turns when the loop does not.
//!
//! A verdict is committed at once if there was no commit for [`BATCH_WINDOW`], else when that
//! is over: so one commit serves all verdicts of a window, however many, and a verdict that
//! comes alone does not need the thread to wake twice. After a commit of several the thread
//! expects more and sleeps for one window only, so that a steady stream of verdicts does not
//! need the loop to wake it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use rusqlite::Connection;

use super::cleanup::{Cleanup, Policy};
use super::clock::{Clock, Moment};
use super::mailbox::{Mailbox, Nap, Store};
use super::reckoning::{Reading, Remark};
use super::sqlite::{Fault, Time, keep_reckoning};
use super::throttle::Throttle;
use super::watchdog::Watchdog;
use super::writer::{Log, Writer};
use crate::postfix::message::{Level, Message};
use crate::sys::cut_off;

/// Between two commits: enough to catch a burst, and half of what other processes are promised,
/// because a checkpoint, a sync or a step of clean-up may come between.
const BATCH_WINDOW: Duration = Duration::from_millis(25);
const BATCH_ROWS: usize = 1_000;
/// After another process's lock was in the way (SQLite has waited a while by then).
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// A lock held for so long is worth a warning.
const BUSY_WARNING: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LOG_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);
/// What is said if the index of the log has lost its pages.
pub(super) const CUT_OFF: &str = "a file was cut off while it was in use";

/// What the thread works with.
pub(super) struct Storage {
    pub name: String,
    pub mailbox: Arc<Mailbox>,
    pub clock: Arc<dyn Clock>,
    pub watchdog: Option<Watchdog>,
    /// `None` if there is nothing to write to: only the watchdog is at work then.
    pub file: Option<Opening>,
}

/// A file that is to be this thread's.
#[derive(Debug)]
pub(super) struct Opening {
    /// The only connection that writes.
    pub writer: Connection,
    /// How the time of the file is told.
    pub time: Time,
    /// The log may grow to this size when a reader keeps it from being emptied.
    pub log_limit: u64,
    /// What is cleaned up.
    pub policy: Policy,
}

impl Storage {
    /// The life of the thread.
    pub fn run(mut self) {
        // Signals are for the loop, but for those that this thread brings upon itself: the kernel
        // kills a process that blocks one of these and gets it.
        let mut signals = SigSet::all();
        for own in [Signal::SIGBUS, Signal::SIGSYS, Signal::SIGSEGV, Signal::SIGILL, Signal::SIGFPE]
        {
            signals.remove(own);
        }
        let _ = signals.thread_block();
        let mut file = match self.file.take().map(File::new).transpose() {
            Ok(file) => file,
            Err(fault) => {
                self.mailbox.report_damage(fault.to_string());
                None
            }
        };
        loop {
            let now = self.clock.now();
            let forever = now.mono + LONGEST_SLEEP;
            // Without a file nothing that is queued matters.
            let mut nap = Nap { until: forever, stores_from: forever };
            if let Some(deadline) = self.mailbox.closing() {
                if let Some(file) = file.take() {
                    file.finish(&self.name, &self.mailbox, self.clock.as_ref(), deadline);
                }
                return;
            }
            if file.is_some() && cut_off::happened() {
                self.mailbox.report_damage(CUT_OFF.to_owned());
            }
            if self.mailbox.is_damaged() {
                file = None;
            }
            if let Some(open) = &mut file {
                match open.turn(&self.name, &self.mailbox, now) {
                    Ok(turn) => nap = turn,
                    Err(damage) => {
                        file = None;
                        self.mailbox.report_damage(damage);
                    }
                }
            }
            if let Some(watchdog) = &mut self.watchdog
                && let Some(check) = watchdog.check(now.mono)
            {
                nap.until = nap.until.min(check);
            }
            self.mailbox.sleep(nap);
        }
    }
}

/// The file, and how it has behaved lately.
#[derive(Debug)]
pub(super) struct File {
    writer: Writer,
    time: Time,
    /// What is known of the time is not written yet.
    time_is_news: bool,
    cleanup: Cleanup,
    /// Reused from batch to batch.
    batch: Vec<Store>,
    /// When the next commit may be; `None` for at once.
    commit_from: Option<Instant>,
    /// Verdicts come one after the other.
    stream: bool,
    rest_until: Option<Instant>,
    pause: Duration,
    busy_since: Option<Instant>,
    in_trouble: bool,
    warnings: Throttle,
}

impl File {
    fn new(opening: Opening) -> Result<File, Fault> {
        let Opening { writer, time, log_limit, policy } = opening;
        Ok(File {
            writer: Writer::new(writer, log_limit)?,
            time,
            time_is_news: false,
            cleanup: Cleanup::new(policy),
            batch: Vec::new(),
            commit_from: None,
            stream: false,
            rest_until: None,
            pause: FIRST_PAUSE,
            busy_since: None,
            in_trouble: false,
            warnings: Throttle::default(),
        })
    }

    /// Does what is due; returns when to call again, or what is damaged.
    fn turn(&mut self, name: &str, mailbox: &Mailbox, now: Moment) -> Result<Nap, String> {
        if let Some(until) = self.rest_until
            && now.mono < until
        {
            return Ok(Nap { until, stores_from: until });
        }
        self.rest_until = None;
        self.look_at_clocks(name, Reading::now());
        let rest = match self.work(mailbox, now) {
            Ok(Some(nap)) => {
                self.recovered(name);
                return Ok(nap);
            }
            Ok(None) => {
                self.warn(name, "a reader keeps its log from being emptied", mailbox, now.mono);
                LOG_PAUSE
            }
            Err(Fault::Busy(text)) => {
                let since = *self.busy_since.get_or_insert(now.mono);
                if now.mono.saturating_duration_since(since) >= BUSY_WARNING {
                    self.warn(name, &text, mailbox, now.mono);
                }
                BUSY_PAUSE
            }
            Err(Fault::Disk(text)) => {
                self.warn(name, &text, mailbox, now.mono);
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            }
            Err(Fault::Damaged(text)) => return Err(text),
        };
        let until = now.mono + rest;
        self.rest_until = Some(until);
        Ok(Nap { until, stores_from: until })
    }

    /// One batch, and one of checkpoint, sync and step of clean-up, each if due. Returns what to
    /// wait for, or `None` if the log is too long to write anything.
    fn work(&mut self, mailbox: &Mailbox, now: Moment) -> Result<Option<Nap>, Fault> {
        if self.writer.shorten_log()? == Log::TooLong {
            return Ok(None);
        }
        let sync_is_due = self.writer.sync_due().is_some_and(|due| due <= now.mono);
        // A verdict should not wait for its window and then for the disk.
        let disk_is_next = sync_is_due || self.writer.checkpoint_is_due();
        if disk_is_next || self.commit_from.is_none_or(|from| from <= now.mono) {
            let count = self.commit_batch(mailbox, now)?;
            self.stream = count > 1;
            // What did not fit into the batch has waited already.
            let more = !mailbox.waiting().is_empty();
            self.commit_from = (count > 0 && !more).then(|| now.mono + BATCH_WINDOW);
        }
        if self.time_is_news {
            keep_reckoning(self.writer.connection(), self.time.watch.reckoning())?;
            self.time_is_news = false;
        }
        let stores_from = self.commit_from.unwrap_or(now.mono);
        if self.writer.checkpoint_is_due() {
            if self.writer.checkpoint()? == Log::TooLong {
                return Ok(None);
            }
        } else if sync_is_due {
            self.writer.sync(now.wall)?;
        } else {
            let turn = self.cleanup.turn(self.writer.connection(), now)?;
            if let Some(message) = &turn.message {
                emit(message);
            }
            let tick = self.stream.then_some(stores_from);
            let due = [tick, self.writer.sync_due()];
            let until = due.into_iter().flatten().fold(turn.next, Instant::min);
            return Ok(Some(Nap { until, stores_from }));
        }
        // Perhaps something else is due as well; but what has come meanwhile goes first.
        Ok(Some(Nap { until: now.mono, stores_from }))
    }

    /// Finds out whether the clock was set, and what that means.
    fn look_at_clocks(&mut self, name: &str, reading: Reading) {
        let (news, remark) = self.time.watch.look(reading);
        if news {
            self.time.clock.follow(self.time.watch.reckoning());
            self.time_is_news = true;
        }
        if let Some(Remark::Set(seconds)) = remark {
            log::info!(
                "cache {name}: the clock was set: {seconds} seconds have passed since the last use \
                 of the file"
            );
        }
    }

    /// Commits what waits, or a part of that; returns how much.
    fn commit_batch(&mut self, mailbox: &Mailbox, now: Moment) -> Result<usize, Fault> {
        mailbox.copy_batch(BATCH_ROWS, &mut self.batch);
        let notes = mailbox.notes();
        if self.batch.is_empty() && notes.is_empty() {
            return Ok(0);
        }
        self.writer.commit(&self.batch, &notes, now.mono)?;
        mailbox.settle_notes(&notes);
        if let Some(last) = self.batch.last() {
            mailbox.settle(last.seq);
        }
        self.cleanup.note_stores(self.batch.len());
        Ok(self.batch.len() + notes.len())
    }

    /// Writes all that waits, syncs it and empties the log, as far as `deadline` allows.
    fn finish(mut self, name: &str, mailbox: &Mailbox, clock: &dyn Clock, deadline: Instant) {
        let result = loop {
            let now = clock.now();
            if mailbox.waiting().is_empty() {
                if let Some(message) = self.cleanup.interrupt(self.writer.connection()) {
                    emit(&message);
                }
                break self.writer.finish(now.wall);
            }
            // Without checkpoints a full queue would make a log of hundreds of megabytes.
            let shortened = self.writer.shorten_log().and_then(|log| {
                if self.writer.checkpoint_is_due() { self.writer.checkpoint() } else { Ok(log) }
            });
            match shortened.and_then(|_| self.commit_batch(mailbox, now)) {
                Err(Fault::Busy(_)) if now.mono < deadline => std::thread::sleep(BUSY_PAUSE),
                Err(fault) => break Err(fault),
                Ok(_) => (),
            }
        };
        if let Err(fault) = result {
            let waiting = mailbox.waiting();
            log::warn!("cache {name}: {fault}; {waiting} are lost at exit");
        }
    }

    fn warn(&mut self, name: &str, reason: &str, mailbox: &Mailbox, now: Instant) {
        self.in_trouble = true;
        if let Some(times) = self.warnings.note(1, now) {
            let waiting = mailbox.waiting();
            log::warn!(
                "cache {name}: cannot write: {reason} ({times} attempts); {waiting} are kept in \
                 memory"
            );
        }
    }

    fn recovered(&mut self, name: &str) {
        self.busy_since = None;
        self.pause = FIRST_PAUSE;
        if std::mem::take(&mut self.in_trouble) {
            log::info!("cache {name}: written again");
        }
    }
}

fn emit(message: &Message) {
    match message.level {
        Level::Info => log::info!("{}", message.text),
        Level::Warning => log::warn!("{}", message.text),
        Level::Error | Level::Fatal | Level::Panic => log::error!("{}", message.text),
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "power_cut_tests.rs"]
mod power_cut_tests;

#[cfg(test)]
#[path = "damage_tests.rs"]
mod damage_tests;
