//! Texts for others: log records, and attribute lists.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use criterion::Criterion;
use gatepost::postfix::attr::{AttrWriter, scan_strict};
use gatepost::postfix::maillog::{Form, Header, Program, Stamp, Utf8Filter, format_record};
use gatepost::postfix::message::Level;
use gatepost::postfix::pass;
use gatepost::screen::address::address_text;
use gatepost::screen::logline::{Elapsed, LogLine, Quote};

pub fn benches(criterion: &mut Criterion) {
    let client: SocketAddr = "192.0.2.17:40123".parse().unwrap();
    let client_6: SocketAddr = "[2001:db8::17:2]:40123".parse().unwrap();
    let server: SocketAddr = "198.51.100.25:25".parse().unwrap();

    let mut group = criterion.benchmark_group("log");
    let lines = [
        ("CONNECT", LogLine::Connect { client, server }),
        ("CONNECT, IPv6", LogLine::Connect { client: client_6, server }),
        ("PASS OLD", LogLine::PassOld(client)),
        (
            "PREGREET",
            LogLine::Pregreet {
                client,
                count: 26,
                after: Elapsed { span: Duration::from_millis(70), digits: 2 },
                data: Quote::of(b"EHLO client.example.test\r\n"),
            },
        ),
    ];
    let stamp = Stamp::new();
    let header = |form| Header {
        form,
        stamp: &stamp,
        syslog_name: "postfix",
        program: Program::Postscreen,
        pid: 12_345,
        filter: Utf8Filter::ValidUtf8,
    };
    let mut text = String::new();
    for (name, line) in &lines {
        group.bench_function(format!("text, {name}"), |bencher| {
            bencher.iter(|| {
                text.clear();
                write!(text, "{}", black_box(line)).unwrap();
                black_box(text.len())
            });
        });
    }
    let mut record = Vec::new();
    let text = lines[0].1.to_string();
    for (name, form) in [
        ("postlogd(8)", Form::Postlog { host: "mx.example.test" }),
        ("syslogd(8)", Form::Syslog(syslog::Facility::LOG_MAIL)),
    ] {
        let header = header(form);
        group.bench_function(format!("record for {name}"), |bencher| {
            bencher.iter(|| {
                record.clear();
                format_record(&mut record, &header, Level::Info, black_box(text.as_bytes()));
                black_box(record.len())
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("attributes");
    let mut payload = Vec::new();
    group.bench_function("of a hand-off", |bencher| {
        bencher.iter(|| {
            pass::encode(&mut payload, black_box(client), server);
            black_box(payload.len())
        });
    });
    group.bench_function("write four", |bencher| {
        bencher.iter(|| {
            let mut list = AttrWriter::new();
            list.string("request", "remote").unwrap();
            list.string("name", "mx.example.test").unwrap();
            list.int("flags", 3).long("size", 10_240_000).end();
            list.into_bytes()
        });
    });
    let list = b"status\x000\0name\0mx.example.test\0size\x0010240000\0\0";
    group.bench_function("read three", |bencher| {
        bencher.iter(|| scan_strict(black_box(list), ["status", "name", "size"]));
    });
    let (four, six): (IpAddr, IpAddr) = (client.ip(), client_6.ip());
    group.bench_function("address to text, IPv4", |bencher| {
        bencher.iter(|| address_text(black_box(four)));
    });
    group.bench_function("address to text, IPv6", |bencher| {
        bencher.iter(|| address_text(black_box(six)));
    });
    group.finish();
}
