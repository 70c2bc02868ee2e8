//! main.cf's postscreen_forbidden_commands and postscreen_command_filter: what clients say
//! does not get into messages as it is, and letter case makes no difference.
//!
//! Input: one line for each parameter, the text of the one file that there is, `/f`, 0xff,
//! and what a client says.

use std::path::Path;

use gatepost::postfix::message::Message;
use gatepost::postfix::screen_tables::{ScreenTableSettings, ScreenTables};

use super::regexp::is_harmless;
use super::tables::OneFile;
use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let mut line = || String::from_utf8_lossy(take.until(b'\n')).into_owned();
    let (forbidden_commands, filter) = (line(), line());
    let files = OneFile(take.until(0xff));
    let said = take.0;
    if said.contains(&b'\n') || said.contains(&0) || !is_harmless(data) {
        return;
    }
    for smtputf8 in [false, true] {
        let settings = ScreenTableSettings {
            forbidden_commands: forbidden_commands.clone(),
            command_filter: Some(filter.clone()).filter(|table| !table.is_empty()),
            smtputf8,
            ..ScreenTableSettings::default()
        };
        let Ok((mut tables, _)) = ScreenTables::open(&settings, &files) else { continue };
        let written = [forbidden_commands.as_bytes(), filter.as_bytes(), files.0].concat();
        // In a list's file, a brace that is left open makes the end of the line part of an item.
        let is_text = |byte: &u8| *byte == b'\n' || !byte.is_ascii_control();
        let clean = written.iter().all(is_text) && !files.0.contains(&b'{');
        let before = answers(&tables, said, clean);
        if !data.windows(8).any(|part| part == b"randmap:") {
            let _ = tables.reload(Path::new("/f"), files.0);
            assert_eq!(answers(&tables, said, false), before, "the same file once more");
        }
    }
}

fn answers(tables: &ScreenTables, said: &[u8], clean: bool) -> String {
    let word = said.split(|byte| *byte == b' ').next().unwrap_or_default();
    let mut messages = Vec::new();
    let forbidden = tables.alone().forbidden(word, &mut messages);
    for other in [word.to_ascii_uppercase(), word.to_ascii_lowercase()] {
        let same = tables.alone().forbidden(&other, &mut messages) == forbidden;
        assert!(same || !clean, "letter case counts in {:?}", word.escape_ascii());
    }
    let filtered = tables.alone().command_filter(said, &mut messages);
    for Message { text, .. } in &messages {
        assert!(!clean || !text.bytes().any(|byte| byte.is_ascii_control()), "{text:?}");
    }
    format!("{forbidden:?} {filtered:?}")
}
