//! Answers of name servers: any bytes will do, and what is accepted answers our question.
//!
//! Input: which question and how it is answered, then the message. To get anywhere it may
//! have our id and question put in front.

use gatepost::dns::query::{Decoded, Form, QueryName, name};
use gatepost::screen::dnsbl::answer::Answer;

use super::take::Take;

const ID: u16 = 0x1234;

/// Nobody answers with more, whatever the numbers in the header say.
const MOST_ADDRESSES: usize = 1024;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let asked = question(take.number());
    let bits = take.pick(&[0, u64::MAX, 0x5555_5555_5555_5555]);
    let mixed = asked.in_mixed_case(bits);
    assert_eq!(mixed.to_string().to_lowercase(), asked.to_string().to_lowercase());
    let message = match take.number() % 3 {
        0 => take.0.to_vec(),
        answers => answer_to(if answers == 1 { &asked } else { &mixed }, &mut take),
    };

    let decoded = asked.decode(ID, false, &message);
    // Who looks more closely accepts no more.
    let strict = asked.decode(ID, true, &message);
    assert!(strict == decoded || strict == Decoded::NotOurs, "{strict:?}, not {decoded:?}");
    if let Decoded::Answer(answer) = &decoded {
        match answer {
            Answer::Listed { addresses, ttl } => {
                assert!((1..=MOST_ADDRESSES).contains(&addresses.len()));
                assert!(addresses.len() * 4 <= message.len(), "more than there is room for");
                assert!(*ttl <= i32::MAX.unsigned_abs());
            }
            Answer::NotListed { ttl } => assert!(ttl.is_none_or(|ttl| ttl <= 0x7fff_ffff)),
            Answer::Failed(_) => panic!("{answer:?}"),
        }
    }
    if decoded == Decoded::NotOurs {
        return;
    }
    assert_eq!(message[..2], ID.to_be_bytes(), "another id");
    assert_eq!(message[2] & 0xf8, 0x80, "not a response to a query");
    assert_eq!(asked.decode(ID ^ 1, false, &message), Decoded::NotOurs, "another id");
    if !matches!(decoded, Decoded::TryNext(_)) {
        let other = name([192, 0, 2, 77].into(), "other.example").unwrap();
        assert_eq!(other.decode(ID, false, &message), Decoded::NotOurs, "another question");
    }
    if let Decoded::Alias(target) = &decoded {
        assert_ne!(**target, asked, "an alias of itself");
        let mut next = Vec::new();
        target.encode(Form { id: ID, edns: true }, &mut next);
        assert!(!next.is_empty(), "{target} cannot be asked for");
        assert_eq!(target.decode(ID, true, &next), Decoded::NotOurs, "a question is no answer");
    }
}

fn question(number: u8) -> QueryName {
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(40)].join(".");
    match number % 3 {
        0 => name([192, 0, 2, 1].into(), "List.example"),
        1 => name([0x20; 16].into(), "x.example."),
        _ => name([127, 0, 0, 2].into(), &long),
    }
    .unwrap()
}

/// A message with our id and question: header flags and counts are taken, then the rest.
fn answer_to(asked: &QueryName, take: &mut Take<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    asked.encode(Form { id: ID, edns: false }, &mut message);
    message[2] = 0x80 | (take.number() & 0x07);
    message[3] = take.number();
    for section in [6, 8, 10] {
        message[section + 1] = take.number();
    }
    message.extend_from_slice(take.0);
    message
}
