//! The tables of postscreen(8) together.

use super::*;
use crate::postfix::table::test_files::Files;

fn settings(
    access_list: &str,
    mynetworks: &str,
    allowlist_interfaces: &str,
) -> ScreenTableSettings {
    ScreenTableSettings {
        access_list: access_list.into(),
        mynetworks: mynetworks.into(),
        allowlist_interfaces: allowlist_interfaces.into(),
        ..ScreenTableSettings::default()
    }
}

fn access(tables: &ScreenTables, client: &str) -> Access {
    let mut messages = Vec::new();
    let access = tables.alone().access(client.parse().unwrap(), &mut messages).unwrap();
    assert_eq!(messages, []);
    access
}

#[test]
fn order_of_the_access_list() {
    let files = Files::new([
        ("/first", "127.0.0.4 reject\n127.0.0.6 dunno\n"),
        ("/second", "127.0.0.4 permit\n127.0.0.5 reject\n127.0.0.6 reject\n127.0.0.7 permit\n"),
    ]);
    let list = "\n  cidr:/first, permit_mynetworks,\n  texthash:/second";
    let (tables, messages) =
        ScreenTables::open(&settings(list, "127.0.0.5", "static:all"), &files).unwrap();
    assert_eq!(messages, []);
    assert_eq!(tables.watched(), [Path::new("/first"), Path::new("/second")]);
    for (client, expected) in [
        ("127.0.0.4", Access::Reject),
        ("127.0.0.5", Access::Permit),
        ("127.0.0.6", Access::Reject),
        ("127.0.0.7", Access::Permit),
        ("127.0.0.8", Access::Undecided),
    ] {
        assert_eq!(access(&tables, client), expected, "{client}");
    }
}

#[test]
fn interfaces() {
    let allowed = |list: &str, server: &str| {
        let (tables, _) = ScreenTables::open(&settings("", "", list), &Files::new([])).unwrap();
        let mut messages = Vec::new();
        let allowed =
            tables.alone().interface_allowed(server.parse().unwrap(), &mut messages).unwrap();
        (allowed, messages)
    };
    assert_eq!(allowed("!127.0.0.1 static:all", "127.0.0.1"), (false, vec![]));
    assert_eq!(allowed("!127.0.0.1 static:all", "127.0.0.2"), (true, vec![]));
    assert_eq!(allowed("127.0.0.9", "127.0.0.1"), (false, vec![]));
    let warning = "postscreen_allowlist_interfaces: fail:x: table lookup problem";
    assert_eq!(allowed("fail:x", "127.0.0.1"), (false, vec![Message::warning(warning)]));
}

#[test]
fn keywords_and_footers() {
    let files = Files::new([
        ("/ehlo", "2001:db8::5 dsn, etrn\n127.0.0.6 size\n"),
        ("/more", "127.0.0.0/8 vrfy\n127.0.0.6 chunking\n"),
    ]);
    let settings = ScreenTableSettings {
        discard_ehlo_keyword_address_maps: "texthash:/ehlo cidr:/more".into(),
        reject_footer_maps: "fail:x static:y".into(),
        ..settings("", "", "")
    };
    let (mut tables, messages) = ScreenTables::open(&settings, &files).unwrap();
    assert_eq!(messages, []);
    assert_eq!(tables.watched(), [Path::new("/ehlo"), Path::new("/more")]);
    let keywords = |tables: &ScreenTables, client: &str| {
        let mut messages = Vec::new();
        let words =
            tables.alone().discarded_keywords(client.parse().unwrap(), &mut messages).unwrap();
        assert_eq!(messages, []);
        words
    };
    assert_eq!(keywords(&tables, "2001:db8:0::5").as_deref(), Some("dsn, etrn"));
    assert_eq!(keywords(&tables, "127.0.0.6").as_deref(), Some("size"));
    assert_eq!(keywords(&tables, "127.0.0.7").as_deref(), Some("vrfy"));
    assert_eq!(keywords(&tables, "192.0.2.1"), None);
    assert_eq!(tables.reload(Path::new("/ehlo"), b"192.0.2.1 dsn\n"), Reloaded::Done(Vec::new()));
    assert_eq!(keywords(&tables, "192.0.2.1").as_deref(), Some("dsn"));

    let mut messages = Vec::new();
    assert_eq!(tables.alone().footer("450 4.3.2 No", &mut messages), Ok(None));
    let warning = "fail:x lookup error for \"450 4.3.2 No\"";
    assert_eq!(messages, [Message::warning(warning)]);
}

#[test]
fn trouble_with_keywords_is_survived() {
    for (list, warnings) in [
        ("fail:x", &["fail:x lookup error for \"127.0.0.5\""][..]),
        (
            "static:{}",
            &[
                "postscreen_discard_ehlo_keyword_address_maps lookup of 127.0.0.5 returns an \
                 empty string result",
                "postscreen_discard_ehlo_keyword_address_maps should return NO RESULT in case \
                 of NOT FOUND",
            ],
        ),
    ] {
        let settings = ScreenTableSettings {
            discard_ehlo_keyword_address_maps: list.into(),
            ..settings("", "", "")
        };
        let (tables, _) = ScreenTables::open(&settings, &Files::new([])).unwrap();
        let mut messages = Vec::new();
        let words =
            tables.alone().discarded_keywords("127.0.0.5".parse().unwrap(), &mut messages).unwrap();
        assert_eq!(words, None);
        let last = "postscreen_discard_ehlo_keyword_address_maps lookup error for 127.0.0.5";
        let expected: Vec<Message> =
            warnings.iter().chain([&last]).map(|text| Message::warning(*text)).collect();
        assert_eq!(messages, expected);
    }
}

#[test]
fn names_of_blocklists() {
    let files = Files::new([("/names", "secret.zen.test zen.test\n")]);
    let open = |map: &str| {
        let settings = ScreenTableSettings {
            dnsbl_reply_map: Some(map.into()),
            ..ScreenTableSettings::default()
        };
        ScreenTables::open(&settings, &files).unwrap().0
    };
    let mut messages = Vec::new();
    let mut tables = open("texthash:/names");
    assert_eq!(tables.watched(), [Path::new("/names")]);
    let mut name = |tables: &ScreenTables, domain| tables.alone().dnsbl_name(domain, &mut messages);
    assert_eq!(name(&tables, "secret.zen.test"), Ok(Some("zen.test".into())));
    assert_eq!(name(&tables, "open.test"), Ok(None));
    let done = Reloaded::Done(Vec::new());
    assert_eq!(tables.reload(Path::new("/names"), b"open.test x\n"), done);
    assert_eq!(name(&tables, "open.test"), Ok(Some("x".into())));
    let broken = name(&open("fail:x"), "open.test").unwrap_err();
    assert_eq!(broken.to_string(), "fail:x lookup error");
}

#[test]
fn commands() {
    let settings = ScreenTableSettings {
        command_filter: Some("regexp:/filter".into()),
        forbidden_commands: "/words regexp:{{/^[^A-Z]/ x}} fail:y".into(),
        smtputf8: true,
        ..ScreenTableSettings::default()
    };
    let files = Files::new([("/filter", "/^HELP (.*)/ NOOP $1\n"), ("/words", "BAD\n")]);
    let (mut tables, messages) = ScreenTables::open(&settings, &files).unwrap();
    assert_eq!(messages, []);
    assert_eq!(tables.watched(), [Path::new("/filter"), Path::new("/words")]);
    let mut messages = Vec::new();
    let replaced = |by: &str| Filtered::Replaced(by.into());
    assert_eq!(tables.alone().command_filter(b"help \xe9", &mut messages), Ok(replaced("NOOP ?")));
    assert_eq!(tables.alone().command_filter(b"NOOP", &mut messages), Ok(Filtered::Unchanged));
    assert_eq!(tables.alone().forbidden(b"Bad", &mut messages), Ok(true));
    assert_eq!(tables.alone().forbidden(b"1", &mut messages), Ok(true));
    assert_eq!(messages, []);
    assert_eq!(tables.alone().forbidden(b"worse", &mut messages), Ok(false));
    let warning = "postscreen_forbidden_commands: fail:y: table lookup problem";
    assert_eq!(messages, [Message::warning(warning)]);

    assert_eq!(tables.reload(Path::new("/words"), b"worse\n"), Reloaded::Done(Vec::new()));
    assert_eq!(tables.reload(Path::new("/filter"), b"/x/ y\n"), Reloaded::Done(Vec::new()));
    assert_eq!(tables.alone().forbidden(b"worse", &mut messages), Ok(true));
    assert_eq!(tables.alone().command_filter(b"x", &mut messages), Ok(replaced("y")));

    let without = ScreenTables::open(&ScreenTableSettings::default(), &files).unwrap().0;
    assert_eq!(without.alone().command_filter(b"HELP x", &mut messages), Ok(Filtered::Unchanged));
    assert_eq!(without.alone().forbidden(b"worse", &mut messages), Ok(false));
    let filter = Some("foo:x".into());
    let failing = ScreenTableSettings { command_filter: filter, ..settings };
    let (failing, opening) = ScreenTables::open(&failing, &files).unwrap();
    assert_eq!(opening, [Message::error("unsupported dictionary type: foo")]);
    let mut messages = Vec::new();
    assert_eq!(failing.alone().command_filter(b"x", &mut messages), Ok(Filtered::Failed));
    let warning = "foo:x is unavailable. unsupported dictionary type: foo";
    assert_eq!(messages, [Message::warning(warning)]);
}

#[test]
fn fatal_message_comes_last() {
    let open = |settings| ScreenTables::open(&settings, &Files::new([])).unwrap_err();
    assert_eq!(
        open(settings("cidr:/x", "127.0.0.1 # own", "!")),
        [
            Message::warning(
                "postscreen_access_list: comment at end of line is not supported: # own"
            ),
            Message::error("open /x: No such file or directory"),
            Message::fatal("postscreen_allowlist_interfaces: no pattern after '!'"),
        ]
    );
    assert_eq!(
        open(settings("", "!", "")),
        [Message::fatal("postscreen_access_list: no pattern after '!'")]
    );
    let bad = "postscreen_forbidden_commands: no pattern after '!'";
    let commands = |forbidden_commands: &str| ScreenTableSettings {
        forbidden_commands: forbidden_commands.into(),
        ..ScreenTableSettings::default()
    };
    assert_eq!(open(commands("a, !")), [Message::fatal(bad)]);
    let strict = ScreenTableSettings { table_errors_are_fatal: true, ..settings("foo:x", "", "") };
    assert_eq!(open(strict), [Message::fatal("unsupported dictionary type: foo")]);
}

#[test]
fn files_change_under_way() {
    let files = Files::new([("/a", "127.0.0.4 reject\n"), ("/n", "127.0.0.5\n")]);
    let lists = settings("permit_mynetworks cidr:/a", "/n", "/n static:all");
    let (mut tables, _) = ScreenTables::open(&lists, &files).unwrap();
    assert_eq!(tables.watched(), [Path::new("/a"), Path::new("/n")]);
    assert_eq!(access(&tables, "127.0.0.4"), Access::Reject);

    assert_eq!(tables.reload(Path::new("/a"), b"127.0.0.4 permit\n"), Reloaded::Done(Vec::new()));
    assert_eq!(access(&tables, "127.0.0.4"), Access::Permit);

    // A list that newly names a table, or a file, is not for this process.
    for text in [&b"cidr:/b\n"[..], b"hash:/b", b"127.0.0.9 /c", b"cidr:/b\n"] {
        assert_eq!(tables.reload(Path::new("/n"), text), Reloaded::NeedsMore);
        assert_eq!(access(&tables, "127.0.0.5"), Access::Permit, "the old list counts");
        assert_eq!(access(&tables, "127.0.0.9"), Access::Undecided);
    }
    // What needs no file is fine.
    let done = Reloaded::Done(Vec::new());
    assert_eq!(tables.reload(Path::new("/n"), b"inline:{127.0.0.9=x}\n"), done);
    assert_eq!(access(&tables, "127.0.0.9"), Access::Permit);
    assert_eq!(access(&tables, "127.0.0.5"), Access::Undecided);
}
