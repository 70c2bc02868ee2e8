//! What is looked up: each client's address at three lists, one of which lists it.

use std::net::{IpAddr, Ipv4Addr};

/// The lists, by number. The name server goes by their first letters.
pub const LISTS: [&str; 4] =
    ["listed.bench.test", "clean.bench.test", "clear.bench.test", SILENT_LIST];

/// The list that answers nothing.
pub const SILENT_LIST: &str = "silent.bench.test";

/// The number of [`SILENT_LIST`].
pub const SILENT: u16 = 3;

/// What the list that lists says.
pub const RECORD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How many lists answer.
const ANSWERING: u32 = 3;

/// The address and the list of the look-up with this number. All are different.
pub fn look_up(number: u32) -> (IpAddr, u16) {
    let list = u16::try_from(number % ANSWERING).unwrap_or(0);
    (address(number / ANSWERING), list)
}

/// The address of the client with this number.
pub fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 | number & 0x00ff_ffff).into()
}

/// Whether the list lists.
pub fn is_listed(list: u16) -> bool {
    list == 0
}
