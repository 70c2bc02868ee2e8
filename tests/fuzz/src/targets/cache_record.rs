//! What is stored about a client: every form reads back as what was written.
//!
//! Input: postscreen's text form, which is also taken as numbers and as an address.

use gatepost::cache::record::{
    Key, address_from_bytes, from_columns, from_integer, parse, to_columns, to_integer, to_text,
};
use gatepost::screen::test_set::{Expiry, Test, UnixTime};

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let record = parse(&text);
    assert_eq!(parse(&to_text(&record)), record, "{text:?}");
    assert_eq!(from_columns(to_columns(&record)), record, "{text:?}");
    for test in Test::ALL {
        // The two smallest numbers have a meaning of their own.
        if let Expiry::Until(UnixTime(seconds)) = record[test] {
            assert!(seconds > 1, "{text:?}");
        }
    }
    let mut fields = text.split(';');
    for test in Test::ALL {
        let number = fields.next().and_then(|field| field.parse::<i64>().ok());
        if let Some(number) = number {
            assert_eq!(record[test], from_integer(number), "{text:?}");
        }
    }

    let numbers: Vec<i64> = data
        .chunks_exact(8)
        .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()))
        .take(5)
        .collect();
    for number in &numbers {
        let read = from_integer(*number);
        let written = to_integer(read);
        assert_eq!(from_integer(written), read, "{number}");
        assert_eq!(written, if *number < 0 { 1 } else { *number });
        let until = Expiry::Until(UnixTime(number.cast_unsigned()));
        assert!(to_integer(until) > 1, "a pass is written as a special number");
    }
    if let Ok(columns) = <[i64; 5]>::try_from(numbers) {
        let record = from_columns(columns);
        assert_eq!(parse(&to_text(&record)), record);
    }

    match address_from_bytes(data) {
        Some(address) => assert_eq!(Key::of(address).bytes(), data),
        None => assert!(data.len() != 4 && data.len() != 16),
    }
}
