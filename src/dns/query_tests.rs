use super::*;

use std::net::IpAddr;
use std::str::FromStr;

use hickory_resolver::proto::op::{Edns, Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, SOA, TXT};

const ID: u16 = 0xbeef;

fn client() -> IpAddr {
    "192.0.2.99".parse().unwrap()
}

fn listed_name() -> QueryName {
    name(client(), "bl.test").unwrap()
}

fn hickory(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn a(owner: &str, address: &str, ttl: u32) -> Record {
    Record::from_rdata(hickory(owner), ttl, RData::A(A(address.parse().unwrap())))
}

fn cname(owner: &str, target: &str, ttl: u32) -> Record {
    Record::from_rdata(hickory(owner), ttl, RData::CNAME(CNAME(hickory(target))))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(hickory("ns.test"), hickory("root.test"), 1, 2, 3, 4, minimum);
    Record::from_rdata(hickory("bl.test"), ttl, RData::SOA(soa))
}

/// A message that answers the usual question, to be changed at will.
fn reply(change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::response(ID, OpCode::Query);
    message.add_query(Query::query(hickory("99.2.0.192.bl.test"), RecordType::A));
    change(&mut message);
    message.to_vec().unwrap()
}

fn decode(change: impl FnOnce(&mut Message)) -> Decoded {
    listed_name().decode(ID, false, &reply(change))
}

fn listed(addresses: &[&str], ttl: u32) -> Decoded {
    let addresses = addresses.iter().map(|a| Ipv4Addr::from_str(a).unwrap()).collect();
    Decoded::Answer(Answer::Listed { addresses, ttl })
}

fn not_listed(ttl: Option<u32>) -> Decoded {
    Decoded::Answer(Answer::NotListed { ttl })
}

#[test]
fn names_are_reversed_addresses() {
    let text = |address: &str, domain: &str| name(address.parse().unwrap(), domain).unwrap();
    assert_eq!(text("192.0.2.1", "zen.Example").to_string(), "1.2.0.192.zen.Example");
    assert_eq!(text("0.255.10.7", "l.").to_string(), "7.10.255.0.l");
    assert_eq!(
        text("2001:db8:1::AbCd", "bl.test").to_string(),
        "d.c.b.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.test"
    );
}

#[test]
fn impossible_names_are_refused() {
    let label = "a".repeat(63);
    let name = |domain: &str| super::name(client(), domain);
    assert_eq!(name(""), Err(NameError::Label));
    assert_eq!(name("a..b"), Err(NameError::Label));
    assert_eq!(name(".a"), Err(NameError::Label));
    assert!(name(&label).is_ok());
    assert_eq!(name(&format!("{label}a")), Err(NameError::Label));
    // 99.2.0.192. is 11 bytes long.
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(253 - 11 - 3 * 64));
    assert!(name(&longest).is_ok());
    assert_eq!(name(&format!("{longest}b")), Err(NameError::TooLong));
    assert_eq!(super::name("::1".parse().unwrap(), &longest), Err(NameError::TooLong));
    assert_eq!(name(&"a.".repeat(500)), Err(NameError::TooLong));
    // Not an error: what main.cf lets through is asked as it is.
    assert!(name("with space.\u{e9}").is_ok());
}

#[test]
fn the_longest_name_survives_the_way_there_and_back() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(253 - 11 - 3 * 64));
    let name = name(client(), &longest).unwrap();
    let mut question = Vec::new();
    name.encode(Form { id: ID, edns: false }, &mut question);
    question[2] |= 0x80;
    assert_eq!(name.decode(ID, true, &question), not_listed(None));
}

#[test]
fn questions_look_like_this() {
    let mut message = vec![1, 2, 3];
    name(client(), "bl.test").unwrap().encode(Form { id: 0x1234, edns: false }, &mut message);
    let question = b"\x0299\x012\x010\x03192\x02bl\x04test\0\0\x01\0\x01";
    let mut expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    expected.extend(question);
    assert_eq!(message, expected);
    listed_name().encode(Form { id: 0x1234, edns: true }, &mut message);
    expected[11] = 1;
    expected.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    assert_eq!(message, expected);
}

#[test]
fn questions_are_those_that_hickory_would_ask() {
    let domains = ["l", "bl.test", "Zen.spamhaus.example", "x.\u{e9} y.test.", "a-b_c.0.test"];
    let addresses =
        ["0.0.0.0", "9.10.99.100", "127.0.0.2", "255.255.255.255", "::", "2001:DB8::Af"];
    for domain in domains {
        for address in addresses {
            let name = name(address.parse().unwrap(), domain).unwrap();
            let text = match address.parse().unwrap() {
                IpAddr::V4(four) => {
                    let [a, b, c, d] = four.octets();
                    format!("{d}.{c}.{b}.{a}")
                }
                IpAddr::V6(six) => {
                    let digits = format!("{:032x}", six.to_bits());
                    digits.chars().rev().map(String::from).collect::<Vec<_>>().join(".")
                }
            };
            let text = format!("{text}.{}", domain.trim_end_matches('.'));
            let theirs = Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
            assert_eq!(name, QueryName::of(&theirs));
            assert!(name.is_exactly(&theirs));
            for edns in [false, true] {
                let mut message = Message::new(ID, MessageType::Query, OpCode::Query);
                message.metadata.recursion_desired = true;
                message.add_query(Query::query(theirs.clone(), RecordType::A));
                if edns {
                    let mut edns = Edns::new();
                    edns.set_max_payload(MAX_PAYLOAD);
                    message.set_edns(edns);
                }
                let mut question = Vec::new();
                name.encode(Form { id: ID, edns }, &mut question);
                assert_eq!(question, message.to_vec().unwrap(), "{text}");
            }
        }
    }
}

#[test]
fn letter_case_can_be_mixed() {
    let mixed = listed_name().in_mixed_case(0b10_1010);
    assert_eq!(mixed.to_string(), "99.2.0.192.bL.tEsT");
    let same = reply(|m| {
        m.queries = vec![Query::query(hickory("99.2.0.192.bL.tEsT"), RecordType::A)];
        m.add_answer(a("99.2.0.192.BL.TEST", "127.0.0.2", 5));
    });
    assert_eq!(mixed.decode(ID, true, &same), listed(&["127.0.0.2"], 5));
    let other = reply(|m| m.answers.push(a("99.2.0.192.bl.test", "127.0.0.2", 5)));
    assert_eq!(mixed.decode(ID, true, &other), Decoded::NotOurs);
    assert_eq!(mixed.decode(ID, false, &other), listed(&["127.0.0.2"], 5));
    // There are more letters than bits, if need be.
    let long = name(client(), &["abcdefgh"; 12].join(".")).unwrap().in_mixed_case(u64::MAX);
    assert!(long.to_string().ends_with("ABCDEFGH"));
}

#[test]
fn all_addresses_count_and_the_lowest_ttl() {
    let own = "99.2.0.192.bl.test";
    let decoded = decode(|m| {
        m.add_answer(a(own, "127.0.0.4", 900));
        m.add_answer(a("elsewhere.test", "127.0.0.9", 1));
        m.add_answer(a("99.2.0.192.BL.test", "127.0.0.2", 300));
        m.add_authority(soa(7, 7));
    });
    assert_eq!(decoded, listed(&["127.0.0.4", "127.0.0.2"], 300));
}

#[test]
fn other_types_and_classes_do_not_count() {
    let own = "99.2.0.192.bl.test";
    let decoded = decode(|m| {
        let mut chaos = a(own, "127.0.0.4", 900);
        chaos.dns_class = DNSClass::CH;
        m.add_answer(chaos);
        let text = RData::TXT(TXT::new(vec!["127.0.0.2".into()]));
        m.add_answer(Record::from_rdata(hickory(own), 1, text));
        m.add_authority(soa(70, 7));
    });
    assert_eq!(decoded, not_listed(Some(70)));
}

#[test]
fn aliases_are_followed_inside_the_message_in_any_order() {
    let own = "99.2.0.192.bl.test";
    let decoded = decode(|m| {
        m.add_answer(a("c.test", "127.0.0.3", 60));
        m.add_answer(cname("b.test", "c.test", 5));
        m.add_answer(cname(own, "b.test", 6));
    });
    // The times to live of aliases do not count: they do not with dnsblog(8).
    assert_eq!(decoded, listed(&["127.0.0.3"], 60));
}

#[test]
fn an_alias_that_leads_out_of_the_message_has_to_be_asked_for() {
    let own = "99.2.0.192.bl.test";
    let with = |code| {
        decode(|m| {
            m.metadata.response_code = code;
            m.add_answer(cname(own, "b.test", 6));
            m.add_authority(soa(100, 1));
        })
    };
    assert_eq!(
        with(ResponseCode::NoError),
        Decoded::Alias(Box::new(QueryName::of(&hickory("b.test"))))
    );
    assert_eq!(with(ResponseCode::NXDomain), not_listed(Some(100)));
}

#[test]
fn endless_aliases_make_no_sense() {
    let own = "99.2.0.192.bl.test";
    let circle = decode(|m| {
        m.add_answer(cname(own, "b.test", 6));
        m.add_answer(cname("b.test", own, 6));
    });
    assert_eq!(circle, Decoded::TryNext(Trouble::Malformed));
    let chain = |length: usize| {
        decode(|m| {
            m.add_answer(cname(own, "0.test", 6));
            for n in 1..length {
                m.add_answer(cname(&format!("{}.test", n - 1), &format!("{n}.test"), 6));
            }
            m.add_answer(a(&format!("{}.test", length - 1), "127.0.0.2", 9));
        })
    };
    assert_eq!(chain(MAX_ALIASES), listed(&["127.0.0.2"], 9));
    assert_eq!(chain(MAX_ALIASES + 1), Decoded::TryNext(Trouble::Malformed));
}

#[test]
fn no_listing_has_the_ttl_of_the_soa_record_itself() {
    let nxdomain = |ttl: Option<u32>| {
        decode(|m| {
            m.metadata.response_code = ResponseCode::NXDomain;
            m.authorities.extend(ttl.map(|ttl| soa(ttl, 300)));
        })
    };
    assert_eq!(nxdomain(Some(1000)), not_listed(Some(1000)));
    assert_eq!(nxdomain(Some(0)), not_listed(Some(0)));
    assert_eq!(nxdomain(Some(0x8000_0001)), not_listed(Some(0)));
    assert_eq!(nxdomain(None), not_listed(None));
    let nodata = decode(|m| {
        m.add_authority(soa(50, 300));
        m.add_authority(soa(40, 300));
    });
    assert_eq!(nodata, not_listed(Some(40)));
}

#[test]
fn servers_without_an_answer() {
    let with = |code| decode(|m| m.metadata.response_code = code);
    for (code, trouble) in [
        (ResponseCode::FormErr, Trouble::NotUnderstood),
        (ResponseCode::NotImp, Trouble::NotUnderstood),
        (ResponseCode::ServFail, Trouble::Refused),
        (ResponseCode::Refused, Trouble::Refused),
        (ResponseCode::NotAuth, Trouble::Refused),
        (ResponseCode::Unknown(15), Trouble::Refused),
    ] {
        assert_eq!(with(code), Decoded::TryNext(trouble), "{code:?}");
    }
    let extended = decode(|m| {
        m.metadata.response_code = ResponseCode::BADVERS;
        m.set_edns(Edns::new());
    });
    assert_eq!(extended, Decoded::TryNext(Trouble::NotUnderstood));
    let without_question = decode(|m| {
        m.metadata.response_code = ResponseCode::FormErr;
        m.queries.clear();
    });
    assert_eq!(without_question, Decoded::TryNext(Trouble::NotUnderstood));
}

#[test]
fn what_is_cut_off_has_to_be_asked_for_again() {
    let own = "99.2.0.192.bl.test";
    let cut = decode(|m| {
        m.metadata.truncation = true;
        m.add_answer(a(own, "127.0.0.2", 1));
    });
    assert_eq!(cut, Decoded::Truncated);
}

#[test]
fn other_peoples_messages_are_ignored() {
    let own = "99.2.0.192.bl.test";
    let yes = |m: &mut Message| m.answers.push(a(own, "127.0.0.2", 1));
    assert_eq!(decode(yes), listed(&["127.0.0.2"], 1));
    assert_eq!(listed_name().decode(ID ^ 1, false, &reply(yes)), Decoded::NotOurs);
    let asking = |name: &str, kind| Query::query(hickory(name), kind);
    let mut chaos = asking(own, RecordType::A);
    chaos.set_query_class(DNSClass::CH);
    for queries in [
        vec![],
        vec![asking("98.2.0.192.bl.test", RecordType::A)],
        vec![asking(own, RecordType::TXT)],
        vec![chaos],
        vec![asking(own, RecordType::A), asking(own, RecordType::A)],
    ] {
        let decoded = decode(|m| {
            yes(m);
            m.queries = queries;
        });
        assert_eq!(decoded, Decoded::NotOurs);
    }
    assert_eq!(decode(|m| m.metadata.message_type = MessageType::Query), Decoded::NotOurs);
    assert_eq!(decode(|m| m.metadata.op_code = OpCode::Notify), Decoded::NotOurs);
}

#[test]
fn broken_records_make_no_sense() {
    let own = "99.2.0.192.bl.test";
    let whole = reply(|m| m.answers.push(a(own, "127.0.0.2", 1)));
    let question_ends = 12 + own.len() + 2 + 4;
    for end in 0..question_ends {
        let decoded = listed_name().decode(ID, false, &whole[..end]);
        assert_eq!(decoded, Decoded::NotOurs, "{end}");
    }
    for end in question_ends..whole.len() {
        let decoded = listed_name().decode(ID, false, &whole[..end]);
        assert_eq!(decoded, Decoded::TryNext(Trouble::Malformed), "{end}");
    }
    // Garbage behind the answer spoils nothing.
    let mut more = whole.clone();
    more[11] = 9;
    more.extend(b"garbage");
    assert_eq!(listed_name().decode(ID, false, &more), listed(&["127.0.0.2"], 1));
}

#[test]
fn huge_messages_are_read_in_part() {
    let mut message = reply(|m| m.metadata.id = ID);
    message[6..8].copy_from_slice(&2000_u16.to_be_bytes());
    for n in 0..2000_u32 {
        message.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x09\0\x04");
        message.extend((0x7f00_0000 + n).to_be_bytes());
    }
    let decoded = listed_name().decode(ID, false, &message);
    let Decoded::Answer(Answer::Listed { addresses, ttl: 9 }) = decoded else {
        panic!("{decoded:?}")
    };
    assert_eq!(addresses.len(), MAX_RECORDS);
}

/// Any bytes, from quite random to an almost good answer, and the worst that compressed
/// names can do: none may panic or take long.
#[test]
fn any_bytes_will_do() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let name = listed_name();
    let good = reply(|m| {
        m.add_answer(cname("99.2.0.192.bl.test", "b.test", 6));
        m.add_answer(a("b.test", "127.0.0.2", 1));
        m.add_authority(soa(5, 5));
        m.set_edns(Edns::new());
    });
    for _ in 0..20_000 {
        let mut message = good.clone();
        for _ in 0..1 + random() % 4 {
            let at = usize::try_from(random()).unwrap() % message.len();
            message[at] = random().to_le_bytes()[0];
        }
        message.truncate(usize::try_from(random()).unwrap() % (2 * message.len()));
        let _ = name.decode(ID, random() & 1 == 0, &message);
        let noise: Vec<u8> = (0..random() % 600).map(|_| random().to_le_bytes()[0]).collect();
        let _ = name.decode(ID, false, &noise);
    }
    // A chain of 8000 pointers, and as many records as fit whose names begin at its end.
    let mut message = reply(|m| m.metadata.id = ID);
    message[6..8].copy_from_slice(&u16::MAX.to_be_bytes());
    let head = message.len();
    message.extend(b"\0\0\x10\0\x01\0\0\0\0\x3e\x80\0"); // A TXT record of 16,000 bytes.
    let mut previous = u16::try_from(message.len() - 1).unwrap();
    while message.len() < head + 11 + 16_000 {
        message.extend((0xc000 | previous).to_be_bytes());
        previous = u16::try_from(message.len() - 2).unwrap();
    }
    message.truncate(head + 11 + 16_000);
    while message.len() < 65_500 {
        message.extend((0xc000 | previous).to_be_bytes());
        message.extend(b"\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x02");
    }
    let begin = std::time::Instant::now();
    let _ = name.decode(ID, false, &message);
    assert!(begin.elapsed().as_secs() < 5);
}
