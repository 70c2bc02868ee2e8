use std::net::IpAddr;
use std::time::Instant;

use super::*;
use crate::screen::event::{Access, Cached, Filtered, Lookup, Spoken, Trust};
use crate::screen::session::SessionId;
use crate::screen::test_set::UnixTime;
use crate::screen::testing::policy;
use crate::screen::verdict::Refusal;

const PLAIN: &str = "501 Syntax: HELO hostname";
const ENHANCED: &str = "502 5.5.2 Error: command not recognized";

/// All that the default of main.cf: `smtpd_expansion_filter` allows.
fn printable() -> Filter {
    Filter { allowed: (b' '..=b'~').collect() }
}

/// A reply with a footer, without the codes of main.cf, and what there is to say about it.
fn with(reply: &str, template: &str, filter: &Filter) -> (Option<String>, Vec<String>) {
    let facts = Facts {
        client: "127.0.0.5:45310".parse().unwrap(),
        server_name: "mx.example.test",
        local_time: "Nov 22 20:16:37",
    };
    let mut messages = Vec::new();
    let text = add(reply, template, &facts, filter, &mut messages);
    (text, messages.into_iter().map(|message| message.text).collect())
}

/// A footer that works: the lines of the reply.
fn lines(reply: &str, template: &str) -> Vec<String> {
    let (text, messages) = with(reply, template, &printable());
    assert_eq!(messages, [""; 0], "{template}");
    text.unwrap().split("\r\n").map(str::to_owned).collect()
}

#[test]
fn live_layouts() {
    for (template, plain, enhanced) in [
        ("x", &["501-Syntax: HELO hostname", "501 x"][..], &["502 5.5.2 x"][..]),
        (r"\c. For help", &["501 Syntax: HELO hostname. For help"], &[]),
        (r"\c", &["501 Syntax: HELO hostname"], &[]),
        (r"\c joined\nfoo", &["501-Syntax: HELO hostname joined", "501 foo"], &["502 5.5.2 foo"]),
        (r"\c\nfoo", &["501-Syntax: HELO hostname", "501 foo"], &["502 5.5.2 foo"]),
        (
            r"one\n\ctwo",
            &["501-Syntax: HELO hostname", "501-one", r"501 \ctwo"],
            &["502-5.5.2 one", r"502 5.5.2 \ctwo"],
        ),
        (
            r"first\nsecond \n\nlast",
            &["501-Syntax: HELO hostname", "501-first", "501-second ", "501-", "501 last"],
            &["502-5.5.2 first", "502-5.5.2 second ", "502-5.5.2 ", "502 5.5.2 last"],
        ),
        (
            r"\nsecond",
            &["501-Syntax: HELO hostname", "501-", "501 second"],
            &["502-5.5.2 ", "502 5.5.2 second"],
        ),
        (
            r"first\n",
            &["501-Syntax: HELO hostname", "501-first", "501 "],
            &["502-5.5.2 first", "502 5.5.2 "],
        ),
        (
            r"a\tb\\nc\C\N\",
            &["501-Syntax: HELO hostname", r"501-a\tb\", r"501 c\C\N\"],
            &[r"502-5.5.2 a\tb\", r"502 5.5.2 c\C\N\"],
        ),
    ] {
        assert_eq!(lines(PLAIN, template), plain, "{template}");
        let below = &lines(ENHANCED, template)[1..];
        assert_eq!(below, enhanced, "{template}");
    }
}

#[test]
fn live_macros() {
    for (template, result) in [
        ("$client_address $(client_address) ${client_address}.", "127.0.0.5 127.0.0.5 127.0.0.5."),
        ("$server_name:$client_port", "mx.example.test:45310"),
        ("$localtime", "Nov 22 20:16:37"),
        ("a$$nb $client_address?{x}", "a$nb 127.0.0.5?{x}"),
        ("${client_address?{yes}:{no}}${client_address?{}}", "yes"),
        (
            "${{$client_port} < {0} ? {neg} : {${client_address?{in $server_name}}}}",
            "in mx.example.test",
        ),
        (r"${client_address?{\c not joined}}", r"\c not joined"),
        ("caf\u{e9}", "caf\u{e9}"),
    ] {
        assert_eq!(lines(PLAIN, template)[1..], [format!("501 {result}")], "{template}");
    }
}

#[test]
fn unknown_names_are_empty_and_told_each_time() {
    let (text, messages) = with(PLAIN, "$x $y $x ${z?foo} ${z:bar}", &printable());
    assert_eq!(text.as_deref(), Some("501-Syntax: HELO hostname\r\n501     bar"));
    let told = ["x", "y", "x", "z", "z"];
    assert_eq!(messages, told.map(|x| format!("unknown macro name \"{x}\" in expansion request")));
}

/// Each part is expanded for itself.
#[test]
fn a_footer_with_a_mistake_is_none() {
    for (template, warning) in [
        ("bad $ x", "empty macro name: \"bad $ x\""),
        (r"fine\nbad ${more", "truncated macro reference: \"bad ${more\""),
        (r"${client_address?{a\nb}}", "truncated macro reference: \"${client_address?{a\""),
        (r"\c ${a b}\nfine", "attribute name syntax error at: \"...a>>> b\""),
        ("${{9} <level {x} ? {y} : {z}}", "malformed compatibility level syntax: \"x\""),
    ] {
        assert_eq!(with(ENHANCED, template, &printable()), (None, vec![warning.to_owned()]));
    }
    let (text, messages) = with(ENHANCED, "$nope ${more", &printable());
    let unknown = "unknown macro name \"nope\" in expansion request";
    assert_eq!((text, messages.len(), messages[0].as_str()), (None, 2, unknown));
}

#[test]
fn live_filters() {
    for (filter, template, result) in [
        ("0123456789", "at $client_address of $server_name", "at 127_0_0_5 of _______________"),
        (
            "0123456789",
            "${{$client_address} == {127.0.0.5} ? {same}}${{$client_address} == {127_0_0_5} ? {_}}",
            "_",
        ),
        (r"\x41-Za-z\060-9\56x", "$localtime|$server_name", "________0_1____|_x._xa____.____"),
        (r"0123456789\40\56\072A-Z", "$localtime", "___ 22 20:16:37"),
        (r"\a\e\b\x\m\8\.", "$server_name", "mx.ex_m__e._e__"),
        (r"1\0002", "$client_address", "1________"),
        (r"\0610\062", "$client_address", "12__0_0__"),
        (r"\6\0617", "$client_address", "1_7______"),
        (r"127\", "$client_address", "127______"),
        (r"\\x\n\0", "$localtime", "_______________"),
        ("", "$client_address", "_________"),
    ] {
        let (text, messages) = with(PLAIN, template, &Filter::parse(filter));
        let expected = format!("501-Syntax: HELO hostname\r\n501 {result}");
        assert_eq!((text, messages), (Some(expected), vec![]), "{filter}");
    }
    assert_eq!(printable().clean("caf\u{e9}\t"), "caf___");
}

#[test]
fn odd_replies() {
    assert_eq!(with("5", "x", &printable()).0, None);
    assert_eq!(with("550", "x", &printable()).0, None);
    let long = with("550-5.1.1 a\r\n550 5.1.1 b", r"\cc\nd", &printable()).0;
    assert_eq!(long.as_deref(), Some("550-5.1.1 a\r\n550-5.1.1 bc\r\n550 5.1.1 d"));
    for (text, code) in [
        ("5.5.2 Error", "5.5.2 "),
        ("4.123.999 x", "4.123.999 "),
        ("4.4.2", "4.4.2 "),
        ("3.1.1 x", ""),
        ("5.1 x", ""),
        ("5.1.1.1 x", ""),
        ("5.1234.1 x", ""),
        ("5..1 x", ""),
        ("5.a.1 x", ""),
        ("mx.example.test Service", ""),
        ("", ""),
    ] {
        assert_eq!(enhanced_code(text), code, "{text}");
    }
}

/// A table with one footer, and what it was asked.
#[derive(Default)]
struct Table {
    footer: Option<&'static str>,
    asked: Vec<String>,
}

impl Lookups for Table {
    fn access(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<Access> {
        Lookup::Known(Access::Undecided)
    }

    fn stop_asking(&mut self, _: SessionId) {}

    fn cached(&mut self, _: IpAddr) -> Cached {
        Cached::NotFound
    }

    fn interface_allowed(&mut self, _: SessionId, _: IpAddr, _: &mut Vec<Message>) -> Lookup<bool> {
        Lookup::Known(true)
    }

    fn discarded_keywords(
        &mut self,
        _: SessionId,
        _: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        Lookup::Known(None)
    }

    fn footer(
        &mut self,
        _: SessionId,
        reply: &str,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        self.asked.push(reply.to_owned());
        Lookup::Known(self.footer.map(str::to_owned))
    }

    fn local_time(&mut self, time: UnixTime) -> String {
        format!("time {}", { time.0 })
    }

    fn command_filter(&mut self, _: SessionId, _: &[u8], _: &mut Vec<Message>) -> Lookup<Filtered> {
        Lookup::Known(Filtered::Unchanged)
    }

    fn forbidden(&mut self, _: SessionId, _: &[u8], _: &mut Vec<Message>) -> Lookup<bool> {
        Lookup::Known(false)
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        Spoken::Yes
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        Trust::Anybody
    }
}

fn sent(policy: &Policy, table: &mut Table, reply: Reply) -> Option<Box<str>> {
    let now = Now { mono: Instant::now(), wall: UnixTime(12) };
    let session = SessionId { slot: 0, generation: 1 };
    let whom = Recipient { session, client: "[2001:db8:0:0:1::5]:25".parse().unwrap() };
    match reply_with_footer(policy, now, table, whom, reply, &mut Vec::new()) {
        Lookup::Known(text) => text,
        Lookup::Asked => panic!("the table answers at once"),
    }
}

#[test]
fn which_footer_for_which_reply() {
    let mut policy = policy();
    policy.soft_bounce = true;
    policy.footers.filter = printable();
    let refused = Reply::Refused(Some(Refusal::Denylisted));
    let mut table = Table { footer: Some("own $localtime"), asked: vec![] };
    assert_eq!(sent(&policy, &mut table, refused), None);

    policy.footers.general = Some(r"\c; see $client_address".into());
    let general = "450 4.3.2 Service currently unavailable; see 2001:db8::1:0:0:5";
    assert_eq!(sent(&policy, &mut table, refused).as_deref(), Some(general));
    assert_eq!(table.asked, [""; 0]);

    policy.footers.by_reply = true;
    let own = "450-4.3.2 Service currently unavailable\r\n450 4.3.2 own time 12";
    assert_eq!(sent(&policy, &mut table, refused).as_deref(), Some(own));
    let mut empty = Table::default();
    assert_eq!(sent(&policy, &mut empty, refused).as_deref(), Some(general));
    for asked in [&table.asked, &empty.asked] {
        assert_eq!(*asked, ["550 5.3.2 Service currently unavailable"]);
    }
    assert!(sent(&policy, &mut empty, Reply::NoQueue).is_some());
    assert!(sent(&policy, &mut empty, Reply::TooManyConnections).is_some());

    empty.asked.clear();
    for reply in [Reply::Teaser, Reply::Greeting, Reply::Bye, Reply::SenderOk, Reply::Ok] {
        assert_eq!(sent(&policy, &mut empty, reply), None);
    }
    assert_eq!(empty.asked, [""; 0]);
}

/// A table that somebody else fills cannot give replies in our name.
#[test]
fn a_footer_is_no_reply() {
    for bad in ["x\r\n250 2.1.0 Ok", "x\n250 2.1.0 Ok", "x\r250 2.1.0 Ok", "x\0\x1b[31m"] {
        for template in [bad.to_owned(), format!("\\c{bad}"), format!("a\\n{bad}")] {
            for reply in [PLAIN, ENHANCED] {
                let lines = lines(reply, &template);
                assert!(lines.iter().all(|line| line.starts_with(&reply[..3])), "{lines:?}");
                assert!(!lines.concat().contains(|c: char| c.is_ascii_control()), "{lines:?}");
            }
        }
    }
    assert_eq!(lines(PLAIN, "a\tb\r\nc"), ["501-Syntax: HELO hostname", "501 a\tb??c"]);
}
