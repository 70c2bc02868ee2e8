//! Processor time and memory of processes.

use std::fs;
use std::str::FromStr;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

use super::Outcome;

/// The processor time of this process so far, microseconds.
pub fn own_cpu() -> Outcome<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let all = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(u64::try_from(all)?)
}

/// The processor time of a process with one thread, microseconds. Nothing once it has ended.
pub fn cpu_of(pid: u32) -> u64 {
    // Nanoseconds, where /proc/PID/stat counts in ticks of 10 ms: too coarse for a sum over
    // hundreds of processes that live for some milliseconds.
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) / 1000
}

/// The processor time of the children of a process that have ended, and of theirs,
/// microseconds in steps of 10000.
pub fn cpu_of_ended_children(pid: u32) -> Outcome<u64> {
    let fields = Stat::of(pid).ok_or("the process has ended")?;
    let a_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok((fields.children_user + fields.children_system) * 1_000_000 / u64::try_from(a_second)?)
}

/// Memory of one or several processes, KiB.
#[derive(Clone, Copy, Default, Debug)]
pub struct Memory {
    /// Resident; what is shared counts in each process.
    pub rss: u64,
    /// Resident; what is shared by n processes counts as one nth in each.
    pub pss: u64,
}

impl Memory {
    /// Of this process, or of a process by its number.
    pub fn of(process: &str) -> Memory {
        // The numbers in `status` are estimates.
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
        let field = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Memory { rss: field("Rss:"), pss: field("Pss:") }
    }

    /// The sum.
    #[must_use]
    pub fn and(self, other: Memory) -> Memory {
        Memory { rss: self.rss + other.rss, pss: self.pss + other.pss }
    }
}

/// The children of a process that run a program with this name.
pub fn children(parent: u32, program: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        Stat::of(*pid).is_some_and(|stat| stat.parent == parent && stat.program == program)
    };
    pids.filter(is_child).collect()
}

/// What is of interest in /proc/PID/stat.
struct Stat {
    program: String,
    parent: u32,
    /// In ticks.
    children_user: u64,
    children_system: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program, in parentheses, may contain anything.
        let (program, rest) = text.rsplit_once(") ")?;
        let (_, program) = program.split_once('(')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| u64::from_str(fields.get(index)?).ok();
        Some(Stat {
            program: program.to_owned(),
            parent: u32::try_from(number(1)?).ok()?,
            children_user: number(13)?,
            children_system: number(14)?,
        })
    }
}

/// A line about this machine.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |line: &str| Some(line.split_once(": ")?.1.to_owned());
    let model = cpus.lines().find(|line| line.starts_with("model name")).and_then(value);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{model}, {cores} cores, Linux {}, load {load} at the start", kernel.trim())
}
