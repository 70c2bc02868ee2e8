//! Host names: a second, simpler reading, and a reason that quotes a bounded part of the name.

use gatepost::screen::hostname::{HostnameError, check as check_name};

pub fn check(data: &[u8]) {
    let name = String::from_utf8_lossy(data);
    let labels: Vec<&str> = name.split('.').collect();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let good_label = |label: &&str| {
        let hyphens = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && !hyphens && label.bytes().all(is_letter)
    };
    let numeric = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let good = name.len() <= 255 && !numeric && labels.iter().all(good_label);
    let checked = check_name(&name);
    assert_eq!(checked.is_ok(), good, "{name:?}: {checked:?}");
    let Err(error) = checked else { return };
    let text = error.to_string();
    assert!(text.starts_with("valid_hostname: ") && text.len() < 400, "{text}");
    match error {
        HostnameError::Empty => assert!(name.is_empty()),
        HostnameError::Length { length, start } => {
            assert!(length == name.len() && length > 255 && name.starts_with(&start));
        }
        HostnameError::Delimiter(_) => assert!(labels.iter().any(|label| label.is_empty())),
        HostnameError::Label(_) => assert!(labels.iter().any(|label| label.len() > 63)),
        HostnameError::Character { byte, .. } => assert!(name.as_bytes().contains(&byte)),
        HostnameError::Numeric(_) => assert!(numeric),
        HostnameError::Hyphen(_) => assert!(name.contains('-')),
    }
}
