//! Which name servers are asked: what resolv.conf says, wherever that is.
//!
//! A daemon in a jail reads the copy below the queue directory, which is as old as the last
//! `postfix start`. The supervisor hands over both files, and the one that was written last
//! counts: so a change of the system's file takes effect without a restart, and a copy that
//! differs on purpose is used as long as it is the newer one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::dns::resolv_conf::Servers;

/// The system's file.
const SYSTEM: &str = "/etc/resolv.conf";

/// The same in a jail.
const JAILED: &str = "etc/resolv.conf";

/// Where the name servers come from.
#[derive(Clone, Debug)]
pub enum NameServers {
    /// gatepost.cf: `dnsbl_nameservers`.
    Fixed(Vec<SocketAddr>),
    /// The system.
    System(ResolvConf),
}

impl NameServers {
    /// Whom to ask, and what is wrong with what says so.
    pub fn servers(&self) -> (Servers, Vec<String>) {
        match self {
            NameServers::Fixed(list) => (Servers::default().with_list(list.clone()), Vec::new()),
            NameServers::System(files) => Servers::from_resolv_conf(files.text()),
        }
    }

    /// The files that have a say, in the order of their numbers.
    pub fn paths(&self) -> Vec<PathBuf> {
        match self {
            NameServers::Fixed(_) => Vec::new(),
            NameServers::System(files) => files.paths().map(Path::to_owned).collect(),
        }
    }

    /// Takes in what a file says now.
    pub fn take_in(&mut self, number: usize, content: Content) {
        match self {
            NameServers::Fixed(_) => {}
            NameServers::System(files) => files.take_in(number, content),
        }
    }
}

/// The files that may say which name servers to ask, and what they said last.
#[derive(Clone, Debug, Default)]
pub struct ResolvConf {
    files: Vec<Known>,
}

/// A file, as it was when it was last read.
#[derive(Clone, Debug)]
struct Known {
    path: PathBuf,
    content: Option<Content>,
}

/// What a file said, and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// When it was written.
    pub modified: SystemTime,
    /// What it says.
    pub text: Vec<u8>,
}

impl ResolvConf {
    /// Reads the files that count for a process with this jail. `read` gives `None` for a
    /// file that is not there.
    pub fn read(jail: Option<&Path>, read: impl Fn(&Path) -> Option<Content>) -> ResolvConf {
        let jailed = jail.map(|jail| jail.join(JAILED));
        let files = jailed.into_iter().chain([PathBuf::from(SYSTEM)]).map(|path| {
            let content = read(&path);
            Known { path, content }
        });
        ResolvConf { files: files.collect() }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    fn take_in(&mut self, number: usize, content: Content) {
        if let Some(file) = self.files.get_mut(number) {
            file.content = Some(content);
        }
    }

    /// The text that counts: that of the file that was written last; of two that were written
    /// at the same time, that of the jail. Empty if there is no file.
    fn text(&self) -> &[u8] {
        let known = self.files.iter().rev().filter_map(|file| file.content.as_ref());
        known.max_by_key(|content| content.modified).map_or(&[], |content| &content.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn content(seconds: u64, text: &str) -> Content {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Content { modified, text: text.into() }
    }

    #[test]
    fn the_file_that_was_written_last_counts() {
        let jail = Path::new("/jail");
        let mut names = ResolvConf::read(Some(jail), |path| {
            Some(if path.starts_with(jail) { content(5, "jail") } else { content(5, "system") })
        });
        let paths: Vec<_> = names.paths().collect();
        assert_eq!(paths, [Path::new("/jail/etc/resolv.conf"), Path::new("/etc/resolv.conf")]);
        assert_eq!(names.text(), b"jail", "of equal age");
        names.take_in(1, content(6, "system, later"));
        assert_eq!(names.text(), b"system, later");
        names.take_in(0, content(7, "jail, later"));
        assert_eq!(names.text(), b"jail, later");
    }

    #[test]
    fn a_file_that_is_not_there_has_no_say() {
        let mut names = ResolvConf::read(None, |_| None);
        assert_eq!(names.paths().count(), 1);
        assert_eq!(names.text(), b"");
        names.take_in(0, content(1, "there it is"));
        assert_eq!(names.text(), b"there it is");
        names.take_in(9, content(2, "no such file"));
        assert_eq!(names.text(), b"there it is");
    }
}
