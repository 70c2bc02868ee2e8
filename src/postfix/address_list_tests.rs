use std::path::{Path, PathBuf};

use super::*;
use crate::postfix::table::test_files::Files;

fn read(text: &str, files: &Files) -> (AddressList, Tables, Vec<Message>) {
    let (mut tables, mut messages) = (Tables::new(false), Vec::new());
    let list = AddressList::parse("p", text, &mut tables, files, &mut messages).unwrap();
    (list, tables, messages)
}

fn ask(list: &AddressList, tables: &Tables, address: &str) -> (Membership, Vec<String>) {
    let mut warnings = Vec::new();
    let answer = list.evaluate(tables.alone(), address.parse().unwrap(), &mut warnings);
    (answer, warnings.into_iter().map(|warning| warning.text).collect())
}

#[track_caller]
fn expect(text: &str, members: &[&str], strangers: &[&str]) {
    let (list, tables, messages) = read(text, &Files::new([]));
    assert_eq!(messages, []);
    for address in members {
        assert_eq!(ask(&list, &tables, address), (Membership::Member, vec![]), "{address}");
    }
    for address in strangers {
        assert_eq!(ask(&list, &tables, address), (Membership::Stranger, vec![]), "{address}");
    }
}

#[test]
fn patterns() {
    expect("", &[], &["127.0.0.1", "::1"]);
    expect(
        "127.7.0.1 127.11.0.0/16",
        &["127.7.0.1", "127.11.0.1"],
        &["127.7.0.2", "127.12.0.1", "::1"],
    );
    expect(
        "[127.61.0.1] [127.62.0.0]/16 [127.63.0.0/16]",
        &["127.61.0.1", "127.62.0.1", "127.63.0.1"],
        &["127.61.0.2"],
    );
    expect("[::0:1]", &["::1"], &["::2", "0.0.0.1"]);
    expect("[::/0]", &["::1", "::ffff:1.2.3.4"], &["1.2.3.4"]);
    expect(
        "[2001:db8::]/32, [2001:DB9::1]",
        &["2001:db8:ffff::1", "2001:db9::1"],
        &["2001:db9::2"],
    );
    expect("0.0.0.0/0", &["1.2.3.4"], &["::1"]);
}

#[test]
fn useless_patterns_are_passed_over() {
    expect("127.0.0.1/foo 10.0.0 host.example ABC", &[], &["127.0.0.1", "10.0.0.1", "::abc"]);
    expect("127.0.0 [127.0.0.1 127.0.0.2]", &[], &["127.0.0.1", "127.0.0.2"]);
}

#[test]
fn negation_and_order() {
    expect("!127.60.0.1 127.60.0.0/16", &["127.60.0.2"], &["127.60.0.1"]);
    expect("127.60.0.0/16 !127.60.0.1", &["127.60.0.1"], &[]);
    expect("!!127.0.0.3", &["127.0.0.3"], &["127.0.0.4"]);
    expect("!192.0.2.1 static:all", &["192.0.2.2", "::1"], &["192.0.2.1"]);
}

#[test]
fn wrong_patterns_are_found_on_the_way() {
    let (list, tables, messages) = read("127.0.0.1 10.0.0.1/8 127.0.0.0/8 [::1", &Files::new([]));
    assert_eq!(messages, []);
    assert_eq!(ask(&list, &tables, "127.0.0.1"), (Membership::Member, vec![]));
    let warning = "p: non-null host address bits in \"10.0.0.1/8\", perhaps you should use \
                   \"10.0.0.0/8\" instead";
    assert_eq!(ask(&list, &tables, "127.0.0.5"), (Membership::Unknown, vec![warning.into()]));
    let warning = "p: missing ']' character after \"[::1\"";
    assert_eq!(ask(&list, &tables, "::1"), (Membership::Unknown, vec![warning.into()]));
}

#[test]
fn tables_count_by_existence() {
    let files = Files::new([("/a", "127.1.0.0/16 reject\n"), ("/t", "ABC x\n127.0.0.9 y\n")]);
    let (list, tables, messages) = read("cidr:/a !texthash:/t", &files);
    assert_eq!(messages, []);
    assert_eq!(ask(&list, &tables, "127.1.0.1"), (Membership::Member, vec![]));
    assert_eq!(ask(&list, &tables, "127.0.0.9"), (Membership::Stranger, vec![]));
    assert_eq!(list.watched(), Vec::<PathBuf>::new());
}

#[test]
fn table_trouble() {
    let (list, tables, messages) = read("2001:db8::/32 127.0.0.0/8", &Files::new([]));
    assert_eq!(messages, [Message::error("unsupported dictionary type: 2001")]);
    let warnings = vec![
        "2001:db8::/32 is unavailable. unsupported dictionary type: 2001".to_owned(),
        "p: 2001:db8::/32: table lookup problem".to_owned(),
    ];
    assert_eq!(ask(&list, &tables, "127.0.0.1"), (Membership::Unknown, warnings));

    let (list, tables, _) = read("fail:x", &Files::new([]));
    let warnings = vec!["p: fail:x: table lookup problem".to_owned()];
    assert_eq!(ask(&list, &tables, "::1"), (Membership::Unknown, warnings));
}

#[test]
fn files_are_lists_line_by_line() {
    let files = Files::new([
        ("/f", "127.30.0.0/16\n#no\n 127.31.0.1, 127.31.0.3\n"),
        ("/c", "# x\n127.0.0.6\n!127.0.0.8, /d # and so on\n"),
        ("/d", "127.0.0.9 \r\nstatic:all\n"),
    ]);
    let (list, tables, _) = read("/f !/f 127.32.0.1", &files);
    for address in ["127.30.5.5", "127.31.0.1", "127.31.0.3", "127.32.0.1"] {
        assert_eq!(ask(&list, &tables, address), (Membership::Member, vec![]), "{address}");
    }
    assert_eq!(ask(&list, &tables, "127.33.0.1"), (Membership::Stranger, vec![]));

    let (list, tables, messages) = read("127.0.0.3 !/c", &files);
    assert_eq!(
        messages,
        [Message::warning("p: comment at end of line is not supported: # and so on\n")]
    );
    assert_eq!(list.watched(), [Path::new("/c"), Path::new("/d")]);
    assert_eq!(ask(&list, &tables, "127.0.0.8"), (Membership::Member, vec![]));
    for address in ["127.0.0.6", "127.0.0.9", "127.0.0.10"] {
        assert_eq!(ask(&list, &tables, address), (Membership::Stranger, vec![]), "{address}");
    }
}

#[test]
fn unreadable_files() {
    let (list, tables, messages) = read("127.0.0.3 /missing", &Files::new([]));
    let reason = "open file /missing: No such file or directory";
    assert_eq!(messages, [Message::error(reason)]);
    assert_eq!(ask(&list, &tables, "127.0.0.3"), (Membership::Member, vec![]));
    assert_eq!(
        ask(&list, &tables, "127.0.0.6"),
        (
            Membership::Unknown,
            vec![
                format!("non-existent:/missing is unavailable. {reason}"),
                "p: non-existent:/missing: table lookup problem".to_owned()
            ]
        )
    );
    let strict = AddressList::parse(
        "p",
        "/missing",
        &mut Tables::new(true),
        &Files::new([]),
        &mut Vec::new(),
    );
    assert_eq!(strict.unwrap_err().to_string(), reason);
}

#[test]
fn a_file_that_names_itself() {
    let (list, tables, messages) = read("/f", &Files::new([("/f", "1.2.3.4 /f\n")]));
    assert_eq!(messages, [Message::error("open file /f: it names itself")]);
    assert_eq!(ask(&list, &tables, "1.2.3.4").0, Membership::Member);
    assert_eq!(ask(&list, &tables, "1.2.3.5").0, Membership::Unknown);
}

#[test]
fn what_stops_the_service() {
    let parse = |text: &str| {
        let mut messages = Vec::new();
        AddressList::parse("p", text, &mut Tables::new(false), &Files::new([]), &mut messages)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(parse("127.0.0.1 !"), "p: no pattern after '!'");
    assert_eq!(parse("::/0"), "open dictionary: expecting \"type:name\" form instead of \"::/0\"");
}

#[test]
fn files_change_in_place() {
    let files = Files::new([("/f", "127.0.0.1\n/g\n"), ("/g", "127.0.0.2")]);
    let (mut list, mut tables, _) = read("!/f static:all", &files);
    let stranger = (Membership::Stranger, vec![]);
    assert_eq!(ask(&list, &tables, "127.0.0.2"), stranger);
    assert_eq!(list.reload(Path::new("/g"), b"127.0.0.3\n", &mut tables, &files), []);
    assert_eq!(ask(&list, &tables, "127.0.0.2"), (Membership::Member, vec![]));
    assert_eq!(ask(&list, &tables, "127.0.0.3"), stranger);
    assert_eq!(
        list.reload(Path::new("/g"), b"!\n", &mut tables, &files),
        [Message::warning("p: no pattern after '!'; /g stays as it was")]
    );
    assert_eq!(ask(&list, &tables, "127.0.0.3"), stranger);
    assert_eq!(list.reload(Path::new("/f"), b"127.0.0.4 /g /g", &mut tables, &files), []);
    assert_eq!(list.watched(), [Path::new("/f"), Path::new("/g")]);

    let (mut list, mut tables, _) = read("/missing", &files);
    assert_eq!(list.reload(Path::new("/missing"), b"127.0.0.4", &mut tables, &files), []);
    assert_eq!(ask(&list, &tables, "127.0.0.4"), (Membership::Member, vec![]));
}

/// What patterns say, one after the other.
fn one_by_one(patterns: &[&str], address: IpAddr) -> (Membership, Vec<String>) {
    let key = address_text(address);
    for pattern in patterns {
        let text = pattern.trim_start_matches('!');
        let exact = match text.strip_prefix('[') {
            None => text,
            Some(inner) => inner.strip_suffix(']').unwrap_or_default(),
        };
        let about = if exact == key {
            true
        } else if text.contains(':') != key.contains(':') {
            false
        } else {
            match network(text) {
                None => false,
                Some(Ok(network)) => network.contains(address),
                Some(Err(error)) => return (Membership::Unknown, vec![format!("p: {error}")]),
            }
        };
        if about {
            let negated = (pattern.len() - text.len()) % 2 == 1;
            let decided = if negated { Membership::Stranger } else { Membership::Member };
            return (decided, vec![]);
        }
    }
    (Membership::Stranger, vec![])
}

#[test]
fn many_patterns_agree_with_going_through_them_one_by_one() {
    // Wrong ones are rare, or nothing would be asked beyond them. What begins with a bracket is
    // no table, whatever follows.
    let patterns: Vec<String> = (0..=255)
        .flat_map(|byte| {
            [
                format!("10.{byte}.0.0/{}", 16 + byte % 17),
                format!("[10.{byte}.{byte}.1]"),
                format!("10.{byte}.7.{byte}"),
                format!("[2001:db8:{byte:x}::]/{}", 48 + byte % 81),
                format!("[2001:db8:{byte:x}::0:{byte:x}]"),
                format!("[2001:db8:{byte:x}::1]"),
                format!("10.{byte}.0"),
            ]
        })
        .chain(["[::/0".into(), "10.1.2.3/8".into(), "[2001:db8::1]/32".into(), "host".into()])
        .collect();
    let mut seed = 20_261_003_u64;
    let mut below = |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % limit
    };
    let mut seen = [0; 3];
    for _ in 0..200 {
        let count = below(400);
        let texts: Vec<String> = (0..count)
            .map(|_| "!".repeat(below(6).saturating_sub(3)) + &patterns[below(patterns.len())])
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (list, tables, messages) = read(&texts.join(" "), &Files::new([]));
        assert_eq!(messages, []);
        for _ in 0..100 {
            let byte = below(256);
            let address = match below(4) {
                0 => format!("10.{byte}.{byte}.1"),
                1 => format!("10.{byte}.7.{byte}"),
                2 => format!("2001:db8:{byte:x}::{:x}", below(2)),
                _ => format!("2001:db8:{byte:x}::{byte:x}"),
            };
            let expected = one_by_one(&texts, address.parse().unwrap());
            match expected.0 {
                Membership::Member => seen[0] += 1,
                Membership::Stranger => seen[1] += 1,
                _ => seen[2] += 1,
            }
            assert_eq!(ask(&list, &tables, &address), expected, "{address} in {texts:?}");
        }
    }
    assert!(seen.iter().all(|count| *count > 1_000), "{seen:?}");
}
