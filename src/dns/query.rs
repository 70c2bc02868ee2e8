//! Questions and answers as DNS messages (RFC 1035, RFC 6891). Nothing here touches a socket.

use std::net::Ipv4Addr;

use hickory_resolver::proto::op::{Header, MessageType, OpCode, Query};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder};

pub use super::name::{NameError, QueryName, name};
use crate::screen::dnsbl::answer::Answer;

/// The largest datagram that a server may send us, bytes: what passes every network unfragmented
/// (DNS flag day 2020).
pub const MAX_PAYLOAD: u16 = 1232;

/// How many records of one message are looked at: a bound for the work that a message makes.
const MAX_RECORDS: usize = 1024;

/// How many aliases in a row are followed. Name servers follow about as many.
const MAX_ALIASES: usize = 16;

/// What goes into a question besides the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// The number by which the answer is known; unpredictable.
    pub id: u16,
    /// Whether to say how much we can take (EDNS). Some servers answer FORMERR to that.
    pub edns: bool,
}

/// What a message from a server comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// The answer to our question; never [`Answer::Failed`].
    Answer(Answer),
    /// The name is an alias of this one, and the server leaves it to us to ask about that.
    Alias(Box<QueryName>),
    /// The answer did not fit: ask again over TCP.
    Truncated,
    /// This server has no answer; another one may have.
    TryNext(Trouble),
    /// It is not about our question: go on waiting.
    NotOurs,
}

/// Why a server has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It does not understand the question: FORMERR, NOTIMP or BADVERS. It may without EDNS.
    NotUnderstood,
    /// SERVFAIL, REFUSED and the rest.
    Refused,
    /// What it says makes no sense.
    Malformed,
}

/// Type A and class IN.
const A_IN: [u8; 4] = [0, 1, 0, 1];

/// Bytes before the question (RFC 1035 4.1.1).
const HEADER: usize = 12;

impl QueryName {
    /// Puts the question for the A records of this name into `message`, whatever was in there.
    pub fn encode(&self, form: Form, message: &mut Vec<u8>) {
        let Form { id, edns } = form;
        message.clear();
        message.extend(id.to_be_bytes());
        // Recursion desired; one question.
        message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, edns.into()]);
        message.extend(self.wire());
        message.extend(A_IN);
        if edns {
            // An OPT record, which has its size for its class (RFC 6891 6.1.2).
            message.extend([0, 0, 41]);
            message.extend(MAX_PAYLOAD.to_be_bytes());
            message.extend([0; 6]);
        }
    }

    /// Makes sense of a message that came in over the channel on which this name was asked
    /// for with `id`. `same_case`: the server must have kept our letter case. Any bytes will
    /// do, and the work is bounded.
    pub fn decode(&self, id: u16, same_case: bool, message: &[u8]) -> Decoded {
        let mut decoder = BinDecoder::new(message);
        let Ok(header) = Header::read(&mut decoder) else { return Decoded::NotOurs };
        if header.id != id
            || header.message_type != MessageType::Response
            || header.op_code != OpCode::Query
        {
            return Decoded::NotOurs;
        }
        let code = u16::from(header.response_code);
        match header.counts.queries {
            1 if self.is_asked(same_case, message, &mut decoder) => {}
            // A server that does not understand the question need not repeat it.
            0 if code != NOERROR && code != NXDOMAIN => {}
            _ => return Decoded::NotOurs,
        }
        match code {
            NOERROR | NXDOMAIN if header.truncation => Decoded::Truncated,
            NOERROR | NXDOMAIN => self.read_records(code, &header, &mut decoder),
            code => Decoded::TryNext(trouble(code)),
        }
    }

    /// Whether the question that comes next is ours; goes on to what follows it.
    fn is_asked(&self, same_case: bool, message: &[u8], decoder: &mut BinDecoder<'_>) -> bool {
        // It nearly always comes back as it was.
        let length = self.wire().len();
        let asked = message.get(HEADER..HEADER + length + A_IN.len());
        if let Some((asked, kind)) = asked.and_then(|asked| asked.split_at_checked(length))
            && (asked == self.wire() || !same_case && asked.eq_ignore_ascii_case(self.wire()))
            && kind == A_IN
        {
            return decoder.read_slice(length + A_IN.len()).is_ok();
        }
        let Ok(query) = Query::read(decoder) else { return false };
        let same = if same_case { self.is_exactly(query.name()) } else { self.is(query.name()) };
        same && query.query_type() == RecordType::A && query.query_class() == DNSClass::IN
    }

    fn read_records(&self, code: u16, header: &Header, decoder: &mut BinDecoder<'_>) -> Decoded {
        let counts = header.counts;
        let mut left = MAX_RECORDS;
        let mut records = Records::default();
        for _ in 0..counts.answers {
            match next(decoder, &mut left) {
                Ok(record) => records.take(record),
                Err(Stop::Malformed) => return Decoded::TryNext(Trouble::Malformed),
                Err(Stop::TooMany) => break,
            }
        }
        let mut soa_ttl: Option<u32> = None;
        for _ in 0..counts.authorities {
            match next(decoder, &mut left) {
                Ok(record) if record.record_type() == RecordType::SOA => {
                    let ttl = time_to_live(&record);
                    soa_ttl = Some(soa_ttl.map_or(ttl, |lowest| lowest.min(ttl)));
                }
                Ok(_) => {}
                Err(Stop::Malformed) => return Decoded::TryNext(Trouble::Malformed),
                Err(Stop::TooMany) => break,
            }
        }
        // The upper bits of the response code are in the OPT record, if there is one. What is
        // wrong with the rest of that section is none of our business.
        for _ in 0..counts.additionals {
            let Ok(record) = next(decoder, &mut left) else { break };
            if record.record_type() == RecordType::OPT && record.ttl >> 24 != 0 {
                let [high, ..] = record.ttl.to_be_bytes();
                return Decoded::TryNext(trouble(u16::from(high) << 4 | code));
            }
        }
        if code == NXDOMAIN {
            return Decoded::Answer(Answer::NotListed { ttl: soa_ttl });
        }
        match records.reachable_from(self) {
            Ok(End::Listed(listed)) => Decoded::Answer(listed),
            Ok(End::Nothing) => Decoded::Answer(Answer::NotListed { ttl: soa_ttl }),
            Ok(End::Elsewhere(name)) => Decoded::Alias(Box::new(QueryName::of(name))),
            Err(EndlessAliases) => Decoded::TryNext(Trouble::Malformed),
        }
    }
}

const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const BADVERS: u16 = 16;

fn trouble(code: u16) -> Trouble {
    match code {
        FORMERR | NOTIMP | BADVERS => Trouble::NotUnderstood,
        _ => Trouble::Refused,
    }
}

/// Why no further record is read.
enum Stop {
    Malformed,
    TooMany,
}

fn next(decoder: &mut BinDecoder<'_>, left: &mut usize) -> Result<Record, Stop> {
    *left = left.checked_sub(1).ok_or(Stop::TooMany)?;
    Record::read(decoder).map_err(|_| Stop::Malformed)
}

/// RFC 2181 section 8: a time to live with the highest bit set means zero.
fn time_to_live(record: &Record) -> u32 {
    if record.ttl > i32::MAX.unsigned_abs() { 0 } else { record.ttl }
}

/// The answer section.
#[derive(Default)]
struct Records {
    addresses: Vec<(Name, Ipv4Addr, u32)>,
    aliases: Vec<(Name, Name)>,
}

/// Where a name leads.
enum End<'r> {
    /// To addresses.
    Listed(Answer),
    /// Nowhere.
    Nothing,
    /// To a name about which the message says nothing.
    Elsewhere(&'r Name),
}

/// The aliases lead in a circle, or there are too many.
struct EndlessAliases;

impl Records {
    fn take(&mut self, record: Record) {
        if record.dns_class != DNSClass::IN {
            return;
        }
        let ttl = time_to_live(&record);
        match record.data {
            RData::A(address) => self.addresses.push((record.name, address.0, ttl)),
            RData::CNAME(target) => self.aliases.push((record.name, target.0)),
            _ => {}
        }
    }

    /// The addresses of the name, or of what it is an alias of, in the order of the message,
    /// with the lowest of their times to live.
    fn reachable_from(&self, asked: &QueryName) -> Result<End<'_>, EndlessAliases> {
        // Where the aliases have led so far.
        let mut alias: Option<&Name> = None;
        for _ in 0..=MAX_ALIASES {
            let is_owner = |owner: &Name| match alias {
                None => asked.is(owner),
                Some(alias) => owner == alias,
            };
            let found = || self.addresses.iter().filter(|(owner, ..)| is_owner(owner));
            if let Some(ttl) = found().map(|(_, _, ttl)| *ttl).min() {
                let addresses = found().map(|(_, address, _)| *address).collect();
                return Ok(End::Listed(Answer::Listed { addresses, ttl }));
            }
            match self.aliases.iter().find(|(owner, _)| is_owner(owner)) {
                Some((_, target)) => alias = Some(target),
                None => {
                    // An alias of itself leads nowhere.
                    let elsewhere = alias.filter(|alias| !asked.is(alias));
                    return Ok(elsewhere.map_or(End::Nothing, End::Elsewhere));
                }
            }
        }
        Err(EndlessAliases)
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
