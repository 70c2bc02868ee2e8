//! What this process has used.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::unistd::getppid;

use super::Outcome;

/// The processor time of a thread so far, microseconds: of this one, or of the first one of that
/// name.
pub fn cpu(thread: Option<&str>) -> Outcome<f64> {
    let task = match thread {
        None => "/proc/thread-self".into(),
        Some(name) => task(name)?,
    };
    // Nanoseconds, and kept at each change of threads; the other sources count ticks.
    let text = fs::read_to_string(task.join("schedstat"))?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e3)
}

fn task(name: &str) -> Outcome<PathBuf> {
    // A thread that has been started a moment ago has no name yet.
    for _ in 0..100 {
        for entry in fs::read_dir("/proc/self/task")? {
            let path = entry?.path();
            if fs::read_to_string(path.join("comm"))?.trim_end() == name {
                return Ok(path);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(format!("no thread {name}").into())
}

/// Resident memory, KiB.
pub fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Shows whoever counts the system calls (`calls`) where a measurement begins and ends, by one
/// that nothing else makes.
pub fn mark() {
    getppid();
}

/// The value below which `share` of `values` are. Sorts them.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
