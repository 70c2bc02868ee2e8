//! Tables by their names: `type:name`, whatever the name. No name makes one open forever,
//! and a table that opens answers.
//!
//! Input: a key, a line with a table, and the text of the one file that there is, `/f`.

use std::io;
use std::path::Path;

use gatepost::postfix::message::Message;
use gatepost::postfix::table::{Answer, FileSource, Index, OpenOptions, TableId, Tables};

use super::regexp::is_harmless;
use super::take::Take;

/// One file.
pub struct OneFile<'a>(pub &'a [u8]);

impl FileSource for OneFile<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("/f") {
            Ok(self.0.to_vec())
        } else {
            Err(io::Error::from_raw_os_error(2))
        }
    }

    /// What is in the file is what is in the database.
    fn snapshot(&self, index: &Index, _messages: &mut Vec<Message>) -> Result<Vec<u8>, String> {
        self.read(Path::new(&index.name)).map_err(|error| error.to_string())
    }
}

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let key = take.until(b'\n');
    let spec = String::from_utf8_lossy(take.until(b'\n'));
    let files = OneFile(take.0);
    if !is_harmless(data) {
        return;
    }
    for options in [OpenOptions::FOLDED, OpenOptions::EXACT, OpenOptions::TOLERANT] {
        let mut messages = Vec::new();
        let mut tables = Tables::new(false);
        let Ok(id) = tables.open(&spec, options, &files, &mut messages) else {
            let mut strict = Tables::new(true);
            assert!(strict.open(&spec, options, &files, &mut messages).is_err(), "{spec}");
            continue;
        };
        assert_eq!(tables.spec(id), spec);
        assert_eq!(tables.open(&spec, options, &files, &mut messages), Ok(id), "open already");
        let before = answer(&tables, id, key);
        assert!(!before.starts_with("found") || before.len() <= 100_000, "{} bytes", before.len());

        // The same text once more changes nothing, and other text does no harm.
        let watched = tables.watched();
        assert!(watched.len() <= spec.len());
        let random = spec.contains("randmap:");
        if watched.iter().any(|path| path == Path::new("/f")) {
            tables.reload(Path::new("/f"), files.0);
            assert!(random || answer(&tables, id, key) == before, "{spec}");
            // A text that any table can be made of is as good as if it had been there.
            let other = b"127.0.0.1 x\n";
            tables.reload(Path::new("/f"), other);
            let mut fresh = Tables::new(false);
            let id_of_fresh = fresh.open(&spec, options, &OneFile(other), &mut messages).unwrap();
            let expected = answer(&fresh, id_of_fresh, key);
            assert!(random || answer(&tables, id, key) == expected, "{spec}");
        }
        for index in tables.indexes().iter().filter(|index| index.name == "/f") {
            let before = answer(&tables, id, key);
            tables.reload_index(index, b"127.0.0.1\tx\n");
            answer(&tables, id, key);
            tables.reload_index(index, files.0);
            let same = answer(&tables, id, key) == before;
            assert!(random || same || !watched.is_empty(), "{spec}");
        }
        for path in &watched {
            tables.reload(path, b"127.0.0.1 x\n127.0.0.1 y\nif\n");
            answer(&tables, id, key);
        }
        let mut strict = Tables::new(true);
        if let Ok(id) = strict.open(&spec, options, &files, &mut messages) {
            assert!(random || answer(&strict, id, key) == before, "{spec}");
        }
    }
}

fn answer(tables: &Tables, id: TableId, key: &[u8]) -> String {
    let mut warnings = Vec::new();
    match tables.alone().lookup(id, key, &mut warnings) {
        Answer::Found(value) => format!("found {value}"),
        Answer::NotFound => "not found".into(),
        Answer::Failed => "failed".into(),
        Answer::Asked(question) => format!("asks {}", String::from_utf8_lossy(&question.key)),
    }
}
