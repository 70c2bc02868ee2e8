//! What postmap(1) says is in postscreen's cache, and what it complains of: a second, simpler
//! reading of each line, and a reason for every failure.
//!
//! Input: how postmap ended, its complaints up to a NUL, then its output.

use std::net::IpAddr;

use gatepost::cache::import::{Line, parse_line};
use gatepost::cache::record;
use gatepost::postfix::table::{Index, IndexKind};
use gatepost::process::task::{End, Outcome};
use gatepost::screen::test_set::{Expiry, Test};
use gatepost::supervisor::snapshots::judge;

use super::take::Take;

pub fn check(data: &[u8]) {
    let mut take = Take(data);
    let failed = take.pick(&[false, true]);
    let complaints = String::from_utf8_lossy(take.until(0)).into_owned();
    judged(failed, complaints);
    for line in take.0.split_inclusive(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let bare = line.trim_end_matches(['\r', '\n']);
        let (key, value) = bare.split_once('\t').unwrap_or((bare, ""));
        match parse_line(&line) {
            Line::Verdict(address, verdict) => {
                let same = key.parse::<IpAddr>().map(|key| key.to_canonical());
                assert_eq!(same, Ok(address), "{line}");
                let mut fields = value.split(';');
                for test in Test::ALL {
                    let field = fields.next().unwrap_or_default();
                    let number = field
                        .trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
                        .parse::<i64>();
                    match verdict[test] {
                        Expiry::NeverPassed => assert_eq!(number, Ok(0), "{line}"),
                        Expiry::Until(end) => {
                            let end = { end.0 };
                            assert_eq!(number.map(i64::cast_unsigned), Ok(end), "{line}");
                        }
                        Expiry::Disabled => {
                            assert!(
                                number.is_err() || number.is_ok_and(|it| it < 0 || it == 1),
                                "{line}"
                            );
                        }
                    }
                }
                assert_eq!(record::parse(&record::to_text(&verdict)), verdict, "{line}");
            }
            Line::LastCleanup => {
                assert!(key.eq_ignore_ascii_case("_last_cache_cleanup_completed_"));
            }
            Line::Junk => assert!(key.parse::<IpAddr>().is_err(), "{line}"),
        }
    }
}

fn judged(failed: bool, complaints: String) {
    let output = std::fs::File::open("/dev/null").unwrap();
    let index = Index { kind: IndexKind::Hash, name: "/x".into() };
    let lines = complaints.lines().count();
    let end = if failed { End::Failure(1) } else { End::Success };
    let mut messages = Vec::new();
    let judged = judge(&index, Outcome { end, output, complaints }, &mut messages);
    assert!(messages.len() <= lines);
    assert!(messages.iter().all(|message| !message.text.contains('\n')));
    match judged {
        Ok(_) => assert!(!failed),
        Err(trouble) => {
            let reason = trouble.to_string();
            assert!(failed && !reason.contains('\n'), "{reason}");
        }
    }
}
