//! STARTTLS with a tlsproxy(8) that does as it should, or anything else.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Client, Next};
use crate::proc::{Process, open_files};
use crate::site::Site;
use crate::tlsproxy::{Act, Full, GREETING, READY, REFUSED, Tlsproxy};
use crate::{A_WHILE, PATIENCE, eventually};

use Act::{Drop, Hang, Hear, Pause, Say, Serve};

const BANNER: &str = "220 mx.example.test ESMTP Postfix";
const OK: &str = "250 2.0.0 Ok";
const SENDER_OK: &str = "250 2.1.0 Ok";
const LATER: &str = "450 4.3.2 Service currently unavailable";
const TRY_LATER: &str = "421 4.3.2 Service currently unavailable";
const NO_SENDER: &str = "503 5.5.1 Error: need MAIL command";
const READY_FOR_TLS: &str = "220 2.0.0 Ready to start TLS";
const UNAVAILABLE: &str = "454 4.7.0 TLS not available due to local problem";
const BYE: &str = "221 2.0.0 Bye";

/// How long tlsproxy(8) may take for each of its answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A site where everybody meets the engine at once.
fn site(level: &str) -> Site {
    Site::new(&format!(
        "postscreen_greet_banner =\n\
         postscreen_bare_newline_enable = yes\n\
         postscreen_tls_security_level = {level}"
    ))
}

/// A client that has been greeted.
fn greeted(site: &Site) -> Client {
    let mut client = site.connect();
    client.expect(BANNER);
    client
}

/// Says EHLO, and tells whether STARTTLS is announced.
#[track_caller]
fn is_offered(client: &mut Client) -> bool {
    client.send("EHLO client.example\r\n");
    let mut offered = false;
    loop {
        let Next::Line(line) = client.next_within(PATIENCE) else { panic!("no reply to EHLO") };
        offered |= line == "250-STARTTLS";
        if line.starts_with("250 ") {
            return offered;
        }
    }
}

/// Gets into TLS.
#[track_caller]
fn start_tls(client: &mut Client) {
    client.command("STARTTLS", READY_FOR_TLS);
    client.start_tls();
}

#[test]
fn a_session_goes_on_in_tls() {
    let site = site("may");
    let tlsproxy = Tlsproxy::start(&site);
    let service = site.start();
    let worker = service.worker();
    let before = open_files(worker).len();

    let mut client = greeted(&site);
    assert!(is_offered(&mut client));
    client.command("MAIL FROM:<a@client.example>", SENDER_OK);
    start_tls(&mut client);
    let name = client.name().to_owned();
    let request = format!(
        "remote_endpoint\0{name}\0flags\x001\0timeout\x00300\0timeout\x00300\0serverid\0smtpd\0\0"
    );
    assert_eq!(String::from_utf8(tlsproxy.next_request()).unwrap(), request);
    // What was said in the clear is forgotten.
    client.command("RCPT TO:<b@example.test>", NO_SENDER);
    assert!(!is_offered(&mut client));
    client.command("STARTTLS", "554 5.5.1 Error: TLS already active");
    client.command("MAIL FROM:<c@client.example>", SENDER_OK);
    client.command("RCPT TO:<b@example.test>", LATER);
    assert_eq!(open_files(worker).len(), before + 1, "one descriptor for a client");
    client.command("QUIT", BYE);
    client.expect_end();
    site.log.wait(&format!("PASS NEW {name}"));
    site.log.wait(&format!("DISCONNECT {name}"));
    site.log.wait(&format!(
        "NOQUEUE: reject: RCPT from {name}: {LATER}; from=<c@client.example>, \
         to=<b@example.test>, proto=ESMTP, helo=<client.example>"
    ));
    eventually("descriptors closed", || open_files(worker).len() == before);
    assert_eq!(site.log.count("warning: "), 0);
    assert_eq!(site.log.count("HANGUP"), 0);
}

#[test]
fn a_client_that_leaves_tls_hangs_up() {
    let site = site("may");
    let _tlsproxy = Tlsproxy::start(&site);
    let _service = site.start();
    let mut client = greeted(&site);
    start_tls(&mut client);
    client.command("NOOP", OK);
    let name = client.name().to_owned();
    drop(client);
    site.log.wait_containing(&format!("from {name} in tests after SMTP handshake"));
    site.log.wait(&format!("DISCONNECT {name}"));
}

const WAIT: Act = Pause(A_WHILE);
const NO_GREETING: &str =
    "problem receiving protocol attribute from private/tlsproxy service: Application error";
const NO_STATUS: &str = "problem receiving status from private/tlsproxy service";
const TOO_MUCH: &str = "unexpected amount of data from private/tlsproxy";

/// What tlsproxy does, and what is logged about it. The pauses keep a connection from being
/// closed before all is read.
const FAILURES: &[(&[Act], &[&str])] = &[
    (&[], &["error sending request to private/tlsproxy service: Broken pipe"]),
    (
        &[Say(b"protocol\0tlspro")],
        &[
            "unexpected end-of-input from private/tlsproxy while reading input attribute value",
            NO_GREETING,
        ],
    ),
    (
        &[Say(b"220 mx.example.test\r\n\0\0\0"), WAIT],
        &[
            "unexpected attribute 220 mx.example.test?? from private/tlsproxy (expecting: \
             protocol)",
            NO_GREETING,
        ],
    ),
    (
        &[Say(b"protocol\0proxymap_protocol\0\0"), WAIT],
        &[
            "unexpected protocol proxymap_protocol from private/tlsproxy (expected: \
             tlsproxy_protocol)",
            NO_GREETING,
        ],
    ),
    (&[Say(b"protocol\0"), Say(&[b'x'; 100_000]), WAIT], &[TOO_MUCH, NO_GREETING]),
    (&[Say(b"protocol\0tlsproxy_protocol\0\0status\x001\0\0"), WAIT], &[TOO_MUCH, NO_GREETING]),
    (&[Say(GREETING), Hear], &[NO_STATUS]),
    (&[Say(GREETING), Hear, Say(REFUSED), WAIT], &[NO_STATUS]),
    (
        &[Say(GREETING), Hear, Say(b"status\0yes\0\0"), WAIT],
        &[
            "malformed numerical data from private/tlsproxy while reading input attribute \
             value: yes",
            NO_STATUS,
        ],
    ),
    (
        &[Say(GREETING), Hear, Say(b"\0"), WAIT],
        &["missing attribute status in input from private/tlsproxy", NO_STATUS],
    ),
    (
        &[Say(GREETING), Hear, Say(b"status\0")],
        &[
            "premature end-of-input on private/tlsproxy while reading input attribute value",
            NO_STATUS,
        ],
    ),
    (
        &[Say(GREETING), Hear, Say(b"status\x001\0"), Say(&[0xff; 100_000]), WAIT],
        &[TOO_MUCH, NO_STATUS],
    ),
];

/// What goes wrong before the client's socket is passed on leaves it in the clear, with
/// everything that it has sent.
#[test]
fn a_tlsproxy_that_fails_is_survived() {
    // Where TLS is mandatory, it is tried every time.
    let site = site("encrypt");
    let tlsproxy = Tlsproxy::start(&site);
    let service = site.start();
    let before = open_files(service.worker()).len();
    for (script, warnings) in FAILURES {
        tlsproxy.follow(script);
        let logged = site.log.count("warning: ");
        let mut client = greeted(&site);
        client.send("STARTTLS\r\nNOOP\r\nNO");
        client.expect(UNAVAILABLE);
        client.expect(OK);
        client.command("OP", OK);
        assert!(is_offered(&mut client), "{script:?}");
        client.command("QUIT", BYE);
        client.expect_end();
        site.log.wait(&format!("DISCONNECT {}", client.name()));
        let records = site.log.records();
        let all = records.iter().filter_map(|record| record.text.strip_prefix("warning: "));
        let new: Vec<&str> = all.skip(logged).collect();
        assert_eq!(new, *warnings, "{script:?}");
    }
    drop(tlsproxy);
    let mut client = greeted(&site);
    client.command("STARTTLS", UNAVAILABLE);
    client.command("QUIT", BYE);
    client.expect_end();
    let gone = "connect to private/tlsproxy service: No such file or directory";
    site.log.wait(&format!("warning: {gone}"));
    eventually("descriptors closed", || open_files(service.worker()).len() == before);
    assert_eq!(site.log.count("HANGUP"), 0);
}

#[test]
fn a_tlsproxy_may_be_slow_and_speak_in_pieces() {
    const SCRIPT: &[Act] = &[
        Say(b"proto"),
        Pause(Duration::from_millis(300)),
        Say(b"col\0tlsproxy_protocol\0"),
        Pause(Duration::from_millis(300)),
        Say(b"\0"),
        Hear,
        Say(b"status\0"),
        Pause(Duration::from_millis(300)),
        Say(b"1\0\0"),
        Pause(Duration::from_millis(300)),
        Serve,
    ];
    let site = site("may");
    let _tlsproxy = Tlsproxy::with_script(&site, SCRIPT);
    let _service = site.start();
    let mut client = greeted(&site);
    start_tls(&mut client);
    client.command("NOOP", OK);
    assert_eq!(site.log.count("warning: "), 0);
}

#[test]
fn a_tlsproxy_that_says_nothing_is_not_waited_for_for_ever() {
    let site = site("may");
    let tlsproxy = Tlsproxy::with_script(&site, &[Hang]);
    let _service = site.start();
    let start = Instant::now();
    let mut first = greeted(&site);
    first.send("STARTTLS\r\nNOOP\r\n");
    eventually("an attempt", || tlsproxy.connections() == 1);
    tlsproxy.follow(&[Say(GREETING), Hear, Hang]);
    let mut second = greeted(&site);
    second.send("STARTTLS\r\nNOOP\r\n");
    tlsproxy.next_request();
    for client in [&mut first, &mut second] {
        client.expect(UNAVAILABLE);
        client.expect(OK);
    }
    assert!(start.elapsed() >= ANSWER_LIMIT);
    site.log.wait(
        "warning: timeout receiving protocol attribute from private/tlsproxy service: \
         Resource temporarily unavailable",
    );
    site.log.wait("warning: timeout receiving status from private/tlsproxy service");
}

/// After that there is no way back.
#[test]
fn a_tlsproxy_that_dies_with_the_client_ends_the_session() {
    let site = site("encrypt");
    let tlsproxy = Tlsproxy::with_script(&site, &[Say(GREETING), Hear, Say(READY), Drop]);
    let service = site.start();
    let before = open_files(service.worker()).len();
    let mut client = greeted(&site);
    client.command("STARTTLS", READY_FOR_TLS);
    client.expect_end();
    let name = client.name().to_owned();
    site.log.wait_containing(&format!("from {name} in tests after SMTP handshake"));
    site.log.wait(&format!("DISCONNECT {name}"));
    assert_eq!(site.log.count("warning: "), 0);

    // Whether the descriptor was sent before the end or not is a matter of chance.
    tlsproxy.follow(&[Say(GREETING), Hear, Say(READY)]);
    for _ in 0..20 {
        let mut client = greeted(&site);
        client.send("STARTTLS\r\n");
        match client.next_within(PATIENCE) {
            Next::Line(line) if line == UNAVAILABLE => client.command("QUIT", BYE),
            Next::Line(line) if line == READY_FOR_TLS => {}
            next => panic!("{next:?}"),
        }
        assert!(matches!(client.next_within(PATIENCE), Next::End | Next::Reset));
    }
    site.log.wait_count("DISCONNECT", 21);
    let told = site.log.count("warning: problem sending file handle to private/tlsproxy service");
    assert_eq!(site.log.count("HANGUP"), 21 - told);
    eventually("descriptors closed", || open_files(service.worker()).len() == before);
}

/// Neither what we have read behind STARTTLS gets into the TLS session, nor what the kernel has.
#[test]
fn plain_text_does_not_get_into_tls() {
    let site = site("may");
    let tlsproxy = Tlsproxy::with_script(&site, &[Say(GREETING), Hear, Hang, Say(READY), Serve]);
    let _service = site.start();
    let mut early = greeted(&site);
    early.send("STARTTLS\r\nMAIL FROM:<a@client.example>\r\n");
    let mut late = site.connect_from("127.0.0.2");
    late.expect(BANNER);
    late.send("STARTTLS\r\n");
    tlsproxy.next_request();
    tlsproxy.next_request();
    late.send("MAIL FROM:<a@client.example>\r\n");
    std::thread::sleep(A_WHILE);
    tlsproxy.release();
    for client in [&mut early, &mut late] {
        client.expect(READY_FOR_TLS);
        client.start_tls();
    }
    early.command("RCPT TO:<b@example.test>", NO_SENDER);
    // tlsproxy(8) would take it for a bad handshake; its stub makes one long word of it.
    late.command("", "502 5.5.2 Error: command not recognized");
    late.command("RCPT TO:<b@example.test>", NO_SENDER);
}

#[test]
fn after_three_failures_starttls_is_withheld() {
    let site = site("may");
    let tlsproxy = Tlsproxy::with_script(&site, &[Say(GREETING), Hear, Say(REFUSED)]);
    let _service = site.start();
    let mut client = greeted(&site);
    for _ in 0..3 {
        assert!(is_offered(&mut client));
        client.command("STARTTLS", UNAVAILABLE);
    }
    assert!(!is_offered(&mut client));
    assert!(!is_offered(&mut greeted(&site)), "to nobody");
    client.command("STARTTLS", UNAVAILABLE);
    site.log.wait(
        "warning: private/tlsproxy service failed 3 times in a row: STARTTLS is not offered \
         for 60s",
    );
    assert_eq!(tlsproxy.connections(), 3);
    assert_eq!(site.log.count("warning: "), 4);
}

#[test]
fn a_queue_that_is_full_for_a_moment_is_waited_for() {
    let site = site("may");
    let full = Full::start(&site);
    let _service = site.start();
    let mut client = greeted(&site);
    client.send("STARTTLS\r\n");
    client.expect_nothing();
    let _tlsproxy = full.drain();
    client.expect(READY_FOR_TLS);
    client.start_tls();
    client.command("NOOP", OK);
    assert_eq!(site.log.count("warning: "), 0);
}

#[test]
fn a_queue_that_stays_full_is_given_up() {
    let site = site("may");
    let _full = Full::start(&site);
    let _service = site.start();
    let mut client = greeted(&site);
    let start = Instant::now();
    client.command("STARTTLS", UNAVAILABLE);
    assert!(start.elapsed() >= Duration::from_secs(1));
    site.log.wait("warning: connect to private/tlsproxy service: Resource temporarily unavailable");
}

#[test]
fn a_client_that_leaves_while_tlsproxy_is_asked_is_found_out() {
    let site = site("may");
    let tlsproxy = Tlsproxy::with_script(&site, &[Say(GREETING), Hear, Hang, Say(REFUSED)]);
    let service = site.start();
    let before = open_files(service.worker()).len();
    let mut client = greeted(&site);
    client.send("STARTTLS\r\nMAIL FROM:<>\r\n");
    tlsproxy.next_request();
    let name = client.name().to_owned();
    client.reset();
    tlsproxy.release();
    site.log.wait_containing(&format!("from {name} in tests after SMTP handshake"));
    site.log.wait(&format!("DISCONNECT {name}"));
    eventually("descriptors closed", || open_files(service.worker()).len() == before);
}

/// A descriptor that is left in epoll when it is passed on would report everything that the
/// client sends, and keep the loop awake.
#[test]
fn a_session_in_tls_costs_nothing_while_it_is_silent() {
    let site = site("may");
    let _tlsproxy = Tlsproxy::start(&site);
    let service = site.start();
    let mut clients: Vec<Client> = (0..10).map(|_| greeted(&site)).collect();
    for client in &mut clients {
        start_tls(client);
        client.command("NOOP", OK);
    }
    let worker = service.worker();
    let before = Process::find(worker).unwrap().ticks;
    std::thread::sleep(Duration::from_secs(1));
    let used = Process::find(worker).unwrap().ticks - before;
    assert!(used <= 10, "{used} ticks in a second");
}

#[test]
fn a_crowd_gets_into_tls() {
    const CROWD: usize = 60;
    let site = Site::new(
        "postscreen_greet_banner =\n\
         postscreen_bare_newline_enable = yes\n\
         postscreen_tls_security_level = may\n\
         postscreen_client_connection_count_limit = 0",
    );
    let _tlsproxy = Tlsproxy::start(&site);
    let _service = site.start();
    let mut clients: Vec<Client> = (0..CROWD).map(|_| greeted(&site)).collect();
    for client in &mut clients {
        client.send("STARTTLS\r\n");
    }
    for client in &mut clients {
        client.expect(READY_FOR_TLS);
        client.start_tls();
        client.send("QUIT\r\n");
    }
    for client in &mut clients {
        client.expect(BYE);
        client.expect_end();
    }
    site.log.wait_count("DISCONNECT", CROWD);
    assert_eq!(site.log.count("warning: "), 0);
}

#[test]
fn a_session_in_tls_survives_a_reload() {
    let site = site("may");
    let tlsproxy = Tlsproxy::start(&site);
    let mut service = site.start();
    let mut inside = greeted(&site);
    start_tls(&mut inside);
    // One more is on its way there.
    tlsproxy.follow(&[Say(GREETING), Hear, Hang, Say(READY), Serve]);
    let mut outside = site.connect_from("127.0.0.2");
    outside.expect(BANNER);
    outside.send("STARTTLS\r\n");
    tlsproxy.next_request();
    tlsproxy.next_request();
    service.close_status();
    assert_eq!(service.wait_end().code(), Some(0));
    let _successor = site.start();
    tlsproxy.release();
    outside.expect(READY_FOR_TLS);
    outside.start_tls();
    for client in [&mut inside, &mut outside] {
        client.command("MAIL FROM:<>", SENDER_OK);
        client.command("RCPT TO:<b@example.test>", LATER);
        client.command("QUIT", BYE);
        client.expect_end();
        site.log.wait(&format!("PASS NEW {}", client.name()));
    }
    service.wait_gone();
    assert_eq!(site.log.count("warning: "), 0);
}

#[test]
fn sigterm_is_told_in_tls_and_before() {
    let site = site("may");
    let tlsproxy = Tlsproxy::start(&site);
    let mut service = site.start();
    let mut inside = greeted(&site);
    start_tls(&mut inside);
    inside.command("NOOP", OK);
    tlsproxy.follow(&[Say(GREETING), Hear, Hang]);
    let mut outside = greeted(&site);
    outside.send("STARTTLS\r\n");
    tlsproxy.next_request();
    tlsproxy.next_request();
    service.signal(Signal::SIGTERM);
    for client in [&mut inside, &mut outside] {
        client.expect(TRY_LATER);
        client.expect_end();
        site.log.wait(&format!("DISCONNECT {}", client.name()));
    }
    service.wait_gone();
}

/// The time limit of a line holds in TLS too.
#[test]
fn nobody_stays_in_tls_for_ever() {
    let site = Site::new(
        "postscreen_greet_banner =\n\
         postscreen_bare_newline_enable = yes\n\
         postscreen_tls_security_level = may\n\
         postscreen_command_time_limit = 1s\n\
         max_idle = 1s",
    );
    let tlsproxy = Tlsproxy::start(&site);
    let mut service = site.start();
    let mut client = greeted(&site);
    start_tls(&mut client);
    assert!(String::from_utf8(tlsproxy.next_request()).unwrap().contains("\0timeout\x001\0"));
    client.expect("421 4.4.2 mx.example.test Error: timeout exceeded");
    client.expect_end();
    site.log.wait(&format!("COMMAND TIME LIMIT from {} after STARTTLS", client.name()));
    assert_eq!(service.wait_end().code(), Some(0), "no session is left");
}

/// Postfix 3.12 is told what its tlsproxy needs to know, in one piece.
#[test]
fn the_long_form_is_for_newer_versions() {
    for version in ["3.12-20260821", "3.13.1"] {
        let site = site("may");
        site.postconf(&format!(
            "mail_version = {version}\n\
             postscreen_tls_cert_file = /etc/postfix/cert.pem\n\
             postscreen_tls_key_file = /etc/postfix/key.pem\n\
             tls_medium_cipherlist = aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH\n"
        ));
        let tlsproxy = Tlsproxy::start(&site);
        let _service = site.start();
        let mut client = greeted(&site);
        start_tls(&mut client);
        client.command("NOOP", OK);
        let request = String::from_utf8(tlsproxy.next_request()).unwrap();
        let name = client.name();
        let first = format!(
            "remote_endpoint\0{name}\0flags\x001\0timeout\x00300\0timeout\x00300\0\
             serverid\0smtp\0\0config_file\0default\0"
        );
        assert!(request.starts_with(&first), "{request:?}");
        for part in [
            "\0tls_medium_cipherlist\0aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH\0",
            "\0cert_file\0/etc/postfix/cert.pem\0key_file\0/etc/postfix/key.pem\0",
            "\0trace_size_limit\x00102400\0trace_peer\x00127.0.0.1\0\0",
        ] {
            assert!(request.contains(part), "{part:?} is not in {request:?}");
        }
        // Five pairs and an end, 52 pairs and an end; and what is behind the last NUL.
        assert_eq!(request.split('\0').count(), 10 + 1 + 104 + 1 + 1);
    }
}

/// The settings do not matter as long as nobody is asked to do TLS.
#[test]
fn postconf_is_not_asked_in_vain() {
    let calls = |level: &str| {
        let site = site(level);
        site.postconf("mail_version = 3.12.0\n");
        let _service = site.start();
        fs::read_to_string(site.path("program/calls")).unwrap().lines().count()
    };
    assert_eq!((calls("none"), calls("may")), (1, 2));
}
