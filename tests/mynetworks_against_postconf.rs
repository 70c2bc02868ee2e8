//! The computed `mynetworks` of this machine: ours and that of postconf(1).

// Tests and their helpers may fail by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use gatepost::postfix::mynetworks::{
    NetworkSettings, Style, computed, interface_addresses, system_resolve,
};

/// What postconf prints: the value, or the reason why there is none.
fn postconf(settings: &NetworkSettings<'_>, number: usize) -> String {
    let directory =
        std::env::temp_dir().join(format!("gatepost-mynetworks-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let protocols = match (settings.ipv4, settings.ipv6) {
        (true, true) => "all",
        (true, false) => "ipv4",
        _ => "ipv6",
    };
    let style = match settings.style {
        Style::Host => "host",
        Style::Subnet => "subnet",
        Style::Class => "class",
    };
    let main_cf = format!(
        "compatibility_level = 3.6\ninet_protocols = {protocols}\ninet_interfaces = {}\n\
         mynetworks_style = {style}\n",
        settings.inet_interfaces
    );
    // Postfix reads a fresh main.cf again and again until it is two seconds old.
    let mut file = File::create(directory.join("main.cf")).unwrap();
    file.write_all(main_cf.as_bytes()).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    fs::write(directory.join("master.cf"), "").unwrap();
    let output = Command::new("postconf")
        .args(["-xh", "mynetworks"])
        .env("MAIL_CONFIG", &directory)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
        .output()
        .expect("postconf(1) runs: Postfix must be installed for this test");
    fs::remove_dir_all(&directory).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    match errors.lines().find_map(|line| line.split_once("fatal: ")) {
        Some((_, reason)) => reason.to_owned(),
        None => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    }
}

/// Machines with other addresses than this one: what makes them of a fresh network namespace,
/// which has a loopback interface that is down.
const MACHINES: [&str; 4] = [
    "ip -4 address flush dev lo",
    "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6",
    "ip address add 192.0.2.9/32 dev lo
     ip address add 192.0.2.10 peer 192.0.2.11/30 dev lo
     ip address add 10.0.0.1/0 dev lo
     ip address add 2001:db8:0:1::1/60 dev lo nodad
     ip address add ::192.0.2.5/96 dev lo nodad
     ip address add fe80::1/10 dev lo nodad",
    "ip link set lo down",
];

/// Runs the test below again on each of them.
#[test]
fn computed_networks_of_other_machines() {
    let possible = |arguments: &[&str]| {
        let status = Command::new(arguments[0]).args(&arguments[1..]).status();
        status.is_ok_and(|status| status.success())
    };
    if !possible(&["unshare", "--net", "ip", "link", "set", "lo", "up"]) {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "unshare(1) needs root");
        eprintln!("skip computed_networks_of_other_machines: needs root, unshare(1) and ip(8)");
        return;
    }
    let program = std::env::current_exe().unwrap();
    for machine in MACHINES {
        let script = format!(
            "ip link set lo up\n{machine}\nexec \"$0\" --exact computed_networks --nocapture"
        );
        let output = Command::new("unshare")
            .args(["--net", "sh", "-e", "-c", &script])
            .arg(&program)
            .output()
            .unwrap();
        let (text, errors) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success(), "{machine}\n{text}{errors}");
        assert!(text.contains("1 passed"), "{machine}\n{text}");
    }
}

#[test]
fn computed_networks() {
    let interfaces = interface_addresses().unwrap();
    let cases = [
        (Style::Host, "all", true, true),
        (Style::Subnet, "all", true, true),
        (Style::Class, "all", true, true),
        (Style::Subnet, "all", true, false),
        (Style::Subnet, "loopback-only", true, false),
        (Style::Host, "127.0.0.1", true, true),
        (Style::Host, "", true, true),
        (Style::Host, "192.0.2.250", true, true),
        (Style::Host, "127.0.0.1", false, true),
        (Style::Host, "localhost", true, true),
        (Style::Host, "localhost", true, false),
        (Style::Subnet, "all", false, true),
        (Style::Subnet, "loopback-only", true, true),
        (Style::Subnet, "loopback-only", false, true),
        (Style::Host, "::1", true, true),
        (Style::Host, "[::1]", false, true),
        (Style::Host, "::1", true, false),
        (Style::Subnet, "fe80::1", true, true),
        (Style::Subnet, "fe80::1%lo", false, true),
        (Style::Subnet, "127.0.0.1, [::1]", true, true),
        (Style::Subnet, "::192.0.2.5", true, true),
        (Style::Host, "", true, false),
        (Style::Host, "", false, true),
    ];
    // At the same time, because postconf(1) rests for a second before it gives up.
    thread::scope(|scope| {
        for (number, (style, inet_interfaces, ipv4, ipv6)) in cases.into_iter().enumerate() {
            let interfaces = &interfaces;
            scope.spawn(move || {
                let settings = NetworkSettings { style, inet_interfaces, ipv4, ipv6 };
                let ours = computed(&settings, interfaces, &system_resolve)
                    .unwrap_or_else(|error| error.to_string());
                assert_eq!(ours, postconf(&settings, number), "left: Gatepost; {settings:?}");
            });
        }
    });
}
