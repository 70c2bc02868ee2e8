//! The whole core: a policy, some clients, and whatever they do in whatever order.
//!
//! Input: digits that choose the policy ([`setting`]), then steps. A step is one of the
//! bytes below, its digits, and what the current client says after it. None of these bytes
//! occurs in UTF-8; every other byte can be said.

mod seat;
pub mod setting;
pub mod texts;
pub mod world;

use std::time::Duration;

use gatepost::screen::dnsbl::answer::{Answer, Failure};
use gatepost::screen::event::{HandOffResult, TlsNews, TlsTrouble};

use super::take::Take;
use world::World;

/// The steps. All bytes from the first one on are steps.
const FIRST_STEP: u8 = 0xf5;
const SAYS: u8 = 0xff;
const CONNECTS: u8 = 0xfe;
const NEXT_CLIENT: u8 = 0xfd;
const PAUSE: u8 = 0xfc;
const HANGS_UP: u8 = 0xfb;
const HAND_OFF: u8 = 0xfa;
const STRAY: u8 = 0xf9;
const LIST_ANSWER: u8 = 0xf8;
const TERMINATE: u8 = 0xf7;
const UNIDENTIFIED: u8 = 0xf6;
const TLSPROXY: u8 = FIRST_STEP;

/// Bounds for what one input may cost.
const MOST_STEPS: usize = 300;

const PAUSES: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(990),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(10),
    Duration::from_secs(100),
    Duration::from_secs(300),
];

/// How far the wall clock can be set on: to where verdicts have become stale.
const JUMP: Duration = Duration::from_secs(90_000);

pub fn check(data: &[u8]) {
    let is_step = |byte: &u8| *byte >= FIRST_STEP;
    let start = data.iter().position(is_step).unwrap_or(data.len());
    let (header, mut script) = data.split_at(start);
    let mut world = World::new(setting::draw(&mut Take(header)));
    for _ in 0..MOST_STEPS {
        let Some((step, rest)) = script.split_first() else { break };
        let end = rest.iter().position(is_step).unwrap_or(rest.len());
        let (words, after) = rest.split_at(end);
        script = after;
        let mut take = Take(words);
        act(&mut world, *step, &mut take);
        world.says(take.0);
    }
    world.finish();
}

fn act(world: &mut World, step: u8, take: &mut Take<'_>) {
    match step {
        CONNECTS => world.connects(take.number(), take.number()),
        NEXT_CLIENT => world.choose(take.number()),
        PAUSE => match usize::from(take.number()) {
            9 => world.jump(JUMP),
            number => world.pause(PAUSES[number % PAUSES.len()]),
        },
        HANGS_UP => world.hangs_up(take.pick(&[false, true])),
        HAND_OFF => world.hand_off(take.pick(&[
            HandOffResult::Done,
            HandOffResult::Busy,
            HandOffResult::NoService("No such file or directory"),
            HandOffResult::NotSent("Broken pipe"),
        ])),
        STRAY => world.stray(take.number(), take.number()),
        LIST_ANSWER => {
            let which = take.number();
            world.list_answer(which, &answer(take));
        }
        TERMINATE => world.terminate(),
        UNIDENTIFIED => world.unidentified(),
        TLSPROXY => world.tlsproxy(news(take)),
        _ => debug_assert_eq!(step, SAYS),
    }
}

fn news(take: &mut Take<'_>) -> TlsNews<'static> {
    let failed = |trouble, detail| TlsNews::Failed { trouble, detail };
    take.pick(&[
        TlsNews::Asked,
        TlsNews::Taken,
        TlsNews::Busy,
        failed(TlsTrouble::NoService("No such file or directory"), None),
        failed(TlsTrouble::NoGreeting("Application error"), Some("unexpected attribute x")),
        failed(TlsTrouble::NotAsked("Broken pipe"), None),
        failed(TlsTrouble::NoStatus, Some("missing attribute status")),
        failed(TlsTrouble::NotTaken, None),
    ])
}

/// What a list may say, or that it says nothing.
pub fn answer(take: &mut Take<'_>) -> Answer {
    const TTLS: [u32; 5] = [300, 0, 1, 7200, u32::MAX];
    match take.number() % 8 {
        0 => Answer::NotListed { ttl: Some(take.pick(&TTLS)) },
        1 => Answer::NotListed { ttl: None },
        2 => Answer::Failed(Failure::TimeLimit),
        3 => Answer::Failed(Failure::ServerError),
        more => {
            let high = take.pick(&[0, 255]);
            let octets = (4..=more).map(|_| [127, high, high, take.number()].into());
            let addresses: Box<[_]> = octets.collect();
            Answer::Listed { addresses, ttl: take.pick(&TTLS) }
        }
    }
}
