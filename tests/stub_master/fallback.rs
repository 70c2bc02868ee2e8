//! postscreen(8) serves when Gatepost cannot: a stand-in shows what it was given.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::proc::{Process, open_files, status};
use crate::service::{Launch, Service};
use crate::site::Site;
use crate::smtpd::Smtpd;
use crate::{A_WHILE, eventually};

/// What keeps a worker from starting its storage thread; as an ordinary user, the supervisor from
/// starting a worker.
const NO_PROCESSES: &str = "-S -u 1";

/// Everything that a process has from the one that executed it.
#[derive(PartialEq, Eq, Debug)]
struct Given {
    words: Vec<String>,
    environment: Vec<String>,
    /// Number, what it is, and its flags.
    descriptors: Vec<(i32, String, String)>,
    signals: [String; 2],
    descriptor_limit: String,
    umask: String,
    directory: String,
}

fn text(pid: Pid, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).unwrap()).into_owned()
}

fn texts(pid: Pid, name: &str) -> Vec<String> {
    text(pid, name).split_terminator('\0').map(str::to_owned).collect()
}

impl Given {
    /// What a stand-in was given, when it has stopped.
    fn to(pid: Pid) -> Given {
        eventually("a stand-in", || Process::find(pid).is_some_and(|process| process.is_stopped()));
        let words = texts(pid, "cmdline");
        assert!(words[1].ends_with("/daemons/postscreen"), "{words:?}");
        let mut environment = texts(pid, "environ");
        environment.sort();
        let descriptors = open_files(pid).into_iter().map(|(number, target)| {
            let info = text(pid, &format!("fdinfo/{number}"));
            let flags = info.lines().find(|line| line.starts_with("flags:")).unwrap().to_owned();
            // These are new at each start; the listeners are the site's.
            let kind = target.split('[').next().unwrap().to_owned();
            (number, if (3..=5).contains(&number) { kind } else { target }, flags)
        });
        let limits = text(pid, "limits");
        let limit = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        Given {
            words: words[2..].to_vec(),
            environment,
            descriptors: descriptors.collect(),
            signals: ["SigBlk", "SigIgn"].map(|field| status(pid, field)),
            descriptor_limit: limit.to_owned(),
            umask: status(pid, "Umask"),
            directory: fs::read_link(format!("/proc/{pid}/cwd")).unwrap().display().to_string(),
        }
    }
}

/// The warning with which a service turns into postscreen(8).
fn wait_for_warning(site: &Site, reason: &str) {
    let record = site.log.wait_containing(&format!("warning: gatepost: {reason}"));
    assert!(record.text.contains("; postscreen(8) serves instead"), "{record:?}");
    assert!(record.text.contains("tries gatepost again"), "{record:?}");
    assert_eq!(record.ident, "postfix/postscreen");
}

/// A service that cannot start.
fn failing<'s>(site: &'s Site) -> Launch<'s> {
    site.launch().words(&["-u"]).limit(NO_PROCESSES)
}

#[test]
fn it_is_given_what_master_gave() {
    let site = Site::dual("");
    let words = ["-u", "-o", "smtpd_banner = x y", "-v", "extra"];
    // The service raises it for itself.
    let limit = "-S -u 1 -n 300";
    let expected = {
        let launch = site.launch().program(site.stand_in()).words(&words).limit(limit);
        let service = launch.start();
        Given::to(service.pid())
    };
    assert_eq!(expected.words[..5], ["-l", "-n", "smtp", "-t", "inet"]);
    let numbers: Vec<_> = expected.descriptors.iter().map(|(number, ..)| *number).collect();
    assert!(numbers.starts_with(&[0, 1, 2, 3, 4, 5, 6, 7]), "{numbers:?}");
    let mut service = site.launch().words(&words).limit(limit).start();
    assert_eq!(Given::to(service.pid()), expected);
    wait_for_warning(&site, "cannot start: ");
    // Nothing has been said about it in its name.
    assert_eq!(service.waiting_status(), 0);
    assert!(service.lives());
}

#[test]
fn the_process_limit_is_said_to_be_one() {
    let site = Site::new("");
    site.stand_in();
    let words = ["-n", "smtp", "-t", "inet", "-u", "-o", "stress="];
    let service = site.launch().only_words(&words).limit(NO_PROCESSES).start();
    let given = Given::to(service.pid());
    assert_eq!(given.words[0], "-l");
    assert_eq!(given.words[1..], words);
    site.log.wait_containing(
        "warning: service smtp: the process limit in master.cf is not 1; postscreen(8)",
    );
}

#[test]
fn a_service_that_is_called_like_the_program_keeps_its_name() {
    let site = Site::new("");
    site.stand_in();
    let words = ["-l", "-t", "inet", "-u"];
    let service = site.launch().only_words(&words).limit(NO_PROCESSES).start();
    let given = Given::to(service.pid());
    assert_eq!(given.words, ["-n", "gatepost", "-l", "-t", "inet", "-u"]);
}

#[test]
fn what_postscreen_does_not_share() {
    let site = Site::new("");
    site.stand_in();
    // Found out before main.cf is read: where postscreen(8) is, is known from what was executed.
    let program = site.path("daemons/gatepost");
    symlink(env!("CARGO_BIN_EXE_gatepost"), &program).unwrap();
    let launch = site.launch().program(program).words(&["-o"]).word(b"smtpd_banner=\xff");
    let service = launch.start();
    let given = Given::to(service.pid());
    assert_eq!(given.words.last().unwrap(), "smtpd_banner=\u{fffd}");
    wait_for_warning(&site, "cannot start: option -o: value is not valid UTF-8");

    let service = site.launch().only_words(&["-l", "-n", "smtp", "-t", "unix"]).start();
    Given::to(service.pid());
    wait_for_warning(&site, "cannot start: service smtp: the service type in master.cf");

    // A table that has to be there, and that nobody can read for us.
    // There is no postmap(1) here.
    let database = std::env::temp_dir().join(format!("gatepost-fallback-{}", std::process::id()));
    fs::write(database.with_extension("db"), "").unwrap();
    let site = Site::new(&format!(
        "daemon_table_open_error_is_fatal = yes\npostscreen_access_list = hash:{}",
        database.display()
    ));
    site.stand_in();
    let service = site.launch().start();
    Given::to(service.pid());
    wait_for_warning(&site, "cannot start: open database ");
    fs::remove_file(database.with_extension("db")).unwrap();
}

#[test]
fn what_postscreen_shares_is_fatal_as_ever() {
    let cases = [
        ("postscreen_greet_action = foo", "fatal: bad postscreen_greet_action value: foo"),
        ("mail_owner = no-such-user", "fatal: file "),
        (
            "daemon_table_open_error_is_fatal = yes\n\
             postscreen_access_list = cidr:/nonexistent/table",
            "fatal: open /nonexistent/table: No such file or directory",
        ),
        (
            "daemon_table_open_error_is_fatal = yes\n\
             postscreen_access_list = hash:/nonexistent/table",
            "fatal: open database /nonexistent/table.db: No such file or directory",
        ),
    ];
    // All at once, because each takes a second.
    let sites = cases.map(|(lines, _)| Site::new(lines));
    let services: Vec<_> = sites
        .iter()
        .map(|site| {
            site.stand_in();
            site.launch().start()
        })
        .collect();
    for (((lines, text), site), mut service) in cases.iter().zip(&sites).zip(services) {
        site.log.wait_containing(text);
        assert_eq!(service.wait_end().code(), Some(1), "{lines}");
        assert_eq!(site.log.count("postscreen(8)"), 0, "{lines}");
    }
}

#[test]
fn where_postscreen_cannot_serve() {
    let site = || Site::new("");
    let unwanted = site();
    unwanted.stand_in();
    unwanted.own_setting("fallback = none");
    let missing = site();
    let not_executable = site();
    let mode = PermissionsExt::from_mode(0o644);
    fs::set_permissions(not_executable.stand_in(), mode).unwrap();
    let directory = site();
    fs::create_dir(directory.path("daemons/postscreen")).unwrap();
    let itself = site();
    symlink(env!("CARGO_BIN_EXE_gatepost"), itself.path("daemons/postscreen")).unwrap();
    let wary = Site::new("postscreen_upstream_proxy_protocol = haproxy");
    wary.stand_in();
    wary.own_setting("upstream_proxy_networks = 127.0.0.0/8");
    let misspelt = Site::new("postscreen_upstream_proxy_protocol = haproxy");
    misspelt.stand_in();
    misspelt.own_setting("upstream_proxy_network = 127.0.0.0/8");
    let cases = [
        (&unwanted, None),
        (&missing, Some("daemons/postscreen: No such file or directory")),
        (&not_executable, Some("daemons/postscreen: Permission denied")),
        (&directory, Some("daemons/postscreen: Permission denied")),
        (&itself, Some("daemons/postscreen is this program itself")),
        (&wary, Some("it does not know upstream_proxy_networks")),
        (&misspelt, Some("it does not know upstream_proxy_networks")),
    ];
    let services: Vec<_> = cases.iter().map(|(site, _)| failing(site).start()).collect();
    for ((site, obstacle), mut service) in cases.iter().zip(services) {
        assert_eq!(service.wait_end().code(), Some(1), "{obstacle:?}");
        assert_eq!(site.log.count("serves instead,"), 0, "{obstacle:?}");
        match obstacle {
            None => assert_eq!(site.log.count("postscreen(8)"), 0),
            Some(obstacle) => {
                let record = site.log.wait_containing("warning: gatepost: cannot start: ");
                assert!(record.text.contains("postscreen(8) cannot serve instead: "));
                assert!(record.text.contains(obstacle), "{record:?}");
            }
        }
    }
}

/// Without a list of proxies, Gatepost believes as many as postscreen(8) does.
#[test]
fn where_proxies_are_no_obstacle() {
    for (main_cf, own) in [
        ("", "upstream_proxy_networks = 127.0.0.0/8"),
        ("postscreen_upstream_proxy_protocol = haproxy", "workers = 1"),
    ] {
        let site = Site::new(main_cf);
        site.own_setting(own);
        site.stand_in();
        let service = failing(&site).start();
        Given::to(service.pid());
    }
}

/// Starts a service, and ends its worker by a signal.
fn crash(site: &Site, signal: Signal) -> Service {
    let service = site.start();
    kill(service.worker(), signal).unwrap();
    service
}

#[test]
fn three_crashes_within_a_minute() {
    let site = Site::new("");
    site.stand_in();
    let stamps = site.path("queue/pid/gatepost.crashes.smtp");
    let crashes = [
        [Signal::SIGABRT, Signal::SIGABRT, Signal::SIGABRT],
        [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL],
    ];
    for [first, second, third] in crashes {
        for signal in [first, second] {
            assert_eq!(crash(&site, signal).wait_end().signal(), Some(signal as i32));
            assert!(stamps.exists());
        }
        // What is no crash, and a process that ends in order, changes nothing.
        let mut killed = crash(&site, Signal::SIGKILL);
        assert_eq!(killed.wait_end().signal(), Some(Signal::SIGKILL as i32));
        let mut ended = site.start();
        ended.close_status();
        ended.wait_gone();
        let service = crash(&site, third);
        Given::to(service.pid());
        wait_for_warning(&site, "3 crashes within 60 s");
        assert!(!stamps.exists());
    }
}

#[test]
fn crashes_that_do_not_count() {
    let site = Site::new("");
    site.stand_in();
    for _ in 0..4 {
        assert_eq!(crash(&site, Signal::SIGKILL).wait_end().signal(), Some(Signal::SIGKILL as i32));
    }
    // Of another service in the same queue.
    for number in 0..4 {
        let name = format!("127.0.0.{number}:25");
        let words = ["-l", "-n", &name, "-t", "inet"];
        let mut service = site.launch().only_words(&words).start();
        service.wait_ready();
        kill(service.worker(), Signal::SIGABRT).unwrap();
        assert_eq!(service.wait_end().signal(), Some(Signal::SIGABRT as i32));
    }
    site.own_setting("fallback = none");
    for _ in 0..4 {
        assert_eq!(crash(&site, Signal::SIGABRT).wait_end().signal(), Some(Signal::SIGABRT as i32));
    }
    assert_eq!(site.log.count("postscreen(8)"), 0);
}

/// master(8) may not see the end before the status records: it would wait for a minute.
#[test]
fn a_crash_gives_master_time_to_read() {
    let site = Site::new("");
    let start = Instant::now();
    let mut service = site.start();
    kill(service.worker(), Signal::SIGABRT).unwrap();
    service.wait_end();
    assert!(start.elapsed() >= Duration::from_millis(500));
}

/// Stamps that were damaged, or that others can have made, do no harm.
#[test]
fn stamps_that_make_no_sense() {
    let site = Site::new("");
    site.stand_in();
    let stamps = site.path("queue/pid/gatepost.crashes.smtp");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let future = format!("{boot}99999999999999\n99999999999999\n");
    for text in ["", "\0", "x\n1\n2\n3\n", &future] {
        fs::write(&stamps, text).unwrap();
        let mut service = crash(&site, Signal::SIGABRT);
        assert_eq!(service.wait_end().signal(), Some(Signal::SIGABRT as i32), "{text:?}");
        fs::remove_file(&stamps).unwrap();
    }
}

/// A client of the second worker, which shows that it is ready.
fn client_of_second(site: &Site, workers: &[Pid]) -> Client {
    kill(workers[0], Signal::SIGSTOP).unwrap();
    // Each is new.
    let mut client = site.connect_from(&format!(
        "127.4.{}.{}",
        workers[1].as_raw() / 250 % 250,
        workers[1].as_raw() % 250 + 1
    ));
    client.expect_teaser();
    kill(workers[0], Signal::SIGCONT).unwrap();
    client
}

#[test]
fn siblings_finish_their_clients() {
    let site = Site::new("postscreen_greet_wait = 2s");
    site.own_setting("workers = 2");
    site.stand_in();
    let smtpd = Smtpd::start(&site);
    for last in [false, false, true] {
        let mut service = site.start();
        eventually("two workers", || service.workers().len() == 2);
        let workers = service.workers();
        // One that is not ready would be a failed start.
        drop(client_of_second(&site, &[workers[1], workers[0]]));
        let mut client = client_of_second(&site, &workers);
        kill(workers[0], Signal::SIGABRT).unwrap();
        if last {
            Given::to(service.pid());
        } else {
            assert_eq!(service.wait_end().signal(), Some(Signal::SIGABRT as i32));
        }
        client.expect_smtpd();
        smtpd.next();
        let record = site.log.wait_containing(&format!("PASS NEW {}", client.name()));
        assert_eq!(record.pid, workers[1].as_raw());
        drop(client);
        eventually("the end of the other worker", || Process::find(workers[1]).is_none());
    }
}

/// With nobody to serve instead, a worker that fails at the start is a service that fails: else
/// master(8) would start the next one at once, again and again.
#[test]
fn a_worker_that_cannot_start_is_a_failed_start() {
    let site = Site::new("");
    site.own_setting("fallback = none");
    let start = Instant::now();
    let mut service = failing(&site).start();
    assert_eq!(service.wait_end().code(), Some(1));
    assert!(start.elapsed() >= Duration::from_secs(1), "no pause");
    site.log.wait_containing("fatal: ");
    assert_eq!(service.next_status(), None);
}

/// Ends the worker of a service before it can be ready, or makes it wait.
fn seize_worker(site: &Site, signal: Signal) -> Service {
    // Else the first child is the one in which the sandbox is tried.
    site.own_setting("sandbox = no");
    // Usually the first time: a worker takes longer to start than we take to see it.
    for _ in 0..50 {
        let mut service = site.launch().start();
        let worker = loop {
            if let Some(worker) = service.workers().first() {
                break *worker;
            }
        };
        kill(worker, signal).unwrap();
        eventually("the effect of a signal", || {
            Process::find(worker).is_none_or(|process| process.is_stopped())
        });
        // It may have been ready, and its supervisor not have heard that yet.
        std::thread::sleep(A_WHILE);
        if service.lives() && service.waiting_status() == 0 {
            return service;
        }
    }
    panic!("no worker could be caught before it was ready");
}

#[test]
fn a_worker_that_is_killed_before_it_is_ready() {
    let site = Site::new("");
    site.stand_in();
    let service = seize_worker(&site, Signal::SIGKILL);
    Given::to(service.pid());
    wait_for_warning(&site, "cannot start: a worker was killed by SIGKILL before it was ready");
}

#[test]
#[ignore = "takes half a minute"]
fn a_worker_that_is_never_ready() {
    let site = Site::new("");
    site.stand_in();
    let start = Instant::now();
    let service = seize_worker(&site, Signal::SIGSTOP);
    while site.log.count("postscreen(8) serves instead") == 0 {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(100));
    }
    Given::to(service.pid());
    wait_for_warning(&site, "cannot start: a worker was not ready after 30 s");
    assert!(start.elapsed() >= Duration::from_secs(30));
}

#[test]
fn what_costs_a_warning_only() {
    for (lines, gatepost_cf, postconf, warning) in [
        ("", Some("cache_file = /proc/no/such/place\n"), "", "verdicts are kept in memory only"),
        ("", Some("fallbak = none\n"), "", "did you mean \"fallback\""),
        ("", None, "", "gatepost.cf: Is a directory"),
        ("", Some(""), "#!/bin/sh\nexit 1\n", "postconf: exit status 1; for Postfix's"),
        ("", Some(""), "#!/bin/sh\nkill -SEGV $$\n", "postconf: killed by SIGSEGV; for"),
        ("postscreen_access_list = hash:/no/such", Some(""), "", "error: open database /no/such"),
    ] {
        let site = Site::new(lines);
        site.stand_in();
        let path = site.path("conf/gatepost.cf");
        fs::remove_file(&path).unwrap();
        match gatepost_cf {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::create_dir(path).unwrap(),
        }
        if !postconf.is_empty() {
            fs::write(site.path("program/postconf"), postconf).unwrap();
        }
        let mut service = site.start();
        assert_eq!(service.workers().len(), 1, "{warning}");
        site.log.wait_containing(warning);
        assert_eq!(site.log.count("postscreen(8)"), 0, "{warning}");
        service.close_status();
        service.wait_gone();
    }
}

/// A fault leaves nothing that could be relied on. Here a table takes more memory than there is.
#[test]
fn a_fault_at_the_start() {
    let table = std::env::temp_dir().join(format!("gatepost-large-{}", std::process::id()));
    let lines: String = (0..200_000).map(|number| format!("key{number} value\n")).collect();
    fs::write(&table, lines).unwrap();
    let site = Site::new(&format!("postscreen_access_list = texthash:{}", table.display()));
    site.stand_in();
    let program = site.path("daemons/gatepost");
    symlink(env!("CARGO_BIN_EXE_gatepost"), &program).unwrap();
    let limit = format!("-S -n 300 -v {}", 30 << 10);
    let expected = {
        let service = site.launch().program(site.stand_in()).limit(&limit).start();
        Given::to(service.pid())
    };
    let service = site.launch().program(program).limit(&limit).start();
    assert_eq!(Given::to(service.pid()), expected);
    wait_for_warning(&site, "cannot start: SIGABRT");
    fs::remove_file(table).unwrap();
}

/// A helper that hangs must not keep the port open when master(8) closes it.
#[test]
fn helpers_have_none_of_masters_descriptors() {
    let site = Site::new("");
    let (postconf, list) = (site.path("program/postconf"), site.path("program/descriptors"));
    let script = format!(
        "#!/bin/bash\n\
         for number in {{0..6}}; do [ -e /proc/$$/fd/$number ] && echo $number; done >{}\n\
         echo mail_version = 3.7.11\n",
        list.display()
    );
    fs::write(&postconf, script).unwrap();
    let _service = site.start();
    assert_eq!(fs::read_to_string(list).unwrap(), "0\n1\n2\n");
}
