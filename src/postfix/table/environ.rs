//! environ tables: the environment of the process. What is in that is a matter of main.cf
//! `import_environment`.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::value::value;
use super::{Answer, OpenOptions, Table};
use crate::postfix::message::Message;

/// `environ:name`; the name does not matter.
#[derive(Clone, Debug)]
pub struct EnvironTable {
    name: String,
    options: OpenOptions,
}

impl EnvironTable {
    /// `name` is how warnings call it.
    pub fn new(name: &str, options: OpenOptions) -> EnvironTable {
        EnvironTable { name: name.into(), options }
    }
}

impl Table for EnvironTable {
    fn lookup(&self, key: &[u8], warnings: &mut Vec<Message>) -> Answer<'_> {
        let Some(name) = self.options.stored(key) else { return Answer::NotFound };
        match std::env::var_os(OsStr::from_bytes(&name)) {
            Some(bytes) => {
                let table = format_args!("environ:{}", self.name);
                value(table, key, Cow::Owned(bytes.into_vec()), self.options, warnings)
            }
            None => Answer::NotFound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_by_their_names() {
        // What cargo sets for its tests.
        let key = b"CARGO_PKG_NAME";
        let exact = EnvironTable::new("x", OpenOptions::EXACT);
        let mut warnings = Vec::new();
        assert_eq!(exact.lookup(key, &mut warnings), Answer::Found("gatepost".into()));
        let answer = exact.lookup(b"CARGO_PKG_NAME\0x", &mut warnings);
        assert_eq!(answer, Answer::Found("gatepost".into()));
        for key in [&b""[..], b"=", b"A=B", b"\xff", b"NO_SUCH_VARIABLE_HERE"] {
            assert_eq!(exact.lookup(key, &mut warnings), Answer::NotFound);
        }
        // Names in capitals are out of reach for who folds his keys.
        let folding = EnvironTable::new("x", OpenOptions::FOLDED);
        assert_eq!(folding.lookup(key, &mut warnings), Answer::NotFound);
        assert_eq!(warnings, []);
    }
}
