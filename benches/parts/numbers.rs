//! Numbers that look random and are the same in every run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// splitmix64.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The IPv4 address with this number; the first 16 million are all different.
pub fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 | number & 0x00ff_ffff).into()
}

/// The first IPv6 address of the network of 48 bits with this number.
pub fn v6(number: u32) -> IpAddr {
    Ipv6Addr::from_bits(0x2001 << 112 | u128::from(number) << 80).into()
}
