//! What master(8) gives a service: a command line and an environment, read a second time in the
//! order of the words, and the same whether letters are clustered or not.
//!
//! Input: words, each up to a NUL, then behind a byte 255 the values of the environment, likewise.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use gatepost::postfix::maillog::{Config, Destination};
use gatepost::postfix::master::{Environment, Options, Transport};

use super::take::Take;

const NAMES: [&str; 7] = [
    "GENERATION",
    "MAIL_CONFIG",
    "MAIL_LOGTAG",
    "MAIL_VERBOSE",
    "MAIL_DEBUG",
    "POSTLOG_SERVICE",
    "POSTLOG_HOSTNAME",
];
const WITH_ARGUMENT: &[u8] = b"imnorst";
const WITHOUT: &[u8] = b"cdDluvVz";

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let line = take.until(0xff);
    let words: Vec<Vec<u8>> = line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let parse = |words: &[Vec<u8>]| {
        Options::parse(words.iter().map(|word| OsString::from_vec(word.clone())))
    };
    let whole = parse(&words);
    // One letter a word, arguments in words of their own.
    let plain = apart(&words);
    if let Some((plain, _)) = &plain {
        assert_eq!(parse(plain), whole, "apart: {plain:?}");
    }
    match &whole {
        Ok(options) => {
            let (_, letters) = plain.as_ref().expect("an unknown letter is accepted");
            assert_eq!(
                letters.iter().filter(|letter| **letter == b'v').count().min(255),
                usize::from(options.verbose)
            );
            for (letter, on) in [
                (b'l', options.alone),
                (b'z', options.unlimited),
                (b'u', options.unprivileged),
                (b'c', options.chroot),
                (b'd', options.debug),
                (b'D', options.debugger),
                (b'V', options.stderr),
            ] {
                assert_eq!(letters.contains(&letter), on, "{}", letter.escape_ascii());
            }
            assert!(letters.contains(&b't'), "no transport, and not missed");
            assert!(
                options.transport != Transport::Unix || line.windows(4).any(|it| it == b"unix")
            );
            let overrides = letters.iter().filter(|letter| b"imo".contains(letter)).count();
            assert_eq!(options.overrides.len(), overrides);
            assert_eq!(options.listeners().count(), usize::from(options.sockets));
            assert!(options.sockets > 0);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    environment(take.0);
}

/// The words with one option each, and the letters; `None` if one of them is unknown or lacks its
/// argument.
fn apart(words: &[Vec<u8>]) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
    let (first, mut rest) = words.split_first()?;
    let (mut plain, mut letters) = (vec![first.clone()], Vec::new());
    while let Some((word, after)) = rest.split_first() {
        if word == b"--" || word == b"-" || word.first() != Some(&b'-') {
            plain.extend_from_slice(rest);
            break;
        }
        rest = after;
        let mut cluster = &word[1..];
        while let Some((letter, more)) = cluster.split_first() {
            cluster = more;
            letters.push(*letter);
            plain.push(vec![b'-', *letter]);
            if WITH_ARGUMENT.contains(letter) {
                if cluster.is_empty() {
                    let (argument, after) = rest.split_first()?;
                    plain.push(argument.clone());
                    rest = after;
                } else {
                    plain.push(std::mem::take(&mut cluster).to_vec());
                }
            } else if !WITHOUT.contains(letter) {
                return None;
            }
        }
    }
    Some((plain, letters))
}

fn environment(text: &[u8]) {
    let values = text.split(|byte| *byte == 0).map(|value| OsString::from_vec(value.to_vec()));
    let values: HashMap<&str, OsString> = NAMES.into_iter().zip(values).collect();
    let read = Environment::from_lookup(|name| values.get(name).cloned());
    let generation = values.get("GENERATION").map(|value| {
        let text = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        u32::from_str_radix(text, 8).ok()
    });
    let log = Config::from_environment(|name| values.get(name).cloned());
    let service = values.get("POSTLOG_SERVICE").map(PathBuf::from);
    match (log.destination, service) {
        (Destination::Syslog, None) => {}
        (Destination::Postlog(path), Some(service)) => assert_eq!(path, service),
        (destination, _) => panic!("{destination:?}"),
    }
    match (read, generation) {
        (Err(_), Some(None)) => {}
        (Ok(read), None) => assert_eq!(read.generation, 0),
        (Ok(read), Some(Some(number))) => {
            assert_eq!(read.generation, number);
            assert_eq!(read.config_directory.is_some(), values.contains_key("MAIL_CONFIG"));
            assert_eq!(read.verbose, values.contains_key("MAIL_VERBOSE"));
        }
        (read, generation) => panic!("{read:?}, though the generation is {generation:?}"),
    }
}
