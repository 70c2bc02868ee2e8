use std::time::Duration;

use super::*;
use crate::screen::smtp::command::Verb;

fn elapsed(micros: u64, digits: u8) -> String {
    Elapsed { span: Duration::from_micros(micros), digits }.to_string()
}

#[test]
fn elapsed_times_as_postscreen_logs_them() {
    for (micros, digits, expected) in [
        (0, 2, "0"),
        (4_999, 2, "0"),
        (5_000, 2, "0.01"),
        (10_000, 2, "0.01"),
        (100_000, 2, "0.1"),
        (270_000, 2, "0.27"),
        (870_400, 2, "0.87"),
        (996_000, 2, "1"),
        (1_234_000, 2, "1.2"),
        (6_010_000, 2, "6"),
        (12_700_000, 2, "13"),
        (75_000, 6, "0.075"),
        (140_000, 6, "0.14"),
        (12, 6, "0.000012"),
        (1_400_000, 0, "1"),
        (1_600_000, 0, "2"),
        (400_000, 0, "0"),
    ] {
        assert_eq!(elapsed(micros, digits), expected, "{micros} µs, {digits} digits");
    }
}

#[test]
fn client_bytes_are_escaped() {
    let bytes = b"\x16\x03\x01 A~\x7f\\\"\t\x07\x08\x0c\x0b\r\n\xff\0";
    let text = "\\026\\003\\001 A~\\177\\\\\"\\t\\a\\b\\f\\v\\r\\n\\377\\000";
    assert_eq!(Escaped(bytes).to_string(), text);
}

#[test]
fn golden_texts() {
    let client: SocketAddr = "203.0.113.5:4711".parse().unwrap();
    let six: SocketAddr = "[2001:DB8:0:0:1::6]:25".parse().unwrap();
    let old = Wording::Old { by_compatibility_level: true };
    let new = Wording::Respectful;
    let after = Elapsed { span: Duration::from_millis(270), digits: 2 };
    let smtpd: Box<str> = "smtpd".into();
    let gone: Box<str> = "No such file or directory".into();
    let trouble = |trouble| LogLine::TlsTrouble { service: "tlsproxy".into(), trouble };
    for (line, expected) in [
        (
            LogLine::Connect { client, server: six },
            "CONNECT from [203.0.113.5]:4711 to [2001:db8::1:0:0:6]:25",
        ),
        (LogLine::Allowlisted(client, new), "ALLOWLISTED [203.0.113.5]:4711"),
        (LogLine::Allowlisted(client, old), "WHITELISTED [203.0.113.5]:4711"),
        (LogLine::Denylisted(client, new), "DENYLISTED [203.0.113.5]:4711"),
        (LogLine::Denylisted(client, old), "BLACKLISTED [203.0.113.5]:4711"),
        (LogLine::AllowlistVeto(client, new), "ALLOWLIST VETO [203.0.113.5]:4711"),
        (LogLine::AllowlistVeto(client, old), "WHITELIST VETO [203.0.113.5]:4711"),
        (
            LogLine::OldWordsByDefault(client),
            "using backwards-compatible default setting respectful_logging=no for client \
             [203.0.113.5]:4711",
        ),
        (LogLine::PassNew(client), "PASS NEW [203.0.113.5]:4711"),
        (LogLine::PassOld(client), "PASS OLD [203.0.113.5]:4711"),
        (
            LogLine::Pregreet { client, count: 11, after, data: Quote::of(b"HELO spam\r\n") },
            "PREGREET 11 after 0.27 from [203.0.113.5]:4711: HELO spam\\r\\n",
        ),
        (
            LogLine::Hangup { client, after, stage: Stage::BeforeHandshake },
            "HANGUP after 0.27 from [203.0.113.5]:4711 in tests before SMTP handshake",
        ),
        (
            LogLine::Hangup { client, after, stage: Stage::AfterHandshake },
            "HANGUP after 0.27 from [203.0.113.5]:4711 in tests after SMTP handshake",
        ),
        (
            LogLine::CommandTimeLimit(client, LastCommand::Connect),
            "COMMAND TIME LIMIT from [203.0.113.5]:4711 after CONNECT",
        ),
        (
            LogLine::CommandLengthLimit(client, LastCommand::Connect),
            "COMMAND LENGTH LIMIT from [203.0.113.5]:4711 after CONNECT",
        ),
        (
            LogLine::CommandCountLimit(client, LastCommand::Known(Verb::Noop)),
            "COMMAND COUNT LIMIT from [203.0.113.5]:4711 after NOOP",
        ),
        (
            LogLine::Offence(client, Offence::BareNewline { line: (*b"EHLO c\te\0").into() }),
            "BARE NEWLINE from [203.0.113.5]:4711 after EHLO c\\te\\000",
        ),
        (
            LogLine::Offence(
                client,
                Offence::NonSmtpCommand {
                    after: LastCommand::Unimplemented,
                    word: (*b"caf\xe9:\x07").into(),
                    rest: (*b"\\hello\tworld \xe9").into(),
                },
            ),
            "NON-SMTP COMMAND from [203.0.113.5]:4711 after UNIMPLEMENTED: caf?:? \
             \\\\hello\\tworld \\351",
        ),
        (
            LogLine::Offence(
                client,
                Offence::Pipelining { word: (*b"mail").into(), unread: (*b"QUIT\r\n").into() },
            ),
            "COMMAND PIPELINING from [203.0.113.5]:4711 after mail: QUIT\\r\\n",
        ),
        (
            LogLine::Discarding(
                client,
                Discarded::parse("vrfy smtputf8", Vocabulary::Before311),
                Vocabulary::Before311,
            ),
            "[203.0.113.5]4711: discarding EHLO keywords: VRFY EHLO_MASK_SMTPUTF8",
        ),
        (
            LogLine::RejectRcpt {
                client,
                reply: "550 5.5.1 Protocol error".into(),
                envelope: Envelope {
                    sender: (*b"").into(),
                    recipient: (*b"\"x\xe9\x07\"@d").into(),
                    helo: "münchen".as_bytes().into(),
                    esmtp: true,
                },
            },
            "NOQUEUE: reject: RCPT from [203.0.113.5]:4711: 550 5.5.1 Protocol error; from=<>, \
             to=<\"x??\"@d>, proto=ESMTP, helo=<münchen>",
        ),
        (
            LogLine::Replaced {
                client: six,
                line: (*b"  h\xffLP \"\t\x07\\").into(),
                by: "NOOP \u{e9}".as_bytes().into(),
            },
            "[2001:db8::1:0:0:6]:25: replacing command \"  h?LP \"??\\\" with \"NOOP \u{e9}\"",
        ),
        (
            LogLine::FilterFailed {
                client: six,
                table: "fail:x".into(),
                line: (*b"NOOP\r").into(),
            },
            "[2001:db8::1:0:0:6]:25: fail:x lookup error for \"NOOP?\"",
        ),
        (
            LogLine::NoValidRcpt(client, LastCommand::Known(Verb::Bdat)),
            "BDAT without valid RCPT from [203.0.113.5]:4711",
        ),
        (
            LogLine::TooManyConnections(client),
            "NOQUEUE: reject: CONNECT from [203.0.113.5]:4711: too many connections",
        ),
        (
            LogLine::NotServed(six),
            "inet_protocols is without ipv6, but there are clients that use it: they are turned \
             away, because smtpd(8) would die of them (to change inet_protocols, stop and start \
             Postfix)",
        ),
        (
            LogLine::ServerPortsBusy("[::192.0.2.1]:7".parse().unwrap()),
            "NOQUEUE: reject: CONNECT from [::192.0.2.1]:7: all server ports busy",
        ),
        (
            // A link-local client is logged without its interface.
            LogLine::Disconnect("[fe80::5%3]:7".parse().unwrap()),
            "DISCONNECT [fe80::5]:7",
        ),
        (
            LogLine::ServerPortsBusy(client),
            "NOQUEUE: reject: CONNECT from [203.0.113.5]:4711: all server ports busy",
        ),
        (
            LogLine::ScreeningPortsBusy(client),
            "reject: connect from [203.0.113.5]:4711: all screening ports busy",
        ),
        (LogLine::Disconnect(client), "DISCONNECT [203.0.113.5]:4711"),
        (LogLine::EnteringStress(18), "entering STRESS mode with 18 connections"),
        (LogLine::LeavingStress(14), "leaving STRESS mode with 14 connections"),
        (
            LogLine::Unidentified { call: "getpeername", reason: gone.clone() },
            "getpeername: No such file or directory -- dropping this connection",
        ),
        (
            LogLine::CannotConnect { service: smtpd.clone(), reason: gone.clone() },
            "cannot connect to service private/smtpd: No such file or directory",
        ),
        (
            LogLine::CannotPass { service: smtpd.clone(), reason: gone.clone() },
            "cannot pass connection to service private/smtpd: No such file or directory",
        ),
        (
            LogLine::HandOffTimeout { service: smtpd },
            "timeout sending connection to service private/smtpd",
        ),
        (
            trouble(TlsFailure::NoService(gone.clone())),
            "connect to private/tlsproxy service: No such file or directory",
        ),
        (
            trouble(TlsFailure::NoGreeting("Application error".into())),
            "problem receiving protocol attribute from private/tlsproxy service: Application error",
        ),
        (
            trouble(TlsFailure::LateGreeting),
            "timeout receiving protocol attribute from private/tlsproxy service: \
             Resource temporarily unavailable",
        ),
        (
            trouble(TlsFailure::NotAsked("Broken pipe".into())),
            "error sending request to private/tlsproxy service: Broken pipe",
        ),
        (trouble(TlsFailure::NoStatus), "problem receiving status from private/tlsproxy service"),
        (trouble(TlsFailure::LateStatus), "timeout receiving status from private/tlsproxy service"),
        (trouble(TlsFailure::NotTaken), "problem sending file handle to private/tlsproxy service"),
        (
            LogLine::TlsNotice { service: "tlsproxy".into(), notice: TlsNotice::Suspended },
            "private/tlsproxy service failed 3 times in a row: STARTTLS is not offered for 60s",
        ),
        (
            LogLine::TlsNotice { service: "tlsproxy".into(), notice: TlsNotice::Resumed },
            "private/tlsproxy service works again: STARTTLS is offered",
        ),
    ] {
        assert_eq!(line.to_string(), expected);
    }
}

#[test]
fn a_pregreet_quotes_a_hundred_bytes_of_escaped_text() {
    let client = "203.0.113.5:4711".parse().unwrap();
    let after = Elapsed { span: Duration::ZERO, digits: 2 };
    let line = LogLine::Pregreet { client, count: 200, after, data: Quote::of(&[0xff; 200]) };
    let text = line.to_string();
    let (_, quoted) = text.split_once("]:4711: ").unwrap();
    assert_eq!(quoted.len(), QUOTE_LIMIT);
    assert!(quoted.starts_with("\\377\\377"));
}
