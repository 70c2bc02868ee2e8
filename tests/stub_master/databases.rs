//! Tables that are databases, read by a postmap(1) that does as it should, or anything else;
//! and changes that need a successor.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::A_WHILE;
use crate::client::Client;
use crate::eventually;
use crate::jail::may_run;
use crate::proc::Process;
use crate::service::Service;
use crate::site::Site;
use crate::smtpd::Smtpd;
use crate::tlsproxy::{Act, GREETING, Tlsproxy};

const DENIED: &str = "521 5.3.2 Service currently unavailable";

/// A postmap(1) whose databases are what it prints.
const GOOD: &str = "#!/bin/sh\n[ \"$1\" = -s ] && exec cat \"${2#*:}.db\"\n";

/// One that finds the database damaged.
const BROKEN: &str = "#!/bin/sh\n\
    echo 'postmap: warning: this looks bad' >&2\n\
    echo \"postmap: fatal: open database ${2#*:}.db: Invalid argument\" >&2\n\
    echo '127.0.0.6\treject'\nexit 1\n";

/// One that waits for a lock.
const SLOW: &str = "#!/bin/sh\nexec sleep 600\n";

fn postmap(site: &Site, script: &str) {
    let path = site.path("program/postmap");
    // Beside, then in place: a file that is open for writing somewhere cannot be executed.
    let new = path.with_extension("new");
    fs::write(&new, script).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, path).unwrap();
}

fn database(site: &Site) -> PathBuf {
    site.path("conf/access.db")
}

/// Writes a file that looks as if it had been left alone for so long, seconds.
fn write(path: &Path, text: &str, age: u64) {
    fs::write(path, text).unwrap();
    let then = SystemTime::now() - Duration::from_secs(age);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

/// The database has new content.
fn change(site: &Site, text: &str) {
    write(&database(site), text, 600);
}

/// A site whose access list is the database `conf/access.db`.
fn site(script: &str, text: &str) -> Site {
    let site = Site::new(
        "postscreen_access_list = hash:$config_directory/access\n\
         postscreen_denylist_action = drop\n\
         postscreen_greet_wait = 8s",
    );
    postmap(&site, script);
    write(&database(&site), text, 3600);
    site
}

fn table(site: &Site) -> String {
    format!("hash:{}", site.path("conf/access").display())
}

fn wait_taken_in(site: &Site) {
    site.log.wait(&format!("table {} has changed - taken in", table(site)));
}

fn visit(site: &Site, address: &str) -> Client {
    site.connect_from(address)
}

/// With a client that waits while the table changes.
fn change_under(site: &Site, service: &mut Service) {
    let smtpd = Smtpd::start(site);
    visit(site, "127.0.0.5").expect(DENIED);
    let mut waiting = visit(site, "127.0.0.6");
    waiting.expect_teaser();
    change(site, "127.0.0.6\treject\n");
    wait_taken_in(site);
    visit(site, "127.0.0.6").expect(DENIED);
    visit(site, "127.0.0.5").expect_teaser();
    waiting.expect_smtpd();
    smtpd.next();
    site.log.wait(&format!("PASS NEW {}", waiting.name()));
    assert!(service.lives());
    assert_eq!(site.log.count("finishing in the background"), 0);
    assert_eq!(site.log.count("warning: "), 0);
}

#[test]
fn a_changed_database_is_taken_in() {
    let site = site(GOOD, "127.0.0.5\treject\n");
    let mut service = site.start();
    change_under(&site, &mut service);
}

#[test]
fn a_changed_database_is_taken_in_in_a_jail() {
    if !may_run("a_changed_database_is_taken_in_in_a_jail") {
        return;
    }
    let site = site(GOOD, "127.0.0.5\treject\n");
    fs::set_permissions(database(&site), fs::Permissions::from_mode(0o600)).unwrap();
    let mut service = site.launch().words(&["-u", "-c"]).start();
    service.wait_ready();
    change_under(&site, &mut service);
}

#[test]
fn a_damaged_database_keeps_its_content() {
    let site = site(GOOD, "127.0.0.5\treject\n");
    let mut service = site.start();
    postmap(&site, BROKEN);
    change(&site, "?");
    let path = database(&site);
    let reason = format!("open database {}: Invalid argument", path.display());
    site.log.wait("warning: this looks bad");
    site.log.wait(&format!("warning: {reason}; {} stays as it was", table(&site)));
    visit(&site, "127.0.0.5").expect(DENIED);
    visit(&site, "127.0.0.6").expect_teaser();
    // Nobody tries over and over what cannot succeed.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(site.log.count(&reason), 1);
    postmap(&site, GOOD);
    write(&path, "127.0.0.6\treject\n", 300);
    wait_taken_in(&site);
    visit(&site, "127.0.0.6").expect(DENIED);
    assert!(service.lives());
}

#[test]
fn a_damaged_database_at_the_start_is_an_unusable_table() {
    let site = site(BROKEN, "?");
    let mut service = site.start();
    let path = database(&site);
    let reason = format!("open database {}: Invalid argument", path.display());
    site.log.wait("warning: this looks bad");
    site.log.wait(&format!("error: {reason}"));
    visit(&site, "127.0.0.6").expect_teaser();
    site.log.wait(&format!("warning: {} is unavailable. {reason}", table(&site)));
    postmap(&site, GOOD);
    change(&site, "127.0.0.6\treject\n");
    wait_taken_in(&site);
    visit(&site, "127.0.0.6").expect(DENIED);
    assert!(service.lives());
}

/// No postmap(1) is needed for these.
#[test]
fn lmdb_tables_that_are_none() {
    let site = Site::new(
        "postscreen_access_list = lmdb:$config_directory/junk lmdb:$config_directory/none\n\
         postscreen_greet_wait = 8s",
    );
    let junk: Vec<u8> = (0..16384_u32).map(|n| n.wrapping_mul(n).to_le_bytes()[1]).collect();
    fs::write(site.path("conf/junk.lmdb"), junk).unwrap();
    let mut service = site.start();
    let path = |name: &str| site.path(name).display().to_string();
    let (junk, none) = (path("conf/junk.lmdb"), path("conf/none.lmdb"));
    site.log.wait(&format!("error: open database {junk}: MDB_INVALID: File is not an LMDB file"));
    site.log.wait(&format!("error: open database {none}: No such file or directory"));
    visit(&site, "127.0.0.6").expect_teaser();
    assert!(service.lives());
}

#[test]
fn a_slow_postmap_delays_nobody() {
    let site = site(GOOD, "127.0.0.5\treject\n");
    let smtpd = Smtpd::start(&site);
    let mut service = site.start();
    let mut waiting = visit(&site, "127.0.0.6");
    waiting.expect_teaser();
    postmap(&site, SLOW);
    change(&site, "127.0.0.6\treject\n");
    let sleeps = || {
        let child = |process: &&Process| process.parent == service.pid();
        Process::all().iter().filter(child).count() == 2
    };
    eventually("postmap", sleeps);
    visit(&site, "127.0.0.5").expect(DENIED);
    visit(&site, "127.0.0.7").expect_teaser();
    // A reload does not wait for it either, and ends it.
    let start = Instant::now();
    service.close_status();
    assert!(service.wait_end().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    waiting.expect_smtpd();
    smtpd.next();
    service.wait_gone();
}

/// Programs that are run get an input, an output, and a place for their complaints: no listening
/// socket, no channel to master, no file of ours.
#[test]
fn programs_that_are_run_inherit_nothing() {
    let site = site(GOOD, "127.0.0.5\treject\n");
    let seen = site.path("program/seen");
    let look = format!("#!/bin/sh\nls -l /proc/$$/fd >>{}\n", seen.display());
    postmap(&site, &GOOD.replace("#!/bin/sh\n", &look));
    let postconf = site.path("program/postconf");
    let script = fs::read_to_string(&postconf).unwrap().replace("#!/bin/sh\n", &look);
    fs::write(&postconf, script).unwrap();
    let service = site.start();
    visit(&site, "127.0.0.5").expect(DENIED);
    change(&site, "127.0.0.6\treject\n");
    wait_taken_in(&site);

    let text = fs::read_to_string(&seen).unwrap();
    assert!(text.matches("total").count() >= 3, "postconf, postmap, and postmap again: {text}");
    let open: Vec<&str> =
        text.lines().filter_map(|line| Some(line.split_once(" -> ")?.1)).collect();
    let harmless = |target: &str| {
        target == "/dev/null"
            || target.starts_with("/memfd:")
            // What the shell reads.
            || target.starts_with(&*site.path("program").to_string_lossy())
            // What postconf(1) answers by.
            || target.starts_with("pipe:")
    };
    let strange: Vec<&&str> = open.iter().filter(|target| !harmless(target)).collect();
    assert!(strange.is_empty() && !open.is_empty(), "{strange:?}");
    drop(service);
}

/// A site whose mynetworks are in `conf/nets`, and may name `conf/more`.
fn listing(text: &str) -> Site {
    let site = Site::new(
        "postscreen_access_list = permit_mynetworks\n\
         mynetworks = $config_directory/nets\n\
         postscreen_greet_wait = 8s",
    );
    write(&site.path("conf/nets"), text, 3600);
    write(&site.path("conf/more"), "127.0.0.5\n", 3600);
    site
}

#[test]
fn a_file_that_is_newly_named_is_for_a_successor() {
    let site = listing("192.0.2.1\n");
    let smtpd = Smtpd::start(&site);
    let mut service = site.start();
    let mut waiting = visit(&site, "127.0.0.6");
    waiting.expect_teaser();
    let nets = site.path("conf/nets");
    write(&nets, &format!("192.0.2.1\n{}\n", site.path("conf/more").display()), 600);
    let line = format!("table {} has changed - finishing in the background", nets.display());
    site.log.wait(&line);
    assert!(service.wait_end().success());

    // Its client is still there, and gets what it waits for.
    let mut successor = site.start();
    visit(&site, "127.0.0.5").expect_smtpd();
    smtpd.next();
    waiting.expect_smtpd();
    smtpd.next();
    // The successor has read all, and makes room for nobody.
    std::thread::sleep(Duration::from_millis(6500));
    assert_eq!(site.log.count(&line), 1);
    assert!(successor.lives());
}

#[test]
fn a_list_that_keeps_changing_does_not_make_processes_race() {
    let site = listing("192.0.2.1\n");
    let start = Instant::now();
    let mut service = site.start();
    let nets = site.path("conf/nets");
    let more = site.path("conf/more").display().to_string();
    for age in [600, 500, 400] {
        write(&nets, &format!("{more} 192.0.2.{age}\n"), age);
        std::thread::sleep(A_WHILE);
    }
    // Meanwhile the last good list counts.
    visit(&site, "127.0.0.5").expect_teaser();
    assert!(service.wait_end().success());
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(site.log.count("table "), 1, "one line");
}

/// What tlsproxy(8) says that nobody understands, and the end before it says anything.
const NONSENSE: &[Act] = &[Act::Say(b"220 mx.example.test\r\n\0\0\0"), Act::Pause(A_WHILE)];

fn fail_to_start_tls(site: &Site) {
    let mut client = site.connect();
    client.expect("220 mx.example.test ESMTP Postfix");
    client.command("STARTTLS", "454 4.7.0 TLS not available due to local problem");
}

fn upgradable() -> Site {
    let site = Site::new(
        "postscreen_greet_banner =\npostscreen_bare_newline_enable = yes\npostscreen_tls_security_level = may",
    );
    site.postconf("mail_version = 3.7.11\n");
    site
}

fn questions(site: &Site) -> usize {
    let calls = fs::read_to_string(site.path("program/calls")).unwrap();
    calls.lines().filter(|line| *line == "-d mail_version").count()
}

/// After tlsproxy(8) has done this.
fn notice_upgrade(script: &'static [Act]) {
    let site = upgradable();
    let _tlsproxy = Tlsproxy::with_script(&site, script);
    let mut service = site.start();
    site.postconf("mail_version = 3.12.0\n");
    fail_to_start_tls(&site);
    site.log.wait("mail_version 3.7.11 has changed to 3.12.0 - finishing in the background");
    assert!(service.wait_end().success());
    assert_eq!(questions(&site), 1);
    // The next one knows.
    let mut successor = site.start();
    fail_to_start_tls(&site);
    eventually("a question", || questions(&site) == 2);
    std::thread::sleep(Duration::from_secs(6));
    assert!(successor.lives());
    assert_eq!(site.log.count("mail_version"), 1);
}

#[test]
fn an_upgrade_of_postfix_is_noticed_by_nonsense() {
    notice_upgrade(NONSENSE);
}

#[test]
fn an_upgrade_of_postfix_is_noticed_by_an_early_end() {
    notice_upgrade(&[]);
}

#[test]
fn an_upgrade_of_postfix_is_noticed_by_silence() {
    notice_upgrade(&[Act::Say(GREETING), Act::Hear, Act::Hang]);
}

#[test]
fn the_version_is_asked_for_once_a_minute() {
    let site = upgradable();
    let _tlsproxy = Tlsproxy::with_script(&site, NONSENSE);
    let mut service = site.start();
    fail_to_start_tls(&site);
    eventually("a question", || questions(&site) == 1);
    fail_to_start_tls(&site);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(questions(&site), 1);
    assert!(service.lives());
    assert_eq!(site.log.count("mail_version"), 0);
}
