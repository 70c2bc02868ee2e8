//! For tests: writes down what SQLite does to the files of a directory, so that a test knows what
//! the disk was told when.
//!
//! SQLite's own way to files stays in use; some of its functions are called by way of ours. Files
//! in other directories are none of our business.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi::{
    SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find,
    sqlite3_vfs_register,
};

/// What was done to a file, which has this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Bytes were written at a place.
    Write(String, usize, Vec<u8>),
    /// It was cut off, or made longer.
    Truncate(String, usize),
    /// What was done so far is on the disk.
    Sync(String),
    /// It was removed.
    Delete(String),
}

#[derive(Default)]
struct Books {
    /// What was done in each directory.
    acts: HashMap<PathBuf, Vec<Act>>,
    /// The open files, by the addresses of what SQLite knows them by.
    open: HashMap<usize, (PathBuf, String)>,
    /// SQLite's tables of functions and ours, by address.
    original: HashMap<usize, usize>,
    ours: HashMap<usize, usize>,
}

static BOOKS: Mutex<Option<Books>> = Mutex::new(None);

/// Writes down what is done in `directory` from now on, to files that are opened from now on.
pub fn watch(directory: &Path) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
    with_books(|books| books.acts.insert(directory.to_owned(), Vec::new()));
}

/// What was done in `directory` since the last call.
pub fn take(directory: &Path) -> Vec<Act> {
    with_books(|books| books.acts.get_mut(directory).map(std::mem::take)).unwrap_or_default()
}

fn with_books<T>(act: impl FnOnce(&mut Books) -> T) -> T {
    let mut books: MutexGuard<'_, Option<Books>> =
        BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    act(books.get_or_insert_default())
}

fn note(file: *mut sqlite3_file, act: impl FnOnce(String) -> Act) {
    with_books(|books| {
        let Some((directory, name)) = books.open.get(&(file as usize)) else { return };
        if let Some(acts) = books.acts.get_mut(directory) {
            acts.push(act(name.clone()));
        }
    });
}

fn install() {
    // SAFETY: SQLite's default is there for the whole life of the process, and so is our copy,
    // which is never freed; SQLite may write to it.
    unsafe {
        let base = sqlite3_vfs_find(std::ptr::null());
        let ours = Box::leak(Box::new(*base));
        ours.zName = c"written".as_ptr();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        with_books(|books| books.original.insert(0, base as usize));
        assert_eq!(sqlite3_vfs_register(ours, 1), SQLITE_OK);
    }
}

fn base() -> *mut sqlite3_vfs {
    with_books(|books| books.original.get(&0).copied()).unwrap() as *mut sqlite3_vfs
}

/// The directory and the name of a file there.
fn split(path: *const c_char) -> Option<(PathBuf, String)> {
    if path.is_null() {
        return None;
    }
    // SAFETY: SQLite gives a text that ends with a zero byte.
    let path = PathBuf::from(unsafe { CStr::from_ptr(path) }.to_str().ok()?);
    Some((path.parent()?.to_owned(), path.file_name()?.to_str()?.to_owned()))
}

// SAFETY: called by SQLite only, with what its documentation says, which is handed on to the
// function that it would have called.
unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    path: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let base = base();
    // SAFETY: as above.
    let result = unsafe { (*base).xOpen.unwrap()(base, path, file, flags, flags_out) };
    let Some(place) = split(path) else { return result };
    let watched = with_books(|books| books.acts.contains_key(&place.0));
    // SAFETY: the file is open if SQLite's function says so; its table of functions is constant,
    // and our copy of it is never freed.
    unsafe {
        if result == SQLITE_OK && watched && !(*file).pMethods.is_null() {
            let original = (*file).pMethods;
            let known = with_books(|books| books.ours.get(&(original as usize)).copied());
            let table = known.map_or_else(
                || std::ptr::from_ref(Box::leak(Box::new(replaced(*original)))),
                |known| known as *const sqlite3_io_methods,
            );
            (*file).pMethods = table;
            with_books(|books| {
                books.ours.insert(original as usize, table as usize);
                books.original.insert(table as usize, original as usize);
                books.open.insert(file as usize, place);
            });
        }
    }
    result
}

fn replaced(original: sqlite3_io_methods) -> sqlite3_io_methods {
    sqlite3_io_methods {
        xClose: Some(close),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        ..original
    }
}

/// What SQLite would have called.
// SAFETY: `file` must be one that has our table of functions.
unsafe fn original(file: *mut sqlite3_file) -> &'static sqlite3_io_methods {
    // SAFETY: as above; what was put in as an address is a table that is never freed.
    unsafe {
        let table = (*file).pMethods as usize;
        let original = with_books(|books| books.original.get(&table).copied()).unwrap();
        &*(original as *const sqlite3_io_methods)
    }
}

// SAFETY: as for `open`, like all that follow.
unsafe extern "C" fn delete(_: *mut sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    let base = base();
    if let Some((directory, name)) = split(path) {
        with_books(|books| books.acts.get_mut(&directory).map(|a| a.push(Act::Delete(name))));
    }
    // SAFETY: as above.
    unsafe { (*base).xDelete.unwrap()(base, path, sync) }
}

// SAFETY: see above.
unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: the file is one of ours; SQLite's function wants it as it was.
    unsafe {
        let original = original(file);
        with_books(|books| books.open.remove(&(file as usize)));
        (*file).pMethods = original;
        original.xClose.unwrap()(file)
    }
}

// SAFETY: see above.
unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    place: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite says how many bytes there are.
    unsafe {
        let count = usize::try_from(count).unwrap();
        let copy = std::slice::from_raw_parts(bytes.cast::<u8>(), count).to_vec();
        note(file, |name| Act::Write(name, usize::try_from(place).unwrap(), copy));
        original(file).xWrite.unwrap()(file, bytes, i32::try_from(count).unwrap(), place)
    }
}

// SAFETY: see above.
unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    note(file, |name| Act::Truncate(name, usize::try_from(size).unwrap()));
    // SAFETY: as above.
    unsafe { original(file).xTruncate.unwrap()(file, size) }
}

// SAFETY: see above.
unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    note(file, Act::Sync);
    // SAFETY: as above.
    unsafe { original(file).xSync.unwrap()(file, flags) }
}
