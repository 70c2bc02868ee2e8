//! The cache file: made, damaged, out of reach, shared.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::User;

use crate::site::{OWNER, Site, is_root};
use crate::smtpd::Smtpd;

/// Has a client pass the greet wait.
fn pass_new(site: &Site, smtpd: &Smtpd, address: &str) {
    let mut client = site.connect_from(address);
    client.expect_teaser();
    client.expect_smtpd();
    smtpd.next();
    site.log.wait(&format!("PASS NEW {}", client.name()));
}

/// Has a client come back.
fn pass_old(site: &Site, smtpd: &Smtpd, address: &str) {
    let mut client = site.connect_from(address);
    client.expect_smtpd();
    smtpd.next();
    site.log.wait(&format!("PASS OLD {}", client.name()));
}

/// The files beside the cache file whose names contain `part`.
fn siblings(path: &Path, part: &str) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains(part)).collect();
    names.sort();
    names
}

#[test]
fn the_file_is_private_to_its_owner() {
    let site = Site::new("");
    let _service = site.start();
    for name in siblings(&site.cache_file(), "verdicts") {
        let metadata = fs::metadata(site.path("data").join(&name)).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600, "{name}");
        if is_root() {
            let owner = User::from_name(OWNER).unwrap().unwrap();
            assert_eq!(metadata.uid(), owner.uid.as_raw(), "{name}");
        }
    }
    let path = site.cache_file();
    assert!(path.exists());
    let record = site.log.wait_containing("is kept in");
    assert!(record.text.ends_with(&path.display().to_string()), "{}", record.text);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let site = Site::new("");
    let smtpd = Smtpd::start(&site);
    fs::write(site.cache_file(), "no database ".repeat(1000)).unwrap();
    crate::site::give_to_owner(&site.cache_file());
    let _service = site.start();
    let path = site.cache_file();
    let warning = site.log.wait_containing(&format!("cache file {} is", path.display()));
    assert!(warning.text.starts_with("warning: "), "{}", warning.text);
    let aside = siblings(&path, ".damaged-");
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(warning.text.ends_with(&aside[0]), "{}", warning.text);
    let text = fs::read_to_string(site.path("data").join(&aside[0])).unwrap();
    assert!(text.starts_with("no database "));
    pass_new(&site, &smtpd, "127.0.0.1");
    pass_old(&site, &smtpd, "127.0.0.1");
}

#[test]
fn damage_in_use_costs_no_client() {
    let site = Site::new("");
    let smtpd = Smtpd::start(&site);
    let mut service = site.start();
    pass_new(&site, &smtpd, "127.0.0.1");
    // By way of a connection of its own: the worker's locks are in another process.
    let connection = rusqlite::Connection::open(site.cache_file()).unwrap();
    connection.execute_batch("DROP TABLE verdict").unwrap();
    drop(connection);

    let mut client = site.connect_from("127.0.0.2");
    client.expect_teaser();
    site.log.wait_containing("going on from memory");
    client.expect_smtpd();
    smtpd.next();
    pass_old(&site, &smtpd, "127.0.0.2");
    let path = site.cache_file();
    site.log.wait_containing(&format!("warning: cache file {} is damaged", path.display()));
    crate::eventually("a file set aside", || !siblings(&path, ".damaged-").is_empty());
    assert!(service.lives());
    assert!(!path.exists());

    // The next one starts afresh, on disk.
    service.close_status();
    service.wait_gone();
    let _successor = site.start();
    assert!(path.exists());
    pass_new(&site, &smtpd, "127.0.0.2");
    pass_old(&site, &smtpd, "127.0.0.2");
}

#[test]
fn a_directory_that_cannot_be_written_costs_a_warning() {
    let site = Site::new("");
    let smtpd = Smtpd::start(&site);
    let data = site.path("data");
    // Root may write anywhere, but does so as the owner.
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).unwrap();
    let _service = site.start();
    let warning = site.log.wait_containing("verdicts are kept in memory only");
    assert!(warning.text.starts_with("warning: cache file "), "{}", warning.text);
    pass_new(&site, &smtpd, "127.0.0.1");
    pass_old(&site, &smtpd, "127.0.0.1");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(!site.cache_file().exists());
}

#[test]
fn what_one_service_learns_the_other_knows() {
    let one = Site::new("");
    let two = Site::new("");
    two.own_setting(&format!("cache_file = {}", one.cache_file().display()));
    let smtpds = [Smtpd::start(&one), Smtpd::start(&two)];
    let _services = [one.start(), two.start()];
    pass_new(&one, &smtpds[0], "127.0.0.1");
    // A verdict is in the file within 50 ms; this is not the place to be strict about it.
    std::thread::sleep(std::time::Duration::from_millis(300));
    pass_old(&two, &smtpds[1], "127.0.0.1");
    pass_new(&two, &smtpds[1], "127.0.0.2");
    std::thread::sleep(std::time::Duration::from_millis(300));
    pass_old(&one, &smtpds[0], "127.0.0.2");
    assert!(!two.cache_file().exists());
}
