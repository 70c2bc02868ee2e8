//! What tables are made of, as root and outside the jail.

use std::cell::{Cell, OnceCell};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::snapshots::{Snapshots, Trouble};
use crate::config::{Sources, postconf};
use crate::postfix::message::Message;
use crate::postfix::table::{DiskFiles, FileSource, Index};
use crate::screen::expand::{Mode, expand};

/// The system, and the Postfix that is installed in it.
#[derive(Debug)]
pub(super) struct Outside<'a> {
    sources: &'a Sources,
    snapshots: &'a Snapshots,
    /// The types of tables that Postfix knows; asked for when one is met that we do not know.
    types: OnceCell<Vec<String>>,
    lacked_reader: Cell<bool>,
}

impl<'a> Outside<'a> {
    pub(super) fn new(sources: &'a Sources, snapshots: &'a Snapshots) -> Outside<'a> {
        Outside { sources, snapshots, types: OnceCell::new(), lacked_reader: Cell::new(false) }
    }

    /// Whether a database could not be read for want of a program to do it: postscreen(8) reads
    /// by itself.
    pub(super) fn lacked_reader(&self) -> bool {
        self.lacked_reader.get()
    }
}

impl FileSource for Outside<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        DiskFiles.read(path)
    }

    fn snapshot(&self, index: &Index, messages: &mut Vec<Message>) -> Result<Vec<u8>, String> {
        self.snapshots.take(index, messages).map_err(|trouble| {
            if let Trouble::Reader(_) = trouble {
                self.lacked_reader.set(true);
            }
            trouble.to_string()
        })
    }

    fn resolve(&self, host: &str, port: &str) -> Result<Vec<SocketAddr>, String> {
        DiskFiles.resolve(host, port)
    }

    fn parameters(&self, prefix: &str) -> Vec<(String, String)> {
        let main_cf = self.sources.main_cf();
        let lookup = |name: &str| main_cf.value(name).map(Into::into);
        let named = main_cf.iter().filter_map(|(name, entry)| {
            let rest = name.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
            let value = expand(&entry.value, Mode::Recursive, lookup).ok()?;
            Some((rest.to_owned(), value))
        });
        named.collect()
    }

    fn is_known_to_postfix(&self, kind: &str) -> bool {
        let types = self.types.get_or_init(|| {
            postconf::table_types(self.sources).unwrap_or_else(|error| {
                log::warn!("types of tables that Postfix knows: {error}");
                Vec::new()
            })
        });
        types.iter().any(|known| known == kind)
    }
}
