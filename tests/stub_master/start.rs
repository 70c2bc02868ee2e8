//! Start: status records, descriptors, and what keeps a service from starting.

use std::io::Read;
use std::net::Ipv6Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::openpty;

use crate::client::Client;
use crate::proc::open_files;
use crate::service::{Status, spawning};
use crate::site::Site;
use crate::smtpd::Smtpd;

#[test]
fn one_pair_of_status_records_comes_before_the_first_answer() {
    let site = Site::new("postscreen_access_list = cidr:{{127.0.0.9 permit}}");
    let smtpd = Smtpd::start(&site);
    // It waits in the listen queue, as the client does that makes master start a service.
    let mut first = site.connect();
    let mut service = site.launch().generation(0o1234).start();
    first.expect_teaser();
    assert_eq!(service.waiting_status(), 24);
    let pid = service.pid().as_raw();
    for available in [0, 1] {
        let expected = Status { pid, generation: 0o1234, available };
        assert_eq!(service.next_status(), Some(expected));
    }
    assert_ne!(service.worker(), service.pid());
    for _ in 0..3 {
        site.connect_from("127.0.0.9").expect_smtpd();
        smtpd.next();
    }
    first.expect_smtpd();
    service.assert_no_more_status();
}

#[test]
fn what_cannot_work_is_fatal() {
    let cases = [
        ("postscreen_greet_action = foo", "fatal: bad postscreen_greet_action value: foo"),
        (
            "postscreen_greet_wait = 5x",
            "fatal: parameter postscreen_greet_wait: bad time value or unit: 5x",
        ),
        (
            "mail_owner = no-such-user",
            "fatal: file CONF/main.cf: parameter mail_owner: unknown user name value: no-such-user",
        ),
        (
            "setgid_group = no-such-group",
            "fatal: file CONF/main.cf: parameter setgid_group: unknown group name value: \
             no-such-group",
        ),
        ("queue_directory = /nonexistent", "fatal: chdir(/nonexistent): No such file or directory"),
    ];
    // All at once, because each takes a second.
    let sites = cases.map(|(line, _)| Site::new(line));
    let start = Instant::now();
    let services: Vec<_> = sites.iter().map(|site| site.launch().start()).collect();
    for (((line, text), site), mut service) in cases.into_iter().zip(&sites).zip(services) {
        if !line.starts_with("queue_directory") {
            let conf = site.path("conf").display().to_string();
            let record = site.log.wait(&text.replace("CONF", &conf));
            assert_eq!(record.ident, "postfix/postscreen", "{line}");
            assert_eq!(record.pid, service.pid().as_raw(), "{line}");
        }
        assert_eq!(service.wait_end().code(), Some(1), "{line}");
        assert!(start.elapsed() >= Duration::from_secs(1), "{line}: no pause");
        assert_eq!(service.next_status(), None, "{line}");
    }
}

#[test]
fn bad_options_are_fatal() {
    let cases: [(&[&str], &str); 4] = [
        (&["-l", "-n", "smtp"], "fatal: no transport type specified"),
        (&["-t", "inet", "-x"], "fatal: invalid option: x"),
        (&["-t", "inet", "-s", "0"], "fatal: invalid socket_count: 0"),
        (&["-t", "inet", "-s", "7"], "fatal: descriptor 7 is not open: not started by master(8)"),
    ];
    let sites = cases.map(|_| Site::new(""));
    let services: Vec<_> = cases
        .iter()
        .zip(&sites)
        .map(|((words, _), site)| site.launch().only_words(words).start())
        .collect();
    for (((_, text), site), mut service) in cases.iter().zip(&sites).zip(services) {
        site.log.wait(text);
        assert_eq!(service.wait_end().code(), Some(1), "{text}");
        assert_eq!(service.next_status(), None, "{text}");
    }
}

#[test]
fn by_hand_it_says_what_it_is() {
    for words in [&[][..], &["-l", "-t", "inet"]] {
        let mut child = {
            let _right = spawning();
            let terminal = openpty(None, None).unwrap();
            Command::new(env!("CARGO_BIN_EXE_gatepost"))
                .args(words)
                .stdin(terminal.slave)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!(first, "postscreen: fatal: do not run this command by hand");
        for part in ["gatepost", "postscreen(8)", "master.cf", "postconf -M", "man 8 gatepost"] {
            assert!(rest.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn both_of_two_sockets_are_served() {
    let site = Site::dual("");
    let smtpd = Smtpd::start(&site);
    let _service = site.start();
    let mut four = site.connect();
    let mut six = Client::connect(Ipv6Addr::LOCALHOST.into(), site.address(1));
    for client in [&mut four, &mut six] {
        client.expect_teaser();
    }
    for client in [&mut four, &mut six] {
        client.expect_smtpd();
    }
    let mut seen = [smtpd.next().attributes(), smtpd.next().attributes()];
    seen.sort();
    for ((client, attributes), number) in [four, six].iter().zip(seen).zip([0, 1]) {
        let (ours, theirs) = (client.address(), site.address(number));
        let expected = [
            ("client_address", ours.ip().to_string()),
            ("client_port", ours.port().to_string()),
            ("server_address", theirs.ip().to_string()),
            ("server_port", theirs.port().to_string()),
        ];
        let expected = expected.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        assert_eq!(attributes, expected.collect::<Vec<_>>());
        let text = format!("CONNECT from {} to [{}]:{}", client.name(), theirs.ip(), theirs.port());
        site.log.wait(&text);
        site.log.wait(&format!("PASS NEW {}", client.name()));
    }
}

/// How many descriptors of a process refer to what begins so.
fn count(files: &[(i32, String)], kind: &str) -> usize {
    files.iter().filter(|(_, target)| target.starts_with(kind)).count()
}

#[test]
fn each_process_has_its_descriptors_and_no_others() {
    let site = Site::dual("");
    site.own_setting("workers = 2");
    let service = site.start();
    site.log.wait_containing("is kept in");
    crate::eventually("two workers that are ready", || {
        let workers = service.workers();
        workers.len() == 2
            && workers.iter().all(|pid| count(&open_files(*pid), "anon_inode:[eventpoll]") > 0)
    });
    // It may be about to close one that it used for the status records.
    crate::eventually("a supervisor at rest", || open_files(service.pid()).len() <= 12);
    let supervisor = open_files(service.pid());
    // Log, status, and the channels to two workers; for postscreen(8) two listeners and the flow
    // pipe.
    assert_eq!(count(&supervisor, "socket:"), 6, "{supervisor:?}");
    assert_eq!(count(&supervisor, "pipe:"), 2, "{supervisor:?}");
    assert_eq!(count(&supervisor, "anon_inode:[signalfd]"), 1, "{supervisor:?}");
    assert_eq!(count(&supervisor, "/dev/null"), 3, "{supervisor:?}");
    assert_eq!(supervisor.len(), 12, "{supervisor:?}");
    let status = supervisor.iter().find(|(number, _)| *number == 5).unwrap();

    for worker in service.workers() {
        let files = open_files(worker);
        // Log, channel to the supervisor, where the census is told, and two listeners.
        assert_eq!(count(&files, "socket:"), 5, "{files:?}");
        assert!(files.iter().all(|(_, target)| *target != status.1), "status in {files:?}");
        assert_eq!(count(&files, "/dev/null"), 3, "{files:?}");
        assert_eq!(count(&files, "anon_inode:[signalfd]"), 1, "{files:?}");
        assert_eq!(count(&files, "pipe:"), 0, "{files:?}");
        let cache = site.cache_file().display().to_string();
        let known = |target: &str| {
            let kinds = ["socket:", "anon_inode:", "/dev/null", cache.as_str()];
            kinds.iter().any(|kind| target.starts_with(kind))
        };
        assert!(files.iter().all(|(_, target)| known(target)), "{files:?}");
        assert!(count(&files, &cache) > 0, "{files:?}");
    }
}
