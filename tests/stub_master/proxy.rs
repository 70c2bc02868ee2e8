//! The PROXY protocol: headers of every kind, and clients behind them.

use std::io::Read;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::Next;
use crate::site::Site;
use crate::smtpd::Smtpd;

const ON: &str = "postscreen_upstream_proxy_protocol = haproxy\n";
const HEADER: &str = "PROXY TCP4 198.51.100.7 198.51.100.25 40001 25\r\n";
const NO_RESOURCES: &str = "421 4.3.2 No system resources";

/// The attributes of [`HEADER`].
const ATTRIBUTES: [&str; 8] = [
    "client_address",
    "198.51.100.7",
    "client_port",
    "40001",
    "server_address",
    "198.51.100.25",
    "server_port",
    "25",
];

fn site(main_cf: &str) -> Site {
    Site::new(&format!("{ON}{main_cf}"))
}

#[test]
fn exactly_the_header_is_taken_byte_by_byte() {
    let site = site("postscreen_access_list = static:permit");
    let smtpd = Smtpd::start(&site);
    let _service = site.start();
    let mut client = site.connect();
    for byte in HEADER.split_inclusive(|_| true) {
        client.send(byte);
        std::thread::sleep(Duration::from_millis(2));
    }
    client.send("QUIT\r\n");
    let mut passed = smtpd.next();
    assert_eq!(passed.attributes(), ATTRIBUTES);
    let mut early = [0; 6];
    passed.stream.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"QUIT\r\n");
    site.log.wait("CONNECT from [198.51.100.7]:40001 to [198.51.100.25]:25");
    site.log.wait("ALLOWLISTED [198.51.100.7]:40001");
}

#[test]
fn what_follows_in_the_same_segment_is_the_clients() {
    let site = site("postscreen_access_list = static:permit");
    let smtpd = Smtpd::start(&site);
    let mut client = site.connect();
    // Before the service is there: header and words are one event.
    client.send(&format!("{HEADER}EHLO client.example\r\n"));
    let _service = site.start();
    let mut passed = smtpd.next();
    assert_eq!(passed.attributes(), ATTRIBUTES);
    let mut early = [0; 21];
    passed.stream.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"EHLO client.example\r\n");
}

#[test]
fn words_behind_the_header_come_too_early() {
    let site = site("postscreen_greet_action = drop\npostscreen_greet_wait = 60s");
    let _service = site.start();
    for round in 0..50 {
        let mut client = site.connect_from(&format!("127.0.2.{}", round + 1));
        if round % 2 == 0 {
            client.send(&format!("{HEADER}EHLO x\r\n"));
        } else {
            client.send(HEADER);
            client.send("EHLO x\r\n");
        }
        client.expect_teaser();
        client.expect("521 5.5.1 Protocol error");
        client.expect_end();
    }
    site.log.wait_count("PREGREET 8 after ", 50);
    site.log.wait_count("from [198.51.100.7]:40001: EHLO x\\r\\n", 50);
}

#[test]
fn the_engine_reads_on_where_the_header_ends() {
    // No greet wait: the words are behind the header when the engine begins.
    let site = site("postscreen_greet_banner =\npostscreen_bare_newline_enable = yes");
    let _service = site.start();
    let mut client = site.connect();
    client.send(&format!("{HEADER}HELO x\r\n"));
    client.expect("220 mx.example.test ESMTP Postfix");
    client.expect("250 mx.example.test");
    client.command("QUIT", "221 2.0.0 Bye");
    client.expect_end();
    site.log.wait("DISCONNECT [198.51.100.7]:40001");
}

#[test]
fn bad_headers_and_good_ends() {
    let site = site("postscreen_upstream_proxy_timeout = 1s");
    let _service = site.start();

    let silent = &mut site.connect();
    let slow = &mut site.connect();
    slow.send("PROXY TCP4 198.51.100.7");
    let start = Instant::now();
    for client in [silent, slow] {
        client.expect(NO_RESOURCES);
        client.expect_end();
    }
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
    site.log.wait_count("haproxy read: time limit exceeded", 2);

    let mut wrong = site.connect();
    wrong.send("EHLO client.example\r\n");
    wrong.expect(NO_RESOURCES);
    wrong.expect_end();
    site.log
        .wait_containing("haproxy read: unrecognized protocol header: EHLO client.example\\r\\n");

    // The end of a header that has begun is heard at once, though bytes are left to look at.
    let mut half = site.connect();
    half.send("PROXY TCP4");
    half.half_close();
    half.expect(NO_RESOURCES);
    half.expect_end();
    drop(site.connect());
    let reset = site.connect();
    reset.reset();
    site.log.wait_count("haproxy read: EOF", 3);

    // A whole header, and then the end.
    let mut whole = site.connect();
    whole.send(HEADER);
    whole.half_close();
    site.log.wait_containing("HANGUP after ");
    site.log.wait("DISCONNECT [198.51.100.7]:40001");
}

#[test]
fn the_silent_are_in_nobodys_way() {
    let site = site(
        "postscreen_upstream_proxy_timeout = 60s\n\
         postscreen_pre_queue_limit = 20\n\
         postscreen_client_connection_count_limit = 2",
    );
    let smtpd = Smtpd::start(&site);
    let service = site.start();
    let mut silent: Vec<_> = (0..300).map(|_| site.connect()).collect();
    let mut client = site.connect();
    client.send(HEADER);
    client.expect_teaser();
    client.expect_smtpd();
    assert_eq!(smtpd.next().attributes(), ATTRIBUTES);
    assert_eq!(site.log.count("STRESS"), 0);
    assert_eq!(site.log.count("reject"), 0);
    // The oldest had to go for the newer ones, and one for the client; the log is told of some.
    let left = silent.split_off(281);
    for mut gone in silent {
        gone.expect(NO_RESOURCES);
        gone.expect_end();
    }
    site.log.wait_count("too many connections without a header", 3);
    drop(left);
    site.log.wait_count("haproxy read: EOF", 19);
    drop(service);
}

#[test]
fn one_listener_of_two_speaks_it() {
    let addresses = ["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let site = Site::listening(&addresses, ON);
    site.own_setting("upstream_proxy_networks = 127.0.0.9");
    site.own_setting("upstream_proxy_interfaces = 127.0.0.2");
    let smtpd = Smtpd::start(&site);
    let _service = site.start();
    let mut direct = site.connect();
    direct.expect_teaser();
    direct.expect_smtpd();
    assert_eq!(smtpd.next().attributes()[1], "127.0.0.1");

    let connect =
        |from: &str| crate::client::Client::connect(from.parse().unwrap(), site.address(1));
    let mut proxied = connect("127.0.0.9");
    assert_eq!(proxied.next_within(crate::A_WHILE), Next::Nothing);
    proxied.send(HEADER);
    proxied.expect_teaser();
    proxied.expect_smtpd();
    assert_eq!(smtpd.next().attributes(), ATTRIBUTES);
    let mut stranger = connect("127.0.0.8");
    stranger.expect(NO_RESOURCES);
    stranger.expect_end();
    site.log.wait_containing(&format!("{} is not in upstream_proxy_networks", stranger.name()));
}

#[test]
fn an_open_door_is_told_of_once() {
    let told = "whoever connects to";
    for (address, networks, count) in [
        ("0.0.0.0", "", 1),
        ("127.0.0.1", "", 0),
        ("0.0.0.0", "upstream_proxy_networks = 127.0.0.1", 0),
        ("0.0.0.0", "upstream_proxy_interfaces = 127.0.0.3", 0),
    ] {
        let site = Site::listening(&[address.parse().unwrap(); 2], ON);
        if !networks.is_empty() {
            site.own_setting(networks);
        }
        let _service = site.start();
        assert_eq!(site.log.count(told), count, "{address} {networks}");
    }
}

#[test]
fn the_end_comes_for_those_without_a_header_too() {
    let site = site("postscreen_upstream_proxy_timeout = 60s");
    let service = site.start();
    let mut client = site.connect();
    client.send("PROXY ");
    std::thread::sleep(crate::A_WHILE);
    service.signal(Signal::SIGTERM);
    client.expect("421 4.3.2 Service currently unavailable");
    client.expect_end();
}
