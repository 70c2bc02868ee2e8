//! The life of a worker: orders from its supervisor, signals, and the way to the end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;

use super::names::Content;
use super::worker::{Idleness, Stage, Timer, Watched, Worker};
use crate::cache::CacheEvent;
use crate::control::{FromWorker, Received, ToWorker};
use crate::postfix::maillog;
use crate::postfix::screen_tables::Reloaded;
use crate::screen::event::{Input, Now};

/// How long clients have after SIGTERM to read their 421. systemd and `postfix stop` count to
/// five, and the cache may need some of that.
const LAST_CALL: Duration = Duration::from_millis(1500);

impl Worker {
    /// Orders of the supervisor, or its end.
    pub(super) fn orders(&mut self, now: Now) {
        while let Some(channel) = &self.supervisor {
            match channel.order() {
                Ok(Received::Message(ToWorker::Go)) => {}
                Ok(Received::Message(ToWorker::Changed(number, file))) => {
                    self.take_in(number, file, now);
                }
                Ok(Received::Message(ToWorker::CacheLost)) => self.sources.cache.give_up_file(),
                Ok(Received::Message(ToWorker::Log(connection))) => {
                    maillog::adopt_connection(connection);
                }
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => return self.drain(now),
                Err(error) => {
                    log::warn!("control channel: {error}");
                    return self.drain(now);
                }
            }
        }
    }

    /// Reload, stop or the supervisor's death, all alike: no new clients, but every client
    /// that is here is served to its end, with the cache.
    fn drain(&mut self, now: Now) {
        if let Some(channel) = self.supervisor.take() {
            let descriptor = channel.as_fd().as_raw_fd();
            // Closing the descriptor, which follows, does the same if this fails.
            let _ = self.reactor.deregister(&mut SourceFd(&descriptor));
        }
        if self.stage == Stage::Serving {
            self.stage = Stage::Draining;
        }
        self.stop_serving(now);
    }

    fn stop_serving(&mut self, now: Now) {
        self.stop_listening(now);
        self.timers.cancel(Timer::Idle);
        // A successor watches the lists.
        self.timers.cancel(Timer::Guard);
    }

    /// A watched file has changed.
    fn take_in(&mut self, number: u32, file: OwnedFd, now: Now) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(watched) = self.settings.watched.get(index) else { return };
        let content = match read_whole(&File::from(file)) {
            Ok(content) => content,
            Err(error) => {
                log::warn!("{watched}: read: {error}; keeping the former content");
                return;
            }
        };
        let mut messages = match watched {
            Watched::Table(path) => match self.sources.tables.reload(path, &content.text) {
                Reloaded::Done(messages) => messages,
                Reloaded::NeedsMore => return self.tell(FromWorker::Outdated(number)),
            },
            Watched::Index(index) => {
                self.sources.tables.reload_index(index, &content.text);
                Vec::new()
            }
            Watched::NameServers(number, _) => {
                if let Some(lists) = &mut self.lists {
                    lists.take_in(*number, content, now);
                }
                log::info!("{watched} has changed - taken in");
                return;
            }
        };
        messages.extend(self.sources.name_lists(&mut self.screener));
        for message in &messages {
            maillog::message(message);
        }
        log::info!("{watched} has changed - taken in");
    }

    /// The end of a turn, for the log. From inside a jail the log service may be out of reach: the
    /// supervisor, which is outside, connects for us then.
    pub(super) fn send_log(&mut self) {
        let backlog = maillog::end_turn();
        self.log_waits = backlog.map(|backlog| Instant::now() + backlog.pause);
        if backlog.is_some_and(|backlog| backlog.away) {
            self.tell(FromWorker::LogAway);
        }
    }

    /// Another daemon of Postfix's does not say what one of the known version would. The
    /// supervisor looks into that; for this client it is too late.
    pub(super) fn misunderstood(&self) {
        self.tell(FromWorker::Misunderstood);
    }

    pub(super) fn signalled(&mut self, now: Now) {
        while let Ok(Some(_)) = self.signals.read_signal() {
            self.stage = Stage::Terminating;
            self.stop_serving(now);
            self.feed(Input::Terminate, now);
            self.timers.set(Timer::LastCall, now.mono + LAST_CALL);
        }
    }

    pub(super) fn storage_events(&mut self) {
        for event in self.sources.cache.events() {
            match event {
                CacheEvent::Damaged(reason) => {
                    log::warn!("verdict cache: {reason}; going on from memory");
                    self.tell(FromWorker::CacheDamaged);
                }
            }
        }
    }

    /// Starts to count when the last client has gone.
    pub(super) fn watch_idleness(&mut self, now: Now) {
        if self.idleness == Idleness::Busy && self.conns.is_empty() && self.stage == Stage::Serving
        {
            self.idleness = Idleness::Quiet;
            self.timers.set(Timer::Idle, now.mono + self.settings.max_idle);
        }
    }

    /// A client has come.
    pub(super) fn no_longer_idle(&mut self) {
        match std::mem::replace(&mut self.idleness, Idleness::Busy) {
            Idleness::Busy => {}
            Idleness::Quiet => self.timers.cancel(Timer::Idle),
            Idleness::Reported => self.tell(FromWorker::Busy),
        }
    }

    pub(super) fn tell(&self, message: FromWorker) {
        // A supervisor that cannot be told has gone, which the next event says.
        if let Some(channel) = &self.supervisor
            && let Err(error) = channel.tell(message)
        {
            log::debug!("control channel: {error}");
        }
    }
}

/// Reads a file from its start, wherever another process that was given the same descriptor
/// has read to.
fn read_whole(file: &File) -> io::Result<Content> {
    let metadata = file.metadata()?;
    let mut text = vec![0; usize::try_from(metadata.len()).unwrap_or_default()];
    let mut length = 0;
    while let Some(rest) = text.get_mut(length..)
        && !rest.is_empty()
    {
        match file.read_at(rest, length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    text.truncate(length);
    Ok(Content { modified: metadata.modified()?, text })
}
