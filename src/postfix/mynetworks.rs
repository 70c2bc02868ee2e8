//! main.cf: `mynetworks`, the trusted clients: as a list to match, and computed from the
//! interfaces of this machine where main.cf does not say.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use nix::ifaddrs::{InterfaceAddress as KernelAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::address_list::AddressList;
use super::lists::split_list;
use super::match_list::{ListError, Membership};
use super::message::Message;
use super::table::{FileSource, Network, TableView, Tables};
use crate::screen::address::address_text;

/// The list behind `permit_mynetworks`.
#[derive(Clone, Debug)]
pub struct Mynetworks {
    list: AddressList,
    /// What the list would be with `mynetworks_style = host`; given only while a legacy
    /// default decides the style, to point out whom that lets in.
    host_style: Option<AddressList>,
}

impl Mynetworks {
    /// Reads the list. `label` is the parameter that messages name; `host_style` is the
    /// [`computed`] value for `mynetworks_style = host`, if main.cf has neither
    /// `mynetworks` nor `mynetworks_style` and `compatibility_level` is below 2.
    ///
    /// # Errors
    ///
    /// If the service cannot start with this list.
    pub fn parse(
        label: &str,
        text: &str,
        host_style: Option<&str>,
        tables: &mut Tables,
        files: &dyn FileSource,
        messages: &mut Vec<Message>,
    ) -> Result<Mynetworks, ListError> {
        let list = AddressList::parse(label, text, tables, files, messages)?;
        let host_style = host_style
            .map(|text| AddressList::parse(label, text, tables, files, messages))
            .transpose()?;
        Ok(Mynetworks { list, host_style })
    }

    /// Whether a client is trusted. Trouble and the notice about the legacy default are
    /// added to `messages`.
    pub fn evaluate(
        &self,
        tables: TableView<'_>,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Membership {
        let membership = self.list.evaluate(tables, client, messages);
        if membership == Membership::Member
            && let Some(host_style) = &self.host_style
            && host_style.evaluate(tables, client, messages) != Membership::Member
        {
            // Both lists are computed, without tables: neither has to ask anybody.
            messages.push(Message::info(format!(
                "using backwards-compatible default setting mynetworks_style=subnet to permit \
                 request from client \"{}\"",
                address_text(client)
            )));
        }
        membership
    }

    /// See [`AddressList::watched`].
    pub fn watched(&self) -> Vec<PathBuf> {
        self.list.watched()
    }

    /// See [`AddressList::reload`].
    pub fn reload(
        &mut self,
        path: &Path,
        text: &[u8],
        tables: &mut Tables,
        files: &dyn FileSource,
    ) -> Vec<Message> {
        self.list.reload(path, text, tables, files)
    }
}

/// An address of this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// The address itself.
    pub address: IpAddr,
    /// The prefix length of its network, 0..=32 or 0..=128.
    pub prefix: u8,
}

/// The parameters that decide the computed value.
#[derive(Clone, Copy, Debug)]
pub struct NetworkSettings<'a> {
    /// main.cf: `mynetworks_style`.
    pub style: Style,
    /// main.cf: `inet_interfaces`: `all`, `loopback-only`, or names and addresses.
    pub inet_interfaces: &'a str,
    /// main.cf: `inet_protocols` has IPv4.
    pub ipv4: bool,
    /// main.cf: `inet_protocols` has IPv6.
    pub ipv6: bool,
}

/// Why there is no computed value; the service cannot start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkSettingsError {
    /// A name in `inet_interfaces` has no address of an enabled family.
    #[error("config variable inet_interfaces: host not found: {0}")]
    UnknownHost(String),
    /// There is no address of an enabled family.
    #[error("could not find any active network interfaces")]
    NoInterfaces,
    /// An address in `inet_interfaces` is not ours.
    #[error("parameter inet_interfaces: no local interface found for {0}")]
    NotLocal(String),
}

/// main.cf: `mynetworks_style`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// The host's own addresses.
    Host,
    /// The networks of the interfaces.
    Subnet,
    /// The networks of the old address classes.
    Class,
}

/// The value of `mynetworks` when main.cf has none: networks of the interfaces in use,
/// in the kernel's order, separated by blanks. `resolve` gives the addresses of a host
/// name.
///
/// # Errors
///
/// If one of the settings is wrong.
pub fn computed(
    settings: &NetworkSettings<'_>,
    interfaces: &[InterfaceAddress],
    resolve: &dyn Fn(&str) -> Vec<IpAddr>,
) -> Result<String, NetworkSettingsError> {
    let style = settings.style;
    let mut networks: Vec<String> = Vec::new();
    for interface in in_use(settings, interfaces, resolve)? {
        let network = network_text(style.network(interface));
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    Ok(networks.join(" "))
}

/// The addresses of a host name, from the system's resolver: it may block, and it opens
/// files, so it is for the time before chroot(2).
pub fn system_resolve(name: &str) -> Vec<IpAddr> {
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => addresses.map(|address| address.ip()).collect(),
        Err(_) => Vec::new(),
    }
}

/// All addresses of the interfaces that are up, in the kernel's order.
///
/// # Errors
///
/// Those of getifaddrs(3).
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    Ok(getifaddrs()?.filter_map(|entry| from_kernel(&entry)).collect())
}

fn from_kernel(entry: &KernelAddress) -> Option<InterfaceAddress> {
    if !entry.flags.contains(InterfaceFlags::IFF_UP) {
        return None;
    }
    let address = ip(entry.address.as_ref()?)?;
    let prefix = match entry.netmask.as_ref().and_then(ip) {
        Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
        Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
        None if address.is_ipv4() => 32,
        None => 128,
    };
    Some(InterfaceAddress { address, prefix: u8::try_from(prefix).unwrap_or(u8::MAX) })
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    four.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

impl Style {
    fn network(self, interface: InterfaceAddress) -> Network {
        let prefix = match (self, interface.address) {
            (Style::Host, _) => u8::MAX,
            (Style::Subnet, _) | (Style::Class, IpAddr::V6(_)) => interface.prefix,
            (Style::Class, IpAddr::V4(address)) => match address.octets() {
                [0..=127, ..] => 8,
                [128..=191, ..] => 16,
                [192..=223, ..] => 24,
                _ => 4,
            },
        };
        Network::containing(interface.address, prefix)
    }
}

/// The addresses that `inet_interfaces` and `inet_protocols` select.
fn in_use(
    settings: &NetworkSettings<'_>,
    interfaces: &[InterfaceAddress],
    resolve: &dyn Fn(&str) -> Vec<IpAddr>,
) -> Result<Vec<InterfaceAddress>, NetworkSettingsError> {
    let enabled = |address: &IpAddr| match address {
        IpAddr::V4(_) => settings.ipv4,
        IpAddr::V6(_) => settings.ipv6,
    };
    let own = interfaces.iter().copied().filter(|own| enabled(&own.address));
    let any = || match own.clone().next() {
        Some(_) => Ok(()),
        None => Err(NetworkSettingsError::NoInterfaces),
    };
    let words: Vec<&str> = split_list(settings.inet_interfaces).collect();
    match words.as_slice() {
        ["all"] => return any().map(|()| own.collect()),
        ["loopback-only"] => {
            return any().map(|()| own.filter(|own| own.address.is_loopback()).collect());
        }
        _ => {}
    }
    let mut wanted: Vec<IpAddr> = Vec::new();
    for word in words {
        let bare = word.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(word);
        let mut addresses = match bare.parse() {
            Ok(address) => vec![address],
            Err(_) => resolve(bare),
        };
        addresses.retain(enabled);
        if addresses.is_empty() {
            return Err(NetworkSettingsError::UnknownHost(word.into()));
        }
        wanted.extend(addresses);
    }
    any()?;
    if let Some(foreign) =
        wanted.iter().find(|wanted| !own.clone().any(|own| own.address == **wanted))
    {
        return Err(NetworkSettingsError::NotLocal(address_text(*foreign)));
    }
    Ok(own.filter(|own| wanted.contains(&own.address)).collect())
}

/// A network as an item of a match list.
fn network_text(network: Network) -> String {
    match network {
        Network::V4(..) => network.to_string(),
        Network::V6(first, length) => format!("[{}]/{length}", address_text(first.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postfix::table::test_files::Files;

    /// The machine of the examples, with a second address in the first one's network.
    fn machine() -> Vec<InterfaceAddress> {
        [
            ("127.0.0.1", 8),
            ("192.0.2.2", 24),
            ("192.0.2.3", 24),
            ("::1", 128),
            ("fd00::2", 64),
            ("fe80::fc:ff:fe00:1", 64),
        ]
        .map(|(address, prefix)| InterfaceAddress { address: address.parse().unwrap(), prefix })
        .to_vec()
    }

    fn value(style: Style, inet_interfaces: &str, ipv6: bool) -> String {
        let settings = NetworkSettings { style, inet_interfaces, ipv4: true, ipv6 };
        let resolve = |name: &str| match name {
            "localhost" => vec![IpAddr::from([127, 0, 0, 1])],
            _ => Vec::new(),
        };
        match computed(&settings, &machine(), &resolve) {
            Ok(value) => value,
            Err(error) => format!("fatal: {error}"),
        }
    }

    #[test]
    fn styles_and_interfaces() {
        assert_eq!(value(Style::Host, "all", false), "127.0.0.1/32 192.0.2.2/32 192.0.2.3/32");
        assert_eq!(
            value(Style::Host, "all", true),
            "127.0.0.1/32 192.0.2.2/32 192.0.2.3/32 [::1]/128 [fd00::2]/128 \
             [fe80::fc:ff:fe00:1]/128"
        );
        assert_eq!(
            value(Style::Subnet, "all", true),
            "127.0.0.0/8 192.0.2.0/24 [::1]/128 [fd00::]/64 [fe80::]/64"
        );
        assert_eq!(
            value(Style::Class, "all", true),
            "127.0.0.0/8 192.0.2.0/24 [::1]/128 [fd00::]/64 [fe80::]/64"
        );
        assert_eq!(value(Style::Subnet, "loopback-only", true), "127.0.0.0/8 [::1]/128");
        assert_eq!(value(Style::Host, "127.0.0.1", true), "127.0.0.1/32");
        assert_eq!(value(Style::Host, "localhost", true), "127.0.0.1/32");
        assert_eq!(value(Style::Host, "[::1]", true), "[::1]/128");
        assert_eq!(value(Style::Host, "", true), "");
        assert_eq!(
            value(Style::Subnet, "fd00::2, 127.0.0.1 ::1 127.0.0.1", true),
            "127.0.0.0/8 [::1]/128 [fd00::]/64"
        );
    }

    #[test]
    fn classes() {
        for (address, network) in [
            ("10.1.2.3", "10.0.0.0/8"),
            ("172.16.2.3", "172.16.0.0/16"),
            ("192.0.2.3", "192.0.2.0/24"),
            ("224.1.2.3", "224.0.0.0/4"),
        ] {
            let interface = InterfaceAddress { address: address.parse().unwrap(), prefix: 30 };
            assert_eq!(network_text(Style::Class.network(interface)), network);
        }
    }

    #[test]
    fn wrong_settings() {
        for (style, inet_interfaces, error) in [
            (
                Style::Host,
                "foo.invalid",
                "config variable inet_interfaces: host not found: foo.invalid",
            ),
            (Style::Host, "all, ::1", "config variable inet_interfaces: host not found: all"),
            (
                Style::Host,
                "10.9.9.9",
                "parameter inet_interfaces: no local interface found for 10.9.9.9",
            ),
        ] {
            assert_eq!(value(style, inet_interfaces, true), format!("fatal: {error}"));
        }
        assert_eq!(
            value(Style::Host, "::1", false),
            "fatal: config variable inet_interfaces: host not found: ::1"
        );
    }

    #[test]
    fn without_addresses_there_are_no_networks() {
        let only_four: Vec<_> = machine().into_iter().filter(|own| own.address.is_ipv4()).collect();
        let value = |inet_interfaces| {
            let settings =
                NetworkSettings { style: Style::Subnet, inet_interfaces, ipv4: false, ipv6: true };
            computed(&settings, &only_four, &|_| Vec::new()).unwrap_err().to_string()
        };
        for text in ["all", "loopback-only", "::1", ""] {
            assert_eq!(value(text), "could not find any active network interfaces");
        }
        assert_eq!(
            value("127.0.0.1"),
            "config variable inet_interfaces: host not found: 127.0.0.1"
        );
    }

    #[test]
    fn this_machine_has_addresses() {
        let addresses = interface_addresses().unwrap();
        for own in &addresses {
            assert!(own.prefix <= if own.address.is_ipv4() { 32 } else { 128 }, "{own:?}");
        }
    }

    #[test]
    fn notice_about_the_legacy_default() {
        let (mut tables, files, mut messages) = (Tables::new(false), Files::new([]), Vec::new());
        let (subnet, host) = (value(Style::Subnet, "all", true), value(Style::Host, "all", true));
        let mut parse = |host: Option<&str>| {
            Mynetworks::parse("p", &subnet, host, &mut tables, &files, &mut messages).unwrap()
        };
        let (with, without) = (parse(Some(&host)), parse(None));
        let ask = |mynetworks: &Mynetworks, client: &str| {
            let mut messages = Vec::new();
            let client = client.parse().unwrap();
            (mynetworks.evaluate(tables.alone(), client, &mut messages), messages)
        };
        assert_eq!(ask(&with, "192.0.2.2"), (Membership::Member, vec![]));
        assert_eq!(ask(&with, "198.51.100.1"), (Membership::Stranger, vec![]));
        assert_eq!(ask(&without, "192.0.2.9"), (Membership::Member, vec![]));
        let notice = Message::info(
            "using backwards-compatible default setting mynetworks_style=subnet to permit \
             request from client \"192.0.2.9\"",
        );
        assert_eq!(ask(&with, "192.0.2.9"), (Membership::Member, vec![notice]));
    }
}
