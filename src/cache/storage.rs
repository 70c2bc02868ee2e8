//! The storage thread: verdicts and notes first, then syncs, checkpoints and clean-up; and the
//! watchdog, because it is the only part of the process that turns when the loop does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use rusqlite::Connection;

use super::cleanup::{Cleanup, Policy};
use super::clock::{Clock, Moment};
use super::mailbox::Mailbox;
use super::sqlite::Fault;
use super::throttle::Throttle;
use super::watchdog::Watchdog;
use super::writer::{Log, Writer};
use crate::postfix::message::{Level, Message};

/// From the arrival of a verdict or note to the commit: enough to catch a burst, and half of what
/// other processes are promised.
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
    /// The log may grow to this size when a reader keeps it from being emptied.
    pub log_limit: u64,
    /// What is cleaned up.
    pub policy: Policy,
}

impl Storage {
    /// The life of the thread.
    pub fn run(mut self) {
        // Signals are for the loop.
        let _ = SigSet::all().thread_block();
        let mut file = match self.file.take().map(File::new).transpose() {
            Ok(file) => file,
            Err(fault) => {
                self.mailbox.report_damage(fault.to_string());
                None
            }
        };
        loop {
            let now = self.clock.now();
            let mut next = now.mono + LONGEST_SLEEP;
            if let Some(watchdog) = &mut self.watchdog
                && let Some(check) = watchdog.check(now.mono)
            {
                next = next.min(check);
            }
            if let Some(deadline) = self.mailbox.closing() {
                if let Some(file) = file.take() {
                    file.finish(&self.name, &self.mailbox, self.clock.as_ref(), deadline);
                }
                return;
            }
            if self.mailbox.is_damaged() {
                file = None;
            }
            if let Some(open) = &mut file {
                match open.turn(&self.name, &self.mailbox, now) {
                    Ok(turn) => next = next.min(turn),
                    Err(damage) => {
                        file = None;
                        self.mailbox.report_damage(damage);
                    }
                }
            }
            self.mailbox.sleep_until(next);
        }
    }
}

/// The file, and how it has behaved lately.
#[derive(Debug)]
pub(super) struct File {
    writer: Writer,
    cleanup: Cleanup,
    rest_until: Option<Instant>,
    pause: Duration,
    busy_since: Option<Instant>,
    in_trouble: bool,
    warnings: Throttle,
}

impl File {
    fn new(opening: Opening) -> Result<File, Fault> {
        let Opening { writer, log_limit, policy } = opening;
        Ok(File {
            writer: Writer::new(writer, log_limit)?,
            cleanup: Cleanup::new(policy),
            rest_until: None,
            pause: FIRST_PAUSE,
            busy_since: None,
            in_trouble: false,
            warnings: Throttle::default(),
        })
    }

    /// Does what is due; returns when to call again, or what is damaged.
    fn turn(&mut self, name: &str, mailbox: &Mailbox, now: Moment) -> Result<Instant, String> {
        if let Some(until) = self.rest_until
            && now.mono < until
        {
            return Ok(until);
        }
        self.rest_until = None;
        let rest = match self.work(mailbox, now) {
            Ok(Some(next)) => {
                self.recovered(name);
                return Ok(next);
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
        Ok(until)
    }

    /// One batch, and one of checkpoint, sync and step of clean-up, each if due. Returns when the
    /// next is due, or `None` if the log is too long to write anything.
    fn work(&mut self, mailbox: &Mailbox, now: Moment) -> Result<Option<Instant>, Fault> {
        if self.writer.shorten_log()? == Log::TooLong {
            return Ok(None);
        }
        if mailbox.waiting().oldest.is_some_and(|oldest| oldest + BATCH_WINDOW <= now.mono) {
            self.commit_batch(mailbox, now)?;
        }
        if self.writer.checkpoint_is_due() {
            let log = self.writer.checkpoint()?;
            // Perhaps something else is due as well; but what has come meanwhile goes first.
            return Ok((log == Log::Fine).then_some(now.mono));
        }
        if self.writer.sync_due().is_some_and(|due| due <= now.mono) {
            self.writer.sync(now.wall)?;
        }
        let turn = self.cleanup.turn(self.writer.connection(), now)?;
        if let Some(message) = &turn.message {
            emit(message);
        }
        let batch_due = mailbox.waiting().oldest.map(|oldest| oldest + BATCH_WINDOW);
        let due = [batch_due, self.writer.sync_due()];
        Ok(Some(due.into_iter().flatten().fold(turn.next, Instant::min)))
    }

    fn commit_batch(&mut self, mailbox: &Mailbox, now: Moment) -> Result<(), Fault> {
        let (batch, notes) = (mailbox.batch(BATCH_ROWS), mailbox.notes());
        if batch.is_empty() && notes.is_empty() {
            return Ok(());
        }
        self.writer.commit(&batch, &notes, now.mono)?;
        mailbox.settle_notes(&notes);
        if let Some(last) = batch.last() {
            mailbox.settle(last.seq);
        }
        self.cleanup.note_stores(batch.len());
        Ok(())
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
                Ok(()) => (),
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
mod tests {
    use super::*;
    use crate::cache::clock::SystemClock;
    use crate::cache::mailbox::Store;
    use crate::cache::reader::Reader;
    use crate::cache::record;
    use crate::cache::sqlite::{OpenOptions, connect, open};
    use crate::cache::test_dir::TestDir;
    use crate::screen::test_set::TestSet;
    use std::net::IpAddr;

    fn policy() -> Policy {
        Policy {
            name: "c".to_owned(),
            enabled: TestSet::EMPTY,
            retention: Duration::from_secs(60),
            interval: None,
            max_entries: None,
        }
    }

    fn setup(dir: &TestDir) -> (File, Reader, Mailbox) {
        let opened = open(&dir.file("c"), &OpenOptions::default()).unwrap();
        opened.writer.busy_timeout(Duration::from_millis(1)).unwrap();
        let opening = Opening { writer: opened.writer, log_limit: u64::MAX, policy: policy() };
        (File::new(opening).unwrap(), opened.reader, Mailbox::new(100, Box::new(|| ())))
    }

    fn push(mailbox: &Mailbox, seq: u64, at: Instant) -> IpAddr {
        let address = IpAddr::V4(u32::try_from(seq).unwrap().into());
        mailbox.push(Store { seq, address, record: record::parse("5"), at });
        address
    }

    #[test]
    fn verdicts_wait_for_their_batch_then_for_the_sync() {
        let dir = TestDir::new();
        let (mut file, mut reader, mailbox) = setup(&dir);
        let mut now = SystemClock.now();
        let address = push(&mailbox, 1, now.mono);
        assert_eq!(file.turn("c", &mailbox, now), Ok(now.mono + BATCH_WINDOW));
        assert_eq!(mailbox.written(), 0);
        now.mono += BATCH_WINDOW;
        let sync = file.turn("c", &mailbox, now).unwrap();
        assert!(sync < now.mono + Duration::from_millis(950));
        assert_eq!(mailbox.written(), 1);
        assert!(reader.lookup(address).unwrap().is_some());
        now.mono = sync;
        assert_eq!(file.turn("c", &mailbox, now), Ok(now.mono + LONGEST_SLEEP));
    }

    #[test]
    fn another_writer_delays_verdicts_and_loses_none() {
        let dir = TestDir::new();
        let (mut file, mut reader, mailbox) = setup(&dir);
        let foreign = connect(&dir.file("c"), Duration::ZERO).unwrap();
        foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut now = SystemClock.now();
        let address = push(&mailbox, 1, now.mono);
        now.mono += BATCH_WINDOW;
        for _ in 0..5 {
            assert_eq!(file.turn("c", &mailbox, now), Ok(now.mono + BUSY_PAUSE));
            now.mono += BUSY_PAUSE;
        }
        assert_eq!(mailbox.waiting().count, 1);
        foreign.execute_batch("ROLLBACK").unwrap();
        file.turn("c", &mailbox, now).unwrap();
        assert_eq!(mailbox.waiting().count, 0);
        assert!(reader.lookup(address).unwrap().is_some());
    }

    fn notes(dir: &TestDir) -> Vec<(String, String)> {
        open(&dir.file("c"), &OpenOptions::default()).unwrap().notes
    }

    fn pair(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn a_note_has_its_own_batch_and_sync() {
        let dir = TestDir::new();
        let (mut file, _reader, mailbox) = setup(&dir);
        let mut now = SystemClock.now();
        mailbox.note("a", "1", now.mono);
        assert_eq!(file.turn("c", &mailbox, now), Ok(now.mono + BATCH_WINDOW));
        assert_eq!(notes(&dir), []);
        now.mono += BATCH_WINDOW;
        let sync = file.turn("c", &mailbox, now).unwrap();
        assert!(now.mono < sync && sync < now.mono + Duration::from_millis(950));
        assert_eq!(notes(&dir), [pair("a", "1")]);
        assert!(mailbox.waiting().is_empty());
        now.mono = sync;
        assert_eq!(file.turn("c", &mailbox, now), Ok(now.mono + LONGEST_SLEEP));
    }

    #[test]
    fn a_note_goes_with_the_next_batch_of_verdicts() {
        let dir = TestDir::new();
        let (mut file, mut reader, mailbox) = setup(&dir);
        let now = SystemClock.now();
        let address = push(&mailbox, 1, now.mono - BATCH_WINDOW);
        mailbox.note("a", "1", now.mono);
        file.turn("c", &mailbox, now).unwrap();
        assert!(mailbox.waiting().is_empty());
        assert_eq!(mailbox.written(), 1);
        assert!(reader.lookup(address).unwrap().is_some());
        assert_eq!(notes(&dir), [pair("a", "1")]);
    }

    #[test]
    fn notes_wait_for_another_writer_and_a_newer_text_takes_their_place() {
        let dir = TestDir::new();
        let (mut file, _reader, mailbox) = setup(&dir);
        let foreign = connect(&dir.file("c"), Duration::ZERO).unwrap();
        foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut now = SystemClock.now();
        mailbox.note("a", "1", now.mono);
        now.mono += BATCH_WINDOW;
        for _ in 0..5 {
            assert_eq!(file.turn("c", &mailbox, now), Ok(now.mono + BUSY_PAUSE));
            now.mono += BUSY_PAUSE;
        }
        mailbox.note("a", "2", now.mono);
        assert_eq!(mailbox.waiting().notes, 1);
        foreign.execute_batch("ROLLBACK").unwrap();
        file.turn("c", &mailbox, now).unwrap();
        assert!(mailbox.waiting().is_empty());
        assert_eq!(notes(&dir), [pair("a", "2")]);
    }

    #[test]
    fn notes_for_a_full_disk_are_kept() {
        let dir = TestDir::new();
        let (mut file, _reader, mailbox) = setup(&dir);
        let connection = file.writer.connection();
        let pages: i64 =
            connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
        let mut now = SystemClock.now();
        let text = "x".repeat(4_000);
        for name in ["a", "b", "c"] {
            mailbox.note(name, &text, now.mono);
        }
        now.mono += BATCH_WINDOW;
        for pause in [1, 2, 4] {
            let next = file.turn("c", &mailbox, now).unwrap();
            assert_eq!(next, now.mono + Duration::from_secs(pause));
            now.mono = next;
        }
        assert_eq!(mailbox.waiting().notes, 3);
        file.writer.connection().execute_batch("PRAGMA max_page_count = 1000000").unwrap();
        file.turn("c", &mailbox, now).unwrap();
        assert!(mailbox.waiting().is_empty());
        assert_eq!(notes(&dir), ["a", "b", "c"].map(|name| pair(name, &text)));
    }

    #[test]
    fn the_end_waits_for_notes_without_verdicts() {
        let dir = TestDir::new();
        let (file, _reader, mailbox) = setup(&dir);
        let foreign = connect(&dir.file("c"), Duration::ZERO).unwrap();
        foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
        let now = Instant::now();
        mailbox.note("a", "1", now);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                foreign.execute_batch("ROLLBACK").unwrap();
            });
            file.finish("c", &mailbox, &SystemClock, now + Duration::from_secs(20));
        });
        assert!(mailbox.waiting().is_empty());
        assert_eq!(notes(&dir), [pair("a", "1")]);
    }

    #[test]
    fn a_full_disk_is_tried_again_with_growing_pauses() {
        let dir = TestDir::new();
        let (mut file, mut reader, mailbox) = setup(&dir);
        let connection = file.writer.connection();
        let pages: i64 =
            connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
        // One leaf holds some dozens of rows; these need a second one.
        let mut now = SystemClock.now();
        for seq in 1..=90 {
            let address = IpAddr::V6(u128::from(seq).into());
            mailbox.push(Store {
                seq,
                address,
                record: record::parse(&["9999999999"; 5].join(";")),
                at: now.mono,
            });
        }
        now.mono += BATCH_WINDOW;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            let next = file.turn("c", &mailbox, now).unwrap();
            assert_eq!(next, now.mono + Duration::from_secs(pause));
            let early = Moment { mono: next - Duration::from_millis(1), ..now };
            assert_eq!(file.turn("c", &mailbox, early), Ok(next), "it rests");
            now.mono = next;
        }
        assert_eq!(mailbox.waiting().count, 90);
        file.writer.connection().execute_batch("PRAGMA max_page_count = 1000000").unwrap();
        file.turn("c", &mailbox, now).unwrap();
        assert_eq!(mailbox.waiting().count, 0);
        assert!(reader.lookup(IpAddr::V6(90.into())).unwrap().is_some());
    }

    #[test]
    fn a_table_that_is_gone_is_damage() {
        let dir = TestDir::new();
        let (mut file, _reader, mailbox) = setup(&dir);
        file.writer.connection().execute_batch("DROP TABLE verdict").unwrap();
        let now = SystemClock.now();
        push(&mailbox, 1, now.mono - BATCH_WINDOW);
        let damage = file.turn("c", &mailbox, now).unwrap_err();
        assert!(damage.contains("no such table"), "{damage}");
    }

    #[test]
    fn a_note_finds_damage_too() {
        let dir = TestDir::new();
        let (mut file, _reader, mailbox) = setup(&dir);
        file.writer.connection().execute_batch("DROP TABLE meta").unwrap();
        let now = SystemClock.now();
        mailbox.note("a", "1", now.mono - BATCH_WINDOW);
        let damage = file.turn("c", &mailbox, now).unwrap_err();
        assert!(damage.contains("no such table"), "{damage}");
    }
}
