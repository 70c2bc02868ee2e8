use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::postfix::table::network::{range_v4, range_v6};

fn table(text: &str) -> (CidrTable, Vec<String>) {
    let mut messages = Vec::new();
    let table = CidrTable::parse("F", text.as_bytes(), &mut messages);
    (table, messages.into_iter().map(|message| message.text).collect())
}

fn quiet(text: &str) -> CidrTable {
    let (table, messages) = table(text);
    assert_eq!(messages, Vec::<String>::new());
    table
}

fn query(table: &CidrTable, key: &str) -> Option<String> {
    match table.lookup(key.as_bytes(), &mut Vec::new()) {
        Answer::Found(value) => Some(value.into_owned()),
        Answer::NotFound => None,
        Answer::Failed | Answer::Asked(_) => panic!("cidr tables do not fail"),
    }
}

#[track_caller]
fn expect(table: &CidrTable, answers: &[(&str, Option<&str>)]) {
    for (key, answer) in answers {
        assert_eq!(query(table, key).as_deref(), *answer, "{key}");
    }
}

#[test]
fn results_are_trimmed_and_keep_inner_blanks() {
    let table = quiet("192.0.2.0/24   a b  c \n  continued\n198.51.100.1 ok # note \r\n");
    expect(
        &table,
        &[("192.0.2.1", Some("a b  c   continued")), ("198.51.100.1", Some("ok # note"))],
    );
}

#[test]
fn both_families_and_odd_keys() {
    let table = quiet("2001:db8::/32 six\n::1 loop6\n!10.0.0.0/8 not10\n");
    expect(
        &table,
        &[
            ("2001:db8:0:0::9", Some("six")),
            ("2001:DB8::1", Some("six")),
            ("0:0:0:0:0:0:0:1", Some("loop6")),
            ("10.1.1.1", None),
            ("11.1.1.1", Some("not10")),
            ("::ffff:192.0.2.1", None),
            ("notanip", None),
            (" 192.0.2.1", None),
            ("", None),
        ],
    );
    let all = quiet("0.0.0.0/0 any4\n::/0 any6\n");
    expect(&all, &[("1.2.3.4", Some("any4")), ("fe80::1", Some("any6")), ("fe80::1%eth0", None)]);
}

#[test]
fn if_blocks() {
    let table = quiet(
        "if 127.20.0.0/16\n127.20.1.0/24 reject\nif !127.20.2.0/24\n127.20.3.0/24 permit\n\
         endif\n127.20.0.0/16 reject\nENDIF\n",
    );
    expect(
        &table,
        &[
            ("127.20.1.1", Some("reject")),
            ("127.20.2.1", Some("reject")),
            ("127.20.3.1", Some("permit")),
            ("127.20.4.1", Some("reject")),
            ("127.21.0.1", None),
        ],
    );
}

#[test]
fn order_across_blocks_and_negations() {
    let table = quiet(
        "10.1.0.0/16 first\nif[10.0.0.0/8]\n10.1.0.0/16 second\n10.2.0.0/16 third\nendif\n\
         10.0.0.0/8 fourth\n!10.0.0.0/8 fifth\n11.0.0.0/8 sixth\n",
    );
    expect(
        &table,
        &[
            ("10.1.0.1", Some("first")),
            ("10.2.0.1", Some("third")),
            ("10.3.0.1", Some("fourth")),
            ("11.0.0.1", Some("fifth")),
            ("::1", None),
        ],
    );
}

#[test]
fn unclosed_if_reaches_to_the_end() {
    let (one, messages) = table("if 11.0.0.0/8\n11.1.1.1 c\n");
    assert_eq!(messages, ["cidr map F, line 1: IF has no matching ENDIF"]);
    expect(&one, &[("11.1.1.1", Some("c")), ("11.1.1.2", None)]);
    let (two, messages) = table("if 10.0.0.0/8\nif 10.1.0.0/16\n10.0.0.0/8 x\n");
    assert_eq!(
        messages,
        [
            "cidr map F, line 2: IF has no matching ENDIF",
            "cidr map F, line 1: IF has no matching ENDIF"
        ]
    );
    expect(&two, &[("10.1.0.1", Some("x")), ("10.2.0.1", None)]);
}

#[test]
fn bad_lines_are_skipped_with_the_words_of_postfix() {
    for (line, problem) in [
        ("127.24.1 x", "bad address pattern: \"127.24.1\""),
        ("iffy x", "bad address pattern: \"iffy\""),
        ("endiffy", "bad address pattern: \"endiffy\""),
        ("!\tx", "bad address pattern: \"x\""),
        ("!if x", "bad address pattern: \"if\""),
        ("[10.0.0.1 ] x", "missing ']' character after \"[10.0.0.1\""),
        ("127.25.0.1", "no lookup result"),
        ("0.0.0.0/0\t", "no lookup result"),
        ("if", "no address pattern"),
        ("if !", "no address pattern"),
        ("!", "no address pattern"),
        ("if 10.0.0.0/8 foo", "bad mask value in \"10.0.0.0/8 foo\""),
        ("if,10.0.0.0/8", "bad network value in \",10.0.0.0/8\""),
        ("endif x", "garbage after ENDIF"),
        ("endif,", "garbage after ENDIF"),
        ("endif", "ENDIF without IF"),
    ] {
        let (_, messages) = table(&format!("\n{line}\n"));
        assert_eq!(messages, [format!("cidr map F, line 2: {problem}: skipping this rule")]);
    }
    quiet("!!10.0.0.0/8 x\n! 12.0.0.0/8 x\nif ! ! 10.0.0.0/8\nif!11.0.0.0/8\nendif \nEnDif\n");
}

#[test]
fn bad_if_leaves_its_rules_unconditional() {
    let (table, messages) = table("if 10.0.0.1/8\n11.0.0.1 x\nendif\n");
    assert_eq!(messages.len(), 2);
    expect(&table, &[("11.0.0.1", Some("x"))]);
}

#[test]
fn inline_text() {
    let mut messages = Vec::new();
    let name = "{{!10.0.0.0/8 n},{10.0.0.0/7 y}}";
    let table = CidrTable::parse_inline(name, &mut messages).unwrap();
    expect(&table, &[("10.0.0.1", Some("y")), ("11.0.0.1", Some("n"))]);
    assert!(messages.is_empty());

    let name = "{{#x y}, {},{ },{10.0.0.0/8}, {10.0.0.1 \n z}}";
    let table = CidrTable::parse_inline(name, &mut messages).unwrap();
    expect(&table, &[("10.0.0.1", Some("z"))]);
    assert_eq!(
        messages,
        [Message::warning(format!(
            "cidr map {name}, line 4: no lookup result: skipping this rule"
        ))]
    );

    let error = |name| CidrTable::parse_inline(name, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error("{10.0.0.0/8 x}"), "no '{' at start of text in \"10.0.0.0/8\"");
    assert_eq!(error("{{10.0.0.0/8 x}"), "missing '}' in \"{{10.0.0.0/8 x}\"");
    assert_eq!(error("{{10.0.0.0/8 x}z}"), "syntax error after '}' in \"{10.0.0.0/8 x}z\"");
    assert!(CidrTable::parse_inline("{}", &mut Vec::new()).is_ok());
}

#[test]
fn deep_nesting_and_binary_noise_are_harmless() {
    let deep = "if 0.0.0.0/0\n".repeat(50_000) + "1.2.3.4 deep\n" + &"endif\n".repeat(50_000);
    expect(&quiet(&deep), &[("1.2.3.4", Some("deep")), ("1.2.3.5", None)]);
    let mut messages = Vec::new();
    CidrTable::parse("F", b"\xff\xfe x\n!\xc3(/\x00\n[\n]\n/\nif [\nendif]", &mut messages);
    assert!(!messages.is_empty());
}

fn matches(pattern: Pattern, address: IpAddr) -> bool {
    let Pattern { network, negated } = pattern;
    network.same_family(address) && network.contains(address) != negated
}

/// The lines that make sense.
fn lines(text: &str) -> Vec<Line<'_>> {
    text.lines().filter_map(|line| read_line(line).ok()).collect()
}

/// The rules as they stand in the file, one after the other.
fn linear<'t>(lines: &[Line<'t>], address: IpAddr) -> Option<&'t str> {
    // How many of the ifs around the current line there are, and how many apply.
    let (mut depth, mut applies) = (0usize, 0usize);
    for line in lines {
        match *line {
            Line::If(pattern) => {
                if depth == applies && matches(pattern, address) {
                    applies += 1;
                }
                depth += 1;
            }
            Line::Endif if depth > 0 => {
                depth -= 1;
                applies = applies.min(depth);
            }
            Line::Rule(pattern, result) if depth == applies && matches(pattern, address) => {
                return Some(result);
            }
            Line::Endif | Line::Rule(..) => {}
        }
    }
    None
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Few distinct addresses, so that ranges nest and repeat.
    fn address(&mut self) -> IpAddr {
        let mut byte =
            || u8::try_from([0, 1, 64, 128, 255][usize::try_from(self.below(5)).unwrap()]).unwrap();
        let bytes = [byte(), byte(), byte(), byte()];
        if self.below(3) == 0 {
            let [a, b, c, d] = bytes.map(u16::from);
            IpAddr::from([a << 8, b << 8, c, 0, 0, d << 4, 0, a])
        } else {
            IpAddr::from(bytes)
        }
    }

    fn network(&mut self) -> Network {
        let address = self.address();
        let longest = if address.is_ipv4() { 33 } else { 129 };
        let length = u8::try_from(self.below(longest)).unwrap();
        Network::containing(address, length)
    }

    /// Mostly its plain self.
    fn pattern(&mut self) -> String {
        let negation = if self.below(12) == 0 { "!" } else { "" };
        format!("{negation}{}", self.network())
    }

    /// A table with so many lines.
    fn table(&mut self, lines: u64) -> String {
        let line = |line| match self.below(10) {
            0 => format!("if {}\n", self.pattern()),
            1 => "endif\n".into(),
            2 => format!("{} same\n", self.pattern()),
            _ => format!("{} {line}\n", self.pattern()),
        };
        (0..lines).map(line).collect()
    }
}

/// The first and the last address of a network, and their neighbours.
fn edges(network: Network) -> Vec<IpAddr> {
    match network {
        Network::V4(first, length) => {
            let range = range_v4(first, length);
            let (first, last) = (range.start().to_bits(), range.end().to_bits());
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| Ipv4Addr::from_bits(bits).into())
                .into()
        }
        Network::V6(first, length) => {
            let range = range_v6(first, length);
            let (first, last) = (range.start().to_bits(), range.end().to_bits());
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| Ipv6Addr::from_bits(bits).into())
                .into()
        }
    }
}

#[test]
fn a_compiled_table_agrees_with_reading_line_by_line() {
    let mut numbers = Numbers(20_260_821);
    let mut found = 0;
    let sizes = (0..400).map(|_| 60).chain([2_000; 4]);
    for (round, most) in sizes.enumerate() {
        let length = numbers.below(most);
        let text = numbers.table(length);
        let (table, lines) = (table(&text).0, lines(&text));
        for _ in 0..20 {
            let mut addresses = edges(numbers.network());
            addresses.push(numbers.address());
            for address in addresses {
                let expected = linear(&lines, address);
                found += usize::from(expected.is_some());
                assert_eq!(table.find(address), expected, "round {round}, {address}:\n{text}");
            }
        }
    }
    assert!(found > 10_000, "only {found} of the questions had an answer");
}

#[test]
fn long_tables_agree_with_reading_line_by_line() {
    // What real ones look like: small networks that hardly overlap, here and there an if.
    let mut numbers = Numbers(7);
    let mut network = |shortest: u8| {
        let bits = u32::try_from(numbers.below(1 << 20)).unwrap() << 8;
        let length = shortest + u8::try_from(numbers.below(9)).unwrap();
        (Network::containing(Ipv4Addr::from_bits(bits).into(), length), bits)
    };
    let mut text = String::new();
    let mut addresses = Vec::new();
    for line in 0..3_000 {
        let ((inner, bits), (outer, _)) = (network(24), network(10));
        addresses.push(IpAddr::from(Ipv4Addr::from_bits(bits | 3)));
        text += &match line % 30 {
            7 => format!("if {outer}\n{inner} {line}\n"),
            8 => format!("!{outer} {line}\nendif\n"),
            27 => format!("if !{outer}\n{inner} {line}\nendif\n"),
            _ => format!("{inner} {line}\n"),
        };
    }
    let (table, lines) = (quiet(&text), lines(&text));
    let mut results = std::collections::HashSet::new();
    for address in addresses {
        let expected = linear(&lines, address);
        results.extend(expected);
        assert_eq!(table.find(address), expected, "{address}");
    }
    assert!(results.len() > 100, "only {} results", results.len());
}
