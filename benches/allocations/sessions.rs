//! What the core keeps of a client that waits.

use gatepost::event::timers::{Key, Timers};
use gatepost::screen::dnsbl::answer::{Answer, ListId, Question};
use gatepost::screen::dnsbl::lists::Lists;
use gatepost::screen::dnsbl::site::parse_sites;
use gatepost::screen::event::{Input, Output};
use gatepost::screen::policy::Policy;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::Test;

use crate::count::{self, heading, slope};
use crate::stage::Stage;
use crate::stock;

const SITES: &str = "one.bl.test two.bl.test three.bl.test*2";

/// The deadline of a session.
#[derive(Clone, Copy)]
struct Waiting(SessionId);

impl Key for Waiting {
    fn index(self) -> usize {
        self.0.slot as usize
    }
}

pub fn tell() {
    heading("By client that waits, in the core:");
    let mut stage = Stage::new(stock::policy());
    slope("without DNS blocklists", |count| {
        (0..count).for_each(|_| {
            stage.connect();
        });
    });
    let mut stage = Stage::new(with_lists());
    slope("three that have not answered", |count| {
        (0..count).for_each(|_| {
            stage.connect();
        });
    });
    let mut stage = Stage::new(with_lists());
    slope("three that have answered", |count| {
        (0..count).for_each(|_| {
            answered(&mut stage);
        });
    });
    let mut timers: Timers<Waiting> = Timers::default();
    let start = std::time::Instant::now();
    let mut number = 0;
    slope("its deadline, in the loop", |count| {
        for _ in 0..count {
            number += 1;
            timers.set(Waiting(SessionId { slot: number, generation: 1 }), start);
        }
    });

    heading("By visit, in the core:");
    let mut stage = Stage::new(stock::policy());
    visits("through the greet wait", &mut stage, Stage::connect);
    let mut stage = Stage::new(with_lists());
    visits("with three lists", &mut stage, answered);
}

fn with_lists() -> Policy {
    let mut policy = stock::policy();
    policy.enabled = policy.enabled.with(Test::Dnsbl);
    policy.dnsbl.lists = Lists::new(&parse_sites(SITES).unwrap());
    policy
}

fn answered(stage: &mut Stage) -> SessionId {
    let session = stage.connect();
    let asked = stage.out.iter().rev().find_map(|output| match output {
        Output::AskList(question) => Some(*question),
        _ => None,
    });
    let Some(last) = asked else { panic!("nothing was asked: {:?}", stage.out) };
    for list in 0..=last.list.0 {
        let question = Question { list: ListId(list), ..last };
        let answer = Answer::NotListed { ttl: Some(300) };
        stage.feed(Input::ListAnswer { question, answer: &answer });
    }
    session
}

fn visits(what: &str, stage: &mut Stage, mut come: impl FnMut(&mut Stage) -> SessionId) {
    let mut visit = |stage: &mut Stage| {
        let session = come(stage);
        stage.wait(std::time::Duration::from_secs(6));
        stage.deadline(session);
        stage.taken(session);
    };
    (0..1000).for_each(|_| visit(stage));
    let before = count::Point::now();
    (0..1000).for_each(|_| visit(stage));
    count::tell(what, before, count::Point::now(), 1000);
}
