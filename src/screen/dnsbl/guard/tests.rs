use std::net::IpAddr;

use super::bench::{Bench, DAY, HOUR, MINUTE, START, Zone};
use super::health::State;
use super::notice::{Effect, Notice, Reach, Why};
use super::saved::{Memory, Saved, Trouble};
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

#[test]
fn a_missing_test_point_is_said_once() {
    let mut bench = Bench::pair(Zone::Private, Zone::Good);
    bench.run(2 * DAY);
    assert!(!bench.is_aside(0));
    bench.expect(&["dnsbl zone a.test does not list the test point 127.0.0.2"]);
    bench.restart();
    bench.run(2 * DAY);
    bench.expect(&[]);
    // It came, and went.
    bench.zones[0] = Zone::Good;
    bench.run(2 * HOUR);
    bench.zones[0] = Zone::Private;
    bench.run(2 * HOUR);
    bench.expect(&["dnsbl zone a.test does not list the test point 127.0.0.2"]);
    // And again, the same day.
    bench.zones[0] = Zone::Good;
    bench.run(2 * HOUR);
    bench.zones[0] = Zone::Private;
    bench.run(DAY);
    bench.expect(&[]);
}

#[test]
fn servers_that_fail_for_ipv6_are_left_alone() {
    let mut bench = Bench::pair(Zone::Private, Zone::Private);
    bench.run(3 * HOUR);
    bench.expect(&["dnsbl zone a.test does not list", "dnsbl zone b.test does not list"]);
    assert!(bench.rounds(0) <= 4);
}

#[test]
fn lists_of_good_clients_are_guarded_too() {
    let mut bench =
        Bench::new(Mode::Enforce, "a.test b.test*-3", 1, &[Zone::Good, Zone::Everything]);
    bench.run(1);
    assert!(bench.is_aside(1));
    bench.expect(&["!dnsbl zone b.test is put aside"]);
}

#[test]
fn a_warning_a_day_while_it_lasts() {
    let mut bench = Bench::pair(Zone::Everything, Zone::Good);
    bench.run(3 * DAY + HOUR);
    let still = "!dnsbl zone a.test is still put aside: it lists everything";
    bench.expect(&["!dnsbl zone a.test is put aside", still, still, still]);
}

#[test]
fn a_zone_that_comes_and_goes_is_a_warning_a_day() {
    let mut bench = Bench::pair(Zone::Everything, Zone::Good);
    bench.run(HOUR);
    bench.zones[0] = Zone::Good;
    bench.run(2 * HOUR);
    bench.zones[0] = Zone::Everything;
    bench.run(2 * HOUR);
    assert!(bench.is_aside(0));
    bench.expect(&[
        "!dnsbl zone a.test is put aside:",
        "dnsbl zone a.test is asked again",
        "dnsbl zone a.test is put aside again:",
    ]);
    bench.run(DAY - 5 * HOUR + 1);
    bench.expect(&["!dnsbl zone a.test is still put aside:"]);
}

#[test]
fn what_is_wrong_may_change() {
    let mut bench = Bench::pair(Zone::Everything, Zone::Good);
    bench.run(HOUR);
    bench.zones[0] = Zone::Code(252);
    bench.run(DAY);
    bench.expect(&[
        "!dnsbl zone a.test is put aside: it lists everything",
        "!dnsbl zone a.test is still put aside: it answers with the error code 127.255.255.252 \
         (its name is mistyped), since 2026-11-22 16:40:00 UTC",
    ]);
    // And if it does not answer any more, that is no excuse.
    bench.zones[0] = Zone::Dead;
    bench.run(HOUR);
    assert!(bench.is_aside(0));
}

#[test]
fn whether_the_threshold_can_be_reached() {
    let reach = |sites: &str, threshold: i32, zones: &[Zone]| {
        let mut bench = Bench::new(Mode::Enforce, sites, threshold, zones);
        bench.run(1);
        let reaches = bench.said.iter().map(|(_, notice)| match notice {
            Notice::PutAside(case) => case.reach,
            _ => panic!("{notice:?}"),
        });
        reaches.collect::<Vec<Reach>>()
    };
    let (bad, good) = (Zone::Everything, Zone::Good);
    let short = |highest, threshold| Reach::Short { highest, threshold };
    assert_eq!(reach("a.test*3 b.test*2", 2, &[bad, good]), [Reach::Enough]);
    assert_eq!(reach("a.test*3 b.test*2", 3, &[bad, good]), [short(2, 3)]);
    assert_eq!(reach("a.test*3 b.test*2", 6, &[bad, good]), [Reach::Enough]);
    assert_eq!(reach("a.test b.test=127.0.0.2*2 b.test*1", 3, &[bad, good]), [Reach::Enough]);
    assert_eq!(reach("a.test*3 b.test*2 c.test*-9", 2, &[bad, good, bad]), [Reach::Enough; 2]);
    let max = i32::MAX;
    let sites = format!("a.test*1 b.test*{max} c.test*{max}");
    assert_eq!(reach(&sites, max, &[bad, bad, good]), [Reach::Enough; 2]);
    assert_eq!(reach("a.test*3 b.test*2", 2, &[bad, bad]), [Reach::Enough, short(0, 2)]);
}

#[test]
fn warn_only_warns() {
    let zones = [Zone::Everything, Zone::Good, Zone::Code(254), Zone::Dead];
    let mut bench = Bench::new(Mode::Warn, "a.test*2 b.test c.test d.test", 4, &zones);
    bench.clients(20, MINUTE);
    assert!((0..4).all(|list| !bench.is_aside(list)));
    assert_eq!(
        bench.texts(),
        [
            "!dnsbl zone a.test would be put aside: it lists everything (127.0.0.1 as \
             127.0.0.2), since 2026-11-22 16:40:00 UTC; without it postscreen_dnsbl_threshold = \
             4 could not be reached: the zones that are left come to 3 at most",
            "!dnsbl zone c.test would be put aside: it answers with the error code \
             127.255.255.254 (it was asked through a public resolver), since 2026-11-22 \
             16:40:00 UTC; without it postscreen_dnsbl_threshold = 4 could not be reached: the \
             zones that are left come to 2 at most",
            "!dnsbl zone d.test would be put aside: it does not answer, since 2026-11-22 \
             16:40:10 UTC; without it postscreen_dnsbl_threshold = 4 could not be reached: the \
             zones that are left come to 1 at most",
        ]
    );
    bench.zones = vec![Zone::Good; 4];
    bench.run(10 * MINUTE + 1);
    let mut texts = bench.texts();
    texts.sort();
    let back = |text: &String| text.contains(" is fine again: broken since 2026-11-22 16:40:");
    assert!(texts.len() == 3 && texts.iter().all(back), "{texts:?}");
}

#[test]
fn off_is_off() {
    let zones = [Zone::Everything, Zone::Code(254), Zone::Dead];
    let mut bench = Bench::new(Mode::Off, "a.test b.test c.test", 1, &zones);
    assert_eq!(bench.guard.next_due(), None);
    bench.clients(60, MINUTE);
    let mut orders = Vec::new();
    bench.guard.due(bench.now, &mut orders);
    let point = Question { asker: Asker::TestPoint, address: POINTS[0], list: ListId(0) };
    bench.guard.point_answered(point, &Zone::listed(2), bench.now, &mut orders);
    assert_eq!(orders, []);
    assert_eq!((bench.asked.len(), bench.said.len(), bench.stores), (0, 0, 0));
    assert!((0..3).all(|list| !bench.is_aside(list)));
    let states: Vec<State> = bench.guard.health().map(|health| health.state).collect();
    assert_eq!(states, [State::Answering, State::Answering, State::Failing]);
}

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
