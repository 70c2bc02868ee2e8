//! Notes that one process leaves for the next ones: small files, by which root decides what to
//! execute. So they count only if nobody else can have written them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::OFlag;

/// The largest note that makes sense, in bytes.
const MAX_TEXT: u64 = 64 << 10;

/// What a note says. The directory may belong to an unprivileged user, so only a file counts
/// that belongs to our own effective user and that nobody else can write.
pub fn read(path: &Path) -> Option<String> {
    let no_tricks = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(no_tricks.bits()).open(path).ok()?;
    let status = file.metadata().ok()?;
    let ours = status.uid() == nix::unistd::geteuid().as_raw();
    if !status.is_file() || !ours || status.mode() & 0o022 != 0 {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_TEXT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Writes a note, by way of a new file beside the old one: a reader sees the one or the other.
///
/// # Errors
/// Those of creating, writing and renaming the file.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    // A name of our own: master(8) may start several services at once.
    static TIMES: AtomicU32 = AtomicU32::new(0);
    let times = TIMES.fetch_add(1, Ordering::Relaxed);
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}-{times}", std::process::id()));
    // Left behind by a namesake that was killed.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
    let written = file.write_all(text.as_bytes());
    let result = written.and_then(|()| fs::rename(&new, path));
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result
}
