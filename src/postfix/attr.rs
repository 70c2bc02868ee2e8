//! Attribute lists: what Postfix daemons say to each other over stream sockets.
//!
//! A list is a run of `name NUL value NUL` pairs and ends with one empty name. A value may
//! be empty, so two NUL bytes in a row are not the end: strings have to be counted.

use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;

use thiserror::Error;

use crate::screen::address::AddressText;

/// A string that cannot travel in an attribute list, because NUL is the separator there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("attribute {0} contains a NUL byte")]
pub struct NulInValue(
    /// Name of the attribute.
    pub &'static str,
);

/// Collects one or more attribute lists.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AttrWriter {
    bytes: Vec<u8>,
}

impl AttrWriter {
    /// Nothing written yet.
    pub fn new() -> AttrWriter {
        AttrWriter::default()
    }

    /// What was written goes behind `bytes`, whose room is used.
    pub fn after(bytes: Vec<u8>) -> AttrWriter {
        AttrWriter { bytes }
    }

    /// Adds a string, which may be empty.
    ///
    /// # Errors
    /// A value with a NUL byte is refused: the reader would take its rest for an attribute.
    pub fn string(
        &mut self,
        name: &'static str,
        value: impl AsRef<[u8]>,
    ) -> Result<&mut AttrWriter, NulInValue> {
        let value = value.as_ref();
        if value.contains(&0) { Err(NulInValue(name)) } else { Ok(self.pair(name, value)) }
    }

    /// Adds a signed number; a negative one travels as its unsigned 32-bit image.
    pub fn int(&mut self, name: &'static str, value: i32) -> &mut AttrWriter {
        self.long(name, u64::from(value.cast_unsigned()))
    }

    /// Adds an unsigned number.
    pub fn long(&mut self, name: &'static str, value: u64) -> &mut AttrWriter {
        self.shown(name, value)
    }

    /// Adds a network address in its text form.
    pub fn address(&mut self, name: &'static str, value: IpAddr) -> &mut AttrWriter {
        self.shown(name, AddressText(value))
    }

    /// Ends a list. Another list may follow, for protocols that want two in one write.
    pub fn end(&mut self) -> &mut AttrWriter {
        self.bytes.push(0);
        self
    }

    /// The bytes to send.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn shown(&mut self, name: &'static str, value: impl fmt::Display) -> &mut AttrWriter {
        // Writing to a Vec cannot fail, and the text of a number or an address has no NUL.
        write!(self.named(name).bytes, "{value}\0").ok();
        self
    }

    fn pair(&mut self, name: &'static str, value: &[u8]) -> &mut AttrWriter {
        self.named(name).bytes.extend_from_slice(value);
        self.bytes.push(0);
        self
    }

    fn named(&mut self, name: &'static str) -> &mut AttrWriter {
        debug_assert!(!name.is_empty() && !name.contains('\0'));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self
    }
}

/// What a look at the bytes received so far gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scan<T> {
    /// The list is not complete: look again, from its first byte, when more has come.
    NeedMore,
    /// The list is complete.
    Complete {
        /// The wanted values, in the order they were asked for.
        values: T,
        /// Length of the list in bytes; what follows belongs to the next one.
        used: usize,
    },
}

/// What was being read when the input ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// An attribute name, or the end of the list.
    Name,
    /// An attribute value.
    Value,
}

/// Why an attribute list is refused. The connection is then out of step and has to be closed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AttrError {
    /// The peer closed the connection inside a list, between two strings.
    PrematureEnd(
        /// What would have come next.
        Part,
    ),
    /// The peer closed the connection inside a string.
    CutOff(Part),
    /// Another attribute than the next one wanted; `None` stands for the end of the list.
    Unexpected {
        /// What came.
        name: String,
        /// What was wanted.
        wanted: Option<&'static str>,
    },
    /// The list ended too early.
    Missing(
        /// What was wanted next.
        &'static str,
    ),
    /// A number that is none, or that is out of range.
    Malformed(
        /// The value, at most 100 bytes of it.
        String,
    ),
}

impl AttrError {
    /// The text of the warning; `stream` names the connection (`private/tlsproxy`).
    pub fn text(&self, stream: &str) -> String {
        match self {
            AttrError::PrematureEnd(part) => {
                format!("premature end-of-input on {stream} while reading {part}")
            }
            AttrError::CutOff(part) => {
                format!("unexpected end-of-input from {stream} while reading {part}")
            }
            AttrError::Unexpected { name, wanted } => {
                let wanted = wanted.unwrap_or("(list terminator)");
                format!("unexpected attribute {name} from {stream} (expecting: {wanted})")
            }
            AttrError::Missing(wanted) => {
                format!("missing attribute {wanted} in input from {stream}")
            }
            AttrError::Malformed(value) => {
                let part = Part::Value;
                format!("malformed numerical data from {stream} while reading {part}: {value}")
            }
        }
    }
}

impl fmt::Display for AttrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text("unknown_stream"))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Name => "input attribute name",
            Part::Value => "input attribute value",
        })
    }
}

/// Reads a list of exactly the wanted attributes, in their order.
///
/// # Errors
/// Any other name, as soon as it is complete; a list that ends too early or too late.
pub fn scan_strict<'a, const N: usize>(
    input: &'a [u8],
    wanted: [&'static str; N],
) -> Result<Scan<[&'a [u8]; N]>, AttrError> {
    let mut strings = Strings::new(input);
    let mut values: [&'a [u8]; N] = [&[]; N];
    for (&wanted, value) in wanted.iter().zip(&mut values) {
        let Some(name) = strings.next() else { return Ok(Scan::NeedMore) };
        if name.is_empty() {
            return Err(AttrError::Missing(wanted));
        }
        if name != wanted.as_bytes() {
            return Err(unexpected(name, Some(wanted)));
        }
        let Some(found) = strings.next() else { return Ok(Scan::NeedMore) };
        *value = found;
    }
    match strings.next() {
        None => Ok(Scan::NeedMore),
        Some([]) => Ok(Scan::Complete { values, used: strings.used }),
        Some(name) => Err(unexpected(name, None)),
    }
}

/// Reads a whole list and picks the wanted attributes out of it, in their order; others are
/// skipped. The names must differ. If an attribute occurs twice, the first one counts.
pub fn scan_lenient<'a, const N: usize>(
    input: &'a [u8],
    wanted: [&'static str; N],
) -> Scan<[Option<&'a [u8]>; N]> {
    let mut strings = Strings::new(input);
    let mut values: [Option<&'a [u8]>; N] = [None; N];
    loop {
        let Some(name) = strings.next() else { return Scan::NeedMore };
        if name.is_empty() {
            return Scan::Complete { values, used: strings.used };
        }
        let Some(found) = strings.next() else { return Scan::NeedMore };
        let slot = wanted.iter().zip(&mut values).find(|(wanted, _)| wanted.as_bytes() == name);
        if let Some((_, value)) = slot {
            value.get_or_insert(found);
        }
    }
}

/// What it means that the peer closed the connection after `unread`, the beginning of a
/// list: nothing (`None`) between two lists, an error inside one.
pub fn end_of_input(unread: &[u8]) -> Option<AttrError> {
    if unread.is_empty() {
        return None;
    }
    let complete = Strings::new(unread).count();
    let part = if complete.is_multiple_of(2) { Part::Name } else { Part::Value };
    let between = unread.last() == Some(&0);
    Some(if between { AttrError::PrematureEnd(part) } else { AttrError::CutOff(part) })
}

/// The value of an attribute that holds a signed number (the unsigned 32-bit image of a
/// negative one).
///
/// # Errors
/// [`AttrError::Malformed`] for anything but decimal digits, and above 4294967295.
pub fn int(value: &[u8]) -> Result<i32, AttrError> {
    let image = u32::try_from(long(value)?).map_err(|_| malformed(value))?;
    Ok(image.cast_signed())
}

/// The value of an attribute that holds an unsigned number.
///
/// # Errors
/// [`AttrError::Malformed`] for anything but decimal digits, and above 64 bits.
pub fn long(value: &[u8]) -> Result<u64, AttrError> {
    if value.is_empty() {
        return Err(malformed(value));
    }
    value
        .iter()
        .try_fold(0_u64, |sum, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })
        .ok_or_else(|| malformed(value))
}

fn unexpected(name: &[u8], wanted: Option<&'static str>) -> AttrError {
    AttrError::Unexpected { name: excerpt(name), wanted }
}

fn malformed(value: &[u8]) -> AttrError {
    AttrError::Malformed(excerpt(value))
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..100).unwrap_or(bytes)).into_owned()
}

/// The complete strings of a buffer, each without its NUL.
struct Strings<'a> {
    rest: &'a [u8],
    /// Bytes consumed, NULs included.
    used: usize,
}

impl<'a> Strings<'a> {
    fn new(input: &'a [u8]) -> Strings<'a> {
        Strings { rest: input, used: 0 }
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().position(|&byte| byte == 0)?;
        let (string, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.split_first()?.1;
        self.used += length + 1;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS_AND_EMPTY_VALUE: &[u8] = b"status\x000\0value\0\0\0";

    fn complete<T>(values: T, used: usize) -> Scan<T> {
        Scan::Complete { values, used }
    }

    #[test]
    fn writes_an_int_and_an_empty_string() {
        let mut list = AttrWriter::new();
        list.int("status", 0).string("value", "").unwrap().end();
        assert_eq!(list.into_bytes(), STATUS_AND_EMPTY_VALUE);
    }

    #[test]
    fn writes_a_negative_int_as_unsigned_image() {
        let mut list = AttrWriter::new();
        list.int("ttl", -1).end();
        assert_eq!(list.into_bytes(), b"ttl\x004294967295\0\0");
    }

    #[test]
    fn refuses_a_nul_and_writes_nothing_of_it() {
        let mut list = AttrWriter::new();
        assert_eq!(list.string("key", b"a\0b"), Err(NulInValue("key")));
        assert_eq!(list, AttrWriter::new());
    }

    #[test]
    fn reads_a_list_only_when_its_last_byte_has_come() {
        let wanted = ["status", "value"];
        for length in 0..STATUS_AND_EMPTY_VALUE.len() {
            let part = &STATUS_AND_EMPTY_VALUE[..length];
            assert_eq!(scan_strict(part, wanted), Ok(Scan::NeedMore), "{length}");
            assert_eq!(scan_lenient(part, wanted), Scan::NeedMore, "{length}");
        }
        assert_eq!(scan_strict(STATUS_AND_EMPTY_VALUE, wanted), Ok(complete([&b"0"[..], b""], 17)));
    }

    #[test]
    fn leaves_the_next_list_alone() {
        let both = [b"protocol\0tlsproxy_protocol\0\0".as_slice(), b"status\0"].concat();
        assert_eq!(scan_strict(&both, ["protocol"]), Ok(complete([&b"tlsproxy_protocol"[..]], 28)));
        assert_eq!(scan_strict(b"\0rest", []), Ok(complete([], 1)));
    }

    #[test]
    fn strict_errors_have_postfix_texts() {
        for (input, text) in [
            (&b"stat\0"[..], "unexpected attribute stat from private/x (expecting: status)"),
            (b"\0", "missing attribute status in input from private/x"),
            (b"status\x001\0\0", "missing attribute value in input from private/x"),
            (
                b"status\x001\0value\0\0more\0",
                "unexpected attribute more from private/x (expecting: (list terminator))",
            ),
        ] {
            let error = scan_strict(input, ["status", "value"]).unwrap_err();
            assert_eq!(error.text("private/x"), text);
        }
    }

    #[test]
    fn lenient_skips_unknown_names_and_takes_the_first_of_two() {
        let input = b"x\0\0b\x002\0a\x001\0a\x003\0y\0z\0\0next";
        let values = [Some(&b"1"[..]), Some(b"2"), None];
        assert_eq!(scan_lenient(input, ["a", "b", "c"]), complete(values, 20));
    }

    #[test]
    fn end_of_input_tells_name_from_value() {
        assert_eq!(end_of_input(b""), None);
        for (input, error) in [
            (&b"sta"[..], AttrError::CutOff(Part::Name)),
            (b"status\0", AttrError::PrematureEnd(Part::Value)),
            (b"status\x001", AttrError::CutOff(Part::Value)),
            (b"status\0\0", AttrError::PrematureEnd(Part::Name)),
            (b"status\0\0v", AttrError::CutOff(Part::Name)),
        ] {
            assert_eq!(end_of_input(input), Some(error));
        }
        assert_eq!(
            end_of_input(b"a\0").unwrap().to_string(),
            "premature end-of-input on unknown_stream while reading input attribute value"
        );
        assert_eq!(
            end_of_input(b"a").unwrap().to_string(),
            "unexpected end-of-input from unknown_stream while reading input attribute name"
        );
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(int(b"0"), Ok(0));
        assert_eq!(int(b"4294967295"), Ok(-1));
        assert_eq!(long(b"18446744073709551615"), Ok(u64::MAX));
        for bad in [&b""[..], b"-1", b"+1", b" 1", b"1 ", b"0x1", b"4294967296"] {
            assert!(int(bad).is_err(), "{bad:?}");
        }
        assert!(long(b"18446744073709551616").is_err());
        assert_eq!(
            int(b"1a").unwrap_err().text("private/x"),
            "malformed numerical data from private/x while reading input attribute value: 1a"
        );
    }
}
