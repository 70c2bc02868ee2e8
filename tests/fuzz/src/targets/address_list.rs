//! main.cf's mynetworks, postscreen_access_list and postscreen_allowlist_interfaces, with the
//! tables and files they name.
//!
//! Input: one line for each of the three, then the text of the one file that there is, `/f`.

use std::net::IpAddr;
use std::path::Path;

use gatepost::postfix::screen_tables::{ScreenTableSettings, ScreenTables};

use super::regexp::is_harmless;
use super::tables::OneFile;
use super::take::Take;

const ADDRESSES: [&str; 6] =
    ["127.0.0.1", "192.0.2.1", "255.255.255.255", "::1", "2001:db8::1", "::ffff:192.0.2.1"];

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let mut line = || String::from_utf8_lossy(take.until(b'\n')).into_owned();
    let settings = ScreenTableSettings {
        mynetworks: line(),
        access_list: line(),
        allowlist_interfaces: line(),
        ..ScreenTableSettings::default()
    };
    let files = OneFile(take.0);
    if !is_harmless(data) {
        return;
    }
    let random = data.windows(8).any(|part| part == b"randmap:");
    let mut tables = match ScreenTables::open(&settings, &files) {
        Ok((tables, _)) => tables,
        Err(messages) => {
            assert!(!messages.is_empty(), "refused without a word");
            let strict = ScreenTableSettings { table_errors_are_fatal: true, ..settings };
            assert!(ScreenTables::open(&strict, &files).is_err());
            return;
        }
    };
    let before = answers(&tables);
    for path in tables.watched() {
        if path == Path::new("/f") {
            let _ = tables.reload(&path, files.0);
            assert!(random || answers(&tables) == before, "the same file once more");
        }
    }
    for path in tables.watched() {
        let _ = tables.reload(&path, b"!127.0.0.1 /f\ncidr:/f !\n1.2.3.4/ x\n");
        answers(&tables);
    }
}

fn answers(tables: &ScreenTables) -> Vec<String> {
    let ask = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        let mut messages = Vec::new();
        let access = tables.alone().access(address, &mut messages);
        let allowed = tables.alone().interface_allowed(address, &mut messages);
        assert!(messages.len() < 1000, "{} messages", messages.len());
        format!("{access:?} {allowed:?}")
    };
    ADDRESSES.into_iter().map(ask).collect()
}
