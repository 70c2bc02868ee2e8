//! Zones that do not answer, and resolvers that do not.

use super::*;

#[test]
fn a_zone_that_does_not_answer_is_put_aside_after_ten_minutes() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.run(HOUR);
    bench.zones[1] = Zone::Dead;
    bench.clients(9, MINUTE);
    // The first question has failed 10 seconds after it was asked.
    bench.run(MINUTE + 9);
    assert!(!bench.is_aside(1));
    bench.run(90);
    assert!(bench.is_aside(1) && !bench.is_aside(0));
    assert_eq!(
        bench.texts(),
        ["!dnsbl zone b.test is put aside: it does not answer, since 2026-11-22 17:40:10 UTC"]
    );
    bench.rounds(0);
    bench.run(HOUR);
    // That it still does not answer is no news, and nothing to bother others with.
    assert_eq!(bench.rounds(0), 1);
    bench.zones[1] = Zone::Good;
    bench.run(10 * MINUTE);
    assert!(!bench.is_aside(1));
    bench.expect(&["dnsbl zone b.test is asked again"]);
}

#[test]
fn a_round_may_be_what_finds_it() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.run(20 * MINUTE);
    bench.zones[1] = Zone::Dead;
    // Its second round is due after 30 minutes.
    bench.run(11 * MINUTE);
    assert_eq!(bench.rounds(1), 2);
    bench.clients(9, MINUTE);
    assert!(!bench.is_aside(1));
    bench.run(100);
    assert!(bench.is_aside(1));
}

#[test]
fn questions_that_fail_elsewhere_do_not_save_it() {
    let mut bench = Bench::pair(Zone::Good, Zone::Dead);
    for _ in 0..35 {
        bench.zones[0] = Zone::Dead;
        bench.client();
        bench.zones[0] = Zone::Good;
        bench.clients(10, 2);
    }
    assert!(!bench.is_aside(0) && bench.is_aside(1));
    bench.expect(&["!dnsbl zone b.test is put aside"]);
}

#[test]
fn one_answer_in_ten_minutes_is_enough() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    for _ in 0..20 {
        bench.zones[1] = Zone::Dead;
        bench.clients(18, 30);
        bench.run(20);
        bench.zones[1] = Zone::DeadPoints;
        bench.clients(1, 1);
    }
    assert!(!bench.is_aside(1));
    bench.expect(&[]);
}

#[test]
fn test_points_alone_are_no_reason_to_call_a_zone_silent() {
    let mut bench = Bench::pair(Zone::Good, Zone::DeadPoints);
    bench.run(2 * HOUR);
    bench.clients(100, MINUTE);
    bench.run(2 * HOUR);
    assert!(!bench.is_aside(1));
    bench.expect(&[]);
    // Nor is a client.
    let mut bench = Bench::pair(Zone::Good, Zone::Dead);
    bench.run(2 * HOUR);
    assert!(!bench.is_aside(1));
    bench.client();
    bench.run(6 * MINUTE);
    assert!(bench.is_aside(1));
}

#[test]
fn an_answer_makes_a_proof_void() {
    let after = |seconds| Now {
        mono: Instant::now() + Duration::from_secs(seconds),
        wall: UnixTime(START.0 + seconds),
    };
    let mut zone = zone::Zone::new(0, 1, after(0));
    zone.miss(after(0));
    zone.was_mute(after(5 * MINUTE).mono, after(5 * MINUTE));
    assert_eq!(zone.accused, None);
    let start = after(11 * MINUTE).mono;
    zone.was_mute(start, after(12 * MINUTE));
    assert_eq!(zone.accused, Some(start));
    zone.note(&Answer::NotListed { ttl: None }, after(12 * MINUTE));
    assert_eq!(zone.accused, None);
    zone.miss(after(13 * MINUTE));
    assert!(!zone.is_silent(after(22 * MINUTE).mono));
    assert!(zone.is_silent(after(24 * MINUTE).mono));
}

#[test]
fn a_failing_zone_is_looked_at_every_five_minutes() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.run(20 * MINUTE);
    bench.rounds(1);
    bench.zones[1] = Zone::Dead;
    bench.client();
    bench.run(11);
    assert_eq!(bench.rounds(1), 1);
    bench.run(9 * MINUTE);
    assert_eq!(bench.rounds(1), 1);
    bench.zones[1] = Zone::Good;
    bench.run(5 * MINUTE);
    assert_eq!(bench.rounds(1), 1);
    bench.run(20 * MINUTE);
    assert_eq!(bench.rounds(1), 0);
}

#[test]
fn when_all_fail_it_is_the_resolver() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.run(HOUR);
    bench.resolver_works = false;
    bench.clients(30, MINUTE);
    assert!(!bench.is_aside(0) && !bench.is_aside(1));
    assert_eq!(
        bench.texts(),
        ["!dnsbl zones do not answer, 2 of 2 since 2026-11-22 17:40:10 UTC: is the resolver out \
          of order? None is put aside for this"]
    );
    // Daily while it lasts.
    bench.run(DAY);
    bench.expect(&["!dnsbl zones do not answer, 2 of 2 since 2026-11-22 17:40:10 UTC: "]);
    bench.resolver_works = true;
    bench.run(5 * MINUTE);
    bench.expect(&["dnsbl zones answer again, there was no answer since 2026-11-22 17:40:10 UTC"]);
    bench.run(HOUR);
    // Again within the day: no warning.
    bench.resolver_works = false;
    bench.clients(30, MINUTE);
    bench.expect(&["dnsbl zones do not answer, 2 of 2 since "]);
    bench.run(DAY);
    bench.expect(&["!dnsbl zones do not answer, 2 of 2 since "]);
    assert!(!bench.is_aside(0) && !bench.is_aside(1));
}

#[test]
fn a_dead_resolver_is_noticed_without_clients() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.resolver_works = false;
    bench.run(20 * MINUTE);
    bench.expect(&["!dnsbl zones do not answer, 2 of 2 since "]);
    bench.resolver_works = true;
    bench.client();
    bench.run(MINUTE);
    bench.expect(&["dnsbl zones answer again"]);
}

#[test]
fn a_single_zone_that_fails_is_the_resolver() {
    let mut bench = Bench::new(Mode::Enforce, "a.test", 1, &[Zone::Dead]);
    bench.clients(60, MINUTE);
    assert!(!bench.is_aside(0));
    bench.expect(&["!dnsbl zones do not answer, 1 of 1 since "]);
}

#[test]
fn broken_zones_are_not_among_all() {
    let zones = [Zone::Everything, Zone::Dead, Zone::Code(254)];
    let mut bench = Bench::new(Mode::Enforce, "a.test b.test c.test", 1, &zones);
    bench.clients(60, MINUTE);
    assert!(bench.is_aside(0) && !bench.is_aside(1) && bench.is_aside(2));
    bench.expect(&[
        "!dnsbl zone a.test is put aside",
        "!dnsbl zone c.test is put aside",
        "!dnsbl zones do not answer, 1 of 1 since ",
    ]);
    // A broken zone that answers does not end it, one that is fine again does.
    bench.rounds(0);
    bench.run(HOUR);
    assert_eq!(bench.rounds(0), 6);
    bench.expect(&[]);
    bench.zones[2] = Zone::Good;
    bench.run(10 * MINUTE);
    // And then it shows that the silent one is to blame.
    assert_eq!(bench.said[0].0, bench.said[1].0);
    bench.expect(&[
        "dnsbl zone c.test is asked again",
        "dnsbl zones answer again",
        "!dnsbl zone b.test is put aside: it does not answer",
    ]);
    assert!(bench.is_aside(1));
}

#[test]
fn a_dead_zone_is_found_after_the_resolver_is_back() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.run(HOUR);
    bench.zones[1] = Zone::Dead;
    bench.clients(5, MINUTE);
    bench.resolver_works = false;
    bench.clients(30, MINUTE);
    assert!(!bench.is_aside(1));
    bench.resolver_works = true;
    bench.clients(3, MINUTE);
    assert!(bench.is_aside(1) && !bench.is_aside(0));
    bench.expect(&[
        "!dnsbl zones do not answer, 2 of 2 since ",
        "dnsbl zones answer again",
        "!dnsbl zone b.test is put aside: it does not answer",
    ]);
}

#[test]
fn good_zones_survive_a_resolver_that_comes_back_amid_failures() {
    // Questions asked a moment before fail a moment after others are answered.
    for wait in 0..40 {
        let zones = [Zone::Good, Zone::Good, Zone::Good];
        let mut bench = Bench::new(Mode::Enforce, "a.test b.test c.test", 1, &zones);
        bench.resolver_works = false;
        bench.clients(60, 15);
        bench.run(wait);
        for _ in 0..5 {
            bench.client();
        }
        bench.run(2);
        bench.resolver_works = true;
        bench.clients(10, 3);
        bench.run(HOUR);
        assert!((0..3).all(|list| !bench.is_aside(list)));
        bench.expect(&["!dnsbl zones do not answer", "dnsbl zones answer again"]);
    }
}

#[test]
fn answers_from_a_cache_prove_nothing() {
    let mut bench = Bench::pair(Zone::Good, Zone::Cached);
    bench.run(HOUR);
    bench.resolver_works = false;
    bench.clients(50, MINUTE);
    assert!(!bench.is_aside(0) && !bench.is_aside(1));
    bench.expect(&[]);
    // Nor do they end an outage.
    bench.zones[1] = Zone::Good;
    bench.clients(20, MINUTE);
    bench.expect(&["!dnsbl zones do not answer"]);
    bench.zones[1] = Zone::Cached;
    bench.clients(20, MINUTE);
    bench.expect(&[]);
}
