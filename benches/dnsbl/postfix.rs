//! The Postfix instance that is measured, seen from outside.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::Outcome;
use super::proc::{Memory, children, cpu_of, cpu_of_ended_children};

/// The master(8) process of the instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Master(u32);

/// Processor time, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Of all dnsblog(8) processes, those that have ended included.
    pub dnsblog: u64,
    /// Of master(8), which makes them.
    pub master: u64,
    /// Of postlogd(8), which writes what they log.
    pub postlogd: u64,
}

impl Master {
    /// Finds it.
    pub fn find(queue_directory: &Path) -> Outcome<Master> {
        let text = fs::read_to_string(queue_directory.join("pid/master.pid"))?;
        Ok(Master(text.trim().parse()?))
    }

    /// The dnsblog(8) processes that there are.
    pub fn dnsblogs(self) -> Vec<u32> {
        children(self.0, "dnsblog")
    }

    /// Memory of these processes.
    pub fn memory(pids: &[u32]) -> Memory {
        let memories = pids.iter().map(|pid| Memory::of(&pid.to_string()));
        memories.fold(Memory::default(), Memory::and)
    }

    /// Processor time so far; to be asked when nothing goes on.
    ///
    /// dnsblog(8)'s is that of the processes that there are, from the scheduler, and of those
    /// that master(8) has waited for. postlogd(8), its other child, does not end meanwhile.
    pub fn times(self) -> Outcome<Times> {
        // A process that has just done its last work ends now, and is waited for.
        sleep(Duration::from_millis(300));
        let alive: u64 = self.dnsblogs().into_iter().map(cpu_of).sum();
        Ok(Times {
            dnsblog: alive + cpu_of_ended_children(self.0)?,
            master: cpu_of(self.0),
            postlogd: children(self.0, "postlogd").into_iter().map(cpu_of).sum(),
        })
    }
}

impl Times {
    /// What was added since then.
    #[must_use]
    pub fn since(self, then: Times) -> Times {
        Times {
            dnsblog: self.dnsblog.saturating_sub(then.dnsblog),
            master: self.master.saturating_sub(then.master),
            postlogd: self.postlogd.saturating_sub(then.postlogd),
        }
    }
}
