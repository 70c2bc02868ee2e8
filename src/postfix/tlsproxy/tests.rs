use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;
use crate::postfix::params::PostfixVersion;
use crate::screen::policy::TlsLevel;

const GREETING: &[u8] = b"protocol\0tlsproxy_protocol\0\0";
const READY: &[u8] = b"status\x001\0\0";
const REFUSED: &[u8] = b"status\x000\0\0";
const LIMIT: Duration = Duration::from_secs(300);

/// What Postfix 3.7's postscreen(8) sends.
const SHORT: &str = "remote_endpoint\0[192.0.2.1]:1234\0flags\x001\0timeout\x00300\0timeout\x00300\0serverid\0smtpd\0\0";

/// The last step after these pieces.
fn after(pieces: &[&[u8]]) -> Result<Step, Failure> {
    let mut exchange = Exchange::new();
    let mut step = Ok(Step::Wait);
    for piece in pieces {
        step = exchange.received(piece);
    }
    step
}

#[test]
fn a_client_is_passed_after_greeting_and_status() {
    assert_eq!(after(&[GREETING]), Ok(Step::Ask));
    assert_eq!(after(&[GREETING, READY]), Ok(Step::Pass));
    assert_eq!(after(&[GREETING, b"status\x002\0\0"]), Ok(Step::Pass));
    assert_eq!(after(&[GREETING, REFUSED]), Err(Failure::Status(None)));
}

#[test]
fn pieces_do_not_matter() {
    let mut exchange = Exchange::new();
    let mut steps = Vec::new();
    for byte in [GREETING, READY].concat() {
        steps.push(exchange.received(&[byte]).unwrap());
    }
    steps.dedup();
    assert_eq!(steps, [Step::Wait, Step::Ask, Step::Wait, Step::Pass]);
}

/// Attributes may be added in later versions.
#[test]
fn more_attributes_do_no_harm() {
    let greeting = b"protocol\0tlsproxy_protocol\0version\x002\0\0";
    assert_eq!(after(&[greeting]), Ok(Step::Ask));
    assert_eq!(after(&[&greeting[..30], &greeting[30..]]), Ok(Step::Ask));
    assert_eq!(after(&[GREETING, b"status\x001\0reason\0\0\0"]), Ok(Step::Pass));
    assert_eq!(after(&[GREETING, b"status\x000\0reason\0x\0\0"]), Err(Failure::Status(None)));
}

/// The warnings that postscreen(8) was seen to log.
#[test]
fn what_is_wrong_is_told_in_postfix_words() {
    let text = |failure: Failure| match failure {
        Failure::Greeting(flaw) => format!("greeting: {}", flaw.text("private/stub")),
        Failure::Status(Some(flaw)) => format!("status: {}", flaw.text("private/stub")),
        Failure::Status(None) => "status".to_owned(),
        Failure::Gone => "gone".to_owned(),
    };
    for (bytes, expected) in [
        (
            &b"protocol\0proxymap_protocol\0\0"[..],
            "unexpected protocol proxymap_protocol from private/stub (expected: tlsproxy_protocol)",
        ),
        (b"foo\0bar\0\0", "unexpected attribute foo from private/stub (expecting: protocol)"),
        (b"\0", "missing attribute protocol in input from private/stub"),
    ] {
        assert_eq!(text(after(&[bytes]).unwrap_err()), format!("greeting: {expected}"));
    }
    for (bytes, expected) in [
        (&b"stat\x001\0\0"[..], "unexpected attribute stat from private/stub (expecting: status)"),
        (b"\0", "missing attribute status in input from private/stub"),
        (
            b"status\0yes\0\0",
            "malformed numerical data from private/stub while reading input attribute value: yes",
        ),
        (
            b"status\0\0\0",
            "malformed numerical data from private/stub while reading input attribute value: ",
        ),
    ] {
        let failure = after(&[GREETING, bytes]).unwrap_err();
        assert_eq!(text(failure), format!("status: {expected}"));
    }

    let closed = |pieces: &[&[u8]]| {
        let mut exchange = Exchange::new();
        for piece in pieces {
            exchange.received(piece).unwrap();
        }
        text(exchange.closed())
    };
    assert_eq!(closed(&[]), "gone");
    assert_eq!(
        closed(&[b"protocol\0tlspro"]),
        "greeting: unexpected end-of-input from private/stub while reading input attribute value"
    );
    assert_eq!(closed(&[GREETING]), "status");
    assert_eq!(
        closed(&[GREETING, b"status\0"]),
        "status: premature end-of-input on private/stub while reading input attribute value"
    );
}

#[test]
fn nobody_talks_before_he_is_asked() {
    let both = [GREETING, READY].concat();
    assert_eq!(after(&[&both]), Err(Failure::Greeting(Flaw::TooMuch)));
    let more = [READY, b"MAIL"].concat();
    assert_eq!(after(&[GREETING, &more]), Err(Failure::Status(Some(Flaw::TooMuch))));
}

#[test]
fn an_answer_without_end_ends() {
    for beginning in [&b"protocol\0"[..], b"protocol\0tlsproxy_protocol\0x\0", b""] {
        let mut exchange = Exchange::new();
        let mut step = exchange.received(&[beginning, b"x"].concat());
        let mut taken = 0;
        while step == Ok(Step::Wait) {
            step = exchange.received(&[b'x'; 512]);
            taken += 512;
        }
        assert_eq!(step, Err(Failure::Greeting(Flaw::TooMuch)));
        assert!(taken <= 4096, "{taken}");
    }
}

#[test]
fn the_short_form() {
    let request = request(&Form::Short, "192.0.2.1:1234".parse().unwrap(), LIMIT).unwrap();
    assert_eq!(request, SHORT.as_bytes());
    let six = "[2001:db8::7]:25".parse().unwrap();
    let request = super::request(&Form::Short, six, Duration::from_secs(14)).unwrap();
    assert_eq!(
        request,
        b"remote_endpoint\0[2001:db8::7]:25\0flags\x001\0timeout\x0014\0timeout\x0014\0\
          serverid\0smtpd\0\0"
    );
}

/// What postconf(1) says of the settings with which the long form was recorded: a certificate,
/// otherwise defaults.
fn recorded() -> BTreeMap<String, String> {
    let answer = "\
        tls_config_file = default\n\
        tls_config_name =\n\
        tls_high_cipherlist = H\n\
        tls_medium_cipherlist = M\n\
        tls_null_cipherlist = eNULL:!aNULL\n\
        tls_eecdh_auto_curves = X25519 X448 prime256v1 secp384r1 secp521r1\n\
        tls_eecdh_strong_curve = prime256v1\n\
        tls_eecdh_ultra_curve = secp384r1\n\
        tls_ffdhe_auto_groups = ffdhe2048 ffdhe3072\n\
        tls_disable_workarounds =\n\
        tls_ssl_options =\n\
        tlsmgr_service_name = tlsmgr\n\
        tls_session_ticket_cipher = aes-256-cbc\n\
        tls_daemon_random_bytes = 32\n\
        tls_append_default_CA = no\n\
        tls_preempt_cipherlist = no\n\
        tls_wildcard_matches_multiple_labels = yes\n\
        tls_server_sni_maps =\n\
        tls_fast_shutdown_enable = yes\n\
        tls_trust_server_ccerts = no\n\
        postscreen_tls_loglevel = 1\n\
        postscreen_tls_ccert_verifydepth = 9\n\
        postscreen_tls_always_issue_session_ids = yes\n\
        postscreen_tls_cert_file = /c.pem\n\
        postscreen_tls_key_file = /k.pem\n\
        postscreen_tls_protocols = >=TLSv1\n\
        postscreen_tls_mandatory_protocols = >=TLSv1.2\n\
        postscreen_tls_eecdh_grade = auto\n\
        postscreen_tls_ask_ccert = no\n\
        postscreen_tls_req_ccert = yes\n\
        postscreen_tls_fingerprint_digest = sha256\n\
        postscreen_starttls_timeout = 5m\n\
        postscreen_tls_enable_rpk = no\n\
        postscreen_tls_ciphers = medium\n\
        postscreen_tls_mandatory_ciphers = high\n\
        postscreen_tls_exclude_ciphers = MD5\n\
        postscreen_tls_mandatory_exclude_ciphers = RC4\n\
        postscreen_tls_trace_size_limit = 102400\n";
    let pair = |line: &str| {
        let (name, value) = line.split_once(" =").unwrap();
        (name.to_owned(), value.trim().to_owned())
    };
    answer.lines().map(pair).collect()
}

fn long(level: TlsLevel, version: Option<PostfixVersion>) -> Vec<u8> {
    let form = Form::Long(LongForm::new(&Settings {
        level,
        service_name: "smtp",
        version,
        values: &recorded(),
        set_in_main_cf: [false, false],
    }));
    request(&form, "192.0.2.1:1234".parse().unwrap(), LIMIT).unwrap()
}

const SNAPSHOT: Option<PostfixVersion> = Some(PostfixVersion::snapshot(3, 12, 20_260_821));

const FIRST_LIST: &str = "remote_endpoint\0[192.0.2.1]:1234\0flags\x001\0timeout\x00300\0\
    timeout\x00300\0serverid\0smtp\0\0";

const PROCESS: &str = "config_file\0default\0config_name\0\0tls_high_cipherlist\0H\0\
    tls_medium_cipherlist\0M\0tls_null_cipherlist\0eNULL:!aNULL\0\
    tls_eecdh_auto_curves\0X25519 X448 prime256v1 secp384r1 secp521r1 \0\
    tls_eecdh_strong_curve\0prime256v1\0tls_eecdh_ultra_curve\0secp384r1\0\
    tls_ffdhe_auto_groups\0ffdhe2048 ffdhe3072 \0tls_disable_workarounds\0\0\
    tls_ssl_options\0\0tlsmgr_service_name\0tlsmgr\0tls_session_ticket_cipher\0aes-256-cbc\0\
    tls_daemon_random_bytes\x0032\0tls_append_default_CA\x000\0tls_preempt_cipherlist\x000\0\
    tls_wildcard_matches_multiple_labels\x001\0tls_server_sni_maps\0\0\
    tls_fast_shutdown_enable\x001\0tls_trust_server_ccerts\x000\0";

#[test]
fn the_long_form() {
    let server = "log_param\0postscreen_tls_loglevel\0log_level\x001\0verifydepth\x009\0\
        cache_type\0smtpd\0set_sessid\x001\0chain_files\0\0cert_file\0/c.pem\0key_file\0/k.pem\0\
        dcert_file\0\0dkey_file\0\0eccert_file\0\0eckey_file\0\0CAfile\0\0CApath\0\0\
        protocols\0>=TLSv1\0eecdh_grade\0auto\0dh1024_param_file\0\0dh512_param_file\0\0\
        ask_ccert\x000\0mdalg\0sha256\0";
    let session = "log_param\0postscreen_tls_loglevel\0log_level\x001\0timeout\x00300\0\
        enable_rpk\x000\0requirecert\x000\0serverid\0smtp\0namaddr\0[192.0.2.1]:1234\0\
        cipher_grade\0medium\0cipher_exclusions\0MD5\0mdalg\0sha256\0\
        trace_size_limit\x00102400\0trace_peer\x00192.0.2.1\0\0";
    let expected = [FIRST_LIST, PROCESS, server, session].concat();
    let request = long(TlsLevel::May, SNAPSHOT);
    assert_eq!(String::from_utf8(request).unwrap(), expected);
}

/// The stricter settings are taken where TLS is mandatory, and a certificate can be.
#[test]
fn the_long_form_at_level_encrypt() {
    let request = String::from_utf8(long(TlsLevel::Encrypt, SNAPSHOT)).unwrap();
    for part in [
        "\0protocols\0>=TLSv1.2\0",
        "\0cipher_grade\0high\0",
        "\0cipher_exclusions\0MD5 RC4 aNULL\0",
        "\0ask_ccert\x001\0",
        "\0requirecert\x001\0",
    ] {
        assert!(request.contains(part), "{part:?} is not in {request:?}");
    }
}

/// The settings of the session have become more from snapshot to snapshot.
#[test]
fn the_long_form_by_version() {
    let session = |version: Option<PostfixVersion>| {
        let request = String::from_utf8(long(TlsLevel::May, version)).unwrap();
        let rest = request.split("mdalg\0sha256\0").nth(1).unwrap().to_owned();
        let names: Vec<String> = rest.split('\0').step_by(2).map(str::to_owned).collect();
        (names, request.contains("trace_peer"))
    };
    let snapshot = |date| Some(PostfixVersion::snapshot(3, 12, date));
    let common = ["timeout", "enable_rpk", "requirecert", "serverid", "namaddr", "cipher_grade"];
    for (version, log, trace) in [
        (snapshot(20_260_423), false, false),
        (snapshot(20_260_428), false, false),
        (snapshot(20_260_429), true, false),
        (snapshot(20_260_513), true, false),
        (snapshot(20_260_514), true, true),
        (snapshot(20_260_821), true, true),
        (Some(PostfixVersion::release(3, 12, 0)), true, true),
        (Some(PostfixVersion::release(3, 13, 1)), true, true),
        // It is older than the long form, and takes the short one from it whatever follows.
        (snapshot(20_260_101), true, true),
        (None, true, true),
    ] {
        let (names, has_trace) = session(version);
        let first = if log { "log_param" } else { "timeout" };
        assert_eq!((names[0].as_str(), has_trace), (first, trace), "{version:?}");
        let at = names.iter().position(|name| name == "timeout").unwrap();
        assert_eq!(names[at..at + common.len()], common, "{version:?}");
    }
}

#[test]
fn values_that_postconf_does_not_tell() {
    let form = LongForm::new(&Settings {
        level: TlsLevel::May,
        service_name: "smtp",
        version: None,
        values: &BTreeMap::from([
            ("postscreen_tls_cert_file".to_owned(), "None".to_owned()),
            ("tls_eecdh_auto_curves".to_owned(), "X448".to_owned()),
            ("postscreen_starttls_timeout".to_owned(), "soon".to_owned()),
            ("tls_daemon_random_bytes".to_owned(), "many".to_owned()),
            ("tls_preempt_cipherlist".to_owned(), "perhaps".to_owned()),
        ]),
        set_in_main_cf: [true, false],
    });
    let client = "192.0.2.1:1234".parse().unwrap();
    let request = request(&Form::Long(form), client, LIMIT).unwrap();
    let request = String::from_utf8(request).unwrap();
    for part in [
        "\0cert_file\0\0",
        "\0tls_eecdh_auto_curves\0X448\0",
        "\0tls_ffdhe_auto_groups\0ffdhe2048 ffdhe3072 \0",
        "\0timeout\x00300\0enable_rpk\x000\0",
        "\0tls_daemon_random_bytes\x0032\0",
        "\0tls_preempt_cipherlist\x000\0",
        "\0tls_session_ticket_cipher\0aes-256-cbc\0",
        "\0set_sessid\x001\0",
    ] {
        assert!(request.contains(part), "{part:?} is not in {request:?}");
    }
}

/// What does not fit into the buffer of an older tlsproxy is not sent at all.
#[test]
fn the_long_form_has_a_limit() {
    let with_key_file = |value: String| {
        let mut values = recorded();
        values.insert("postscreen_tls_key_file".to_owned(), value);
        let form = LongForm::new(&Settings {
            level: TlsLevel::May,
            service_name: "smtp",
            version: SNAPSHOT,
            values: &values,
            set_in_main_cf: [false, false],
        });
        request(&Form::Long(form), "192.0.2.1:1234".parse().unwrap(), LIMIT)
    };
    let room = REQUEST_LIMIT - with_key_file(String::new()).unwrap().len();
    assert_eq!(with_key_file("x".repeat(room)).unwrap().len(), REQUEST_LIMIT);
    let error = with_key_file("x".repeat(room + 1)).unwrap_err();
    assert_eq!(error, RequestError::TooLong(REQUEST_LIMIT + 1));
    assert!(matches!(with_key_file("a\0b".into()), Err(RequestError::Nul(_))));
}

#[test]
fn every_parameter_is_asked_for() {
    let names: Vec<&str> = parameter_names().collect();
    let recorded = recorded();
    assert!(recorded.keys().all(|name| names.contains(&name.as_str())));
    assert_eq!(names.iter().filter(|name| name.starts_with("tls")).count(), 20);
    for name in names.iter().filter(|name| name.starts_with("postscreen")) {
        assert!(crate::postfix::params::find(name).is_some(), "{name}");
    }
    assert!(UNSET_ENDS_IN_BLANK.iter().all(|name| names.contains(name)));
}

#[test]
fn a_descriptor_travels_behind_the_request() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut client, passed) = UnixStream::pair().unwrap();
    ask(ours.as_fd(), SHORT.as_bytes()).unwrap();
    pass(ours.as_fd(), passed.as_fd()).unwrap();
    drop(passed);
    let mut request = vec![0; SHORT.len()];
    (&theirs).read_exact(&mut request).unwrap();
    assert_eq!(request, SHORT.as_bytes());
    let mut carrier = [1];
    let (length, descriptor) =
        crate::sys::receive_with_descriptor(theirs.as_fd(), &mut carrier).unwrap();
    assert_eq!((length, carrier), (1, [0]));
    drop(descriptor.unwrap());
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(theirs);
    assert_eq!(ask(ours.as_fd(), b"x"), Err(Errno::EPIPE));
}
