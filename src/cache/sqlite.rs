//! The SQLite file: opening it, and its schema.
//!
//! WAL mode, because nothing has to be opened or removed by name later: after chroot(2) the
//! paths are gone. For the same reason both connections are opened together, the writing
//! one makes one write (which creates the log, its index, and seeds SQLite's random
//! numbers), and closing a connection never checkpoints or removes the log.
//!
//! The file counts its removals: a trigger raises a number in `meta` for each verdict that
//! is deleted or made worse, whatever program does it and whatever it knows of us, because
//! a worker that remembers a verdict does not look at the file again. So deleting rows
//! with sqlite3(1) is enough to make clients new for all running workers
//! ([`front`](super::front)). [`connect`] switches the triggers off: what a worker itself
//! does to the file, the clean-up above all, needs no counting.
//!
//! A process must never open the database file by other means while SQLite has it open:
//! closing any descriptor of it drops the POSIX locks of the whole process.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use rusqlite::config::DbConfig;
use rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
use rusqlite::types::ValueRef;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Statement, TransactionBehavior,
};

use super::clock::{SystemClock, boot};
use super::filesystem::network_file_system;
use super::notes;
use super::reader::Reader;
use super::reckoning::{Reading, Reckoning, Remark, Watch};
use super::record::Columns;
use super::set_aside::{
    SUFFIXES, directory_of, lock_directory, set_aside, set_leftovers_aside, with_suffix,
};

/// "GPv1" in the file's header: this is a verdict cache.
const APPLICATION_ID: i64 = 0x4750_7631;
/// The schema that this version writes. Later ones only add columns and tables, so that a
/// file with a higher number can be used as it is.
///
/// 1: the tables. 2: removals are counted.
const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS verdict (
        address      BLOB    NOT NULL PRIMARY KEY,
        pregreet     INTEGER NOT NULL,
        dnsbl        INTEGER NOT NULL,
        pipelining   INTEGER NOT NULL,
        non_smtp     INTEGER NOT NULL,
        bare_newline INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS meta (name TEXT NOT NULL PRIMARY KEY, value) WITHOUT ROWID;
    INSERT INTO meta (name, value)
        SELECT 'removals', 0 WHERE NOT EXISTS (SELECT 1 FROM meta WHERE name = 'removals');
    CREATE TRIGGER IF NOT EXISTS verdict_removed AFTER DELETE ON verdict BEGIN
        UPDATE meta SET value = value + 1 WHERE name = 'removals';
    END;
    CREATE TRIGGER IF NOT EXISTS verdict_made_worse AFTER UPDATE ON verdict
        WHEN NEW.address <> OLD.address
            OR NEW.pregreet < OLD.pregreet OR NEW.dnsbl < OLD.dnsbl
            OR NEW.pipelining < OLD.pipelining OR NEW.non_smtp < OLD.non_smtp
            OR NEW.bare_newline < OLD.bare_newline
    BEGIN
        UPDATE meta SET value = value + 1 WHERE name = 'removals';
    END;";

/// How long the loop may wait for a lock of another process. Readers in WAL mode do not
/// wait for writers; this is for the moments of a recovery.
const READ_LOCK_WAIT: Duration = Duration::from_millis(20);
/// How long the storage thread waits inside SQLite for another process's commit.
pub(super) const WRITE_LOCK_WAIT: Duration = Duration::from_millis(500);

/// Rows of `meta`, besides those of notes, which have a prefix.
pub(super) mod meta {
    pub const LAST_OPENED: &str = "last_opened";
    /// When a process has used the file last, by its own reckoning.
    pub const LAST_SYNC: &str = "last_sync";
    /// What a sync writes, too; it means nothing.
    pub const SYNC: &str = "sync";
    pub const LAST_CLEANUP_COMPLETED: &str = "last_cleanup_completed";
    pub const CLEANUP_CLAIMED: &str = "cleanup_claimed";
    /// How the stamps of this file are to be read ([`reckoning`](super::super::reckoning)); a text.
    pub const CLOCK: &str = "clock";
    pub const IMPORT_FINISHED: &str = "import_finished";
    /// How many verdicts were deleted or made worse, other than by workers and imports. Written
    /// by triggers.
    pub const REMOVALS: &str = "removals";
}

/// How to open the file.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// How long to wait for other processes that are opening or writing it.
    pub lock_wait: Duration,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions { lock_wait: Duration::from_secs(5) }
    }
}

/// An open file: a connection for each of the two threads.
#[derive(Debug)]
pub struct Opened {
    pub(super) reader: Reader,
    pub(super) writer: Connection,
    pub(super) time: Time,
    /// The file did not exist, or was empty; of processes that open it at the same time,
    /// one is told so.
    pub created: bool,
    /// No import of an old cache has been completed into this file yet.
    pub import_pending: bool,
    /// Where a damaged or foreign file went that had this name before.
    pub set_aside: Option<PathBuf>,
    /// Names and texts of the notes in the file ([`Cache::note`](super::Cache::note)), those of
    /// other processes included, in the order of their names; 256 at most.
    pub notes: Vec<(String, String)>,
}

/// How the time of a file is told.
#[derive(Debug)]
pub(super) struct Time {
    /// For whoever asks what time it is.
    pub clock: SystemClock,
    /// For the storage thread.
    pub watch: Watch,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file of another application, or not a database at all.
    #[error("not a verdict cache: {0}")]
    Foreign(String),
    /// A verdict cache that cannot be read.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A directory, a pipe or the like has its name, or one beside it.
    #[error("{} is not a regular file", .0.display())]
    NoFile(PathBuf),
    /// On a file system that several hosts share (its type).
    #[error("on a network file system ({0})")]
    NetworkFileSystem(String),
    /// The file system or the file is read-only.
    #[error("read-only: {0}")]
    ReadOnly(String),
    /// The disk or the quota is full.
    #[error("no space left: {0}")]
    NoSpace(String),
    /// `mail_owner` may not read, write or create it.
    #[error("{0}")]
    Permission(String),
    /// Anything else: a missing directory, an input/output error, a lock held for too long.
    #[error("{0}")]
    Other(String),
}

/// Opens the cache file `path`, creating it with mode 0600 if it does not exist.
///
/// Call it with the effective user id of `mail_owner`, before chroot(2).
///
/// # Errors
/// See [`OpenError`]; none of them is a reason to stop the service.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Opened, OpenError> {
    if let Some(kind) = network_file_system(directory_of(path)).map_err(from_io)? {
        return Err(OpenError::NetworkFileSystem(kind));
    }
    if let Some(name) = no_regular_file(path) {
        return Err(OpenError::NoFile(name));
    }
    let deadline = Instant::now() + options.lock_wait;
    loop {
        create_private(path, options.lock_wait).map_err(from_io)?;
        match open_connections(path, options) {
            // Two processes that change a new file to WAL mode at the same time can fail
            // each other at once, whatever the busy time-out. And another one may just have set
            // a damaged file aside.
            Err(error)
                if (is_busy(&error) || has_gone(&error, path)) && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(from_sqlite(&error, path)),
            Ok(result) => return result,
        }
    }
}

/// As [`open`], but moves a damaged or foreign file out of the way, with a warning, and
/// starts with a fresh one.
///
/// # Errors
/// Those of [`open`], and [`OpenError::Damaged`] if the file cannot be renamed.
pub fn open_or_set_aside(path: &Path, options: &OpenOptions) -> Result<Opened, OpenError> {
    let unusable =
        |error: &OpenError| matches!(error, OpenError::Damaged(_) | OpenError::Foreign(_));
    match open(path, options) {
        Err(error) if unusable(&error) => (),
        result => return result,
    }
    // Another process may have come to the same conclusion: its fresh file must stay.
    let _lock = lock_directory(path, options.lock_wait);
    let error = match open(path, options) {
        Err(error) if unusable(&error) => error,
        result => return result,
    };
    let target = set_aside(path).map_err(|reason| {
        OpenError::Damaged(format!("{error}, and cannot be renamed: {reason}"))
    })?;
    log::warn!("cache file {} is {error}; it is now {}", path.display(), target.display());
    let opened = open(path, options)?;
    Ok(Opened { set_aside: Some(target), ..opened })
}

/// The first of the names of a database that something else has than a file. A pipe would be
/// read and written for ever, and nothing of the kind is ours to move.
fn no_regular_file(path: &Path) -> Option<PathBuf> {
    let mut names = SUFFIXES.into_iter().map(|suffix| with_suffix(path, suffix));
    names.find(|name| fs::metadata(name).is_ok_and(|metadata| !metadata.is_file()))
}

/// SQLite would create the file with a mode that depends on the umask, and gives its own
/// mode to the log and the index.
fn create_private(path: &Path, lock_wait: Duration) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    // A process that still has a removed database open shares the index beside it with whoever
    // opens that; each would take the other's log for its own.
    let _lock = lock_directory(path, lock_wait);
    if path.symlink_metadata().is_err() {
        set_leftovers_aside(path)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.set_permissions(fs::Permissions::from_mode(0o600)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn open_connections(
    path: &Path,
    options: &OpenOptions,
) -> rusqlite::Result<Result<Opened, OpenError>> {
    let mut writer = connect(path, options.lock_wait)?;
    if let Some(what) = foreign(&mut writer)? {
        return Ok(Err(OpenError::Foreign(what)));
    }
    let mode: String =
        writer.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Ok(Err(OpenError::Other(format!("the journal mode stays {mode}"))));
    }
    // The first time that SQLite syncs its log it syncs the directory too, which it has to open
    // for that. That is possible only now.
    writer.pragma_update(None, "synchronous", "full")?;
    // The storage thread checkpoints by itself, to see when that does not work.
    writer.pragma_update(None, "wal_autocheckpoint", 0)?;
    writer.pragma_update(None, "journal_size_limit", 8 * 1024 * 1024)?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Somebody else may have been faster.
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let created = version == 0;
    if version < SCHEMA_VERSION {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    let now = Reading::now();
    let (reckoning, remark) = reckon(&transaction, now)?;
    let opened = i64::try_from(reckoning.time(now).0).unwrap_or(i64::MAX);
    // Else nothing would be written if somebody else has opened it in this very second.
    transaction.execute("DELETE FROM meta WHERE name = ?1", [meta::LAST_OPENED])?;
    set_meta(&transaction, meta::LAST_OPENED, opened)?;
    let import_pending = get_meta(&transaction, meta::IMPORT_FINISHED)?.is_none();
    let notes = notes::read(&transaction)?;
    transaction.commit()?;
    writer.pragma_update(None, "synchronous", "normal")?;
    writer.busy_timeout(WRITE_LOCK_WAIT)?;

    let connection = connect(path, options.lock_wait)?;
    connection.pragma_update(None, "query_only", true)?;
    // Also shows whether the table is there.
    let reader = Reader::new(connection)?;
    reader.set_lock_wait(READ_LOCK_WAIT)?;
    if let Some(Remark::Wrong(seconds)) = remark {
        let (path, seconds, where_to) = (
            path.display(),
            seconds.unsigned_abs(),
            if seconds < 0 { "behind" } else { "ahead of" },
        );
        log::warn!(
            "cache file {path}: the clock is {seconds} seconds {where_to} the last use of the file; \
             until it is set, no time has passed since then"
        );
    }
    let time = Time { clock: SystemClock::of(&reckoning), watch: Watch::new(reckoning) };
    Ok(Ok(Opened { reader, writer, time, created, import_pending, set_aside: None, notes }))
}

/// Goes on from what the file knows of the time, and notes it for the others.
fn reckon(connection: &Connection, now: Reading) -> rusqlite::Result<(Reckoning, Option<Remark>)> {
    let mut last = None;
    for name in [meta::LAST_OPENED, meta::LAST_SYNC, meta::LAST_CLEANUP_COMPLETED] {
        last = last.max(get_meta(connection, name)?);
    }
    let kept = kept_reckoning(connection)?;
    let (reckoning, remark) = Reckoning::begin(kept.clone(), last, &boot(), now);
    if kept.as_ref() != Some(&reckoning) {
        keep_reckoning(connection, &reckoning)?;
    }
    Ok((reckoning, remark))
}

/// What the file knows of the time.
pub(super) fn kept_reckoning(connection: &Connection) -> rusqlite::Result<Option<Reckoning>> {
    let kept = connection
        .query_row(META, [meta::CLOCK], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Text(text) => Reckoning::from_text(&String::from_utf8_lossy(text)),
                _ => None,
            })
        })
        .optional()?;
    Ok(kept.flatten())
}

/// Notes how to tell the time.
pub(super) fn keep_reckoning(
    connection: &Connection,
    reckoning: &Reckoning,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (meta::CLOCK, reckoning.to_text()),
    )?;
    Ok(())
}

/// A connection with the settings that every one has. What it removes is not counted.
pub(super) fn connect(path: &Path, lock_wait: Duration) -> rusqlite::Result<Connection> {
    // No SQLITE_OPEN_CREATE: the file exists by now, with the right mode.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(lock_wait)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // A mapped page of a damaged disk would kill the process by a signal. (This pragma
    // answers, so that pragma_update would take it for a mistake.)
    connection.execute_batch("PRAGMA mmap_size = 0")?;
    Ok(connection)
}

/// What shows that the file is of another application. An empty one is not.
fn foreign(connection: &mut Connection) -> rusqlite::Result<Option<String>> {
    // Both answers from one snapshot: another process may be making the tables right now.
    let snapshot = connection.transaction()?;
    let id: i64 = snapshot.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let objects: i64 =
        snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let ours = id == APPLICATION_ID || (id == 0 && objects == 0);
    Ok((!ours).then(|| format!("application_id {id}, {objects} tables and indexes")))
}

/// The five integers of a row, from column `first` on. Whatever is no integer (another
/// program wrote it) counts as disabled, as in postscreen's text.
pub(super) fn columns_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Columns> {
    let mut columns = [1; 5];
    for (index, column) in columns.iter_mut().enumerate() {
        if let ValueRef::Integer(number) = row.get_ref(first + index)? {
            *column = number;
        }
    }
    Ok(columns)
}

/// The integer under `name` in `meta`.
pub(super) fn get_meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    query_meta(&mut connection.prepare(META)?, name)
}

/// A statement for [`query_meta`].
pub(super) const META: &str = "SELECT value FROM meta WHERE name = ?1";

/// The integer under `name`, by a statement that is compiled already.
pub(super) fn query_meta(
    statement: &mut Statement<'_>,
    name: &str,
) -> rusqlite::Result<Option<i64>> {
    let value = statement
        .query_row([name], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Integer(number) => Some(number),
                _ => None,
            })
        })
        .optional()?;
    Ok(value.flatten())
}

/// Sets the integer under `name` in `meta`.
pub(super) fn set_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )?;
    Ok(())
}

/// What can go wrong with an open file, by what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Another process holds the lock: again, soon.
    #[error("{0}")]
    Busy(String),
    /// Disk full, input/output error and the like: again, later.
    #[error("{0}")]
    Disk(String),
    /// The file is damaged or not ours any more: never again.
    #[error("{0}")]
    Damaged(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        let text = error.to_string();
        match code_of(&error) {
            _ if is_cut_off(&error) => Fault::Damaged(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::Busy(text),
            // A statement that worked when the file was opened is wrong now: the table is
            // gone or another one.
            Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown
                | ErrorCode::SchemaChanged
                | ErrorCode::ConstraintViolation,
            ) => Fault::Damaged(text),
            _ => Fault::Disk(text),
        }
    }
}

/// Whether a file ends before its content does: somebody has removed or emptied it.
fn is_cut_off(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHORT_READ)
}

/// What kind of error it is; `None` if it is not one of SQLite's, but about what was read.
fn code_of(error: &rusqlite::Error) -> Option<ErrorCode> {
    match error {
        // A statement that makes no sense: the tables are not ours.
        rusqlite::Error::SqlInputError { error, .. } => Some(error.code),
        error => error.sqlite_error_code(),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether it could not be opened because it is not there.
fn has_gone(error: &rusqlite::Error, path: &Path) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && path.symlink_metadata().is_err()
}

fn from_sqlite(error: &rusqlite::Error, path: &Path) -> OpenError {
    let text = error.to_string();
    match code_of(error) {
        _ if is_cut_off(error) => OpenError::Damaged(text),
        // So it says, too, if a number in the file asks for a later version of SQLite.
        Some(ErrorCode::ReadOnly)
            if faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok() =>
        {
            OpenError::Damaged(text)
        }
        Some(ErrorCode::NotADatabase) => OpenError::Foreign(text),
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::Unknown
            | ErrorCode::SchemaChanged
            | ErrorCode::ConstraintViolation,
        ) => OpenError::Damaged(text),
        Some(ErrorCode::DiskFull) => OpenError::NoSpace(text),
        Some(ErrorCode::ReadOnly) => OpenError::ReadOnly(text),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => OpenError::Permission(text),
        _ => OpenError::Other(text),
    }
}

fn from_io(error: io::Error) -> OpenError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::PermissionDenied => OpenError::Permission(text),
        ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly(text),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::NoSpace(text),
        _ => OpenError::Other(text),
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
