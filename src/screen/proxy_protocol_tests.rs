//! Headers that Postfix takes, and headers that it refuses, each with its reason.

use super::*;

const BOTH: Protocols = Protocols { ipv4: true, ipv6: true };
const ONLY_4: Protocols = Protocols { ipv4: true, ipv6: false };
const ONLY_6: Protocols = Protocols { ipv4: false, ipv6: true };

fn header(length: usize, client: &str, server: &str) -> Parsed {
    let (client, server) = (client.parse().unwrap(), server.parse().unwrap());
    Parsed::Header { length, origin: Origin::Proxied { client, server } }
}

/// A header of version 2.
fn v2(version_and_command: u8, protocol: u8, length: u16, body: &[u8]) -> Vec<u8> {
    [V2, &[version_and_command, protocol], &length.to_be_bytes(), body].concat()
}

/// The body of one for TCP over IPv4.
const IPV4: &[u8] = &[192, 0, 2, 5, 198, 51, 100, 25, 0x9c, 0x41, 0, 25];

/// The same, IPv6.
fn ipv6(client: &str, server: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    [&octets(client)[..], &octets(server), &[0x9c, 0x41, 0, 25]].concat()
}

#[test]
fn version_1_accepted() {
    for (line, client, server) in [
        ("PROXY TCP4 192.0.2.5 198.51.100.25 40001 25\r\n", "192.0.2.5:40001", "198.51.100.25:25"),
        ("PROXY TCP4 192.0.2.5 198.51.100.25 40001 25\n", "192.0.2.5:40001", "198.51.100.25:25"),
        (
            "PROXY   tcp4  192.0.2.5 \r 198.51.100.25 1 25 more words\n",
            "192.0.2.5:1",
            "198.51.100.25:25",
        ),
        ("PROXY TcP4 1.2.3.4 4.3.2.1 0 65535\n", "1.2.3.4:0", "4.3.2.1:65535"),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\n", "0.0.0.0:0", "0.0.0.0:0"),
        ("PROXY TCP4 01.02.03.04 04.03.02.01 123 321\n", "1.2.3.4:123", "4.3.2.1:321"),
        ("PROXY TCP4 010.0.0.1 4.3.2.1 123 321\n", "8.0.0.1:123", "4.3.2.1:321"),
        (
            "PROXY TCP6 fc:00:00:00:1:2:3:4 FC:00:00:00:4:3:2:1 123 321\n",
            "[fc::1:2:3:4]:123",
            "[fc::4:3:2:1]:321",
        ),
        ("PROXY TCP6 ::ffff:1.2.3.4 ::FFFF:4.3.2.1 123 321\n", "1.2.3.4:123", "4.3.2.1:321"),
        ("PROXY TCP6 ::FFFF:102:304 ::1 123 321\n", "1.2.3.4:123", "[::1]:321"),
    ] {
        let expected = header(line.len(), client, server);
        assert_eq!(parse(line.as_bytes(), BOTH), expected, "{line:?}");
        let more = format!("{line}EHLO x\r\n");
        assert_eq!(parse(more.as_bytes(), BOTH), expected, "{more:?}");
    }
    let unknown = |length| Parsed::Header { length, origin: Origin::Unknown };
    assert_eq!(parse(b"PROXY UNKNOWN\r\n", ONLY_6), unknown(15));
    assert_eq!(parse(b"PROXY UNKNOWN ffff::1 x y z\r\nQUIT", BOTH), unknown(29));
}

#[test]
fn version_1_refused() {
    for (line, wrong) in [
        ("PROXY TCP6 1.2.3.4 4.3.2.1 123 321", Wrong::ClientAddress),
        ("PROXY TCP6 fc:00:00:00:1:2:3:4 4.3.2.1 123 321", Wrong::ServerAddress),
        ("PROXY TCP4 ::ffff:1.2.3.4 ::ffff:4.3.2.1 123 321", Wrong::ClientAddress),
        ("PROXY TCP4 1.2.3.4 ::ffff:4.3.2.1 123 321", Wrong::ServerAddress),
        ("PROXY TCP4 1.2.3.4 4.3.2.1 123456 321", Wrong::ClientPort),
        ("PROXY TCP4 1.2.3.4 4.3.2.1 70000 321", Wrong::ClientPort),
        ("PROXY TCP4 1.2.3.4 4.3.2.1 +1 321", Wrong::ClientPort),
        ("PROXY TCP4 1.2.3.4 4.3.2.1 123 654321", Wrong::ServerPort),
        ("PROXY TCP4 1.2.3.4 4.3.2.1 0123 321", Wrong::ClientPort),
        ("PROXY TCP4 1.2.3.4 4.3.2.1 123 0321", Wrong::ServerPort),
        ("PROXY TCP4 1.2.3.4 4.3.2.1 123 32\t1", Wrong::ServerPort),
        ("PROXY TCP6 fc:00:00:00:1:2:3:4 fc:00:00:00:4:3:2:1 123", Wrong::ServerPort),
        ("PROXY TCP6 fc:00:00:00:1:2:3:4 fc:00:00:00:4:3:2:1", Wrong::ClientPort),
        ("PROXY TCP6 fc:00:00:00:1:2:3:4", Wrong::ServerAddress),
        ("PROXY TCP6", Wrong::ClientAddress),
        ("PROXY TCP4 1.2.3.4 4.3.2.1 123", Wrong::ServerPort),
        ("PROXY TCP4 1.2.3.4 4.3.2.1", Wrong::ClientPort),
        ("PROXY TCP4 1.2.3.4", Wrong::ServerAddress),
        ("PROXY TCP4", Wrong::ClientAddress),
        ("PROXY TCP4 1.2.3 4.3.2.1 1 2", Wrong::ClientAddress),
        ("PROXY TCP4 1.2.3.4.5 4.3.2.1 1 2", Wrong::ClientAddress),
        ("PROXY TCP4 1.2.3.256 4.3.2.1 1 2", Wrong::ClientAddress),
        ("PROXY TCP4 1.2.3. 4.3.2.1 1 2", Wrong::ClientAddress),
        ("PROXY TCP4 0.1.2.3 4.3.2.1 1 2", Wrong::ClientAddress),
        ("PROXY TCP4 1.2.3.08 4.3.2.1 1 2", Wrong::ClientAddress),
        ("PROXY TCP4 1.2.3.+4 4.3.2.1 1 2", Wrong::ClientAddress),
        ("PROXY TCP6 fe80::1%lo ::1 1 2", Wrong::ClientAddress),
        ("PROXY TCP6 [::1] ::1 1 2", Wrong::ClientAddress),
        ("PROXY TCP6 ::1 ::0.0.0.1 1 2", Wrong::ServerAddress),
        ("PROXY TCP6 ::1 ::1.2.3.04 1 2", Wrong::ServerAddress),
        ("PROXY TCP5 1.2.3.4 4.3.2.1 1 2", Wrong::ProtocolType),
        ("PROXY UDP4 1.2.3.4 4.3.2.1 1 2", Wrong::ProtocolType),
        ("PROXY unknown", Wrong::ProtocolType),
        ("PROXY UNKNOWN2", Wrong::ProtocolType),
        ("PROXY \u{e9}", Wrong::ProtocolType),
        ("PROXY  \r", Wrong::ProtocolType),
    ] {
        for end in ["\n", "\r\n", "\r\nEHLO x\r\n"] {
            let line = format!("{line}{end}");
            assert_eq!(parse(line.as_bytes(), BOTH), Parsed::Wrong(wrong), "{line:?}");
        }
    }
    let zero = b"PROXY TCP4 1.2.3.4\0 4.3.2.1 123 321\r\n";
    assert_eq!(parse(zero, BOTH), Parsed::Wrong(Wrong::Terminator));
}

#[test]
fn families_that_are_off() {
    let four = b"PROXY TCP4 1.2.3.4 4.3.2.1 123 321\r\n";
    let six = b"PROXY TCP6 ::1 ::ffff:4.3.2.1 123 321\r\n";
    assert_eq!(parse(four, ONLY_6), Parsed::Wrong(Wrong::ProtocolType));
    assert_eq!(parse(six, ONLY_4), Parsed::Wrong(Wrong::ProtocolType));
    assert_eq!(parse(six, ONLY_6), header(six.len(), "[::1]:123", "[::ffff:4.3.2.1]:321"));
    let (four, six) = (v2(0x21, 0x11, 12, IPV4), v2(0x21, 0x21, 36, &ipv6("::1", "::2")));
    assert_eq!(parse(&four, ONLY_6), Parsed::Wrong(Wrong::NoIpv4));
    assert_eq!(parse(&six, ONLY_4), Parsed::Wrong(Wrong::NoIpv6));
    // Before the length of the addresses.
    assert_eq!(parse(&v2(0x21, 0x11, 0, b""), ONLY_6), Parsed::Wrong(Wrong::NoIpv4));
}

#[test]
fn version_2_accepted() {
    let four = header(28, "192.0.2.5:40001", "198.51.100.25:25");
    assert_eq!(parse(&v2(0x21, 0x11, 12, IPV4), BOTH), four);
    let more = [&v2(0x21, 0x11, 12, IPV4)[..], b"EHLO x\r\n"].concat();
    assert_eq!(parse(&more, BOTH), four);
    let extended = v2(0x21, 0x11, 19, &[IPV4, b"\x04\0\x04\0\0\0\0"].concat());
    assert_eq!(parse(&extended, BOTH), header(35, "192.0.2.5:40001", "198.51.100.25:25"));
    let six = v2(0x21, 0x21, 36, &ipv6("2001:db8::9", "2001:db8::25"));
    assert_eq!(parse(&six, BOTH), header(52, "[2001:db8::9]:40001", "[2001:db8::25]:25"));
    let mapped = v2(0x21, 0x21, 36, &ipv6("::ffff:192.0.2.9", "::ffff:192.0.2.25"));
    assert_eq!(parse(&mapped, BOTH), header(52, "192.0.2.9:40001", "192.0.2.25:25"));
    assert_eq!(
        parse(&mapped, ONLY_6),
        header(52, "[::ffff:192.0.2.9]:40001", "[::ffff:192.0.2.25]:25")
    );
    for (protocol, length) in [(0, 0), (0x11, 3), (0xff, 12), (0x21, 520)] {
        let local = v2(0x20, protocol, length, &vec![b'x'; usize::from(length) + 2]);
        let length = 16 + usize::from(length);
        assert_eq!(parse(&local, ONLY_4), Parsed::Header { length, origin: Origin::Local });
    }
}

#[test]
fn version_2_refused() {
    for (data, wrong) in [
        (v2(0x31, 0x11, 12, IPV4), Wrong::Version),
        (v2(0x11, 0x11, 12, IPV4), Wrong::Version),
        (v2(0x2f, 0x11, 12, IPV4), Wrong::Command),
        (v2(0x22, 0x11, 12, IPV4), Wrong::Command),
        (v2(0x21, 0x31, 12, IPV4), Wrong::Protocol),
        (v2(0x21, 0x12, 12, IPV4), Wrong::Protocol),
        (v2(0x21, 0x00, 0, b""), Wrong::Protocol),
        (v2(0x21, 0x22, 36, &ipv6("::1", "::2")), Wrong::Protocol),
        (v2(0x21, 0x11, 4, IPV4), Wrong::ShortAddress),
        (v2(0x21, 0x11, 11, IPV4), Wrong::ShortAddress),
        (v2(0x21, 0x21, 35, &ipv6("::1", "::2")), Wrong::ShortAddress),
        (v2(0x21, 0x11, 521, IPV4), Wrong::TooLong),
        (v2(0x20, 0x11, 0xffff, b""), Wrong::TooLong),
        (b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c".to_vec(), Wrong::Unrecognized),
        (b"EHLO client.example\r\n".to_vec(), Wrong::Unrecognized),
        (b"proxy TCP4 1.2.3.4 4.3.2.1 1 2\r\n".to_vec(), Wrong::Unrecognized),
        (b"EHLO x\r\n".to_vec(), Wrong::Short),
        (b"PROXY\n".to_vec(), Wrong::Short),
        (b"BLAH\n".to_vec(), Wrong::Short),
        (b"\n".to_vec(), Wrong::Short),
        (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), Wrong::Short),
    ] {
        assert_eq!(parse(&data, BOTH), Parsed::Wrong(wrong), "{}", data.escape_ascii());
    }
}

#[test]
fn every_beginning_of_a_header_may_become_one() {
    let padded = format!("PROXY TCP4 1.2.3.4 4.3.2.1 1 2 {:>504}\n", "x");
    assert_eq!(padded.len(), HEADER_LIMIT);
    for whole in [
        &b"PROXY TCP4 192.0.2.5 198.51.100.25 40001 25\r\n"[..],
        b"PROXY UNKNOWN\r\n",
        padded.as_bytes(),
        &v2(0x21, 0x11, 19, &[IPV4, b"\x04\0\x04\0\0\0\0"].concat()),
        &v2(0x20, 0, 520, &[0; 520]),
    ] {
        for end in 0..whole.len() {
            let part = &whole[..end];
            assert_eq!(parse(part, BOTH), Parsed::Incomplete, "{}", part.escape_ascii());
        }
        assert!(
            matches!(parse(whole, BOTH), Parsed::Header { length, .. } if length == whole.len())
        );
    }
    let endless = [b"PROXY TCP4 ".as_slice(), &[b'x'; HEADER_LIMIT]].concat();
    assert_eq!(parse(&endless[..HEADER_LIMIT - 1], BOTH), Parsed::Incomplete);
    assert_eq!(parse(&endless[..HEADER_LIMIT], BOTH), Parsed::Wrong(Wrong::Terminator));
    // An end of line that Postfix would not see.
    let late = [&endless[..HEADER_LIMIT], b"\r\n"].concat();
    assert_eq!(parse(&late, BOTH), Parsed::Wrong(Wrong::Terminator));
}
