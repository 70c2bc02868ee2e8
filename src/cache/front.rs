//! The loop's side of the cache.
//!
//! A look-up asks, in this order: the verdicts not written yet, the memory of recent ones,
//! the file. The file is shared with other processes (a draining worker, other listeners),
//! so the memory must not hide what they write. It may answer only with a record that
//! leaves nothing to do: every enabled test passed and still valid. Such a record cannot
//! be made worse by a newer one, because a verdict is only stored after a pass and keeps
//! the stamps of tests that were not due; and one that would be better changes nothing for
//! the client.
//!
//! What the memory would hide is a removal. The file counts these ([`sqlite`](super::sqlite)),
//! and the memory answers for [`TRUST`] since the count was last looked at: so a removal by
//! any program reaches every worker within that time, for one read a second at most, made by a
//! look-up, so that an idle process does nothing. A count that has changed says not what is
//! gone: the memory forgets everything. Only if the file cannot be read, the memory answers
//! all the same.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::cleanup::Policy;
use super::clock::{Clock, Moment, SystemClock, shown, wall_time};
use super::mailbox::{CacheEvent, Mailbox, Store};
use super::reader::Reader;
use super::recent::{Recent, Remembered};
use super::sqlite::{Fault, Opened};
use super::storage::{CUT_OFF, Opening, Storage};
use super::throttle::Throttle;
use super::unwritten::Unwritten;
use super::watchdog::Watchdog;
use crate::screen::event::Cached;
use crate::screen::test_set::{CacheRecord, TestSet, UnixTime};
use crate::screen::verdict;
use crate::sys::cut_off;

/// For how long the memory answers since it was last known that nothing was removed.
const TRUST: Duration = Duration::from_secs(1);
/// For how long, in seconds, a verdict is taken from the memory until the file is asked again.
/// What the file does not count (a row that was replaced, a trigger that somebody dropped)
/// counts after that.
const MEMORY_SPAN: u32 = 600;
/// For how long the exit of the process may wait for the disk.
const CLOSE_SPAN: Duration = Duration::from_secs(3);
/// The log of the database may grow to this size when a reader keeps it from being emptied.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;
const STACK: usize = 512 * 1024;

/// How the cache works.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// The name for log lines, for example `sqlite:/var/lib/postfix/postscreen_cache.sqlite`.
    pub name: String,
    /// The tests that are enabled.
    pub enabled: TestSet,
    /// How long expired records are kept (main.cf: `postscreen_cache_retention_time`).
    pub retention: Duration,
    /// Between two clean-ups; `None` for never (main.cf: `postscreen_cache_cleanup_interval`,
    /// where 0 is never).
    pub cleanup_interval: Option<Duration>,
    /// The largest number of records in the file; `None` for any (gatepost.cf:
    /// `cache_max_entries`).
    pub max_entries: Option<u64>,
    /// No verdict counts for longer; `None` for any time.
    pub longest: Option<Duration>,
    /// Recent verdicts kept in memory beside a file.
    pub recent_entries: usize,
    /// Verdicts kept in memory when there is no usable file.
    pub memory_entries: usize,
    /// Verdicts that may wait for the disk.
    pub unwritten_entries: usize,
}

impl CacheOptions {
    /// postscreen's defaults, for a cache that is called `name` in log lines.
    pub fn new(name: impl Into<String>, enabled: TestSet) -> CacheOptions {
        CacheOptions {
            name: name.into(),
            enabled,
            retention: Duration::from_secs(7 * 24 * 3_600),
            cleanup_interval: Some(Duration::from_secs(12 * 3_600)),
            max_entries: None,
            longest: None,
            recent_entries: 20_000,
            memory_entries: 100_000,
            unwritten_entries: 50_000,
        }
    }
}

enum Mode {
    Off,
    Memory,
    File { reader: Reader, unwritten: Unwritten, removals: Removals },
}

/// What is known of verdicts that others remove.
#[derive(Debug)]
struct Removals {
    /// How many there have been, if that could be read.
    count: Option<i64>,
    /// When that was looked at.
    checked: Instant,
}

impl Mode {
    /// The memory has to be empty until here: what is removed later is counted.
    fn file(mut reader: Reader, now: Instant) -> Mode {
        let removals = Removals { count: reader.removals().ok(), checked: now };
        Mode::File { reader, unwritten: Unwritten::default(), removals }
    }
}

/// The loop's handle of the cache, and of the storage thread.
pub struct Cache {
    mode: Mode,
    recent: Recent,
    started: Instant,
    options: CacheOptions,
    mailbox: Arc<Mailbox>,
    clock: Arc<dyn Clock>,
    next_seq: u64,
    lost: Throttle,
    unread: Throttle,
    ended: mpsc::Receiver<()>,
}

impl Cache {
    /// A cache in the file `opened`. Starts the storage thread, so it is for after the last
    /// change of privileges. `wake` is called from either thread when [`Cache::events`] has
    /// something.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        opened: Opened,
        options: CacheOptions,
        watchdog: Option<Watchdog>,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<Cache> {
        let Opened { reader, writer, time, .. } = opened;
        let policy = Policy {
            name: options.name.clone(),
            enabled: options.enabled,
            retention: options.retention,
            interval: options.cleanup_interval,
            max_entries: options.max_entries,
        };
        let clock = Arc::new(time.clock.clone());
        let file = Opening { writer, time, log_limit: LOG_LIMIT, policy };
        let mode = Mode::file(reader, clock.now().mono);
        Cache::with_thread(mode, Some(file), options, watchdog, wake, clock)
    }

    /// A cache without a file: it forgets everything with the process.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn in_memory(options: CacheOptions, watchdog: Option<Watchdog>) -> io::Result<Cache> {
        let clock = Arc::new(SystemClock::new());
        Cache::with_thread(Mode::Memory, None, options, watchdog, Box::new(|| ()), clock)
    }

    /// No cache: nothing is found and nothing kept (main.cf: `postscreen_cache_map =`). There
    /// is a storage thread all the same, for the watchdog.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn none(watchdog: Option<Watchdog>) -> io::Result<Cache> {
        let options = CacheOptions::new("", TestSet::EMPTY);
        let clock = Arc::new(SystemClock::new());
        Cache::with_thread(Mode::Off, None, options, watchdog, Box::new(|| ()), clock)
    }

    fn with_thread(
        mode: Mode,
        file: Option<Opening>,
        options: CacheOptions,
        watchdog: Option<Watchdog>,
        wake: Box<dyn Fn() + Send + Sync>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Cache> {
        let mailbox = Arc::new(Mailbox::new(options.unwritten_entries, wake));
        let storage = Storage {
            name: options.name.clone(),
            mailbox: Arc::clone(&mailbox),
            clock: Arc::clone(&clock),
            watchdog,
            file,
        };
        let (end, ended) = mpsc::channel();
        thread::Builder::new().name("storage".to_owned()).stack_size(STACK).spawn(move || {
            storage.run();
            // Nobody listens if the cache was dropped without being closed.
            let _ = end.send(());
        })?;
        let recent = Recent::new(match mode {
            Mode::Memory => options.memory_entries,
            _ => options.recent_entries,
        });
        Ok(Cache {
            mode,
            recent,
            started: clock.now().mono,
            options,
            mailbox,
            clock,
            next_seq: 1,
            lost: Throttle::default(),
            unread: Throttle::default(),
            ended,
        })
    }

    /// The loop begins a turn: look-ups until [`Cache::end_turn`] may share one view of the
    /// file. Without turns each has its own.
    pub fn begin_turn(&mut self) {
        if let Mode::File { reader, .. } = &mut self.mode {
            reader.begin_turn();
        }
    }

    /// The loop's turn is over, and it may sleep now.
    pub fn end_turn(&mut self) {
        if let Mode::File { reader, .. } = &mut self.mode {
            reader.end_turn();
        }
    }

    /// The time by which verdicts are stamped.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// What the wall clock would say at a time of ours, if it always was as it is now.
    pub fn shown(&self, time: UnixTime) -> UnixTime {
        shown(time, self.clock.now().wall, wall_time())
    }

    /// What is known about `address`.
    pub fn lookup(&mut self, address: IpAddr) -> Cached {
        let remembered = match &mut self.mode {
            Mode::Off => return Cached::NotFound,
            Mode::Memory => return found(self.recent.get(address)),
            Mode::File { reader, unwritten, .. } => {
                // Until the reader sees what was written.
                if !reader.holds_snapshot() {
                    unwritten.settle(self.mailbox.written());
                }
                if let Some(record) = unwritten.get(address) {
                    return Cached::Found(record);
                }
                self.recent.get(address)
            }
        };
        let now = self.clock.now();
        let second = self.second(now.mono);
        if let Some(remembered) = remembered {
            let record = remembered.record();
            let is_young = second.saturating_sub(remembered.since) < MEMORY_SPAN;
            if is_young && self.leaves_nothing_to_do(&record, now) && self.memory_counts(now.mono) {
                return Cached::Found(record);
            }
        }
        let Mode::File { reader, .. } = &mut self.mode else { return found(remembered) };
        let looked_up = match reader.lookup(address) {
            _ if cut_off::happened() => Err(Fault::Damaged(CUT_OFF.to_owned())),
            looked_up => looked_up,
        };
        match looked_up {
            Ok(Some(record)) => {
                let bounded = |longest| verdict::bounded(&record, now.wall, longest);
                let sound = self.options.longest.map_or(record, bounded);
                if sound == record {
                    self.recent.insert(address, record, second);
                } else {
                    // From now on it runs out like any other.
                    self.store(address, sound);
                }
                Cached::Found(sound)
            }
            Ok(None) => {
                self.recent.remove(address);
                Cached::NotFound
            }
            Err(Fault::Damaged(text)) => {
                self.damaged(text);
                found(remembered)
            }
            Err(fault) => match remembered {
                Some(remembered) => Cached::Found(remembered.record()),
                // postscreen(8) would say so for every client.
                None => match self.unread.note(1, now.mono) {
                    Some(times) => Cached::Failed(format!(
                        "cache {}: cannot read: {fault} ({times} attempts)",
                        self.options.name
                    )),
                    None => Cached::NotFound,
                },
            },
        }
    }

    /// Remembers `record` about `address`, and has it written soon.
    pub fn store(&mut self, address: IpAddr, record: CacheRecord) {
        if matches!(self.mode, Mode::Off) {
            return;
        }
        let now = self.clock.now().mono;
        self.recent.insert(address, record, self.second(now));
        let Mode::File { reader, unwritten, .. } = &mut self.mode else { return };
        let seq = self.next_seq;
        self.next_seq += 1;
        unwritten.insert(seq, address, record);
        if let Some(dropped) = self.mailbox.push(Store { seq, address, record }) {
            unwritten.settle(dropped);
            if let Some(count) = self.lost.note(1, now) {
                log::warn!(
                    "cache {}: too many verdicts wait for the disk; {count} are lost",
                    self.options.name
                );
            }
        }
        if !reader.holds_snapshot() {
            unwritten.settle(self.mailbox.written());
        }
    }

    /// Keeps `text` under `name` beside the verdicts, in the place of an earlier text; a later
    /// process finds it in [`Opened::notes`]. It is written as soon as a verdict is, and like
    /// these it is the last one that counts if several processes write it.
    ///
    /// A name has up to 512 bytes, a text up to 4096, and there are up to 256 names. What is
    /// beyond that is dropped, and an earlier text stays. Without a file every note is dropped.
    pub fn note(&mut self, name: &str, text: &str) {
        if matches!(self.mode, Mode::File { .. }) {
            self.mailbox.note(name, text);
        }
    }

    /// The file has lost its name: nothing is written there any more.
    pub fn give_up_file(&mut self) {
        self.mailbox.give_up();
        self.go_on_in_memory();
    }

    /// What has happened since the last call.
    pub fn events(&mut self) -> Vec<CacheEvent> {
        let events = self.mailbox.take_events();
        if self.mailbox.is_damaged() {
            self.go_on_in_memory();
        }
        events
    }

    /// Writes and syncs what is not written yet, and ends the storage thread. Waits for that
    /// for three seconds at most, then leaves the thread to itself.
    pub fn flush_and_close(self) {
        self.mailbox.close(Instant::now() + CLOSE_SPAN);
        if self.ended.recv_timeout(CLOSE_SPAN).is_err() {
            let waiting = self.mailbox.waiting();
            if !waiting.is_empty() {
                log::warn!(
                    "cache {}: the disk is too slow; {waiting} may be lost at exit",
                    self.options.name
                );
            }
        }
    }

    fn leaves_nothing_to_do(&self, record: &CacheRecord, now: Moment) -> bool {
        !self.options.enabled.iter().any(|test| record[test].is_due(now.wall))
    }

    /// Whether the memory knows of nothing that is gone. Looks at the count of removals if that
    /// was long ago, and forgets everything if there was one.
    fn memory_counts(&mut self, now: Instant) -> bool {
        let Mode::File { reader, removals, .. } = &mut self.mode else { return true };
        if now.saturating_duration_since(removals.checked) < TRUST {
            return true;
        }
        removals.checked = now;
        match reader.removals() {
            Ok(count) if removals.count == Some(count) => true,
            Ok(count) => {
                removals.count = Some(count);
                self.recent.clear();
                false
            }
            Err(Fault::Damaged(text)) => {
                self.damaged(text);
                true
            }
            Err(_) => true,
        }
    }

    /// Seconds since the start.
    fn second(&self, now: Instant) -> u32 {
        let span = now.saturating_duration_since(self.started);
        u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
    }

    fn damaged(&mut self, text: String) {
        self.mailbox.report_damage(text);
        self.go_on_in_memory();
    }

    fn go_on_in_memory(&mut self) {
        if matches!(self.mode, Mode::File { .. }) {
            self.mode = Mode::Memory;
            self.recent.resize(self.options.memory_entries);
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // Without effect after flush_and_close; otherwise the thread writes what it has,
        // and nobody waits for it.
        self.mailbox.close(Instant::now() + CLOSE_SPAN);
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("options", &self.options).finish_non_exhaustive()
    }
}

fn found(remembered: Option<Remembered>) -> Cached {
    remembered.map_or(Cached::NotFound, |remembered| Cached::Found(remembered.record()))
}

#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
