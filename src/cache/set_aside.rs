//! Moving a database out of the way without deleting it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::clock::wall_time;
use crate::screen::test_set::UnixTime;

/// The files of a SQLite database in WAL mode, in the order of renaming. The log goes
/// first: a fresh database beside the log of another one would be mixed up with it, while
/// a database without its log only misses what was not checkpointed.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", ""];

/// Renames the database `path`, with its `-wal` and `-shm` files if there are any, to
/// `PATH.damaged-YYYYMMDDTHHMMSS` (UTC), or to that and `-N` if the name is taken. Returns
/// the new name of the database.
///
/// A process that has the database open goes on with the renamed files.
///
/// # Errors
/// That of rename(2) for the database itself, or `NotFound` if there is none.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    set_aside_at(path, wall_time())
}

fn set_aside_at(path: &Path, now: UnixTime) -> io::Result<PathBuf> {
    path.symlink_metadata()?;
    let stamp = compact_utc(now);
    let mut target = with_suffix(path, &format!(".damaged-{stamp}"));
    for number in 1..1_000 {
        if !SUFFIXES.iter().any(|suffix| with_suffix(&target, suffix).symlink_metadata().is_ok()) {
            break;
        }
        target = with_suffix(path, &format!(".damaged-{stamp}-{number}"));
    }
    for suffix in SUFFIXES {
        match std::fs::rename(with_suffix(path, suffix), with_suffix(&target, suffix)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !suffix.is_empty() => (),
            result => result?,
        }
    }
    Ok(target)
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
    fn nothing_to_move_is_an_error() {
        let dir = TestDir::new();
        let error = set_aside(&dir.file("none")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
