//! Reading a configuration file that somebody may be writing.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How often a file is read again that changes while it is read.
const ATTEMPTS: u32 = 5;

/// Reads a file; again if it was changed or replaced meanwhile. After some attempts the
/// text is taken as it is.
///
/// # Errors
/// Those of opening and reading it.
pub fn read_stable(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut file = File::open(path)?;
        let before = identity(&file.metadata()?);
        text.clear();
        file.read_to_end(&mut text)?;
        let same = path.metadata().is_ok_and(|after| identity(&after) == before);
        if same {
            break;
        }
    }
    Ok(text)
}

fn identity(file: &Metadata) -> (u64, u64, u64, i64, i64) {
    (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec())
}

/// Postfix's words for a file that cannot be opened.
pub fn open_error(path: &Path, error: &io::Error) -> String {
    let reason = match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    };
    format!("open {}: {reason}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        assert!(read_stable(Path::new("/dev/null")).unwrap().is_empty());
        let missing = Path::new("/nonexistent/main.cf");
        let error = read_stable(missing).unwrap_err();
        let text = "open /nonexistent/main.cf: No such file or directory";
        assert_eq!(open_error(missing, &error), text);
    }
}
