//! The core on arbitrary inputs: to sessions that are there, have gone, or never were; answers
//! that nobody asked for; deadlines that are not due; tables that answer now, later, or otherwise
//! than before; clocks that stand still or jump. `smtp_session` is about what clients can do;
//! this is about what the rest of the process could do wrong.
//!
//! Input: digits that choose the policy ([`setting`](super::smtp_session::setting)), then whether
//! proxies speak first, then how tables answer, four times; then steps, each behind a byte 255:
//! what happens, to whom, a number, and bytes.

mod tables;
mod world;

use std::time::Duration;

use gatepost::screen::dnsbl::answer::{Asker, ListId, Question};
use gatepost::screen::event::{HandOffResult, Input, PEEK_LIMIT, TlsNews, TlsTrouble};
use gatepost::screen::test_set::UnixTime;

use super::smtp_session::answer;
use super::smtp_session::setting::{self, address};
use super::smtp_session::world::START;
use super::take::Take;
use world::World;

const STEP: u8 = 0xff;

/// Bounds for what one input may cost.
const MOST_STEPS: usize = 200;

pub fn check(data: &[u8]) {
    let mut pieces = data.split(|byte| *byte == STEP);
    let mut take = Take(pieces.next().unwrap_or_default());
    let drawn = setting::draw(&mut take);
    let mut world = World::new(drawn, &mut take);
    for piece in pieces.take(MOST_STEPS) {
        let mut take = Take(piece);
        step(&mut world, &mut take);
    }
    world.finish();
}

fn step(world: &mut World, take: &mut Take<'_>) {
    const MUCH: [u64; 10] = [0, 10, 1_000, 2_000, 6_000, 10_000, 60_000, 300_000, 90_000_000, 1];
    const WALLS: [u64; 10] = [
        START.0,
        0,
        1,
        2,
        START.0 - 86_400,
        START.0 + 86_400,
        START.0 + 40 * 86_400,
        i64::MAX as u64,
        u64::MAX,
        u32::MAX as u64,
    ];
    let (what, whom, number) = (take.number(), take.number(), take.number());
    let session = world.whom(whom);
    let data = take.0;
    match what % 16 {
        0 => world.connects(whom, number),
        1 if !data.is_empty() => world.feed(Input::Received { session, data }),
        2 if !data.is_empty() => {
            let data = &data[..data.len().min(PEEK_LIMIT)];
            world.feed(Input::Peeked { session, data });
        }
        3 => world.feed(Input::Deadline { session }),
        4 => world.feed(Input::Closed { session }),
        5 => world.feed(Input::HandOff { session, result: result(number) }),
        6 => world.feed(Input::Tls { session, news: news(number) }),
        7 => world.feed(Input::Answered { session }),
        8 => {
            let asker = if number & 8 == 0 { Asker::Client } else { Asker::TestPoint };
            let list = ListId([0, 1, 2, 3, u16::MAX][usize::from(number) % 5]);
            let question = Question { asker, address: address(whom), list };
            world.feed(Input::ListAnswer { question, answer: &answer(take) });
        }
        9 => world.answers_what_was_asked(whom, &answer(take)),
        10 => world.feed(Input::GuardDeadline),
        11 => world.passes(Duration::from_millis(MUCH[usize::from(number) % MUCH.len()])),
        12 => world.wall = UnixTime(WALLS[usize::from(number) % WALLS.len()]),
        13 => world.unidentified(),
        14 => world.waits(),
        15 if number == 7 => world.feed(Input::Terminate),
        _ => {}
    }
}

fn result(number: u8) -> HandOffResult<'static> {
    match number % 4 {
        0 => HandOffResult::Done,
        1 => HandOffResult::Busy,
        2 => HandOffResult::NoService("No such file or directory"),
        _ => HandOffResult::NotSent("Broken pipe"),
    }
}

fn news(number: u8) -> TlsNews<'static> {
    let failed = |trouble, detail| TlsNews::Failed { trouble, detail };
    match number % 8 {
        0 => TlsNews::Asked,
        1 => TlsNews::Taken,
        2 => TlsNews::Busy,
        3 => failed(TlsTrouble::NoService("No such file or directory"), None),
        4 => failed(TlsTrouble::NoGreeting("Application error"), Some("unexpected attribute x")),
        5 => failed(TlsTrouble::NotAsked("Broken pipe"), None),
        6 => failed(TlsTrouble::NoStatus, Some("missing attribute status")),
        _ => failed(TlsTrouble::NotTaken, None),
    }
}
