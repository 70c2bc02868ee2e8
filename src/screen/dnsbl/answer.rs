//! What a list says about an address.

use std::net::{IpAddr, Ipv4Addr};

/// Names a list: the position of its domain among the distinct domains of main.cf's
/// `postscreen_dnsbl_sites`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListId(pub u16);

/// One look-up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Question {
    /// On whose behalf.
    pub asker: Asker,
    /// The address that is looked up.
    pub address: IpAddr,
    /// Where.
    pub list: ListId,
}

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Asker {
    /// A client with this address is being tested.
    Client,
    /// The list itself is being tested, with a test point of RFC 5782 section 5.
    TestPoint,
}

/// The answer to a look-up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The name has A records.
    Listed {
        /// Their addresses, in the order of the answer; at least one.
        addresses: Box<[Ipv4Addr]>,
        /// The lowest of their times to live, seconds.
        ttl: u32,
    },
    /// There is no such name, or it has no A record.
    NotListed {
        /// The time to live of the SOA record in the answer, seconds; `None` without one.
        ttl: Option<u32>,
    },
    /// There is no answer.
    Failed(Failure),
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Failure {
    /// main.cf's `postscreen_dnsbl_timeout` has passed.
    TimeLimit,
    /// Every name server was tried as often as resolv.conf says, and none has answered.
    NoReply,
    /// The name servers answer SERVFAIL, REFUSED, FORMERR or NOTIMP, or something that makes
    /// no sense.
    ServerError,
    /// No name server can be reached.
    Unreachable,
    /// The list itself refuses to answer, which it says by an address in 127.255.255.0/24; or
    /// the answer is somebody else's, outside of 127.0.0.0/8.
    Refused,
}
