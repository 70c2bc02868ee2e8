//! What clients get to see, however they behave and however many they are.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{Client, Next};
use nix::unistd::Pid;

use crate::proc::{Process, open_files, status};
use crate::service::run;
use crate::site::Site;
use crate::smtpd::Smtpd;
use crate::{PATIENCE, eventually};

#[test]
fn a_greet_wait_is_never_short() {
    let site = Site::new("");
    let _smtpd = Smtpd::start(&site);
    let _service = site.start();
    // At various moments of the clock's milliseconds.
    let mut clients: Vec<(Instant, Client)> = Vec::new();
    for number in 1..=50 {
        // A connection is accepted after this, so the wait can only seem longer than it is.
        clients.push((Instant::now(), site.connect_from(&format!("127.0.1.{number}"))));
        std::thread::sleep(Duration::from_micros(700));
    }
    for (start, client) in &mut clients {
        client.expect_teaser();
        client.expect_smtpd();
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

#[test]
fn a_pregreeter_gets_its_reply() {
    let site = Site::new("postscreen_greet_action = drop\npostscreen_greet_wait = 60s");
    let _service = site.start();
    // More than what is looked at, so that something is left unread.
    let text = format!("EHLO {}\r\n", "x".repeat(1000)).repeat(4);
    for round in 0..200 {
        let mut client = site.connect_from(&format!("127.0.2.{}", round % 250 + 1));
        client.send(&text);
        client.expect_teaser();
        client.expect("521 5.5.1 Protocol error");
        // It may have more to say.
        client.try_send(text.as_bytes());
        client.expect_end();
    }
    site.log.wait_count("PREGREET ", 200);
    site.log.wait_count("DISCONNECT ", 200);
}

#[test]
fn no_client_can_stay_for_ever() {
    let site = Site::new(
        "postscreen_greet_wait = 2s\n\
         postscreen_command_time_limit = 1s\n\
         max_idle = 1s",
    );
    let mut service = site.start();
    let mut next = 0;
    let mut newcomer = || {
        next += 1;
        let mut client = site.connect_from(&format!("127.0.3.{next}"));
        client.expect_teaser();
        client
    };

    let half_closed = newcomer();
    half_closed.half_close();
    let reset = newcomer();
    let reset_name = reset.name().to_owned();
    reset.reset();
    let gone = newcomer();
    let gone_name = gone.name().to_owned();
    drop(gone);
    for name in [half_closed.name(), &reset_name, &gone_name] {
        site.log.wait(&format!("DISCONNECT {name}"));
    }
    site.log.wait_count("HANGUP after ", 3);

    // There is no smtpd, so these get the dummy server: one says nothing, one floods, one
    // hangs up in the middle of a line, one never reads.
    let mut silent = newcomer();
    let mut flood = newcomer();
    let mut half_line = newcomer();
    let unread = newcomer();
    silent.expect("220 mx.example.test ESMTP Postfix");
    // Before its time is up.
    half_line.expect("220 mx.example.test ESMTP Postfix");
    half_line.send("EHL");
    half_line.half_close();
    site.log.wait(&format!("DISCONNECT {}", half_line.name()));
    silent.expect("421 4.4.2 mx.example.test Error: timeout exceeded");
    site.log.wait(&format!("COMMAND TIME LIMIT from {} after CONNECT", silent.name()));
    flood.expect("220 mx.example.test ESMTP Postfix");
    flood.try_send(&[b'x'; 1 << 20]);
    site.log.wait(&format!("DISCONNECT {}", flood.name()));
    site.log.wait(&format!("DISCONNECT {}", unread.name()));

    // They are all here still; the service is alone.
    assert_eq!(service.wait_end().code(), Some(0));
    service.wait_gone();
    drop((half_closed, silent, flood, half_line, unread));
}

#[test]
fn a_crowd_that_comes_at_once_is_served() {
    const CROWD: usize = 300;
    let site = Site::new(
        "postscreen_pre_queue_limit = 1000\n\
         postscreen_post_queue_limit = 1000\n\
         postscreen_client_connection_count_limit = 2",
    );
    let smtpd = Smtpd::start(&site);
    let mut service = site.start();
    let mut clients: Vec<Client> = (0..CROWD)
        .map(|number| site.connect_from(&format!("127.4.{}.{}", number / 250, number % 250 + 1)))
        .collect();
    for client in &mut clients {
        client.expect_teaser();
    }
    for client in &mut clients {
        client.expect_smtpd();
    }
    for _ in 0..CROWD {
        smtpd.next();
    }
    site.log.wait_count("PASS NEW ", CROWD);
    assert_eq!(site.log.count("warning: "), 0);
    assert!(service.lives());
}

#[test]
fn too_few_descriptors_cost_patience() {
    let site = Site::new("postscreen_greet_wait = 60s");
    let service = site.start();
    let worker = service.worker();
    // Root would raise a limit that is too low at start.
    let room = 10;
    let open = open_files(worker).last().unwrap().0 + 1;
    let limit = format!("--nofile={0}:{0}", open + room);
    run("prlimit", &["--pid", &worker.to_string(), &limit]);

    let mut inside: Vec<Client> =
        (1..=room + 3).map(|number| site.connect_from(&format!("127.0.4.{number}"))).collect();
    site.log.wait_containing("accept connection: Too many open files");
    let outside = inside.split_off(usize::try_from(room).unwrap());
    for client in &mut inside {
        client.expect_teaser();
    }
    let before = Process::find(worker).unwrap().ticks;
    std::thread::sleep(Duration::from_secs(1));
    let used = Process::find(worker).unwrap().ticks - before;
    assert!(used <= 10, "{used} ticks in a second");
    assert_eq!(site.log.count("accept connection: "), 1);

    inside.clear();
    for mut client in outside {
        client.expect_teaser();
    }
}

/// The limit of open files of a process, soft and hard.
fn open_files_limit(pid: Pid) -> [u64; 2] {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_ascii_whitespace().map(|word| word.parse().unwrap());
    [words.next().unwrap(), words.next().unwrap()]
}

/// Clients before and after the tests, and what else needs a descriptor.
const MANY: &str = "postscreen_pre_queue_limit = 700\npostscreen_post_queue_limit = 10";
const NEED: u64 = 700 + 2 * 10;

#[test]
fn the_limit_of_descriptors_is_raised() {
    let site = Site::new(MANY);
    let mut service = site.launch().limit("-Sn 100").start();
    service.wait_ready();
    assert!(open_files_limit(service.worker())[0] >= NEED);
    assert_eq!(site.log.count("warning: "), 0);
}

#[test]
fn a_hard_limit_below_the_need_is_raised_or_told() {
    const CAP_SYS_RESOURCE: u32 = 24;
    let site = Site::new(MANY);
    let mut service = site.launch().limit("-n 100").start();
    service.wait_ready();
    let limit = open_files_limit(service.worker());
    let capabilities = u64::from_str_radix(&status(Pid::this(), "CapEff"), 16).unwrap();
    if capabilities >> CAP_SYS_RESOURCE & 1 == 1 {
        assert!(limit[0] >= NEED && limit[1] >= NEED, "{limit:?}");
    } else {
        assert_eq!(limit, [100, 100]);
        site.log.wait_containing("file descriptors, but the limit is 100");
    }
    site.connect().expect_teaser();
}

/// A reply comes whole before the end, also to a client that is turned away at once.
#[test]
fn a_denied_client_that_talks_gets_its_reply() {
    let site = Site::new(
        "postscreen_access_list = static:reject\n\
         postscreen_denylist_action = drop",
    );
    let _service = site.start();
    for _ in 0..100 {
        let mut client = site.connect();
        client.try_send(b"EHLO client.example\r\nMAIL FROM:<>\r\n");
        client.expect("521 5.3.2 Service currently unavailable");
        assert_eq!(client.next_within(PATIENCE), Next::End);
    }
    eventually("all of them", || site.log.count("DISCONNECT") == 100);
}

/// Replies to a client that reads nothing wait in a bounded buffer, and only until its time is
/// up; while they wait, it is not listened to. Others are served.
#[test]
fn a_client_that_reads_nothing_costs_little() {
    let site = Site::new(
        "postscreen_greet_action = enforce\npostscreen_command_count_limit = 100000000\n\
         postscreen_command_time_limit = 4s\npostscreen_greet_wait = 1s",
    );
    let mut service = site.start();
    let mut deaf = TcpStream::connect(site.address(0)).unwrap();
    deaf.set_nonblocking(true).unwrap();
    let before = memory(service.worker());
    let commands = b"EHLO deaf.example\r\n".repeat(1000);
    let (mut sent, mut quiet_since) = (0, Instant::now());
    while quiet_since.elapsed() < Duration::from_millis(1500) {
        match deaf.write(&commands[sent % 19..]) {
            Ok(count) => (sent, quiet_since) = (sent + count, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error} after {sent} bytes"),
        }
    }
    // All buffers of the kernel are full; what had been said, had to be answered.
    assert!(sent > 100_000, "{sent}");
    let grown = memory(service.worker()).saturating_sub(before);
    assert!(grown < 2048, "{grown} KiB");

    let mut other = site.connect();
    other.expect_teaser();
    other.send("QUIT\r\n");
    other.expect("221 2.0.0 Bye");
    let name = deaf.local_addr().unwrap();
    let name = format!("[{}]:{}", name.ip(), name.port());
    site.log.wait(&format!("COMMAND TIME LIMIT from {name} after EHLO"));
    site.log.wait(&format!("DISCONNECT {name}"));
    assert!(service.lives());
}

/// Who reads again gets all its replies, in order.
#[test]
fn a_client_that_reads_late_misses_nothing() {
    const COMMANDS: usize = 40_000;
    let site = Site::new(
        "postscreen_greet_action = enforce\npostscreen_command_count_limit = 100000000\n\
         postscreen_greet_wait = 1s\npostscreen_pipelining_action = ignore",
    );
    let _service = site.start();
    let late = TcpStream::connect(site.address(0)).unwrap();
    let mut writer = late.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for number in 0..COMMANDS {
            let word = if number % 2 == 0 { "NOOP\r\n" } else { "HELO x\r\n" };
            writer.write_all(word.as_bytes()).unwrap();
        }
        writer.write_all(b"QUIT\r\n").unwrap();
    });
    std::thread::sleep(Duration::from_secs(2));
    let mut lines = BufReader::new(late).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("220-"));
    for number in 0..COMMANDS {
        let reply = if number % 2 == 0 { "250 2.0.0 Ok" } else { "250 mx.example.test" };
        assert_eq!(lines.next().as_deref(), Some(reply), "command {number}");
    }
    assert_eq!(lines.next().as_deref(), Some("221 2.0.0 Bye"));
    assert_eq!(lines.next(), None);
    sender.join().unwrap();
}

/// Resident memory, KiB.
fn memory(pid: Pid) -> u64 {
    let field = status(pid, "VmRSS");
    field.split(' ').next().unwrap().parse().unwrap()
}
