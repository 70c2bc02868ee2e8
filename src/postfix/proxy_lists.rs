//! gatepost.cf's lists for the PROXY protocol: the proxies that are trusted, and the addresses
//! of ours at which it is spoken.
//!
//! Mail must not stop because of a mistake in gatepost.cf, but a list that cannot be used must
//! not open the door either: it trusts nobody.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::address_list::AddressList;
use super::match_list::Membership;
use super::message::Message;
use super::table::{FileSource, RemoteQuestion, TableView, Tables};
use crate::screen::event::{Spoken, Trust};

/// gatepost.cf: the trusted proxies.
pub const NETWORKS: &str = "upstream_proxy_networks";

/// gatepost.cf: where the protocol is spoken.
pub const INTERFACES: &str = "upstream_proxy_interfaces";

/// The text of a list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum ListText {
    /// There is none.
    #[default]
    Unset,
    /// This.
    Text(String),
    /// There should be one, but what it says cannot be told.
    Unusable,
}

/// Both lists, as text after macro expansion.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ProxyListSettings {
    /// gatepost.cf: `upstream_proxy_networks`; unset: everybody is believed.
    pub networks: ListText,
    /// gatepost.cf: `upstream_proxy_interfaces`; unset: all.
    pub interfaces: ListText,
}

/// Both lists, open.
#[derive(Clone, Debug)]
pub struct ProxyLists {
    networks: Opened,
    interfaces: Opened,
}

#[derive(Clone, Debug)]
enum Opened {
    Unset,
    List(AddressList),
    Unusable,
}

impl ProxyLists {
    /// Opens the lists. What is wrong with them is added to `messages`, and never fatal.
    pub fn open(
        settings: &ProxyListSettings,
        tables: &mut Tables,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> ProxyLists {
        let mut open = |label: &str, text: &ListText| match text {
            ListText::Unset => Opened::Unset,
            ListText::Unusable => Opened::Unusable,
            ListText::Text(text) => {
                match AddressList::parse(label, text, tables, files, messages) {
                    Ok(list) => Opened::List(list),
                    Err(error) => {
                        messages.push(Message::warning(error.to_string()));
                        Opened::Unusable
                    }
                }
            }
        };
        let lists = ProxyLists {
            networks: open(NETWORKS, &settings.networks),
            interfaces: open(INTERFACES, &settings.interfaces),
        };
        for (label, list, effect) in [
            (NETWORKS, &lists.networks, "no proxy is trusted"),
            (INTERFACES, &lists.interfaces, "only trusted proxies can connect"),
        ] {
            if matches!(list, Opened::Unusable) {
                messages.push(Message::warning(format!(
                    "gatepost.cf: {label} cannot be used: {effect} until that is put right"
                )));
            }
        }
        lists
    }

    /// Whether the protocol is spoken at this address of ours. Trouble is added to `messages`.
    pub fn spoken(
        &self,
        tables: TableView<'_>,
        server: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Spoken {
        match &self.interfaces {
            Opened::Unset => Spoken::Yes,
            Opened::Unusable => Spoken::Unknown,
            Opened::List(list) => match list.evaluate(tables, server, messages) {
                Membership::Member => Spoken::Yes,
                Membership::Stranger => Spoken::No,
                Membership::Unknown => Spoken::Unknown,
                Membership::Asked(question) => {
                    messages.push(not_here(tables, INTERFACES, &question));
                    Spoken::Unknown
                }
            },
        }
    }

    /// Whether a proxy may say whom it speaks for. Trouble is added to `messages`.
    pub fn trusted(
        &self,
        tables: TableView<'_>,
        proxy: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Trust {
        match &self.networks {
            Opened::Unset => Trust::Anybody,
            Opened::Unusable => Trust::Stranger,
            Opened::List(list) => match list.evaluate(tables, proxy, messages) {
                Membership::Member => Trust::Listed,
                Membership::Stranger | Membership::Unknown => Trust::Stranger,
                Membership::Asked(question) => {
                    messages.push(not_here(tables, NETWORKS, &question));
                    Trust::Stranger
                }
            },
        }
    }

    /// Whether everybody who connects to this address of ours can claim to be anybody.
    pub fn believes_everybody(&self, tables: TableView<'_>, server: IpAddr) -> bool {
        matches!(self.networks, Opened::Unset)
            && self.spoken(tables, server, &mut Vec::new()) == Spoken::Yes
    }

    /// The files that the lists name.
    pub fn watched(&self) -> Vec<PathBuf> {
        let lists = [&self.networks, &self.interfaces].into_iter();
        let lists = lists.filter_map(|list| match list {
            Opened::List(list) => Some(list),
            Opened::Unset | Opened::Unusable => None,
        });
        lists.flat_map(AddressList::watched).collect()
    }

    /// Takes the new text of a file.
    pub fn reload(
        &mut self,
        path: &Path,
        text: &[u8],
        tables: &mut Tables,
        files: &dyn FileSource,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        for list in [&mut self.networks, &mut self.interfaces] {
            if let Opened::List(list) = list {
                messages.extend(list.reload(path, text, tables, files));
            }
        }
        messages
    }
}

/// Who may speak for others is decided before anything else, and nobody is asked about it.
fn not_here(tables: TableView<'_>, list: &str, question: &RemoteQuestion) -> Message {
    let table = tables.spec(question.table);
    Message::warning(format!("gatepost.cf: {list}: {table}: not possible here"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postfix::table::test_files::Files;

    fn opened(networks: &str, interfaces: &str) -> (ProxyLists, Tables, Vec<String>) {
        let settings = ProxyListSettings {
            networks: ListText::Text(networks.to_owned()),
            interfaces: ListText::Text(interfaces.to_owned()),
        };
        let (mut tables, mut messages) = (Tables::new(false), Vec::new());
        let files = Files::new([("/nets", "192.0.2.0/24 !192.0.2.9")]);
        let lists = ProxyLists::open(&settings, &mut tables, &files, &mut messages);
        (lists, tables, messages.into_iter().map(|message| message.text).collect())
    }

    fn trusted(networks: &str, proxy: &str) -> (Trust, usize) {
        let (lists, tables, _) = opened(networks, "static:all");
        let mut messages = Vec::new();
        let trust = lists.trusted(tables.alone(), proxy.parse().unwrap(), &mut messages);
        (trust, messages.len())
    }

    #[test]
    fn who_is_listed_is_trusted_and_nobody_else() {
        assert_eq!(trusted("192.0.2.0/24", "192.0.2.1"), (Trust::Listed, 0));
        assert_eq!(trusted("192.0.2.0/24", "198.51.100.1"), (Trust::Stranger, 0));
        assert_eq!(trusted("!192.0.2.9 /nets", "192.0.2.9"), (Trust::Stranger, 0));
        assert_eq!(trusted("[2001:db8::]/32", "2001:db8::1"), (Trust::Listed, 0));
    }

    #[test]
    fn a_list_that_cannot_tell_trusts_nobody() {
        for list in ["10.0.0.1/8, 192.0.2.1/32", "fail:x", "/none", "proxy:hash:/x"] {
            assert_eq!(trusted(list, "192.0.2.1").0, Trust::Stranger, "{list}");
        }
        let (lists, tables, messages) = opened("!", "!");
        assert_eq!(messages.len(), 4, "{messages:?}");
        let address = "192.0.2.1".parse().unwrap();
        let mut messages = Vec::new();
        assert_eq!(lists.trusted(tables.alone(), address, &mut messages), Trust::Stranger);
        assert_eq!(lists.spoken(tables.alone(), address, &mut messages), Spoken::Unknown);
        assert!(!lists.believes_everybody(tables.alone(), address));
    }
}
