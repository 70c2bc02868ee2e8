//! The computed `mynetworks` of this machine: ours and that of postconf(1).

// Tests and their helpers may fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
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
    ];
    for (number, (style, inet_interfaces, ipv4, ipv6)) in cases.into_iter().enumerate() {
        let settings = NetworkSettings { style, inet_interfaces, ipv4, ipv6 };
        let ours = computed(&settings, &interfaces, &system_resolve)
            .unwrap_or_else(|error| error.to_string());
        assert_eq!(ours, postconf(&settings, number), "left: Gatepost; {settings:?}");
    }
}
