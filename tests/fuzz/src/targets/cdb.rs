//! cdb tables: a damaged database is found out when it is asked, and never answers with what is
//! not in it.
//!
//! Input: a key, and the bytes of a file.

use gatepost::postfix::table::{Answer, CdbTable, OpenOptions, Table};

use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let key = take.until(b'\n');
    for options in [OpenOptions::COMMANDS, OpenOptions::FOLDED] {
        let table = CdbTable::parse("/f.cdb", take.0, options);
        assert_eq!(table.is_ok(), take.0.len() >= 2048);
        let Ok(table) = table else { return };
        let mut warnings = Vec::new();
        match table.lookup(key, &mut warnings) {
            Answer::Found(value) => {
                assert!(warnings.is_empty());
                // With question marks for what is not UTF-8.
                let longest = value.split('?').max_by_key(|part| part.len()).unwrap();
                let place = |text: &[u8]| take.0.windows(text.len()).any(|part| part == text);
                assert!(longest.is_empty() || place(longest.as_bytes()), "{value:?}");
            }
            Answer::NotFound => assert!(warnings.is_empty()),
            Answer::Failed | Answer::Asked(_) => assert_eq!(warnings.len(), 1),
        }
        let short = key.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut again = Vec::new();
        assert_eq!(table.lookup(short, &mut again), table.lookup(key, &mut warnings));
    }
}
