//! What this process has counted, for whoever connects to its socket.
//!
//! One line for each number, `name value`, and the end: the whole of it fits into the buffer of
//! a fresh socket, so that nobody who asks is ever waited for.

use std::fmt::Write as _;
use std::io::Write as _;

use mio::Interest;
use mio::net::UnixListener;

use super::worker::Worker;
use crate::event::reactor::Source;

/// How many are answered in one turn. Who asks more often than that may wait.
const BATCH: usize = 8;

impl Worker {
    /// Somebody wants to know.
    pub(super) fn status_wanted(&mut self) {
        for _ in 0..BATCH {
            match self.status.as_ref().map(UnixListener::accept) {
                // Who goes before the answer is there wanted nothing.
                Some(Ok((mut stream, _))) => drop(stream.write(self.status_text().as_bytes())),
                Some(Err(_)) | None => return,
            }
        }
        // So that the others are reported again. If it fails, the next one has them reported.
        if let Some(listener) = &mut self.status {
            let _ = self.reactor.reregister(listener, Source::Status, Interest::READABLE);
        }
    }

    /// The numbers are of this process, since its start; what is open is of this moment.
    fn status_text(&self) -> String {
        let census = self.screener.census();
        let lines = [
            ("accepted", census.accepted),
            ("handed_off", census.handed_off),
            ("turned_away", census.turned_away),
            ("hung_up", census.hung_up),
            ("open", count(self.screener.sessions())),
            ("awaiting_proxy_header", count(self.screener.approaching())),
            ("handing_off", count(self.screener.hand_offs())),
        ];
        lines.iter().fold(String::new(), |mut text, (name, value)| {
            // A String takes everything.
            let _ = writeln!(text, "{name} {value}");
            text
        })
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
