//! What tlsproxy(8) says before it takes a client: pieces make no difference, nothing is kept
//! without end, and who says something wrong is told so in a line.

use gatepost::postfix::tlsproxy::{Exchange, Failure, Step};

/// How much may come before it is enough.
const MOST: usize = 4096;

pub fn check(data: &[u8]) {
    let mut exchange = Exchange::new();
    let mut rest = data;
    for wanted in [Step::Ask, Step::Pass] {
        // The end of one answer, if there is one: byte by byte.
        let mut probe = clone(&exchange);
        let end = rest.iter().position(|byte| probe.received(&[*byte]) != Ok(Step::Wait));
        let Some(end) = end else {
            assert!(rest.len() < MOST, "{} bytes and no end", rest.len());
            say(&ended(&exchange, rest));
            return;
        };
        let (answer, behind) = rest.split_at(end + 1);
        let mut halves = clone(&exchange);
        let whole = exchange.received(answer);
        let (first, second) = answer.split_at(answer.len() / 2);
        let mut in_halves = Ok(Step::Wait);
        for half in [first, second].into_iter().filter(|half| !half.is_empty()) {
            in_halves = halves.received(half);
        }
        assert_eq!(in_halves, whole, "in halves");
        match whole {
            Ok(step) => assert_eq!(step, wanted),
            Err(failure) => return say(&failure),
        }
        rest = behind;
    }
}

/// A second one in the same place.
fn clone(exchange: &Exchange) -> Exchange {
    let mut other = Exchange::new();
    if exchange.was_greeted() {
        assert_eq!(other.received(b"protocol\0tlsproxy_protocol\0\0"), Ok(Step::Ask));
    }
    other
}

fn ended(exchange: &Exchange, rest: &[u8]) -> Failure {
    let mut exchange = clone(exchange);
    if !rest.is_empty() {
        assert_eq!(exchange.received(rest), Ok(Step::Wait));
    }
    exchange.closed()
}

fn say(failure: &Failure) {
    let text = match failure {
        Failure::Gone | Failure::Status(None) => return,
        Failure::Greeting(flaw) | Failure::Status(Some(flaw)) => flaw.text("private/tlsproxy"),
    };
    assert!(!text.is_empty() && text.len() < 600, "{text}");
}
