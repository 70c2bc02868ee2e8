//! Where table files are read from.

use std::cell::Cell;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::{fs, io};

use super::Index;
use crate::postfix::message::Message;

/// Reads the files that tables and lists are made of.
pub trait FileSource {
    /// The whole file.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// All that is in a database, for [`super::IndexedTable`]. Warnings are added to
    /// `messages`. Without a way to read databases, it is as with a Postfix that was built
    /// without this type.
    ///
    /// # Errors
    ///
    /// The reason, in Postfix's words.
    fn snapshot(&self, index: &Index, _messages: &mut Vec<Message>) -> Result<Vec<u8>, String> {
        Err(format!("unsupported dictionary type: {}", index.kind.name()))
    }

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
/// their new content. It knows when it would have needed one: then somebody else has to go on.
#[derive(Clone, Default, Debug)]
pub struct JailedFiles {
    missed: Cell<bool>,
}

impl JailedFiles {
    /// Whether a file was asked for.
    pub fn has_missed(&self) -> bool {
        self.missed.get()
    }
}

const NOT_FROM_HERE: &str = "new files are read at the next reload";

impl FileSource for JailedFiles {
    fn read(&self, _path: &Path) -> io::Result<Vec<u8>> {
        self.missed.set(true);
        Err(io::Error::other(NOT_FROM_HERE))
    }

    fn snapshot(&self, index: &Index, _messages: &mut Vec<Message>) -> Result<Vec<u8>, String> {
        self.missed.set(true);
        Err(format!("open database {}: {NOT_FROM_HERE}", index.file().display()))
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
        let jailed = JailedFiles::default();
        assert!(!jailed.has_missed());
        let error = jailed.read(Path::new("/etc/passwd")).unwrap_err();
        assert_eq!(error_text(&error), "new files are read at the next reload");
        assert!(jailed.has_missed());
    }
}
