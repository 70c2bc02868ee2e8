//! The laws for what is sent and what is logged.

use gatepost::screen::logline::LogLine;
use gatepost::screen::policy::Policy;
use gatepost::screen::reply::Reply;

/// RFC 5321 4.5.3.1.5: the longest line of a reply, bytes, CR LF included.
const REPLY_LINE: usize = 512;

/// A reply as it is sent: lines of the same code, a hyphen in all but the last, CR LF behind
/// each, and nothing but printable ASCII in between.
pub fn reply(policy: &Policy, reply: Reply, footer: Option<&str>) {
    let mut bytes = Vec::new();
    match footer {
        Some(text) => bytes.extend([text.as_bytes(), b"\r\n"].concat()),
        None => reply.write(policy, &mut bytes),
    }
    let shown = String::from_utf8_lossy(&bytes);
    let text = bytes.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("no end: {shown:?}"));
    let text = str::from_utf8(text).unwrap_or_else(|_| panic!("not ASCII: {shown:?}"));
    let code = text.get(..3).unwrap_or_else(|| panic!("no code: {shown:?}"));
    assert!(matches!(code.as_bytes(), [b'2' | b'4' | b'5', b'0'..=b'5', b'0'..=b'9']), "{shown:?}");
    assert!(!policy.soft_bounce || !code.starts_with('5'), "not soft: {shown:?}");
    let lines: Vec<&str> = text.split("\r\n").collect();
    for (number, line) in lines.iter().enumerate() {
        assert!(line.len() + 2 <= REPLY_LINE, "{} bytes: {shown:?}", line.len());
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "a bad byte: {shown:?}");
        let last = number + 1 == lines.len() && reply != Reply::Teaser;
        let separator = if last { ' ' } else { '-' };
        let rest = line.strip_prefix(code).unwrap_or_else(|| panic!("another code: {shown:?}"));
        assert!(rest.starts_with(separator), "a wrong separator: {shown:?}");
    }
}

/// A line of the log: printable, and no longer than a few lines of input.
pub fn log_line(policy: &Policy, line: &LogLine) {
    let text = line.to_string();
    assert!(!text.is_empty(), "an empty line: {line:?}");
    assert!(!text.bytes().any(|byte| byte.is_ascii_control()), "a control byte: {text:?}");
    let most = 5 * policy.line_length_limit + 1000;
    assert!(text.len() <= most, "{} bytes: {text:?}", text.len());
}
