//! The recordings in which a client asks for TLS. What it does in TLS is told here as if it
//! were in the clear: that is how the core sees it.

use gatepost::screen::event::TlsTrouble;
use gatepost::screen::policy::TlsLevel;
use gatepost::screen::smtp::keyword::Keyword;

use super::*;

const OFFERED: &str = "a 250-mx.example.test\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
                       250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n\
                       250-SMTPUTF8\r\n250 CHUNKING";
const NOT_OFFERED: &str = "a 250-mx.example.test\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
                           250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n\
                           250-SMTPUTF8\r\n250 CHUNKING";
const READY: &str = "a 220 2.0.0 Ready to start TLS";
const ACTIVE: &str = "a 554 5.5.1 Error: TLS already active";
const UNAVAILABLE: &str = "a 454 4.7.0 TLS not available due to local problem";
const TLS_FIRST: &str = "a 530 5.7.0 Must issue a STARTTLS command first";
const SENDER_OK: &str = "a 250 2.1.0 Ok";
const LATER: &str = "a 450 4.3.2 Service currently unavailable";

const EHLO: &[u8] = b"EHLO c.example\r\n";
const MAIL: &[u8] = b"MAIL FROM:<a@c.example>\r\n";
const RCPT: &[u8] = b"RCPT TO:<b@example.test>\r\n";
const STARTTLS: &[u8] = b"STARTTLS\r\n";
const QUIT: (&[u8], &[&str]) = (b"QUIT\r\n", &["a 221 2.0.0 Bye", "a EOF"]);

const CONNECTED: &str = "CONNECT from [203.0.113.1]:Pa to [192.0.2.1]:25";
const REJECTED: &str = "NOQUEUE: reject: RCPT from [203.0.113.1]:Pa: 450 4.3.2 Service \
    currently unavailable; from=<a@c.example>, to=<b@example.test>, proto=ESMTP, helo=<c.example>";
const PASS_NEW: &str = "PASS NEW [203.0.113.1]:Pa";
const DISCONNECTED: &str = "DISCONNECT [203.0.113.1]:Pa";

fn service(level: TlsLevel) -> Service {
    Service::new(|policy| {
        for test in [Test::Pipelining, Test::NonSmtpCommand, Test::BareNewline] {
            policy.enabled = policy.enabled.with(test);
        }
        policy.engine.tls_level = level;
        policy.engine.announced = Keyword::ALL.to_vec();
    })
}

/// A client that waits for the greeting, then says these lines, each with what it is told;
/// the log between CONNECT and DISCONNECT.
fn dialogue(
    service: &mut Service,
    name: &str,
    says: &[(&'static [u8], &'static [&'static str])],
    log: &[&str],
) {
    let mut steps: Vec<Step> =
        vec![(0, 'a', Connect("203.0.113.1"), &[TEASER]), (1000, 'a', Wait, &[GREETING])];
    steps.extend(says.iter().map(|(data, told)| (1000, 'a', Say(data), *told)));
    let log: Vec<&str> =
        [CONNECTED].into_iter().chain(log.iter().copied()).chain([DISCONNECTED]).collect();
    service.play(name, &steps, &log);
}

#[test]
fn v54_starttls() {
    dialogue(
        &mut service(TlsLevel::May),
        "V54",
        &[
            (EHLO, &[OFFERED]),
            (STARTTLS, &[READY, "a TLS"]),
            (EHLO, &[NOT_OFFERED]),
            (STARTTLS, &[ACTIVE]),
            (MAIL, &[SENDER_OK]),
            (RCPT, &[LATER]),
            QUIT,
        ],
        &[REJECTED, PASS_NEW],
    );
}

#[test]
fn v55_starttls_mandatory() {
    dialogue(
        &mut service(TlsLevel::Encrypt),
        "V55",
        &[
            (EHLO, &[OFFERED]),
            (MAIL, &[TLS_FIRST]),
            (b"VRFY x\r\n", &[TLS_FIRST]),
            (b"RSET\r\n", &[TLS_FIRST]),
            (b"NOOP\r\n", &["a 250 2.0.0 Ok"]),
            (b"HELP\r\n", &["a 502 5.5.2 Error: command not recognized"]),
            (EHLO, &[OFFERED]),
            (STARTTLS, &[READY, "a TLS"]),
            (EHLO, &[NOT_OFFERED]),
            (STARTTLS, &[ACTIVE]),
            (MAIL, &[SENDER_OK]),
            (RCPT, &[LATER]),
            QUIT,
        ],
        &[REJECTED, PASS_NEW],
    );
}

/// tlsproxy(8) closes the connection when the handshake fails.
#[test]
fn v56_commands_behind_starttls_are_thrown_away() {
    service(TlsLevel::May).play(
        "V56",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (1000, 'a', Wait, &[GREETING]),
            (1000, 'a', Say(EHLO), &[OFFERED]),
            (1000, 'a', Say(b"STARTTLS\r\nNOOP\r\n"), &[READY, "a TLS"]),
            (1500, 'a', HangUp, &["a EOF"]),
        ],
        &[
            CONNECTED,
            "COMMAND PIPELINING from [203.0.113.1]:Pa after STARTTLS: NOOP\\r\\n",
            "HANGUP after 0.5 from [203.0.113.1]:Pa in tests after SMTP handshake",
            DISCONNECTED,
        ],
    );
}

#[test]
fn v57_no_tlsproxy() {
    const GONE: TlsNews<'_> = TlsNews::Failed {
        trouble: TlsTrouble::NoService("No such file or directory"),
        detail: None,
    };
    dialogue(
        &mut service(TlsLevel::May).with_tlsproxy(&[GONE]),
        "V57",
        &[
            (EHLO, &[OFFERED]),
            (STARTTLS, &[UNAVAILABLE]),
            (MAIL, &[SENDER_OK]),
            (RCPT, &[LATER]),
            QUIT,
        ],
        &[
            "warning: connect to private/tlsproxy service: No such file or directory",
            REJECTED,
            PASS_NEW,
        ],
    );
}
