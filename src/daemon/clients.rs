//! What happens at clients' sockets, as inputs for the core.

use super::worker::{Outcome, Timer, Worker};
use crate::event::conn::{self, Conn, Farewell};
use crate::event::reactor::Ready;
use crate::postfix::pass::PassError;
use crate::screen::event::{HandOffResult, Input, Now, PEEK_LIMIT, Watch};
use crate::screen::session::SessionId;
use crate::sys;

/// How many bytes of input one session gets per turn, at least.
const READ_SIZE: usize = 4096;

/// The same, at most.
const MOST_READ: usize = 64 * 1024;

/// The size of the buffer for input. More than one line: so whether something has arrived
/// behind a line, which the pipelining test wants to know, is never a matter of where a
/// buffer ends. What fills it has a line that is too long, or at least two.
pub(super) fn read_size(line_length_limit: usize) -> usize {
    line_length_limit.saturating_add(1).clamp(READ_SIZE, MOST_READ)
}

impl Worker {
    pub(super) fn client_ready(&mut self, id: SessionId, event: Ready, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if event.ended {
            conn.saw_end();
        }
        if conn.is_lingering() {
            let farewell = conn.go_on_lingering(&self.reactor, id);
            if !matches!(farewell, Ok(Farewell::Lingers)) {
                self.drop_conn(id);
            }
            return;
        }
        let was_clogged = conn.is_clogged();
        if event.writable && conn.flush(&self.reactor, id).is_err() {
            return self.feed(Input::Closed { session: id }, now);
        }
        if was_clogged && !conn.is_clogged() {
            // Its input was left alone meanwhile, and the edge that told of it is gone.
            return self.readable.push_back(id);
        }
        if event.readable {
            self.input_from(id, now);
        }
    }

    /// Takes what there is to take from a client's socket, once.
    pub(super) fn input_from(&mut self, id: SessionId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let input = match conn.watch() {
            Watch::Nothing => return,
            // Who does not read is not listened to, so that no more than the replies to one
            // buffer of commands have to wait.
            Watch::Read if conn.is_clogged() => return,
            Watch::Peek => {
                let mut buffer = [0; PEEK_LIMIT];
                let input = conn.peek(&mut buffer);
                if let conn::Input::Bytes(count) = input {
                    let data = buffer.get(..count).unwrap_or_default();
                    self.feed(Input::Peeked { session: id, data }, now);
                    // Looked at again, the same bytes would be there, and not the end.
                    let still = |conn: &&Conn| conn.watch() == Watch::Peek && conn.has_ended();
                    if self.conns.get(id).filter(still).is_some() {
                        self.feed(Input::Closed { session: id }, now);
                    }
                    return;
                }
                input
            }
            Watch::Read => {
                let mut buffer = std::mem::take(&mut self.input);
                let input = conn.read(&mut buffer);
                if let conn::Input::Bytes(count) = input {
                    // There may be more, or an end of file: the edge that told of this input
                    // told of them too, and does not come again. But if there was less than
                    // room for it, that was all, and what comes later has an edge of its own.
                    if count == buffer.len() || conn.has_ended() {
                        self.readable.push_back(id);
                    }
                    let data = buffer.get(..count).unwrap_or_default();
                    self.feed(Input::Received { session: id, data }, now);
                }
                self.input = buffer;
                input
            }
        };
        if input == conn::Input::Closed {
            self.feed(Input::Closed { session: id }, now);
        }
    }

    pub(super) fn outcome(&mut self, outcome: Outcome, now: Now) {
        match outcome {
            Outcome::Closed(id) => self.feed(Input::Closed { session: id }, now),
            Outcome::Passed(id) => {
                self.feed(Input::HandOff { session: id, result: HandOffResult::Done }, now);
            }
            Outcome::NoTlsproxy(id, errno) => self.no_tlsproxy(id, errno, now),
            Outcome::NotPassed(id, error) => {
                let result = match error {
                    PassError::Busy | PassError::Crowded => HandOffResult::Busy,
                    PassError::Connect(errno) => HandOffResult::NoService(sys::errno_text(errno)),
                    PassError::Send(errno) => HandOffResult::NotSent(sys::errno_text(errno)),
                };
                self.feed(Input::HandOff { session: id, result }, now);
            }
        }
    }

    /// Closes a socket, and forgets all about it.
    pub(super) fn drop_conn(&mut self, id: SessionId) {
        self.abandon_tls(id);
        if let Some(conn) = self.conns.remove(id) {
            // And with it a Linger.
            self.timers.cancel(Timer::Session(id));
            if conn.is_lingering() {
                self.lingering -= 1;
            }
            if conn.is_passed() {
                self.hand_offs.closed();
            }
            conn.release(&self.reactor);
        }
    }
}
