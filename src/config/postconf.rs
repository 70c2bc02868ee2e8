//! Calls of postconf(1), which knows what only Postfix itself can know.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Sources;
use crate::process::task::{End, Task, postfix_program};
use crate::screen::expand::{Mode, expand};

/// How long postconf(1) may take; it needs some 10 ms.
pub const TIME_LIMIT: Duration = Duration::from_secs(2);

/// The largest answer that makes sense, in bytes.
const MAX_TEXT: u64 = 64 << 10;

/// Where postconf(1) is looked for when main.cf does not say, or is wrong.
const USUAL_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"];

/// Why postconf(1) gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It cannot be started, or its output cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long and was killed.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// It failed.
    #[error("exit status {0}")]
    Failed(i32),
    /// A signal ended it.
    #[error("killed by {0}")]
    Killed(Signal),
    /// It did not say which version it is.
    #[error("no mail_version in the answer")]
    Empty,
}

/// Where postconf(1) is: in main.cf's `command_directory`, or in a usual place.
pub fn find(sources: &Sources) -> Option<PathBuf> {
    let set = sources.main_cf().value("command_directory");
    let lookup = |name: &str| sources.main_cf().value(name).map(Into::into);
    let set = set.and_then(|text| expand(text, Mode::Recursive, lookup).ok());
    let set = set.map(PathBuf::from);
    let usual = USUAL_DIRECTORIES.map(PathBuf::from);
    set.into_iter()
        .filter(|directory| directory.is_absolute())
        .chain(usual)
        .map(|directory| directory.join("postconf"))
        .find(|path| path.is_file())
}

/// The values of parameters, expanded, with the overrides of the command line. Parameters that
/// this Postfix does not have are missing.
///
/// # Errors
/// The reason in words.
pub fn values(
    sources: &Sources,
    overrides: &[String],
    names: impl Iterator<Item = &'static str>,
) -> Result<BTreeMap<String, String>, String> {
    let program = find(sources).ok_or("cannot find postconf")?;
    // Names are asked for with their values: an unknown one leaves no line.
    let mut arguments: Vec<&str> = Vec::new();
    for text in overrides {
        arguments.extend(["-o", text]);
    }
    arguments.push("-x");
    for name in names {
        arguments.push(name);
    }
    let answer = run(&program, sources.config_directory(), arguments, TIME_LIMIT);
    let answer = answer.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(answer.lines().filter_map(pair).collect())
}

/// The types of tables that this Postfix knows, its own and those of its plug-ins.
///
/// # Errors
/// The reason in words.
pub fn table_types(sources: &Sources) -> Result<Vec<String>, String> {
    let program = find(sources).ok_or("cannot find postconf")?;
    let answer = run(&program, sources.config_directory(), ["-m"], TIME_LIMIT);
    let answer = answer.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(answer.split_whitespace().map(str::to_owned).collect())
}

/// A line of the form `name = value`.
fn pair(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    Some((name.trim_ascii().to_owned(), value.trim_ascii().to_owned()))
}

/// Runs postconf(1), an absolute path, and kills it after `time_limit`. It inherits every
/// descriptor that is not close-on-exec, and nothing of the environment.
///
/// # Errors
/// When it cannot be started, fails, or takes too long.
pub fn run(
    program: &Path,
    config_directory: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    time_limit: Duration,
) -> Result<String, AskError> {
    let mut command = postfix_program(program, config_directory);
    command.arg("-c").arg(config_directory).args(arguments);
    let outcome = Task::run(command, time_limit)?.wait()?;
    match outcome.end {
        End::Success => {}
        End::Timeout(limit) => return Err(AskError::Timeout(limit)),
        End::Failure(status) => return Err(AskError::Failed(status)),
        End::Signal(signal) => return Err(AskError::Killed(signal)),
    }
    let mut answer = Vec::new();
    outcome.output.take(MAX_TEXT).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_pairs() {
        assert_eq!(pair("a = b = c "), Some(("a".into(), "b = c".into())));
        assert_eq!(pair("tls_config_name ="), Some(("tls_config_name".into(), String::new())));
        assert_eq!(pair("warning: junk"), None);
    }
}
