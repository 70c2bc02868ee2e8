//! Files that may change while a worker in its jail uses their content.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;

/// How long a file must have been left alone before it is read: whoever writes it may not
/// be done.
const SETTLED: Duration = Duration::from_secs(2);

/// What is watched, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A file, whose content is wanted.
    Content(PathBuf),
    /// The first of these files that is there; somebody else reads it.
    Change(Vec<PathBuf>),
    /// A file that somebody holds open: only whether another one takes its place counts.
    Identity(PathBuf),
}

/// Something watched, and the state in which it was last handed over.
#[derive(Debug)]
struct Watched {
    subject: Subject,
    seen: Option<State>,
}

/// What tells one content of a file from another, without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> State {
        State {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            ..State::identity(metadata)
        }
    }

    /// Without what changes in a file that stays the same.
    fn identity(metadata: &Metadata) -> State {
        State { device: metadata.dev(), inode: metadata.ino(), size: 0, modified: (0, 0) }
    }
}

impl Watched {
    fn metadata(&self) -> Option<Metadata> {
        match &self.subject {
            Subject::Content(path) | Subject::Identity(path) => fs::metadata(path).ok(),
            Subject::Change(paths) => paths.iter().find_map(|path| fs::metadata(path).ok()),
        }
    }

    fn state(&self, metadata: &Metadata) -> State {
        match self.subject {
            Subject::Content(_) | Subject::Change(_) => State::of(metadata),
            Subject::Identity(_) => State::identity(metadata),
        }
    }

    /// The news, if it has changed and been left alone since.
    fn news(&self, now: SystemTime) -> Option<(News, State)> {
        let metadata = self.metadata()?;
        let state = self.state(&metadata);
        if self.seen == Some(state) || !is_settled(&metadata, now) {
            return None;
        }
        match &self.subject {
            Subject::Content(path) => {
                let file = open(path).ok()?;
                // What was opened may be newer than what was looked at.
                let metadata = file.metadata().ok()?;
                is_settled(&metadata, now).then(|| (News::Content(file), State::of(&metadata)))
            }
            Subject::Change(_) => Some((News::Changed, state)),
            Subject::Identity(_) => Some((News::Replaced, state)),
        }
    }
}

/// What is watched.
#[derive(Debug)]
pub struct Watch {
    subjects: Vec<Watched>,
}

/// Something has changed.
#[derive(Debug)]
pub struct Change {
    /// Its number in the list that the watch was made with.
    pub number: u32,
    /// What has happened.
    pub news: News,
    state: State,
}

/// What has happened.
#[derive(Debug)]
pub enum News {
    /// The file has new content. It is open for reading.
    Content(File),
    /// It is not what it was.
    Changed,
    /// Another file is in its place.
    Replaced,
}

impl Watch {
    /// Watches these, which were read a moment ago. A file that has been written so lately
    /// that this may have been in between counts as changed, once it has settled.
    pub fn new(subjects: impl Iterator<Item = Subject>, now: SystemTime) -> Watch {
        let watched = |subject| {
            let mut watched = Watched { subject, seen: None };
            let settled = |metadata: &Metadata| match watched.subject {
                Subject::Content(_) | Subject::Change(_) => is_settled(metadata, now),
                Subject::Identity(_) => true,
            };
            let metadata = watched.metadata().filter(settled);
            watched.seen = metadata.map(|metadata| watched.state(&metadata));
            watched
        };
        Watch { subjects: subjects.map(watched).collect() }
    }

    /// Whether there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// What has changed and been left alone since. A file that cannot be opened, or is gone,
    /// counts as unchanged: its last content stays in use.
    pub fn changes(&self, now: SystemTime) -> Vec<Change> {
        let numbered = (0..).zip(&self.subjects);
        numbered
            .filter_map(|(number, watched)| {
                let (news, state) = watched.news(now)?;
                Some(Change { number, news, state })
            })
            .collect()
    }

    /// A change has been handed over.
    pub fn note(&mut self, change: &Change) {
        if let Some(watched) = self.subjects.get_mut(change.number as usize) {
            watched.seen = Some(change.state);
        }
    }

    /// Nothing came of a change: it is to be reported once more.
    pub fn forget(&mut self, number: u32) {
        if let Some(watched) = self.subjects.get_mut(number as usize) {
            watched.seen = None;
        }
    }
}

/// Reads a file as it is now, with the time when it was written.
pub fn read(path: &Path) -> Option<(SystemTime, Vec<u8>)> {
    let mut file = open(path).ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    Some((file.metadata().ok()?.modified().ok()?, text))
}

/// A file from the future counts as settled: its clock will not tell when it is.
fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let Ok(modified) = metadata.modified() else { return true };
    now.duration_since(modified).map_or(true, |age| age >= SETTLED)
}

/// Opens a regular file; a FIFO in its place would block.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("gatepost-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Dir(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn watch(paths: &[PathBuf], now: SystemTime) -> Watch {
        Watch::new(paths.iter().cloned().map(Subject::Content), now)
    }

    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_change_is_seen_once_it_has_settled() {
        let dir = Dir::new("settled");
        let a = dir.write("a", "one");
        let b = dir.write("b", "one");
        let mut watch = watch(&[a, b], later());
        assert!(watch.changes(later()).is_empty());
        dir.write("b", "changed");
        assert!(watch.changes(SystemTime::now()).is_empty(), "just written");
        let changes = watch.changes(later());
        assert_eq!(changes.len(), 1);
        let change = changes.into_iter().next().unwrap();
        assert_eq!(change.number, 1);
        let mut text = String::new();
        let News::Content(file) = &change.news else { panic!("{change:?}") };
        (&*file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "changed");
        assert_eq!(watch.changes(later()).len(), 1, "until it is handed over");
        watch.note(&change);
        assert!(watch.changes(later()).is_empty());
    }

    #[test]
    fn a_file_that_may_have_changed_while_it_was_read_is_read_again() {
        let dir = Dir::new("fresh");
        let path = dir.write("table", "text");
        let mut watch = watch(std::slice::from_ref(&path), SystemTime::now());
        assert!(watch.changes(SystemTime::now()).is_empty(), "just written");
        let changes = watch.changes(later());
        assert_eq!(changes.len(), 1);
        watch.note(&changes[0]);
        assert!(watch.changes(later()).is_empty());
    }

    #[test]
    fn a_replaced_file_is_a_changed_file() {
        let dir = Dir::new("replaced");
        let path = dir.write("table", "same");
        let watch = watch(std::slice::from_ref(&path), later());
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        let other = dir.write("other", "same");
        File::options().write(true).open(&other).unwrap().set_modified(times).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(watch.changes(later()).len(), 1);
    }

    #[test]
    fn a_file_that_goes_leaves_its_content_in_use() {
        let dir = Dir::new("gone");
        let path = dir.write("table", "text");
        let watch = watch(std::slice::from_ref(&path), later());
        fs::remove_file(&path).unwrap();
        assert!(watch.changes(later()).is_empty());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(watch.changes(later()).is_empty(), "a FIFO is not read");
    }

    #[test]
    fn a_file_that_appears_is_a_changed_file() {
        let dir = Dir::new("appears");
        let watch = watch(&[dir.0.join("late")], later());
        assert!(watch.changes(later()).is_empty());
        dir.write("late", "text");
        assert_eq!(watch.changes(later()).len(), 1);
    }

    #[test]
    fn of_several_files_the_first_counts() {
        let dir = Dir::new("several");
        let [first, second] = ["first", "second"].map(|name| dir.0.join(name));
        dir.write("second", "text");
        let subject = Subject::Change(vec![first, second]);
        let mut watch = Watch::new([subject].into_iter(), later());
        assert!(watch.changes(later()).is_empty());
        dir.write("second", "other text");
        let change = watch.changes(later()).pop().unwrap();
        assert!(matches!(change.news, News::Changed));
        watch.note(&change);
        assert!(watch.changes(later()).is_empty());
        watch.forget(0);
        assert_eq!(watch.changes(later()).len(), 1, "once more");
        dir.write("first", "text");
        let change = watch.changes(later()).pop().unwrap();
        watch.note(&change);
        dir.write("second", "does not count");
        assert!(watch.changes(later()).is_empty());
    }

    #[test]
    fn of_a_file_that_is_held_open_only_the_identity_counts() {
        let dir = Dir::new("identity");
        let path = dir.write("database", "text");
        let mut watch =
            Watch::new([Subject::Identity(path.clone())].into_iter(), SystemTime::now());
        dir.write("database", "written to");
        assert!(watch.changes(later()).is_empty());
        let other = dir.write("other", "another one");
        fs::rename(other, &path).unwrap();
        let change = watch.changes(later()).pop().unwrap();
        assert!(matches!(change.news, News::Replaced));
        watch.note(&change);
        assert!(watch.changes(later()).is_empty());
    }
}
