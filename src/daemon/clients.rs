//! What happens at clients' sockets, as inputs for the core.

use super::worker::{Outcome, Timer, Worker};
use crate::event::conn::{self, Farewell};
use crate::event::reactor::Ready;
use crate::postfix::pass::PassError;
use crate::screen::event::{HandOffResult, Input, Now, PEEK_LIMIT, Watch};
use crate::screen::session::SessionId;
use crate::sys;

/// How many bytes of input one session gets per turn.
const READ_SIZE: usize = 4096;

impl Worker {
    pub(super) fn client_ready(&mut self, id: SessionId, event: Ready, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.is_lingering() {
            let farewell = conn.go_on_lingering(&self.reactor, id);
            if !matches!(farewell, Ok(Farewell::Lingers)) {
                self.drop_conn(id);
            }
            return;
        }
        if event.writable && conn.flush(&self.reactor, id).is_err() {
            return self.feed(Input::Closed { session: id }, now);
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
            Watch::Peek => {
                let mut buffer = [0; PEEK_LIMIT];
                let input = conn.peek(&mut buffer);
                if let conn::Input::Bytes(count) = input {
                    let data = buffer.get(..count).unwrap_or_default();
                    return self.feed(Input::Peeked { session: id, data }, now);
                }
                input
            }
            Watch::Read => {
                let mut buffer = [0; READ_SIZE];
                let input = conn.read(&mut buffer);
                if let conn::Input::Bytes(count) = input {
                    // There may be more, or an end of file: the edge that told of this input
                    // told of them too, and does not come again.
                    self.readable.push_back(id);
                    let data = buffer.get(..count).unwrap_or_default();
                    return self.feed(Input::Received { session: id, data }, now);
                }
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
                    PassError::Busy => HandOffResult::Busy,
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
        self.timers.cancel(Timer::Session(id));
        self.timers.cancel(Timer::Linger(id));
        if let Some(conn) = self.conns.remove(id) {
            if conn.is_lingering() {
                self.lingering -= 1;
            }
            conn.release(&self.reactor);
        }
    }
}
