//! Addresses as keys of tables.

use std::fmt::{self, Write};
use std::net::IpAddr;

use crate::screen::address::AddressText;

/// The longest text of an address, bytes.
const LONGEST: usize = 45;

/// An address as tables are asked for it. Every client's is, so it allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct AddressKey {
    text: [u8; LONGEST],
    length: usize,
}

impl AddressKey {
    /// The key of an address.
    pub fn new(address: IpAddr) -> AddressKey {
        let mut key = AddressKey { text: [0; LONGEST], length: 0 };
        // There is room for any.
        let _ = write!(key, "{}", AddressText(address));
        key
    }
}

impl AsRef<[u8]> for AddressKey {
    fn as_ref(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

impl Write for AddressKey {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.length + part.len();
        let room = self.text.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::address::address_text;

    #[test]
    fn the_text_of_addresses() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "::ffff:255.255.255.255",
            "::255.255.255.255",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            let address: IpAddr = text.parse().unwrap();
            let key = AddressKey::new(address);
            assert_eq!(key.as_ref(), address_text(address).as_bytes());
            assert_eq!(key.as_ref(), text.as_bytes());
        }
    }
}
