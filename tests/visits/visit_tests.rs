//! Tests: visits: what is said and heard.

use crate::visit::*;

const TEASER: &[u8] = b"220-mx.example.test ESMTP\r\n";
const BANNER: &[u8] = b"220 mx.example.test ESMTP\r\n";

/// What is said to each piece, and what has become of the visit.
fn visit(kind: Kind, pieces: &[&[u8]], end: End) -> (Vec<String>, Result) {
    let mut visit = Visit::new(kind, 0);
    let mut said = Vec::new();
    for piece in pieces {
        let text = visit.hear(piece).say.unwrap_or_default();
        said.push(String::from_utf8(text.to_vec()).unwrap().trim_end().to_owned());
    }
    (said, visit.end(end))
}

#[test]
fn kinds_have_names() {
    for (name, kind) in NAMES {
        assert_eq!((Kind::named(name), kind.name()), (Some(kind), name));
    }
    assert_eq!(Kind::named("other"), None);
}

#[test]
fn the_first_byte_and_the_banner_are_told_once() {
    let mut visit = Visit::new(Kind::New, 0);
    let first = Heard { first: true, ..Heard::default() };
    assert_eq!(visit.hear(b""), Heard::default());
    assert_eq!(visit.hear(b"2"), first);
    assert_eq!(visit.hear(b"20-mx\r\n220"), Heard::default());
    assert_eq!(visit.hear(b" m"), Heard::default());
    let banner = Heard { banner: true, say: Some(QUIT), first: false };
    assert_eq!(visit.hear(b"x\r\n"), banner);
    assert_eq!(visit.hear(b"221 2.0.0 Bye\r\n"), Heard::default());
    assert_eq!(visit.end(End::Closed), Result::Finished(220));
}

#[test]
fn a_visit_is_over_when_the_farewell_was_heard() {
    let bye: &[u8] = b"221 2.0.0 Bye\r\n";
    for kind in [Kind::Known, Kind::New] {
        for (pieces, result) in [
            (&[][..], Result::Lost(End::Closed)),
            (&[TEASER], Result::Lost(End::Closed)),
            (&[TEASER, BANNER], Result::Lost(End::Closed)),
            (&[TEASER, BANNER, bye], Result::Finished(220)),
            (&[b"521 5.5.1 Protocol error\r\n"], Result::Finished(521)),
            (&[b"521 5.5.1 Protocol error"], Result::Lost(End::Closed)),
            (&[TEASER, b"450 4.3.2 Later\r\n"], Result::Finished(450)),
        ] {
            assert_eq!(visit(kind, pieces, End::Closed).1, result, "{kind:?} {pieces:?}");
        }
    }
    for end in [End::Refused, End::Timeout] {
        assert_eq!(visit(Kind::New, &[TEASER, BANNER, bye], end).1, Result::Lost(end));
    }
    assert_eq!(visit(Kind::Known, &[BANNER, bye], End::Reset).1, Result::Finished(220));
}

#[test]
fn a_pregreeter_speaks_at_the_teaser() {
    let drop: &[u8] = b"521 5.5.1 Protocol error\r\n";
    let (said, result) = visit(Kind::Pregreet, &[b"2", b"20-mx\r\n", drop], End::Reset);
    assert_eq!((said, result), (strings(["EHLO early", "", ""]), Result::Finished(521)));
    // Turned down before that, and let in.
    let (said, result) = visit(Kind::Pregreet, &[drop], End::Closed);
    assert_eq!((said, result), (strings([""]), Result::Finished(521)));
    let (said, result) = visit(Kind::Pregreet, &[TEASER, BANNER, b"250 ok\r\n"], End::Closed);
    assert_eq!((said, result), (strings(["EHLO early", "QUIT", ""]), Result::Finished(220)));
}

#[test]
fn an_early_talker_speaks_when_told_unless_it_is_let_in() {
    let mut early = Visit::new(Kind::Early, 0);
    assert_eq!(early.hear(TEASER).say, None);
    assert_eq!(early.speak(), Some(EARLY));
    assert_eq!(early.speak(), None);
    early.hear(b"521 5.5.1 Protocol error\r\n");
    assert_eq!(early.end(End::Closed), Result::Finished(521));
    let mut early = Visit::new(Kind::Early, 0);
    assert_eq!(early.hear(BANNER).say, Some(QUIT));
    assert_eq!(early.speak(), None);
}

#[test]
fn a_visit_at_the_engine() {
    let ehlo: &[u8] = b"250-mx.example.test\r\n250-SIZE\r\n250 ENHANCEDSTATUSCODES\r\n";
    let mail: &[u8] = b"250 2.1.0 Ok\r\n";
    let rcpt: &[u8] = b"450 4.3.2 Service currently unavailable\r\n";
    let pieces = [TEASER, BANNER, ehlo, mail, rcpt, b"221 2.0.0 Bye\r\n"];
    let (said, result) = visit(Kind::Engine, &pieces, End::Closed);
    let verbs: Vec<&str> = said.iter().map(|line| line.get(..4).unwrap_or("")).collect();
    assert_eq!(verbs, ["", "EHLO", "MAIL", "RCPT", "QUIT", ""]);
    assert_eq!(result, Result::Finished(450));
    let pieces = [BANNER, ehlo, b"421 4.3.0 Goodbye\r\n"];
    assert_eq!(visit(Kind::Engine, &pieces, End::Closed).1, Result::Finished(421));
}

#[test]
fn who_stays_has_been_greeted_and_not_turned_down() {
    let mut held = Visit::new(Kind::Hold, 0);
    assert!(!held.stays());
    held.hear(TEASER);
    assert!(held.stays());
    assert_eq!(held.end(End::Released), Result::Finished(220));
    assert_eq!(held.end(End::Closed), Result::Lost(End::Closed));
    assert_eq!(held.hear(BANNER).say, None);
    assert!(held.stays());
    let mut held = Visit::new(Kind::Hold, 0);
    held.hear(b"421 4.3.2 All server ports are busy\r\n");
    assert!(!held.stays());
    assert_eq!(held.end(End::Closed), Result::Finished(421));
}

#[test]
fn who_drips_says_a_byte_at_a_time_from_the_banner_on() {
    let mut visit = Visit::new(Kind::Drip, 0);
    assert_eq!(visit.hear(TEASER).say, None);
    assert_eq!(visit.dawdles(), None);
    assert!(visit.hear(BANNER).banner);
    for byte in b"NOOP and" {
        assert_eq!(visit.dawdles(), Some(Dawdling::Writes));
        assert_eq!(visit.drip(), [*byte]);
    }
    // A reply changes nothing, but for the last one.
    assert_eq!(visit.hear(b"250 2.0.0 Ok\r\n"), Heard::default());
    assert_eq!(visit.dawdles(), Some(Dawdling::Writes));
    visit.hear(b"421 4.4.2 mx.example.test Error: timeout exceeded\r\n");
    assert_eq!(visit.dawdles(), None);
    assert_eq!(visit.end(End::Closed), Result::Finished(421));
}

#[test]
fn slow_readers_read_the_banner_like_everybody() {
    let mut visit = Visit::new(Kind::Slow, 0);
    visit.hear(TEASER);
    assert_eq!(visit.dawdles(), None);
    visit.hear(BANNER);
    assert_eq!(visit.dawdles(), Some(Dawdling::Reads));
    assert_eq!(visit.end(End::Left), Result::Finished(220));
}

#[test]
fn resets_come_in_every_phase() {
    let replies = [TEASER, BANNER, b"250 a\r\n", b"250 b\r\n", b"550 c\r\n"];
    for number in 0..12 {
        let mut visit = Visit::new(Kind::Reset, number);
        let mut heard = 0;
        while !visit.resets() {
            visit.hear(replies[heard]);
            heard += 1;
        }
        assert_eq!(heard as u64, number % 6);
        let code = [0, 0, 220, 250, 250, 550][heard];
        assert_eq!(visit.end(End::Left), Result::Finished(code));
    }
    // Others never do.
    assert!(!Visit::new(Kind::New, 0).resets());
}

fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}
