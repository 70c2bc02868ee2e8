//! All lists and tables that judge addresses, as one thing, with those for the PROXY protocol: a
//! list that cannot be used trusts nobody and is no reason not to start; the same file once more
//! changes nothing.
//!
//! Input: how old Postfix is; one line each for the networks and the interfaces of the PROXY
//! protocol, the keywords, the footers, and the names of DNS blocklists; then the text of the one
//! file that there is, `/f`.

use std::net::IpAddr;
use std::path::Path;

use gatepost::postfix::lists::Vintage;
use gatepost::postfix::proxy_lists::{ListText, ProxyListSettings};
use gatepost::postfix::screen_tables::{ScreenTableSettings, ScreenTables};
use gatepost::screen::event::{Spoken, Trust};

use super::regexp::is_harmless;
use super::tables::OneFile;
use super::take::Take;

const ADDRESSES: [&str; 5] = ["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1", "::ffff:192.0.2.1"];
const REPLY: &str = "550 5.3.2 Service currently unavailable";

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let vintage = take.pick(&[Vintage::UpTo37, Vintage::Since38, Vintage::Since311]);
    let mut line = || String::from_utf8_lossy(take.until(b'\n')).into_owned();
    let list = |text: String| match text.as_str() {
        "unset" => ListText::Unset,
        "unusable" => ListText::Unusable,
        _ => ListText::Text(text),
    };
    let proxies = ProxyListSettings { networks: list(line()), interfaces: list(line()) };
    let others = ScreenTableSettings {
        discard_ehlo_keyword_address_maps: line(),
        reject_footer_maps: line(),
        dnsbl_reply_map: Some(line()).filter(|map| !map.is_empty()),
        vintage,
        ..ScreenTableSettings::default()
    };
    let files = OneFile(take.0);
    if !is_harmless(data) || data.windows(6).any(|word| word == b"dbpath") {
        return;
    }
    let settings = ScreenTableSettings { proxy_lists: proxies.clone(), ..others.clone() };
    let starts = ScreenTables::open(&others, &files).is_ok();
    let opened = ScreenTables::open(&settings, &files);
    assert_eq!(opened.is_ok(), starts, "mail stops because of gatepost.cf");
    let Ok((mut tables, _)) = opened else { return };
    let random = data.windows(8).any(|part| part == b"randmap:");
    let before = answers(&tables, &proxies);
    if tables.watched().iter().any(|path| path == Path::new("/f")) {
        let _ = tables.reload(Path::new("/f"), files.0);
        assert!(random || answers(&tables, &proxies) == before, "the same file once more");
    }
    for path in tables.watched() {
        let _ = tables.reload(&path, b"!127.0.0.1 /f\ncidr:/f !\n1.2.3.4/ x\n");
        answers(&tables, &proxies);
    }
}

fn answers(tables: &ScreenTables, proxies: &ProxyListSettings) -> Vec<String> {
    let ask = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        let mut messages = Vec::new();
        let spoken = tables.proxy_spoken(address, &mut messages);
        let trust = tables.proxy_trusted(address, &mut messages);
        match proxies.networks {
            ListText::Unset => assert_eq!(trust, Trust::Anybody),
            ListText::Unusable => assert_eq!(trust, Trust::Stranger),
            ListText::Text(_) => assert_ne!(trust, Trust::Anybody, "a list that trusts everybody"),
        }
        match proxies.interfaces {
            ListText::Unset => assert_eq!(spoken, Spoken::Yes),
            ListText::Unusable => assert_eq!(spoken, Spoken::Unknown),
            ListText::Text(_) => {}
        }
        let everybody = trust == Trust::Anybody && spoken == Spoken::Yes;
        assert_eq!(tables.believes_everybody(address), everybody);
        let view = tables.alone();
        let keywords = view.discarded_keywords(address, &mut messages);
        assert!(messages.len() < 1000, "{} messages", messages.len());
        format!("{spoken:?} {trust:?} {keywords:?}")
    };
    let mut messages = Vec::new();
    let footer = tables.alone().footer(REPLY, &mut messages);
    let name = tables.alone().dnsbl_name("a.test", &mut messages);
    let rest = format!("{footer:?} {name:?}");
    ADDRESSES.into_iter().map(ask).chain([rest]).collect()
}
