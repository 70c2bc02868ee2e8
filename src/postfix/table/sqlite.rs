//! sqlite tables, sqlite_table(5): a query in an SQLite database answers.
//!
//! A connection must not cross a fork, and its database cannot be opened in a jail. So until
//! [`Table::connect`] each look-up has a connection of its own; from then on there is one, and
//! it has read something, which opens what a database in WAL mode has besides its file.
//!
//! Nothing here may take long, as nobody is served meanwhile: neither to wait for a lock, nor
//! to work through a query.

use std::borrow::Cow;
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, Error, OpenFlags};

use super::sqlite_cf::{Scope, SqliteConfig};
use super::value::value;
use super::{Answer, OpenOptions, Surrogate, Table};
use crate::postfix::message::Message;
use crate::screen::logline::Shown;
use crate::sys::errno_text;

/// How long a look-up may wait for a writer.
const LOCK_WAIT: Duration = Duration::from_millis(50);
/// How much a query may work, in steps of SQLite's virtual machine: some tenths of a second.
const MOST_STEPS: i32 = 10_000_000;

/// A table in an SQLite database.
#[derive(Debug)]
pub struct SqliteTable {
    config: SqliteConfig,
    options: OpenOptions,
    stage: Stage,
    /// The latest look-up met a lock; the next ones do not wait again.
    locked: Cell<bool>,
}

#[derive(Debug)]
enum Stage {
    /// Each look-up opens the database.
    Apart,
    Connected(Connection),
    /// It could not be opened when it had to be.
    Lost(Surrogate),
}

/// The database cannot be opened; the message is that of Postfix's current versions. (3.7 opens
/// it for writing, which makes one that is not there.)
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("sqlite:{name}: open database {path}: {reason}")]
pub struct SqliteOpenError {
    name: String,
    path: String,
    reason: String,
}

impl SqliteTable {
    /// A table. Nothing is opened yet.
    pub fn new(config: SqliteConfig, options: OpenOptions) -> SqliteTable {
        SqliteTable { config, options, stage: Stage::Apart, locked: Cell::new(false) }
    }

    /// Looks whether the database can be opened, without keeping it open. If it cannot, look-ups
    /// fail until [`Table::connect`] has better luck.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn probe(&mut self) -> Result<(), SqliteOpenError> {
        self.open().map(drop).inspect_err(|error| {
            self.stage = Stage::Lost(self.surrogate(error));
        })
    }

    fn open(&self) -> Result<Connection, SqliteOpenError> {
        connect(self.config.dbpath()).map_err(|error| {
            let path = self.config.dbpath();
            let mut reason = words(&error);
            // SQLite does not say what is in its way.
            if let Err(errno) = access(path, AccessFlags::R_OK) {
                reason = format!("{reason}: {}", errno_text(errno));
            }
            SqliteOpenError { name: self.config.name().to_owned(), path: path.to_owned(), reason }
        })
    }

    fn surrogate(&self, error: &SqliteOpenError) -> Surrogate {
        Surrogate::new(&format!("sqlite:{}", self.config.name()), &error.to_string())
    }

    /// All results of a key, joined. The error is what to warn of.
    fn ask(
        &self,
        connection: &Connection,
        key: &str,
        query: &str,
        warnings: &mut Vec<Message>,
    ) -> Result<Vec<u8>, String> {
        let name = self.config.name();
        let cannot_prepare = |error| {
            self.locked.set(is_lock(&error));
            format!("{name}: SQL prepare failed: {}", words(&error))
        };
        let cannot_step = |error| {
            self.locked.set(is_lock(&error));
            let query = Shown(query.as_bytes());
            format!("{name}: SQL step failed for query '{query}': {}", words(&error))
        };
        // Only one wait for each time that somebody locks it.
        let wait = if self.locked.get() { Duration::ZERO } else { LOCK_WAIT };
        connection.busy_timeout(wait).map_err(cannot_prepare)?;
        // What follows the first statement is ignored, as Postfix does.
        let statement = Batch::new(connection, query).next().map_err(cannot_prepare)?;
        let mut results = Vec::new();
        let Some(mut statement) = statement else { return Ok(results) };
        let mut count = 0;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(cannot_step)? {
            let result = match row.get_ref(0).map_err(cannot_step)? {
                ValueRef::Null => continue,
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Cow::Borrowed(bytes),
                ValueRef::Integer(number) => Cow::Owned(number.to_string().into_bytes()),
                ValueRef::Real(number) => {
                    Cow::Owned(real_text(connection, number).map_err(cannot_step)?.into_bytes())
                }
            };
            if self.config.add_result(key, &result, &mut results, warnings) {
                count += 1;
                if self.config.exceeds_limit(count) {
                    let key = Shown(key.as_bytes());
                    return Err(format!("{name}: Expansion limit exceeded for key '{key}'"));
                }
            }
        }
        self.locked.set(false);
        Ok(results)
    }

    fn answer(&self, key: &[u8], warnings: &mut Vec<Message>) -> Result<Answer<'_>, String> {
        let name = self.config.name();
        let Some(stored) = self.options.stored(key) else { return Ok(Answer::NotFound) };
        // Keys that are not UTF-8 are not asked for, whoever asks.
        let Ok(stored) = str::from_utf8(&stored) else { return Ok(Answer::NotFound) };
        match self.config.scope(stored) {
            Scope::Inside => {}
            Scope::Outside => return Ok(Answer::NotFound),
            Scope::Unknown => {
                return Err(format!("{name}: only domains are supported in \"domain\""));
            }
        }
        let Some(query) = self.config.query(stored, warnings) else {
            return Ok(Answer::NotFound);
        };
        let results = match &self.stage {
            Stage::Connected(connection) => self.ask(connection, stored, &query, warnings)?,
            Stage::Apart => {
                let connection = self.open().map_err(|error| error.to_string())?;
                self.ask(&connection, stored, &query, warnings)?
            }
            Stage::Lost(surrogate) => {
                surrogate.lookup(key, warnings);
                return Ok(Answer::Failed);
            }
        };
        if results.is_empty() {
            return Ok(Answer::NotFound);
        }
        let table = format_args!("sqlite:{name}");
        Ok(value(table, key, Cow::Owned(results), self.options, warnings))
    }
}

impl Table for SqliteTable {
    fn lookup(&self, key: &[u8], warnings: &mut Vec<Message>) -> Answer<'_> {
        self.answer(key, warnings).unwrap_or_else(|problem| {
            warnings.push(Message::warning(format!("dict_sqlite_lookup: {problem}")));
            Answer::Failed
        })
    }

    fn connect(&mut self, messages: &mut Vec<Message>) {
        self.stage = match self.open() {
            Ok(connection) => {
                // Whatever is wrong with its content, look-ups will say so.
                let _ = connection.pragma_query_value(None, "schema_version", |_| Ok(()));
                Stage::Connected(connection)
            }
            Err(error) => {
                // Once is enough.
                if !matches!(self.stage, Stage::Lost(_)) {
                    messages.push(Message::error(error.to_string()));
                }
                Stage::Lost(self.surrogate(&error))
            }
        };
    }

    fn held_file(&self) -> Option<&Path> {
        Some(Path::new(self.config.dbpath()))
    }
}

/// Opens the database for reading. SQLite gives what it creates besides (the log and the index
/// of a database in WAL mode) to the database's owner.
fn connect(path: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    // Writing is the business of those who write.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A jail has no place for temporary files.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A mapped page of a damaged disk would kill the process by a signal. (This pragma
    // answers, so that pragma_update would take it for a mistake.)
    connection.execute_batch("PRAGMA mmap_size = 0")?;
    // Asked for the first time after so many steps, it says that this is enough.
    connection.progress_handler(MOST_STEPS, Some(|| true))?;
    Ok(connection)
}

/// A number in SQLite's own notation.
fn real_text(connection: &Connection, number: f64) -> rusqlite::Result<String> {
    connection.query_row("SELECT CAST(?1 AS TEXT)", [number], |row| row.get(0))
}

fn is_lock(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
    )
}

/// SQLite's own words for an error, without those that the crate adds.
fn words(error: &Error) -> String {
    match error {
        Error::SqliteFailure(code, Some(_)) if code.code == rusqlite::ErrorCode::CannotOpen => {
            "unable to open database file".into()
        }
        Error::SqliteFailure(_, Some(text)) => text.clone(),
        Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
