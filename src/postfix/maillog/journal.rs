//! The log of one process: settings, socket, and the count of what could not be logged.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use syslog::Facility;
use thiserror::Error;

use super::batch::Batch;
use super::record::{Form, Header, Program, Stamp, Utf8Filter, format_record};
use super::sink::{Sent, Sink};
use crate::postfix::message::Level;
use crate::screen::test_set::UnixTime;
use crate::sys::local_time;

/// How many records may wait for the log service, be it busy or away. When there are more and
/// it is there, their writer waits for it, so that none is lost for want of patience.
const MOST_WAITING: usize = 1_000;

/// How long a turn of the loop, or whatever else there is between two calls of
/// [`Journal::end_turn`], may wait for the log service in all: a log that stands still, or crawls,
/// must not stop the mail, nor look to the watchdog as if the loop did.
const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// How soon records that wait are tried again, and how late: the time is doubled as long as
/// nothing goes out.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(128);

/// Which log service takes the records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The system's log daemon, at `/dev/log` (main.cf: maillog_file is empty).
    Syslog,
    /// postlogd(8), at the absolute path `$queue_directory/public/$postlog_service_name`.
    Postlog(PathBuf),
}

impl Destination {
    /// Where the service's socket may be found. In the jail the absolute path of postlogd's
    /// does not exist, but the working directory is the queue directory, inside as outside.
    pub fn paths(&self) -> Vec<PathBuf> {
        match self {
            Destination::Syslog => vec![PathBuf::from("/dev/log")],
            Destination::Postlog(path) => {
                let mut paths = vec![path.clone()];
                let directory = path.parent().and_then(Path::file_name);
                if let (Some(directory), Some(name)) = (directory, path.file_name()) {
                    paths.push(Path::new(directory).join(name));
                }
                paths
            }
        }
    }
}

/// How to log.
#[derive(Clone, Debug)]
pub struct Config {
    /// main.cf: syslog_name; the part of the ident before `/postscreen`.
    pub syslog_name: String,
    /// main.cf: syslog_facility; see [`parse_facility`].
    pub facility: Facility,
    /// Where to.
    pub destination: Destination,
    /// main.cf: myhostname; only postlogd is told.
    pub hostname: String,
    /// How often `-v` was given: 1 shows debug records, 2 those of libraries and trace records.
    pub verbose: u8,
    /// Follows main.cf: smtputf8_enable.
    pub utf8: Utf8Filter,
}

impl Config {
    /// What the environment says, for the time before main.cf is read: `POSTLOG_SERVICE`,
    /// `POSTLOG_HOSTNAME`, `MAIL_LOGTAG` and `MAIL_VERBOSE`.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<OsString>) -> Config {
        let text = |name| lookup(name).map(|value| value.to_string_lossy().into_owned());
        let own_name = || nix::unistd::gethostname().ok().map(|n| n.to_string_lossy().into_owned());
        Config {
            syslog_name: text("MAIL_LOGTAG").unwrap_or_else(|| "postfix".into()),
            facility: Facility::LOG_MAIL,
            destination: match lookup("POSTLOG_SERVICE") {
                Some(path) => Destination::Postlog(path.into()),
                None => Destination::Syslog,
            },
            hostname: text("POSTLOG_HOSTNAME").or_else(own_name).unwrap_or_default(),
            verbose: u8::from(lookup("MAIL_VERBOSE").is_some()),
            utf8: Utf8Filter::AsciiOnly,
        }
    }
}

/// A name that is none of a syslog facility. The text fits behind
/// `file CONF/main.cf: parameter syslog_facility: `.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("unrecognized value: {0}")]
pub struct UnknownFacility(
    /// The name.
    pub String,
);

/// The facility for a value of main.cf's syslog_facility.
///
/// # Errors
/// Any other name than those of syslog.conf(5), in lower case.
pub fn parse_facility(name: &str) -> Result<Facility, UnknownFacility> {
    // The syslog crate knows more names and spellings than Postfix takes.
    const NAMES: [&str; 20] = [
        "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog",
        "user", "uucp", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
        "local7",
    ];
    let known = NAMES.contains(&name).then(|| name.parse().ok()).flatten();
    known.ok_or_else(|| UnknownFacility(name.to_owned()))
}

/// When a record is written.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For the stamp.
    pub wall: UnixTime,
    /// For pauses between attempts to reach the log service.
    pub mono: Instant,
}

/// What to do about a log service that has no room now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    /// To wait, as long as a turn may.
    Waits,
    /// Not to wait.
    None,
}

/// Not everything is out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backlog {
    /// When to try again.
    pub pause: Duration,
    /// Another attempt to reach the log service has failed: somebody who sees more of the file
    /// system may try.
    pub away: bool,
}

/// The log of one process.
#[derive(Debug)]
pub struct Journal {
    /// None before the first configuration: then standard error is all there is.
    config: Option<Config>,
    sink: Sink,
    stamp: Stamp,
    pid: u32,
    stderr: bool,
    /// Records that were lost, right before those that wait, and that the log has not been told of.
    lost: u64,
    /// Records that are to be sent.
    waiting: Batch,
    /// How long this turn may still wait.
    allowance: Duration,
    /// The last wait was in vain: there is no other until something goes out.
    vain: bool,
    /// How soon to try again.
    pause: Duration,
    /// For standard error.
    buffer: Vec<u8>,
}

impl Journal {
    /// Not configured.
    pub const fn new() -> Journal {
        Journal {
            config: None,
            sink: Sink::closed(),
            stamp: Stamp::new(),
            pid: 0,
            stderr: false,
            lost: 0,
            waiting: Batch::new(),
            allowance: WAIT_LIMIT,
            vain: false,
            pause: FIRST_PAUSE,
            buffer: Vec::new(),
        }
    }

    /// Logs as `config` says from now on; the socket is opened, the time zone loaded and the
    /// process id noted, none of which has to work again after the jail.
    pub fn configure(&mut self, config: Config, moment: Moment) {
        let same = |old: &Config| old.destination == config.destination;
        if !self.config.as_ref().is_none_or(same) {
            // They are in the form that another service wants.
            self.flush(moment, Patience::Waits);
            while !self.waiting.is_empty() {
                self.lose_one();
            }
        }
        self.sink = Sink::open(config.destination.paths(), moment.mono);
        self.stamp.set(moment.wall, local_time);
        self.config = Some(config);
        self.pid = std::process::id();
        self.vain = false;
    }

    /// Takes the id of the current process, after a fork. What waits is left to the process that
    /// has written it.
    pub fn renew_pid(&mut self) {
        self.pid = std::process::id();
        self.sink.forget_record();
        self.waiting = Batch::new();
        self.lost = 0;
    }

    /// Whether records go to standard error too.
    pub fn set_stderr(&mut self, on: bool) {
        self.stderr = on;
    }

    /// Logs one record, after those that wait. If the log service is away or has no room for it,
    /// it waits with them.
    pub fn write(&mut self, moment: Moment, program: Program, level: Level, text: &[u8]) {
        self.write_later(moment, program, level, text);
        self.flush(moment, Patience::Waits);
    }

    /// Logs one record at the next [`Journal::end_turn`], unless too many wait already. What
    /// cannot wait, the oldest first, is counted, and told when logging works again.
    pub fn write_later(&mut self, moment: Moment, program: Program, level: Level, text: &[u8]) {
        if self.stderr || self.config.is_none() {
            self.write_stderr(program, level, text);
        }
        let Some(config) = &self.config else { return };
        self.stamp.set(moment.wall, local_time);
        let header = header(config, &self.stamp, program, self.pid);
        self.waiting.add(|out| format_record(out, &header, level, text));
        while self.waiting.len() > MOST_WAITING {
            if !self.send_some(moment) && !self.wait() {
                self.lose_one();
            }
        }
    }

    /// Sends the records that wait, as far as the log service has room for them, and renews what
    /// may be waited for it. Tells what to do if some are left.
    pub fn end_turn(&mut self, moment: Moment) -> Option<Backlog> {
        self.allowance = WAIT_LIMIT;
        if self.flush(moment, Patience::None) {
            return None;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(Backlog { pause, away: self.sink.take_cry() })
    }

    /// Sends the records that wait, and waits for the log service, as long as a turn may.
    pub fn finish(&mut self, moment: Moment) {
        self.allowance = WAIT_LIMIT;
        self.flush(moment, Patience::Waits);
    }

    /// See [`Sink::another`].
    pub fn another_connection(&self) -> Option<OwnedFd> {
        self.sink.another()
    }

    /// See [`Sink::adopt`].
    pub fn adopt_connection(&mut self, socket: OwnedFd) {
        self.sink.adopt(socket);
    }

    /// Whether all is out.
    fn flush(&mut self, moment: Moment, patience: Patience) -> bool {
        while !self.waiting.is_empty() || self.lost > 0 {
            if !self.send_some(moment) && (patience == Patience::None || !self.wait()) {
                return false;
            }
        }
        true
    }

    /// Sends what goes at once. Whether anything has, or has been given up for good.
    fn send_some(&mut self, moment: Moment) -> bool {
        if self.lost > 0 && !self.sink.is_midway() {
            // While nobody is there, there is nobody to tell.
            if !self.sink.ready(moment.mono) {
                return false;
            }
            match self.tell_of_losses(moment) {
                Sent::Out(_) => self.lost = 0,
                Sent::NotNow => {
                    self.sink.forget_record();
                    return false;
                }
                Sent::Never if self.waiting.is_empty() => return false,
                Sent::Never => {}
            }
        }
        match self.sink.send(&self.waiting, moment.mono) {
            Sent::Out(count) => self.waiting.advance(count),
            Sent::NotNow => return false,
            Sent::Never => self.lose_one(),
        }
        self.vain = false;
        self.pause = FIRST_PAUSE;
        true
    }

    /// Waits for the log service, if that may be of use. Whether it was.
    fn wait(&mut self) -> bool {
        if self.vain || self.allowance.is_zero() {
            return false;
        }
        let begin = Instant::now();
        let helped = self.sink.wait_for_room(self.allowance);
        self.allowance = self.allowance.saturating_sub(begin.elapsed());
        self.vain = !helped;
        helped
    }

    fn lose_one(&mut self) {
        self.sink.forget_record();
        self.lost += 1;
        self.waiting.advance(1);
    }

    fn tell_of_losses(&mut self, moment: Moment) -> Sent {
        let Some(config) = &self.config else { return Sent::Never };
        let text = format!("{} log records lost while the log service was away", self.lost);
        let header = header(config, &self.stamp, Program::Postscreen, self.pid);
        let mut report = Batch::new();
        report.add(|out| format_record(out, &header, Level::Warning, text.as_bytes()));
        self.sink.send(&report, moment.mono)
    }

    fn write_stderr(&mut self, program: Program, level: Level, text: &[u8]) {
        let header = Header {
            form: Form::Terminal,
            stamp: &self.stamp,
            syslog_name: "",
            program,
            pid: self.pid,
            filter: self.config.as_ref().map_or(Utf8Filter::ValidUtf8, |config| config.utf8),
        };
        self.buffer.clear();
        format_record(&mut self.buffer, &header, level, text);
        // Nowhere is left to complain to.
        std::io::stderr().write_all(&self.buffer).ok();
    }
}

fn header<'a>(config: &'a Config, stamp: &'a Stamp, program: Program, pid: u32) -> Header<'a> {
    Header {
        form: match config.destination {
            Destination::Syslog => Form::Syslog(config.facility),
            Destination::Postlog(_) => Form::Postlog { host: &config.hostname },
        },
        stamp,
        syslog_name: &config.syslog_name,
        program,
        pid,
        filter: config.utf8,
    }
}

impl Default for Journal {
    fn default() -> Journal {
        Journal::new()
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
