//! What makes a zone broken, and what makes it whole again.

use super::*;

#[test]
fn good_zones_are_looked_at_at_once_and_every_hour() {
    let zones = [Zone::Good, Zone::Busy, Zone::Good, Zone::Good];
    let mut bench = Bench::new(Mode::Enforce, "a.test b.test c.test d.test*-2", 1, &zones);
    assert_eq!(bench.guard.next_due(), Some(bench.now.mono));
    bench.run(2);
    assert!((0..4).all(|list| bench.rounds(list) == 1));
    bench.run(DAY - 2);
    let asked = std::mem::take(&mut bench.asked);
    for list in 0..4 {
        let times: Vec<u64> =
            asked.iter().filter(|(_, asked)| asked.list.0 == list).map(|(at, _)| *at).collect();
        assert!((23..=25).contains(&(times.len() / 4)), "{times:?}");
        // Not all at the same time of the hour.
        assert!(times.iter().all(|at| at % HOUR / (15 * MINUTE) == u64::from(list)), "{times:?}");
    }
    assert_eq!(bench.texts(), [""; 0]);
    assert_eq!(bench.stores, 0);
}

#[test]
fn the_four_test_points() {
    let mut bench = Bench::new(Mode::Enforce, "a.test", 1, &[Zone::Good]);
    bench.run(1);
    let asked: Vec<IpAddr> = bench.asked.iter().map(|(_, question)| question.address).collect();
    let expected = ["127.0.0.1", "127.0.0.2", "::ffff:7f00:1", "::ffff:7f00:2"];
    assert_eq!(asked, expected.map(|text| text.parse::<IpAddr>().unwrap()));
}

#[test]
fn a_zone_that_lists_everything_is_put_aside_until_it_does_not() {
    for (zone, point) in [(Zone::Everything, "127.0.0.1"), (Zone::Everything6, "::ffff:127.0.0.1")]
    {
        let mut bench = Bench::pair(zone, Zone::Good);
        bench.run(1);
        assert!(bench.is_aside(0) && !bench.is_aside(1));
        assert_eq!(
            bench.texts(),
            [format!(
                "!dnsbl zone a.test is put aside: it lists everything ({point} as 127.0.0.2), \
                 since 2026-11-22 16:40:00 UTC"
            )]
        );
        bench.rounds(0);
        bench.run(HOUR);
        assert_eq!(bench.rounds(0), 6);
        bench.zones[0] = Zone::Good;
        bench.run(10 * MINUTE);
        assert!(!bench.is_aside(0));
        assert_eq!(
            bench.texts(),
            ["dnsbl zone a.test is asked again: broken since 2026-11-22 16:40:00 UTC, but now \
              its test points are right"]
        );
    }
}

#[test]
fn a_zone_that_listed_all_of_ipv6_has_to_answer_for_it() {
    let mut bench = Bench::pair(Zone::Everything6, Zone::Good);
    bench.run(1);
    bench.zones[0] = Zone::Private;
    bench.run(HOUR);
    assert!(bench.is_aside(0));
    bench.zones[0] = Zone::Good;
    bench.run(10 * MINUTE);
    assert!(!bench.is_aside(0));
}

#[test]
fn listings_that_no_entry_counts_are_no_reason() {
    let mut bench =
        Bench::new(Mode::Enforce, "a.test=127.0.0.3 b.test", 1, &[Zone::Everything, Zone::Good]);
    bench.run(DAY);
    assert!(!bench.is_aside(0));
    bench.expect(&[]);
}

#[test]
fn a_zone_that_begins_to_list_everybody_is_noticed_by_its_clients() {
    let mut bench = Bench::pair(Zone::Busy, Zone::Good);
    bench.run(10 * MINUTE);
    bench.zones[0] = Zone::Everything;
    bench.clients(9, 1);
    assert!(!bench.is_aside(0));
    bench.clients(1, 1);
    assert!(bench.is_aside(0));
}

#[test]
fn clients_that_are_listed_rightly_cost_a_round_a_minute_at_most() {
    let mut bench = Bench::pair(Zone::Busy, Zone::Good);
    bench.run(2 * MINUTE);
    bench.rounds(0);
    bench.clients(600, 1);
    assert!((9..=11).contains(&bench.rounds(0)));
    // Slow clients: four questions for ten of theirs.
    bench.clients(60, 20);
    assert!((5..=7).contains(&bench.rounds(0)));
    bench.expect(&[]);
}

#[test]
fn a_client_that_is_not_listed_shows_that_not_all_are() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.run(2 * MINUTE);
    bench.rounds(0);
    for number in 0..60 {
        bench.zones[0] = if number % 8 == 0 { Zone::Good } else { Zone::Busy };
        bench.clients(1, 1);
    }
    assert_eq!(bench.rounds(0), 0);
}

#[test]
fn error_codes_are_confirmed_by_a_round() {
    let mut bench = Bench::pair(Zone::Good, Zone::Good);
    bench.run(10 * MINUTE);
    bench.rounds(0);
    // One odd answer makes one round, and that is all.
    bench.zones[0] = Zone::CodeForClients(255);
    bench.client();
    bench.run(1);
    assert_eq!(bench.rounds(0), 1);
    bench.zones[0] = Zone::Good;
    bench.run(20 * MINUTE);
    assert_eq!(bench.rounds(0), 0);
    // However often there is one, while the test points are right.
    bench.zones[0] = Zone::CodeForClients(255);
    bench.clients(600, 1);
    assert!((9..=11).contains(&bench.rounds(0)));
    assert!(!bench.is_aside(0));
    bench.expect(&[]);
    // When the round shows them too, that is the proof.
    bench.run(2 * MINUTE);
    bench.zones[0] = Zone::Code(255);
    bench.client();
    bench.run(1);
    assert!(bench.is_aside(0));
    bench.expect(&[
        "!dnsbl zone a.test is put aside: it answers with the error code 127.255.255.255 (it was \
         asked too often), since ",
    ]);
}

#[test]
fn a_lone_error_code_in_a_round_is_confirmed_by_another() {
    let mut bench = Bench::pair(Zone::CodeOnce, Zone::Good);
    bench.run(59);
    assert!(!bench.is_aside(0));
    bench.run(2);
    assert!(bench.is_aside(0));
    bench.expect(&["!dnsbl zone a.test is put aside: it answers with the error code"]);

    let mut bench = Bench::pair(Zone::CodeOnce, Zone::Good);
    bench.run(59);
    bench.zones[0] = Zone::Good;
    bench.run(2);
    assert_eq!(bench.rounds(0), 2);
    bench.run(10 * MINUTE);
    assert_eq!(bench.rounds(0), 0);
    bench.expect(&[]);
}

#[test]
fn a_zone_that_only_refuses_is_put_aside_at_the_start() {
    let mut bench = Bench::pair(Zone::Good, Zone::Code(254));
    bench.run(1);
    assert!(bench.is_aside(1) && !bench.is_aside(0));
    bench
        .expect(&["!dnsbl zone b.test is put aside: it answers with the error code 127.255.255.2"]);
}

#[test]
fn error_codes_that_main_cf_names_are_listings() {
    let zones = [Zone::CodeForClients(254), Zone::Good];
    let sites = "a.test a.test=127.255.255.254*3 b.test";
    let mut bench = Bench::new(Mode::Enforce, sites, 1, &zones);
    bench.run(10 * MINUTE);
    bench.rounds(0);
    bench.clients(9, 1);
    assert_eq!(bench.rounds(0), 0);
    // As listings they may be too many.
    bench.zones[0] = Zone::Code(254);
    bench.run(HOUR);
    bench.expect(&["!dnsbl zone a.test is put aside: it lists everything (127.0.0.1 as 127.255."]);
}
