//! Just enough of the DNS message format (RFC 1035).

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;

/// A question.
#[derive(Clone, Debug)]
pub struct Query {
    pub id: u16,
    /// As it came, without the last dot.
    pub name: String,
    pub edns: bool,
    /// Type and class.
    pub kind: [u8; 4],
}

impl Query {
    /// Reads a question; `None` if it is none.
    pub fn parse(message: &[u8]) -> Option<Query> {
        let header = message.get(..12)?;
        if header[2] & 0x80 != 0 || header[4..6] != [0, 1] {
            return None;
        }
        let mut labels = Vec::new();
        let mut at = 12;
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8(message.get(at..at + length)?.to_vec()).ok()?);
            at += length;
        }
        Some(Query {
            id: u16::from_be_bytes([header[0], header[1]]),
            name: labels.join("."),
            edns: header[10..12] != [0, 0],
            kind: message.get(at..at + 4)?.try_into().ok()?,
        })
    }
}

/// A resource record.
#[derive(Clone, Debug)]
pub struct Record {
    owner: String,
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
}

impl Record {
    pub fn a(owner: &str, address: &str, ttl: u32) -> Record {
        let address: std::net::Ipv4Addr = address.parse().unwrap();
        Record { owner: owner.to_owned(), kind: A, ttl, data: address.octets().to_vec() }
    }

    pub fn cname(owner: &str, target: &str, ttl: u32) -> Record {
        Record { owner: owner.to_owned(), kind: CNAME, ttl, data: wire_name(target) }
    }

    fn soa(ttl: u32, minimum: u32) -> Record {
        let mut data = [wire_name("ns.test"), wire_name("hostmaster.test")].concat();
        for number in [1, 3600, 600, 86400, minimum] {
            data.extend(number.to_be_bytes());
        }
        Record { owner: "test".to_owned(), kind: SOA, ttl, data }
    }

    /// `question`: this name is at byte 12, and need not be written again.
    fn encode(&self, question: &str, message: &mut Vec<u8>) {
        if self.owner == question {
            message.extend([0xc0, 12]);
        } else {
            message.extend(wire_name(&self.owner));
        }
        message.extend(self.kind.to_be_bytes());
        message.extend(1_u16.to_be_bytes());
        message.extend(self.ttl.to_be_bytes());
        message.extend(u16::try_from(self.data.len()).unwrap().to_be_bytes());
        message.extend(&self.data);
    }
}

/// An answer in the making.
#[derive(Clone, Debug)]
pub struct Reply {
    id: u16,
    name: String,
    kind: [u8; 4],
    code: u8,
    truncated: bool,
    answers: Vec<Record>,
    authority: Vec<Record>,
}

impl Reply {
    pub fn new(query: &Query) -> Reply {
        Reply {
            id: query.id,
            name: query.name.clone(),
            kind: query.kind,
            code: 0,
            truncated: false,
            answers: Vec::new(),
            authority: Vec::new(),
        }
    }

    pub fn id(mut self, id: u16) -> Reply {
        self.id = id;
        self
    }

    pub fn question(mut self, name: &str) -> Reply {
        self.name = name.to_owned();
        self
    }

    pub fn code(mut self, code: u8) -> Reply {
        self.code = code;
        self
    }

    pub fn truncated(mut self) -> Reply {
        self.truncated = true;
        self
    }

    pub fn records(mut self, records: &[Record]) -> Reply {
        self.answers = records.to_vec();
        self
    }

    pub fn soa(mut self, times: Option<(u32, u32)>) -> Reply {
        self.authority =
            times.map(|(ttl, minimum)| Record::soa(ttl, minimum)).into_iter().collect();
        self
    }

    pub fn encode(&self) -> Vec<u8> {
        let count = |records: &Vec<Record>| u16::try_from(records.len()).unwrap().to_be_bytes();
        let mut message = self.id.to_be_bytes().to_vec();
        message.extend([0x81 | u8::from(self.truncated) << 1, 0x80 | self.code]);
        message.extend([0, 1]);
        message.extend(count(&self.answers));
        message.extend(count(&self.authority));
        message.extend([0, 0]);
        message.extend(wire_name(&self.name));
        message.extend(self.kind);
        for record in self.answers.iter().chain(&self.authority) {
            record.encode(&self.name, &mut message);
        }
        message
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}
