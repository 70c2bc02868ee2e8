//! Dependencies point down only, and some things have one place: the rules of
//! `ARCHITECTURE.md`, checked against the source text.
//!
//! Code under `#[cfg(test)]` may import what it likes; `unsafe` is refused there too.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; clippy exempts only functions marked as tests"
)]

#[path = "layering/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, Token};

/// The rooms and their ranks: a file may use its own room and rooms of a lower rank.
/// The longest name that fits a module counts. A new module must be given a rank here.
const ROOMS: &[(u8, &str)] = &[
    (0, "screen"),
    // What everybody above the core may use.
    (1, "sys"),
    (1, "postfix::message"),
    (2, "postfix::local"),
    // The process itself: signals, limits, identity.
    (2, "process"),
    (2, "privileges"),
    // Postfix's formats, which build on each other: one room.
    (2, FORMATS),
    // What owns a channel, a file or a descriptor, and the configuration.
    (3, "event"),
    (3, "dns"),
    (3, "cache"),
    (3, "config"),
    (3, "control"),
    (3, "postfix::master"),
    (3, "postfix::pass"),
    (3, "postfix::tlsproxy"),
    (3, "postfix::remote"),
    (3, "postfix::maillog"),
    (4, "daemon"),
    (5, "supervisor"),
    (5, "admin"),
    (6, "main"),
];

/// The room that holds all of Postfix's formats.
const FORMATS: &str = "formats";

/// The modules in the room [`FORMATS`].
const FORMAT_MODULES: &[&str] = &[
    "postfix::main_cf",
    "postfix::params",
    "postfix::attr",
    "postfix::lists",
    "postfix::map_list",
    "postfix::access_list",
    "postfix::address_list",
    "postfix::command_list",
    "postfix::match_list",
    "postfix::mynetworks",
    "postfix::logical_lines",
    "postfix::proxy_lists",
    "postfix::screen_tables",
    "postfix::table",
];

/// Files that only declare modules.
const FRONT_DOORS: &[&str] = &["lib.rs", "postfix/mod.rs"];

/// Crates that are for some rooms, or for single modules, only.
const CRATES: &[(&str, &[&str])] = &[
    ("rusqlite", &["cache", "postfix::table::sqlite"]),
    ("pcre2_sys", &["sys"]),
    ("mio", &["event", "dns", "daemon"]),
    ("hickory_resolver", &["dns"]),
    ("hashbrown", &["dns"]),
    ("heed", &["sys"]),
    ("caps", &["privileges"]),
    ("landlock", &["privileges"]),
    ("seccompiler", &["privileges"]),
];

/// The only crates besides the standard library that the core may use: none of them does more
/// than to compute.
const CORE_CRATES: &[&str] = &["thiserror", "idna"];

/// What the core may not use of the standard library: descriptors, clocks, files, ...
const NOT_IN_CORE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
];

/// What reads the network, and what the supervisor, which keeps its rights, has no use for.
const NOT_IN_SUPERVISOR: &[&str] = &[
    "mio",
    "crate::event",
    "crate::dns::resolver",
    "crate::dns::tcp",
    "crate::dns::transport",
    "crate::dns::udp",
    "crate::postfix::pass",
    "nix::sys::socket::accept",
    "nix::sys::socket::accept4",
    "nix::sys::socket::connect",
    "nix::sys::socket::recv",
    "nix::sys::socket::recvfrom",
    "nix::sys::socket::recvmsg",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::unix::net::UnixDatagram",
    "std::os::unix::net::UnixStream",
];

#[test]
fn the_supervisor_reads_no_network() {
    let mut wrong = Vec::new();
    let sources = sources();
    let supervisor = sources.iter().filter(|source| source.name.starts_with("supervisor/"));
    let supervisor: Vec<&Source> = supervisor.collect();
    assert!(supervisor.len() > 3);
    for source in supervisor {
        for path in source.paths() {
            let text = path.join("::");
            let is_in = |name: &&str| text == **name || text.starts_with(&format!("{name}::"));
            if NOT_IN_SUPERVISOR.iter().any(is_in) {
                wrong.push(format!("{}: {text}", source.name));
            }
        }
        // Listeners are only passed on.
        for call in ["accept", "incoming"] {
            if source.says(call) {
                wrong.push(format!("{}: {call}", source.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn dependencies_point_down() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((rank, room)) = place(&source, &mut wrong) else { continue };
        for path in source.paths() {
            let Some(used) = source.resolve(&path) else { continue };
            match room_of(&used) {
                Some((_, other)) if other == room => {}
                Some((other_rank, _)) if other_rank < rank => {}
                Some((_, other)) => wrong.push(format!(
                    "{}: {room} must not use {other} ({})",
                    source.name,
                    used.join("::")
                )),
                None => wrong.push(format!(
                    "{}: {} is in no room; give it a rank in tests/layering.rs",
                    source.name,
                    used.join("::")
                )),
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    let dependencies = dependencies();
    for source in sources().iter().filter(|source| source.module.first().is_some_and(is_core)) {
        for path in source.paths() {
            let text = path.join("::");
            let first = path.first().map_or("", String::as_str);
            let foreign =
                dependencies.iter().any(|name| name == first) && !CORE_CRATES.contains(&first);
            let impure = NOT_IN_CORE
                .iter()
                .any(|name| text == *name || text.starts_with(&format!("{name}::")));
            let clock = text.ends_with("Instant::now") || text.ends_with("SystemTime::now");
            if foreign || impure || clock {
                wrong.push(format!("{}: {text}", source.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((_, room)) = place(&source, &mut Vec::new()) else { continue };
        for path in source.paths() {
            let allowed = CRATES.iter().find(|(name, _)| path.first().is_some_and(|p| p == name));
            if let Some((name, rooms)) = allowed
                && !rooms.contains(&room)
                && !rooms.contains(&source.module.join("::").as_str())
            {
                wrong.push(format!("{}: {name} is for {}", source.name, rooms.join(", ")));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn unsafe_is_only_in_sys() {
    let wrong: Vec<String> = all_sources()
        .iter()
        .filter(|source| !is_sys(&source.name) && source.says("unsafe"))
        .map(|source| format!("{}: unsafe", source.name))
        .collect();
    assert_none(&wrong);
}

/// Keys of hash tables are what clients choose: each process has a seed of its own, so that nobody
/// can choose keys that are all in one place.
#[test]
fn hash_tables_have_random_seeds() {
    let fixed = ["BuildHasherDefault", "FxHashMap", "FxHashSet", "FxBuildHasher", "DefaultHasher"];
    let mut wrong = Vec::new();
    for source in sources() {
        let named = fixed.iter().filter(|name| source.says(name));
        wrong.extend(named.map(|name| format!("{}: {name}", source.name)));
    }
    assert!(sources().iter().any(|source| source.says("RandomState")), "nothing was read");
    assert_none(&wrong);
}

#[test]
fn reply_texts_are_only_in_reply() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.name != "screen/reply.rs") {
        for text in source.strings().filter(|text| looks_like_a_reply(text)) {
            wrong.push(format!("{}: {text:?}", source.name));
        }
    }
    assert_none(&wrong);
}

/// An SMTP reply: a code from 200 to 599, then a space or hyphen.
fn looks_like_a_reply(text: &str) -> bool {
    match text.as_bytes() {
        [first, second, third, separator, ..] => {
            (b'2'..=b'5').contains(first)
                && second.is_ascii_digit()
                && third.is_ascii_digit()
                && matches!(separator, b' ' | b'-')
        }
        _ => false,
    }
}

fn is_sys(name: &str) -> bool {
    name == "sys.rs" || name.starts_with("sys/")
}

fn is_core(room: &String) -> bool {
    room == "screen"
}

/// The rank and room of a file; a file without is wrong, unless it is a front door.
fn place(source: &Source, wrong: &mut Vec<String>) -> Option<(u8, &'static str)> {
    if FRONT_DOORS.contains(&source.name.as_str()) {
        return None;
    }
    let found = room_of(&source.module);
    if found.is_none() {
        wrong.push(format!("{}: give it a rank in tests/layering.rs", source.name));
    }
    found
}

fn room_of(module: &[String]) -> Option<(u8, &'static str)> {
    let module = module.join("::");
    let is_in = |name: &str| module == name || module.starts_with(&format!("{name}::"));
    let wanted = FORMAT_MODULES.iter().find(|name| is_in(name)).map(|_| FORMATS);
    ROOMS
        .iter()
        .filter(|(_, name)| is_in(name) || wanted == Some(*name))
        .max_by_key(|(_, name)| name.len())
        .copied()
}

/// The names of the dependencies in Cargo.toml, as paths spell them.
fn dependencies() -> Vec<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let names: Vec<String> = text
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect();
    assert!(names.iter().any(|name| name == "thiserror"), "Cargo.toml was not understood");
    names
}

/// All files below `src`, test code removed; files that are all test code are left out, and so
/// are their submodules.
fn sources() -> Vec<Source> {
    let all = all_sources();
    let tests: Vec<PathBuf> = all.iter().flat_map(Source::test_files).collect();
    let is_test = |path: &Path| {
        tests.iter().any(|test| path == test || path.starts_with(test.with_extension("")))
    };
    all.into_iter().filter(|source| !is_test(&source.path)).map(Source::without_tests).collect()
}

fn all_sources() -> Vec<Source> {
    let directory = root().join("src");
    let mut files = Vec::new();
    collect(&directory, &mut files);
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|path| Source::read(&directory, path)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The reader of source text, on text of which the answer is known.
mod reader {
    use super::{Source, Token, looks_like_a_reply};
    use std::path::Path;

    const TEXT: &str = r##"
//! use crate::cache::InAComment;
use crate::{screen::{event::Input, reply}, sys as system};
use super::attr::{self, Reader};
/* use crate::a; /* nested */ use crate::b; */
pub(crate) fn f<'a>(x: &'a str) -> char { libc::read(0); crate::event::conn::<u8>::new(); '"' }
const S: &str = r#"450 "quoted" crate::not_a_path"#;
const E: &str = "\" crate::not_a_path";
#[cfg(test)]
#[path = "other_tests.rs"]
mod tests;
#[cfg(test)]
mod more { use crate::daemon; fn g() { unsafe { "220 test" } } }
#[cfg(not(test))]
use crate::kept;
"##;

    fn source() -> Source {
        Source::parse(Path::new("/src"), Path::new("/src/postfix/pass.rs"), TEXT)
    }

    #[test]
    fn finds_paths() {
        let source = source().without_tests();
        let resolved: Vec<String> = source
            .paths()
            .iter()
            .filter_map(|path| source.resolve(path))
            .map(|path| path.join("::"))
            .collect();
        assert_eq!(
            resolved,
            [
                "screen::event::Input",
                "screen::reply",
                "sys",
                "postfix::attr",
                "postfix::attr::Reader",
                "event::conn",
                "kept"
            ]
        );
        assert!(source.paths().contains(&vec!["libc".to_owned(), "read".to_owned()]));
    }

    #[test]
    fn leaves_test_code_out() {
        assert!(source().says("unsafe"));
        let tested: Vec<_> = source().test_files();
        assert!(tested.contains(&Path::new("/src/postfix/other_tests.rs").to_path_buf()));
        let source = source().without_tests();
        assert!(!source.says("unsafe"));
        assert_eq!(source.strings().filter(|text| looks_like_a_reply(text)).count(), 1);
    }

    #[test]
    fn tells_literals_from_code() {
        let tokens = source::tokens("b'x' 'y' 'life \"a\\\"b\" b\"c\" r\"d\\\" 0x1f_u8 // e");
        let strings: Vec<&Token> =
            tokens.iter().filter(|token| matches!(token, Token::Text(_))).collect();
        assert_eq!(strings.len(), 3);
        assert_eq!(tokens.len(), 4);
    }

    use super::source;
}
