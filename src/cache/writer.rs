//! The writing connection: commits, disk syncs, and the size of the log.
//!
//! Durability in two steps. A commit under `synchronous = normal` only appends to the log:
//! every process sees it at once, and the death of a process loses nothing. Against loss of
//! power there is, soon after the first such commit, one small commit under
//! `synchronous = full`: it syncs the log as a whole, all earlier commits included. So the
//! visibility of a verdict never waits for the disk, and however busy the service is, the
//! disk sees about one sync a second.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Statement};
use self_cell::self_cell;

use super::mailbox::Store;
use super::notes::{self, Note};
use super::record::{self, Key};
use super::sqlite::{Fault, WRITE_LOCK_WAIT, meta};
use crate::screen::test_set::UnixTime;

/// From the first commit that is not synced to the sync.
const SYNC_DELAY: Duration = Duration::from_millis(800);
/// Pages written between two checkpoints: 2 MiB. A checkpoint costs three syncs whatever its size
/// (of the log, of the database, and of the log's new beginning), so it should not be small; but
/// verdicts wait while it lasts, and after a crash the next process reads as much before it can
/// begin.
const CHECKPOINT_FRAMES: u32 = 500;
/// A log of so many pages, 8 MiB, is begun anew with some pressure.
const RESTART_FRAMES: u32 = 2_000;
/// How long that may wait for readers and writers. Their transactions take less.
const RESTART_WAIT: Duration = Duration::from_millis(20);

const UPSERT: &str = "
    INSERT INTO verdict (address, pregreet, dnsbl, pipelining, non_smtp, bare_newline)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (address) DO UPDATE SET
        pregreet = excluded.pregreet, dnsbl = excluded.dnsbl, pipelining = excluded.pipelining,
        non_smtp = excluded.non_smtp, bare_newline = excluded.bare_newline";

/// Makes the log longer. A transaction that is empty, or whose row is what it was, would not
/// touch the log, hence not sync it: a time in seconds, for example, which several processes
/// write, is not enough.
const TOUCH: &str = "
    INSERT INTO meta (name, value) VALUES (?1, random()), (?2, ?3)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// Compiled once: at some dozen commits a second that would be a fifth of the thread's work.
struct Statements<'connection> {
    begin: Statement<'connection>,
    upsert: Statement<'connection>,
    commit: Statement<'connection>,
    rollback: Statement<'connection>,
}

self_cell!(
    struct Prepared {
        owner: Connection,

        #[not_covariant]
        dependent: Statements,
    }
);

/// The log (the `-wal` file) as the last checkpoint saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Log {
    /// It can be written from its beginning again, or is short enough.
    Fine,
    /// Somebody holds a snapshot, so that it cannot be emptied, and it is too long.
    TooLong,
}

/// The only connection that writes. It stays in the thread that makes it.
pub(super) struct Writer {
    prepared: Prepared,
    log_limit: u64,
    page_size: u64,
    unsynced_since: Option<Instant>,
    /// Pages in the log at our last commit.
    frames: Arc<AtomicU32>,
    /// The same at the last checkpoint.
    checked_frames: u32,
    restart_is_due: bool,
    log: Log,
}

impl Writer {
    /// A writer that stops when the log is longer than `log_limit` bytes and a checkpoint
    /// cannot empty it.
    ///
    /// # Errors
    /// The tables are not what they were when the file was opened.
    pub fn new(mut connection: Connection, log_limit: u64) -> Result<Writer, Fault> {
        let page_size =
            connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0));
        let frames = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&frames);
        connection.wal_hook(Some(move |_: &mut Wal, pages: c_int| {
            counter.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let prepared = Prepared::try_new(connection, |connection| {
            Ok::<_, rusqlite::Error>(Statements {
                begin: connection.prepare("BEGIN IMMEDIATE")?,
                upsert: connection.prepare(UPSERT)?,
                commit: connection.prepare("COMMIT")?,
                rollback: connection.prepare("ROLLBACK")?,
            })
        })?;
        Ok(Writer {
            prepared,
            log_limit,
            page_size: page_size.ok().and_then(|size| u64::try_from(size).ok()).unwrap_or(4_096),
            unsynced_since: None,
            frames,
            checked_frames: 0,
            restart_is_due: false,
            log: Log::Fine,
        })
    }

    /// Commits `stores` and `notes` in one transaction; for an address that is there twice the
    /// later one counts. Other processes see them when this returns.
    ///
    /// # Errors
    /// Nothing is written then.
    pub fn commit(&mut self, stores: &[Store], notes: &[Note], now: Instant) -> Result<(), Fault> {
        self.prepared.with_dependent_mut(|connection, statements| {
            statements.begin.execute([])?;
            let written = write(connection, &mut statements.upsert, stores, notes)
                .and_then(|()| statements.commit.execute([]));
            // Some errors end the transaction by themselves.
            if written.is_err() && !connection.is_autocommit() {
                let _ = statements.rollback.execute([]);
            }
            written
        })?;
        self.unsynced_since.get_or_insert(now);
        Ok(())
    }

    /// When [`Writer::sync`] is due, if there is anything to sync.
    pub fn sync_due(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + SYNC_DELAY)
    }

    /// Brings all commits so far to the disk.
    ///
    /// # Errors
    /// They may or may not be on the disk then; the sync stays due.
    pub fn sync(&mut self, wall: UnixTime) -> Result<(), Fault> {
        let connection = self.prepared.borrow_owner();
        connection.execute_batch("PRAGMA synchronous = full")?;
        let stamp = i64::try_from(wall.0).unwrap_or(i64::MAX);
        let synced = connection.execute(TOUCH, (meta::SYNC, meta::LAST_SYNC, stamp));
        connection.execute_batch("PRAGMA synchronous = normal")?;
        if let Err(error) = synced {
            let fault = Fault::from(error);
            // A page that could not be written counts as written all the same, as far as the
            // kernel is concerned, and the next sync would find nothing to do. So it has to be
            // written elsewhere.
            self.restart_is_due |= !matches!(fault, Fault::Busy(_));
            return Err(fault);
        }
        self.unsynced_since = None;
        Ok(())
    }

    /// Empties a log that was too long.
    ///
    /// # Errors
    /// The log stays as it is then.
    pub fn shorten_log(&mut self) -> Result<Log, Fault> {
        if self.log == Log::TooLong {
            // Only a checkpoint that also resets the log helps now; it waits for readers,
            // but no longer than the busy time-out.
            let (busy, _, _) = self.run_checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")?;
            if busy == 0 {
                self.log = Log::Fine;
            }
        }
        Ok(self.log)
    }

    /// Whether enough was written since the last time.
    pub fn checkpoint_is_due(&mut self) -> bool {
        let frames = self.frames.load(Ordering::Relaxed);
        if frames < self.checked_frames {
            // The log was begun anew meanwhile.
            self.checked_frames = 0;
        }
        self.restart_is_due || frames - self.checked_frames >= CHECKPOINT_FRAMES
    }

    /// Moves the log into the database, so that the next commit can write it from its beginning.
    ///
    /// # Errors
    /// The log stays as it is then.
    pub fn checkpoint(&mut self) -> Result<Log, Fault> {
        if self.restart_is_due {
            self.connection().busy_timeout(RESTART_WAIT)?;
            let restarted = self.run_checkpoint("PRAGMA wal_checkpoint(RESTART)");
            // Others that are in the way are not worth a second try.
            self.restart_is_due = !matches!(restarted, Ok(_) | Err(Fault::Busy(_)));
            self.connection().busy_timeout(WRITE_LOCK_WAIT)?;
            restarted?;
            return Ok(self.log);
        }
        let (_, frames, _) = self.run_checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
        // The frames count from the last time the log was begun anew.
        let frames = u64::try_from(frames).unwrap_or(0);
        if frames.saturating_mul(self.page_size) > self.log_limit {
            self.log = Log::TooLong;
        }
        // What others commit during a checkpoint is not moved, and then the log cannot be begun
        // anew: two busy workers could make it grow for long. With few pages left to move it
        // is worth to lock writers out.
        self.restart_is_due = frames >= u64::from(RESTART_FRAMES);
        Ok(self.log)
    }

    /// Syncs, and moves the log into the database as far as other processes let it.
    ///
    /// # Errors
    /// Every commit is in the log all the same.
    pub fn finish(&mut self, wall: UnixTime) -> Result<(), Fault> {
        // A checkpoint syncs only what it can move, which may be nothing.
        if self.unsynced_since.is_some() {
            self.sync(wall)?;
        }
        self.run_checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
        Ok(())
    }

    /// For clean-up, which writes in the same thread.
    pub fn connection(&self) -> &Connection {
        self.prepared.borrow_owner()
    }

    /// Answers whether readers or writers were in the way (0 or 1), the frames in the log,
    /// and how many of them are in the database now.
    fn run_checkpoint(&mut self, pragma: &str) -> Result<(i64, i64, i64), Fault> {
        let result = self
            .connection()
            .query_row(pragma, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        self.checked_frames = self.frames.load(Ordering::Relaxed);
        Ok(result)
    }
}

fn write(
    connection: &Connection,
    upsert: &mut Statement<'_>,
    stores: &[Store],
    notes: &[Note],
) -> rusqlite::Result<()> {
    for store in stores {
        let key = Key::of(store.address);
        let [pregreet, dnsbl, pipelining, non_smtp, bare_newline] =
            record::to_columns(&store.record);
        upsert.execute((key.bytes(), pregreet, dnsbl, pipelining, non_smtp, bare_newline))?;
    }
    notes::write(connection, notes)
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("log", &self.log).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::reader::Reader;
    use crate::cache::set_aside::with_suffix;
    use crate::cache::sqlite::{OpenOptions, connect, open};
    use crate::cache::test_dir::TestDir;
    use crate::sys::written::{self, Act};
    use std::net::IpAddr;

    fn stores(numbers: std::ops::Range<u32>, text: &str) -> Vec<Store> {
        numbers
            .map(|n| Store {
                seq: u64::from(n),
                address: IpAddr::V4(n.into()),
                record: record::parse(text),
            })
            .collect()
    }

    fn setup(dir: &TestDir, log_limit: u64) -> (Writer, Reader) {
        let opened = open(&dir.file("c"), &OpenOptions::default()).unwrap();
        (Writer::new(opened.writer, log_limit).unwrap(), opened.reader)
    }

    #[test]
    fn the_last_verdict_about_an_address_counts() {
        let dir = TestDir::new();
        let (mut writer, mut reader) = setup(&dir, u64::MAX);
        let mut both = stores(1..2, "5");
        both.extend(stores(1..2, "6;0"));
        writer.commit(&both, &[], Instant::now()).unwrap();
        let found = reader.lookup(IpAddr::V4(1.into())).unwrap();
        assert_eq!(found, Some(record::parse("6;0")));
        writer.commit(&stores(1..2, "4"), &[], Instant::now()).unwrap();
        let found = reader.lookup(IpAddr::V4(1.into())).unwrap();
        assert_eq!(found, Some(record::parse("4")));
    }

    #[test]
    fn one_sync_follows_the_first_commit_and_covers_later_ones() {
        let dir = TestDir::new();
        let (mut writer, _reader) = setup(&dir, u64::MAX);
        assert_eq!(writer.sync_due(), None);
        let start = Instant::now();
        writer.commit(&stores(0..5, "5"), &[], start).unwrap();
        writer.commit(&stores(5..9, "5"), &[], start + Duration::from_millis(500)).unwrap();
        assert_eq!(writer.sync_due(), Some(start + SYNC_DELAY));
        writer.sync(UnixTime(77)).unwrap();
        assert_eq!(writer.sync_due(), None);
        let mode: i64 =
            writer.connection().pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(mode, 1);
    }

    #[test]
    fn every_sync_reaches_the_disk() {
        let dir = TestDir::new();
        let directory = dir.file("c").parent().unwrap().to_owned();
        written::watch(&directory);
        let (mut writer, _reader) = setup(&dir, u64::MAX);
        for n in 0..5 {
            writer.commit(&stores(n..n + 1, "5"), &[], Instant::now()).unwrap();
            written::take(&directory);
            // The same second each time.
            writer.sync(UnixTime(77)).unwrap();
            let acts = written::take(&directory);
            assert_eq!(acts.last(), Some(&Act::Sync("c-wal".to_owned())), "number {n}");
        }
    }

    fn checkpoint_if_due(writer: &mut Writer) -> Log {
        if writer.checkpoint_is_due() { writer.checkpoint().unwrap() } else { Log::Fine }
    }

    /// As many, each on another page.
    fn scattered(numbers: std::ops::Range<u32>) -> Vec<Store> {
        let mut stores = stores(numbers, "5");
        for store in &mut stores {
            let number = u32::try_from(store.seq).unwrap().wrapping_mul(2_654_435_761);
            store.address = IpAddr::V4(number.into());
        }
        stores
    }

    #[test]
    fn the_log_is_used_again_and_again() {
        let dir = TestDir::new();
        let (mut writer, _reader) = setup(&dir, 64 << 20);
        let log = || std::fs::metadata(with_suffix(&dir.file("c"), "-wal")).unwrap().len();
        let mut longest = 0;
        for round in 0..200 {
            let stores = scattered(round * 200..(round + 1) * 200);
            writer.commit(&stores, &[], Instant::now()).unwrap();
            checkpoint_if_due(&mut writer);
            longest = longest.max(log());
        }
        let checkpoint = u64::from(CHECKPOINT_FRAMES) * 4_096;
        assert!(longest > checkpoint, "{longest} bytes: is a checkpoint too frequent?");
        assert!(longest < checkpoint * 5 / 4, "{longest} bytes");
    }

    #[test]
    fn a_foreign_snapshot_stops_the_writing_until_it_is_gone() {
        let dir = TestDir::new();
        let (mut writer, _reader) = setup(&dir, 8 << 20);
        writer.connection().busy_timeout(Duration::from_millis(5)).unwrap();
        let foreign = connect(&dir.file("c"), Duration::ZERO).unwrap();
        foreign.execute_batch("BEGIN; SELECT count(*) FROM verdict").unwrap();
        let mut log = Log::Fine;
        for round in 0..100 {
            let stores = scattered(round * 1_000..(round + 1) * 1_000);
            writer.commit(&stores, &[], Instant::now()).unwrap();
            log = checkpoint_if_due(&mut writer);
            if log == Log::TooLong {
                break;
            }
        }
        assert_eq!(log, Log::TooLong);
        assert_eq!(writer.shorten_log().unwrap(), Log::TooLong);
        foreign.execute_batch("COMMIT").unwrap();
        assert_eq!(writer.shorten_log().unwrap(), Log::Fine);
    }

    #[test]
    fn another_writer_is_busy_not_damage() {
        let dir = TestDir::new();
        let (mut writer, _reader) = setup(&dir, u64::MAX);
        writer.connection().busy_timeout(Duration::from_millis(5)).unwrap();
        let foreign = connect(&dir.file("c"), Duration::ZERO).unwrap();
        foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
        let fault = writer.commit(&stores(0..1, "5"), &[], Instant::now()).unwrap_err();
        assert!(matches!(fault, Fault::Busy(_)), "{fault:?}");
        foreign.execute_batch("ROLLBACK").unwrap();
        writer.commit(&stores(0..1, "5"), &[], Instant::now()).unwrap();
    }
}
