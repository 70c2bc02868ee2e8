//! What stands in for syslogd(8): counts records by what they are about.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::Outcome;

/// Longer than any record.
const RECORD: usize = 8192;

/// How long records that have been sent before a signal may take to be counted.
const SETTLE: Duration = Duration::from_millis(20);

/// How many records there were, by what they are about.
pub type Counts = BTreeMap<String, u64>;

/// Counts until SIGTERM; at that and at SIGUSR1 prints the counts.
///
/// Two threads: so that the one that reads has nothing else to do, and does that with one system
/// call for each record.
pub fn run(path: &Path, keep: Option<&Path>) -> Outcome<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGUSR1);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let socket = UnixDatagram::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    let mut kept = match keep {
        Some(file) => Some(OpenOptions::new().create(true).append(true).open(file)?),
        None => None,
    };
    let counts = Arc::new(Mutex::new(Counts::new()));
    let told = Arc::clone(&counts);
    spawn(move || tell(signals, &told));
    let mut record = [0; RECORD];
    loop {
        let length = socket.recv(&mut record)?;
        let record = record.get(..length).unwrap_or_default();
        count(&counts, record);
        if let Some(file) = &mut kept {
            keep_record(file, record)?;
        }
    }
}

fn keep_record(file: &mut File, record: &[u8]) -> std::io::Result<()> {
    let mut line = Vec::with_capacity(record.len() + 1);
    line.extend(record);
    line.push(b'\n');
    file.write_all(&line)
}

/// Counts a record.
pub fn count(counts: &Mutex<Counts>, record: &[u8]) {
    let subject = subject(record);
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    match counts.get_mut(&*subject) {
        Some(count) => *count += 1,
        None => {
            counts.insert(subject.into_owned(), 1);
        }
    }
}

/// What a record is about: the first word of its text, and of a pass the second one, too.
pub fn subject(record: &[u8]) -> std::borrow::Cow<'_, str> {
    let start = record.windows(3).position(|bytes| bytes == b"]: ").map_or(0, |at| at + 3);
    let text = record.get(start..).unwrap_or_default();
    let words = if text.starts_with(b"PASS ") { 2 } else { 1 };
    let end = text.iter().enumerate().filter(|(_, byte)| **byte == b' ').nth(words - 1);
    let subject = text.get(..end.map_or(text.len(), |(at, _)| at)).unwrap_or_default();
    String::from_utf8_lossy(subject.strip_prefix(b"NOQUEUE").map_or(subject, |_| b"NOQUEUE"))
}

fn tell(signals: SigSet, counts: &Mutex<Counts>) {
    loop {
        let signal = signals.wait();
        sleep(SETTLE);
        let counts = std::mem::take(&mut *counts.lock().unwrap_or_else(PoisonError::into_inner));
        println!("{}", json(&counts));
        if signal != Ok(Signal::SIGUSR1) {
            std::process::exit(0);
        }
    }
}

/// The counts as one line.
pub fn json(counts: &Counts) -> String {
    // Clients may have a say in what comes first.
    let plain = |byte: u8| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' };
    let name = |subject: &str| -> String {
        subject.bytes().map(plain).map(|c| if matches!(c, '"' | '\\') { '?' } else { c }).collect()
    };
    let members: Vec<String> =
        counts.iter().map(|(subject, count)| format!("\"{}\":{count}", name(subject))).collect();
    format!("{{{}}}", members.join(","))
}
