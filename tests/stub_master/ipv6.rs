//! IPv6 clients, IPv4 clients of an IPv6 socket, and protocols that are switched off.

use std::net::{Ipv4Addr, SocketAddr};

use crate::client::Client;
use crate::site::Site;
use crate::smtpd::{GREETING, Smtpd};

const PORTS_BUSY: &str = "421 4.3.2 All server ports are busy";
const PERMIT: &str = "postscreen_access_list = static:permit";

/// An IPv4 client of an IPv6 socket.
fn mapped(site: &Site) -> Client {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, site.address(0).port()));
    Client::connect(Ipv4Addr::LOCALHOST.into(), server)
}

/// How smtpd is told of a client and of our end.
fn told(smtpd: &Smtpd) -> [String; 2] {
    let mut attributes = smtpd.next().attributes().into_iter();
    let mut value = |name: &str| {
        attributes.by_ref().find(|word| word == name).unwrap();
        attributes.next().unwrap()
    };
    [value("client_address"), value("server_address")]
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket() {
    // Where IPv4 is on, it is one.
    let site = Site::any(PERMIT);
    let (smtpd, _service) = (Smtpd::start(&site), site.start());
    let mut client = mapped(&site);
    assert_eq!(told(&smtpd), ["127.0.0.1"; 2]);
    client.expect(GREETING);
    site.log.wait(&format!("ALLOWLISTED {}", client.name()));

    // Where it is off, smtpd dies of it, but not of what it is on its socket.
    let site = Site::any(&format!("{PERMIT}\ninet_protocols = ipv6"));
    let (smtpd, _service) = (Smtpd::start(&site), site.start());
    let mut client = mapped(&site);
    assert_eq!(told(&smtpd), ["::ffff:127.0.0.1"; 2]);
    client.expect(GREETING);
    let port = client.address().port();
    site.log.wait(&format!("ALLOWLISTED [::ffff:127.0.0.1]:{port}"));
    assert_eq!(site.log.count("warning: "), 0);
}

#[test]
fn who_comes_by_a_protocol_that_is_off_is_turned_away() {
    for (protocol, off, other) in [("ipv4", 1, "ipv6"), ("ipv6", 0, "ipv4")] {
        let site = Site::dual(&format!("{PERMIT}\ninet_protocols = {protocol}"));
        let (smtpd, _service) = (Smtpd::start(&site), site.start());
        let connect = |number| {
            let server = site.address(number);
            Client::connect(server.ip(), server)
        };
        for _ in 0..10 {
            let mut client = connect(off);
            client.expect(PORTS_BUSY);
            client.expect_end();
        }
        let mut client = connect(1 - off);
        let address = site.address(1 - off).ip().to_string();
        assert_eq!(told(&smtpd), [address.clone(), address]);
        client.expect(GREETING);
        site.log.wait_count("all server ports busy", 10);
        let warning = format!("warning: inet_protocols is without {other}, but there are clients");
        site.log.wait_count(&warning, 3);
        assert_eq!(site.log.count("warning: "), 3, "not for every client");
    }
}
