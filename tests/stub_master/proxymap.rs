//! What stands in for proxymap(8): it knows a few clients, and misbehaves as it is told to.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::site::{Site, give_to_owner};

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// As proxymap(8) up to Postfix 3.10.
    Well,
    /// The same since 3.11: flags have to be what was said last.
    Since311,
    /// Each connection is closed after an answer.
    OneAnswer,
    /// It dies of every question.
    Dies,
    /// It introduces itself, and says nothing more.
    Mute,
    /// It does not even do that.
    Silent,
    /// It says something else.
    Nonsense,
    /// Its answers come in pieces.
    InPieces,
    /// Some time after an answer it says, unasked, that whatever is asked next is permitted.
    Ahead,
}

/// How long after an answer [`Manner::Ahead`] speaks again.
pub const AHEAD: Duration = Duration::from_millis(100);

/// See the module.
pub struct Proxymap {
    shared: Arc<Shared>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    manner: Mutex<Manner>,
    stop: AtomicBool,
    questions: AtomicUsize,
    connections: AtomicUsize,
}

const GREETING: &[u8] = b"protocol\0proxymap_protocol\0\0";

impl Proxymap {
    /// Serves everybody.
    pub fn start(site: &Site, manner: Manner) -> Proxymap {
        let path = site.path("queue/private/proxymap");
        let listener = UnixListener::bind(&path).unwrap();
        give_to_owner(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            stop: AtomicBool::new(false),
            questions: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let mine = Arc::clone(&shared);
        let thread = Some(std::thread::spawn(move || accept(&listener, &mine)));
        Proxymap { shared, path, thread }
    }

    /// Changes how it behaves, from the next connection on.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// How many keys it was asked for.
    pub fn questions(&self) -> usize {
        self.shared.questions.load(Ordering::SeqCst)
    }

    /// How many connections it has had.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxymap {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = fs::remove_file(&self.path);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while !shared.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                // Decided when it is counted: who has seen the count may change the manner.
                let manner = *shared.manner.lock().unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(shared);
                threads.push(std::thread::spawn(move || {
                    // A client that has gone is none of our worries.
                    let _ = serve(stream, manner, &shared);
                }));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("accept: {error}"),
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

fn serve(mut stream: UnixStream, manner: Manner, shared: &Shared) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    match manner {
        Manner::Silent => {}
        Manner::Nonsense => stream.write_all(b"what\0ever\0\0")?,
        _ => stream.write_all(GREETING)?,
    }
    let (mut unread, mut flags) = (Vec::new(), None);
    while !shared.stop.load(Ordering::SeqCst) {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => unread.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let Some(list) = list(&unread) else { continue };
        unread.clear();
        match manner {
            Manner::Silent | Manner::Nonsense | Manner::Mute => continue,
            Manner::Dies => return Ok(()),
            _ => {}
        }
        let answer = answer(&list, manner, &mut flags, shared);
        if manner == Manner::InPieces {
            for byte in &answer {
                stream.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_micros(200));
            }
        } else {
            stream.write_all(&answer)?;
        }
        if manner == Manner::Ahead {
            std::thread::sleep(AHEAD);
            stream.write_all(b"status\x000\0value\0permit\0\0")?;
        }
        if manner == Manner::OneAnswer {
            return Ok(());
        }
    }
    Ok(())
}

/// A complete attribute list.
fn list(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut strings = bytes.split(|byte| *byte == 0).map(|s| String::from_utf8_lossy(s).into());
    let mut list = Vec::new();
    loop {
        let name: String = strings.next()?;
        if name.is_empty() {
            // Behind the last NUL there is one more piece.
            return strings.next().map(|_| list);
        }
        list.push((name, strings.next()?));
    }
}

fn answer(
    list: &[(String, String)],
    manner: Manner,
    flags: &mut Option<u32>,
    shared: &Shared,
) -> Vec<u8> {
    let names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
    let value = |name: &str| list.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap();
    let key = || {
        shared.questions.fetch_add(1, Ordering::SeqCst);
        match value("key") {
            "127.0.0.5" => (0, "permit"),
            "127.0.0.6" => (0, "reject"),
            "127.0.0.7" => (2, ""),
            _ => (1, ""),
        }
    };
    if manner == Manner::Since311 {
        return match (names.as_slice(), value("request")) {
            (["request", "table", "instance_flags"], "open") => {
                *flags = Some(28);
                b"status\x000\0flags\x0028\0\0".to_vec()
            }
            (["request", "table", "instance_flags", "flags", "key"], "lookup")
                if flags.is_some_and(|flags| flags.to_string() == value("flags")) =>
            {
                *flags = Some(24);
                let (status, value) = key();
                format!("status\0{status}\0flags\x0024\0value\0{value}\0\0").into_bytes()
            }
            _ => b"status\x003\0flags\x000\0value\0\0\0".to_vec(),
        };
    }
    match (names.as_slice(), value("request")) {
        (["request", "table", "flags", "key"], "lookup") => {
            let (status, value) = key();
            format!("status\0{status}\0value\0{value}\0\0").into_bytes()
        }
        _ => b"status\x003\0value\0\0\0".to_vec(),
    }
}
