//! What passes between the loop and the storage thread.
//!
//! A queue under a mutex instead of a channel, because a verdict leaves it only when it is
//! committed: so the queue is bounded even while a disk hangs, and the loop can give up the
//! oldest verdict for a new one. Both sides hold the mutex only to move some values, never
//! during input or output, so the loop does not wait for the disk here. Notes wait beside the
//! verdicts, under the same rules.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::notes::{Note, Notes};
use crate::screen::test_set::CacheRecord;

/// What the loop has to know about the storage thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CacheEvent {
    /// The file is damaged (this is what SQLite says about it). The cache goes on in memory;
    /// the file should be set aside for the next process.
    Damaged(String),
}

/// One verdict to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Store {
    /// Its place in the order of all verdicts of this process; the first is 1.
    pub seq: u64,
    /// Whom it is about.
    pub address: IpAddr,
    /// The verdict.
    pub record: CacheRecord,
    /// When it was queued.
    pub at: Instant,
}

/// What the storage thread can see of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    /// How many verdicts wait.
    pub count: usize,
    /// How many notes wait.
    pub notes: usize,
    /// When the first of all of them was queued.
    pub oldest: Option<Instant>,
}

impl Waiting {
    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.notes == 0
    }
}

/// For log lines.
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.notes {
            0 => write!(f, "{} verdicts", self.count),
            notes => write!(f, "{} verdicts and {notes} notes", self.count),
        }
    }
}

struct Inner {
    queue: VecDeque<Store>,
    notes: Notes,
    closing: Option<Instant>,
    news: bool,
    events: Vec<CacheEvent>,
    damaged: bool,
}

/// The place where the two threads meet.
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    arrived: Condvar,
    written: AtomicU64,
    capacity: usize,
    wake_loop: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    /// An empty one for at most `capacity` verdicts. `wake_loop` makes the loop ask for
    /// events; it may be called from both threads.
    pub fn new(capacity: usize, wake_loop: Box<dyn Fn() + Send + Sync>) -> Mailbox {
        Mailbox {
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                notes: Notes::default(),
                closing: None,
                news: false,
                events: Vec::new(),
                damaged: false,
            }),
            arrived: Condvar::new(),
            written: AtomicU64::new(0),
            capacity: capacity.max(1),
            wake_loop,
        }
    }

    /// Queues a verdict. If the queue is full the oldest one is given up; its number is
    /// returned.
    pub fn push(&self, store: Store) -> Option<u64> {
        let mut inner = self.lock();
        let dropped = match inner.queue.len() >= self.capacity {
            true => inner.queue.pop_front().map(|oldest| oldest.seq),
            false => None,
        };
        // The thread has to be woken only out of a sleep without a batch to wait for.
        let wake = inner.queue.is_empty();
        inner.queue.push_back(store);
        if wake {
            inner.news = true;
            drop(inner);
            self.arrived.notify_one();
        }
        dropped
    }

    /// Copies of the `limit` oldest verdicts. They stay queued until [`Mailbox::settle`].
    pub fn batch(&self, limit: usize) -> Vec<Store> {
        self.lock().queue.iter().take(limit).copied().collect()
    }

    /// The verdicts up to and including number `seq` are committed.
    pub fn settle(&self, seq: u64) {
        {
            let mut inner = self.lock();
            while inner.queue.front().is_some_and(|store| store.seq <= seq) {
                inner.queue.pop_front();
            }
        }
        self.written.store(seq, Ordering::Release);
    }

    /// The number of the last committed verdict.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Queues a note, in the place of one of the same name that is not written yet. It is
    /// dropped if there is no room for it, or if nothing is written any more.
    pub fn note(&self, name: &str, text: &str, at: Instant) {
        let (name, text) = (name.into(), text.into());
        let mut inner = self.lock();
        if inner.damaged {
            return;
        }
        // As for verdicts: whatever waits already has set the time of the next batch.
        let wake = inner.queue.is_empty() && inner.notes.len() == 0;
        if inner.notes.put(name, text, at) && wake {
            inner.news = true;
            drop(inner);
            self.arrived.notify_one();
        }
    }

    /// Copies of all notes. They stay queued until [`Mailbox::settle_notes`].
    pub fn notes(&self) -> Vec<Note> {
        self.lock().notes.all()
    }

    /// The notes that [`Mailbox::notes`] gave are committed.
    pub fn settle_notes(&self, written: &[Note]) {
        self.lock().notes.settle(written);
    }

    /// How much there is to write.
    pub fn waiting(&self) -> Waiting {
        let inner = self.lock();
        let verdict = inner.queue.front().map(|store| store.at);
        Waiting {
            count: inner.queue.len(),
            notes: inner.notes.len(),
            oldest: [verdict, inner.notes.oldest()].into_iter().flatten().min(),
        }
    }

    /// Asks the storage thread to write everything and end; it gives up at `deadline`.
    pub fn close(&self, deadline: Instant) {
        let mut inner = self.lock();
        if inner.closing.is_none() {
            inner.closing = Some(deadline);
        }
        inner.news = true;
        drop(inner);
        self.arrived.notify_one();
    }

    /// Until when everything has to be written, once the cache is being closed.
    pub fn closing(&self) -> Option<Instant> {
        self.lock().closing
    }

    /// Sleeps until `deadline`, or until verdicts or notes arrive where nothing waited or the
    /// cache is closed.
    pub fn sleep_until(&self, deadline: Instant) {
        let mut inner = self.lock();
        while !inner.news {
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            let waited = self.arrived.wait_timeout(inner, deadline - now);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.news = false;
    }

    /// The file is damaged: nothing is written any more, and the loop is told, once.
    pub fn report_damage(&self, text: String) {
        let mut inner = self.lock();
        if inner.damaged {
            return;
        }
        inner.damaged = true;
        inner.queue = VecDeque::new();
        inner.notes.clear();
        inner.news = true;
        inner.events.push(CacheEvent::Damaged(text));
        drop(inner);
        self.arrived.notify_one();
        (self.wake_loop)();
    }

    /// Whether damage was reported.
    pub fn is_damaged(&self) -> bool {
        self.lock().damaged
    }

    /// The events since the last call.
    pub fn take_events(&self) -> Vec<CacheEvent> {
        std::mem::take(&mut self.lock().events)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held ends the process, and no state in between is wrong.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::record;
    use std::time::Duration;

    fn store(seq: u64) -> Store {
        let address = IpAddr::V4(u32::try_from(seq).unwrap().into());
        Store { seq, address, record: record::parse("5"), at: Instant::now() }
    }

    #[test]
    fn a_full_queue_gives_up_the_oldest() {
        let mailbox = Mailbox::new(2, Box::new(|| ()));
        assert_eq!(mailbox.push(store(1)), None);
        assert_eq!(mailbox.push(store(2)), None);
        assert_eq!(mailbox.push(store(3)), Some(1));
        let numbers: Vec<u64> = mailbox.batch(10).iter().map(|store| store.seq).collect();
        assert_eq!(numbers, [2, 3]);
    }

    #[test]
    fn verdicts_stay_until_they_are_committed() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        (1..=3).for_each(|seq| assert_eq!(mailbox.push(store(seq)), None));
        assert_eq!(mailbox.batch(2).len(), 2);
        assert_eq!(mailbox.waiting().count, 3);
        mailbox.settle(2);
        assert_eq!(mailbox.waiting().count, 1);
        assert_eq!(mailbox.written(), 2);
    }

    #[test]
    fn a_store_before_the_sleep_is_not_slept_over() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        mailbox.push(store(1));
        let start = Instant::now();
        mailbox.sleep_until(start + Duration::from_secs(20));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn notes_wait_beside_the_verdicts() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        assert!(mailbox.waiting().is_empty());
        let start = Instant::now();
        mailbox.note("a", "1", start);
        let verdict = Store { at: start + Duration::from_secs(1), ..store(1) };
        mailbox.push(verdict);
        let waiting = mailbox.waiting();
        assert_eq!(waiting, Waiting { count: 1, notes: 1, oldest: Some(start) });
        assert_eq!(waiting.to_string(), "1 verdicts and 1 notes");
        mailbox.settle_notes(&mailbox.notes());
        let waiting = mailbox.waiting();
        assert_eq!(waiting, Waiting { count: 1, notes: 0, oldest: Some(verdict.at) });
        assert_eq!(waiting.to_string(), "1 verdicts");
        mailbox.settle(1);
        assert!(mailbox.waiting().is_empty());
        mailbox.note("a", "2", start);
        assert!(!mailbox.waiting().is_empty());
    }

    #[test]
    fn a_note_before_the_sleep_is_not_slept_over() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        let start = Instant::now();
        mailbox.note("a", "1", start);
        mailbox.sleep_until(start + Duration::from_secs(20));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn damage_is_told_once() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        mailbox.push(store(1));
        mailbox.note("a", "1", Instant::now());
        mailbox.report_damage("first".to_owned());
        mailbox.report_damage("second".to_owned());
        assert!(mailbox.is_damaged());
        mailbox.note("b", "1", Instant::now());
        assert!(mailbox.waiting().is_empty());
        assert_eq!(mailbox.take_events(), [CacheEvent::Damaged("first".to_owned())]);
        assert_eq!(mailbox.take_events(), []);
    }
}
