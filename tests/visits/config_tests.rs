//! Tests: floor.cf.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::*;

#[test]
fn parameters() {
    let text = "# a comment\n\ngreet_wait_ms = 1500\ndnsbl=a.test, b.test,\n\
                name_server=127.0.0.53:53\nknown=127.9.0.1/16\nlog_socket=/dev/log\n\
                smtpd_socket=public/x\nmax_clients=7\nturn_away=early\n";
    let config = Config::parse(text).unwrap();
    assert_eq!(config.greet_wait, Duration::from_millis(1500));
    assert_eq!(config.zones, ["a.test", "b.test"]);
    assert_eq!(config.name_server, Some(SocketAddr::from(([127, 0, 0, 53], 53))));
    assert_eq!((config.smtpd_socket, config.max_clients), ("public/x".into(), 7));
    assert_eq!(config.turn_away, Some(TurnAway::Early));
    assert!(Config::parse("turn_away=nobody").is_err());
    assert!(Config::parse("other=1").is_err());
    assert!(Config::parse("known").is_err());
    assert!(Config::parse("known=127.9.0.0/33").is_err());
    let config = Config::parse("").unwrap();
    assert_eq!(config.smtpd_socket, PathBuf::from("private/smtpd"));
}

#[test]
fn networks() {
    let contains = |network: &str, address: &str| {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    };
    assert!(contains("127.9.0.1/16", "127.9.255.255"));
    assert!(!contains("127.9.0.1/16", "127.8.255.255"));
    assert!(contains("127.9.0.1", "127.9.0.1"));
    assert!(!contains("127.9.0.1", "127.9.0.0"));
    assert!(contains("0.0.0.0/0", "192.0.2.1"));
    assert!(!contains("0.0.0.0/0", "::1"));
}
