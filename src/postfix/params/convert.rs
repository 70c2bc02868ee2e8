//! Texts to typed values, and what is said about bad ones.

use std::time::Duration;

use super::{Bounds, Kind};
use crate::postfix::message::Message;
use crate::screen::expand::ExpandError;

/// Why a parameter has no usable value, in Postfix's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadValue {
    /// The value cannot be expanded.
    #[error("dictionary mail_dict: macro processing error")]
    Macro(#[source] ExpandError),
    /// A text is too short.
    #[error("bad string length {length} < {min}: {name} = {value}")]
    StrLength {
        /// The parameter.
        name: String,
        /// The length of the value, in bytes.
        length: usize,
        /// The shortest permitted length.
        min: usize,
        /// The value.
        value: String,
    },
    /// A text that is not expanded is too short.
    #[error("bad string length ({length} < {min}): {name} = {value}")]
    RawLength {
        /// The parameter.
        name: String,
        /// The length of the value, in bytes.
        length: usize,
        /// The shortest permitted length.
        min: usize,
        /// The value.
        value: String,
    },
    /// Not a number, or too large for its type.
    #[error("bad numerical configuration: {name} = {value}")]
    Number {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
    },
    /// A number below its minimum.
    #[error("invalid {name} parameter value {value} < {min}")]
    NumberTooSmall {
        /// The parameter.
        name: String,
        /// The value.
        value: i64,
        /// The minimum.
        min: i32,
    },
    /// A number above its maximum.
    #[error("invalid {name} parameter value {value} > {max}")]
    NumberTooLarge {
        /// The parameter.
        name: String,
        /// The value.
        value: i64,
        /// The maximum.
        max: i32,
    },
    /// Not a span of time.
    #[error("parameter {name}: bad time value or unit: {value}")]
    Time {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
    },
    /// A span of time below its minimum.
    #[error("invalid {name}: {seconds} (min {min})")]
    TimeTooShort {
        /// The parameter.
        name: String,
        /// The value, in seconds.
        seconds: i32,
        /// The minimum, in seconds.
        min: i32,
    },
    /// A span of time above its maximum.
    #[error("invalid {name}: {seconds} (max {max})")]
    TimeTooLong {
        /// The parameter.
        name: String,
        /// The value, in seconds.
        seconds: i32,
        /// The maximum, in seconds.
        max: i32,
    },
    /// Neither `yes` nor `no`.
    #[error("bad boolean configuration: {name} = {value}")]
    Bool {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
    },
    /// The table has no such parameter of the type asked for: a mistake of the program.
    #[error("internal error: no parameter {name} of this type")]
    NoSuchParameter {
        /// The parameter.
        name: String,
    },
}

impl BadValue {
    /// What Postfix logs: the fatal message, after the warnings that explain it.
    pub fn messages(&self) -> Vec<Message> {
        let explanation = match self {
            BadValue::Macro(error) => Some(Message::warning(error.to_string())),
            _ => None,
        };
        explanation.into_iter().chain([Message::fatal(self.to_string())]).collect()
    }
}

/// Checks the length of a text.
pub(super) fn text(name: &str, kind: Kind, value: String) -> Result<String, BadValue> {
    let (length, name) = (value.len(), name.to_owned());
    match kind {
        Kind::Str { min } if length < min => Err(BadValue::StrLength { name, length, min, value }),
        Kind::Raw { min } if length < min => Err(BadValue::RawLength { name, length, min, value }),
        _ => Ok(value),
    }
}

/// A number of 32 bits.
pub(super) fn int(name: &str, bounds: Bounds, value: &str) -> Result<i32, BadValue> {
    let number = long(name, Bounds::ANY, value)?;
    let small = i32::try_from(number).map_err(|_| bad_number(name, value))?;
    in_bounds(name, bounds, number)?;
    Ok(small)
}

/// A number of 64 bits.
pub(super) fn long(name: &str, bounds: Bounds, value: &str) -> Result<i64, BadValue> {
    let (number, rest) = leading_number(value).ok_or_else(|| bad_number(name, value))?;
    if value.is_empty() || !rest.is_empty() {
        return Err(bad_number(name, value));
    }
    in_bounds(name, bounds, number)?;
    Ok(number)
}

fn bad_number(name: &str, value: &str) -> BadValue {
    BadValue::Number { name: name.to_owned(), value: value.to_owned() }
}

fn in_bounds(name: &str, bounds: Bounds, value: i64) -> Result<(), BadValue> {
    let name = || name.to_owned();
    match (bounds.min, bounds.max) {
        (Some(min), _) if value < i64::from(min) => {
            Err(BadValue::NumberTooSmall { name: name(), value, min })
        }
        (_, Some(max)) if value > i64::from(max) => {
            Err(BadValue::NumberTooLarge { name: name(), value, max })
        }
        _ => Ok(()),
    }
}

/// A span of time. The byte after the number is its unit, and what follows that does not
/// matter; `default_unit` is for a number alone.
pub(super) fn time(
    name: &str,
    bounds: Bounds,
    value: &str,
    default_unit: Option<u8>,
) -> Result<Duration, BadValue> {
    let seconds = seconds(value, default_unit)
        .ok_or_else(|| BadValue::Time { name: name.to_owned(), value: value.to_owned() })?;
    let name = || name.to_owned();
    match (bounds.min, bounds.max) {
        (Some(min), _) if seconds < min => {
            Err(BadValue::TimeTooShort { name: name(), seconds, min })
        }
        (_, Some(max)) if seconds > max => {
            Err(BadValue::TimeTooLong { name: name(), seconds, max })
        }
        _ => Ok(Duration::from_secs(u64::from(seconds.unsigned_abs()))),
    }
}

/// The seconds of a span of time, which are not negative. The byte after the number is its
/// unit; `default_unit` is for a number alone.
pub fn seconds(value: &str, default_unit: Option<u8>) -> Option<i32> {
    if value.is_empty() {
        return None;
    }
    let (number, rest) = leading_number(value)?;
    let unit = match rest.bytes().next().or(default_unit)? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        b'w' => 604_800,
        _ => return None,
    };
    i32::try_from(number.checked_mul(unit)?).ok().filter(|seconds| *seconds >= 0)
}

/// The unit for numbers alone: the first letter of the default value.
pub(super) fn default_unit(default: &str) -> Option<u8> {
    default.bytes().find(u8::is_ascii_alphabetic)
}

/// `yes` or `no`, in any case.
pub(super) fn boolean(name: &str, value: &str) -> Result<bool, BadValue> {
    if value.eq_ignore_ascii_case("yes") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("no") {
        Ok(false)
    } else {
        Err(BadValue::Bool { name: name.to_owned(), value: value.to_owned() })
    }
}

/// A decimal number and what follows it, as C's `strtol` reads them: white space and a
/// sign may come first, and no digits at all are a 0 that leaves everything. `None` when
/// it does not fit.
fn leading_number(text: &str) -> Option<(i64, &str)> {
    let start = text.trim_ascii_start();
    let unsigned = start.strip_prefix(['+', '-']).unwrap_or(start);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Some((0, text));
    }
    let (number, rest) = start.split_at_checked(start.len() - unsigned.len() + digits)?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let wait = |value: &str| time("w", Bounds::from(1), value, Some(b's'));
        for (value, seconds) in [
            ("5", 5),
            ("+5", 5),
            ("  7", 7),
            ("5s", 5),
            ("5min", 300),
            ("1h30m", 3600),
            ("2147483647s", 2_147_483_647),
            ("2w", 1_209_600),
        ] {
            assert_eq!(wait(value), Ok(Duration::from_secs(seconds)), "{value}");
        }
        let bad = "abc 5x 5S 0x10 5.5 -1 4000w 99999999999 9999999999999999999999 2147483648s + -";
        for value in bad.split(' ').chain(["", "5 m"]) {
            let text = format!("parameter w: bad time value or unit: {value}");
            assert_eq!(wait(value).unwrap_err().to_string(), text);
        }
        for value in ["0", "s"] {
            assert_eq!(wait(value).unwrap_err().to_string(), "invalid w: 0 (min 1)");
        }
        assert_eq!(time("t", Bounds::ANY, "2", Some(b'd')), Ok(Duration::from_secs(172_800)));
        assert_eq!(default_unit("30mh"), Some(b'm'));
        assert_eq!(default_unit("30"), None);
    }

    #[test]
    fn numbers() {
        let number = |value: &str| int("n", Bounds::from(1), value);
        assert_eq!(number("010"), Ok(10));
        assert_eq!(number(" +5"), Ok(5));
        for value in ["abc", "1.5", "0x10", "5k", "", "2147483648", "+", "99999999999999999999"] {
            let text = format!("bad numerical configuration: n = {value}");
            assert_eq!(number(value).unwrap_err().to_string(), text);
        }
        assert_eq!(number("0").unwrap_err().to_string(), "invalid n parameter value 0 < 1");
        let digits = int("d", Bounds::up_to(6), "9").unwrap_err();
        assert_eq!(digits.to_string(), "invalid d parameter value 9 > 6");
        assert_eq!(int("d", Bounds::up_to(6), "-1"), Ok(-1));
        assert_eq!(long("l", Bounds::ANY, "9999999999"), Ok(9_999_999_999));
    }

    #[test]
    fn texts_and_booleans() {
        let text = |kind| text("p", kind, String::new()).unwrap_err().to_string();
        assert_eq!(text(Kind::Str { min: 1 }), "bad string length 0 < 1: p = ");
        assert_eq!(text(Kind::Raw { min: 1 }), "bad string length (0 < 1): p = ");
        assert_eq!(boolean("b", "YES"), Ok(true));
        assert_eq!(boolean("b", "No"), Ok(false));
        for value in ["maybe", "", "y", "yes "] {
            let text = format!("bad boolean configuration: b = {value}");
            assert_eq!(boolean("b", value).unwrap_err().to_string(), text);
        }
    }
}
