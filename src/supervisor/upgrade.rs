//! Postfix may be upgraded under a running service. What other daemons speak goes by the
//! version, which was asked for at the start: when one of them is not understood, it is asked
//! for again.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::config::Sources;
use crate::config::build_defaults::BuildDefaults;
use crate::config::postconf;
use crate::process::task::{End, Outcome, Task, postfix_program};

/// How often at most to ask.
const PAUSE: Duration = Duration::from_secs(60);

/// The largest answer that makes sense, bytes.
const MAX_ANSWER: u64 = 4096;

/// What is known of the version.
#[derive(Debug)]
pub struct Upgrade {
    sources: Sources,
    /// As postconf(1) told it at the start.
    version: Option<String>,
    asked: Option<Instant>,
}

impl Upgrade {
    /// `version` is the one that everything was prepared for.
    pub fn new(sources: Sources, version: Option<String>) -> Upgrade {
        Upgrade { sources, version, asked: None }
    }

    /// Starts to ask, unless that was done a short while ago, or there is nobody to ask.
    pub fn look(&mut self, now: Instant) -> Option<Task> {
        if self.asked.is_some_and(|asked| now.duration_since(asked) < PAUSE) {
            return None;
        }
        self.asked = Some(now);
        let program = postconf::find(&self.sources)?;
        let mut command = postfix_program(&program, self.sources.config_directory());
        command.args(["-d", "mail_version"]);
        Task::run(command, postconf::TIME_LIMIT).ok()
    }

    /// What to log if a successor is wanted.
    pub fn judge(&self, outcome: Outcome) -> Option<String> {
        if outcome.end != End::Success {
            return None;
        }
        let mut answer = Vec::new();
        outcome.output.take(MAX_ANSWER).read_to_end(&mut answer).ok()?;
        let answer = BuildDefaults::from_text(&String::from_utf8_lossy(&answer))?;
        let now = answer.get("mail_version")?;
        if self.version.as_deref() == Some(now) {
            return None;
        }
        let before = self.version.as_deref().unwrap_or("unknown");
        Some(format!("mail_version {before} has changed to {now} - finishing in the background"))
    }
}
