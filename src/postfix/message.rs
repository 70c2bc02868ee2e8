//! One message for the log, before it is known where the log goes.

/// How serious a message is, in Postfix's steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// A normal event; logged without a prefix.
    Info,
    /// Trouble that the service survives.
    Warning,
    /// A recoverable internal error; thirteen of them end the process.
    Error,
    /// The process ends with status 1.
    Fatal,
    /// A broken invariant; the process aborts.
    Panic,
}

/// A text with its level. The text comes without the level's prefix (`warning: ` and so on).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// How serious it is.
    pub level: Level,
    /// What to log.
    pub text: String,
}

impl Message {
    /// A normal event.
    pub fn info(text: impl Into<String>) -> Message {
        Message { level: Level::Info, text: text.into() }
    }

    /// Trouble that the service survives.
    pub fn warning(text: impl Into<String>) -> Message {
        Message { level: Level::Warning, text: text.into() }
    }

    /// An error that the service survives.
    pub fn error(text: impl Into<String>) -> Message {
        Message { level: Level::Error, text: text.into() }
    }

    /// The reason why the service cannot start.
    pub fn fatal(text: impl Into<String>) -> Message {
        Message { level: Level::Fatal, text: text.into() }
    }
}
