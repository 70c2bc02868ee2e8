//! Where table files are read from.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::{fs, io};

/// Reads the files that tables and lists are made of.
pub trait FileSource {
    /// The whole file.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Where a host's port is. May take as long as the C library's resolver does.
    ///
    /// # Errors
    ///
    /// The reason in words.
    fn resolve(&self, _host: &str, _port: &str) -> Result<Vec<SocketAddr>, String> {
        Err("no host is looked up here".to_owned())
    }

    /// Whether Postfix itself knows this type of table, which we do not.
    fn is_known_to_postfix(&self, _kind: &str) -> bool {
        false
    }
}

/// The file system, as long as the process may use it.
#[derive(Clone, Copy, Debug)]
pub struct DiskFiles;

impl FileSource for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn resolve(&self, host: &str, port: &str) -> Result<Vec<SocketAddr>, String> {
        resolve(host, port)
    }
}

/// Asks the system where a host's port is; a port may be a number only.
///
/// # Errors
///
/// The reason in words.
pub fn resolve(host: &str, port: &str) -> Result<Vec<SocketAddr>, String> {
    let number: u16 = port.parse().map_err(|_| format!("bad port number: {port}"))?;
    let found = (host, number).to_socket_addrs().map_err(|error| error_text(&error))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() { Err("no address".to_owned()) } else { Ok(addresses) }
}

/// No files at all: the jailed process, which learns of changed files only by being told
/// their new content.
#[derive(Clone, Copy, Debug)]
pub struct JailedFiles;

impl FileSource for JailedFiles {
    fn read(&self, _path: &Path) -> io::Result<Vec<u8>> {
        Err(io::Error::other("new files are read at the next reload"))
    }
}

/// The operating system's words for an error, without the number that Rust appends.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => match text.strip_suffix(&format!(" (os error {number})")) {
            Some(words) => words.to_owned(),
            None => text,
        },
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_operating_system() {
        let error = DiskFiles.read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error_text(&error), "No such file or directory");
        assert_eq!(error_text(&io::Error::from_raw_os_error(13)), "Permission denied");
        let error = JailedFiles.read(Path::new("/etc/passwd")).unwrap_err();
        assert_eq!(error_text(&error), "new files are read at the next reload");
    }
}
