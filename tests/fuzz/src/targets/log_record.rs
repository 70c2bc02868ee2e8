//! Records for syslogd and postlogd: one printable line, whatever is to be logged.
//!
//! Input: which form, filter and level, then the text.

use gatepost::postfix::maillog::{
    Form, Header, Program, Stamp, TEXT_LIMIT, Utf8Filter, format_record,
};
use gatepost::postfix::message::Level;

use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let filter = take.pick(&[Utf8Filter::ValidUtf8, Utf8Filter::AsciiOnly]);
    let levels = [Level::Info, Level::Warning, Level::Error, Level::Fatal, Level::Panic];
    let (form, start, end) = take.pick(&[
        (Form::Postlog { host: "mx.example.test" }, "Jan 01 00:00:00 mx postfix/", ""),
        (Form::Terminal, "", "\n"),
    ]);
    let program = take.pick(&[(Program::Postscreen, "postscreen"), (Program::Dnsblog, "dnsblog")]);
    let (level, prefix) = {
        let number = usize::from(take.number()) % levels.len();
        (levels[number], ["", "warning: ", "error: ", "fatal: ", "panic: "][number])
    };
    let pid = if end.is_empty() { "[42]" } else { "" };
    let start = format!("{start}{}{pid}: {prefix}", program.1);
    let text = take.0;

    let stamp = Stamp::new();
    let header =
        Header { form, stamp: &stamp, syslog_name: "postfix", program: program.0, pid: 42, filter };
    let mut records = b"what was there before".to_vec();
    format_record(&mut records, &header, level, text);
    let record = records.strip_prefix(b"what was there before").expect("it is still there");
    let body = record.strip_prefix(start.as_bytes()).unwrap_or_else(|| panic!("{start}"));
    let body = body.strip_suffix(end.as_bytes()).expect("an end");
    assert!(body.len() <= TEXT_LIMIT, "{} bytes", body.len());
    if text.len() <= TEXT_LIMIT {
        assert_eq!(body.len(), text.len(), "a character for a byte");
    }
    let body = str::from_utf8(body).expect("UTF-8");
    assert!(!body.chars().any(|letter| letter.is_control() || letter == '\u{2028}'), "{body:?}");
    assert!(filter == Utf8Filter::ValidUtf8 || body.is_ascii(), "{body:?}");
    // Nothing is changed that need not be.
    if text.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        assert!(text.starts_with(body.as_bytes()));
    }
}
