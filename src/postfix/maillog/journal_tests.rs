//! Tests: the journal.

use std::time::Duration;

use super::super::sink::tests::{SocketPath, next_record};
use super::*;

fn config(path: &Path) -> Config {
    Config {
        syslog_name: "postfix/mx25".into(),
        facility: Facility::LOG_MAIL,
        destination: Destination::Postlog(path.to_owned()),
        hostname: "mx.example.com".into(),
        verbose: 0,
        utf8: Utf8Filter::AsciiOnly,
    }
}

fn at(start: Instant, seconds: u64) -> Moment {
    Moment { wall: UnixTime(1000 + seconds), mono: start + Duration::from_secs(seconds) }
}

/// What comes after the stamp, which depends on the time zone.
fn next_text(service: &std::os::unix::net::UnixDatagram) -> Option<String> {
    next_record(service).map(|record| record[16..].to_owned())
}

#[test]
fn records_carry_name_and_pid() {
    let path = SocketPath::new("ident");
    let service = path.bind();
    let start = Instant::now();
    let mut journal = Journal::new();
    journal.configure(config(&path.0), at(start, 0));
    journal.write(at(start, 0), Program::Postscreen, Level::Info, b"x");
    journal.write(at(start, 0), Program::Dnsblog, Level::Warning, b"y");
    let pid = std::process::id();
    assert_eq!(next_text(&service), Some(format!("mx postfix/mx25/postscreen[{pid}]: x")));
    assert_eq!(next_text(&service), Some(format!("mx postfix/mx25/dnsblog[{pid}]: warning: y")));
}

#[test]
fn what_is_logged_while_the_service_is_away_waits_for_it() {
    let path = SocketPath::new("away");
    let start = Instant::now();
    let mut journal = Journal::new();
    journal.configure(config(&path.0), at(start, 0));
    for second in [0, 1, 2] {
        journal.write(at(start, second), Program::Dnsblog, Level::Info, b"x");
    }
    assert_eq!((journal.waiting.len(), journal.lost), (3, 0));
    let backlog = journal.end_turn(at(start, 3)).unwrap();
    assert!(backlog.away, "nobody has been told");
    let service = path.bind();
    assert_eq!(journal.end_turn(at(start, 4)), None);
    let pid = std::process::id();
    for _ in 0..3 {
        assert_eq!(next_text(&service), Some(format!("mx postfix/mx25/dnsblog[{pid}]: x")));
    }
    assert_eq!(next_record(&service), None);
}

#[test]
fn lost_records_are_counted_and_told() {
    let path = SocketPath::new("lost");
    let start = Instant::now();
    let mut journal = Journal::new();
    journal.configure(config(&path.0), at(start, 0));
    for number in 0..MOST_WAITING + 3 {
        journal.write(at(start, 0), Program::Dnsblog, Level::Info, number.to_string().as_bytes());
    }
    assert_eq!((journal.waiting.len(), journal.lost), (MOST_WAITING, 3));
    assert!(start.elapsed() < Duration::from_millis(500), "nobody is there to wait for");
    let service = path.bind();
    // Without another record.
    let mut seen = Vec::new();
    while journal.end_turn(at(start, 3)).is_some() {
        seen.extend(std::iter::from_fn(|| next_text(&service)));
    }
    seen.extend(std::iter::from_fn(|| next_text(&service)));
    journal.write(at(start, 3), Program::Postscreen, Level::Info, b"again");
    seen.extend(std::iter::from_fn(|| next_text(&service)));
    let pid = std::process::id();
    let lost = "warning: 3 log records lost while the log service was away";
    let waited =
        (3..MOST_WAITING + 3).map(|number| format!("mx postfix/mx25/dnsblog[{pid}]: {number}"));
    let expected = [format!("mx postfix/mx25/postscreen[{pid}]: {lost}")].into_iter();
    let again = format!("mx postfix/mx25/postscreen[{pid}]: again");
    assert!(seen.iter().eq(expected.chain(waited).chain([again]).collect::<Vec<_>>().iter()));
}

#[test]
fn a_log_that_nobody_reads_costs_a_second_once() {
    let path = SocketPath::new("unread");
    let service = path.bind();
    let start = Instant::now();
    let mut journal = Journal::new();
    journal.configure(config(&path.0), at(start, 0));
    for _ in 0..3_000 {
        journal.write(at(start, 0), Program::Postscreen, Level::Warning, b"x");
    }
    assert!(start.elapsed() < WAIT_LIMIT * 3 / 2, "{:?}", start.elapsed());
    for _ in 0..10 {
        assert!(journal.end_turn(at(start, 0)).is_some());
        journal.write(at(start, 0), Program::Postscreen, Level::Warning, b"x");
    }
    assert!(start.elapsed() < WAIT_LIMIT * 3 / 2, "{:?}", start.elapsed());
    let (mut seen, mut lost) = (0, 0);
    loop {
        let all = journal.end_turn(at(start, 0)).is_none();
        while let Some(text) = next_text(&service) {
            match text.split_once("warning: ").map(|(_, text)| text) {
                Some("x") => seen += 1,
                report => lost += count_in(report.unwrap()),
            }
        }
        if all {
            break;
        }
    }
    assert_eq!(seen + lost, 3_010);
}

/// A service that takes a record now and then holds up a turn for a second in all, and not
/// for each record.
#[test]
fn a_log_that_crawls_costs_a_second_a_turn() {
    let path = SocketPath::new("crawls");
    let service = path.bind();
    let start = Instant::now();
    let mut journal = Journal::new();
    journal.configure(config(&path.0), at(start, 0));
    let reader = std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(300));
            next_record(&service);
        }
    });
    for turn in 1..=2 {
        for _ in 0..2_000 {
            journal.write_later(at(start, 0), Program::Postscreen, Level::Info, b"x");
        }
        journal.end_turn(at(start, 0));
        let limit = WAIT_LIMIT * turn + Duration::from_millis(500);
        assert!(start.elapsed() < limit, "{turn}: {:?}", start.elapsed());
    }
    assert!(start.elapsed() >= WAIT_LIMIT, "it was not waited at all");
    reader.join().unwrap();
}

#[test]
fn tries_again_less_and_less_often_while_nothing_goes_out() {
    let path = SocketPath::new("pauses");
    let start = Instant::now();
    let mut journal = Journal::new();
    journal.configure(config(&path.0), at(start, 0));
    journal.write_later(at(start, 0), Program::Postscreen, Level::Info, b"x");
    let mut pauses = (0..9).map(|_| journal.end_turn(at(start, 0)).unwrap().pause);
    let first = pauses.next();
    assert_eq!((first, pauses.last()), (Some(FIRST_PAUSE), Some(LONGEST_PAUSE)));
    let _service = path.bind();
    assert_eq!(journal.end_turn(at(start, 1)), None);
    assert_eq!(journal.pause, FIRST_PAUSE);
}

/// A child begins without what its parent has not sent yet.
#[test]
fn what_waits_stays_with_who_has_written_it() {
    let path = SocketPath::new("child");
    let start = Instant::now();
    let mut journal = Journal::new();
    journal.configure(config(&path.0), at(start, 0));
    journal.write_later(at(start, 0), Program::Postscreen, Level::Info, b"x");
    journal.lost = 5;
    journal.renew_pid();
    assert_eq!(journal.end_turn(at(start, 0)), None);
}

fn count_in(report: &str) -> usize {
    let (count, rest) = report.split_once(' ').unwrap();
    assert_eq!(rest, "log records lost while the log service was away");
    count.parse().unwrap()
}

#[test]
fn records_that_find_no_room_wait_in_order() {
    let path = SocketPath::new("waiting");
    let service = path.bind();
    let start = at(Instant::now(), 0);
    let mut journal = Journal::new();
    journal.configure(config(&path.0), start);
    // Far more than any kernel's queue of a socket holds.
    for number in 0..900 {
        let text = format!("{number:03}");
        journal.write_later(start, Program::Postscreen, Level::Info, text.as_bytes());
    }
    let mut seen = Vec::new();
    let mut flushes = 0;
    while journal.end_turn(start).is_some() {
        flushes += 1;
        seen.extend(std::iter::from_fn(|| next_text(&service)));
    }
    assert!(flushes > 0);
    journal.write(start, Program::Postscreen, Level::Info, b"900");
    seen.extend(std::iter::from_fn(|| next_text(&service)));
    let numbers: Vec<_> = seen.iter().map(|text| text[text.len() - 3..].to_owned()).collect();
    assert!(numbers.iter().map(|text| text.parse::<u32>().unwrap()).eq(0..=900), "{numbers:?}");
    assert_eq!(journal.lost, 0);
}

#[test]
fn no_more_records_wait_than_may() {
    let path = SocketPath::new("most-waiting");
    let start = at(Instant::now(), 0);
    let mut journal = Journal::new();
    journal.configure(config(&path.0), start);
    for _ in 0..MOST_WAITING + 10 {
        journal.write_later(start, Program::Postscreen, Level::Info, b"x");
    }
    // There is no service: what cannot wait is lost, and counted.
    assert_eq!((journal.waiting.len(), journal.lost), (MOST_WAITING, 10));
}

#[test]
fn a_new_configuration_opens_another_socket() {
    let (one, two) = (SocketPath::new("one"), SocketPath::new("two"));
    let (old, new) = (one.bind(), two.bind());
    let start = Instant::now();
    let mut journal = Journal::new();
    journal.configure(config(&one.0), at(start, 0));
    journal.configure(config(&two.0), at(start, 0));
    journal.write(at(start, 0), Program::Postscreen, Level::Info, b"x");
    assert_eq!(next_record(&old), None);
    assert!(next_record(&new).is_some());
}

#[test]
fn early_configuration_follows_the_environment() {
    let early = Config::from_environment(|name| match name {
        "POSTLOG_SERVICE" => Some("/var/spool/postfix/public/postlog".into()),
        "POSTLOG_HOSTNAME" => Some("mx.example.com".into()),
        "MAIL_LOGTAG" => Some("postfix-in".into()),
        _ => None,
    });
    assert_eq!(early.syslog_name, "postfix-in");
    assert_eq!(early.hostname, "mx.example.com");
    assert_eq!(early.verbose, 0);
    assert_eq!(
        early.destination.paths(),
        [Path::new("/var/spool/postfix/public/postlog"), Path::new("public/postlog")]
    );
    let bare = Config::from_environment(|_| None);
    assert_eq!(bare.syslog_name, "postfix");
    assert_eq!(bare.destination, Destination::Syslog);
    assert_eq!(bare.destination.paths(), [Path::new("/dev/log")]);
}

#[test]
fn facilities() {
    assert_eq!(parse_facility("mail").unwrap() as u16, 2 << 3);
    assert_eq!(parse_facility("local7").unwrap() as u16, 23 << 3);
    for bad in ["", "MAIL", "log_mail", "ntp", "security", "local8", "foo"] {
        let error = parse_facility(bad).unwrap_err();
        assert_eq!(error.to_string(), format!("unrecognized value: {bad}"));
    }
}
