//! Tests: the floor's questions.

use std::io::ErrorKind;
use std::net::UdpSocket;

use crate::questions::*;

#[test]
fn questions_are_well_formed() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let zones = ["a.test".to_owned(), "b.test.".to_owned()];
    let mut questions = Questions::new(server.local_addr().unwrap(), &zones).unwrap();
    questions.ask("192.0.2.10".parse().unwrap());
    let mut message = [0; 512];
    for (identification, zone) in [(1, "a"), (2, "b")] {
        let (length, client) = server.recv_from(&mut message).unwrap();
        let asked = query(&message[..length]);
        assert_eq!(asked, (identification, format!("10.2.0.192.{zone}.test")));
        server.send_to(&message[..length], client).unwrap();
    }
    questions.take_answers().unwrap();
    assert_eq!(questions.socket().peek(&mut message).unwrap_err().kind(), ErrorKind::WouldBlock);
    questions.take_answers().unwrap();
}

#[test]
fn numbers_as_labels() {
    for (number, expected) in
        [(0, &b"\x010"[..]), (10, b"\x0210"), (99, b"\x0299"), (255, b"\x03255")]
    {
        let mut text = Vec::new();
        label(&mut text, number);
        assert_eq!(text, expected);
    }
}

#[test]
fn zones_that_are_no_domains() {
    for zone in ["", "a..b", &"x".repeat(64)] {
        assert!(name(zone).is_err(), "{zone}");
    }
}

/// Its identification and its name.
fn query(message: &[u8]) -> (u16, String) {
    let (header, mut rest) = message.split_at(HEADER.len());
    assert_eq!(header[2..], HEADER[2..]);
    let mut labels = Vec::new();
    while rest[0] != 0 {
        let (label, after) = rest[1..].split_at(usize::from(rest[0]));
        labels.push(String::from_utf8(label.to_vec()).unwrap());
        rest = after;
    }
    assert_eq!(rest[1..], TYPE_AND_CLASS);
    (u16::from_be_bytes([header[0], header[1]]), labels.join("."))
}
