//! Attribute lists of other Postfix daemons: the strict and the lenient reader agree, and
//! what was read is written in the same way again.

use gatepost::postfix::attr::{
    AttrWriter, Scan, end_of_input, int, long, scan_lenient, scan_strict,
};

const WANTED: [&str; 2] = ["status", "value"];

pub fn check(data: &[u8]) {
    let lenient = scan_lenient(data, WANTED);
    match scan_strict(data, WANTED) {
        Ok(Scan::Complete { values, used }) => {
            assert_eq!(lenient, Scan::Complete { values: values.map(Some), used });
            assert_eq!(data.get(..used).unwrap(), written(values), "written again");
            for length in (0..used).step_by(1 + used / 100) {
                let part = scan_strict(&data[..length], WANTED);
                assert_eq!(part, Ok(Scan::NeedMore), "the first {length} bytes");
            }
            values.into_iter().for_each(numbers);
        }
        Ok(Scan::NeedMore) => assert_eq!(lenient, Scan::NeedMore),
        Err(error) => {
            let text = error.text("private/x");
            assert!(text.len() < 600, "{text}");
        }
    }
    if let Scan::Complete { values, used } = lenient {
        assert_eq!(data.get(used - 1), Some(&0), "a list ends with an empty name");
        let longer = [&data[..used], b"x\0y\0\0"].concat();
        assert_eq!(scan_lenient(&longer, WANTED), lenient, "with another list behind it");
        for length in (0..used).step_by(1 + used / 100) {
            let part = scan_lenient(&data[..length], WANTED);
            assert_eq!(part, Scan::NeedMore, "the first {length} bytes");
        }
        values.into_iter().flatten().for_each(numbers);
    }
    assert_eq!(end_of_input(data).is_none(), data.is_empty());
}

fn written(values: [&[u8]; 2]) -> Vec<u8> {
    let mut list = AttrWriter::new();
    for (name, value) in WANTED.into_iter().zip(values) {
        list.string(name, value).unwrap();
    }
    list.end();
    list.into_bytes()
}

/// A value as a number, read a second time by the standard library.
fn numbers(value: &[u8]) {
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).ok().filter(|_| digits);
    let expected: Option<u64> = text.and_then(|text| text.parse().ok());
    assert_eq!(long(value).ok(), expected);
    let small = expected.and_then(|number| u32::try_from(number).ok());
    assert_eq!(int(value).ok(), small.map(u32::cast_signed));
}
