//! What /proc says about processes.

use std::fs;

use nix::unistd::Pid;

/// A line of /proc/PID/stat, the parts that matter here.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: Pid,
    pub parent: Pid,
    pub session: Pid,
    state: u8,
    /// Processor time used so far, in ticks of 10 ms.
    pub ticks: u64,
}

impl Process {
    /// A process that has ended counts as none, also while nobody has reaped it.
    pub fn find(pid: Pid) -> Option<Process> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program, in parentheses, may contain anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let process = Process {
            pid,
            state: *fields.first()?.as_bytes().first()?,
            parent: Pid::from_raw(number(1)?),
            session: Pid::from_raw(number(3)?),
            ticks: ticks(11)? + ticks(12)?,
        };
        (!matches!(process.state, b'Z' | b'X')).then_some(process)
    }

    /// All there are.
    pub fn all() -> Vec<Process> {
        let entries = fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid| Process::find(Pid::from_raw(pid))).collect()
    }

    /// Whether it sleeps by a SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        self.state == b'T'
    }
}

/// What the descriptors of a process refer to, in the order of their numbers.
pub fn open_files(pid: Pid) -> Vec<(i32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut files: Vec<(i32, String)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            Some((number, fs::read_link(path).ok()?.to_string_lossy().into_owned()))
        })
        .collect();
    files.sort();
    files
}

/// A field of /proc/PID/status.
pub fn status(pid: Pid, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// A field of /proc/PID/task/THREAD/status, of every thread.
pub fn status_of_threads(pid: Pid, field: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .map(|thread| {
            let text = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.unwrap().trim().to_owned()
        })
        .collect()
}
