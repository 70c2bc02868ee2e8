//! How addresses, time spans and what clients sent look in the log.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::QUOTE_LIMIT;
use crate::screen::address::AddressText;
use crate::screen::test_set::UnixTime;

/// Client bytes in printable form: C escapes, and octal for what has none.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for byte in self.0 {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                0x07 => f.write_str("\\a")?,
                0x08 => f.write_str("\\b")?,
                0x0c => f.write_str("\\f")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                0x0b => f.write_str("\\v")?,
                0x20..=0x7e => f.write_char(char::from(*byte))?,
                _ => write!(f, "\\{byte:03o}")?,
            }
        }
        Ok(())
    }
}

/// The beginning of what a client has sent, at most [`QUOTE_LIMIT`] bytes. Nothing is allocated
/// for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quote {
    bytes: [u8; QUOTE_LIMIT],
    length: u8,
}

impl Quote {
    /// As much of `data` as is quoted.
    pub fn of(data: &[u8]) -> Quote {
        let mut bytes = [0; QUOTE_LIMIT];
        let count = bytes.iter_mut().zip(data).map(|(place, byte)| *place = *byte).count();
        Quote { bytes, length: u8::try_from(count).unwrap_or(0) }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }
}

/// No more of an ASCII text than `limit` characters.
pub struct Cut<T> {
    /// The text.
    pub text: T,
    /// Characters.
    pub limit: usize,
}

impl<T: fmt::Display> fmt::Display for Cut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        struct Rest<W>(W, usize);
        impl<W: fmt::Write> fmt::Write for Rest<W> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                let text = text.get(..self.1).unwrap_or(text);
                self.1 -= text.len();
                self.0.write_str(text)
            }
        }
        write!(Rest(f, self.limit), "{}", self.text)
    }
}

/// A time span with two significant digits, the way Postfix logs delays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed {
    /// The span.
    pub span: Duration,
    /// main.cf: `delay_logging_resolution_limit`, the most digits after the decimal point,
    /// 0..=6.
    pub digits: u8,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u128 = 1_000_000;
        let micros = self.span.as_micros();
        let finest = 10u128.pow(6 - u32::from(self.digits.min(6)));
        let step = if finest == SECOND || micros >= 10 * SECOND {
            SECOND
        } else if micros >= SECOND {
            SECOND / 10
        } else {
            let mut step = finest;
            while micros >= 100 * step {
                step *= 10;
            }
            step
        };
        let rounded = micros + step / 2;
        write!(f, "{}", rounded / SECOND)?;
        let mut rest = rounded % SECOND;
        let mut unit = SECOND / 10;
        while rest >= step {
            if unit == SECOND / 10 {
                f.write_str(".")?;
            }
            write!(f, "{}", rest / unit)?;
            rest %= unit;
            unit /= 10;
        }
        Ok(())
    }
}

/// Client bytes as they are, but for what is not printable or not UTF-8: a `?` for each
/// such byte. The log itself decides whether it takes UTF-8.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                f.write_char(if character.is_ascii_control() { '?' } else { character })?;
            }
            for _ in chunk.invalid() {
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}

/// One end of a connection as `[address]:port`, IPv6 in the compressed lower-case form.
pub struct End<'a>(pub &'a SocketAddr);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]:{}", AddressText(self.0.ip()), self.0.port())
    }
}

/// A point in time as `2026-11-22 16:40:00 UTC`: the core knows no time zone.
pub struct Utc(pub UnixTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 24 * 60 * 60;
        let (days, seconds) = (self.0.0 / DAY, self.0.0 % DAY);
        // The calendar repeats every 400 years, 146,097 days. Years begin in March here, so
        // that a leap day is the last day; day 0 is 1 March 0000.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}
