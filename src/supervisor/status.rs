//! The sockets at which workers tell what they have counted: `private/gatepost.PID.N` below the
//! queue directory, which `mail_owner` and root can open, with the process id of the supervisor
//! and the number of the worker.
//!
//! Bound here, as a worker in its jail and sandbox makes no files. For the same reason a worker
//! leaves its socket behind; the next start removes what nobody listens at any more.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;

use crate::postfix::local;

/// Relative to the queue directory. Its mode is 0700, and its owner `mail_owner`.
const DIRECTORY: &str = "private";

const PREFIX: &str = "gatepost.";

/// Makes the socket of a worker. To be called as `mail_owner`, in the queue directory.
///
/// # Errors
/// The directory is missing, or is somebody else's.
pub fn bind(number: usize) -> io::Result<UnixListener> {
    let name = format!("{PREFIX}{}.{number}", std::process::id());
    let path = Path::new(DIRECTORY).join(name);
    // Of a process that had the same id, long ago.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the sockets of workers that have ended. To be called as `mail_owner`, in the queue
/// directory. What cannot be removed does no harm.
pub fn remove_stale() {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(is_ours);
        let path = Path::new(DIRECTORY).join(&name);
        if ours && local::open(&path).err() == Some(Errno::ECONNREFUSED) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Services of Postfix have their sockets in the same place.
fn is_ours(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(pid, number)| digits(pid) && digits(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_sockets_are_ours() {
        assert!(is_ours("gatepost.123.0"));
        for other in ["gatepost", "gatepost.123", "gatepost.123.", "gatepost.a.0", "smtpd"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
