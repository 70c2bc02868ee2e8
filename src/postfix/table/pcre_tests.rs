use std::time::{Duration, Instant};

use super::*;
use crate::postfix::message::Message;
use crate::postfix::table::{Answer, OpenOptions, Table};

fn read(text: impl AsRef<[u8]>) -> (PcreTable, Vec<String>) {
    let mut messages = Vec::new();
    let table = PcreTable::parse("F", text.as_ref(), OpenOptions::FOLDED, &mut messages);
    (table, messages.into_iter().map(|message| message.text).collect())
}

/// The value, and what is warned of.
fn ask(table: &PcreTable, key: impl AsRef<[u8]>) -> (Option<String>, Vec<Message>) {
    let mut warnings = Vec::new();
    let answer = match table.lookup(key.as_ref(), &mut warnings) {
        Answer::Found(value) => Some(value.into_owned()),
        Answer::NotFound => None,
        Answer::Failed | Answer::Asked(_) => panic!("fails"),
    };
    (answer, warnings)
}

#[track_caller]
fn check(text: &str, keys: &[(&str, Option<&str>)]) {
    let (table, messages) = read(text);
    assert!(messages.is_empty(), "{messages:?}");
    for (key, expected) in keys {
        assert_eq!(ask(&table, key), (expected.map(str::to_owned), vec![]), "{key}");
    }
}

#[test]
fn rules() {
    check(
        "/^foo(.*)bar$/ got $1 and ${1}x $$\n/^Case$/i casesens\n|^pipe| p\n\
         /^x(?<n>y)/ named $1\n/^m\\/n$/ slash\nif !/^zz/\n/^q/ q\nendif\n/(u)(v)?/ [$2]\n\
         !/n/ no n\n",
        &[
            ("fooXbar", Some("got X and Xx $")),
            ("FOOXBAR", Some("got X and Xx $")),
            ("Case", Some("casesens")),
            ("case", Some("no n")),
            ("pipe", Some("p")),
            ("xyz", Some("named y")),
            ("m/n", Some("slash")),
            ("qq", Some("q")),
            ("u", Some("[]")),
            ("uv", Some("[v]")),
            ("n", None),
        ],
    );
}

#[test]
fn flags_turn_defaults_around() {
    check("/^a b$/x y\n", &[("ab", Some("y")), ("a b", None)]);
    check("/^b/m y\n", &[("a\nb", Some("y"))]);
    check("/^b/ y\n", &[("a\nb", None)]);
    check("/a.b/ y\n", &[("a\nb", Some("y"))]);
    check("/a.b/s y\n", &[("a\nb", None), ("axb", Some("y"))]);
    check("/b/A y\n", &[("ab", None), ("ba", Some("y"))]);
    check("/a$/E y\n/a$/ n\n", &[("a\n", Some("n")), ("a", Some("y"))]);
    check("/(a+)/U $1\n", &[("aaa", Some("a"))]);
    check("/(a+)/UU $1\n", &[("aaa", Some("aaa"))]);
    check("/a/iis y\n", &[("A", Some("y"))]);
}

#[test]
fn lines_that_are_no_rules() {
    let (table, messages) =
        read("a\n/a\n/a/!/b/ x\n/a/q x\n/a/X old\n/b(/ x\n/c/ $0\n/(c)/ $2\n!/(c)/ $1\n!\n/d/\n");
    let expected = [
        "pcre map F, line 1: ignoring unrecognized request",
        "pcre map F, line 2: no closing regexp delimiter \"/\": ignoring this rule",
        "pcre map F, line 3: unknown regexp option \"!\": skipping this rule",
        "pcre map F, line 4: unknown regexp option \"q\": skipping this rule",
        "pcre map F, line 5: ignoring obsolete regexp option \"X\"",
        "pcre map F, line 6: error in regex at offset 2: missing closing parenthesis",
        "pcre map F, line 7: out of range replacement index \"0\"",
        "pcre map F, line 7: bad replacement syntax: skipping this rule",
        "pcre map F, line 8: out of range replacement index \"2\": skipping this rule",
        "pcre map F, line 9: $number found in negative match replacement text: skipping this rule",
        "pcre map F, line 10: no regexp: skipping this rule",
        "pcre map F, line 11: no replacement text: using empty string",
    ];
    assert_eq!(messages, expected);
    assert_eq!(ask(&table, "a").0.as_deref(), Some("old"));
}

#[test]
fn a_search_that_is_given_up_is_no_match() {
    let (table, _) =
        read("/^(a+)+$/ x\n!/^(a+)+$/ y\nif !/^(a+)+$/\n/^/ inside\nendif\n/^/ last\n");
    let start = Instant::now();
    let (answer, warnings) = ask(&table, "a".repeat(50) + "!");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(answer.as_deref(), Some("last"));
    let warning = |line| Message::warning(format!("pcre map F, line {line}: match limit exceeded"));
    assert_eq!(warnings, [1, 2, 3].map(warning));
}

#[test]
fn keys_are_bytes_unless_a_pattern_wants_characters() {
    check("/^..$/ two\n/(*UTF)^.$/ one\n", &[("\u{e9}", Some("two")), ("\u{20ac}", Some("one"))]);
    let (table, _) = read(b"/(*UTF)./ utf\n/^\xff(.*)$/ bytes $1\n");
    let (answer, warnings) = ask(&table, b"\xffx\0y");
    assert_eq!(answer.as_deref(), Some("bytes x"));
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.text.starts_with("pcre map F, line 1: UTF-8 error: "), "{warning:?}");

    let (table, _) = read("/^(.)./ <$1>\n");
    let mut warnings = Vec::new();
    assert_eq!(table.lookup("\u{e9}".as_bytes(), &mut warnings), Answer::Failed);
    let text =
        "pcre:F: key \"\u{e9}\": non-UTF-8 value \"<?>\": malformed UTF-8 or invalid codepoint";
    assert_eq!(warnings, [Message::warning(text)]);
}
