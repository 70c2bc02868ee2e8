//! What is stored, strange answers, and the summary of all zones.

use super::*;

#[test]
fn what_was_stored_of_other_zones_is_passed_over() {
    let now = Now { mono: Instant::now(), wall: START };
    let trouble = Some(Trouble { why: Why::Silent, since: START, effect: Effect::Aside });
    let memory = Memory { trouble, ..Memory::default() };
    let saved = ["gone.test", "A.test"].map(|domain| Saved::Zone { domain: domain.into(), memory });
    let lists = Bench::pair(Zone::Good, Zone::Good).guard.lists;
    let mut guard = Guard::new(Mode::Enforce, lists.clone(), 1, &saved, now);
    assert!(!guard.is_aside(ListId(0)) && !guard.is_aside(ListId(1)));
    let mut orders = Vec::new();
    guard.due(now, &mut orders);
    assert!(orders.iter().all(|order| matches!(order, Order::Ask(_))), "{orders:?}");

    // An outage of which nobody was told is none.
    let saved = [Saved::Resolver { failing: Some(START), warned: None }];
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.guard = Guard::new(Mode::Enforce, lists.clone(), 1, &saved, bench.now);
    bench.run(HOUR);
    bench.expect(&[]);

    let saved = [Saved::Zone { domain: "b.test".into(), memory }];
    let guard = Guard::new(Mode::Enforce, lists, 1, &saved, now);
    assert!(!guard.is_aside(ListId(0)) && guard.is_aside(ListId(1)));
}

#[test]
fn public_names_are_used_in_texts_and_domains_in_what_is_stored() {
    let mut lists = Bench::pair(Zone::Good, Zone::Good).guard.lists;
    lists.rename(|domain| Ok::<_, ()>((domain == "a.test").then(|| "public".into()))).unwrap();
    let mut bench = Bench::pair(Zone::Everything, Zone::Good);
    bench.guard = Guard::new(Mode::Enforce, lists, 1, &[], bench.now);
    bench.run(1);
    assert_eq!(bench.guard.health().next().unwrap().zone, "public");
    bench.expect(&["!dnsbl zone public is put aside"]);
    assert_eq!(bench.stored.keys().collect::<Vec<_>>(), ["a.test"]);
}

#[test]
fn answers_that_never_come_count_as_failed() {
    let mut bench = Bench::pair(Zone::Good, Zone::Lost);
    bench.run(HOUR);
    bench.guard.observe(ListId(1), &Zone::failure(), bench.now, &mut Vec::new());
    bench.run(20 * MINUTE);
    assert!(bench.is_aside(1));
    assert!((5..=15).contains(&bench.rounds(1)));
}

#[test]
fn a_zone_that_is_being_looked_at_is_not_asked_again() {
    let zones = [Zone::Good, Zone::Dead, Zone::Lost];
    let mut bench = Bench::new(Mode::Enforce, "a.test b.test c.test", 1, &zones);
    bench.clients(20, MINUTE);
    assert!(bench.is_aside(1));
    let times = bench.asked.iter().filter(|(_, question)| question.list.0 == 2).map(|(at, _)| *at);
    let times: Vec<u64> = times.step_by(4).collect();
    assert!(times.len() > 3 && times.windows(2).all(|pair| pair[1] >= pair[0] + 120), "{times:?}");
}

#[test]
fn a_broken_zone_is_no_witness() {
    let now = Now { mono: Instant::now(), wall: START };
    let mut zone = zone::Zone::new(0, 1, now);
    zone.start_round(now);
    assert!(!zone.is_witness(now.mono));
    zone.hear(now);
    assert!(zone.is_witness(now.mono));
    zone.condemn(Why::Silent, START, Effect::Aside);
    assert!(!zone.is_witness(now.mono));
}

#[test]
fn answers_to_nobody_are_passed_over() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.run(1);
    let mut orders = Vec::new();
    let address = "192.0.2.1".parse().unwrap();
    for (asker, address, list) in [
        (Asker::TestPoint, address, ListId(0)),
        (Asker::Client, POINTS[0], ListId(0)),
        (Asker::TestPoint, POINTS[0], ListId(2)),
        (Asker::TestPoint, POINTS[0], ListId(u16::MAX)),
        // No round is going on.
        (Asker::TestPoint, POINTS[0], ListId(0)),
    ] {
        let question = Question { asker, address, list };
        bench.guard.point_answered(question, &Zone::listed(2), bench.now, &mut orders);
    }
    bench.guard.observe(ListId(2), &Zone::listed(2), bench.now, &mut orders);
    assert_eq!(orders, []);
    assert!(!bench.is_aside(2));
}

#[test]
fn health_of_all_states() {
    let zones = [Zone::Good, Zone::Everything, Zone::Good, Zone::Lost];
    let mut bench = Bench::new(Mode::Enforce, "a.test b.test c.test d.test", 1, &zones);
    bench.run(10);
    bench.zones[2] = Zone::Dead;
    bench.client();
    bench.run(15);
    let health: Vec<_> = bench
        .guard
        .health()
        .map(|health| {
            (health.zone, health.state, health.since.0 - START.0, health.answered, health.failed)
        })
        .collect();
    let why = Why::ListsEverything {
        point: "127.0.0.1".parse().unwrap(),
        answer: "127.0.0.2".parse().unwrap(),
    };
    assert_eq!(
        health,
        [
            ("a.test", State::Answering, 0, 5, 0),
            ("b.test", State::Broken(why, Effect::Aside), 0, 4, 0),
            ("c.test", State::Failing, 20, 4, 1),
            ("d.test", State::Unknown, 0, 0, 0),
        ]
    );
}

#[test]
fn saved_texts() {
    let everything = Why::ListsEverything {
        point: "::ffff:7f00:1".parse().unwrap(),
        answer: "127.0.0.9".parse().unwrap(),
    };
    let time = |seconds| Some(UnixTime(seconds));
    let zone = |memory| Saved::Zone { domain: "zen.example".into(), memory };
    let broken = |why, effect| {
        let trouble = Some(Trouble { why, since: UnixTime(7), effect });
        zone(Memory { trouble, ..Memory::default() })
    };
    for (saved, text) in [
        (zone(Memory::default()), "1 zone zen.example"),
        (
            broken(everything, Effect::Aside),
            "1 zone zen.example aside=everything,::ffff:127.0.0.1,127.0.0.9 since=7",
        ),
        (
            broken(Why::Refuses("127.255.255.254".parse().unwrap()), Effect::Told),
            "1 zone zen.example told=refuses,127.255.255.254 since=7",
        ),
        (
            zone(Memory {
                trouble: Some(Trouble {
                    why: Why::Silent,
                    since: UnixTime(u64::MAX),
                    effect: Effect::Aside,
                }),
                silent: time(3),
                warned: time(4),
                pointless: time(0),
            }),
            "1 zone zen.example aside=silent since=18446744073709551615 silent=3 warned=4 \
             pointless=0",
        ),
        (Saved::Resolver { failing: None, warned: time(9) }, "1 resolver warned=9"),
        (Saved::Resolver { failing: time(8), warned: None }, "1 resolver since=8"),
    ] {
        assert_eq!(saved.encode(), text);
        assert_eq!(Saved::decode(text), Some(saved), "{text}");
    }
    let newer = "1 zone zen.example colour=blue warned=4";
    assert!(
        matches!(Saved::decode(newer), Some(Saved::Zone { memory, .. }) if memory.warned == time(4))
    );
}

#[test]
fn garbage_decodes_to_nothing() {
    for text in [
        "",
        " ",
        "1",
        "1 zone",
        "1 zone ",
        "1 zone  warned=1",
        "1 zone -bad.test",
        "1 zone zen..example",
        "2 zone zen.example",
        "1 list zen.example",
        "1 zone zen.example x",
        "1 zone zen.example warned=",
        "1 zone zen.example warned=+1",
        "1 zone zen.example warned=-1",
        "1 zone zen.example warned=18446744073709551616",
        "1 zone zen.example aside=silent",
        "1 zone zen.example aside=silent,1 since=1",
        "1 zone zen.example aside=everything,127.0.0.1 since=1",
        "1 zone zen.example aside=everything,127.0.0.1,::1 since=1",
        "1 zone zen.example aside=refuses since=1",
        "1 zone zen.example aside=tired since=1",
        "1 zone zen.example silent=1,",
        "1 zone zen.example warned=1 ",
        "1 zone zen.example\nwarned=1",
        "1 resolver since=x",
        "\u{0}\u{ffff}",
    ] {
        assert_eq!(Saved::decode(text), None, "{text:?}");
    }
}

#[test]
fn modes_have_names() {
    assert_eq!(Mode::parse("enforce"), Some(Mode::Enforce));
    assert_eq!(Mode::parse("warn"), Some(Mode::Warn));
    assert_eq!(Mode::parse("off"), Some(Mode::Off));
    assert_eq!(Mode::parse("on"), None);
    assert_eq!(Mode::parse("Warn"), None);
}
