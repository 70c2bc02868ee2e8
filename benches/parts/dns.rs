//! Names, questions and answers of DNS look-ups.

use std::hint::black_box;
use std::net::IpAddr;

use criterion::Criterion;
use gatepost::dns::query::{self, Decoded, Form};
use gatepost::screen::dnsbl::answer::Answer;

const DOMAIN: &str = "bl.example.test";

pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dns");
    let four: IpAddr = [192, 0, 2, 17].into();
    let six: IpAddr = "2001:db8::1234".parse().unwrap();
    for (kind, address) in [("IPv4", four), ("IPv6", six)] {
        group.bench_function(format!("name, {kind}"), |bencher| {
            bencher.iter(|| query::name(black_box(address), DOMAIN));
        });
        let name = query::name(address, DOMAIN).unwrap();
        let form = Form { id: 0x1234, edns: true };
        let mut message = Vec::new();
        name.encode(form, &mut message);
        group.bench_function(format!("encode, {kind}"), |bencher| {
            bencher.iter(|| {
                name.encode(black_box(form), &mut message);
                black_box(message.len())
            });
        });
        let listed = answer(&message, 0, &[&[0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 127, 0, 0, 2]], &[]);
        assert!(matches!(
            name.decode(0x1234, true, &listed),
            Decoded::Answer(Answer::Listed { .. })
        ));
        group.bench_function(format!("decode, {kind}, listed"), |bencher| {
            bencher.iter(|| name.decode(0x1234, true, black_box(&listed)));
        });
        let clean = answer(&message, 3, &[], &[&SOA]);
        assert_eq!(
            name.decode(0x1234, true, &clean),
            Decoded::Answer(Answer::NotListed { ttl: Some(300) })
        );
        group.bench_function(format!("decode, {kind}, not listed"), |bencher| {
            bencher.iter(|| name.decode(0x1234, true, black_box(&clean)));
        });
    }
    group.finish();
}

/// Type, class, time to live and data of an SOA record with names of usual length.
const SOA: [u8; 61] = *b"\0\x06\0\x01\0\0\x01\x2c\0\x33\
\x03ns1\x07example\x04test\0\x0ahostmaster\xc0\x0c\
\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";

/// An answer to a question that ends in an OPT record, which is repeated. The records come
/// without their names.
fn answer(question: &[u8], code: u8, answers: &[&[u8]], authorities: &[&[u8]]) -> Vec<u8> {
    let (question, opt) = question.split_at(question.len() - 11);
    let mut message = question.to_vec();
    message[2] |= 0x80;
    message[3] = 0x80 | code;
    message[7] = u8::try_from(answers.len()).unwrap();
    message[9] = u8::try_from(authorities.len()).unwrap();
    for record in answers.iter().chain(authorities) {
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(record);
    }
    message.extend_from_slice(opt);
    message
}
