//! Names: of an address in the DNS, and of a list where others can read it.

use std::fmt::Write as _;
use std::net::IpAddr;

/// The labels under which the domain of a list holds an address: the octets in reverse, or
/// the 32 hexadecimal digits of an IPv6 address.
pub fn reversed(address: IpAddr) -> String {
    let mut name = String::new();
    // Writing into a String cannot fail.
    let _ = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            write!(name, "{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(address) => {
            address.octets().iter().rev().enumerate().try_for_each(|(place, octet)| {
                let dot = if place == 0 { "" } else { "." };
                write!(name, "{dot}{:x}.{:x}", octet & 0xf, octet >> 4)
            })
        }
    };
    name
}

/// How long a label must be to look like a key. Providers hand out 22 characters and more;
/// the longest label that is a word of a known public list has 13.
const KEY_LENGTH: usize = 16;

/// What stands for a key.
const MASK: &str = "*";

/// A domain with the labels that look like keys masked.
pub fn masked(domain: &str) -> String {
    let labels: Vec<&str> =
        domain.split('.').map(|label| if looks_like_key(label) { MASK } else { label }).collect();
    labels.join(".")
}

/// Whether a label is long and mixes letters and digits, or is too long for a word.
fn looks_like_key(label: &str) -> bool {
    if label.len() < KEY_LENGTH || !label.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let has_digit = label.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = label.bytes().any(|byte| byte.is_ascii_alphabetic());
    has_digit && has_letter || label.len() >= KEY_LENGTH + KEY_LENGTH / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reversed_addresses() {
        assert_eq!(reversed("192.0.2.1".parse().unwrap()), "1.2.0.192");
        assert_eq!(
            reversed("2001:db8::17".parse().unwrap()),
            "7.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
        );
    }

    #[test]
    fn keys_are_masked_and_words_are_not() {
        for name in [
            "zen.spamhaus.org",
            "b.barracudacentral.org",
            "bl.spamcop.net",
            "hostkarma.junkemailfilter.com",
            "list.dnswl.org",
            "psbl.surriel.com",
            "dnsbl-1.uceprotect.net",
            "all.spamrats.com",
            "wl.mailspike.net",
            "score.senderscore.com",
        ] {
            assert_eq!(masked(name), name);
        }
        assert_eq!(
            masked("abcdefghijklmnopqrstuvwx26.zen.dq.spamhaus.net"),
            "*.zen.dq.spamhaus.net"
        );
        assert_eq!(masked("0123456789abcdef.auth.example"), "*.auth.example");
        assert_eq!(masked("abcdefghijklmnopqrstuvwxyz.example"), "*.example");
        assert_eq!(masked(""), "");
    }
}
