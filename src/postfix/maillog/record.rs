//! One log record, byte by byte.

use std::io::Write;

use syslog::{Facility, Severity};

use crate::postfix::message::Level;
use crate::screen::test_set::UnixTime;
use crate::sys::LocalTime;

/// Most bytes of a text, after its prefix; what is longer is cut.
pub const TEXT_LIMIT: usize = 2000;

/// Under which name a record is logged. Log analysers go by these names, so they do not
/// depend on how the file of the program is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// Everything that postscreen(8) logs.
    Postscreen,
    /// Hits at DNS blocklists, which are dnsblog(8)'s lines.
    Dnsblog,
}

impl Program {
    /// The name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Program::Postscreen => "postscreen",
            Program::Dnsblog => "dnsblog",
        }
    }
}

/// Which bytes of a text are logged as they are; a `?` stands for each of the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Utf8Filter {
    /// Printable ASCII (main.cf: smtputf8_enable = no).
    AsciiOnly,
    /// Printable ASCII and valid UTF-8 (main.cf: smtputf8_enable = yes).
    ValidUtf8,
}

/// The three places a record can go to, each with its own form.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// A syslog datagram.
    Syslog(Facility),
    /// A datagram for postlogd(8), with the name of this host up to its first dot.
    Postlog {
        /// Any name of this host; it is cut at its first dot.
        host: &'a str,
    },
    /// A line on standard error.
    Terminal,
}

/// What stands before the text of a record.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Where the record goes.
    pub form: Form<'a>,
    /// When.
    pub stamp: &'a Stamp,
    /// main.cf: syslog_name.
    pub syslog_name: &'a str,
    /// Who.
    pub program: Program,
    /// Process id of the writer.
    pub pid: u32,
    /// Which bytes of the text pass.
    pub filter: Utf8Filter,
}

/// Date and time of a record, kept as text because most records share their second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    time: Option<UnixTime>,
    /// `Nov  2 17:15:08`
    text: [u8; 15],
}

impl Stamp {
    /// No time yet.
    pub const fn new() -> Stamp {
        Stamp { time: None, text: *b"Jan  1 00:00:00" }
    }

    /// Moves to another second; `local` is asked only if it is another one.
    pub fn set(&mut self, now: UnixTime, local: impl FnOnce(UnixTime) -> LocalTime) {
        if self.time != Some(now) {
            self.time = Some(now);
            self.text = stamp_text(local(now));
        }
    }
}

impl Default for Stamp {
    fn default() -> Stamp {
        Stamp::new()
    }
}

fn stamp_text(time: LocalTime) -> [u8; 15] {
    let [m0, m1, m2] = *time.month_name().as_bytes().first_chunk().unwrap_or(b"Jan");
    let digit = |value: u8| b'0' + value % 10;
    let tens = |value: u8| b'0' + value / 10 % 10;
    let day_tens = if time.day < 10 { b' ' } else { tens(time.day) };
    let LocalTime { day, hour, minute, second, .. } = time;
    [
        m0,
        m1,
        m2,
        b' ',
        day_tens,
        digit(day),
        b' ',
        tens(hour),
        digit(hour),
        b':',
        tens(minute),
        digit(minute),
        b':',
        tens(second),
        digit(second),
    ]
}

/// Postfix's words for a level, and syslog's.
fn describe(level: Level) -> (&'static str, Severity) {
    match level {
        Level::Info => ("", Severity::LOG_INFO),
        Level::Warning => ("warning: ", Severity::LOG_WARNING),
        Level::Error => ("error: ", Severity::LOG_ERR),
        Level::Fatal => ("fatal: ", Severity::LOG_CRIT),
        Level::Panic => ("panic: ", Severity::LOG_CRIT),
    }
}

/// Puts a record behind what is in `out`. Reuse `out`, and nothing is allocated.
pub fn format_record(out: &mut Vec<u8>, header: &Header<'_>, level: Level, text: &[u8]) {
    let Header { stamp, syslog_name, program, pid, .. } = *header;
    let program = program.name();
    let (prefix, severity) = describe(level);
    // Writing to a Vec cannot fail, hence the ignored results.
    match header.form {
        Form::Syslog(facility) => {
            let priority = facility as u16 | severity as u16;
            write!(out, "<{priority}>").ok();
            out.extend_from_slice(&stamp.text);
            write!(out, " {syslog_name}/{program}[{pid}]: ").ok();
        }
        Form::Postlog { host } => {
            let host = host.split('.').next().unwrap_or(host);
            out.extend(stamp.text.iter().enumerate().map(|(place, &byte)| match (place, byte) {
                (4, b' ') => b'0',
                _ => byte,
            }));
            write!(out, " {host} {syslog_name}/{program}[{pid}]: ").ok();
        }
        Form::Terminal => {
            write!(out, "{program}: ").ok();
        }
    }
    out.extend_from_slice(prefix.as_bytes());
    push_text(out, text, header.filter);
    if matches!(header.form, Form::Terminal) {
        out.push(b'\n');
    }
}

fn push_text(out: &mut Vec<u8>, text: &[u8], filter: Utf8Filter) {
    match filter {
        Utf8Filter::AsciiOnly => out.extend(text.iter().take(TEXT_LIMIT).map(|&byte| ascii(byte))),
        Utf8Filter::ValidUtf8 => push_utf8(out, text),
    }
}

fn push_utf8(out: &mut Vec<u8>, text: &[u8]) {
    let end = out.len() + TEXT_LIMIT;
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if out.len() + character.len_utf8() > end {
                return;
            }
            let mut bytes = [0; 4];
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => out.push(ascii(byte)),
                _ if deceives(character) => {
                    out.extend((0..character.len_utf8()).map(|_| b'?'));
                }
                _ => out.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes()),
            }
        }
        // No byte of an invalid sequence can begin a valid one, so all of them are replaced.
        let room = end.saturating_sub(out.len());
        out.extend(chunk.invalid().iter().take(room).map(|_| b'?'));
    }
}

/// Whether a character beyond ASCII is one that clients have no use for and readers of logs are
/// fooled by: controls that terminals obey, what some programs take for the end of a line, and
/// what turns the order of the text around it.
fn deceives(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn ascii(byte: u8) -> u8 {
    if matches!(byte, b' '..=b'~') { byte } else { b'?' }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOVEMBER_2: LocalTime = LocalTime { month: 10, day: 2, hour: 7, minute: 5, second: 9 };

    fn record(form: Form<'_>, program: Program, level: Level, text: &str) -> String {
        let mut stamp = Stamp::new();
        stamp.set(UnixTime(1), |_| NOVEMBER_2);
        let header = Header {
            form,
            stamp: &stamp,
            syslog_name: "postfix",
            program,
            pid: 17669,
            filter: Utf8Filter::AsciiOnly,
        };
        let mut out = b"before".to_vec();
        format_record(&mut out, &header, level, text.as_bytes());
        String::from_utf8(out.split_off(6)).unwrap()
    }

    fn filtered(filter: Utf8Filter, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_text(&mut out, text, filter);
        out
    }

    #[test]
    fn syslog_records() {
        let form = Form::Syslog(Facility::LOG_MAIL);
        for (level, start) in [
            (Level::Info, "<22>Nov  2 07:05:09 postfix/postscreen[17669]: x"),
            (Level::Warning, "<20>Nov  2 07:05:09 postfix/postscreen[17669]: warning: x"),
            (Level::Error, "<19>Nov  2 07:05:09 postfix/postscreen[17669]: error: x"),
            (Level::Fatal, "<18>Nov  2 07:05:09 postfix/postscreen[17669]: fatal: x"),
            (Level::Panic, "<18>Nov  2 07:05:09 postfix/postscreen[17669]: panic: x"),
        ] {
            assert_eq!(record(form, Program::Postscreen, level, "x"), start);
        }
        let hit = "addr 192.0.2.1 listed by domain zen.example as 127.0.0.2";
        assert_eq!(
            record(Form::Syslog(Facility::LOG_LOCAL7), Program::Dnsblog, Level::Info, hit),
            format!("<190>Nov  2 07:05:09 postfix/dnsblog[17669]: {hit}")
        );
    }

    #[test]
    fn postlog_records() {
        let form = Form::Postlog { host: "mx.example.com" };
        assert_eq!(
            record(form, Program::Postscreen, Level::Fatal, "invalid option: Q"),
            "Nov 02 07:05:09 mx postfix/postscreen[17669]: fatal: invalid option: Q"
        );
        assert_eq!(
            record(Form::Postlog { host: "mx" }, Program::Dnsblog, Level::Info, "x"),
            "Nov 02 07:05:09 mx postfix/dnsblog[17669]: x"
        );
    }

    #[test]
    fn terminal_lines() {
        assert_eq!(
            record(Form::Terminal, Program::Postscreen, Level::Fatal, "x"),
            "postscreen: fatal: x\n"
        );
    }

    #[test]
    fn stamps_are_made_once_a_second() {
        let mut stamp = Stamp::new();
        stamp.set(UnixTime(5), |_| LocalTime {
            month: 0,
            day: 31,
            hour: 23,
            minute: 59,
            second: 60,
        });
        assert_eq!(&stamp.text, b"Jan 31 23:59:60");
        stamp.set(UnixTime(5), |_| panic!("asked twice"));
        stamp.set(UnixTime(6), |_| NOVEMBER_2);
        assert_eq!(&stamp.text, b"Nov  2 07:05:09");
    }

    #[test]
    fn the_prefix_is_not_counted_and_not_cut() {
        let text = "y".repeat(3000);
        let form = Form::Syslog(Facility::LOG_MAIL);
        let record = record(form, Program::Postscreen, Level::Warning, &text);
        let (_, rest) = record.split_once(": warning: ").unwrap();
        assert_eq!(rest, "y".repeat(2000));
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        let text = format!("{}ää", "y".repeat(1997));
        assert_eq!(
            filtered(Utf8Filter::ValidUtf8, text.as_bytes()),
            format!("{}ä", "y".repeat(1997)).as_bytes()
        );
        assert_eq!(
            filtered(Utf8Filter::AsciiOnly, text.as_bytes()),
            format!("{}???", "y".repeat(1997)).as_bytes()
        );
        assert_eq!(filtered(Utf8Filter::ValidUtf8, &[0xff; 3000]), [b'?'; 2000]);
    }

    #[test]
    fn unprintable_bytes_become_question_marks() {
        for filter in [Utf8Filter::AsciiOnly, Utf8Filter::ValidUtf8] {
            assert_eq!(filtered(filter, b"a\0b\tc\r\n ~\x7f\x1b["), b"a?b?c?? ~??[");
        }
        for (text, ascii, utf8) in [
            (&b"\xc3\xa4"[..], &b"??"[..], &b"\xc3\xa4"[..]),
            (b"\xe2\x82\xac!", b"???!", b"\xe2\x82\xac!"),
            (b"\xe2\x82A", b"??A", b"??A"),
            (b"\xe2\x82\xc3\xa4", b"????", b"??\xc3\xa4"),
            (b"\xc0\xaf", b"??", b"??"),
            (b"\xed\xa0\x80", b"???", b"???"),
            (b"\xf4\x90\x80\x80", b"????", b"????"),
            (b"\x80\xc3", b"??", b"??"),
            // A terminal's CSI, the ends of a line and of a paragraph, and the other direction.
            ("\u{9b}31m".as_bytes(), b"??31m", b"??31m"),
            ("\u{85}\u{2028}\u{2029}".as_bytes(), b"????????", b"????????"),
            ("\u{202e}\u{2066}".as_bytes(), b"??????", b"??????"),
            ("\u{a0}".as_bytes(), b"??", "\u{a0}".as_bytes()),
        ] {
            assert_eq!(filtered(Utf8Filter::AsciiOnly, text), ascii);
            assert_eq!(filtered(Utf8Filter::ValidUtf8, text), utf8);
        }
    }

    #[test]
    fn a_reused_buffer_does_not_grow() {
        let mut out = Vec::with_capacity(2200);
        let stamp = Stamp::new();
        let header = Header {
            form: Form::Syslog(Facility::LOG_MAIL),
            stamp: &stamp,
            syslog_name: "postfix",
            program: Program::Postscreen,
            pid: u32::MAX,
            filter: Utf8Filter::ValidUtf8,
        };
        format_record(&mut out, &header, Level::Warning, &[b'x'; 5000]);
        assert_eq!(out.capacity(), 2200);
    }
}
