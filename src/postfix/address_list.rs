//! Lists of address patterns: main.cf `mynetworks` and `postscreen_allowlist_interfaces`.
//!
//! A pattern that makes no sense is found out only when an address of its family gets as
//! far as to it, as in Postfix.

use std::net::IpAddr;

use super::match_list::{ListError, MatchList, Membership, Pattern};
use super::message::Message;
use super::table::{FileSource, Network, OpenOptions, TableView, Tables};
use crate::screen::address::address_text;

/// A list of address patterns, tables, and files with more of both.
pub type AddressList = MatchList<AddressPattern>;

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
        let key = address_text(address);
        self.ask(tables, &Subject { address, key: &key }, warnings)
    }
}

/// The address that is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    address: IpAddr,
    key: &'a str,
}

/// An address pattern, understood as far as that is possible beforehand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressPattern {
    /// Equal to an address in its normal form, without the brackets.
    exact: String,
    /// IPv6, going by the colon.
    six: bool,
    network: PatternNetwork,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum PatternNetwork {
    /// The pattern is only good for comparing text, if for anything.
    None,
    Network(Network),
    /// What to say when the pattern is come upon.
    Wrong(String),
}

impl Pattern for AddressPattern {
    type Subject<'a> = Subject<'a>;

    fn new(text: &str) -> AddressPattern {
        let text = text.to_lowercase();
        let six = text.contains(':');
        let addresses_only = text.bytes().all(
            |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.' | b':' | b'[' | b']' | b'/'),
        );
        let network = if addresses_only && (six || text.contains('/')) {
            match Network::parse(&text) {
                Ok(network) => PatternNetwork::Network(network),
                Err(error) => PatternNetwork::Wrong(error.to_string()),
            }
        } else {
            PatternNetwork::None
        };
        let exact = match text.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
            None => text,
            Some(inner) => inner.unwrap_or_default().to_owned(),
        };
        AddressPattern { exact, six, network }
    }

    fn key<'a>(subject: &'a Subject<'_>) -> &'a [u8] {
        subject.key.as_bytes()
    }

    fn matches(&self, subject: &Subject<'_>) -> Result<bool, &str> {
        if self.exact == subject.key {
            return Ok(true);
        }
        if self.six != subject.key.contains(':') {
            return Ok(false);
        }
        match &self.network {
            PatternNetwork::None => Ok(false),
            PatternNetwork::Network(network) => Ok(network.contains(subject.address)),
            PatternNetwork::Wrong(problem) => Err(problem),
        }
    }
}

#[cfg(test)]
#[path = "address_list_tests.rs"]
mod tests;
