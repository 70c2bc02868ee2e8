//! What supervisor and worker tell each other, if the other one is not who it should be: any
//! message, with or without a descriptor. A message counts if it has the one size and a known
//! kind, and a descriptor where one belongs; all others are as if they had not been sent.
//!
//! Input: messages, each behind its length (one byte); from 128 on a descriptor comes with it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use gatepost::control::{Channel, FromWorker, Received, ToWorker};
use gatepost::sys::message;

use super::take::Take;

/// What the kernel takes without somebody who reads.
const MOST: usize = 50;

/// A whole message.
const SIZE: usize = 5;

pub fn check(data: &[u8]) {
    let mut messages = Vec::new();
    let mut take = Take(data);
    while let Some(first) = take.bytes(1).first().filter(|_| messages.len() < MOST) {
        // An empty one would be the end of the conversation.
        let length = usize::from(first & 0x7f).clamp(1, 12);
        messages.push((take.bytes(length), *first >= 128));
    }
    messages.retain(|(bytes, _)| !bytes.is_empty());
    from_worker(&messages);
    from_supervisor(&messages);
}

fn send(channel: &Channel, (bytes, with_descriptor): (&[u8], bool)) {
    static FILE: OnceLock<File> = OnceLock::new();
    let file = FILE.get_or_init(|| File::open("/dev/null").unwrap());
    let descriptor = with_descriptor.then(|| file.as_fd());
    message::send(channel.as_fd(), bytes, descriptor).unwrap();
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes(bytes[1..].try_into().unwrap())
}

fn from_worker(messages: &[(&[u8], bool)]) {
    let (supervisor, worker) = Channel::pair().unwrap();
    supervisor.set_nonblocking().unwrap();
    messages.iter().for_each(|message| send(&worker, *message));
    let expected = messages.iter().filter_map(|(bytes, descriptor)| {
        if bytes.len() != SIZE || *descriptor {
            return None;
        }
        Some(match bytes[0] {
            b'R' => FromWorker::Ready,
            b'I' => FromWorker::Idle,
            b'B' => FromWorker::Busy,
            b'C' => FromWorker::ImportWanted,
            b'D' => FromWorker::CacheDamaged,
            b'U' => FromWorker::CacheInUse,
            b'L' => FromWorker::LogAway,
            b'M' => FromWorker::Misunderstood,
            b'O' => FromWorker::Outdated(number(bytes)),
            _ => return None,
        })
    });
    for expected in expected {
        let heard = supervisor.hear().unwrap();
        assert!(matches!(heard, Received::Message(it) if it == expected), "{heard:?} {expected:?}");
    }
    assert!(matches!(supervisor.hear().unwrap(), Received::Nothing));
    drop(worker);
    assert!(matches!(supervisor.hear().unwrap(), Received::Closed));
}

/// The next one gets the same number.
fn none_is_kept(descriptor: &OwnedFd, lowest: &mut Option<RawFd>) {
    let kept = *lowest.get_or_insert(descriptor.as_raw_fd());
    let alone = std::env::var_os("GATEPOST_FUZZ_TARGET").is_some();
    assert!(!alone || kept == descriptor.as_raw_fd(), "a descriptor was kept");
}

fn from_supervisor(messages: &[(&[u8], bool)]) {
    let (supervisor, worker) = Channel::pair().unwrap();
    worker.set_nonblocking().unwrap();
    messages.iter().for_each(|message| send(&supervisor, *message));
    let mut lowest = None;
    for (bytes, descriptor) in messages.iter().filter(|(bytes, _)| bytes.len() == SIZE) {
        if !matches!((bytes[0], descriptor), (b'G' | b'L', false) | (b'F' | b'J', true)) {
            continue;
        }
        match (worker.order().unwrap(), bytes[0]) {
            (Received::Message(ToWorker::Go), b'G') => {}
            (Received::Message(ToWorker::CacheLost), b'L') => {}
            (Received::Message(ToWorker::Changed(number_of, file)), b'F') => {
                assert_eq!(number_of, number(bytes));
                none_is_kept(&file, &mut lowest);
            }
            (Received::Message(ToWorker::Log(connection)), b'J') => {
                none_is_kept(&connection, &mut lowest);
            }
            (other, kind) => panic!("{other:?} for {kind}"),
        }
    }
    assert!(matches!(worker.order().unwrap(), Received::Nothing));
    drop(supervisor);
    assert!(matches!(worker.order().unwrap(), Received::Closed));
}
