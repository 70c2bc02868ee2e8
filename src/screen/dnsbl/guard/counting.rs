//! Which addresses of an answer count, and which are error codes of the list.
//!
//! Lists that refuse service say so with an address in 127.255.255.0/24 (Spamhaus: .252 for
//! a mistyped zone, .254 for a public resolver, .255 for too many questions). An address outside
//! of 127.0.0.0/8 comes from whoever has bought the domain of a list that is gone, or from a
//! resolver that answers with its owner's web server where there is nothing (RFC 5782, section
//! 2.1, knows no such listing). Whoever takes that for a listing refuses everybody's mail.

use std::net::Ipv4Addr;

use super::Mode;
use crate::screen::dnsbl::answer::Answer;
use crate::screen::dnsbl::lists::{Entry, List};

/// Whether an address is an error code.
fn is_error_code(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [127, 255, 255, _])
}

/// Whether an address is no listing, unless main.cf says otherwise.
fn is_no_listing(address: Ipv4Addr) -> bool {
    is_error_code(address) || !address.is_loopback()
}

impl Mode {
    /// Whether one of these addresses counts for the entry. Error codes only do if its filter
    /// names them; with [`Mode::Warn`] and [`Mode::Off`] like any other address, as with
    /// postscreen(8).
    pub fn counts(self, entry: &Entry, addresses: &[Ipv4Addr]) -> bool {
        match self {
            Mode::Enforce => addresses.iter().any(|address| honours(entry, *address)),
            Mode::Warn | Mode::Off => entry.counts(addresses),
        }
    }

    /// Whether the list says nothing about the client but refuses to answer: all that comes
    /// are error codes, and no entry counts one. Then the answer is as good as missing.
    pub fn is_refusal(self, list: &List, answer: &Answer) -> bool {
        match (self, answer) {
            (Mode::Enforce, Answer::Listed { addresses, .. }) => {
                addresses.iter().all(|address| is_refused(list, *address))
            }
            (Mode::Enforce | Mode::Warn | Mode::Off, _) => false,
        }
    }
}

/// The first address that counts for some entry, where error codes are known for what they
/// are.
pub(super) fn counted(list: &List, addresses: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let counts = |address: &Ipv4Addr| list.entries.iter().any(|entry| honours(entry, *address));
    addresses.iter().copied().find(counts)
}

/// The first error code that counts for no entry.
pub(super) fn error_code(list: &List, addresses: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    addresses.iter().copied().find(|address| is_refused(list, *address))
}

fn is_refused(list: &List, address: Ipv4Addr) -> bool {
    is_no_listing(address) && !list.entries.iter().any(|entry| honours(entry, address))
}

/// Whether an address counts for an entry.
fn honours(entry: &Entry, address: Ipv4Addr) -> bool {
    match &entry.filter {
        None => !is_no_listing(address),
        // The other ones are named by each filter that they match.
        Some(filter) => {
            filter.matches(address) && (!is_error_code(address) || filter.names_error_codes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::dnsbl::answer::{Failure, ListId};
    use crate::screen::dnsbl::lists::Lists;
    use crate::screen::dnsbl::site::parse_sites;

    fn list(sites: &str) -> List {
        Lists::new(&parse_sites(sites).unwrap()).get(ListId(0)).unwrap().clone()
    }

    fn addresses(texts: &[&str]) -> Vec<Ipv4Addr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The weights of the entries that count.
    fn weights(mode: Mode, sites: &str, answer: &[&str]) -> Vec<i32> {
        let addresses = addresses(answer);
        let list = list(sites);
        let entries = list.entries.iter().filter(|entry| mode.counts(entry, &addresses));
        entries.map(|entry| entry.weight).collect()
    }

    #[test]
    fn error_codes_count_only_where_a_filter_names_them() {
        let code = ["127.255.255.254"];
        let sites = "a.test*1 a.test=127.255.255.[250..255]*2 a.test=127.255.255.252*3 \
                     a.test=127.[0..255].[0..255].[0..255]*4 a.test=127.255.[254;255].254*5 \
                     a.test=[127].[255;255].255.254*6";
        assert_eq!(weights(Mode::Enforce, sites, &code), [2, 6]);
        assert_eq!(weights(Mode::Warn, sites, &code), [1, 2, 4, 5, 6]);
        assert_eq!(weights(Mode::Off, sites, &code), [1, 2, 4, 5, 6]);
        for other in ["127.0.0.2", "127.255.254.254", "127.254.255.254", "127.0.0.0"] {
            let weights = |mode| weights(mode, sites, &[other]);
            assert_eq!(weights(Mode::Enforce), weights(Mode::Off), "{other}");
            assert!(weights(Mode::Enforce).contains(&1), "{other}");
        }
    }

    #[test]
    fn an_address_of_the_internet_is_no_listing() {
        let sites = "a.test*1 a.test=203.0.113.[80;81]*2 a.test=127.0.0.[1..255]*4";
        for (address, by_filter) in
            [("203.0.113.80", vec![2]), ("126.255.255.255", vec![]), ("128.0.0.0", vec![])]
        {
            assert_eq!(weights(Mode::Enforce, sites, &[address]), by_filter, "{address}");
            assert!(weights(Mode::Off, sites, &[address]).contains(&1), "{address}");
            let answer = Answer::Listed { addresses: addresses(&[address]).into(), ttl: 60 };
            assert!(Mode::Enforce.is_refusal(&list("a.test a.test=127.0.0.2"), &answer));
            assert_eq!(Mode::Enforce.is_refusal(&list(sites), &answer), by_filter.is_empty());
        }
        assert_eq!(weights(Mode::Enforce, sites, &["203.0.113.7", "127.0.0.9"]), [1, 4]);
    }

    #[test]
    fn what_is_no_error_code_counts_beside_one() {
        let both = ["127.255.255.255", "127.0.0.4"];
        assert_eq!(weights(Mode::Enforce, "a.test a.test=127.0.0.2*2", &both), [1]);
        let both = addresses(&both);
        assert_eq!(counted(&list("a.test"), &both), Some(both[1]));
        assert_eq!(error_code(&list("a.test"), &both), Some(both[0]));
        assert_eq!(error_code(&list("a.test=127.255.255.255"), &both), None);
        assert_eq!(counted(&list("a.test=127.255.255.255"), &both), Some(both[0]));
    }

    #[test]
    fn nothing_but_error_codes_is_a_refusal() {
        let listed =
            |texts: &[&str]| Answer::Listed { addresses: addresses(texts).into(), ttl: 60 };
        let refused = |sites: &str, answer: &Answer| Mode::Enforce.is_refusal(&list(sites), answer);
        let code = listed(&["127.255.255.252", "127.255.255.254"]);
        assert!(refused("a.test a.test=127.0.0.2", &code));
        assert!(!refused("a.test a.test=127.255.255.254", &code));
        assert!(!refused("a.test", &listed(&["127.255.255.252", "127.0.0.2"])));
        assert!(!refused("a.test", &Answer::NotListed { ttl: None }));
        assert!(!refused("a.test", &Answer::Failed(Failure::ServerError)));
        assert!(!Mode::Warn.is_refusal(&list("a.test"), &code));
        assert!(!Mode::Off.is_refusal(&list("a.test"), &code));
    }
}
