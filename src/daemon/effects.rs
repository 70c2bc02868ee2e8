//! What the core wants done, done.

use std::fmt::Write as _;
use std::time::Duration;

use super::inquiries::Asker;
use super::worker::{Outcome, Timer, Worker};

use crate::event::conn::Farewell;
use crate::postfix::maillog::{self, Program};
use crate::screen::dnsbl::guard::saved::Saved;
use crate::screen::event::{Input, Now, Output};
use crate::screen::logline::LogLine;
use crate::screen::session::SessionId;

/// How long a client may take to read our last word.
const LINGER: Duration = Duration::from_secs(2);

/// How many sockets may wait for that. Beyond it, and where descriptors become scarce, clients
/// are closed on at once, as postscreen(8) closes on all.
const MOST_LINGERING: usize = 1000;

/// What the names of notes about DNS blocklists begin with.
const LIST_NOTE: &str = "dnsbl:";

/// What is told of DNS blocklists in the notes of an opened cache.
pub(super) fn saved_lists(notes: &[(String, String)]) -> Vec<Saved> {
    let lists = notes.iter().filter(|(name, _)| name.starts_with(LIST_NOTE));
    lists.filter_map(|(_, text)| Saved::decode(text)).collect()
}

impl Worker {
    /// Hands one input to the core, and does what it says, before the next input: so the
    /// order of log lines and replies is the order of causes.
    pub(super) fn feed(&mut self, input: Input<'_>, now: Now) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.screener.handle(input, now, &mut self.sources, &mut outputs);
        self.apply_all(outputs, now);
    }

    /// Does what the core says; the buffer is kept for the next time.
    pub(super) fn apply_all(&mut self, mut outputs: Vec<Output>, now: Now) {
        for output in outputs.drain(..) {
            self.apply(output, now);
        }
        self.outputs = outputs;
    }

    fn apply(&mut self, output: Output, now: Now) {
        match output {
            Output::Log(line) => self.log(&line),
            Output::Send(id, reply) => {
                self.bytes.clear();
                reply.write(self.screener.policy(), &mut self.bytes);
                self.send(id);
            }
            Output::SendText { session, text, .. } => {
                self.bytes.clear();
                self.bytes.extend_from_slice(text.as_bytes());
                self.bytes.extend_from_slice(b"\r\n");
                self.send(session);
            }
            Output::Watch(id, watch) => {
                let Some(conn) = self.conns.get_mut(id) else { return };
                match conn.set_watch(&self.reactor, id, watch) {
                    Ok(true) => self.readable.push_back(id),
                    Ok(false) => {}
                    Err(_) => self.results.push_back(Outcome::Closed(id)),
                }
            }
            Output::Consume(id, count) => {
                let Some(conn) = self.conns.get_mut(id) else { return };
                if conn.consume(count).is_err() {
                    self.results.push_back(Outcome::Closed(id));
                }
            }
            Output::SetDeadline(id, at) => {
                // The timers know slots only, and this one may be somebody else's by now.
                if self.conns.get(id).is_some() {
                    self.timers.set(Timer::Session(id), at);
                }
            }
            Output::AskList(question) => {
                if let Some(lists) = &mut self.lists {
                    lists.ask(question, now);
                }
            }
            Output::ForgetList(question) => {
                if let Some(lists) = &mut self.lists {
                    lists.forget(question, now);
                }
            }
            Output::SetGuardDeadline(at) => self.timers.set(Timer::Guard, at),
            Output::StoreList(saved) => {
                let name = format!("{LIST_NOTE}{}", saved.key());
                self.sources.cache.note(&name, &saved.encode());
            }
            Output::Store(address, record) => self.sources.cache.store(address, record),
            Output::HandOff { session, client, server } => {
                self.hand_offs.want(session, client, server);
            }
            Output::StartTls { session, client } => self.start_tls(session, client),
            Output::AbandonTls(id) => self.give_up_on_tlsproxy(id),
            Output::TlsBegins(id) => self.tls_begins(id),
            Output::Close(id) => self.close(id, now),
        }
    }

    fn log(&mut self, line: &LogLine) {
        self.text.clear();
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{line}");
        let program = if line.is_dnsblog() { Program::Dnsblog } else { Program::Postscreen };
        maillog::write_later(program, line.level(), &self.text);
    }

    /// Sends `bytes`.
    fn send(&mut self, id: SessionId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.send(&self.reactor, id, &self.bytes).is_err() {
            self.results.push_back(Outcome::Closed(id));
        }
    }

    fn close(&mut self, id: SessionId, now: Now) {
        self.sources.inquiries.forget(Asker::Session(id));
        self.abandon_tls(id);
        let may_linger = self.lingering < MOST_LINGERING && self.room.for_lingering(self.taken());
        let Some(conn) = self.conns.get_mut(id) else { return };
        self.timers.cancel(Timer::Session(id));
        if may_linger {
            let farewell = conn.say_farewell(&self.reactor, id);
            if conn.is_lingering() {
                self.lingering += 1;
            }
            if matches!(farewell, Ok(Farewell::Lingers)) {
                return self.timers.set(Timer::Linger(id), now.mono + LINGER);
            }
        }
        self.drop_conn(id);
    }
}
