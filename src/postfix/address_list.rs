//! Lists of address patterns: main.cf `mynetworks` and `postscreen_allowlist_interfaces`.
//!
//! A pattern that makes no sense is found out only when an address of its family gets as
//! far as to it, as in Postfix.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::match_list::{Decision, ListError, MatchList, Membership, Pattern, Patterns};
use super::message::Message;
use super::table::{
    AddressKey, FileSource, FirstMatch, Network, NetworkError, NetworkPattern, OpenOptions, Rules,
    TableView, Tables,
};
use crate::screen::address::address_text;

/// A list of address patterns, tables, and files with more of both.
pub type AddressList = MatchList<AddressPatterns>;

impl AddressList {
    /// Reads a list. `label` is the parameter that messages name; what is wrong with
    /// tables and files is added to `messages`.
    ///
    /// # Errors
    ///
    /// If the service cannot start with this list.
    pub fn parse(
        label: &str,
        text: &str,
        tables: &mut Tables,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<AddressList, ListError> {
        MatchList::open(label, text, OpenOptions::EXACT, tables, files, messages)
    }

    /// Whether the address is on the list. Trouble is added to `warnings`.
    pub fn evaluate(
        &self,
        tables: TableView<'_>,
        address: IpAddr,
        warnings: &mut Vec<Message>,
    ) -> Membership {
        self.ask(tables, &Subject { address, key: OnceCell::new() }, warnings)
    }
}

/// The address that is looked for.
#[derive(Clone, Debug)]
pub struct Subject {
    address: IpAddr,
    /// Its text, once a table is asked for it.
    key: OnceCell<AddressKey>,
}

/// Address patterns that follow each other. There may be very many of them.
#[derive(Clone, Debug)]
pub struct AddressPatterns {
    rules: FirstMatch,
    /// What the first rule that matches means, by its result.
    outcomes: Vec<Outcome>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Decided(Decision),
    /// What to say when the pattern is come upon.
    Wrong(String),
}

impl Patterns for AddressPatterns {
    type Subject<'a> = Subject;

    fn new(patterns: Vec<Pattern>) -> AddressPatterns {
        let mut rules = Rules::default();
        let mut outcomes =
            vec![Outcome::Decided(Decision::Member), Outcome::Decided(Decision::Stranger)];
        for Pattern { text, decision } in patterns {
            let text = text.to_lowercase();
            let decided = match decision {
                Decision::Member => 0,
                Decision::Stranger => 1,
            };
            let (network, result) = match network(&text) {
                Some(Ok(network)) => (network, decided),
                Some(Err(error)) => {
                    outcomes.push(Outcome::Wrong(error.to_string()));
                    // Memory ends before the numbers do.
                    (family(&text), u32::try_from(outcomes.len() - 1).unwrap_or(u32::MAX))
                }
                None => match exact(&text) {
                    Some(address) => (Network::containing(address, u8::MAX), decided),
                    None => continue,
                },
            };
            rules.add(NetworkPattern::is(network), result);
        }
        AddressPatterns { rules: rules.compile(), outcomes }
    }

    fn key(subject: &Subject) -> &[u8] {
        subject.key.get_or_init(|| AddressKey::new(subject.address)).as_ref()
    }

    fn decide(&self, subject: &Subject) -> Result<Option<Decision>, &str> {
        let outcome = self
            .rules
            .find(subject.address)
            .and_then(|number| self.outcomes.get(usize::try_from(number).ok()?));
        match outcome {
            None => Ok(None),
            Some(Outcome::Decided(decision)) => Ok(Some(*decision)),
            Some(Outcome::Wrong(problem)) => Err(problem),
        }
    }
}

/// The network of a pattern that is more than text to compare.
fn network(text: &str) -> Option<Result<Network, NetworkError>> {
    let addresses_only = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.' | b':' | b'[' | b']' | b'/'));
    let is_network = addresses_only && (is_six(text) || text.contains('/'));
    is_network.then(|| Network::parse(text))
}

/// The address whose text any other pattern may be, with or without brackets.
fn exact(text: &str) -> Option<IpAddr> {
    let inside = match text.strip_prefix('[') {
        None => text,
        Some(inner) => inner.strip_suffix(']')?,
    };
    let address = inside.parse().ok()?;
    (address_text(address) == inside).then_some(address)
}

/// All addresses that get as far as to a pattern.
fn family(text: &str) -> Network {
    if is_six(text) {
        Network::V6(Ipv6Addr::UNSPECIFIED, 0)
    } else {
        Network::V4(Ipv4Addr::UNSPECIFIED, 0)
    }
}

/// IPv6, going by the colon.
fn is_six(text: &str) -> bool {
    text.contains(':')
}

#[cfg(test)]
#[path = "address_list_tests.rs"]
mod tests;
