//! Questions and answers as DNS messages (RFC 1035, RFC 6891). Nothing here touches a socket.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr};

use hickory_resolver::proto::op::{Edns, Header, Message, MessageType, OpCode, Query};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{
    BinDecodable, BinDecoder, BinEncodable, BinEncoder,
};

use crate::screen::dnsbl::answer::Answer;

/// The largest datagram that a server may send us, bytes: what passes every network unfragmented
/// (DNS flag day 2020).
pub const MAX_PAYLOAD: u16 = 1232;

/// The longest name in text form, bytes (RFC 1035 3.1: 255 on the wire).
const MAX_NAME: usize = 253;

/// The longest label, bytes (RFC 1035 2.3.4).
const MAX_LABEL: usize = 63;

/// How many records of one message are looked at: a bound for the work that a message makes.
const MAX_RECORDS: usize = 1024;

/// How many aliases in a row are followed. Name servers follow about as many.
const MAX_ALIASES: usize = 16;

/// The name under which a list is asked about an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueryName(Name);

/// Why a list cannot be asked about an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// The name is longer than 253 bytes.
    #[error("the name is too long")]
    TooLong,
    /// A label is empty or longer than 63 bytes.
    #[error("a label of the name is empty or too long")]
    Label,
}

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
    Alias(QueryName),
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

/// The name under which the list `domain` is asked about `address`: four numbers or 32
/// hexadecimal digits in reverse order, and the domain (RFC 5782 2.1, 2.4).
pub fn name(address: IpAddr, domain: &str) -> Result<QueryName, NameError> {
    Ok(QueryName(parse(&text(address, domain))?))
}

fn text(address: IpAddr, domain: &str) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(64 + domain.len());
    // Writing to a string does not fail.
    let _ = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            write!(text, "{d}.{c}.{b}.{a}.")
        }
        IpAddr::V6(address) => address
            .octets()
            .iter()
            .rev()
            .try_for_each(|byte| write!(text, "{:x}.{:x}.", byte & 0xf, byte >> 4)),
    };
    text.push_str(domain.strip_suffix('.').unwrap_or(domain));
    text
}

fn parse(text: &str) -> Result<Name, NameError> {
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    let labels = || text.split('.').map(str::as_bytes);
    if labels().any(|label| label.is_empty() || label.len() > MAX_LABEL) {
        return Err(NameError::Label);
    }
    Name::from_labels(labels()).map_err(|_| NameError::TooLong)
}

impl Display for QueryName {
    /// Without the dot at the end, as dnsblog(8) logs it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = self.0.to_ascii();
        f.write_str(text.strip_suffix('.').unwrap_or(&text))
    }
}

impl QueryName {
    /// The same name in random letter case, which the server sends back: one more thing that
    /// a forger has to guess. `bits` decide.
    pub fn in_mixed_case(&self, bits: u64) -> QueryName {
        let mut position = 0;
        let labels = self.0.iter().map(|label| {
            let mut label = label.to_vec();
            for letter in label.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
                if bits.rotate_right(position) & 1 == 1 {
                    *letter ^= 0x20;
                }
                position = (position + 1) % u64::BITS;
            }
            label
        });
        // The same labels make a valid name again.
        Name::from_labels(labels.collect::<Vec<_>>()).map_or_else(|_| self.clone(), QueryName)
    }

    /// Puts the question for the A records of this name into `message`, whatever was in there.
    pub fn encode(&self, form: Form, message: &mut Vec<u8>) {
        message.clear();
        let mut query = Message::new(form.id, MessageType::Query, OpCode::Query);
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(self.0.clone(), RecordType::A));
        if form.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_PAYLOAD);
            query.set_edns(edns);
        }
        // One valid name is all that can be wrong in it; an empty message goes nowhere.
        if query.emit(&mut BinEncoder::new(message)).is_err() {
            message.clear();
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
            1 => {
                let Ok(query) = Query::read(&mut decoder) else { return Decoded::NotOurs };
                let name = query.name();
                let same = if same_case { name.eq_case(&self.0) } else { *name == self.0 };
                if !same
                    || query.query_type() != RecordType::A
                    || query.query_class() != DNSClass::IN
                {
                    return Decoded::NotOurs;
                }
            }
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
        match records.reachable_from(&self.0) {
            Ok(End::Listed(listed)) => Decoded::Answer(listed),
            Ok(End::Nothing) => Decoded::Answer(Answer::NotListed { ttl: soa_ttl }),
            Ok(End::Elsewhere(name)) => Decoded::Alias(QueryName(name)),
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
enum End {
    /// To addresses.
    Listed(Answer),
    /// Nowhere.
    Nothing,
    /// To a name about which the message says nothing.
    Elsewhere(Name),
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
    fn reachable_from(&self, name: &Name) -> Result<End, EndlessAliases> {
        let asked = name;
        let mut name = name;
        for _ in 0..=MAX_ALIASES {
            let found = || self.addresses.iter().filter(|(owner, ..)| owner == name);
            if let Some(ttl) = found().map(|(_, _, ttl)| *ttl).min() {
                let addresses = found().map(|(_, address, _)| *address).collect();
                return Ok(End::Listed(Answer::Listed { addresses, ttl }));
            }
            match self.aliases.iter().find(|(owner, _)| owner == name) {
                Some((_, target)) => name = target,
                None if name == asked => return Ok(End::Nothing),
                None => return Ok(End::Elsewhere(name.clone())),
            }
        }
        Err(EndlessAliases)
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
