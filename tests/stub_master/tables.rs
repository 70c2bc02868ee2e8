//! Tables that change while the service runs.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::client::Client;
use crate::eventually;
use crate::proc::Process;
use crate::site::{Site, give_to_owner};

const DENIED: &str = "521 5.3.2 Service currently unavailable";

/// A site whose access list is the file `conf/access`.
fn site(text: &str) -> Site {
    let site = Site::new(
        "postscreen_access_list = cidr:$config_directory/access\n\
         postscreen_denylist_action = drop\n\
         postscreen_greet_wait = 60s",
    );
    fs::write(site.path("conf/access"), text).unwrap();
    age(&site.path("conf/access"), 3600);
    site
}

/// Makes a file look as if it had been left alone for so long, seconds.
fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

fn visit(site: &Site, address: &str) -> Client {
    site.connect_from(address)
}

#[test]
fn a_changed_table_is_taken_in() {
    let site = site("127.0.0.5 reject\n");
    let path = site.path("conf/access");
    let mut service = site.start();
    visit(&site, "127.0.0.5").expect(DENIED);
    visit(&site, "127.0.0.6").expect_teaser();

    let start = Instant::now();
    fs::write(&path, "127.0.0.6 reject\n").unwrap();
    site.log.wait(&format!("file {} has changed - taken in", path.display()));
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    visit(&site, "127.0.0.6").expect(DENIED);
    visit(&site, "127.0.0.5").expect_teaser();
    assert!(service.lives());
}

#[test]
fn a_bad_line_does_no_harm_to_the_others() {
    let site = site("127.0.0.5 reject\n");
    let path = site.path("conf/access");
    let mut service = site.start();
    fs::write(&path, "127.0.0.6 reject\nnonsense\n127.0.0.7 reject\n").unwrap();
    age(&path, 1800);
    site.log.wait(&format!("file {} has changed - taken in", path.display()));
    let warning = site.log.wait_containing(&format!("cidr map {}, line 2", path.display()));
    assert!(warning.text.starts_with("warning: "), "{}", warning.text);
    for address in ["127.0.0.6", "127.0.0.7"] {
        visit(&site, address).expect(DENIED);
    }
    visit(&site, "127.0.0.5").expect_teaser();

    // Without the file, the last content stays in use; the next one counts again.
    fs::remove_file(&path).unwrap();
    visit(&site, "127.0.0.6").expect(DENIED);
    fs::write(&path, "127.0.0.5 reject\n").unwrap();
    age(&path, 600);
    let text = format!("file {} has changed - taken in", path.display());
    site.log.wait_count(&text, 2);
    visit(&site, "127.0.0.5").expect(DENIED);
    assert!(service.lives());
}

/// Each worker is told.
#[test]
fn all_workers_take_a_change_in() {
    let site = site("");
    site.own_setting("workers = 3");
    let path = site.path("conf/access");
    let service = site.start();
    eventually("three workers", || service.workers().len() == 3);
    fs::write(&path, "127.0.0.6 reject\n").unwrap();
    age(&path, 1800);
    let text = format!("file {} has changed - taken in", path.display());
    site.log.wait_count(&text, 3);
    let mut told: Vec<i32> =
        site.log.records().iter().filter(|r| r.text == text).map(|record| record.pid).collect();
    told.sort_unstable();
    let workers: Vec<i32> = service.workers().iter().map(|pid| pid.as_raw()).collect();
    assert_eq!(told, workers);
}

/// A worker may take its time, here because another process holds the cache.
#[test]
fn a_change_during_the_start_is_taken_in() {
    let site = site("127.0.0.5 reject\n");
    let path = site.path("conf/access");
    let lock = rusqlite::Connection::open(site.cache_file()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    give_to_owner(&site.cache_file());
    let mut service = site.launch().start();
    // Once there is a worker, the supervisor has read the table and watches it.
    eventually("a worker", || {
        let session = |process: &Process| process.session == service.pid();
        Process::all().iter().filter(|process| session(process)).count() == 2
    });
    fs::write(&path, "127.0.0.6 reject\n").unwrap();
    age(&path, 1800);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(service.waiting_status(), 0, "it is not ready yet");
    drop(lock);
    service.wait_ready();
    site.log.wait(&format!("file {} has changed - taken in", path.display()));
    visit(&site, "127.0.0.6").expect(DENIED);
    visit(&site, "127.0.0.5").expect_teaser();
}
