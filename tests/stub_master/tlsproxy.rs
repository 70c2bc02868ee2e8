//! What stands in for tlsproxy(8): it says what it is told to, piece by piece, and does
//! something to the bytes that everybody can tell from plain text.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// What stands in for encryption.
pub const TLS_MASK: u8 = 0x80;

/// What tlsproxy(8) says first.
pub const GREETING: &[u8] = b"protocol\0tlsproxy_protocol\0\0";
/// That it takes the client.
pub const READY: &[u8] = b"status\x001\0\0";
/// That it does not.
pub const REFUSED: &[u8] = b"status\x000\0\0";

/// What is done about one connection, one after the other; then it is closed.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Say(&'static [u8]),
    /// Waits.
    Pause(Duration),
    /// Reads the request.
    Hear,
    /// Takes the client's descriptor, and closes it.
    Drop,
    /// Takes the client, and does TLS for it until either side has enough.
    Serve,
    /// Does nothing until told to.
    Hang,
}

/// The way to do it.
pub const WELL: &[Act] = &[Act::Say(GREETING), Act::Hear, Act::Say(READY), Act::Serve];

/// A service that follows a script.
pub struct Tlsproxy {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    requests: Receiver<Vec<u8>>,
}

/// A service whose listen queue is full.
pub struct Full {
    listener: UnixListener,
    path: PathBuf,
    /// Sits in the queue.
    filler: UnixStream,
}

struct Shared {
    path: PathBuf,
    stop: AtomicBool,
    /// What is done about connections from now on.
    script: Mutex<&'static [Act]>,
    connections: AtomicUsize,
    /// Whether those that hang still do.
    hanging: AtomicBool,
}

fn socket_path(site: &Site) -> PathBuf {
    site.path("queue/private/tlsproxy")
}

fn open_to_all(path: &Path) {
    give_to_owner(path);
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
}

impl Tlsproxy {
    /// Serves everybody.
    pub fn start(site: &Site) -> Tlsproxy {
        Tlsproxy::with_script(site, WELL)
    }

    /// Treats everybody by this script.
    pub fn with_script(site: &Site, script: &'static [Act]) -> Tlsproxy {
        let path = socket_path(site);
        let listener = UnixListener::bind(&path).unwrap();
        open_to_all(&path);
        Tlsproxy::run(listener, path, script)
    }

    fn run(listener: UnixListener, path: PathBuf, script: &'static [Act]) -> Tlsproxy {
        listener.set_nonblocking(true).unwrap();
        let (sender, requests) = channel();
        let shared = Arc::new(Shared {
            path,
            stop: AtomicBool::new(false),
            script: Mutex::new(script),
            connections: AtomicUsize::new(0),
            hanging: AtomicBool::new(true),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.accept_all(&listener, &sender))
        };
        Tlsproxy { shared, thread: Some(thread), requests }
    }

    /// Changes what is done about connections from now on.
    pub fn follow(&self, script: &'static [Act]) {
        *self.shared.script.lock().unwrap() = script;
    }

    /// The next request.
    #[track_caller]
    pub fn next_request(&self) -> Vec<u8> {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Goes on with the connections that hang.
    pub fn release(&self) {
        self.shared.hanging.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn accept_all(self: &Arc<Shared>, listener: &UnixListener, sender: &Sender<Vec<u8>>) {
        let mut threads = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            let mut descriptors = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            poll(&mut descriptors, PollTimeout::from(20_u8)).unwrap();
            let Ok((connection, _)) = listener.accept() else { continue };
            self.connections.fetch_add(1, Ordering::SeqCst);
            let script = *self.script.lock().unwrap();
            let (shared, sender) = (Arc::clone(self), sender.clone());
            threads.push(std::thread::spawn(move || shared.treat(connection, script, &sender)));
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }

    fn treat(&self, mut connection: UnixStream, script: &[Act], sender: &Sender<Vec<u8>>) {
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        for act in script {
            match act {
                // Those who are told too much go away.
                Act::Say(bytes) => drop(connection.write_all(bytes)),
                Act::Pause(span) => std::thread::sleep(*span),
                Act::Hear => match hear(&mut connection) {
                    Some(request) => drop(sender.send(request)),
                    None => return,
                },
                Act::Drop => drop(take(&connection)),
                Act::Serve => {
                    let Some(client) = take(&connection) else { return };
                    return self.relay(&client, &connection);
                }
                Act::Hang => {
                    while self.hanging.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            }
        }
    }

    /// Copies both ways until either side has enough.
    fn relay(&self, client: &TcpStream, service: &UnixStream) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                self.copy(client, service);
                let _ = service.shutdown(Shutdown::Both);
            });
            self.copy(service, client);
            let _ = client.shutdown(Shutdown::Both);
        });
    }

    fn copy(&self, mut from: impl Read + AsFd, mut to: impl Write) {
        let mut buffer = [0; 1024];
        while !self.stop.load(Ordering::SeqCst) {
            let mut descriptors = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
            if poll(&mut descriptors, PollTimeout::from(20_u8)).unwrap() == 0 {
                continue;
            }
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    let bytes = &mut buffer[..count];
                    bytes.iter_mut().for_each(|byte| *byte ^= TLS_MASK);
                    if to.write_all(bytes).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// Reads the request, which has to come in one piece. Who only fills the queue has none.
fn hear(connection: &mut UnixStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 8192];
    let length = connection.read(&mut buffer).ok().filter(|length| *length > 0)?;
    buffer.truncate(length);
    Some(buffer)
}

/// Takes the client's descriptor.
fn take(connection: &UnixStream) -> Option<TcpStream> {
    let mut byte = [1; 16];
    let (length, descriptor) =
        gatepost::sys::receive_with_descriptor(connection.as_fd(), &mut byte).ok()?;
    let stream = TcpStream::from(descriptor?);
    assert_eq!((length, byte[0]), (1, 0));
    // The flag is shared with the sender.
    stream.set_nonblocking(false).unwrap();
    Some(stream)
}

impl Drop for Tlsproxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking(), "the stub of tlsproxy panicked");
        }
        let _ = fs::remove_file(&self.shared.path);
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
    pub fn drain(self) -> Tlsproxy {
        drop(self.filler);
        Tlsproxy::run(self.listener, self.path, WELL)
    }
}
