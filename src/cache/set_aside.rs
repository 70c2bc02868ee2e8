//! Moving a database out of the way without deleting it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::clock::wall_time;
use crate::screen::test_set::UnixTime;

/// The files of a SQLite database in WAL mode, in the order of renaming. The log goes
/// first: a fresh database beside the log of another one would be mixed up with it, while
/// a database without its log only misses what was not checkpointed.
pub(super) const SUFFIXES: [&str; 3] = ["-wal", "-shm", ""];
/// How long somebody else may hold the lock of the directory.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Which files the names of a database stand for, so that another database under the same
/// names is told apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity([Option<(u64, u64)>; 3]);

impl Identity {
    /// Of the files that have these names now.
    pub fn of(path: &Path) -> Identity {
        Identity(SUFFIXES.map(|suffix| {
            let metadata = fs::metadata(with_suffix(path, suffix)).ok()?;
            Some((metadata.dev(), metadata.ino()))
        }))
    }
}

/// As [`set_aside`], but only files that are what they were when `known` was taken: what others
/// have put in their place stays where it is. Returns `None` if there is nothing left to move.
///
/// # Errors
/// That of rename(2).
pub fn set_aside_known(path: &Path, known: &Identity) -> io::Result<Option<PathBuf>> {
    // Another process may have come to the same conclusion, and its successor have begun afresh.
    let _lock = lock_directory(path, LOCK_WAIT);
    let now = Identity::of(path);
    let [.., database] = &now.0;
    if database.is_some() && known.0.last() == Some(database) {
        // Whatever lies beside it belongs to no other database.
        return set_aside(path).map(Some);
    }
    let target = free_name(path, wall_time());
    let mut moved = None;
    for ((suffix, is), was) in SUFFIXES.iter().zip(&now.0).zip(&known.0) {
        if is.is_some() && is == was {
            fs::rename(with_suffix(path, suffix), with_suffix(&target, suffix))?;
            moved = Some(with_suffix(&target, suffix));
        }
    }
    Ok(moved)
}

/// Moves what lies beside a database that is not there, if there is something: a new one must not
/// share it with processes that have the old one open.
pub(super) fn set_leftovers_aside(path: &Path) -> io::Result<()> {
    let target = free_name(path, wall_time());
    for suffix in SUFFIXES.iter().filter(|suffix| !suffix.is_empty()) {
        match fs::rename(with_suffix(path, suffix), with_suffix(&target, suffix)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            result => result?,
        }
    }
    Ok(())
}

/// Keeps other processes from setting the same file aside, as long as the value lives. If
/// somebody else holds the lock of the directory for too long, it goes without.
pub(super) fn lock_directory(path: &Path, wait: Duration) -> Option<fs::File> {
    let directory = fs::File::open(directory_of(path)).ok()?;
    let deadline = Instant::now() + wait;
    while directory.try_lock().is_err() {
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(directory)
}

/// Where the file lies.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Renames the database `path`, with its `-wal` and `-shm` files if there are any, to
/// `PATH.damaged-YYYYMMDDTHHMMSS` (UTC), or to that and `-N` if the name is taken. Returns
/// the new name of the database.
///
/// A process that has the database open goes on with the renamed files.
///
/// # Errors
/// That of rename(2) for the database itself, or `NotFound` if there is none.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    set_aside_at(path, wall_time())
}

fn set_aside_at(path: &Path, now: UnixTime) -> io::Result<PathBuf> {
    path.symlink_metadata()?;
    let target = free_name(path, now);
    for suffix in SUFFIXES {
        match std::fs::rename(with_suffix(path, suffix), with_suffix(&target, suffix)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !suffix.is_empty() => (),
            result => result?,
        }
    }
    Ok(target)
}

fn free_name(path: &Path, now: UnixTime) -> PathBuf {
    let stamp = compact_utc(now);
    let mut target = with_suffix(path, &format!(".damaged-{stamp}"));
    for number in 1..1_000 {
        if !SUFFIXES.iter().any(|suffix| with_suffix(&target, suffix).symlink_metadata().is_ok()) {
            break;
        }
        target = with_suffix(path, &format!(".damaged-{stamp}-{number}"));
    }
    target
}

/// `path` with `suffix` at its end.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// `YYYYMMDDTHHMMSS`.
fn compact_utc(time: UnixTime) -> String {
    let (days, second) = (time.0 / 86_400, time.0 % 86_400);
    // Days are counted from 1 March of year 0, so that a leap day ends a year; 146,097 days
    // are 400 years.
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + 400 * era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::test_dir::TestDir;

    #[test]
    fn stamps_are_utc_dates() {
        for (seconds, text) in [
            (0, "19700101T000000"),
            (951_782_399, "20000228T235959"),
            (951_782_400, "20000229T000000"),
            (1_795_431_033, "20261123T105033"),
            (4_107_542_400, "21000301T000000"),
        ] {
            assert_eq!(compact_utc(UnixTime(seconds)), text);
        }
    }

    #[test]
    fn all_three_files_move_and_names_are_not_taken_twice() {
        let dir = TestDir::new();
        let path = dir.file("cache.sqlite");
        let now = UnixTime(951_782_400);
        for expected in
            ["cache.sqlite.damaged-20000229T000000", "cache.sqlite.damaged-20000229T000000-1"]
        {
            std::fs::write(&path, "db").unwrap();
            std::fs::write(with_suffix(&path, "-wal"), "wal").unwrap();
            let target = set_aside_at(&path, now).unwrap();
            assert_eq!(target, dir.file(expected));
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "db");
            assert_eq!(std::fs::read_to_string(with_suffix(&target, "-wal")).unwrap(), "wal");
            assert!(!path.exists());
        }
    }

    #[test]
    fn only_what_is_known_moves() {
        let dir = TestDir::new();
        let path = dir.file("cache.sqlite");
        let make = || {
            for suffix in SUFFIXES {
                std::fs::write(with_suffix(&path, suffix), suffix).unwrap();
            }
        };
        make();
        let known = Identity::of(&path);
        let first = set_aside_known(&path, &known).unwrap().unwrap();
        assert!(first.exists() && !path.exists());
        assert_eq!(set_aside_known(&path, &known).unwrap(), None, "it is gone");
        make();
        assert_eq!(set_aside_known(&path, &known).unwrap(), None, "it is another one");
        assert!(path.exists());

        // Another database beside the old one's log.
        let known = Identity::of(&path);
        std::fs::write(dir.file("new"), "new").unwrap();
        std::fs::rename(dir.file("new"), &path).unwrap();
        std::fs::remove_file(with_suffix(&path, "-shm")).unwrap();
        let log = set_aside_known(&path, &known).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(log).unwrap(), "-wal");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");

        // Its own database beside another log goes as a whole.
        std::fs::write(with_suffix(&path, "-wal"), "own").unwrap();
        let known = Identity::of(&path);
        std::fs::remove_file(with_suffix(&path, "-wal")).unwrap();
        let target = set_aside_known(&path, &known).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(target).unwrap(), "new");
        assert!(!path.exists());
    }

    #[test]
    fn nothing_to_move_is_an_error() {
        let dir = TestDir::new();
        let error = set_aside(&dir.file("none")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
