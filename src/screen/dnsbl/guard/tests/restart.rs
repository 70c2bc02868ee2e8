//! What outlives a process, and clocks that jump.

use super::*;

#[test]
fn a_broken_zone_stays_aside_in_the_next_process() {
    let mut bench = Bench::new(
        Mode::Enforce,
        "a.test b.test c.test d.test",
        1,
        &[Zone::Everything, Zone::Dead, Zone::Code(255), Zone::Good],
    );
    bench.clients(22, MINUTE);
    assert_eq!(bench.texts().len(), 3);
    bench.zones = vec![Zone::Good; 4];
    bench.restart();
    assert!((0..3).all(|list| bench.is_aside(list)));
    // Until its test points are fine, and they are asked at once.
    bench.run(1);
    assert!((0..4).all(|list| !bench.is_aside(list)));
    bench.expect(&[
        "dnsbl zone a.test is asked again",
        "dnsbl zone b.test is asked again",
        "dnsbl zone c.test is asked again",
    ]);
}

#[test]
fn restarts_bring_no_second_warning() {
    let mut bench = Bench::pair(Zone::Everything, Zone::Good);
    for _ in 0..30 {
        bench.run(HOUR);
        bench.restart();
        assert!(bench.is_aside(0));
    }
    let since = "since 2026-11-22 16:40:00 UTC";
    let texts = bench.texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("!dnsbl zone a.test is put aside") && texts[0].ends_with(since));
    assert!(texts[1].starts_with("!dnsbl zone a.test is still put") && texts[1].ends_with(since));
    // Nor does a zone that is fine in between.
    bench.zones[0] = Zone::Good;
    bench.run(HOUR);
    bench.restart();
    bench.zones[0] = Zone::Everything;
    bench.run(HOUR);
    bench.expect(&["dnsbl zone a.test is asked again", "dnsbl zone a.test is put aside again"]);
}

#[test]
fn a_warning_waits_for_a_look_that_may_make_it_needless() {
    let mut bench = Bench::pair(Zone::Everything, Zone::Good);
    bench.run(HOUR);
    bench.texts();
    bench.zones[0] = Zone::Good;
    bench.now.mono += Duration::from_secs(2 * DAY);
    bench.now.wall.0 += 2 * DAY;
    bench.restart();
    bench.run(HOUR);
    bench.expect(&["dnsbl zone a.test is asked again"]);

    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.resolver_works = false;
    bench.clients(20, MINUTE);
    bench.texts();
    bench.resolver_works = true;
    bench.now.mono += Duration::from_secs(2 * DAY);
    bench.now.wall.0 += 2 * DAY;
    bench.restart();
    bench.run(HOUR);
    bench.expect(&["dnsbl zones answer again"]);
}

#[test]
fn an_outage_survives_a_restart() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.resolver_works = false;
    bench.clients(20, MINUTE);
    bench.expect(&["!dnsbl zones do not answer"]);
    bench.restart();
    bench.clients(20, MINUTE);
    bench.expect(&[]);
    bench.run(DAY);
    bench.expect(&["!dnsbl zones do not answer"]);
    bench.restart();
    bench.resolver_works = true;
    bench.run(1);
    bench.expect(&["dnsbl zones answer again, there was no answer since 2026-11-22 16:40:10 UTC"]);
}

#[test]
fn a_service_that_is_idle_most_of_the_time_finds_a_dead_zone() {
    for (a, b, name) in [(Zone::Good, Zone::Dead, "b.test"), (Zone::Dead, Zone::Good, "a.test")] {
        let mut bench = Bench::pair(a, b);
        for _ in 0..3 {
            bench.client();
            bench.run(2 * MINUTE);
            bench.now.mono += Duration::from_secs(10 * MINUTE);
            bench.now.wall.0 += 10 * MINUTE;
            bench.restart();
        }
        assert_eq!((bench.is_aside(0), bench.is_aside(1)), (a == Zone::Dead, b == Zone::Dead));
        bench.expect(&[&format!("!dnsbl zone {name} is put aside: it does not answer, since ")]);
    }
}

#[test]
fn what_was_silent_long_ago_has_a_new_chance() {
    for (days, aside) in [(0, true), (2, false)] {
        let mut bench = Bench::pair(Zone::Good, Zone::Dead);
        bench.clients(2, MINUTE);
        let span = 20 * MINUTE + days * DAY;
        bench.now.mono += Duration::from_secs(span);
        bench.now.wall.0 += span;
        bench.restart();
        bench.run(2 * MINUTE);
        assert_eq!(bench.is_aside(1), aside);
        bench.clients(10, MINUTE);
        assert!(bench.is_aside(1));
    }
}

#[test]
fn test_points_that_fail_are_not_stored_alone() {
    let mut bench = Bench::pair(Zone::Good, Zone::DeadPoints);
    for _ in 0..3 {
        bench.run(20 * MINUTE);
        bench.restart();
    }
    assert!(!bench.is_aside(1));
    assert_eq!(bench.stores, 0);
}

#[test]
fn lone_failures_are_not_stored() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    for _ in 0..20 {
        bench.zones[1] = Zone::Dead;
        bench.client();
        bench.zones[1] = Zone::Good;
        bench.run(MINUTE);
        bench.client();
        bench.run(MINUTE);
    }
    assert_eq!(bench.stores, 0);
}

#[test]
fn what_is_done_changes_with_the_mode() {
    let mut bench = Bench::new(Mode::Warn, "a.test b.test", 1, &[Zone::Everything, Zone::Good]);
    bench.run(HOUR);
    bench.expect(&["!dnsbl zone a.test would be put aside"]);
    bench.restart_as(Mode::Enforce);
    assert!(bench.is_aside(0));
    bench.run(HOUR);
    bench.expect(&["!dnsbl zone a.test is still put aside"]);
    bench.restart_as(Mode::Off);
    assert!(!bench.is_aside(0));
    bench.run(HOUR);
    bench.expect(&[]);
    bench.restart_as(Mode::Enforce);
    assert!(bench.is_aside(0));
    bench.run(HOUR);
    bench.expect(&[]);
}

#[test]
fn clocks_that_jump() {
    // Back: the day is a day all the same.
    let mut bench = Bench::pair(Zone::Everything, Zone::Good);
    bench.run(HOUR);
    bench.now.wall = UnixTime(5);
    bench.run(DAY);
    bench.expect(&[
        "!dnsbl zone a.test is put aside",
        "!dnsbl zone a.test is still put aside: it lists everything (127.0.0.1 as 127.0.0.2), \
         since 2026-11-22",
    ]);
    // What an earlier process has stored is in the future: as if it were said now.
    let mut bench = Bench::pair(Zone::Everything, Zone::Good);
    bench.run(HOUR);
    bench.texts();
    bench.now.wall = UnixTime(START.0 - DAY);
    bench.restart();
    assert!(bench.is_aside(0));
    bench.run(DAY - 1);
    bench.expect(&[]);
    bench.run(2);
    bench.expect(&[
        "!dnsbl zone a.test is still put aside: it lists everything (127.0.0.1 as 127.0.0.2), \
         since 2026-11-21 16:40:00 UTC",
    ]);
    // Also for a process that does not live for a day.
    bench.now.wall = UnixTime(START.0 - 100 * DAY);
    for _ in 0..3 {
        bench.restart();
        bench.run(9 * HOUR);
    }
    bench.expect(&["!dnsbl zone a.test is still put aside"]);
    // Forward: no flood.
    bench.now.wall = UnixTime(START.0 + 1000 * DAY);
    bench.run(DAY - 4 * HOUR);
    bench.expect(&[]);
}
