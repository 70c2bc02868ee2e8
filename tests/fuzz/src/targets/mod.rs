//! What is fuzzed: functions that take any bytes, and panic when a law is broken.
//!
//! They know nothing of libFuzzer, so that `tests/fuzz_corpus.rs` can run them too.

// What a test holds in its hands it may grip; to panic is how it fails.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod address_list;
mod attr;
mod build_defaults;
mod cache_file;
mod cache_import;
mod cache_place;
mod cache_record;
mod cdb;
mod cidr;
mod commands;
mod control;
mod dns_answer;
mod dnsbl_sites;
mod expand;
mod gatepost_cf;
mod guard_saved;
mod hostname;
mod inline;
mod log_record;
mod logical_lines;
mod main_cf;
mod master_options;
mod mynetworks;
mod pcre;
mod proxy_header;
mod regexp;
mod resolv_conf;
mod scratch;
mod screen_tables;
mod screener;
mod smtp_address;
mod smtp_line;
mod smtp_session;
mod snapshot;
mod sqlite_cf;
mod table_servers;
mod tables;
mod take;
mod texthash;
mod tlsproxy;

/// One function to fuzz. Its corpus is `tests/fuzz/corpus/NAME`.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub check: fn(&[u8]),
}

/// All of them.
pub const ALL: [Target; 38] = [
    Target { name: "address_list", check: address_list::check },
    Target { name: "attr", check: attr::check },
    Target { name: "build_defaults", check: build_defaults::check },
    Target { name: "cache_file", check: cache_file::check },
    Target { name: "cache_import", check: cache_import::check },
    Target { name: "cache_place", check: cache_place::check },
    Target { name: "cache_record", check: cache_record::check },
    Target { name: "cdb", check: cdb::check },
    Target { name: "cidr", check: cidr::check },
    Target { name: "commands", check: commands::check },
    Target { name: "control", check: control::check },
    Target { name: "dns_answer", check: dns_answer::check },
    Target { name: "dnsbl_sites", check: dnsbl_sites::check },
    Target { name: "expand", check: expand::check },
    Target { name: "gatepost_cf", check: gatepost_cf::check },
    Target { name: "guard_saved", check: guard_saved::check },
    Target { name: "hostname", check: hostname::check },
    Target { name: "inline", check: inline::check },
    Target { name: "log_record", check: log_record::check },
    Target { name: "logical_lines", check: logical_lines::check },
    Target { name: "main_cf", check: main_cf::check },
    Target { name: "master_options", check: master_options::check },
    Target { name: "mynetworks", check: mynetworks::check },
    Target { name: "pcre", check: pcre::check },
    Target { name: "proxy_header", check: proxy_header::check },
    Target { name: "regexp", check: regexp::check },
    Target { name: "resolv_conf", check: resolv_conf::check },
    Target { name: "screen_tables", check: screen_tables::check },
    Target { name: "screener", check: screener::check },
    Target { name: "smtp_address", check: smtp_address::check },
    Target { name: "smtp_line", check: smtp_line::check },
    Target { name: "smtp_session", check: smtp_session::check },
    Target { name: "snapshot", check: snapshot::check },
    Target { name: "sqlite_cf", check: sqlite_cf::check },
    Target { name: "table_servers", check: table_servers::check },
    Target { name: "tables", check: tables::check },
    Target { name: "texthash", check: texthash::check },
    Target { name: "tlsproxy", check: tlsproxy::check },
];
