use super::*;

/// Values under a main.cf of this text, on the host `vm`.
fn values(main_cf: &str) -> Values {
    let dictionary = Dictionary::parse("main.cf", main_cf.as_bytes(), &mut Vec::new()).unwrap();
    Values::new(
        dictionary,
        Surroundings {
            config_directory: "/etc/postfix".to_owned(),
            process_name: "postscreen".to_owned(),
            process_id: 4711,
            service_name: "smtp".to_owned(),
            host_name: "vm".to_owned(),
            build_defaults: BTreeMap::from([
                ("mail_version".to_owned(), "3.11.6".to_owned()),
                ("data_directory".to_owned(), "/data".to_owned()),
            ]),
        },
    )
}

fn text(main_cf: &str, name: &str) -> String {
    values(main_cf).str(name).unwrap()
}

fn error(main_cf: &str, name: &str) -> String {
    values(main_cf).check(find(name).unwrap()).unwrap_err().to_string()
}

#[test]
fn every_default_is_good() {
    let values = values("");
    for param in TABLE.iter().filter(|param| param.default != DefaultValue::Undefined) {
        assert_eq!(values.check(param), Ok(()), "{}", param.name);
    }
}

#[test]
fn references() {
    let banner = |line: &str| text(line, "smtpd_banner");
    assert_eq!(banner(""), "vm.localdomain ESMTP Postfix");
    assert_eq!(
        banner(
            "smtpd_banner = $mail_version $config_directory $process_name $process_id \
                $service_name $postscreen_dnsbl_threshold $data_directory[$nothing]"
        ),
        "3.11.6 /etc/postfix postscreen 4711 smtp 1 /data[]"
    );
    assert_eq!(banner("x = $y\ny = z\nsmtpd_banner = a $x"), "a z");
    assert_eq!(banner("config_directory = /x\nsmtpd_banner = $config_directory"), "/x");
    assert_eq!(banner("smtpd_banner = ${stress?STRESS}${stress:NOSTRESS}"), "NOSTRESS");
    assert_eq!(
        banner("process_name = x\nstress = yes\nsmtpd_banner = $process_name$stress"),
        "postscreen"
    );
    assert_eq!(text("", "postscreen_cache_map"), "btree:/data/postscreen_cache");
}

#[test]
fn host_and_domain() {
    let both = |main_cf: &str| (text(main_cf, "myhostname"), text(main_cf, "mydomain"));
    let expect = |name: &str, domain: &str| (name.to_owned(), domain.to_owned());
    assert_eq!(both(""), expect("vm.localdomain", "localdomain"));
    assert_eq!(both("mydomain = foo.org"), expect("vm.foo.org", "foo.org"));
    assert_eq!(both("myhostname = short"), expect("short", "localdomain"));
    assert_eq!(both("myhostname = mx.a.b"), expect("mx.a.b", "a.b"));
    assert_eq!(both("myhostname = x.$mydomain\nmydomain = a.b"), expect("x.a.b", "a.b"));
    assert_eq!(error("myhostname = a.", "mydomain"), "bad string length 0 < 1: mydomain = ");
}

#[test]
fn stress() {
    let pair = |main_cf: &str| {
        let pair = values(main_cf).stressed_time("postscreen_greet_wait").unwrap();
        (pair.normal.as_secs(), pair.stress.as_secs())
    };
    assert_eq!(pair(""), (6, 2));
    assert_eq!(pair("postscreen_greet_wait = ${stress?{1}:{5}}s"), (5, 1));
    assert_eq!(pair("stress = yes\npostscreen_greet_wait = 4"), (4, 4));
    assert_eq!(
        error("postscreen_greet_wait = ${stress:6s}", "postscreen_greet_wait"),
        "parameter postscreen_greet_wait: bad time value or unit: "
    );
    assert_eq!(values("max_idle = ${stress:6s}").check(find("max_idle").unwrap()), Ok(()));
}

#[test]
fn units_and_old_names() {
    let seconds = |main_cf: &str, name: &str| values(main_cf).time(name).unwrap().as_secs();
    assert_eq!(seconds("postscreen_greet_ttl = 3600", "postscreen_greet_ttl"), 3600 * 86_400);
    assert_eq!(seconds("postscreen_dnsbl_ttl = 30m", "postscreen_dnsbl_max_ttl"), 1800);
    assert_eq!(seconds("", "postscreen_dnsbl_max_ttl"), 3600);
    let action = |main_cf: &str| text(main_cf, "postscreen_denylist_action");
    assert_eq!(action("postscreen_blacklist_action = drop"), "drop");
    assert_eq!(action("postscreen_blacklist_action ="), "ignore");
    assert_eq!(
        action("postscreen_blacklist_action = drop\npostscreen_denylist_action = enforce"),
        "enforce"
    );
}

#[test]
fn raw_texts() {
    let footer = |main_cf: &str| values(main_cf).raw("postscreen_reject_footer").unwrap();
    assert_eq!(footer(""), "");
    assert_eq!(footer("smtpd_reject_footer = call $client_address"), "call $client_address");
    for reference in ["$smtpd_reject_footer", "${smtpd_reject_footer}"] {
        let main_cf = format!("smtpd_reject_footer = x $y\npostscreen_reject_footer = {reference}");
        assert_eq!(footer(&main_cf), "x $y");
    }
    assert_eq!(footer("postscreen_reject_footer = $client_address"), "$client_address");
    assert_eq!(
        error("postscreen_expansion_filter =", "postscreen_expansion_filter"),
        "bad string length (0 < 1): postscreen_expansion_filter = "
    );
}

#[test]
fn live_errors() {
    for (line, name, text) in [
        (
            "postscreen_dnsbl_threshold = 0",
            "postscreen_dnsbl_threshold",
            "invalid postscreen_dnsbl_threshold parameter value 0 < 1",
        ),
        (
            "postscreen_pre_queue_limit = 5",
            "postscreen_pre_queue_limit",
            "invalid postscreen_pre_queue_limit parameter value 5 < 10",
        ),
        (
            "postscreen_pre_queue_limit =",
            "postscreen_pre_queue_limit",
            "bad numerical configuration: postscreen_pre_queue_limit = ",
        ),
        (
            "message_size_limit = 99999999999999999999",
            "message_size_limit",
            "bad numerical configuration: message_size_limit = 99999999999999999999",
        ),
        (
            "delay_logging_resolution_limit = 9",
            "delay_logging_resolution_limit",
            "invalid delay_logging_resolution_limit parameter value 9 > 6",
        ),
        (
            "postscreen_watchdog_timeout = 5",
            "postscreen_watchdog_timeout",
            "invalid postscreen_watchdog_timeout: 5 (min 10)",
        ),
        (
            "postscreen_pipelining_enable = maybe",
            "postscreen_pipelining_enable",
            "bad boolean configuration: postscreen_pipelining_enable = maybe",
        ),
        (
            "postscreen_greet_action =",
            "postscreen_greet_action",
            "bad string length 0 < 1: postscreen_greet_action = ",
        ),
        (
            "postscreen_greet_wait = $ x",
            "postscreen_greet_wait",
            "dictionary mail_dict: macro processing error",
        ),
    ] {
        assert_eq!(error(line, name), text);
    }
    let error = values("a = $b\nb = $a\nsmtpd_banner = $a").str("smtpd_banner").unwrap_err();
    let messages = error.messages();
    assert!(messages[0].text.starts_with("unreasonable macro call nesting: "));
    assert_eq!(messages[1], crate::postfix::message::Message::fatal(error.to_string()));
    for name in ["postscreen_dnsbl_allowlist_threshold", "postscreen_client_connection_count_limit"]
    {
        assert_eq!(values(&format!("{name} = -5")).int(name), Ok(-5));
    }
}

#[test]
fn order_of_problems() {
    let all = "postscreen_use_tls = x\npostscreen_expansion_filter =\n\
               postscreen_pipelining_enable = x\npostscreen_greet_wait = 5x\n\
               postscreen_post_queue_limit = 1\npostscreen_dnsbl_threshold = 0\n\
               postscreen_greet_action =";
    let texts: Vec<String> =
        values(all).problems(Fetched::Screen).iter().map(ToString::to_string).collect();
    let subjects =
        ["greet_action", "threshold", "post_queue", "wait", "pipelining", "filter", "tls"];
    assert_eq!(texts.len(), subjects.len());
    for (text, subject) in texts.iter().zip(subjects) {
        assert!(text.contains(subject), "{text}");
    }
    let common = "max_idle = x\nsoft_bounce = x\nmessage_size_limit = x\n\
                  default_process_limit = x\nqueue_directory =";
    let problems = values(common).problems(Fetched::Common);
    let names: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let subjects = ["queue_directory", "process_limit", "size_limit", "soft_bounce", "max_idle"];
    for (text, subject) in names.iter().zip(subjects) {
        assert!(text.contains(subject), "{text}");
    }
}

#[test]
fn the_version_is_that_of_the_build() {
    let version = values("mail_version = secret").version();
    assert_eq!(version, Some(PostfixVersion::release(3, 11, 6)));
}

#[test]
fn asking_for_the_wrong_type_is_an_error() {
    assert!(matches!(values("").int("smtpd_banner"), Err(BadValue::NoSuchParameter { .. })));
    assert!(matches!(values("").str("nothing"), Err(BadValue::NoSuchParameter { .. })));
}
