//! Reject footers: what the administrator adds to the replies that turn a client down.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::address::address_text;
use super::event::{Lookup, Lookups, Now};
use super::expand::{Mode, expand};
use super::logline::Message;
use super::policy::Policy;
use super::reply::Reply;
use super::session::SessionId;

/// What footers there are.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Footers {
    /// main.cf: `postscreen_reject_footer`, not expanded; `None` when empty.
    pub general: Option<Box<str>>,
    /// main.cf: `postscreen_reject_footer_maps` names tables, which go before that: see
    /// [`Lookups::footer`].
    pub by_reply: bool,
    /// main.cf: `postscreen_expansion_filter`.
    pub filter: Filter,
}

/// The bytes that what a macro stands for may have; others become `_`. The rest of a footer
/// is the administrator's own.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Filter {
    allowed: Vec<u8>,
}

/// What the macros in a footer stand for.
struct Facts<'a> {
    client: SocketAddr,
    server_name: &'a str,
    local_time: &'a str,
}

/// Whom a reply is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipient {
    pub session: SessionId,
    pub client: SocketAddr,
}

/// The text of a reply with its footer, without its last CR LF; `None` for a reply that gets
/// no footer. What the administrator should know is added to `messages`.
pub(super) fn reply_with_footer(
    policy: &Policy,
    now: Now,
    lookups: &mut dyn Lookups,
    whom: Recipient,
    reply: Reply,
    messages: &mut Vec<Message>,
) -> Lookup<Option<Box<str>>> {
    let footers = &policy.footers;
    if footers.general.is_none() && !footers.by_reply {
        return Lookup::Known(None);
    }
    let plain = reply.plain(policy);
    if !plain.starts_with(['4', '5']) {
        return Lookup::Known(None);
    }
    let own = if footers.by_reply {
        match lookups.footer(whom.session, &plain, messages) {
            Lookup::Known(own) => own,
            Lookup::Asked => return Lookup::Asked,
        }
    } else {
        None
    };
    let Some(template) = own.as_deref().or(footers.general.as_deref()) else {
        return Lookup::Known(None);
    };
    let facts = Facts {
        client: whom.client,
        server_name: &policy.myhostname,
        local_time: &lookups.local_time(now.wall),
    };
    let text = add(&reply.text(policy), template, &facts, &footers.filter, messages);
    Lookup::Known(text.map(Into::into))
}

/// Puts a footer below a reply. A footer with a mistake in it is no footer.
fn add(
    reply: &str,
    template: &str,
    facts: &Facts<'_>,
    filter: &Filter,
    messages: &mut Vec<Message>,
) -> Option<String> {
    let template = &*one_line(template);
    // The lines behind their code and the hyphen or space.
    let mut lines: Vec<String> =
        reply.split("\r\n").map(|line| line.get(4..).map(str::to_owned)).collect::<Option<_>>()?;
    let code = reply.get(..3)?;
    let status = enhanced_code(lines.last()?);
    let mut parts = Some(template);
    if let Some(joined) = template.strip_prefix("\\c") {
        let (first, rest) = match joined.split_once("\\n") {
            Some((first, rest)) => (first, Some(rest)),
            None => (joined, None),
        };
        lines.last_mut()?.push_str(&expanded(first, facts, filter, messages)?);
        parts = rest;
    }
    for part in parts.into_iter().flat_map(|parts| parts.split("\\n")) {
        lines.push(status.clone() + &expanded(part, facts, filter, messages)?);
    }
    let last = lines.pop()?;
    let text = lines.iter().map(|line| format!("{code}-{line}\r\n"));
    Some(text.chain([format!("{code} {last}")]).collect())
}

/// A text from a table as part of one line of a reply. Where a table is asked over a network, or
/// filled by a program, a line break in it would begin a reply that nobody has given.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(is_break) { text.replace(is_break, "?").into() } else { text.into() }
}

fn is_break(letter: char) -> bool {
    letter.is_ascii_control() && letter != '\t'
}

/// A part of a footer, with its macros filled in.
fn expanded(
    part: &str,
    facts: &Facts<'_>,
    filter: &Filter,
    messages: &mut Vec<Message>,
) -> Option<String> {
    let result = expand(part, Mode::Plain, |name| {
        let value = facts.value(name);
        if value.is_none() {
            let text = format!("unknown macro name \"{name}\" in expansion request");
            messages.push(Message::warning(text));
        }
        value.map(|value| Cow::Owned::<str>(filter.clean(&value)))
    });
    match result {
        Ok(text) => Some(text),
        Err(error) => {
            messages.push(Message::warning(error.to_string()));
            None
        }
    }
}

impl Facts<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "client_address" => address_text(self.client.ip()).into(),
            "client_port" => self.client.port().to_string().into(),
            "localtime" => self.local_time.into(),
            "server_name" => self.server_name.into(),
            _ => return None,
        })
    }
}

impl Filter {
    /// Reads the value of the parameter, with its C escapes. A NUL byte ends it.
    pub fn parse(value: &str) -> Filter {
        let mut allowed = Vec::new();
        let mut rest = value.as_bytes();
        while let Some((byte, after)) = unescaped(rest) {
            if byte == 0 {
                break;
            }
            allowed.push(byte);
            rest = after;
        }
        allowed.sort_unstable();
        allowed.dedup();
        Filter { allowed }
    }

    fn clean(&self, value: &str) -> String {
        let mut clean = String::with_capacity(value.len());
        for letter in value.chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            if bytes.iter().all(|byte| self.allowed.contains(byte)) {
                clean.push(letter);
            } else {
                clean.extend(bytes.iter().map(|_| '_'));
            }
        }
        clean
    }
}

/// The first byte of a text with C escapes, and what follows it. A backslash that escapes
/// nothing does not count.
fn unescaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (byte, rest) = match text.split_first()? {
        (b'\\', rest) => rest.split_first()?,
        (byte, rest) => return Some((*byte, rest)),
    };
    let byte = match byte {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'0'..=b'7' => {
            let digits =
                text.iter().skip(1).take(3).take_while(|byte| (b'0'..=b'7').contains(byte));
            // The low bits count.
            let value = digits.clone().fold(0_u8, |sum, digit| sum << 3 | (digit & 7));
            return Some((value, text.get(1 + digits.count()..)?));
        }
        other => *other,
    };
    Some((byte, rest))
}

/// The enhanced status code at the start of a reply's text (RFC 2034), with a space behind
/// it; empty without.
fn enhanced_code(text: &str) -> String {
    let code = text.split(' ').next().unwrap_or_default();
    let parts: Vec<&str> = code.split('.').collect();
    let number = |part: &&str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    match parts.as_slice() {
        ["2" | "4" | "5", subject, detail] if number(subject) && number(detail) => {
            format!("{code} ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
