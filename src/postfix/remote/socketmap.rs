//! socketmap_table(5): netstrings with `map key` one way, and `STATUS text` the other.

use super::{Progress, Then, failed, found, quoted, quoted_key};
use crate::postfix::table::RemoteAnswer;

/// How many digits a length may have.
const MOST_DIGITS: usize = 9;

/// How much of a reason a warning quotes.
const QUOTE_LIMIT: usize = 200;

pub(super) fn request(map: &str, key: &[u8]) -> Vec<u8> {
    let mut request = format!("{}:{map} ", map.len() + 1 + key.len()).into_bytes();
    request.extend_from_slice(key);
    request.push(b',');
    request
}

/// The warning about a key that is longer than main.cf allows.
pub(super) fn too_large(table: &str, key: &[u8]) -> String {
    format!("table {table} query too large: '{}', returning 'not found'", quoted_key(key))
}

/// A netstring at the start of what has come.
enum Netstring<'a> {
    Incomplete,
    /// And how long it is with its frame.
    Complete(&'a [u8], usize),
    Wrong(&'static str),
}

/// `limit` is the length that an answer may have, bytes.
pub(super) fn received(unread: &mut Vec<u8>, table: &str, limit: usize) -> Progress {
    let (progress, used) = match netstring(unread, limit) {
        Netstring::Incomplete => return Progress::Waits,
        Netstring::Wrong(why) => {
            return failed(format!("table {table} lookup error: {why}"), Then::Close);
        }
        Netstring::Complete(reply, used) => (answer(reply, table), used),
    };
    unread.drain(..used);
    progress
}

fn netstring(unread: &[u8], limit: usize) -> Netstring<'_> {
    let Some(colon) = unread.iter().position(|byte| *byte == b':') else {
        let digits = unread.iter().all(u8::is_ascii_digit) && unread.len() <= MOST_DIGITS;
        return if digits { Netstring::Incomplete } else { Netstring::Wrong("input format error") };
    };
    let (number, rest) = unread.split_at(colon);
    let length = str::from_utf8(number).ok().filter(|text| {
        (1..=MOST_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    });
    let Some(length) = length.and_then(|text| text.parse::<usize>().ok()) else {
        return Netstring::Wrong("input format error");
    };
    if length > limit {
        return Netstring::Wrong("input exceeds size limit");
    }
    match (rest.get(1..1 + length), rest.get(1 + length)) {
        (Some(reply), Some(b',')) => Netstring::Complete(reply, colon + length + 2),
        (Some(_), Some(_)) => Netstring::Wrong("input format error"),
        _ => Netstring::Incomplete,
    }
}

/// What a reply says.
fn answer(reply: &[u8], table: &str) -> Progress {
    let end = reply.iter().position(|byte| *byte == b' ').unwrap_or(reply.len());
    let status = reply.get(..end).unwrap_or_default();
    let text = reply.get(end + 1..).unwrap_or_default();
    let class = match status {
        b"OK" => return Progress::Answered(found(text)),
        b"NOTFOUND" => return Progress::Answered(RemoteAnswer::NotFound),
        b"TEMP" => "temporary",
        b"TIMEOUT" => "timeout",
        b"PERM" => "permanent",
        _ => "unknown",
    };
    let reason = quoted(text.trim_ascii_start(), QUOTE_LIMIT, '?');
    let colon = if reason.is_empty() { "" } else { ": " };
    let then = if class == "unknown" { Then::Close } else { Then::NextQuestion };
    failed(format!("{table} socketmap server {class} error{colon}{reason}"), then)
}
