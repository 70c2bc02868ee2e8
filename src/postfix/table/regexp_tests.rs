use super::*;
use crate::postfix::message::Message;
use crate::postfix::table::{Answer, OpenOptions, Table};

fn read(text: impl AsRef<[u8]>) -> (RegexpTable, Vec<String>) {
    let mut messages = Vec::new();
    let table = RegexpTable::parse("F", text.as_ref(), OpenOptions::FOLDED, &mut messages);
    (table, messages.into_iter().map(|message| message.text).collect())
}

fn query(table: &RegexpTable, key: impl AsRef<[u8]>) -> Option<String> {
    let mut warnings = Vec::new();
    let answer = table.lookup(key.as_ref(), &mut warnings);
    assert_eq!(warnings, []);
    match answer {
        Answer::Found(value) => Some(value.into_owned()),
        Answer::NotFound => None,
        Answer::Failed | Answer::Asked(_) => panic!("fails"),
    }
}

/// What a table without faults says about some keys.
#[track_caller]
fn check(text: &str, keys: &[(&str, Option<&str>)]) {
    let (table, messages) = read(text);
    assert!(messages.is_empty(), "{messages:?}");
    for (key, expected) in keys {
        assert_eq!(query(&table, key).as_deref(), *expected, "{key}");
    }
}

#[test]
fn the_first_pattern_that_matches() {
    check(
        "# comment\n/^ab/ one\n|b/$|  two  words \r\n/B/\n  three\n!/x/ none of these\n",
        &[
            ("abx", Some("one")),
            ("xb/", Some("two  words")),
            ("xb", Some("three")),
            ("a", Some("none of these")),
            ("x", None),
            ("", Some("none of these")),
        ],
    );
    check("", &[("a", None)]);
}

#[test]
fn groups() {
    check(
        "/^foo(.*)bar$/ got $1 and ${1}x $(1) $$\n/x(y)?(z)/ [$1][$2]\n/(a)\\1/ $1\n/(b)\\1/ twice\n",
        &[
            ("FOOxBAR", Some("got x and xx x $")),
            ("xyz", Some("[y][z]")),
            ("xz", Some("[][z]")),
            ("aA", Some("a")),
            ("ab", None),
            ("bb", Some("twice")),
        ],
    );
    check(
        "/(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)(l)/ $12-$1-$10\n",
        &[("abcdefghijkl", Some("l-a-j"))],
    );
}

#[test]
fn flags_turn_defaults_around() {
    check(
        "/^Case$/i yes\n/^other$/ii yes\n",
        &[("case", None), ("Case", Some("yes")), ("OTHER", Some("yes"))],
    );
    check("/a(b)/x yes\n/\\(c\\)/x $1\n", &[("ab", None), ("a(b)", Some("yes")), ("c", Some("c"))]);
    check("/^b/m yes\n", &[("a\nb", Some("yes"))]);
    check("/^b/ yes\n", &[("a\nb", None)]);
}

#[test]
fn two_patterns() {
    check("/^a/!/b$/ yes\n", &[("abc", Some("yes")), ("ab", None), ("c", None)]);
    check("/^(a)/i!!|B$|i $1\n", &[("aB", Some("a")), ("ab", None), ("AB", None)]);
    check("!/a/! /b/ yes\n", &[("c", Some("yes")), ("a", None), ("b", None)]);
    // A third one is text.
    check("/a/!/b/!/c/ yes\n", &[("a", Some("!/c/ yes"))]);
    check("/a/ !/b/ yes\n", &[("a", Some("!/b/ yes"))]);
}

#[test]
fn ifs() {
    check(
        "if /a/\nIF !/b/\n/c/ no b\nEndIf\nif! /d/i\n/c/ no d\nendif\nendif\n/c/ outside\n",
        &[
            ("ac", Some("no b")),
            ("abc", Some("no d")),
            ("abcd", Some("outside")),
            ("c", Some("outside")),
        ],
    );
    let (table, messages) = read("/x/ x\nif /a/\nif /b/\n/c/ inside\n");
    assert_eq!(
        messages,
        [
            "regexp map F, line 3: IF has no matching ENDIF",
            "regexp map F, line 2: IF has no matching ENDIF"
        ]
    );
    assert_eq!(query(&table, "abc").as_deref(), Some("inside"));
    assert_eq!(query(&table, "ac"), None);
}

#[test]
fn lines_that_are_no_rules() {
    let file = "\
abc
/a
/a/z x
!
!x y
/a/! z
/a/
/a/ $
/a/ $n $0
/(a)/ $1$3$2
!/(a)/ $1
/(/ x
/a/!/[[:foo:]]/ x
if
if /b/z
if /b/ c
endif d
endif
if /(/
";
    let (table, messages) = read(file);
    let expected = [
        "regexp map F, line 1: ignoring unrecognized request",
        "regexp map F, line 2: no closing regexp delimiter \"/\": skipping this rule",
        "regexp map F, line 3: unknown regexp option \"z\": skipping this rule",
        "regexp map F, line 4: no regexp: skipping this rule",
        "regexp map F, line 5: no closing regexp delimiter \"x\": skipping this rule",
        "regexp map F, line 6: no closing regexp delimiter \"z\": skipping this rule",
        "regexp map F, line 7: no replacement text: using empty string",
        "empty macro name: \"$\"",
        "regexp map F, line 8: bad replacement syntax: skipping this rule",
        "regexp map F, line 9: non-numeric replacement index \"n\"",
        "regexp map F, line 9: out-of-range replacement index \"0\"",
        "regexp map F, line 9: bad replacement syntax: skipping this rule",
        "regexp map F, line 10: out of range replacement index \"3\": skipping this rule",
        "regexp map F, line 11: $number found in negative match replacement text: skipping this \
         rule",
        "regexp map F, line 12: Unmatched ( or \\(",
        "regexp map F, line 13: Invalid character class name",
        "regexp map F, line 14: no regexp: skipping this rule",
        "regexp map F, line 15: unknown regexp option \"z\": skipping this rule",
        "regexp map F, line 16: ignoring extra text after IF statement: \"c\"",
        "regexp map F, line 16: do not prepend whitespace to statements between IF and ENDIF",
        "regexp map F, line 17: ignoring extra text after ENDIF",
        "regexp map F, line 18: ignoring ENDIF without matching IF",
        "regexp map F, line 19: Unmatched ( or \\(",
    ];
    assert_eq!(messages, expected);
    assert_eq!(query(&table, "a").as_deref(), Some(""));
    assert_eq!(query(&table, "x"), None);
}

#[test]
fn keys_are_bytes_and_end_at_a_nul() {
    let (table, _) = read(b"/^\xff(.*)$/ bytes $1\n/^a$/ a\n/^(.)..$/ $1\n");
    assert_eq!(query(&table, b"\xffx").as_deref(), Some("bytes x"));
    assert_eq!(query(&table, b"a\0bcd").as_deref(), Some("a"));
    let long = [vec![b'x'; 5000], b"a\0b".to_vec()].concat();
    let (table, _) = read("/xa$/ end\n/^(x*)$/ $1\n");
    assert_eq!(query(&table, &long).as_deref(), Some("end"));
    for length in [0, 1, 126, 127, 128, 129, 4000] {
        let key = "x".repeat(length);
        assert_eq!(query(&table, &key), Some(key), "{length}");
    }
}

#[test]
fn results_that_are_not_utf8() {
    let text = b"/^(.)./ <$1>\n/x/ \xff\n";
    let (table, messages) = read(text);
    assert!(messages.is_empty());
    let mut warnings = Vec::new();
    for key in ["\u{e9}\u{1}", "x"] {
        assert_eq!(table.lookup(key.as_bytes(), &mut warnings), Answer::Failed);
    }
    let expected = [
        "regexp:F: key \"\u{e9}?\": non-UTF-8 value \"<?>\": malformed UTF-8 or invalid codepoint",
        "regexp:F: key \"x\": non-UTF-8 value \"?\": malformed UTF-8 or invalid codepoint",
    ];
    assert_eq!(warnings, expected.map(Message::warning));
    let lenient = RegexpTable::parse("F", text, OpenOptions::COMMANDS, &mut Vec::new());
    assert_eq!(query(&lenient, "\u{e9}").as_deref(), Some("<?>"));
}

#[test]
fn rules_in_the_name() {
    let open = |name| {
        let mut messages = Vec::new();
        let table = RegexpTable::parse_inline(name, OpenOptions::EXACT, &mut messages);
        (table.map_err(|error| error.to_string()), messages)
    };
    let (table, messages) = open("{{/^[^A-Z]/ Bogus}}");
    let table = table.unwrap();
    assert_eq!(messages, []);
    for (key, expected) in
        [("1", Some("Bogus")), ("a", None), ("Z", None), ("", None), ("\u{e9}", Some("Bogus"))]
    {
        assert_eq!(query(&table, key).as_deref(), expected, "{key}");
    }
    let (table, messages) = open("{ {if /a/}, {/b{2}/ x},{endif} {/(/ y}}");
    assert_eq!(query(&table.unwrap(), "abb").as_deref(), Some("x"));
    let text = "regexp map { {if /a/}, {/b{2}/ x},{endif} {/(/ y}}, line 4: Unmatched ( or \\(";
    assert_eq!(messages, [Message::warning(text)]);
    assert_eq!(open("{/a/ x}").0.unwrap_err(), "no '{' at start of text in \"/a/\"");
}

/// What clients say is not searched for longer than a moment.
#[test]
fn back_references_are_for_short_keys() {
    let key = |length: usize| "a".repeat(length);
    for rules in
        [r"/(a+)\1b/ x", r"/^(a*)(a*)\1\2b$/ $1", "/a/!/(a+)\\1b/ x", "if /(a+)\\1b/\n/./ x\nendif"]
    {
        let (table, messages) = read(rules);
        assert_eq!(messages, [""; 0]);
        let start = std::time::Instant::now();
        let mut warnings = Vec::new();
        assert_eq!(table.lookup(key(2000).as_bytes(), &mut warnings), Answer::Failed, "{rules}");
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
        let text = "regexp map F, line 1: a pattern with back references is for keys of at most 64 \
                    bytes";
        assert_eq!(warnings, [Message::warning(text)]);
        let _ = query(&table, key(64));
    }
    check(r"/^(.)\1$/ twice", &[("aa", Some("twice")), ("ab", None)]);
    // What looks like one.
    let (table, _) = read("/a\\\\1/ x\n/./ y");
    assert_eq!(query(&table, key(2000)).as_deref(), Some("y"));
}
