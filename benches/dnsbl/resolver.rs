//! The resolver, driven as the daemon drives it.

use std::path::Path;
use std::time::{Duration, Instant};

use gatepost::dns::resolv_conf::Servers;
use gatepost::dns::resolver::{Limits, Resolver};
use gatepost::event::reactor::{Reactor, Ready, Source};
use gatepost::postfix::maillog::{self, Config, Destination, Program};
use gatepost::postfix::message::Level;
use gatepost::screen::dnsbl::answer::{Answer, Asker, ListId, Question};

use super::Outcome;
use super::figures::Figures;
use super::options::Options;
use super::proc::{Memory, own_cpu};
use super::workload::{self, LISTS, SILENT};

/// main.cf: `postscreen_dnsbl_timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the memory of unanswered look-ups is watched. They are asked again in that time.
const HOLD: Duration = Duration::from_secs(6);

struct Daemon {
    reactor: Reactor,
    resolver: Resolver,
    ready: Vec<Ready>,
}

impl Daemon {
    fn new(options: &Options) -> Outcome<Daemon> {
        let reactor = Reactor::new()?;
        let servers = Servers::default().with_list(vec![options.server]);
        let domains = LISTS.map(str::to_owned).to_vec();
        let (registry, token) = (reactor.share()?, Source::dns_token);
        let limits = Limits::default();
        let resolver = Resolver::new(registry, token, servers, domains, limits, Instant::now());
        Ok(Daemon { reactor, resolver, ready: Vec::new() })
    }

    fn ask(&mut self, (address, list): (std::net::IpAddr, u16), now: Instant) {
        let question = Question { asker: Asker::Client, address, list: ListId(list) };
        self.resolver.ask(question, now + TIMEOUT, now);
    }

    /// One turn of the loop, up to the answers; it lasts at most until `latest`.
    fn turn(&mut self, latest: Instant) -> Outcome<Instant> {
        let deadline = self.resolver.next_deadline().map_or(latest, |at| at.min(latest));
        self.reactor.wait(Some(deadline), &mut self.ready)?;
        let now = Instant::now();
        for event in &self.ready {
            if let Source::Dns { slot, generation } = event.source {
                self.resolver.ready(slot, generation, now);
            }
        }
        self.resolver.expired(now);
        Ok(now)
    }
}

/// Looks up everything once, and tells what it took.
pub fn look_up(options: &Options) -> Outcome<()> {
    let mut daemon = Daemon::new(options)?;
    if let Some(queue_directory) = options.queue_directory.as_deref().filter(|_| options.log) {
        start_logging(queue_directory);
    }
    let (memory, cpu, began) = (Memory::of("self").rss, own_cpu()?, Instant::now());
    let (mut asked, mut answered, mut wrong, mut sockets) = (0, 0, 0u32, 0);
    let mut now = began;
    while answered < options.lookups {
        while asked < options.lookups && asked - answered < options.in_flight {
            daemon.ask(workload::look_up(asked), now);
            asked += 1;
        }
        now = daemon.turn(now + TIMEOUT)?;
        sockets = sockets.max(daemon.resolver.open_sockets());
        while let Some((question, answer)) = daemon.resolver.take_answer() {
            answered += 1;
            wrong += u32::from(!is_right(&question, &answer));
            if options.log {
                log(&question, &answer);
            }
        }
    }
    let mut figures = Figures::default();
    figures.set("seconds", began.elapsed().as_secs_f64());
    figures.set("cpu", own_cpu()?.saturating_sub(cpu) as f64);
    figures.set("added", Memory::of("self").rss.saturating_sub(memory) as f64);
    figures.set("sockets", sockets as f64);
    figures.set("wrong", f64::from(wrong));
    figures.tell();
    Ok(())
}

/// Looks up what is not answered, and tells how much memory and how many sockets that takes.
pub fn hold(options: &Options) -> Outcome<()> {
    let mut daemon = Daemon::new(options)?;
    let (before, began) = (Memory::of("self").rss, Instant::now());
    for number in 0..options.held {
        daemon.ask((workload::address(number), SILENT), began);
    }
    let (mut most, mut sockets) = (before, 0);
    let mut now = began;
    while now < began + HOLD {
        now = daemon.turn(now + Duration::from_millis(100))?;
        most = most.max(Memory::of("self").rss);
        sockets = sockets.max(daemon.resolver.open_sockets());
    }
    let mut figures = Figures::default();
    figures.set("open", daemon.resolver.open_lookups() as f64);
    figures.set("added", most.saturating_sub(before) as f64);
    figures.set("whole", most as f64);
    figures.set("sockets", sockets as f64);
    figures.tell();
    Ok(())
}

fn is_right(question: &Question, answer: &Answer) -> bool {
    match answer {
        Answer::Listed { addresses, .. } => {
            workload::is_listed(question.list.0) && **addresses == [workload::RECORD]
        }
        Answer::NotListed { ttl } => !workload::is_listed(question.list.0) && ttl.is_some(),
        Answer::Failed(_) => false,
    }
}

fn start_logging(queue_directory: &Path) {
    maillog::init(Config {
        destination: Destination::Postlog(queue_directory.join("public/postlog")),
        hostname: "mx.example.test".into(),
        ..Config::from_environment(|_| None)
    });
}

/// What dnsblog(8) logs, and Gatepost too.
fn log(question: &Question, answer: &Answer) {
    let Answer::Listed { addresses, .. } = answer else { return };
    let list = LISTS.get(usize::from(question.list.0)).copied().unwrap_or_default();
    for address in addresses {
        let text = format!("addr {} listed by domain {list} as {address}", question.address);
        maillog::write(Program::Dnsblog, Level::Info, text);
    }
}
