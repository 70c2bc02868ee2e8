//! Reading all of an LMDB database, as postmap(1) makes it: one file, one unnamed database,
//! no lock file.

use std::fs::File;
use std::io;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions};
use nix::fcntl::{FcntlArg, fcntl};

/// Why a database could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LmdbError {
    /// The operating system says no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// LMDB does, in its words.
    #[error("{0}")]
    Lmdb(heed::Error),
}

impl From<heed::Error> for LmdbError {
    fn from(error: heed::Error) -> LmdbError {
        match error {
            heed::Error::Io(error) => LmdbError::Io(error),
            error => LmdbError::Lmdb(error),
        }
    }
}

/// Gives each key and value of the database to `each`, in the order of the keys, while holding
/// the lock by which Postfix's programs keep writers out. Waits for that lock.
///
/// Call it only in a process that may die of it: LMDB trusts what is in the file, and a damaged
/// or truncated one can kill whoever reads it (SIGBUS, SIGSEGV, SIGABRT). It can do no worse,
/// as long as the process holds nothing of anybody else's: the map is read-only, and all that
/// comes back of the file are bytes.
///
/// # Errors
///
/// Those of opening and reading the file, and of `each`, which end the reading.
pub fn for_each(
    path: &Path,
    mut each: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
) -> Result<(), LmdbError> {
    let file = File::open(path)?;
    // Released by the process's first close of the file, which is LMDB's, after the reading.
    lock_shared(&file)?;
    let mut options = EnvOpenOptions::new();
    // SAFETY: without LMDB's own locks nobody may write meanwhile: that is what the lock above
    // is for, which every program of Postfix's takes. The file is opened once in this process.
    // Whoever else changes or damages the file can make the process that reads it crash; the
    // caller has been told to be one for which that does no harm.
    let environment = unsafe {
        options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::READ_ONLY | EnvFlags::NO_LOCK);
        options.open(path)?
    };
    let transaction = environment.read_txn()?;
    environment.open_databases_and_commit(transaction, |opener, transaction| {
        let Some(database) = opener.open_database::<Bytes, Bytes>(transaction, None)? else {
            return Ok(CommitOrAbort::Abort(()));
        };
        for entry in database.iter(transaction)? {
            let (key, value) = entry?;
            each(key, value)?;
        }
        Ok::<_, LmdbError>(CommitOrAbort::<heed::Database<'_, Bytes, Bytes>, ()>::Abort(()))
    })?;
    Ok(())
}

fn lock_shared(file: &File) -> io::Result<()> {
    // SAFETY: integers, for which zero is a valid value: the whole file, from its start.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(libc::F_RDLCK).unwrap_or_default();
    lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
    fcntl(file, FcntlArg::F_SETLKW(&lock))?;
    Ok(())
}
