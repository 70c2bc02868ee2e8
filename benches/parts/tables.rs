//! Tables and lists with few and with very many lines.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use gatepost::postfix::access_list::AccessList;
use gatepost::postfix::address_list::AddressList;
use gatepost::postfix::mynetworks::Mynetworks;
use gatepost::postfix::table::{CidrTable, FileSource, Table, Tables};

use crate::numbers::{v4, v6};

const FEW: u32 = 10;
const MANY: u32 = 100_000;

/// Files that are not on the disk: each is this text.
struct Files(String);

impl FileSource for Files {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }
}

/// How the lines of a table are made.
#[derive(Clone, Copy)]
enum Shape {
    V4,
    V6,
    /// By turns.
    Mixed,
    /// Each line is in the network of the line before.
    Nested,
    /// Every second network is inside an if of its own.
    Ifs,
    /// Every second line turns away whoever is not in its network, which is nobody that an if
    /// before it lets come so far.
    Negated,
}

pub fn benches(criterion: &mut Criterion) {
    cidr(criterion);
    lists(criterion);
}

/// The network of this line, and an address in it.
fn network(shape: Shape, line: u32) -> (String, IpAddr) {
    match (shape, line % 2) {
        (Shape::V6, _) | (Shape::Mixed, 1) => {
            let first = v6(line);
            (format!("{first}/49"), first)
        }
        _ => {
            let first = v4(line << 7);
            let inside = match first {
                IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() | 33).into(),
                IpAddr::V6(_) => first,
            };
            (format!("{first}/26"), inside)
        }
    }
}

fn text(shape: Shape, lines: u32) -> String {
    let mut text = String::new();
    for line in 0..lines {
        let (network, address) = network(shape, line);
        let written = match (shape, line % 2) {
            (Shape::Nested, _) => {
                let length = 32 - line % 25;
                let IpAddr::V4(four) = address else { panic!("{address}") };
                let first = four.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0);
                writeln!(text, "{}/{length} reject", Ipv4Addr::from_bits(first))
            }
            (Shape::Ifs, 1) => writeln!(text, "if {network}\n{network} reject\nendif"),
            (Shape::Negated, 1) => writeln!(text, "if !0.0.0.0/0\n!{network} reject\nendif"),
            _ => writeln!(text, "{network} reject"),
        };
        written.unwrap();
    }
    text
}

fn cidr(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tables: cidr");
    let shapes = [
        ("IPv4", Shape::V4),
        ("IPv6", Shape::V6),
        ("mixed", Shape::Mixed),
        ("nested", Shape::Nested),
        ("ifs", Shape::Ifs),
        ("negated", Shape::Negated),
    ];
    for (name, shape) in shapes {
        for lines in [FEW, MANY] {
            let text = text(shape, lines);
            let mut messages = Vec::new();
            let table = CidrTable::parse("bench", text.as_bytes(), &mut messages);
            assert!(messages.is_empty(), "{messages:?}");
            let places = [
                ("first", network(shape, 0).1),
                ("middle", network(shape, lines / 2).1),
                ("last", network(shape, lines - 1).1),
                ("none", Ipv4Addr::new(192, 0, 2, 1).into()),
            ];
            // Few lines are there to compare with.
            for (place, address) in places.into_iter().skip(if lines == FEW { 2 } else { 0 }) {
                let key = address.to_string();
                group.bench_function(format!("{name}, {lines} lines, {place}"), |bencher| {
                    bencher.iter(|| {
                        let answer = table.lookup(black_box(key.as_bytes()), &mut messages);
                        black_box(&answer);
                    });
                });
            }
        }
        slow(&mut group, &format!("load {MANY} lines, {name}"), || {
            let text = text(shape, MANY);
            move || {
                let table = CidrTable::parse("bench", text.as_bytes(), &mut Vec::new());
                black_box(table);
            }
        });
    }
    group.finish();
}

/// Measures what takes a tenth of a second.
fn slow<F: FnMut()>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, prepare: impl Fn() -> F) {
    group.sample_size(10);
    group.measurement_time(Duration::from_secs(1));
    group.bench_function(name, |bencher| {
        let mut run = prepare();
        bencher.iter(&mut run);
    });
    group.sample_size(20);
    group.measurement_time(Duration::from_millis(400));
}

fn lists(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tables: lists");
    for lines in [FEW, MANY] {
        let words: Vec<String> = (0..lines).map(|line| item(line).0).collect();
        let files = Files(words.join("\n"));
        let inline = words.join(" ");
        for (place, address) in [
            ("first", item(0).1),
            ("last", item(lines - 1).1),
            ("none", Ipv4Addr::new(192, 0, 2, 1).into()),
        ] {
            for (kind, text) in [("items", inline.as_str()), ("items of a file", "/file")] {
                let mut tables = Tables::new(false);
                let mut messages = Vec::new();
                let list =
                    AddressList::parse("mynetworks", text, &mut tables, &files, &mut messages);
                let list = list.unwrap();
                group.bench_function(format!("{lines} {kind}, {place}"), |bencher| {
                    bencher.iter(|| list.evaluate(tables.alone(), address, &mut messages));
                });
                assert!(messages.is_empty(), "{messages:?}");
            }
        }
    }
    slow(&mut group, &format!("load {MANY} items"), || {
        let words: Vec<String> = (0..MANY).map(|line| item(line).0).collect();
        let text = words.join(" ");
        move || {
            let (mut tables, mut messages) = (Tables::new(false), Vec::new());
            let files = Files(String::new());
            let list = AddressList::parse("p", &text, &mut tables, &files, &mut messages);
            black_box(list.unwrap());
        }
    });
    // What is asked about every client.
    let (mut tables, mut messages) = (Tables::new(false), Vec::new());
    let files = Files(text(Shape::Mixed, MANY));
    let own = "127.0.0.0/8 192.0.2.0/24 [::1]/128 [2001:db8::]/64";
    let mynetworks =
        Mynetworks::parse("mynetworks", own, None, &mut tables, &files, &mut messages).unwrap();
    let text = "permit_mynetworks, cidr:/file";
    let list =
        AccessList::parse("postscreen_access_list", text, &mut tables, &files, &mut messages);
    let list = list.unwrap();
    for (place, address) in [("first", v4(0)), ("none", IpAddr::from([198, 51, 100, 1]))] {
        group.bench_function(format!("access list, {MANY} lines, {place}"), |bencher| {
            bencher.iter(|| list.evaluate(tables.alone(), &mynetworks, address, &mut messages));
        });
    }
    group.finish();
}

/// An item of a list, and an address that it is about.
fn item(line: u32) -> (String, IpAddr) {
    let (text, address) = network(Shape::Mixed, line);
    match address {
        IpAddr::V4(_) => (text, address),
        IpAddr::V6(_) => (text.replacen('/', "]/", 1).replacen("20", "[20", 1), address),
    }
}
