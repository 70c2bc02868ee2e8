//! The defaults that depend on how Postfix was built, and its version: asked of postconf(1),
//! and remembered. It is asked again when it, or the library that it has them from, is another
//! file than it was. Without that it would be asked at every start, and that takes half of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::Sources;
use super::postconf::{self, AskError, TIME_LIMIT};
use crate::postfix::message::Message;
use crate::postfix::params::{DefaultValue, TABLE};
use crate::process::note;

/// Unexpanded defaults by parameter name. What is missing is taken from the table of
/// parameters, as in Debian 12.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BuildDefaults {
    values: BTreeMap<&'static str, String>,
}

impl BuildDefaults {
    /// What was true for Debian 12's Postfix 3.7.11.
    pub fn compiled_in() -> BuildDefaults {
        let build = TABLE.iter().filter_map(|param| match param.default {
            DefaultValue::Build(text) => Some((param.name, text.to_owned())),
            _ => None,
        });
        BuildDefaults { values: build.collect() }
    }

    /// Reads lines of `name = value`; other lines, and names that are not of this kind, do
    /// not matter.
    pub fn parse(text: &str) -> BuildDefaults {
        let known = |name: &str| names().find(|known| *known == name);
        let values = text.lines().filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((known(name.trim_ascii())?, value.trim_ascii().to_owned()))
        });
        BuildDefaults { values: values.collect() }
    }

    /// Lines of `name = value`, for [`BuildDefaults::from_text`].
    pub fn to_text(&self) -> String {
        self.values.iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
    }

    /// Reads what [`BuildDefaults::to_text`] wrote; `None` when there is no version in it.
    pub fn from_text(text: &str) -> Option<BuildDefaults> {
        let defaults = BuildDefaults::parse(text);
        defaults.get("mail_version").is_some_and(|version| !version.is_empty()).then_some(defaults)
    }

    /// The default of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    let build = |default| matches!(default, DefaultValue::Build(_));
    TABLE.iter().filter(move |param| build(param.default)).map(|param| param.name)
}

/// Asks postconf(1), an absolute path, and kills it after `time_limit`.
///
/// # Errors
/// As [`postconf::run`], and when it does not know its version.
pub fn ask(
    program: &Path,
    config_directory: &Path,
    time_limit: Duration,
) -> Result<BuildDefaults, AskError> {
    let arguments = ["-d"].into_iter().chain(names());
    let answer = postconf::run(program, config_directory, arguments, time_limit)?;
    BuildDefaults::from_text(&answer).ok_or(AskError::Empty)
}

/// The defaults from postconf(1), else those that `memory` recalls, else compiled-in ones;
/// the last two with a warning. A fresh answer is remembered, and counts as long as postconf(1)
/// stays as it is.
pub fn obtain(sources: &Sources, memory: &Path) -> (BuildDefaults, Vec<Message>) {
    let recalled = recall(memory);
    let problem = match postconf::find(sources) {
        None => "cannot find postconf".to_owned(),
        Some(postconf) => {
            if let Some((defaults, witness)) = &recalled
                && *witness == Some(Witness::of(&postconf, defaults))
            {
                return (defaults.clone(), Vec::new());
            }
            // Taken before the question: should postconf(1) be replaced meanwhile, the next
            // start asks again.
            let program = Identity::of(&postconf);
            match ask(&postconf, sources.config_directory(), TIME_LIMIT) {
                Ok(defaults) => {
                    let witness = Witness { program, ..Witness::of(&postconf, &defaults) };
                    let saved = remember(&defaults, Some(&witness), memory);
                    let trouble = saved.err().map(|error| {
                        Message::warning(format!("cannot write {}: {error}", memory.display()))
                    });
                    return (defaults, trouble.into_iter().collect());
                }
                Err(error) => format!("{}: {error}", postconf.display()),
            }
        }
    };
    let (defaults, origin) = match recalled {
        Some((defaults, _)) => (defaults, "those of its last answer"),
        None => (BuildDefaults::compiled_in(), "compiled-in ones"),
    };
    let text = format!("{problem}; for Postfix's build-dependent defaults, using {origin}");
    (defaults, vec![Message::warning(text)])
}

/// Which files an answer comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// postconf(1).
    program: Identity,
    /// The library with Postfix's parameters, where there is one.
    library: Identity,
}

/// What changes when a file is replaced or written to; empty if there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Identity(String);

impl Identity {
    fn of(path: &Path) -> Identity {
        let parts = |status: fs::Metadata| {
            let numbers = [
                i128::from(status.dev()),
                i128::from(status.ino()),
                i128::from(status.size()),
                i128::from(status.mtime()),
                i128::from(status.mtime_nsec()),
                i128::from(status.ctime()),
                i128::from(status.ctime_nsec()),
            ];
            numbers.map(|number| number.to_string()).join(":")
        };
        Identity(fs::metadata(path).map(parts).unwrap_or_default())
    }
}

impl Witness {
    fn of(postconf: &Path, defaults: &BuildDefaults) -> Witness {
        let library = defaults.get("shlib_directory").unwrap_or_default();
        Witness {
            program: Identity::of(postconf),
            library: Identity::of(&Path::new(library).join(LIBRARY)),
        }
    }

    /// A line for the file of the remembered defaults.
    fn to_line(&self) -> String {
        format!("{WITNESS}{} {}\n", self.program.0, self.library.0)
    }

    fn from_text(text: &str) -> Option<Witness> {
        let line = text.lines().find_map(|line| line.strip_prefix(WITNESS))?;
        let (program, library) = line.split_once(' ')?;
        Some(Witness { program: Identity(program.into()), library: Identity(library.into()) })
    }
}

/// What the line of a [`Witness`] begins with. To an older version it is no default.
const WITNESS: &str = "# as told by ";

/// Where Postfix has its defaults.
const LIBRARY: &str = "libpostfix-global.so";

/// Reads remembered defaults, and from what they came.
pub fn recall(path: &Path) -> Option<(BuildDefaults, Option<Witness>)> {
    let text = note::read(path)?;
    Some((BuildDefaults::from_text(&text)?, Witness::from_text(&text)))
}

/// Writes defaults for [`recall`].
///
/// # Errors
/// Those of creating, writing and renaming the file.
pub fn remember(
    defaults: &BuildDefaults,
    witness: Option<&Witness>,
    path: &Path,
) -> io::Result<()> {
    let text = defaults.to_text() + &witness.map(Witness::to_line).unwrap_or_default();
    note::write(path, &text)
}

#[cfg(test)]
mod tests;
