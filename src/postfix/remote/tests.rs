use super::*;
use crate::postfix::table::{OpenOptions, RemoteTable};

fn customs(proxymap: Generation) -> Customs {
    Customs { proxymap, socketmap_query: Some(200), socketmap_reply: 100_000 }
}

fn proxied(name: &str) -> Dialect {
    RemoteTable::proxy(name, OpenOptions::FOLDED).unwrap().dialect
}

/// Feeds a reply in every division into two pieces; the result must not depend on it.
#[track_caller]
fn hear(make: impl Fn() -> Talk, reply: &[u8], expected: &Progress) {
    for split in 0..=reply.len() {
        let mut talk = make();
        let (first, second) = reply.split_at(split);
        let mut progress = talk.received(first, "t:x", &mut Vec::new());
        if !second.is_empty() && progress == Progress::Waits {
            progress = talk.received(second, "t:x", &mut Vec::new());
        }
        assert_eq!(&progress, expected, "{split}");
    }
}

fn warning(text: &str, then: Then) -> Progress {
    Progress::Failed { warning: Some(text.to_owned()), then }
}

fn silent(then: Then) -> Progress {
    Progress::Failed { warning: None, then }
}

fn found_text(text: &str) -> Progress {
    Progress::Answered(RemoteAnswer::Found(text.to_owned()))
}

const NOT_FOUND: Progress = Progress::Answered(RemoteAnswer::NotFound);

const GREETING: &[u8] = b"protocol\0proxymap_protocol\0\0";

/// A connection over which a key has been asked for.
fn asked_proxymap(generation: Generation, table: &str) -> (Talk, Vec<u8>) {
    let dialect = proxied(table);
    let mut talk = Talk::new(&dialect, customs(generation), "private/proxymap");
    let mut out = Vec::new();
    assert!(talk.awaits_greeting());
    assert_eq!(talk.ask(&dialect, "t:x", b"192.0.2.1", &mut out), Asked::Sent);
    assert_eq!(out, b"", "nothing before the greeting");
    assert_eq!(talk.received(GREETING, table, &mut out), Progress::Waits);
    assert!(!talk.awaits_greeting());
    (talk, out)
}

#[test]
fn proxymap_as_recorded() {
    let ask = || asked_proxymap(Generation::UpTo310, "cidr:/etc/postfix/acl.cidr");
    let request = b"request\0lookup\0table\0cidr:/etc/postfix/acl.cidr\0flags\x00540736\0\
                    key\x00192.0.2.1\0\0";
    assert_eq!(ask().1, request);
    for (reply, expected) in [
        (&b"status\x000\0value\0reject\0\0"[..], found_text("reject")),
        (b"status\x000\0value\0\0\0", found_text("")),
        (b"status\x001\0value\0\0\0", NOT_FOUND),
        (b"status\x002\0value\0\0\0", silent(Then::NextQuestion)),
        (b"status\x005\0value\0\0\0", silent(Then::NextQuestion)),
        (
            b"status\x004\0value\0\0\0",
            warning(
                "proxymap service is not configured for table \"cidr:/etc/postfix/acl.cidr\"",
                Then::NextQuestion,
            ),
        ),
        (
            b"status\x007\0value\0\0\0",
            warning(
                "proxymap lookup failed for table \"cidr:/etc/postfix/acl.cidr\" key \
                 \"192.0.2.1\": unexpected reply status 7",
                Then::NextQuestion,
            ),
        ),
    ] {
        hear(|| ask().0, reply, &expected);
    }
}

#[test]
fn proxymap_since_3_11_opens_first_and_echoes_the_flags() {
    let (mut talk, request) = asked_proxymap(Generation::Since311, "hash:/x");
    assert_eq!(request, b"request\0open\0table\0hash:/x\0instance_flags\x00540736\0\0");
    let (dialect, mut out) = (proxied("hash:/x"), Vec::new());
    assert_eq!(talk.received(b"status\x000\0flags\x0028\0\0", "", &mut out), Progress::Waits);
    let lookup = |flags: &str, key: &str| {
        format!(
            "request\0lookup\0table\0hash:/x\0instance_flags\x00540736\0flags\0{flags}\0\
             key\0{key}\0\0"
        )
    };
    assert_eq!(out, lookup("28", "192.0.2.1").as_bytes());
    let progress = talk.received(b"status\x000\0flags\x0024\0value\0a b\0\0", "", &mut out);
    assert_eq!(progress, found_text("a b"));
    out.clear();
    assert_eq!(talk.ask(&dialect, "t:x", b"k", &mut out), Asked::Sent);
    assert_eq!(out, lookup("24", "k").as_bytes());
    let (refused, _) = asked_proxymap(Generation::Since311, "hash:/x");
    let mut refused = refused;
    let text = "proxymap service is not configured for table \"hash:/x\"";
    let progress = refused.received(b"status\x004\0flags\x000\0\0", "", &mut out);
    assert_eq!(progress, warning(text, Then::NextQuestion));
}

#[test]
fn proxymap_of_another_generation_or_none_at_all() {
    let misunderstood = |text: &str| warning(text, Then::Misunderstood);
    let old = || asked_proxymap(Generation::UpTo310, "hash:/x").0;
    let text = "proxymap lookup failed for table \"hash:/x\" key \"192.0.2.1\": invalid request";
    hear(old, b"status\x003\0value\0\0\0", &misunderstood(text));
    let text = "unexpected attribute flags from private/proxymap (expecting: value)";
    let (mut talk, mut out) = (old(), Vec::new());
    let reply = b"status\x003\0flags\x000\0value\0\0\0";
    assert_eq!(talk.received(reply, "", &mut out), misunderstood(text));
    let mut other =
        Talk::new(&proxied("hash:/x"), customs(Generation::UpTo310), "private/proxymap");
    let text = "unexpected attribute tlsproxy_protocol from private/proxymap (expecting: \
                proxymap_protocol)";
    let greeting = b"protocol\0tlsproxy_protocol\0\0";
    assert_eq!(other.received(greeting, "", &mut out), misunderstood(text));
    let (mut flood, many) = (old(), vec![b'x'; 2 << 20]);
    let text = "unexpected amount of data from private/proxymap";
    assert_eq!(flood.received(&many, "", &mut out), misunderstood(text));
}

#[test]
fn a_refused_table_that_main_cf_does_not_call_a_proxy() {
    let dialect = RemoteTable::implied("mysql:/x", OpenOptions::EXACT).dialect;
    let mut talk = Talk::new(&dialect, customs(Generation::UpTo310), "private/proxymap");
    let mut out = Vec::new();
    assert_eq!(talk.ask(&dialect, "t:x", b"k", &mut out), Asked::Sent);
    talk.received(GREETING, "", &mut out);
    let text = "proxymap service is not configured for table \"mysql:/x\"; this type of table is \
                only to be had there: list proxy:mysql:/x in main.cf:proxy_read_maps";
    let progress = talk.received(b"status\x004\0value\0\0\0", "", &mut out);
    assert_eq!(progress, warning(text, Then::NextQuestion));
    assert_eq!(talk.ask(&dialect, "t:x", b"a\0b", &mut out), Asked::NotAtAll(None));
}

#[test]
fn socketmap_replies() {
    let dialect = Dialect::Socketmap { map: "m".to_owned() };
    let make = || Talk::new(&dialect, customs(Generation::UpTo310), "inet:h:9");
    let mut out = Vec::new();
    assert_eq!(make().ask(&dialect, "t:x", b"a b", &mut out), Asked::Sent);
    assert_eq!(out, b"5:m a b,");
    let text = format!("table t:x query too large: '{}', returning 'not found'", "k".repeat(100));
    assert_eq!(make().ask(&dialect, "t:x", &[b'k'; 201], &mut out), Asked::NotAtAll(Some(text)));
    let trouble = |what: &str, then| warning(&format!("t:x socketmap server {what}"), then);
    for (reply, expected) in [
        (&b"5:OK ab,"[..], found_text("ab")),
        (b"3:OK ,", found_text("")),
        (b"2:OK,", found_text("")),
        (b"9:NOTFOUND ,", NOT_FOUND),
        (b"9:TEMP a\x01bc,", trouble("temporary error: a?bc", Then::NextQuestion)),
        (b"8:TIMEOUT ,", trouble("timeout error", Then::NextQuestion)),
        (b"6:PERM x,", trouble("permanent error: x", Then::NextQuestion)),
        (b"5:NO ab,", trouble("unknown error: ab", Then::Close)),
    ] {
        hear(make, reply, &expected);
    }
    for (reply, why) in [
        (&b"x"[..], "input format error"),
        (b":,", "input format error"),
        (b"+1:x,", "input format error"),
        (b"2:OKx", "input format error"),
        (b"1234567890", "input format error"),
        (b"100001:", "input exceeds size limit"),
    ] {
        let text = format!("table t:x lookup error: {why}");
        let progress = make().received(reply, "t:x", &mut out);
        assert_eq!(progress, warning(&text, Then::Close), "{reply:?}");
    }
}

#[test]
fn tcp_table_replies() {
    let make = || Talk::new(&Dialect::Tcp, customs(Generation::UpTo310), "h:9");
    let mut out = Vec::new();
    assert_eq!(make().ask(&Dialect::Tcp, "t:x", b"a% \xe4~", &mut out), Asked::Sent);
    assert_eq!(out, b"get a%25%20%E4~\n");
    let over = |why: &str| warning(&format!("read TCP map reply from h:9: {why}"), Then::Close);
    for (reply, expected) in [
        (&b"200 a%20b%0a\n"[..], found_text("a b\n")),
        (b"200 \n", found_text("")),
        (b"500 no\n", NOT_FOUND),
        (b"400 later\n", silent(Then::Close)),
        (b"300 x\n", over("bad status code: 300 x")),
        (b"20 x\n", over("malformed reply: 20 x")),
        (b"200\n", over("malformed reply: 200")),
        (b"200 %4\n", over("malformed reply: 200 %4")),
        (b"200 %g0\n", over("malformed reply: 200 %g0")),
    ] {
        hear(make, reply, &expected);
    }
    let progress = make().received(&[b'2'; 4096], "t:x", &mut out);
    assert_eq!(progress, over("text longer than 4096"));
}
