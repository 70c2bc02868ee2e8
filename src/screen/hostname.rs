//! What counts as a host name: `myhostname`, DNSBL domains.

/// The longest host name, in bytes.
const MAX_LENGTH: usize = 255;
/// The longest label of a host name, in bytes.
const MAX_LABEL: usize = 63;
/// How many bytes of a name that is too long are shown.
const SHOWN: usize = 100;

/// Why a text is no host name, in Postfix's words (they are logged as a warning before the
/// error that says where the name comes from).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostnameError {
    /// Nothing at all.
    #[error("valid_hostname: empty hostname")]
    Empty,
    /// More than 255 bytes.
    #[error("valid_hostname: bad length {length} for {start}...")]
    Length {
        /// The length in bytes.
        length: usize,
        /// The start of the name.
        start: String,
    },
    /// A dot at the start or end, or two in a row.
    #[error("valid_hostname: misplaced delimiter: {0}")]
    Delimiter(String),
    /// A hyphen at the start or end of a label.
    #[error("valid_hostname: misplaced hyphen: {0}")]
    Hyphen(String),
    /// A label of more than 63 bytes.
    #[error("valid_hostname: hostname label too long: {0}")]
    Label(String),
    /// A byte that does not belong into a host name.
    #[error("valid_hostname: invalid character {byte}(decimal): {name}")]
    Character {
        /// The byte.
        byte: u8,
        /// The name.
        name: String,
    },
    /// Only digits and dots.
    #[error("valid_hostname: numeric hostname: {0}")]
    Numeric(String),
}

/// Whether `name` is a host name: labels of letters, digits, `-` and `_`, not all of it
/// digits.
///
/// # Errors
/// The first problem, seen from the left.
pub fn check(name: &str) -> Result<(), HostnameError> {
    if name.is_empty() {
        return Err(HostnameError::Empty);
    }
    if name.len() > MAX_LENGTH {
        let start = name.char_indices().take_while(|(at, _)| *at < SHOWN).map(|(_, c)| c);
        return Err(HostnameError::Length { length: name.len(), start: start.collect() });
    }
    let mut label = 0_usize;
    let mut numeric = true;
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let label_ends = matches!(after.first(), None | Some(b'.'));
        match byte {
            b'.' if label == 0 || after.is_empty() => {
                return Err(HostnameError::Delimiter(name.to_owned()));
            }
            b'.' => label = 0,
            b'-' if label == 0 || label_ends => {
                return Err(HostnameError::Hyphen(name.to_owned()));
            }
            _ if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') => {
                label += 1;
                if label > MAX_LABEL {
                    return Err(HostnameError::Label(name.to_owned()));
                }
                numeric &= byte.is_ascii_digit();
            }
            _ => return Err(HostnameError::Character { byte, name: name.to_owned() }),
        }
        rest = after;
    }
    if numeric { Err(HostnameError::Numeric(name.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_vectors() {
        for good in ["a", "mx.example.test", "a_b", "_x.y", "a-b.c", "1a.2", "1.2.c", "a--b"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, text) in [
            ("", "empty hostname"),
            ("bad_host..x", "misplaced delimiter: bad_host..x"),
            (".a", "misplaced delimiter: .a"),
            ("foo.", "misplaced delimiter: foo."),
            ("-bad.x", "misplaced hyphen: -bad.x"),
            ("a.b-", "misplaced hyphen: a.b-"),
            ("a-.b", "misplaced hyphen: a-.b"),
            ("a b", "invalid character 32(decimal): a b"),
            ("bücher.x", "invalid character 195(decimal): bücher.x"),
            ("1.2.3.4", "numeric hostname: 1.2.3.4"),
            ("123", "numeric hostname: 123"),
        ] {
            let error = check(bad).unwrap_err().to_string();
            assert_eq!(error, format!("valid_hostname: {text}"));
        }
    }

    #[test]
    fn lengths() {
        let label = "a".repeat(60);
        let four = [label.as_str(); 4].join(".");
        assert_eq!(check(&format!("{four}.{}", "a".repeat(11))), Ok(()));
        let long = format!("{four}.{}", "a".repeat(12));
        let expected = format!("valid_hostname: bad length 256 for {}...", &long[..100]);
        assert_eq!(check(&long).unwrap_err().to_string(), expected);
        assert_eq!(check(&"a".repeat(63)), Ok(()));
        assert!(matches!(check(&"a".repeat(64)), Err(HostnameError::Label(_))));
    }
}
