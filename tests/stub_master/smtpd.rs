//! What stands in for smtpd(8) at the other end of the `pass` channel.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};

use crate::PATIENCE;
use crate::site::{Site, give_to_owner};

/// What a client that was passed gets to see.
pub const GREETING: &str = "220 smtpd.example.test ready";

/// A client that was passed.
pub struct Passed {
    /// Its connection.
    pub stream: TcpStream,
    /// What came with the descriptor in one message.
    pub message: Vec<u8>,
}

impl Passed {
    /// The attribute list: names and values in turn.
    pub fn attributes(&self) -> Vec<String> {
        let list = self.message[1..].strip_suffix(b"\0\0").expect("an attribute list");
        let words = list.split(|byte| *byte == 0);
        words.map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
    }
}

/// What becomes of a connection over which a client is passed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The client is taken, and greeted.
    Serve,
    /// The connection is kept, and nothing is read.
    Hang,
    /// The connection is closed, and nothing was read.
    Close,
}

/// A service that accepts.
pub struct Smtpd {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    passed: Receiver<Passed>,
    /// Connections that hang.
    held: Arc<Mutex<Vec<UnixStream>>>,
}

/// A service whose listen queue is full.
pub struct Full {
    listener: UnixListener,
    path: PathBuf,
    /// Sits in the queue.
    filler: UnixStream,
}

fn socket_path(site: &Site) -> PathBuf {
    site.path("queue/private/smtpd")
}

fn open_to_all(path: &Path) {
    give_to_owner(path);
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
}

impl Smtpd {
    /// Serves everybody.
    pub fn start(site: &Site) -> Smtpd {
        Smtpd::with_manner(site, Manner::Serve)
    }

    /// Treats everybody alike.
    pub fn with_manner(site: &Site, manner: Manner) -> Smtpd {
        let path = socket_path(site);
        let listener = UnixListener::bind(&path).unwrap();
        open_to_all(&path);
        Smtpd::run(listener, path, manner)
    }

    fn run(listener: UnixListener, path: PathBuf, manner: Manner) -> Smtpd {
        let stop = Arc::new(AtomicBool::new(false));
        let held = Arc::new(Mutex::new(Vec::new()));
        let (sender, passed) = channel();
        listener.set_nonblocking(true).unwrap();
        let thread = {
            let (stop, held) = (Arc::clone(&stop), Arc::clone(&held));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(connection) = accept(&listener) else { continue };
                    match manner {
                        Manner::Serve => serve(connection, &sender),
                        Manner::Hang => held.lock().unwrap().push(connection),
                        Manner::Close => drop(connection),
                    }
                }
            })
        };
        Smtpd { path, stop, thread: Some(thread), passed, held }
    }

    /// The next client, in the order of arrival.
    #[track_caller]
    pub fn next(&self) -> Passed {
        self.passed.recv_timeout(PATIENCE).expect("a passed client")
    }

    /// How many connections hang.
    pub fn hanging(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    /// Lets the connections that hang go.
    pub fn release(&self) {
        self.held.lock().unwrap().clear();
    }
}

/// Waits for a connection, but not for long.
fn accept(listener: &UnixListener) -> Option<UnixStream> {
    let mut descriptors = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut descriptors, PollTimeout::from(20_u8)).unwrap();
    let (connection, _) = listener.accept().ok()?;
    Some(connection)
}

fn serve(mut connection: UnixStream, sender: &Sender<Passed>) {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut message = [0; 1024];
    let Ok((length, descriptor)) =
        gatepost::sys::receive_with_descriptor(connection.as_fd(), &mut message)
    else {
        return;
    };
    // Whoever only filled the listen queue brings nobody.
    let Some(descriptor) = descriptor else { return };
    // Nothing may follow; and the sender waits for us to close.
    connection.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(connection.read(&mut [0; 16]).is_err(), "more than one message");
    drop(connection);
    let mut stream = TcpStream::from(descriptor);
    // The flag is shared with the sender; smtpd clears it too.
    stream.set_nonblocking(false).unwrap();
    // The client may have gone.
    let _ = stream.write_all(format!("{GREETING}\r\n").as_bytes());
    // Nobody has to ask for it.
    let _ = sender.send(Passed { stream, message: message[..length].to_vec() });
}

impl Drop for Smtpd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking(), "the stub of smtpd panicked");
        }
        let _ = fs::remove_file(&self.path);
    }
}

impl Full {
    /// A service with room for one connection in its queue, taken.
    pub fn start(site: &Site) -> Full {
        let path = socket_path(site);
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        open_to_all(&path);
        let filler = UnixStream::connect(&path).unwrap();
        Full { listener: listener.into(), path, filler }
    }

    /// Begins to accept.
    pub fn drain(self) -> Smtpd {
        drop(self.filler);
        Smtpd::run(self.listener, self.path, Manner::Serve)
    }
}
