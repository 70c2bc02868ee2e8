//! The text of an address, wherever it goes: log, replies, tables, other daemons.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// An address as Postfix writes it: the C library's form, which differs from Rust's in
/// IPv4-compatible addresses (`::192.0.2.1`). The interface of a link-local one is no part of
/// it, as with Postfix.
#[derive(Clone, Copy, Debug)]
pub struct AddressText(pub IpAddr);

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(four) => four.fmt(f),
            IpAddr::V6(six) => match six.segments() {
                [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
                    let [.., a, b, c, d] = six.octets();
                    write!(f, "::{}", Ipv4Addr::new(a, b, c, d))
                }
                _ => six.fmt(f),
            },
        }
    }
}

/// [`AddressText`] as a string.
pub fn address_text(address: IpAddr) -> String {
    AddressText(address).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_the_c_library_form() {
        for text in [
            "::",
            "::1",
            "::2:1",
            "::ffff:1.2.3.4",
            "::ffff:0.0.0.0",
            "::1.2.3.4",
            "::0.1.0.0",
            "::ffff:0:1.2.3.4",
            "64:ff9b::c000:201",
            "2001:db8::1",
            "1:0:0:2::3",
            "1:0:2:3:4:5:6:7",
            "fe80::1",
        ] {
            let expected = match text {
                // Only an address with nothing but zeros before it is written with dots.
                "::2:1" => "::0.2.0.1",
                "::ffff:0:1.2.3.4" => "::ffff:0:102:304",
                text => text,
            };
            assert_eq!(address_text(text.parse().unwrap()), expected);
        }
        assert_eq!(address_text("2001:DB8:0:0::A".parse().unwrap()), "2001:db8::a");
        assert_eq!(address_text("192.0.2.1".parse().unwrap()), "192.0.2.1");
    }
}
