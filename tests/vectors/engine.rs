//! The recordings in which a client meets the built-in SMTP engine.

#[path = "by_client.rs"]
mod by_client;

use super::*;
use gatepost::screen::smtp::discard::{Discarded, Vocabulary};

const EHLO: &str = "a 250-mx.example.test\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
                    250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n\
                    250 CHUNKING";
const SENDER_OK: &str = "a 250 2.1.0 Ok";
const OK: &str = "a 250 2.0.0 Ok";
const LATER: &str = "a 450 4.3.2 Service currently unavailable";
const PROTOCOL_ERROR: &str = "a 550 5.5.1 Protocol error";
const UNKNOWN: &str = "a 502 5.5.2 Error: command not recognized";
const BYE: &[&str] = &["a 221 2.0.0 Bye", "a EOF"];

const CONNECTED: &str = "CONNECT from [203.0.113.1]:Pa to [192.0.2.1]:25";
const PASS_NEW: &str = "PASS NEW [203.0.113.1]:Pa";
const DISCONNECTED: &str = "DISCONNECT [203.0.113.1]:Pa";

/// The three deep tests, all with this action.
fn deep(action: Action) -> impl FnOnce(&mut Policy) {
    move |policy| {
        for test in [Test::Pipelining, Test::NonSmtpCommand, Test::BareNewline] {
            policy.enabled = policy.enabled.with(test);
            policy.actions[test] = action;
        }
    }
}

fn pregreet_enforce(policy: &mut Policy) {
    policy.actions.pregreet = Action::Enforce;
}

/// A client that waits for the greeting, then says these lines, each with what it is told;
/// the log between CONNECT and DISCONNECT.
fn dialogue(
    name: &str,
    set: impl FnOnce(&mut Policy),
    says: &[(&'static [u8], &'static [&'static str])],
    log: &[&str],
) {
    dialogue_with(Service::new(set), name, says, log);
}

/// The same with a service that is there already.
fn dialogue_with(
    mut service: Service,
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

const HELLO: (&[u8], &[&str]) = (b"EHLO c.example\r\n", &[EHLO]);
const MAIL: (&[u8], &[&str]) = (b"MAIL FROM:<a@c.example>\r\n", &[SENDER_OK]);
const RCPT_LATER: (&[u8], &[&str]) = (b"RCPT TO:<b@example.test>\r\n", &[LATER]);
const RCPT_ERROR: (&[u8], &[&str]) = (b"RCPT TO:<b@example.test>\r\n", &[PROTOCOL_ERROR]);
const QUIT: (&[u8], &[&str]) = (b"QUIT\r\n", BYE);

const REJECT_LATER: &str = "NOQUEUE: reject: RCPT from [203.0.113.1]:Pa: 450 4.3.2 Service \
    currently unavailable; from=<a@c.example>, to=<b@example.test>, proto=ESMTP, helo=<c.example>";
const REJECT_ERROR: &str = "NOQUEUE: reject: RCPT from [203.0.113.1]:Pa: 550 5.5.1 Protocol \
    error; from=<a@c.example>, to=<b@example.test>, proto=ESMTP, helo=<c.example>";

#[test]
fn v03_v06_pregreeter_enforce() {
    Service::new(pregreet_enforce).play(
        "V06",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (100, 'a', Say(b"EHLO x\r\n"), &[EHLO]),
            (110, 'a', Say(MAIL.0), &[SENDER_OK]),
            (110, 'a', Say(RCPT_ERROR.0), &[PROTOCOL_ERROR]),
            (110, 'a', Say(b"DATA\r\n"), &["a 554 5.5.1 Error: no valid recipients", "a EOF"]),
        ],
        &[
            CONNECTED,
            "PREGREET 8 after 0.1 from [203.0.113.1]:Pa: EHLO x\\r\\n",
            "NOQUEUE: reject: RCPT from [203.0.113.1]:Pa: 550 5.5.1 Protocol error; \
             from=<a@c.example>, to=<b@example.test>, proto=ESMTP, helo=<x>",
            "DATA without valid RCPT from [203.0.113.1]:Pa",
            DISCONNECTED,
        ],
    );
}

/// The deep tests are not enabled; who has failed gets them all the same.
#[test]
fn v07_binary_pregreet() {
    Service::new(pregreet_enforce).play(
        "V07",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (0, 'a', Say(b"\x16\x03\x01\x02\x00\x01"), &[]),
            (
                1000,
                'a',
                Say(b"QUIT\r\n"),
                &["a 521 5.7.0 Error: I can break rules, too. Goodbye.", "a EOF"],
            ),
        ],
        &[
            CONNECTED,
            "PREGREET 6 after 0 from [203.0.113.1]:Pa: \\026\\003\\001\\002\\000\\001",
            "NON-SMTP COMMAND from [203.0.113.1]:Pa after CONNECT: ???? ",
            DISCONNECTED,
        ],
    );
}

#[test]
fn v29_all_deep_tests_passed_v30_second_visit() {
    let mut service = Service::new(deep(Action::Enforce));
    service.play(
        "V29",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (1000, 'a', Wait, &[GREETING]),
            (1000, 'a', Say(HELLO.0), HELLO.1),
            (1000, 'a', Say(MAIL.0), MAIL.1),
            (1000, 'a', Say(RCPT_LATER.0), RCPT_LATER.1),
            (1000, 'a', Say(QUIT.0), BYE),
        ],
        &[CONNECTED, REJECT_LATER, PASS_NEW, DISCONNECTED],
    );
    service.play(
        "V30",
        &[(10, 'a', Connect("203.0.113.1"), &["a smtpd 0"])],
        &[CONNECTED, "PASS OLD [203.0.113.1]:Pa", "smtpd: connect from unknown[203.0.113.1]"],
    );
}

/// The early test is remembered, so that the next visit begins with the greeting.
#[test]
fn v31_no_recipient() {
    let mut service = Service::new(deep(Action::Enforce));
    let goes = [(1000, 'a', Say(HELLO.0), HELLO.1), (1000, 'a', Say(QUIT.0), BYE)];
    let first: &[Step] =
        &[(0, 'a', Connect("203.0.113.1"), &[TEASER]), (1000, 'a', Wait, &[GREETING])];
    service.play("V31", &[first, &goes].concat(), &[CONNECTED, DISCONNECTED]);
    let again: &[Step] = &[
        (0, 'a', Connect("203.0.113.1"), &[GREETING]),
        (0, 'a', Say(HELLO.0), HELLO.1),
        (0, 'a', Say(MAIL.0), MAIL.1),
        (0, 'a', Say(RCPT_LATER.0), RCPT_LATER.1),
        (0, 'a', Say(QUIT.0), BYE),
    ];
    service.play("V31, again", again, &[CONNECTED, REJECT_LATER, PASS_NEW, DISCONNECTED]);
}

#[test]
fn v32_hang_up_after_a_recipient() {
    Service::new(deep(Action::Enforce)).play(
        "V32",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (1000, 'a', Wait, &[GREETING]),
            (1000, 'a', Say(HELLO.0), HELLO.1),
            (1000, 'a', Say(MAIL.0), MAIL.1),
            (1000, 'a', Say(RCPT_LATER.0), RCPT_LATER.1),
            (1010, 'a', HangUp, &["a EOF"]),
        ],
        &[
            CONNECTED,
            REJECT_LATER,
            "HANGUP after 0.01 from [203.0.113.1]:Pa in tests after SMTP handshake",
            PASS_NEW,
            DISCONNECTED,
        ],
    );
}

#[test]
fn v33_a_pass_is_taken_back() {
    dialogue(
        "V33",
        deep(Action::Enforce),
        &[HELLO, MAIL, RCPT_LATER, (b"RSET\r\nQUIT\r\n", &[OK, "a 221 2.0.0 Bye", "a EOF"])],
        &[REJECT_LATER, "COMMAND PIPELINING from [203.0.113.1]:Pa after RSET: QUIT\\r\\n"],
    );
}

#[test]
fn v34_v35_v36_pipelining() {
    let all = b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.test>\r\n";
    let hasty = "COMMAND PIPELINING from [203.0.113.1]:Pa after EHLO: MAIL \
                 FROM:<a@c.example>\\r\\nRCPT TO:<b@example.test>\\r\\n";
    let enforced: &[&str] = &[EHLO, SENDER_OK, PROTOCOL_ERROR];
    let log = [hasty, REJECT_ERROR];
    dialogue("V34", deep(Action::Enforce), &[(all, enforced), QUIT], &log);
    let dropped: &[&str] = &["a 521 5.5.1 Protocol error", "a EOF"];
    dialogue("V35", deep(Action::Drop), &[(all, dropped)], &[hasty]);
    let ignored: &[&str] = &[EHLO, SENDER_OK, LATER];
    let log = [hasty, REJECT_LATER, PASS_NEW];
    dialogue("V36", deep(Action::Ignore), &[(all, ignored), QUIT], &log);
}

#[test]
fn v37_v38_bare_newline() {
    let bare = "BARE NEWLINE from [203.0.113.1]:Pa after EHLO c.example";
    let hello: &[u8] = b"EHLO c.example\n";
    let log = [bare, REJECT_ERROR];
    dialogue("V37", deep(Action::Enforce), &[(hello, &[EHLO]), MAIL, RCPT_ERROR, QUIT], &log);
    let dropped: &[&str] = &["a 521 5.5.1 Protocol error", "a EOF"];
    dialogue("V38", deep(Action::Drop), &[(hello, dropped)], &[bare]);
}

#[test]
fn v39_v40_v41_v42_non_smtp_command() {
    dialogue(
        "V39",
        deep(Action::Enforce),
        &[(b"Subject: \\hello\tworld \xe9\r\n", &[UNKNOWN]), HELLO, MAIL, RCPT_ERROR, QUIT],
        &[
            "NON-SMTP COMMAND from [203.0.113.1]:Pa after CONNECT: Subject: \
             \\\\hello\\tworld \\351",
            REJECT_ERROR,
        ],
    );
    let goodbye: &[&str] = &["a 521 5.7.0 Error: I can break rules, too. Goodbye.", "a EOF"];
    dialogue(
        "V40",
        deep(Action::Drop),
        &[HELLO, (b"CONNECT 1.2.3.4:25\r\n", goodbye)],
        &["NON-SMTP COMMAND from [203.0.113.1]:Pa after EHLO: CONNECT 1.2.3.4:25"],
    );
    dialogue(
        "V41",
        deep(Action::Ignore),
        &[(b"GET / HTTP/1.1\r\n", &[UNKNOWN]), HELLO, MAIL, RCPT_LATER, QUIT],
        &[
            "NON-SMTP COMMAND from [203.0.113.1]:Pa after CONNECT: GET / HTTP/1.1",
            REJECT_LATER,
            PASS_NEW,
        ],
    );
    dialogue(
        "V42",
        deep(Action::Enforce),
        &[(b"caf\xe9 x\r\n", &[UNKNOWN]), HELLO, MAIL, RCPT_ERROR, QUIT],
        &["NON-SMTP COMMAND from [203.0.113.1]:Pa after CONNECT: caf? x", REJECT_ERROR],
    );
}

#[test]
fn v43_three_failures() {
    dialogue(
        "V43",
        deep(Action::Enforce),
        &[
            (b"EHLO x\n", &[EHLO]),
            (b"Foo: bar\r\n", &[UNKNOWN]),
            (b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", &[SENDER_OK, PROTOCOL_ERROR]),
            QUIT,
        ],
        &[
            "BARE NEWLINE from [203.0.113.1]:Pa after EHLO x",
            "NON-SMTP COMMAND from [203.0.113.1]:Pa after EHLO: Foo: bar",
            "COMMAND PIPELINING from [203.0.113.1]:Pa after MAIL: RCPT TO:<c@d>\\r\\n",
            "NOQUEUE: reject: RCPT from [203.0.113.1]:Pa: 550 5.5.1 Protocol error; \
             from=<a@b>, to=<c@d>, proto=ESMTP, helo=<x>",
        ],
    );
}

#[test]
fn v44_v45_every_command() {
    dialogue(
        "V44",
        deep(Action::Enforce),
        &[
            (b"HELO\r\n", &["a 501 Syntax: HELO hostname"]),
            (b"EHLO\r\n", &["a 501 Syntax: EHLO hostname"]),
            (b"HELO a b c\r\n", &["a 250 mx.example.test"]),
            (b"MAIL FROM <x>\r\n", &["a 501 5.5.4 Syntax: MAIL FROM:<address>"]),
            (b"MAIL FROM:\r\n", &[SENDER_OK]),
            (b"MAIL FROM:<second>\r\n", &["a 503 5.5.1 Error: nested MAIL command"]),
            (b"RSET\r\n", &[OK]),
            (b"RCPT TO:<b@example.test>\r\n", &["a 503 5.5.1 Error: need MAIL command"]),
            (b"MAIL FROM:<@r1,@r2:\"a b\"@c.example> SIZE=1\r\n", &[SENDER_OK]),
            (b"RCPT TO\r\n", &["a 501 5.5.4 Syntax: RCPT TO:<address>"]),
            (b"RCPT TO: b@example.test extra\r\n", &[LATER]),
            (b"RCPT TO:<\"q\\\"x\"@d> NOTIFY=NEVER\r\n", &[LATER]),
            QUIT,
        ],
        &[
            "NOQUEUE: reject: RCPT from [203.0.113.1]:Pa: 450 4.3.2 Service currently \
             unavailable; from=<\"a b\"@c.example>, to=<b@example.test>, proto=SMTP, helo=<a>",
            "NOQUEUE: reject: RCPT from [203.0.113.1]:Pa: 450 4.3.2 Service currently \
             unavailable; from=<\"a b\"@c.example>, to=<\"q\\\"x\"@d>, proto=SMTP, helo=<a>",
            PASS_NEW,
        ],
    );
    dialogue(
        "V45",
        deep(Action::Enforce),
        &[
            (b"VRFY\r\n", &["a 501 5.5.4 Syntax: VRFY address"]),
            (b"VRFY b\r\n", &[LATER]),
            (b"ETRN\r\n", &["a 500 Syntax: ETRN domain"]),
            (b"ETRN x\r\n", &["a 458 Unable to queue messages"]),
            (b"NOOP a b\r\n", &[OK]),
            (b"AUTH PLAIN x\r\n", &[UNKNOWN]),
            (b"XCLIENT NAME=x\r\n", &[UNKNOWN]),
            (b"XFORWARD NAME=x\r\n", &[UNKNOWN]),
            (b"HELP\r\n", &[UNKNOWN]),
            (b"STARTTLS\r\n", &["a 502 5.5.1 Error: command not implemented"]),
            (b"STARTTLS x\r\n", &["a 501 Syntax: EHLO hostname"]),
            (b"\r\n", &[UNKNOWN]),
            (b" \r\n", &[UNKNOWN]),
            (b"quit\r\n", BYE),
        ],
        &[],
    );
}

#[test]
fn v46_helo_after_ehlo() {
    let helo_y = REJECT_LATER.replace("helo=<c.example>", "helo=<y>");
    dialogue(
        "V46",
        deep(Action::Enforce),
        &[
            HELLO,
            (b"HELO y\r\n", &["a 250 mx.example.test"]),
            MAIL,
            RCPT_LATER,
            (b"rcpt to:<>\r\n", &[LATER]),
            QUIT,
        ],
        &[&helo_y, &helo_y.replace("to=<b@example.test>", "to=<>"), PASS_NEW],
    );
}

#[test]
fn v47_v48_nul_8_bit_and_lone_cr() {
    dialogue(
        "V47",
        deep(Action::Enforce),
        &[
            (b"NOOP\0 junk\r\n", &[OK]),
            (b"EHLO a\0b\r\n", &[EHLO]),
            (b"\0\r\n", &[UNKNOWN]),
            (b"MAIL FROM:<a\0b@c>\r\n", &[SENDER_OK]),
            (b"RCPT TO:<x\xe9\x07@d>\r\n", &[LATER]),
            QUIT,
        ],
        &[
            "NOQUEUE: reject: RCPT from [203.0.113.1]:Pa: 450 4.3.2 Service currently \
             unavailable; from=<a>, to=<\"x??\"@d>, proto=ESMTP, helo=<a>",
            PASS_NEW,
        ],
    );
    dialogue(
        "V48",
        deep(Action::Enforce),
        &[(b"NOOP a\rb\r\n", &[OK]), (b"NOOP\r\r\n", &[UNKNOWN]), QUIT],
        &[],
    );
}

#[test]
fn v49_settings_v50_chunks() {
    let set = |policy: &mut Policy| {
        deep(Action::Enforce)(policy);
        let engine = &mut policy.engine;
        (engine.helo_required, engine.vrfy_disabled) = (true, true);
        engine.discarded = Discarded::parse("dsn,etrn,chunking", Vocabulary::Before311);
        engine.command_filter = Some("regexp:{{/^XFOO (.*)/ NOOP}}".into());
    };
    let announced: &[&str] = &["a 250-mx.example.test\r\n250-SIZE 10240000\r\n250-VRFY\r\n\
                                250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 SMTPUTF8"];
    let first: &[&str] = &["a 503 5.5.1 Error: send HELO/EHLO first"];
    dialogue(
        "V49",
        set,
        &[
            (b"MAIL FROM:<a@c.example>\r\n", first),
            (b"ETRN x\r\n", first),
            (b"EHLO c.example\r\n", announced),
            (b"VRFY x\r\n", &["a 502 5.5.1 VRFY command is disabled"]),
            (b"XFOO hi there\r\n", &[OK]),
            (b"  xfoo a\r\n", &[OK]),
            QUIT,
        ],
        &[
            "[203.0.113.1]:Pa: replacing command \"XFOO hi there\" with \"NOOP\"",
            "[203.0.113.1]:Pa: replacing command \"  xfoo a\" with \"NOOP\"",
        ],
    );
    let none: &[&str] = &["a 554 5.5.1 Error: no valid recipients", "a EOF"];
    dialogue(
        "V50",
        deep(Action::Enforce),
        &[HELLO, MAIL, (b"BDAT 10 LAST\r\n0123456789", none)],
        &["BDAT without valid RCPT from [203.0.113.1]:Pa"],
    );
}

#[test]
fn v51_v53_limits() {
    let limit: &[&str] = &["a 421 mx.example.test Service unavailable - try again later", "a EOF"];
    let noop: (&[u8], &[&str]) = (b"NOOP\r\n", &[OK]);
    let five = |policy: &mut Policy| {
        deep(Action::Enforce)(policy);
        policy.engine.command_count_limit = 5;
    };
    dialogue(
        "V51",
        five,
        &[noop, noop, noop, noop, noop, (b"NOOP\r\n", limit)],
        &["COMMAND COUNT LIMIT from [203.0.113.1]:Pa after NOOP"],
    );
    let short = |policy: &mut Policy| {
        deep(Action::Enforce)(policy);
        policy.line_length_limit = 512;
    };
    dialogue(
        "V53",
        short,
        &[(&[b'x'; 511], &[]), (b"x", &[]), (b"x", limit)],
        &["COMMAND LENGTH LIMIT from [203.0.113.1]:Pa after CONNECT"],
    );
}

#[test]
fn v52_the_time_limit_is_for_a_line() {
    Service::new(|policy| {
        deep(Action::Enforce)(policy);
        policy.command_time_limit.normal = Duration::from_secs(3);
    })
    .play(
        "V52",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (1000, 'a', Wait, &[GREETING]),
            (1000, 'a', Say(b"NO"), &[]),
            (2000, 'a', Say(b"OP"), &[]),
            (3000, 'a', Say(b" x"), &[]),
            (4000, 'a', Wait, &["a 421 4.4.2 mx.example.test Error: timeout exceeded", "a EOF"]),
        ],
        &[CONNECTED, "COMMAND TIME LIMIT from [203.0.113.1]:Pa after CONNECT", DISCONNECTED],
    );
}

/// postscreen lets B ride on what A, a failed session, went through (V66); Gatepost does
/// not. What a clean session has passed counts at once, in both (V67).
#[test]
fn v66_parallel_session_of_a_failed_one_differs() {
    let set = |policy: &mut Policy| {
        pregreet_enforce(policy);
        deep(Action::Enforce)(policy);
    };
    Service::new(set).play(
        "V66",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (300, 'a', Say(b"EHLO c.example\r\n"), &[EHLO]),
            (800, 'a', Say(MAIL.0), MAIL.1),
            (800, 'a', Say(RCPT_ERROR.0), RCPT_ERROR.1),
            (900, 'b', Connect("203.0.113.1"), &["b 220-mx.example.test ESMTP Postfix"]),
            (1900, 'b', Wait, &["b 220 mx.example.test ESMTP Postfix"]),
            (1900, 'b', Say(b"QUIT\r\n"), &["b 221 2.0.0 Bye", "b EOF"]),
            (3820, 'a', Say(QUIT.0), BYE),
        ],
        &[
            CONNECTED,
            "PREGREET 16 after 0.3 from [203.0.113.1]:Pa: EHLO c.example\\r\\n",
            REJECT_ERROR,
            "CONNECT from [203.0.113.1]:Pb to [192.0.2.1]:25",
            "DISCONNECT [203.0.113.1]:Pb",
            DISCONNECTED,
        ],
    );
}

#[test]
fn v67_parallel_session_of_one_that_has_passed() {
    Service::new(deep(Action::Enforce)).play(
        "V67",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (1000, 'a', Wait, &[GREETING]),
            (1000, 'a', Say(HELLO.0), HELLO.1),
            (1000, 'a', Say(MAIL.0), MAIL.1),
            (1000, 'a', Say(RCPT_LATER.0), RCPT_LATER.1),
            (1030, 'b', Connect("203.0.113.1"), &["b smtpd 0"]),
            (1100, 'a', Say(QUIT.0), BYE),
            (1200, 'c', Connect("203.0.113.1"), &["c smtpd 0"]),
        ],
        &[
            CONNECTED,
            REJECT_LATER,
            "CONNECT from [203.0.113.1]:Pb to [192.0.2.1]:25",
            "smtpd: connect from unknown[203.0.113.1]",
            PASS_NEW,
            DISCONNECTED,
            "CONNECT from [203.0.113.1]:Pc to [192.0.2.1]:25",
            "PASS OLD [203.0.113.1]:Pc",
            "smtpd: connect from unknown[203.0.113.1]",
        ],
    );
}

#[test]
fn v23_denylisted_enforce() {
    let denied: &[&str] = &["a 550 5.3.2 Service currently unavailable"];
    let set = |policy: &mut Policy| policy.denylist_action = Action::Enforce;
    Service::new(set).with_access(Access::Reject).play(
        "V23",
        &[
            (0, 'a', Connect("203.0.113.1"), &[TEASER]),
            (1000, 'a', Wait, &[GREETING]),
            (1000, 'a', Say(HELLO.0), HELLO.1),
            (1000, 'a', Say(MAIL.0), MAIL.1),
            (1000, 'a', Say(RCPT_ERROR.0), denied),
            (1000, 'a', Say(QUIT.0), BYE),
        ],
        &[
            CONNECTED,
            "DENYLISTED [203.0.113.1]:Pa",
            &REJECT_ERROR.replace("5.5.1 Protocol error", "5.3.2 Service currently unavailable"),
            DISCONNECTED,
        ],
    );
}

/// Not among the numbered recordings.
#[test]
fn command_filter_and_deep_tests() {
    let filter = |rules: &'static str| {
        move |policy: &mut Policy| {
            deep(Action::Ignore)(policy);
            policy.engine.command_filter = Some(rules.into());
        }
    };
    let rules = "regexp:{{/^HELP/ NOOP}, {/^xfoo (.*)/ $1}, {/^bad/ GET /}, {/^get/ NOOP}, \
                 {/^$/ NOOP}, {/^wide(.)/ NOOP $1}}";
    let replacing = |line: &str, by: &str| {
        format!("[203.0.113.1]:Pa: replacing command \"{line}\" with \"{by}\"")
    };
    // The newline is that of the line, everything else is that of the replacement.
    dialogue(
        "filter, haste",
        filter(rules),
        &[(b"HELP me\n", &[OK]), (b"help\r\nfoo\r\n", &[OK, UNKNOWN]), QUIT],
        &[
            "BARE NEWLINE from [203.0.113.1]:Pa after HELP me",
            &replacing("HELP me", "NOOP"),
            &replacing("help", "NOOP"),
            "COMMAND PIPELINING from [203.0.113.1]:Pa after NOOP: foo\\r\\n",
        ],
    );
    dialogue(
        "filter, words",
        filter(rules),
        &[
            (b"get /\r\n", &[OK]),
            (b"bad x\r\n", &[UNKNOWN]),
            (b"\r\n", &[OK]),
            (b"xfoo \t RCPT TO:<x>\r\n", &[UNKNOWN]),
            (b"\t HELP\xc3\xa9\r\n", &[OK]),
            (b"wide\xc3\xa9\r\n", &[OK]),
            (b"HELP\xff\r\n", &[UNKNOWN]),
            (b"xfoo  RCPT TO:<x>\r\n", &["a 503 5.5.1 Error: need MAIL command"]),
            QUIT,
        ],
        &[
            &replacing("get /", "NOOP"),
            &replacing("bad x", "GET /"),
            "NON-SMTP COMMAND from [203.0.113.1]:Pa after NOOP: GET /",
            &replacing("", "NOOP"),
            &replacing("xfoo ? RCPT TO:<x>", "? RCPT TO:<x>"),
            &replacing("? HELP\u{e9}", "NOOP"),
            &replacing("wide\u{e9}", "NOOP ?"),
            &replacing("xfoo  RCPT TO:<x>", " RCPT TO:<x>"),
            PASS_NEW,
        ],
    );
    let long = [b"xfoo HELP ".as_slice(), &[b'y'; 94], b"\xc3\xa9\xc3\xa9\r\n"].concat();
    dialogue(
        "filter, quotes",
        filter(rules),
        &[(long.leak(), &[UNKNOWN]), QUIT],
        &[&replacing(
            &format!("xfoo HELP {}", "y".repeat(90)),
            &format!("HELP {}?", "y".repeat(94)),
        )],
    );
    // Ours alone: postscreen's process ends here.
    dialogue(
        "filter, failure",
        filter("fail:x"),
        &[(b" NOOP\r\n", &[OK]), QUIT],
        &[
            "warning: [203.0.113.1]:Pa: fail:x lookup error for \" NOOP\"",
            "warning: [203.0.113.1]:Pa: fail:x lookup error for \"QUIT\"",
        ],
    );
}
