//! The log records, as postscreen(8) makes them.

use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost::screen::test_set::UnixTime;
use gatepost::sys::local_time;

use crate::Outcome;

/// The way to the log service.
pub struct Journal {
    socket: UnixDatagram,
    /// The second that the header is for.
    second: u64,
    /// What all records of a second begin with.
    header: String,
    record: String,
}

impl Journal {
    /// Connects to the service's socket.
    pub fn open(path: &Path) -> Outcome<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Journal { socket, second: 0, header: String::new(), record: String::new() })
    }

    /// From now on, records are of this time.
    pub fn set_time(&mut self, now: SystemTime) {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        if second == self.second {
            return;
        }
        self.second = second;
        let time = local_time(UnixTime(second));
        self.header.clear();
        // A String takes everything, here and below.
        let _ = write!(
            self.header,
            "<22>{} {:2} {:02}:{:02}:{:02} postfix/postscreen[{}]: ",
            time.month_name(),
            time.day,
            time.hour,
            time.minute,
            time.second,
            std::process::id()
        );
    }

    /// A client has come.
    pub fn connect(&mut self, client: SocketAddr, server: SocketAddr) {
        self.begin();
        let _ = write!(
            self.record,
            "CONNECT from [{}]:{} to [{}]:{}",
            client.ip(),
            client.port(),
            server.ip(),
            server.port()
        );
        self.send();
    }

    /// A client has talked too early.
    pub fn pregreet(&mut self, said: &[u8], client: SocketAddr) {
        self.begin();
        let _ = write!(
            self.record,
            "PREGREET {} after 0.01 from [{}]:{}: {}",
            said.len(),
            client.ip(),
            client.port(),
            said.escape_ascii()
        );
        self.send();
    }

    /// A client is told to come again.
    pub fn reject(&mut self, client: SocketAddr) {
        self.begin();
        let _ = write!(
            self.record,
            "NOQUEUE: reject: RCPT from [{}]:{}: 450 4.3.2 Service currently unavailable; \
             from=<sender@client.example>, to=<user@example.test>, proto=ESMTP, \
             helo=<client.example>",
            client.ip(),
            client.port()
        );
        self.send();
    }

    /// A client is let in, or has gone.
    pub fn pass(&mut self, what: &str, client: SocketAddr) {
        self.begin();
        let _ = write!(self.record, "{what} [{}]:{}", client.ip(), client.port());
        self.send();
    }

    /// This process ends.
    pub fn fatal(&mut self, error: &dyn std::error::Error) {
        self.begin();
        let _ = write!(self.record, "fatal: {error}");
        self.send();
    }

    fn begin(&mut self) {
        self.record.clear();
        self.record.push_str(&self.header);
    }

    /// Waits for room. A log service that has gone is missed by nobody.
    fn send(&self) {
        let _ = self.socket.send(self.record.as_bytes());
    }
}
