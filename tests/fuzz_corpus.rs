//! The fuzz targets of `tests/fuzz`, without a fuzzer: each over its corpus, and over seeded
//! mutations of it.
//!
//! A failure shows the input; `GATEPOST_FUZZ_MUTATIONS` is the number of mutations.

// What a test holds in its hands it may grip; to panic is how it fails.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "simulation/rng.rs"]
#[allow(dead_code, reason = "clients need more of it than we do")]
mod rng;
#[path = "fuzz/src/targets/mod.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rng::Rng;
use targets::{ALL, Target};

const MUTATIONS: usize = 2000;

/// Targets that work on real files, and how much fewer mutations they get.
const SLOW: [(&str, usize); 2] = [("build_defaults", 4), ("cache_file", 10)];

/// No input is made longer, bytes.
const LONGEST: usize = 4096;

/// Bytes and words that formats care about.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n ",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"$",
    b"${",
    b"{",
    b"}",
    b"[",
    b"]",
    b"!",
    b"#",
    b"/",
    b":",
    b"=",
    b"\xff",
    b"\x80",
    b"4294967296",
    b"99999999999999999999",
];

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fuzz", "corpus"].iter().collect()
}

/// The files of a target's corpus, in the order of their names.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let directory = directory().join(target.name);
    let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{directory:?}: {e}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Shows the input that a target stumbles over.
struct Show<'a>(&'a str, &'a [u8]);

impl Drop for Show<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} broke a law over b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn check(target: &Target, input: &[u8]) {
    let _show = Show(target.name, input);
    (target.check)(input);
}

/// One to four small changes.
fn mutate(rng: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    for _ in 0..rng.count(1, 4) {
        let at = rng.count(0, input.len());
        let end = rng.count(at, input.len().min(at + 32));
        match rng.between(0, 7) {
            0 if at < input.len() => input[at] = rng.next().to_le_bytes()[0],
            1 if at < input.len() => input[at] ^= 1 << rng.count(0, 7),
            2 => drop(input.drain(at..end)),
            3 => drop(input.splice(at..at, input[at..end].to_vec())),
            4 => input.truncate(at),
            5 => {
                let other = &corpus[rng.count(0, corpus.len() - 1)];
                let from = rng.count(0, other.len());
                let to = rng.count(from, other.len());
                drop(input.splice(at..end, other[from..to].iter().copied()));
            }
            _ => drop(input.splice(at..at, rng.pick(&WORDS).iter().copied())),
        }
    }
    input.truncate(LONGEST);
}

fn run(name: &str) {
    let target = ALL.iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    check(target, b"");
    for input in &corpus {
        check(target, input);
    }
    let wanted = std::env::var("GATEPOST_FUZZ_MUTATIONS").ok();
    let mutations = wanted.map_or(MUTATIONS, |number| number.parse().unwrap());
    let slowness = SLOW.iter().find(|(slow, _)| *slow == name).map_or(1, |(_, slowness)| *slowness);
    let mut rng = Rng::new(1);
    for _ in 0..mutations / slowness {
        let mut input = corpus[rng.count(0, corpus.len() - 1)].clone();
        mutate(&mut rng, &mut input, &corpus);
        check(target, &input);
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        /// The targets that have a test here.
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*
    };
}

tests! {
    address_list attr build_defaults cache_file cache_import cache_place cache_record cdb cidr
    commands control dns_answer dnsbl_sites expand gatepost_cf guard_saved hostname inline
    log_record logical_lines main_cf master_options mynetworks pcre proxy_header regexp
    resolv_conf screen_tables screener smtp_address smtp_line smtp_session snapshot sqlite_cf
    table_servers tables texthash tlsproxy
}

#[test]
fn every_target_has_a_corpus_and_a_test() {
    let targets: BTreeSet<String> = ALL.iter().map(|target| target.name.to_owned()).collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    let entries = fs::read_dir(directory()).unwrap();
    let named = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(tested, targets);
    assert_eq!(named.collect::<BTreeSet<_>>(), targets);
}
