//! The log service: a datagram socket, and what came in over it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::eventually;

/// One record, taken apart.
#[derive(Clone, Debug)]
pub struct Record {
    /// `postfix/postscreen`.
    pub ident: String,
    pub pid: i32,
    /// With the prefix of its level.
    pub text: String,
}

impl Record {
    fn parse(line: &str) -> Record {
        // Mmm dd hh:mm:ss HOST IDENT[PID]: TEXT
        let rest = line.get(16..).unwrap_or_else(|| panic!("no log record: {line}"));
        let parts = rest.split_once(' ').and_then(|(host, rest)| {
            assert_eq!(host, "mx", "{line}");
            let (ident, rest) = rest.split_once('[')?;
            let (pid, text) = rest.split_once("]: ")?;
            Some((ident, pid.parse().ok()?, text))
        });
        let (ident, pid, text) = parts.unwrap_or_else(|| panic!("no log record: {line}"));
        Record { ident: ident.to_owned(), pid, text: text.to_owned() }
    }
}

/// postlogd(8), for a service.
pub struct Maillog {
    path: PathBuf,
    records: Arc<Mutex<Vec<Record>>>,
    reader: Mutex<Option<Reader>>,
}

struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Maillog {
    /// Listens at `path`.
    pub fn new(path: PathBuf) -> Maillog {
        let log = Maillog { path, records: Arc::default(), reader: Mutex::new(None) };
        log.open();
        log
    }

    /// Listens again.
    pub fn open(&self) {
        self.read(self.bind());
    }

    fn bind(&self) -> UnixDatagram {
        let socket = UnixDatagram::bind(&self.path).unwrap();
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o666)).unwrap();
        socket
    }

    /// Leaves another socket in its place, which nobody reads.
    pub fn replace(&self) -> UnixDatagram {
        self.close();
        self.bind()
    }

    /// Reads a socket from now on.
    pub fn read(&self, socket: UnixDatagram) {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (records, flag) = (Arc::clone(&self.records), Arc::clone(&stop));
        // The kernel keeps some ten datagrams only, so somebody has to read all the time.
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
                        records.lock().unwrap().push(Record::parse(&line));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if flag.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                    Err(error) => panic!("log socket: {error}"),
                }
            }
        });
        *self.reader.lock().unwrap() = Some(Reader { stop, thread });
    }

    /// Goes away, with the socket.
    pub fn close(&self) {
        if let Some(reader) = self.reader.lock().unwrap().take() {
            reader.stop.store(true, Ordering::Relaxed);
            reader.thread.join().unwrap();
            fs::remove_file(&self.path).unwrap();
        }
    }

    /// Everything so far.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// How many records contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.records().iter().filter(|record| record.text.contains(text)).count()
    }

    /// Waits for a record with this text.
    #[track_caller]
    pub fn wait(&self, text: &str) -> Record {
        self.wait_where(text, |record| record.text == text)
    }

    /// Waits for a record that contains this text.
    #[track_caller]
    pub fn wait_containing(&self, text: &str) -> Record {
        self.wait_where(text, |record| record.text.contains(text))
    }

    /// Waits for so many records that contain this text.
    #[track_caller]
    pub fn wait_count(&self, text: &str, count: usize) {
        eventually(&format!("{count} log records with {text:?}"), || self.count(text) >= count);
    }

    #[track_caller]
    fn wait_where(&self, what: &str, matches: impl Fn(&Record) -> bool) -> Record {
        let mut found = None;
        eventually(&format!("log record {what:?}"), || {
            found = self.records().into_iter().find(|record| matches(record));
            found.is_some()
        });
        found.unwrap()
    }

    /// Where the service is reached.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Maillog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for Record { ident, pid, text } in self.records() {
                eprintln!("{ident}[{pid}]: {text}");
            }
        } else {
            self.close();
        }
    }
}
