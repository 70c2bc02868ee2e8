//! The header of the PROXY protocol.
//!
//! Input: which address families are on, one digit; then what a proxy sends.

use gatepost::screen::logline::{LogLine, ProxyLine};
use gatepost::screen::policy::Protocols;
use gatepost::screen::proxy_protocol::{HEADER_LIMIT, Origin, Parsed, Wrong, parse};

use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let families = take.pick(&[(true, true), (true, false), (false, true)]);
    let families = Protocols { ipv4: families.0, ipv6: families.1 };
    let data = take.0;
    let whole = parse(data, families);

    // Piece by piece: once there is a verdict, it stands.
    let mut verdict = Parsed::Incomplete;
    for end in 0..=data.len().min(HEADER_LIMIT + 8) {
        let next = parse(&data[..end], families);
        match (verdict, next) {
            (Parsed::Incomplete, _) => {}
            // Only its length tells a short one from another one.
            (Parsed::Wrong(Wrong::Short), Parsed::Wrong(wrong)) => {
                assert!(matches!(wrong, Wrong::Short | Wrong::Unrecognized), "{wrong:?}");
            }
            (before, after) => assert_eq!(before, after, "at {end}"),
        }
        if end >= HEADER_LIMIT {
            assert_ne!(next, Parsed::Incomplete);
        }
        if let Parsed::Header { length, .. } = next {
            assert!((1..=end).contains(&length), "{length} of {end}");
        }
        verdict = next;
    }
    let far = data.len() > HEADER_LIMIT;
    assert!(!far || whole == parse(&data[..HEADER_LIMIT], families), "looks too far");

    match whole {
        Parsed::Header { length, origin } => {
            // What follows is not looked at, and nothing before it is left out.
            assert_eq!(parse(&data[..length], families), whole);
            assert_eq!(parse(&data[..length - 1], families), Parsed::Incomplete);
            if let Origin::Proxied { client, server } = origin {
                for end in [client, server] {
                    let on = if end.is_ipv4() { families.ipv4 } else { families.ipv6 };
                    assert!(on, "{end} is of a family that is off");
                }
            }
        }
        Parsed::Wrong(wrong) => {
            let data = data[..data.len().min(HEADER_LIMIT)].into();
            let line = LogLine::Proxy(ProxyLine::Wrong { wrong, data }).to_string();
            let plain = line.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
            assert!(plain && line.starts_with("haproxy read: "), "{line:?}");
        }
        Parsed::Incomplete => assert!(data.len() < HEADER_LIMIT),
    }
}
