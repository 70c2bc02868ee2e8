//! Starts the processes in turn, and prints what they have come to.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::figures::{Figures, Spread};
use super::name_server::{Counters, counters};
use super::options::{Options, Role};
use super::postfix::Master;
use super::{Outcome, proc};

/// How long dnsblog(8) processes may take to come into being, without one more.
const STANDSTILL: Duration = Duration::from_secs(2);

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Subject {
    Resolver,
    /// The resolver, in a process that logs what is listed, as the daemon does.
    ResolverAndLog(Master),
    Dnsblog(Master),
}

/// The figures of one subject, round by round.
struct Column {
    subject: Subject,
    rounds: Vec<Figures>,
}

struct Bench {
    options: Options,
    master: Option<Master>,
    columns: Vec<Column>,
    _name_server: Process,
}

/// Measures everything.
pub fn run(options: &Options) -> Outcome<()> {
    let (name_server, server) = start_name_server(options)?;
    let options = Options { server, ..options.clone() };
    let master = options.queue_directory.as_deref().map(Master::find).transpose()?;
    let subjects = match master {
        Some(master) => {
            vec![Subject::Resolver, Subject::ResolverAndLog(master), Subject::Dnsblog(master)]
        }
        None => vec![Subject::Resolver],
    };
    let columns =
        subjects.into_iter().map(|subject| Column { subject, rounds: Vec::new() }).collect();
    let mut bench = Bench { options, master, columns, _name_server: name_server };
    println!("{}", proc::machine());
    bench.rounds()?;
    bench.print();
    bench.hold()
}

impl Bench {
    /// One subject after the other, round after round. The first round does not count: caches
    /// and the first dnsblog(8) processes fill then.
    fn rounds(&mut self) -> Outcome<()> {
        for round in 0..=self.options.rounds {
            let mut columns = std::mem::take(&mut self.columns);
            for column in &mut columns {
                let figures = self.measure(column.subject)?;
                if round > 0 {
                    column.rounds.push(figures);
                }
            }
            self.columns = columns;
        }
        Ok(())
    }

    fn measure(&self, subject: Subject) -> Outcome<Figures> {
        let before = counters(self.options.server)?;
        let mut figures = match subject {
            Subject::Resolver => play(&self.options, Role::Resolver)?,
            Subject::ResolverAndLog(master) => {
                let times = master.times()?;
                let options = Options { log: true, ..self.options.clone() };
                let mut figures = play(&options, Role::Resolver)?;
                figures.set("postlogd_cpu", master.times()?.since(times).postlogd as f64);
                figures
            }
            Subject::Dnsblog(master) => self.measure_dnsblog(master)?,
        };
        let after = counters(self.options.server)?;
        figures.set("questions", (after.questions - before.questions) as f64);
        figures.set("server_cpu", (after.cpu - before.cpu) as f64);
        Ok(figures)
    }

    fn measure_dnsblog(&self, master: Master) -> Outcome<Figures> {
        let before = master.times()?;
        let client = play(&self.options, Role::Client)?;
        let processes = master.dnsblogs();
        let memory = Master::memory(&processes);
        let times = master.times()?.since(before);
        let mut figures = Figures::default();
        for (name, value) in [
            ("seconds", client.get("seconds")),
            ("wrong", client.get("wrong")),
            ("client_cpu", client.get("cpu")),
            ("cpu", times.dnsblog as f64),
            ("master_cpu", times.master as f64),
            ("postlogd_cpu", times.postlogd as f64),
            ("processes", processes.len() as f64),
            ("rss", memory.rss as f64),
            ("pss", memory.pss as f64),
        ] {
            figures.set(name, value);
        }
        Ok(figures)
    }

    fn print(&self) {
        let Options { lookups, in_flight, dnsblog_in_flight, rounds, .. } = self.options;
        println!("{lookups} look-ups, one in three listed, {in_flight} in flight;");
        if self.master.is_some() {
            println!("dnsblog(8) under a process limit of 0, {dnsblog_in_flight} in flight.");
        }
        println!("Median of {rounds} rounds (lowest–highest).\n");
        print!("{:36}", "");
        for column in &self.columns {
            print!(" {:>26}", column.subject.name());
        }
        println!();
        let lookups = f64::from(lookups);
        self.row("look-ups a second", |round| lookups / round.get("seconds"));
        self.row("CPU, µs a look-up", |round| round.get("cpu") / lookups);
        self.row("memory added, KiB", |round| round.get("added"));
        self.row("memory of all processes, KiB (PSS)", |round| round.get("pss"));
        self.row("the same, shared pages in each (RSS)", |round| round.get("rss"));
        self.row("processes at the end", |round| round.get("processes"));
        self.row("sockets to the name server", |round| round.get("sockets"));
        self.row("datagrams a look-up", |round| round.get("questions") / lookups);
        self.row("wrong or no answers", |round| round.get("wrong"));
        println!("CPU of others, µs a look-up");
        self.row("  who asks dnsblog(8)", |round| round.get("client_cpu") / lookups);
        self.row("  master(8)", |round| round.get("master_cpu") / lookups);
        self.row("  postlogd(8)", |round| round.get("postlogd_cpu") / lookups);
        self.row("  the name server", |round| round.get("server_cpu") / lookups);
        println!();
        self.ratios();
    }

    fn row(&self, name: &str, figure: impl Fn(&Figures) -> f64) {
        let spread = |column: &Column| Spread::of(column.rounds.iter().map(&figure));
        let spreads: Vec<Spread> = self.columns.iter().map(spread).collect();
        if spreads.iter().all(|spread| spread.median.is_nan()) {
            return;
        }
        print!("{name:36}");
        for spread in spreads {
            print!(" {spread:>26}");
        }
        println!();
    }

    /// dnsblog(8)'s figures over the resolver's, round by round.
    fn ratios(&self) {
        let Some((dnsblog, resolvers)) = self.columns.split_last() else { return };
        for resolver in resolvers {
            let pairs = || dnsblog.rounds.iter().zip(&resolver.rounds);
            let cpu = pairs().map(|(theirs, ours)| theirs.get("cpu") / ours.get("cpu"));
            let rate = pairs().map(|(theirs, ours)| theirs.get("seconds") / ours.get("seconds"));
            println!(
                "Of the CPU of {}, dnsblog(8) needs {} times as much; of its look-ups a second, \
                 dnsblog(8) makes one in {}.",
                resolver.subject.name(),
                Spread::of(cpu),
                Spread::of(rate),
            );
        }
    }

    /// What look-ups take that nobody answers.
    fn hold(&self) -> Outcome<()> {
        println!("\nLook-ups that are not answered:");
        let figures = play(&self.options, Role::ResolverHolds)?;
        println!(
            "the resolver: {} open, {} KiB of memory added, {} KiB in the whole process, {} \
             sockets to the name server",
            figures.get("open"),
            figures.get("added"),
            figures.get("whole"),
            figures.get("sockets"),
        );
        let Some(master) = self.master else { return Ok(()) };
        let held = usize::try_from(self.options.dnsblog_held)?;
        let client = Process(start(&self.options, Role::ClientHolds, Stdio::null())?);
        let (mut most, mut grew) = (0, Instant::now());
        while most < held && grew.elapsed() < STANDSTILL {
            sleep(Duration::from_millis(100));
            let count = master.dnsblogs().len();
            if count > most {
                (most, grew) = (count, Instant::now());
            }
        }
        let processes = master.dnsblogs();
        let memory = Master::memory(&processes);
        println!(
            "dnsblog(8): {held} asked for, {} processes, {} KiB of memory (PSS; RSS {} KiB)",
            processes.len(),
            memory.pss,
            memory.rss
        );
        drop(client);
        Ok(())
    }
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Subject::Resolver => "the resolver",
            Subject::ResolverAndLog(_) => "the resolver and its log",
            Subject::Dnsblog(_) => "dnsblog(8)",
        }
    }
}

fn start_name_server(options: &Options) -> Outcome<(Process, SocketAddr)> {
    let mut process = Process(start(options, Role::NameServer, Stdio::piped())?);
    let output = process.0.stdout.take().ok_or("no pipe")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let address = line.trim().parse().map_err(|_| "the name server does not start")?;
    // It answers only questions; make sure that it does.
    let Counters { .. } = counters(address)?;
    Ok((process, address))
}

/// Runs a process to its end, for its figures.
fn play(options: &Options, role: Role) -> Outcome<Figures> {
    let child = start(options, role, Stdio::piped())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{role:?}: {}", output.status).into());
    }
    Ok(Figures::hear(&String::from_utf8_lossy(&output.stdout)))
}

fn start(options: &Options, role: Role, output: Stdio) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args(options.command_line(role)).stdin(Stdio::null()).stdout(output).spawn()?)
}
