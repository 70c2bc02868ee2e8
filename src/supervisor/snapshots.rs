//! All that is in a database, read by a process of its own: postmap(1) for Berkeley DB, which
//! nobody else can read; a copy of ourselves for LMDB, as a damaged file kills its reader.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;

use crate::config::settings::Settings;
use crate::postfix::message::Message;
use crate::postfix::table::{Index, IndexKind, IndexedTable, error_text};
use crate::process::task::{End, Outcome, Task, postmap_dump};
use crate::sys::lmdb;

/// How long a database may take to be read: it has to wait for whoever writes to it.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How much older than its source a database may be without a warning; postmap(1) does not
/// mind either while somebody may still be at work.
const BEING_EDITED: Duration = Duration::from_secs(100);

/// What else `hash:NAME` and `btree:NAME` may be the name of, in a Postfix without Berkeley DB
/// (main.cf: `non_bdb_migration_level`).
const REDIRECTED: [&str; 2] = [".lmdb", ".cdb"];

/// Why a database cannot be read; the text is in Postfix's words where it has them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// Because of the database: nobody could.
    #[error("{0}")]
    Database(String),
    /// Perhaps because of its reader.
    #[error("{0}")]
    Reader(String),
}

/// Takes snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// main.cf: `command_directory`, where postmap(1) is.
    pub command_directory: PathBuf,
    /// Where main.cf is.
    pub config_directory: PathBuf,
    /// main.cf: `non_bdb_migration_level` is not `disable`.
    pub migrating: bool,
}

impl Snapshots {
    /// For this configuration.
    pub fn new(settings: &Settings) -> Snapshots {
        Snapshots {
            command_directory: settings.directories.command.clone(),
            config_directory: settings.directories.config.clone(),
            migrating: settings.access.non_bdb_migration,
        }
    }

    /// The files of which the first that is there is the table.
    pub fn files(&self, index: &Index) -> Vec<PathBuf> {
        let mut files = vec![index.file()];
        if self.migrating && index.kind != IndexKind::Lmdb {
            files.extend(REDIRECTED.map(|suffix| format!("{}{suffix}", index.name).into()));
        }
        files
    }

    /// Starts to take one; [`judge`] says what has come of it. `let_go` is for a copy of this
    /// process, which must not keep what others wait to see closed.
    ///
    /// # Errors
    ///
    /// The reason why the table cannot be used.
    pub fn start(&self, index: &Index, let_go: impl FnOnce()) -> Result<Task, Trouble> {
        let files = self.files(index);
        let file = files.iter().find(|file| file.exists()).cloned();
        let file = file.unwrap_or_else(|| index.file());
        // postmap(1) would say the same, and sleep for a second after that.
        let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&file);
        let error = |reason: &str| open_error(&file, reason);
        opened.map_err(|problem| Trouble::Database(error(&error_text(&problem))))?;
        match index.kind {
            IndexKind::Hash | IndexKind::Btree => {
                let (commands, config) = (&self.command_directory, &self.config_directory);
                let command = postmap_dump(commands, config, index.to_string());
                Task::run(command, TIME_LIMIT).map_err(|problem| {
                    let program = commands.join("postmap");
                    let problem = error_text(&problem);
                    Trouble::Reader(error(&format!("cannot run {}: {problem}", program.display())))
                })
            }
            IndexKind::Lmdb => Task::fork(TIME_LIMIT, |output, complaints| {
                let_go();
                dump_lmdb(index, output, complaints)
            })
            .map_err(|problem| Trouble::Reader(error(&error_text(&problem)))),
        }
    }

    /// Takes one, and waits for it.
    ///
    /// # Errors
    ///
    /// The reason why the table cannot be used.
    pub fn take(&self, index: &Index, messages: &mut Vec<Message>) -> Result<Vec<u8>, Trouble> {
        let outcome = self.start(index, || {})?.wait();
        let failed =
            |error: io::Error| Trouble::Reader(open_error(&index.file(), &error_text(&error)));
        let mut snapshot = judge(index, outcome.map_err(failed)?, messages)?;
        let mut text = Vec::new();
        snapshot.read_to_end(&mut text).map_err(failed)?;
        Ok(text)
    }
}

/// Says what has come of an attempt. Warnings are added to `messages`.
///
/// # Errors
///
/// The reason why the table cannot be used.
pub fn judge(
    index: &Index,
    outcome: Outcome,
    messages: &mut Vec<Message>,
) -> Result<File, Trouble> {
    let mut reason = None;
    for line in outcome.complaints.lines() {
        let line = line.strip_prefix("postmap: ").unwrap_or(line);
        if let Some(text) = line.strip_prefix("warning: ") {
            messages.push(Message::warning(text));
        } else if let Some(text) = line.strip_prefix("fatal: ") {
            reason = Some(text.to_owned());
        }
    }
    let own = match outcome.end {
        End::Success => return Ok(outcome.output),
        End::Failure(status) => format!("its reader ended with status {status}"),
        End::Signal(signal) => format!("its reader was killed by {signal}: is it damaged?"),
        End::Timeout(limit) => {
            format!("not read within {} s: is somebody writing to it?", limit.as_secs())
        }
    };
    Err(match reason {
        Some(reason) => Trouble::Database(reason),
        None => Trouble::Reader(open_error(&index.file(), &own)),
    })
}

/// What Postfix says when a database cannot be opened.
fn open_error(file: &Path, reason: &str) -> String {
    format!("open database {}: {reason}", file.display())
}

/// Writes what is in an LMDB database in the form of postmap(1), and complains likewise.
pub fn dump_lmdb(index: &Index, output: impl Write, mut complaints: impl Write) -> io::Result<()> {
    let file = index.file();
    let mut output = BufWriter::new(output);
    if let Some(text) = older_than_source(&file, Path::new(&index.name)) {
        writeln!(complaints, "warning: {text}")?;
    }
    let mut skipped = 0_u64;
    let read = lmdb::for_each(&file, |key, value| {
        match IndexedTable::line(without_nul(key), without_nul(value)) {
            Some(line) => output.write_all(&line),
            None => {
                skipped += 1;
                Ok(())
            }
        }
    });
    if let Err(error) = read {
        let reason = match error {
            lmdb::LmdbError::Io(error) => error_text(&error),
            lmdb::LmdbError::Lmdb(error) => error.to_string(),
        };
        writeln!(complaints, "fatal: {}", open_error(&file, &reason))?;
        return Err(io::ErrorKind::InvalidData.into());
    }
    if skipped > 0 {
        writeln!(
            complaints,
            "warning: database {}: ignoring {skipped} entries with line ends, or TABs in their keys",
            file.display()
        )?;
    }
    output.flush()
}

/// Keys and values have one NUL at the end if postmap(1) made them.
fn without_nul(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\0").unwrap_or(text)
}

/// Whether somebody has forgotten to run postmap(1).
fn older_than_source(file: &Path, source: &Path) -> Option<String> {
    let modified = |path: &Path| fs::metadata(path).ok()?.modified().ok();
    let (database, text) = (modified(file)?, modified(source)?);
    let age = SystemTime::now().duration_since(text).unwrap_or_default();
    (text > database && age > BEING_EDITED).then(|| {
        format!("database {} is older than source file {}", file.display(), source.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::task::postfix_program;

    fn judged(script: &str, limit: Duration) -> (Result<String, Trouble>, Vec<Message>) {
        let mut command = postfix_program(Path::new("/bin/sh"), Path::new("/"));
        command.args(["-c", script]);
        let outcome = Task::run(command, limit).unwrap().wait().unwrap();
        let index = Index { kind: IndexKind::Hash, name: "/x".into() };
        let mut messages = Vec::new();
        let judged = judge(&index, outcome, &mut messages).map(|mut file| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        });
        (judged, messages)
    }

    #[test]
    fn what_came_of_it() {
        let limit = Duration::from_secs(20);
        let script = "echo postmap: warning: old >&2; echo BDB0641 noise >&2; echo 'a\tb'";
        assert_eq!(judged(script, limit), (Ok("a\tb\n".into()), vec![Message::warning("old")]));
        let reader = |reason: &str| Trouble::Reader(format!("open database /x.db: {reason}"));
        for (script, trouble) in [
            (
                "echo postmap: fatal: open database /x.db: Oh >&2; exit 1",
                Trouble::Database("open database /x.db: Oh".into()),
            ),
            ("echo a; exit 7", reader("its reader ended with status 7")),
            ("kill -BUS $$", reader("its reader was killed by SIGBUS: is it damaged?")),
        ] {
            assert_eq!(judged(script, limit), (Err(trouble), vec![]));
        }
        let late = judged("exec sleep 60", Duration::from_secs(1)).0.unwrap_err();
        assert_eq!(late, reader("not read within 1 s: is somebody writing to it?"));
    }

    #[test]
    fn files_of_a_table() {
        let snapshots = |migrating| Snapshots {
            command_directory: "/nonexistent".into(),
            config_directory: "/".into(),
            migrating,
        };
        let hash = Index { kind: IndexKind::Hash, name: "/nonexistent/x".into() };
        let lmdb = Index { kind: IndexKind::Lmdb, ..hash.clone() };
        let names = |files: Vec<PathBuf>| {
            let name = |file: PathBuf| file.extension().unwrap().to_str().unwrap().to_owned();
            files.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(snapshots(false).files(&hash)), ["db"]);
        assert_eq!(names(snapshots(true).files(&hash)), ["db", "lmdb", "cdb"]);
        assert_eq!(names(snapshots(true).files(&lmdb)), ["lmdb"]);
        for migrating in [false, true] {
            let error = snapshots(migrating).start(&hash, || {}).unwrap_err();
            let reason = "open database /nonexistent/x.db: No such file or directory";
            assert_eq!(error, Trouble::Database(reason.into()));
        }
    }
}
