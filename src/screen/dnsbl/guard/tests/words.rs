//! What is said, how often, and in which mode.

use super::*;

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
