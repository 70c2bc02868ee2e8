//! What tables are made of, as root and outside the jail.

use std::cell::OnceCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::snapshots::Snapshots;
use crate::config::{Sources, postconf};
use crate::postfix::message::Message;
use crate::postfix::table::{DiskFiles, FileSource, Index};

/// The system, and the Postfix that is installed in it.
#[derive(Debug)]
pub(super) struct Outside<'a> {
    sources: &'a Sources,
    snapshots: &'a Snapshots,
    /// The types of tables that Postfix knows; asked for when one is met that we do not know.
    types: OnceCell<Vec<String>>,
}

impl<'a> Outside<'a> {
    pub(super) fn new(sources: &'a Sources, snapshots: &'a Snapshots) -> Outside<'a> {
        Outside { sources, snapshots, types: OnceCell::new() }
    }
}

impl FileSource for Outside<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        DiskFiles.read(path)
    }

    fn snapshot(&self, index: &Index, messages: &mut Vec<Message>) -> Result<Vec<u8>, String> {
        self.snapshots.take(index, messages)
    }

    fn resolve(&self, host: &str, port: &str) -> Result<Vec<SocketAddr>, String> {
        DiskFiles.resolve(host, port)
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
