//! What tables are made of, as root and outside the jail.

use std::cell::OnceCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::{Sources, postconf};
use crate::postfix::table::{DiskFiles, FileSource};

/// The system, and the Postfix that is installed in it.
#[derive(Debug)]
pub(super) struct Outside<'a> {
    sources: &'a Sources,
    /// The types of tables that Postfix knows; asked for when one is met that we do not know.
    types: OnceCell<Vec<String>>,
}

impl Outside<'_> {
    pub(super) fn new(sources: &Sources) -> Outside<'_> {
        Outside { sources, types: OnceCell::new() }
    }
}

impl FileSource for Outside<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        DiskFiles.read(path)
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
