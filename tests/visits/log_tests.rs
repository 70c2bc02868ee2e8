//! Tests: what records are about.

use std::sync::Mutex;

use crate::log::*;

#[test]
fn subjects() {
    for (record, expected) in [
        ("<22>Nov  2 17:15:08 postfix/postscreen[7]: CONNECT from [192.0.2.1]:1 to x", "CONNECT"),
        ("<22>Nov  2 17:15:08 postfix/postscreen[7]: PASS OLD [192.0.2.1]:1", "PASS OLD"),
        ("Nov 02 17:15:08 mx postfix/postscreen[7]: PASS NEW [192.0.2.1]:1", "PASS NEW"),
        ("x[7]: NOQUEUE: reject: RCPT from [192.0.2.1]:1: 450", "NOQUEUE"),
        ("x[7]: warning: [x]: y", "warning:"),
        ("x[7]: alone", "alone"),
        ("x[7]: PASS ", "PASS "),
        ("no header", "no"),
        ("", ""),
    ] {
        assert_eq!(subject(record.as_bytes()), expected, "{record}");
    }
}

#[test]
fn counts_are_json_whatever_the_subject() {
    let counts = Mutex::default();
    for record in ["x[1]: b", "x[1]: a\"\\\u{e9}", "x[1]: b c"] {
        count(&counts, record.as_bytes());
    }
    assert_eq!(json(&counts.into_inner().unwrap()), r#"{"a????":1,"b":2}"#);
    assert_eq!(json(&Counts::new()), "{}");
}
