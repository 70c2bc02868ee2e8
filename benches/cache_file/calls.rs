//! System calls of a role, counted by strace(1) between its marks.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Outcome;

/// Calls per unit of work, in each stretch between two marks: of the thread that makes the marks,
/// and of the others. The pauses of the bench itself do not count. `None` without strace(1).
pub fn count(words: &[&str], log: &Path, units: f64) -> Outcome<Option<Vec<[f64; 2]>>> {
    let traced = Command::new("strace")
        .args(["-f", "-o"])
        .arg(log)
        .arg(std::env::current_exe()?)
        .args(words)
        .env(super::roles::QUIET, "1")
        .stdout(Stdio::null())
        .status();
    match traced {
        Ok(status) if status.success() => {}
        _ => return Ok(None),
    }
    let text = std::fs::read_to_string(log)?;
    let calls: Vec<(&str, &str)> = text.lines().filter_map(call).collect();
    let marker = calls.iter().find(|(_, name)| *name == "getppid").map(|(thread, _)| *thread);
    let mut stretches: Vec<BTreeMap<bool, f64>> = Vec::new();
    for (thread, name) in calls {
        let is_other = Some(thread) != marker;
        match name {
            "getppid" => stretches.push(BTreeMap::new()),
            "clock_nanosleep" | "openat" | "read" | "close" if !is_other => {}
            _ => {
                if let Some(stretch) = stretches.last_mut() {
                    *stretch.entry(is_other).or_default() += 1.0;
                }
            }
        }
    }
    // What is behind the last mark is no work.
    stretches.pop();
    let each = |stretch: &BTreeMap<bool, f64>| {
        [false, true].map(|is_other| stretch.get(&is_other).copied().unwrap_or(0.0) / units)
    };
    Ok(Some(stretches.iter().map(each).collect()))
}

/// The thread and the name of a call, at the line with its beginning.
fn call(line: &str) -> Option<(&str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, _) = rest.trim_start().split_once('(')?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some((thread, name))
}
