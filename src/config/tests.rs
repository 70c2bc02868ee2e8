use std::time::Duration;

use super::gatepost_cf::Substitute;
use super::*;
use crate::postfix::mynetworks::Style;
use crate::postfix::params::PostfixVersion;
use crate::screen::expand::CompatibilityLevel;
use crate::screen::footer::Filter;
use crate::screen::policy::{AddressFormat, Limits, Protocols, Stressed, TlsLevel, Wording};
use crate::screen::smtp::discard::{Discarded, Vocabulary};
use crate::screen::smtp::keyword::Keyword;
use crate::screen::test_set::{Action, Test, TestSet};

fn run(main_cf: &str, own: Option<&str>, version: &str) -> Result<Loaded, Fatal> {
    let own = own.map(str::as_bytes);
    let sources = Sources::from_texts(Path::new("CONF"), main_cf.as_bytes(), own, &[])?;
    load(&sources, &request(version))
}

fn request(version: &str) -> Request {
    Request {
        service_name: "smtp".to_owned(),
        process_name: "postscreen".to_owned(),
        process_id: 1,
        host_name: "mx.example.test".to_owned(),
        build_defaults: BuildDefaults::parse(&format!("mail_version = {version}")),
    }
}

fn loaded(main_cf: &str) -> Loaded {
    run(main_cf, None, "3.7.11").unwrap()
}

fn texts(messages: &[Message]) -> Vec<String> {
    let prefixed = |message: &Message| match message.level {
        Level::Info => message.text.clone(),
        Level::Warning => format!("warning: {}", message.text),
        Level::Error => format!("error: {}", message.text),
        Level::Fatal | Level::Panic => format!("fatal: {}", message.text),
    };
    messages.iter().map(prefixed).collect()
}

/// All messages of a configuration that does not work.
fn failure(main_cf: &str) -> Vec<String> {
    match run(main_cf, None, "3.7.11") {
        Ok(_) => panic!("accepted: {main_cf}"),
        Err(fatal) => texts(&fatal.messages),
    }
}

#[test]
fn an_empty_main_cf() {
    let Loaded { settings, policy, messages } = loaded("");
    assert_eq!(messages, []);
    assert_eq!(policy.enabled, TestSet::EMPTY.with(Test::Pregreet));
    assert_eq!(policy.greet_banner.as_deref(), Some("mx.example.test ESMTP Postfix"));
    assert_eq!(
        policy.limits,
        Limits { per_client: Some(50), prefix_ipv6: 128, post_queue: 100, pre_queue: 100 }
    );
    assert_eq!(policy.actions.non_smtp_command, Action::Drop);
    assert_eq!(policy.ttl.pregreet, Duration::from_secs(86_400));
    let wait = Stressed { normal: Duration::from_secs(6), stress: Duration::from_secs(2) };
    assert_eq!(policy.greet_wait, wait);
    assert_eq!(policy.wording, Wording::Old { by_compatibility_level: true });
    assert_eq!(policy.line_length_limit, 2048);
    assert_eq!(policy.delay_resolution, 2);
    assert_eq!(settings.mail_version, Some(PostfixVersion::release(3, 7, 11)));
    assert_eq!(settings.compatibility_level, CompatibilityLevel::default());
    assert_eq!(settings.cache.map.as_deref(), Some("btree:/var/lib/postfix/postscreen_cache"));
    assert_eq!(settings.cache.cleanup_interval, Some(Duration::from_secs(43_200)));
    assert_eq!(settings.access.mynetworks, None);
    assert_eq!(settings.access.mynetworks_style, Style::Subnet);
    assert!(settings.access.mynetworks_by_default);
    assert_eq!(settings.access.inet_protocols, Protocols { ipv4: true, ipv6: true });
    assert_eq!(settings.engine.tls_level, TlsLevel::None);
    assert_eq!(settings.engine.address_format, AddressFormat::External);
    assert_eq!(settings.own, OwnSettings::default());
    assert!(!settings.smtputf8);
}

#[test]
fn switched_off() {
    let Loaded { settings, policy, .. } = loaded(
        "compatibility_level = 3.6\npostscreen_greet_banner =\npostscreen_cache_map =\n\
         postscreen_cache_cleanup_interval = 0\nmynetworks =\ninet_protocols = ipv4\n\
         postscreen_client_connection_count_limit = 0",
    );
    assert_eq!((policy.greet_banner, policy.enabled), (None, TestSet::EMPTY));
    assert_eq!((settings.cache.map, settings.cache.cleanup_interval), (None, None));
    assert_eq!(settings.access.mynetworks.as_deref(), Some(""));
    assert!(!settings.access.mynetworks_by_default);
    assert_eq!(settings.access.mynetworks_style, Style::Host);
    assert_eq!(settings.access.inet_protocols, Protocols { ipv4: true, ipv6: false });
    assert_eq!(policy.limits.per_client, None);
    assert_eq!(policy.wording, Wording::Respectful);
    assert!(settings.smtputf8);
}

#[test]
fn wording_by_choice_and_by_version() {
    let old = Wording::Old { by_compatibility_level: false };
    assert_eq!(loaded("respectful_logging = no").policy.wording, old);
    let before = run("compatibility_level = 3.6", None, "3.5.25").unwrap();
    assert_eq!(before.policy.wording, old);
}

/// The first fatal message is what postscreen(8) dies of: each line of the file is a
/// problem that it finds before the next one.
#[test]
fn order_of_checks() {
    let problems = [
        (
            "syslog_facility = foo",
            "file CONF/main.cf: parameter syslog_facility: unrecognized value: foo",
        ),
        (
            "daemon_table_open_error_is_fatal = x",
            "bad boolean configuration: daemon_table_open_error_is_fatal = x",
        ),
        ("smtputf8_enable = x", "bad boolean configuration: smtputf8_enable = x"),
        ("inet_protocols = bogus", "unknown inet_protocols value \"bogus\" in \"bogus\""),
        (
            "myhostname = bad_host..x",
            "file CONF/main.cf: parameter myhostname: bad parameter value: bad_host..x",
        ),
        ("soft_bounce = x", "bad boolean configuration: soft_bounce = x"),
        ("max_idle = 5x", "parameter max_idle: bad time value or unit: 5x"),
        ("mynetworks_style = foo", "unknown mynetworks mask style value \"foo\" in \"foo\""),
        (
            "relayhost = BAD_host..x",
            "myhostname and relayhost parameter settings must not be identical: bad_host..x",
        ),
        (
            "maillog_file = /tmp/foo",
            "maillog_file value '/tmp/foo' does not match any prefix in maillog_file_prefixes",
        ),
        (
            "postscreen_dnsbl_threshold = 0",
            "invalid postscreen_dnsbl_threshold parameter value 0 < 1",
        ),
        ("postscreen_use_tls = x", "bad boolean configuration: postscreen_use_tls = x"),
        (
            "postscreen_command_filter = foo",
            "open dictionary: expecting \"type:name\" form instead of \"foo\"",
        ),
        ("postscreen_dnsbl_sites = bar*x", "bad DNSBL weight factor \"x\" in \"bar*x\""),
        ("postscreen_tls_security_level = bogus", "Invalid TLS level \"bogus\""),
        ("postscreen_denylist_action = baz", "bad postscreen_denylist_action value: baz"),
        ("postscreen_dnsbl_action = bar", "bad postscreen_dnsbl_action value: bar"),
        ("postscreen_greet_action = foo", "bad postscreen_greet_action value: foo"),
        ("postscreen_pipelining_action = foo", "bad postscreen_pipelining_action value: foo"),
        (
            "postscreen_non_smtp_command_action = foo",
            "bad postscreen_non_smtp_command_action value: foo",
        ),
        ("postscreen_bare_newline_action = foo", "bad postscreen_bare_newline_action value: foo"),
        (
            "postscreen_upstream_proxy_protocol = bad",
            "unsupported postscreen_upstream_proxy_protocol value: bad",
        ),
        (
            "info_log_address_format = bogus",
            "invalid parameter setting \"info_log_address_format = bogus\"",
        ),
    ];
    let main_cf: String = problems.iter().map(|(line, _)| format!("{line}\n")).collect();
    let found: Vec<String> =
        failure(&main_cf).into_iter().filter(|text| text.starts_with("fatal: ")).collect();
    let expected: Vec<String> = problems.iter().map(|(_, text)| format!("fatal: {text}")).collect();
    assert_eq!(found, expected);
    let bad_level = format!("compatibility_level = x\n{main_cf}");
    assert_eq!(failure(&bad_level), ["fatal: malformed compatibility level syntax: \"x\""]);
}

#[test]
fn single_failures() {
    for (main_cf, expected) in [
        (
            "smtpd_banner",
            vec!["fatal: CONF/main.cf, line 1: missing '=' after attribute name: \"smtpd_banner\""],
        ),
        (
            "postscreen_greet_wait = $ x",
            vec![
                "warning: empty macro name: \"$ x\"",
                "fatal: dictionary mail_dict: macro processing error",
            ],
        ),
        ("inet_protocols =", vec!["fatal: all network protocols are disabled (inet_protocols = )"]),
        (
            "inet_protocols = ipv4 foo",
            vec!["fatal: unknown inet_protocols value \"foo\" in \"ipv4 foo\""],
        ),
        (
            "mynetworks_style = host subnet",
            vec!["fatal: bad mynetworks_style value: host subnet; specify exactly one value"],
        ),
        ("mynetworks_style =", vec!["fatal: bad string length 0 < 1: mynetworks_style = "]),
        (
            "postscreen_greet_action =",
            vec!["fatal: bad string length 0 < 1: postscreen_greet_action = "],
        ),
        ("myhostname =", vec!["fatal: bad string length 0 < 1: myhostname = "]),
        (
            "mydomain = bad..x",
            vec![
                "warning: valid_hostname: misplaced delimiter: bad..x",
                "fatal: file CONF/main.cf: parameter mydomain: bad parameter value: bad..x",
            ],
        ),
    ] {
        assert_eq!(failure(main_cf), expected, "{main_cf}");
    }
    let domain = failure("postscreen_dnsbl_sites = -bad-.test");
    assert_eq!(domain[0], "warning: valid_hostname: misplaced hyphen: -bad-.test");
    assert_eq!(domain[1], "fatal: bad DNSBL domain name \"-bad-.test\" in \"-bad-.test\"");
}

#[test]
fn values_that_only_get_a_warning() {
    let verify = loaded("postscreen_tls_security_level = Verify");
    assert_eq!(verify.settings.engine.tls_level, TlsLevel::Encrypt);
    assert_eq!(
        texts(&verify.messages),
        [
            "warning: postscreen_tls_security_level: unsupported TLS level \"Verify\", using \"encrypt\""
        ]
    );
    let style = loaded("mynetworks = 127.0.0.1\nmynetworks_style = FOO");
    assert_eq!(
        texts(&style.messages),
        ["warning: unknown mynetworks mask style value \"FOO\" in \"FOO\""]
    );
    let filter = run("postscreen_command_filter = foo", None, "3.11.6").unwrap();
    assert_eq!(
        texts(&filter.messages),
        ["error: open dictionary: expecting \"type:name\" form instead of \"foo\""]
    );
}

#[test]
fn actions_and_tls() {
    let policy =
        loaded("postscreen_greet_action = DROP\npostscreen_dnsbl_action = continue").policy;
    assert_eq!((policy.actions.pregreet, policy.actions.dnsbl), (Action::Drop, Action::Ignore));
    let level = |main_cf: &str| loaded(main_cf).settings.engine.tls_level;
    assert_eq!(level("smtpd_use_tls = yes"), TlsLevel::May);
    assert_eq!(level("postscreen_enforce_tls = yes"), TlsLevel::Encrypt);
    assert_eq!(level("smtpd_use_tls = yes\nsmtpd_tls_security_level = none"), TlsLevel::None);
}

#[test]
fn tests_that_are_switched_on() {
    let Loaded { settings, policy, messages } = loaded(
        "postscreen_dnsbl_sites = bl.test*2\npostscreen_pipelining_enable = yes\n\
         postscreen_bare_newline_enable = yes\nsmtpd_tls_security_level = may",
    );
    let enabled: TestSet =
        [Test::Pregreet, Test::Dnsbl, Test::Pipelining, Test::BareNewline].into_iter().collect();
    assert_eq!(policy.enabled, enabled);
    assert_eq!(settings.dnsbl.sites.len(), 1);
    assert_eq!(texts(&messages), [""; 0]);
}

#[test]
fn engine_rules() {
    let Loaded { policy, messages, .. } = loaded("compatibility_level = 3.6");
    assert_eq!(texts(&messages), [""; 0]);
    let rules = policy.engine;
    assert_eq!(rules.announced.len(), Keyword::ALL.len() - 1);
    assert!(!rules.announced.contains(&Keyword::Starttls));
    assert_eq!((rules.tls_level, rules.discarded_starttls_works), (TlsLevel::None, false));
    assert_eq!(rules.discarded, Discarded::NOTHING);
    assert_eq!(rules.command_filter, None);
    assert_eq!((rules.command_count_limit, rules.message_size_limit), (20, 10_240_000));
    assert!(rules.old_starttls_syntax);
    let rules = loaded(
        "smtpd_discard_ehlo_keywords = silent-discard, dsn ETRN\ndisable_vrfy_command = yes\n\
         smtputf8_enable = no\nsmtpd_helo_required = yes",
    )
    .policy
    .engine;
    let announced = [
        Keyword::Size,
        Keyword::Etrn,
        Keyword::EnhancedStatusCodes,
        Keyword::EightBitMime,
        Keyword::Dsn,
        Keyword::Chunking,
    ];
    assert_eq!(rules.announced, announced);
    let words = Discarded::parse("etrn dsn silent-discard", Vocabulary::Before311);
    assert_eq!((rules.discarded, rules.vocabulary), (words, Vocabulary::Before311));
    let newer = run("postscreen_discard_ehlo_keywords = requiretls", None, "3.11.0").unwrap();
    let words = Discarded::parse("requiretls", Vocabulary::Since311);
    assert_eq!(newer.policy.engine.discarded, words);
    assert!(rules.vrfy_disabled && rules.helo_required && !rules.smtputf8);
    assert!(!run("", None, "3.8.0").unwrap().policy.engine.old_starttls_syntax);
    let rules = run("compatibility_level = 3.6\nsmtpd_use_tls = yes", None, "3.12-20260821")
        .unwrap()
        .policy
        .engine;
    assert_eq!(rules.announced, Keyword::ALL);
    assert_eq!((rules.tls_level, rules.discarded_starttls_works), (TlsLevel::May, true));
    let filter = loaded("postscreen_command_filter = regexp:/x").policy.engine.command_filter;
    assert_eq!(filter.as_deref(), Some("regexp:/x"));
}

#[test]
fn footers() {
    let footers = |main_cf: &str| loaded(main_cf).policy.footers;
    let stock = footers("");
    assert_eq!((stock.general.as_deref(), stock.by_reply), (None, false));
    let printable: String = (' '..='~').collect();
    assert_eq!(stock.filter, Filter::parse(&printable.replace('\\', r"\\\t")));
    let inherited = footers(
        "smtpd_reject_footer = \\c ($client_address)\nsmtpd_reject_footer_maps = fail:x\n\
         postscreen_expansion_filter = \\061\\t",
    );
    assert_eq!(inherited.general.as_deref(), Some("\\c ($client_address)"));
    assert!(inherited.by_reply);
    assert_eq!(inherited.filter, Filter::parse("1\\t"));
    assert!(!footers("postscreen_reject_footer_maps = ,").by_reply);
}

#[test]
fn parameters_of_newer_versions() {
    let bad = "postscreen_tls_ciphers =\nsmtpd_starttls_timeout = x";
    assert!(run(bad, None, "3.11.6").is_ok());
    let fatal = run(bad, None, "3.12-20260821").unwrap_err();
    assert_eq!(fatal.reason(), "bad string length 0 < 1: postscreen_tls_ciphers = ");
}

#[test]
fn overrides() {
    let overrides =
        ["smtpd_banner = from -o $x", "stress=yes", "process_name=x"].map(str::to_owned);
    let sources =
        Sources::from_texts(Path::new("CONF"), b"x = 1\nsmtpd_banner = y", None, &overrides)
            .unwrap();
    assert_eq!(sources.main_cf().value("smtpd_banner"), Some("from -o $x"));
    let called = |version: &str, main_cf: &[u8], overrides: &[String]| {
        let sources = Sources::from_texts(Path::new("CONF"), main_cf, None, overrides).unwrap();
        load(&sources, &request(version)).unwrap().policy.smtpd_banner
    };
    let banner = b"smtpd_banner = $process_name $service_name";
    let names = ["process_name=x", "service_name=y"].map(str::to_owned);
    let usual = called("3.7.11", banner, &[]);
    assert_eq!(called("3.7.11", banner, &names), "x y");
    assert_eq!(called("3.11.6", banner, &names), "x y");
    assert_eq!(called("3.12-20260821", banner, &names), usual);
    let in_main_cf = b"process_name = x\nsmtpd_banner = $process_name $service_name";
    assert_eq!(called("3.7.11", in_main_cf, &[]), usual);
    let bad = ["noequals".to_owned()];
    let fatal = Sources::from_texts(Path::new("CONF"), b"a = b", None, &bad).unwrap_err();
    assert_eq!(
        fatal.to_string(),
        "invalid \"-o noequals\" option value: missing '=' after attribute name"
    );
}

#[test]
fn missing_main_cf() {
    let fatal = Sources::read(Path::new("/nonexistent"), &[]).unwrap_err();
    assert_eq!(fatal.reason(), "open /nonexistent/main.cf: No such file or directory");
}

#[test]
fn gatepost_cf() {
    let text = "workers = 4\nbase = /x\ncache_file = $data_directory/c\ncache_max_entries = 999\n\
                workes = 2\njunk line\n";
    let Loaded { settings, messages, .. } = run("", Some(text), "3.7.11").unwrap();
    assert_eq!(settings.own.workers, 4);
    assert_eq!(settings.own.cache_file, Some(PathBuf::from("/var/lib/postfix/c")));
    assert_eq!(settings.own.cache_max_entries, 2_000_000);
    assert_eq!(
        texts(&messages),
        [
            "warning: CONF/gatepost.cf, line 6: missing '=' after attribute name: \"junk line\"",
            "warning: CONF/gatepost.cf, line 2: unknown parameter \"base\"",
            "warning: CONF/gatepost.cf, line 4: cache_max_entries = 999: need a number from 1000 \
             up; using 2000000",
            "warning: CONF/gatepost.cf, line 5: unknown parameter \"workes\"; did you mean \
             \"workers\"?",
        ]
    );
    let networks = |value: &str| {
        let text = format!("client_connection_prefix_ipv6 = {value}");
        let loaded = run("", Some(&text), "3.7.11").unwrap();
        (loaded.policy.limits.prefix_ipv6, texts(&loaded.messages))
    };
    assert_eq!(networks("64"), (64, vec![]));
    assert_eq!(networks("1"), (1, vec![]));
    assert_eq!(networks("128"), (128, vec![]));
    for bad in ["0", "129", "/64", ""] {
        let (prefix, messages) = networks(bad);
        assert_eq!(prefix, 128);
        let expected = format!(
            "warning: CONF/gatepost.cf, line 1: client_connection_prefix_ipv6 = {bad}: need a \
             number from 1 to 128; using 128"
        );
        assert_eq!(messages, [expected]);
    }
    let substitute = |value: &str| {
        let loaded = run("", Some(&format!("fallback = {value}")), "3.7.11").unwrap();
        (loaded.settings.own.fallback, texts(&loaded.messages))
    };
    assert_eq!(substitute("postscreen"), (Substitute::Postscreen, vec![]));
    assert_eq!(substitute("none"), (Substitute::None, vec![]));
    let expected = "warning: CONF/gatepost.cf, line 1: fallback = no: need one of postscreen, none; \
                    ignored";
    assert_eq!(substitute("no"), (Substitute::Postscreen, vec![expected.to_owned()]));
    let bad = run("", Some("workers = 65\ncache_file = x\nworkers = $("), "3.7.11").unwrap();
    assert_eq!(bad.settings.own, OwnSettings::default());
    assert_eq!(bad.messages.len(), 3);
}

#[test]
fn lists_of_proxies_that_cannot_be_told_trust_nobody() {
    use crate::postfix::proxy_lists::ListText;
    let networks = |own: &str| {
        let loaded =
            run("postscreen_upstream_proxy_protocol = haproxy", Some(own), "3.7.11").unwrap();
        assert!(loaded.policy.upstream_proxy.is_some());
        loaded.settings.own.proxy_lists.networks
    };
    let text = |text: &str| ListText::Text(text.to_owned());
    assert_eq!(networks("workers = 1"), ListText::Unset);
    assert_eq!(networks("upstream_proxy_networks ="), ListText::Unset);
    assert_eq!(networks("upstream_proxy_networks = 10.0.0.1, ::1"), text("10.0.0.1, ::1"));
    for mistake in [
        "upstream_proxy_networks = $nothing",
        "upstream_proxy_networks = ${nothing",
        "upstream_proxy_networks 10.0.0.1",
        "upstream_proxy_network = 10.0.0.1",
        "upstream_proxies_networks = 10.0.0.1",
    ] {
        assert_eq!(networks(mistake), ListText::Unusable, "{mistake}");
    }
    assert_eq!(networks("upstream_proxy_network = x\nupstream_proxy_networks = ::1"), text("::1"));
}
