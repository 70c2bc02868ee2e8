//! What passes between the loop and the storage thread.
//!
//! A queue under a mutex instead of a channel, because a verdict leaves it only when it is
//! committed: so the queue is bounded even while a disk hangs, and the loop can give up the
//! oldest verdict for a new one. Both sides hold the mutex only to move some values, never
//! during input or output, so the loop does not wait for the disk here. Notes wait beside the
//! verdicts, under the same rules.
//!
//! To wake a thread is a system call, so the loop does it only where the thread would sleep
//! longer than the verdict may wait: for the first of a burst, and for none of a steady
//! stream ([`Nap`]).

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::notes::{Note, Notes};
use crate::screen::test_set::CacheRecord;

/// Room for verdicts that is kept for good; what a rush needs beyond that is given back.
const KEPT: usize = 4_096;

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
}

/// What the storage thread can see of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    /// How many verdicts wait.
    pub count: usize,
    /// How many notes wait.
    pub notes: usize,
}

/// What the storage thread sleeps for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Nap {
    /// At the latest it goes on then.
    pub until: Instant,
    /// From then on it goes on for a verdict or note that waits.
    pub stores_from: Instant,
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
    /// There is something else than verdicts and notes.
    news: bool,
    /// The thread sleeps longer than it would if there were a verdict or note.
    sleeps_long: bool,
    events: Vec<CacheEvent>,
    damaged: bool,
}

impl Inner {
    fn waiting(&self) -> Waiting {
        Waiting { count: self.queue.len(), notes: self.notes.len() }
    }
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
                sleeps_long: false,
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
        inner.queue.push_back(store);
        self.wake(inner);
        dropped
    }

    /// Makes `batch` copies of the `limit` oldest verdicts. They stay queued until
    /// [`Mailbox::settle`].
    pub fn copy_batch(&self, limit: usize, batch: &mut Vec<Store>) {
        batch.clear();
        batch.extend(self.lock().queue.iter().take(limit));
    }

    /// The verdicts up to and including number `seq` are committed.
    pub fn settle(&self, seq: u64) {
        {
            let mut inner = self.lock();
            while inner.queue.front().is_some_and(|store| store.seq <= seq) {
                inner.queue.pop_front();
            }
            if inner.queue.is_empty() && inner.queue.capacity() > 2 * KEPT {
                inner.queue.shrink_to(KEPT);
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
    pub fn note(&self, name: &str, text: &str) {
        let (name, text) = (name.into(), text.into());
        let mut inner = self.lock();
        if !inner.damaged && inner.notes.put(name, text) {
            self.wake(inner);
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
        self.lock().waiting()
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

    /// Sleeps as `nap` says, or until there is an order or damage.
    pub fn sleep(&self, nap: Nap) {
        let mut inner = self.lock();
        while !inner.news {
            let until = match inner.waiting().is_empty() {
                true => nap.until,
                false => nap.until.min(nap.stores_from),
            };
            let now = Instant::now();
            if now >= until {
                break;
            }
            inner.sleeps_long = nap.stores_from < until;
            let waited = self.arrived.wait_timeout(inner, until - now);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.sleeps_long = false;
        inner.news = false;
    }

    /// The file is damaged: nothing is written any more, and the loop is told, once.
    pub fn report_damage(&self, text: String) {
        if self.give_up() {
            self.lock().events.push(CacheEvent::Damaged(text));
            (self.wake_loop)();
        }
    }

    /// Nothing is written any more. Returns whether that is new.
    pub fn give_up(&self) -> bool {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.damaged, true) {
            return false;
        }
        inner.queue = VecDeque::new();
        inner.notes.clear();
        inner.news = true;
        drop(inner);
        self.arrived.notify_one();
        true
    }

    /// Whether damage was reported.
    pub fn is_damaged(&self) -> bool {
        self.lock().damaged
    }

    /// The events since the last call.
    pub fn take_events(&self) -> Vec<CacheEvent> {
        std::mem::take(&mut self.lock().events)
    }

    /// Ends a sleep that is too long for what was queued.
    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        let asleep = std::mem::take(&mut inner.sleeps_long);
        drop(inner);
        if asleep {
            self.arrived.notify_one();
        }
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
        Store { seq, address, record: record::parse("5") }
    }

    fn batch(mailbox: &Mailbox, limit: usize) -> Vec<Store> {
        let mut batch = Vec::new();
        mailbox.copy_batch(limit, &mut batch);
        batch
    }

    #[test]
    fn a_full_queue_gives_up_the_oldest() {
        let mailbox = Mailbox::new(2, Box::new(|| ()));
        assert_eq!(mailbox.push(store(1)), None);
        assert_eq!(mailbox.push(store(2)), None);
        assert_eq!(mailbox.push(store(3)), Some(1));
        let numbers: Vec<u64> = batch(&mailbox, 10).iter().map(|store| store.seq).collect();
        assert_eq!(numbers, [2, 3]);
    }

    #[test]
    fn verdicts_stay_until_they_are_committed() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        (1..=3).for_each(|seq| assert_eq!(mailbox.push(store(seq)), None));
        assert_eq!(batch(&mailbox, 2).len(), 2);
        assert_eq!(mailbox.waiting().count, 3);
        mailbox.settle(2);
        assert_eq!(mailbox.waiting().count, 1);
        assert_eq!(mailbox.written(), 2);
    }

    const LONG: Duration = Duration::from_secs(20);

    /// A nap of which a store may end all but the first `millis`.
    fn nap(millis: u64) -> Nap {
        let now = Instant::now();
        Nap { until: now + LONG, stores_from: now + Duration::from_millis(millis) }
    }

    #[test]
    fn what_came_before_the_sleep_is_not_slept_over() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        let start = Instant::now();
        mailbox.push(store(1));
        mailbox.sleep(nap(0));
        mailbox.sleep(nap(5));
        assert!(start.elapsed() >= Duration::from_millis(5));
        mailbox.settle(1);
        mailbox.note("a", "1");
        mailbox.sleep(nap(0));
        mailbox.sleep(nap(5));
        mailbox.close(start);
        mailbox.settle_notes(&mailbox.notes());
        mailbox.sleep(nap(0));
        assert!(start.elapsed() < LONG / 2);
    }

    #[test]
    fn a_store_ends_a_long_sleep_but_not_before_its_time() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| mailbox.sleep(nap(200)));
            while !mailbox.lock().sleeps_long {
                std::thread::yield_now();
            }
            mailbox.push(store(1));
            assert!(!mailbox.lock().sleeps_long, "the second one wakes nobody");
            mailbox.push(store(2));
        });
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert!(start.elapsed() < LONG / 2);
    }

    #[test]
    fn nobody_is_woken_out_of_a_short_sleep() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        let until = Instant::now() + Duration::from_millis(300);
        std::thread::scope(|scope| {
            scope.spawn(|| mailbox.sleep(Nap { until, stores_from: until }));
            for seq in 1..=5 {
                std::thread::sleep(Duration::from_millis(10));
                assert!(!mailbox.lock().sleeps_long);
                mailbox.push(store(seq));
            }
        });
        assert!(Instant::now() >= until);
    }

    #[test]
    fn notes_wait_beside_the_verdicts() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        assert!(mailbox.waiting().is_empty());
        mailbox.note("a", "1");
        mailbox.push(store(1));
        assert_eq!(mailbox.waiting(), Waiting { count: 1, notes: 1 });
        assert_eq!(mailbox.waiting().to_string(), "1 verdicts and 1 notes");
        mailbox.settle_notes(&mailbox.notes());
        assert_eq!(mailbox.waiting(), Waiting { count: 1, notes: 0 });
        assert_eq!(mailbox.waiting().to_string(), "1 verdicts");
        mailbox.settle(1);
        assert!(mailbox.waiting().is_empty());
        mailbox.note("a", "2");
        assert!(!mailbox.waiting().is_empty());
    }

    #[test]
    fn damage_is_told_once() {
        let mailbox = Mailbox::new(10, Box::new(|| ()));
        mailbox.push(store(1));
        mailbox.note("a", "1");
        mailbox.report_damage("first".to_owned());
        mailbox.report_damage("second".to_owned());
        assert!(mailbox.is_damaged());
        mailbox.note("b", "1");
        assert!(mailbox.waiting().is_empty());
        assert_eq!(mailbox.take_events(), [CacheEvent::Damaged("first".to_owned())]);
        assert_eq!(mailbox.take_events(), []);
    }
}
