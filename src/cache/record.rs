//! The stored form of a verdict: five integers, or postscreen's text `a;b;c;d;e`.
//!
//! This is the only place that knows what the numbers 0 and 1 stand for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::screen::test_set::{CacheRecord, Expiry, PerTest, Test, UnixTime};

const NEVER_PASSED: i64 = 0;
const DISABLED: i64 = 1;

/// The integers of a record, in the order of [`Test::ALL`].
pub type Columns = [i64; 5];

/// The integer that stands for `expiry`: 0 never passed, 1 disabled, else the second
/// (since 1970) until which the pass is valid.
pub fn to_integer(expiry: Expiry) -> i64 {
    match expiry {
        Expiry::NeverPassed => NEVER_PASSED,
        Expiry::Disabled => DISABLED,
        // Seconds 0 and 1 are taken by the meanings above; second 2 has expired as well.
        Expiry::Until(end) => i64::try_from(end.0).unwrap_or(i64::MAX).max(DISABLED + 1),
    }
}

/// What a stored integer means. A negative one, which nobody writes, counts as disabled,
/// as in postscreen: the test is due, but the client is not a new one.
pub fn from_integer(number: i64) -> Expiry {
    match number {
        NEVER_PASSED => Expiry::NeverPassed,
        DISABLED => Expiry::Disabled,
        _ => u64::try_from(number)
            .map_or(Expiry::Disabled, |seconds| Expiry::Until(UnixTime(seconds))),
    }
}

/// The integers of `record`.
pub fn to_columns(record: &CacheRecord) -> Columns {
    Test::ALL.map(|test| to_integer(record[test]))
}

/// The record that five stored integers stand for.
pub fn from_columns(columns: Columns) -> CacheRecord {
    let [pregreet, dnsbl, pipelining, non_smtp_command, bare_newline] = columns.map(from_integer);
    PerTest { pregreet, dnsbl, pipelining, non_smtp_command, bare_newline }
}

/// A record in a quarter of its size, for tables with many of them. What is valid beyond the
/// 32 bits of a second (in 2106) is so until then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packed([u32; 5]);

impl From<CacheRecord> for Packed {
    fn from(record: CacheRecord) -> Packed {
        // No record has a negative integer.
        Packed(to_columns(&record).map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    }
}

impl From<Packed> for CacheRecord {
    fn from(packed: Packed) -> CacheRecord {
        from_columns(packed.0.map(i64::from))
    }
}

/// The text that postscreen's own cache has for `record`.
pub fn to_text(record: &CacheRecord) -> String {
    to_columns(record).map(|number| number.to_string()).join(";")
}

/// Reads postscreen's text form, as leniently as postscreen does: a field that is missing,
/// empty, not a number or out of range counts as disabled; what follows the fifth is ignored.
pub fn parse(text: &str) -> CacheRecord {
    let mut fields = text.split(';');
    PerTest::from_fn(|_| fields.next().map_or(Expiry::Disabled, parse_field))
}

/// One decimal number with optional leading white space and sign, nothing after it.
fn parse_field(field: &str) -> Expiry {
    let number = field.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Expiry::Disabled;
    }
    number.parse::<i64>().map_or(Expiry::Disabled, from_integer)
}

/// A client address as stored: 4 or 16 bytes, so that the table is in address order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// An IPv4 address.
    V4([u8; 4]),
    /// An IPv6 address.
    V6([u8; 16]),
}

impl Key {
    /// The key of `address`. An IPv4-mapped IPv6 address has a key of its own: turning it
    /// into IPv4 is the caller's business.
    pub fn of(address: IpAddr) -> Key {
        match address {
            IpAddr::V4(v4) => Key::V4(v4.octets()),
            IpAddr::V6(v6) => Key::V6(v6.octets()),
        }
    }

    /// The bytes to store.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Key::V4(bytes) => bytes,
            Key::V6(bytes) => bytes,
        }
    }
}

/// The address that stored bytes stand for, or `None` if they are neither 4 nor 16.
pub fn address_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::V6(Ipv6Addr::from(v6)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn until(seconds: u64) -> Expiry {
        Expiry::Until(UnixTime(seconds))
    }

    fn fields(text: &str) -> [Expiry; 5] {
        let record = parse(text);
        Test::ALL.map(|test| record[test])
    }

    #[test]
    fn postscreen_text_is_read_leniently() {
        use Expiry::{Disabled, NeverPassed};
        let t = until(1_795_431_033);
        let rest = [Disabled; 4];
        for (text, first, others) in [
            ("1795431033;1;1;1;1", t, rest),
            ("1795431033", t, rest),
            ("1795431033;junk;;x", t, rest),
            (" \t\x0b1795431033;1", t, rest),
            ("+1795431033;1", t, rest),
            ("1795431033;0;0;0;0", t, [NeverPassed; 4]),
            ("1795431033;1;1;1;1;99", t, rest),
            ("1795431033x;1", Disabled, rest),
            ("1795431033 ;1", Disabled, rest),
            ("+ 5", Disabled, rest),
            ("-5;1", Disabled, rest),
            ("-0", NeverPassed, rest),
            ("+", Disabled, rest),
            ("+-5", Disabled, rest),
            ("12345678901234567890123;1", Disabled, rest),
            ("9223372036854775808", Disabled, rest),
            ("", Disabled, rest),
        ] {
            let mut expected = [first; 5];
            expected[1..].copy_from_slice(&others);
            assert_eq!(fields(text), expected, "{text:?}");
        }
    }

    #[test]
    fn text_has_five_fields() {
        let text = "1795431035;1;0;1797936635;1797936636";
        assert_eq!(to_text(&parse(text)), text);
    }

    #[test]
    fn columns_keep_the_order_of_the_tests() {
        let columns = [0, 1, 2, 3_000_000_000, i64::MAX];
        let record = from_columns(columns);
        assert_eq!(record.pregreet, Expiry::NeverPassed);
        assert_eq!(record.dnsbl, Expiry::Disabled);
        assert_eq!(record.pipelining, until(2));
        assert_eq!(record.non_smtp_command, until(3_000_000_000));
        assert_eq!(to_columns(&record), columns);
    }

    #[test]
    fn a_packed_record_is_the_same_until_2106() {
        for text in ["0;1;2;3;4", "1795431033;4294967294;4294967295;0;1"] {
            assert_eq!(CacheRecord::from(Packed::from(parse(text))), parse(text));
        }
        let far = parse("4294967296;9223372036854775807;1;0;5");
        let packed = parse("4294967295;4294967295;1;0;5");
        assert_eq!(CacheRecord::from(Packed::from(far)), packed);
    }

    #[test]
    fn no_pass_is_written_as_one_of_the_special_numbers() {
        assert_eq!(to_integer(until(0)), 2);
        assert_eq!(to_integer(until(1)), 2);
        assert_eq!(to_integer(until(u64::MAX)), i64::MAX);
        assert_eq!(from_integer(-7), Expiry::Disabled);
    }

    #[test]
    fn addresses_are_four_or_sixteen_bytes() {
        for text in ["192.0.2.1", "2001:db8::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(address_from_bytes(Key::of(address).bytes()), Some(address));
        }
        assert_eq!(Key::of("192.0.2.1".parse().unwrap()).bytes(), [192, 0, 2, 1]);
        assert_eq!(address_from_bytes(b"12345"), None);
    }
}
