//! tcp_table(5): `get key` one way, `CODE text` the other, a line each, `%XX` for odd bytes.

use super::{Progress, Then, failed, found, quoted};
use crate::postfix::table::RemoteAnswer;

/// How long an answer may be, bytes; Postfix's limit.
const REPLY_LIMIT: usize = 4096;

/// How much of an answer a warning quotes.
const QUOTE_LIMIT: usize = 100;

pub(super) fn request(key: &[u8]) -> Vec<u8> {
    let mut request = b"get ".to_vec();
    for byte in key {
        match byte {
            b'%' | 0..=b' ' | 0x7f..=0xff => request.extend(format!("%{byte:02X}").into_bytes()),
            _ => request.push(*byte),
        }
    }
    request.push(b'\n');
    request
}

/// `name` is the server, as warnings name it.
pub(super) fn received(unread: &mut Vec<u8>, name: &str) -> Progress {
    let over = |why: &str| failed(format!("read TCP map reply from {name}: {why}"), Then::Close);
    let Some(end) = unread.iter().position(|byte| *byte == b'\n') else {
        return if unread.len() < REPLY_LIMIT {
            Progress::Waits
        } else {
            over(&format!("text longer than {REPLY_LIMIT}"))
        };
    };
    let line: Vec<u8> = unread.drain(..=end).take(end).collect();
    let shown = || quoted(&line, QUOTE_LIMIT, '_');
    match parse(&line) {
        None => over(&format!("malformed reply: {}", shown())),
        Some((b'2', text)) => Progress::Answered(found(&text)),
        Some((b'5', _)) => Progress::Answered(RemoteAnswer::NotFound),
        // The server has said that it cannot tell; it is asked afresh next time.
        Some((b'4', _)) => Progress::Failed { warning: None, then: Then::Close },
        Some(_) => over(&format!("bad status code: {}", shown())),
    }
}

/// The first digit of the code, and the text.
fn parse(line: &[u8]) -> Option<(u8, Vec<u8>)> {
    let [class, second, third, blank, text @ ..] = line else { return None };
    let digits = [class, second, third].iter().all(|byte| byte.is_ascii_digit());
    let spaced = blank.is_ascii_whitespace() || *blank == 0x0b;
    if digits && spaced { Some((*class, unquoted(text)?)) } else { None }
}

fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            plain.push(*byte);
            continue;
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        plain.push(digit(bytes.next()?)? << 4 | digit(bytes.next()?)?);
    }
    Some(plain)
}
