//! Files for tests.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::FileSource;

/// Files from a map; the rest does not exist.
pub struct Files(HashMap<PathBuf, &'static str>);

impl Files {
    /// Paths and contents.
    pub fn new<const N: usize>(files: [(&str, &'static str); N]) -> Files {
        Files(files.into_iter().map(|(path, text)| (path.into(), text)).collect())
    }
}

impl FileSource for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or_else(|| io::Error::from_raw_os_error(2))?;
        Ok(text.as_bytes().to_vec())
    }
}
