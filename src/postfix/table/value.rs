//! Values that come as bytes, to be used as text.

use std::borrow::Cow;
use std::fmt;

use super::{Answer, OpenOptions};
use crate::postfix::message::Message;
use crate::screen::logline::Shown;

/// A value as an answer. What has to be text and is not is a failure; `table` is how the warning
/// calls the table, `type:name`.
pub fn value<'a>(
    table: impl fmt::Display,
    key: &[u8],
    bytes: Cow<'a, [u8]>,
    options: OpenOptions,
    warnings: &mut Vec<Message>,
) -> Answer<'a> {
    let text = match bytes {
        Cow::Borrowed(bytes) => {
            str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| bytes.to_vec())
        }
        Cow::Owned(bytes) => {
            String::from_utf8(bytes).map(Cow::Owned).map_err(|error| error.into_bytes())
        }
    };
    match text {
        Ok(text) => Answer::Found(text),
        Err(bytes) if options.utf8_values => {
            warnings.push(Message::warning(format!(
                "{table}: key \"{}\": non-UTF-8 value \"{}\": malformed UTF-8 or invalid codepoint",
                Shown(key),
                Shown(&bytes)
            )));
            Answer::Failed
        }
        // As it will be logged, if it is.
        Err(bytes) => Answer::Found(Cow::Owned(without_broken(&bytes))),
    }
}

/// What comes before the first NUL: all that a C string has.
pub fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Text with a question mark for each byte that is not UTF-8.
pub fn without_broken(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}
