//! Lookup tables: what they answer, and which kinds there are.
//!
//! After the process has jailed itself, a lookup opens nothing: a table's content is in memory,
//! or its database was opened before. [`Tables`] owns every table of the process and replaces
//! the content of tables that were read from files in place when their files change. Tables in
//! other programs are asked by whoever owns the loop; a [`TableView`] has what they have said so
//! far.

mod applying;
mod cdb;
mod cidr;
mod constant;
mod environ;
mod first_match;
mod indexed;
mod inline;
mod key;
mod network;
mod patterns;
#[cfg(feature = "pcre")]
mod pcre;
mod regexp;
mod registry;
mod remote;
mod replacement;
mod source;
mod sqlite;
mod sqlite_cf;
#[cfg(test)]
pub(crate) mod test_files;
mod texthash;
mod value;
mod view;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use super::message::Message;

pub use cdb::{CdbError, CdbTable};
pub use cidr::CidrTable;
pub use constant::{EmptyTable, FailTable, RandomTable, StaticTable, Surrogate};
pub use environ::EnvironTable;
pub(super) use first_match::{FirstMatch, Pattern as NetworkPattern, Rules};
pub use indexed::{Index, IndexKind, IndexedTable};
pub use inline::InlineTable;
pub(super) use key::AddressKey;
pub use network::{Network, NetworkError};
#[cfg(feature = "pcre")]
pub use pcre::PcreTable;
pub use regexp::RegexpTable;
pub use registry::{TableError, TableId, Tables};
pub use remote::{
    Dialect, Known, RemoteAnswer, RemoteError, RemoteQuestion, RemoteTable, Resolve, Server,
};
pub use source::{DiskFiles, FileSource, JailedFiles, error_text};
pub use sqlite::SqliteTable;
pub use sqlite_cf::{SqliteConfig, SqliteConfigError};
pub use texthash::TextHash;
pub use view::TableView;

/// What a table says about a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// The key's value; may be empty.
    Found(Cow<'a, str>),
    /// The table does not have the key.
    NotFound,
    /// The table cannot tell; it has warned if there is anything to say.
    Failed,
    /// Not before a table elsewhere has answered this.
    Asked(RemoteQuestion),
}

/// Something that maps keys to values. Keys are bytes, because clients send any; what is not
/// UTF-8 is only for tables of patterns.
pub trait Table: fmt::Debug {
    /// Looks a key up. What the administrator should know is added to `warnings`, before
    /// anything the caller has to say about the answer.
    fn lookup(&self, key: &[u8], warnings: &mut Vec<Message>) -> Answer<'_>;

    /// Opens what must not be open across a fork and cannot be opened in a jail. What is wrong
    /// is added to `messages`.
    fn connect(&mut self, _messages: &mut Vec<Message>) {}

    /// A file that the table holds open and reads at each lookup. When another file takes its
    /// place, a jailed process cannot follow, and a successor has to.
    fn held_file(&self) -> Option<&Path> {
        None
    }
}

/// How a parameter wants its tables opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OpenOptions {
    /// Tables of fixed strings (texthash, inline) ignore case.
    pub fold_keys: bool,
    /// What a key that comes twice does to a texthash table.
    pub duplicates: Duplicates,
    /// A result of a pattern table that is not UTF-8 is a failure.
    pub utf8_values: bool,
}

/// What a key that comes twice does to a texthash table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Duplicates {
    /// The table is unusable.
    Refuse,
    /// The first entry counts, with a warning.
    Warn,
}

impl OpenOptions {
    /// As access lists open theirs: main.cf `postscreen_access_list`.
    pub const FOLDED: OpenOptions =
        OpenOptions { fold_keys: true, duplicates: Duplicates::Refuse, utf8_values: true };
    /// main.cf: `postscreen_command_filter`.
    pub const COMMANDS: OpenOptions = OpenOptions { utf8_values: false, ..OpenOptions::FOLDED };
    /// As match lists and map lists open theirs: main.cf `mynetworks`,
    /// `postscreen_allowlist_interfaces`, `postscreen_reject_footer_maps`.
    pub const EXACT: OpenOptions = OpenOptions { fold_keys: false, ..OpenOptions::FOLDED };
    /// main.cf: `postscreen_dnsbl_reply_map`.
    pub const TOLERANT: OpenOptions =
        OpenOptions { duplicates: Duplicates::Warn, ..OpenOptions::EXACT };

    /// A key of a table that stores bytes, in the form in which they are stored; `None` if it
    /// is not UTF-8 and has to be. What follows a NUL does not count.
    fn stored(self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = value::c_string(key);
        match str::from_utf8(key) {
            Ok(key) => Some(match self.key(key) {
                Cow::Borrowed(key) => Cow::Borrowed(key.as_bytes()),
                Cow::Owned(key) => Cow::Owned(key.into_bytes()),
            }),
            Err(_) if self.utf8_values => None,
            Err(_) if self.fold_keys => Some(Cow::Owned(key.to_ascii_lowercase())),
            Err(_) => Some(Cow::Borrowed(key)),
        }
    }

    /// A key that is asked for, in the form in which keys are stored.
    fn asked(self, key: &[u8]) -> Cow<'_, str> {
        match String::from_utf8_lossy(key) {
            Cow::Borrowed(key) => self.key(key),
            Cow::Owned(key) => Cow::Owned(self.key(&key).into_owned()),
        }
    }

    /// The key in the form in which it is stored and compared.
    fn key(self, key: &str) -> Cow<'_, str> {
        if self.fold_keys && key.chars().any(|c| !c.is_lowercase() && c.is_alphabetic()) {
            Cow::Owned(key.to_lowercase())
        } else {
            Cow::Borrowed(key)
        }
    }
}
