//! Names that are asked for.

use std::fmt::{self, Debug, Display, Formatter};
use std::net::IpAddr;

use hickory_resolver::proto::rr::Name;

/// The longest name in text form, bytes (RFC 1035 3.1: 255 in a message).
const MAX_NAME: usize = 253;

/// The longest label, bytes.
const MAX_LABEL: usize = 63;

/// The longest name in a message, bytes.
const MAX_WIRE: usize = 255;

/// A name as it stands in a message: labels behind their lengths, and an empty one at the end.
///
/// One is made for every question and for every answer, so it allocates nothing.
#[derive(Clone, Copy)]
pub struct QueryName {
    wire: [u8; MAX_WIRE],
    length: u8,
}

/// Why a list cannot be asked about an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// The name is longer than 253 bytes.
    #[error("the name is too long")]
    TooLong,
    /// A label is empty or longer than 63 bytes.
    #[error("a label of the name is empty or too long")]
    Label,
}

/// The name under which the list `domain` is asked about `address`: four numbers or 32
/// hexadecimal digits in reverse order, and the domain (RFC 5782 2.1, 2.4).
///
/// # Errors
/// There is no such name.
pub fn name(address: IpAddr, domain: &str) -> Result<QueryName, NameError> {
    let mut name = QueryName { wire: [0; MAX_WIRE], length: 0 };
    match address {
        IpAddr::V4(address) => {
            for octet in address.octets().into_iter().rev() {
                name.push(decimal(octet, &mut [0; 3]))?;
            }
        }
        IpAddr::V6(address) => {
            for octet in address.octets().into_iter().rev() {
                name.push(&[digit(octet & 0xf)])?;
                name.push(&[digit(octet >> 4)])?;
            }
        }
    }
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    // A label takes one byte more in either form.
    if usize::from(name.length) + domain.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    for label in domain.as_bytes().split(|byte| *byte == b'.') {
        name.push(label)?;
    }
    name.length += 1;
    Ok(name)
}

/// A number in decimal form, which takes the end of the buffer.
fn decimal(mut number: u8, buffer: &mut [u8; 3]) -> &[u8] {
    let mut start = buffer.len();
    for place in buffer.iter_mut().rev() {
        *place = b'0' + number % 10;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    buffer.get(start..).unwrap_or_default()
}

/// A hexadecimal digit.
fn digit(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' + (number - 10) }
}

impl QueryName {
    /// The same name.
    pub(super) fn of(other: &Name) -> QueryName {
        let mut name = QueryName { wire: [0; MAX_WIRE], length: 0 };
        for label in other {
            // It has the same limits; what is beyond them is not there.
            let _ = name.push(label);
        }
        name.length = name.length.saturating_add(1);
        name
    }

    fn push(&mut self, label: &[u8]) -> Result<(), NameError> {
        let (start, size) = (usize::from(self.length), label.len());
        if size == 0 || size > MAX_LABEL {
            return Err(NameError::Label);
        }
        let room = self.wire.get_mut(start..MAX_WIRE - 1).unwrap_or_default();
        let Some(([first, place @ ..], length)) =
            room.get_mut(..=size).zip(u8::try_from(start + 1 + size).ok())
        else {
            return Err(NameError::TooLong);
        };
        // Next to no label is longer than that.
        *first = u8::try_from(size).unwrap_or(0);
        place.copy_from_slice(label);
        self.length = length;
        Ok(())
    }

    /// As it stands in a message.
    pub(super) fn wire(&self) -> &[u8] {
        self.wire.get(..self.length.into()).unwrap_or_default()
    }

    fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.wire();
        std::iter::from_fn(move || {
            let (size, after) = rest.split_first().filter(|(size, _)| **size > 0)?;
            let (label, after) = after.split_at_checked((*size).into())?;
            rest = after;
            Some(label)
        })
    }

    /// Whether it is this name, whatever the letter case.
    pub(super) fn is(&self, other: &Name) -> bool {
        self.matches(other, <[u8]>::eq_ignore_ascii_case)
    }

    /// Whether it is this name, letter by letter.
    pub(super) fn is_exactly(&self, other: &Name) -> bool {
        self.matches(other, <[u8]>::eq)
    }

    fn matches(&self, other: &Name, same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        let mut labels = self.labels();
        let all = other.iter().all(|label| labels.next().is_some_and(|own| same(own, label)));
        all && labels.next().is_none()
    }

    /// The same name in random letter case, which the server sends back: one more thing that
    /// a forger has to guess. `bits` decide.
    pub fn in_mixed_case(&self, bits: u64) -> QueryName {
        let mut name = *self;
        let mut position = 0;
        // The length of a label is no letter.
        for letter in name.wire.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
            if bits.rotate_right(position) & 1 == 1 {
                *letter ^= 0x20;
            }
            position = (position + 1) % u64::BITS;
        }
        name
    }
}

impl PartialEq for QueryName {
    /// Whatever the letter case.
    fn eq(&self, other: &QueryName) -> bool {
        self.wire().eq_ignore_ascii_case(other.wire())
    }
}

impl Eq for QueryName {}

impl Display for QueryName {
    /// Without the dot at the end, as dnsblog(8) logs it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = Name::from_labels(self.labels()).map_err(|_| fmt::Error)?.to_ascii();
        f.write_str(text.strip_suffix('.').unwrap_or(&text))
    }
}

impl Debug for QueryName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}
