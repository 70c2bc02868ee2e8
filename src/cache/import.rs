//! Taking over the verdicts of postscreen's own cache.
//!
//! postmap(1) reads the database, whatever its type, from a copy: on the original it would
//! wait for the lock that a running postscreen holds until its end. postscreen syncs every
//! update, so a copy of a database in use is good unless an update falls into the copying;
//! then it is made again.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::clock::wall_time;
use super::location::OldCache;
use super::reckoning::Reckoning;
use super::record::{self, Key};
use super::set_aside::with_suffix;
use super::sqlite::{connect, kept_reckoning, meta, set_meta};
use crate::process::task::postmap_dump;
use crate::screen::test_set::{CacheRecord, Expiry, PerTest};

/// Key of the time of the last clean-up; folded to lower case if postmap(1) wrote it.
const LAST_CLEANUP_KEY: &str = "_LAST_CACHE_CLEANUP_COMPLETED_";
const BATCH_ROWS: usize = 1_000;
const ATTEMPTS: u32 = 2;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(500);
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Of what postmap(1) says when it fails.
const STDERR_LIMIT: u64 = 4_096;

/// What an import has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportReport {
    /// Verdicts that were taken over.
    pub imported: u64,
    /// Verdicts about clients of which the cache had its own already.
    pub known: u64,
    /// Lines that are no verdict.
    pub skipped: u64,
}

/// Why an import failed. What was imported before stays.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no old cache.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// It cannot be copied.
    #[error("cannot copy {0}: {1}")]
    Copy(PathBuf, #[source] io::Error),
    /// postmap(1) cannot be started, or its output not be read.
    #[error("cannot run {0}: {1}")]
    Run(PathBuf, #[source] io::Error),
    /// postmap(1) failed; with the end of what it said.
    #[error("postmap failed ({0}): {1}")]
    Postmap(std::process::ExitStatus, String),
    /// The cache file cannot be written.
    #[error("cannot write the cache: {0}")]
    Write(#[from] rusqlite::Error),
}

/// Copies all verdicts of `old` into the cache file `sqlite_path`, which exists. A verdict
/// that is there already stays: it is newer.
///
/// Runs for as long as it takes, with another program: call it in a process of its own, as
/// `mail_owner` for good. `command_directory` and `config_directory` are main.cf's.
///
/// # Errors
/// See [`ImportError`]; the import stays pending then (`Opened::import_pending`).
pub fn import_old_cache(
    old: &OldCache,
    sqlite_path: &Path,
    command_directory: &Path,
    config_directory: &Path,
) -> Result<ImportReport, ImportError> {
    if !old.db_file.exists() {
        return Err(ImportError::Missing(old.db_file.clone()));
    }
    let mut connection = connect(sqlite_path, LOCK_WAIT)?;
    let mut attempt = 1;
    let report = loop {
        let copy = Copy::make(&old.db_file, sqlite_path)
            .map_err(|error| ImportError::Copy(old.db_file.clone(), error))?;
        let spec = format!("{}:{}", old.map_type, copy.base.display());
        match dump_into(&mut connection, &spec, command_directory, config_directory) {
            // The copy may have caught the database in the middle of an update.
            Err(ImportError::Postmap(..)) if attempt < ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(ATTEMPT_PAUSE);
            }
            result => break result?,
        }
    };
    let now = i64::try_from(wall_time().0).unwrap_or(i64::MAX);
    set_meta(&connection, meta::IMPORT_FINISHED, now)?;
    Ok(report)
}

/// Runs postmap(1) over the database `spec` and stores what it prints.
fn dump_into(
    connection: &mut Connection,
    spec: &str,
    command_directory: &Path,
    config_directory: &Path,
) -> Result<ImportReport, ImportError> {
    // Without one the file has stamps by the wall clock, as the old cache.
    let reckoning = kept_reckoning(connection)?;
    let program = command_directory.join("postmap");
    let failed = |error| ImportError::Run(program.clone(), error);
    let mut child = postmap_dump(command_directory, config_directory, spec)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Read aside, so that a talkative program cannot block itself on a full pipe.
    let complaints = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut stderr = stderr;
            let _ = (&mut stderr).take(STDERR_LIMIT).read_to_end(&mut text);
            let _ = io::copy(&mut stderr, &mut io::sink());
            String::from_utf8_lossy(&text).trim().replace('\n', "; ")
        })
    });
    let stored = match child.stdout.take() {
        Some(stdout) => store_lines(connection, BufReader::new(stdout), reckoning.as_ref()),
        None => Ok(Ok(ImportReport::default())),
    };
    if !matches!(stored, Ok(Ok(_))) {
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let complaints = complaints.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let report = stored?.map_err(failed)?;
    if !status.success() {
        return Err(ImportError::Postmap(status, complaints));
    }
    Ok(report)
}

/// Stores the verdicts among `lines`, some at a time so that nobody waits long for the lock.
fn store_lines(
    connection: &mut Connection,
    mut lines: impl BufRead,
    reckoning: Option<&Reckoning>,
) -> rusqlite::Result<io::Result<ImportReport>> {
    let mut report = ImportReport::default();
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Err(error) => return Ok(Err(error)),
            Ok(0) => break,
            Ok(_) => match parse_line(&String::from_utf8_lossy(&line)) {
                Line::Verdict(address, record) => batch.push((address, ours(record, reckoning))),
                Line::LastCleanup => (),
                Line::Junk => report.skipped += 1,
            },
        }
        if batch.len() >= BATCH_ROWS {
            insert(connection, &mut batch, &mut report)?;
        }
    }
    insert(connection, &mut batch, &mut report)?;
    Ok(Ok(report))
}

/// A verdict that was stamped by the wall clock, by the time of the file.
fn ours(record: CacheRecord, reckoning: Option<&Reckoning>) -> CacheRecord {
    let Some(reckoning) = reckoning else { return record };
    PerTest::from_fn(|test| match record[test] {
        Expiry::Until(end) => Expiry::Until(reckoning.by_wall(end)),
        other => other,
    })
}

fn insert(
    connection: &mut Connection,
    batch: &mut Vec<(IpAddr, CacheRecord)>,
    report: &mut ImportReport,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut inserted = 0;
    {
        let mut statement = transaction.prepare(
            "INSERT OR IGNORE INTO verdict
             (address, pregreet, dnsbl, pipelining, non_smtp, bare_newline)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for (address, record) in batch.iter() {
            let [c1, c2, c3, c4, c5] = record::to_columns(record);
            inserted += statement.execute((Key::of(*address).bytes(), c1, c2, c3, c4, c5))?;
        }
    }
    transaction.commit()?;
    report.imported += inserted as u64;
    report.known += (batch.len() - inserted) as u64;
    batch.clear();
    Ok(())
}

/// What a line of `postmap -s` is about.
#[derive(PartialEq, Eq, Debug)]
pub enum Line {
    /// A client.
    Verdict(IpAddr, CacheRecord),
    /// When postscreen(8) cleaned up.
    LastCleanup,
    /// Nothing that could be in such a cache.
    Junk,
}

/// Reads a line of `postmap -s`: key, TAB, value.
pub fn parse_line(line: &str) -> Line {
    let line = line.trim_end_matches(['\n', '\r']);
    let (key, value) = line.split_once('\t').unwrap_or((line, ""));
    if key.eq_ignore_ascii_case(LAST_CLEANUP_KEY) {
        return Line::LastCleanup;
    }
    match key.parse::<IpAddr>() {
        Ok(address) => Line::Verdict(address.to_canonical(), record::parse(value)),
        Err(_) => Line::Junk,
    }
}

/// A copy of a database, removed with the value.
struct Copy {
    /// Its name without the suffix that postmap(1) adds.
    base: PathBuf,
    files: Vec<PathBuf>,
}

impl Copy {
    /// Copies `db_file` (and the second file that dbm and sdbm have) into the directory of
    /// `sqlite_path`. The name is fixed, so that what a killed import left is replaced.
    fn make(db_file: &Path, sqlite_path: &Path) -> io::Result<Copy> {
        let base = with_suffix(sqlite_path, ".import");
        let mut copy = Copy { base, files: Vec::new() };
        copy.add(db_file)?;
        if db_file.extension().is_some_and(|extension| extension == "pag") {
            copy.add(&db_file.with_extension("dir"))?;
        }
        Ok(copy)
    }

    fn add(&mut self, source: &Path) -> io::Result<()> {
        let extension = source.extension().unwrap_or_default().to_string_lossy();
        let target = with_suffix(&self.base, &format!(".{extension}"));
        match fs::remove_file(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.files.push(target.clone()),
        }
        for _ in 0..ATTEMPTS {
            let before = fs::metadata(source)?;
            fs::copy(source, &target)?;
            let after = fs::metadata(source)?;
            if before.len() == after.len() && before.modified()? == after.modified()? {
                break;
            }
            std::thread::sleep(ATTEMPT_PAUSE);
        }
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        for file in &self.files {
            // It may never have been made; what stays is replaced by the next import.
            let _ = fs::remove_file(file);
        }
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
