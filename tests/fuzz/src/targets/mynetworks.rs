//! main.cf's mynetworks where it is computed: every interface in use is in one of the networks,
//! and as a list they mean what was computed.
//!
//! Input: a style, the two families, how many interfaces there are, and for each a family, a
//! prefix length and an address; then inet_interfaces.

use std::net::IpAddr;

use gatepost::postfix::match_list::Membership;
use gatepost::postfix::mynetworks::{
    InterfaceAddress, Mynetworks, NetworkSettings, NetworkSettingsError, Style, computed,
};
use gatepost::postfix::table::Tables;

use super::tables::OneFile;
use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let style = take.pick(&[Style::Subnet, Style::Host, Style::Class]);
    let (ipv4, ipv6) = take.pick(&[(true, true), (true, false), (false, true)]);
    let count = take.number() % 6;
    let machine: Vec<InterfaceAddress> = (0..count).filter_map(|_| interface(&mut take)).collect();
    let text = String::from_utf8_lossy(take.0);
    let settings = NetworkSettings { style, inet_interfaces: &text, ipv4, ipv6 };
    let resolve = |name: &str| {
        let nth = usize::from(name.bytes().fold(0_u8, u8::wrapping_add)) % machine.len().max(1);
        machine.get(nth).map(|own| own.address).into_iter().filter(|_| name != "nowhere").collect()
    };
    let enabled = |own: &&InterfaceAddress| if own.address.is_ipv4() { ipv4 } else { ipv6 };
    let usable: Vec<&InterfaceAddress> = machine.iter().filter(enabled).collect();
    let networks = match computed(&settings, &machine, &resolve) {
        Ok(networks) => networks,
        Err(NetworkSettingsError::NoInterfaces) => return assert!(usable.is_empty()),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(!usable.is_empty());
    let (mut tables, mut messages) = (Tables::new(false), Vec::new());
    let list = Mynetworks::parse("x", &networks, None, &mut tables, &OneFile(b""), &mut messages);
    let list = list.unwrap_or_else(|error| panic!("{networks}: {error}"));
    let mut is_in = |address: IpAddr| match list.evaluate(tables.alone(), address, &mut messages) {
        Membership::Member => true,
        Membership::Stranger => false,
        other => panic!("{networks}: {other:?}"),
    };
    if text.trim_matches([' ', ',', '\t', '\r', '\n']) == "all" {
        assert!(usable.iter().all(|own| is_in(own.address)), "{networks}: {usable:?}");
    }
    // Nobody is let in whom no interface is a reason for.
    for probe in ["203.0.113.77", "8.8.8.8", "2001:4860::8888", "::ffff:8.8.8.8"] {
        let probe: IpAddr = probe.parse().unwrap();
        let near = usable.iter().any(|own| shares(style, own, probe));
        assert!(near || !is_in(probe), "{probe} is in {networks}");
    }
    assert_eq!(messages, []);
}

fn interface(take: &mut Take<'_>) -> Option<InterfaceAddress> {
    let six = take.number() % 2 == 1;
    let prefix = take.bytes(1).first()? % if six { 129 } else { 33 };
    let address = if six {
        IpAddr::from(<[u8; 16]>::try_from(take.bytes(16)).ok()?)
    } else {
        IpAddr::from(<[u8; 4]>::try_from(take.bytes(4)).ok()?)
    };
    Some(InterfaceAddress { address, prefix })
}

/// Whether both are in the network that an interface stands for.
fn shares(style: Style, own: &InterfaceAddress, probe: IpAddr) -> bool {
    let (own_bits, probe_bits, width) = match (own.address, probe.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), _) => {
            let six = |it: IpAddr| match it {
                IpAddr::V4(it) => it.to_ipv6_mapped().to_bits(),
                IpAddr::V6(it) => it.to_bits(),
            };
            (a.to_bits(), six(probe), 128)
        }
        _ => return false,
    };
    let length = match style {
        Style::Host => width,
        Style::Subnet => u32::from(own.prefix),
        Style::Class if width == 128 => u32::from(own.prefix),
        Style::Class => match own_bits >> 24 {
            0..=127 => 8,
            128..=191 => 16,
            192..=223 => 24,
            _ => 4,
        },
    };
    let differ: u128 = own_bits ^ probe_bits;
    differ.checked_shr(width - length).unwrap_or(0) == 0
}
