//! Reading many parameters without stopping at the first bad one.

use std::time::Duration;

use super::Fatal;
use crate::postfix::message::{Level, Message};
use crate::postfix::params::{BadValue, Fetched, Values};
use crate::screen::policy::Stressed;

/// Values plus what has been said about them.
///
/// [`Reader::check_all`] reports bad values, in Postfix's order. The getters then stay
/// silent about them and return a placeholder; nobody uses that, because
/// [`Reader::finish`] refuses the whole configuration.
pub struct Reader<'v> {
    /// The values.
    pub values: &'v Values,
    messages: Vec<Message>,
}

impl<'v> Reader<'v> {
    /// Starts with the messages so far.
    pub fn new(values: &'v Values, messages: Vec<Message>) -> Reader<'v> {
        Reader { values, messages }
    }

    /// Reports the bad ones among the values that are fetched at one time.
    pub fn check_all(&mut self, fetched: Fetched) {
        for problem in self.values.problems(fetched) {
            self.report(&problem);
        }
    }

    /// Reports one bad value.
    pub fn report(&mut self, problem: &BadValue) {
        self.messages.extend(problem.messages());
    }

    /// The end, when nothing more can be checked.
    pub fn give_up(&mut self) -> Fatal {
        Fatal { messages: std::mem::take(&mut self.messages) }
    }

    /// Adds a reason why the configuration does not work.
    pub fn fatal(&mut self, text: impl Into<String>) {
        self.messages.push(Message::fatal(text));
    }

    /// Adds a warning.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.messages.push(Message::warning(text));
    }

    /// Adds an error that does not keep the service from starting.
    pub fn error(&mut self, text: impl Into<String>) {
        self.messages.push(Message::error(text));
    }

    /// The end: the messages, unless there is a fatal one.
    ///
    /// # Errors
    /// When there is a fatal message.
    pub fn finish(&mut self) -> Result<Vec<Message>, Fatal> {
        let messages = std::mem::take(&mut self.messages);
        let bad = messages.iter().any(|message| message.level == Level::Fatal);
        if bad { Err(Fatal { messages }) } else { Ok(messages) }
    }

    /// Any parameter; the placeholder if it is bad.
    fn get<T>(&mut self, result: Result<T, BadValue>, placeholder: T) -> T {
        match result {
            Ok(value) => value,
            Err(error) => {
                if matches!(error, BadValue::NoSuchParameter { .. }) {
                    self.report(&error);
                }
                placeholder
            }
        }
    }

    /// A text.
    pub fn str(&mut self, name: &str) -> String {
        self.get(self.values.str(name), String::new())
    }

    /// A text; `None` when it is empty.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        Some(self.str(name)).filter(|text| !text.is_empty())
    }

    /// A text that is not expanded.
    pub fn raw(&mut self, name: &str) -> String {
        self.get(self.values.raw(name), String::new())
    }

    /// A number.
    pub fn int(&mut self, name: &str) -> i32 {
        self.get(self.values.int(name), 0)
    }

    /// A number that cannot be negative, because its minimum is not or a smaller one counts
    /// as 0.
    pub fn count(&mut self, name: &str) -> usize {
        usize::try_from(self.int(name)).unwrap_or(0)
    }

    /// A large number that counts as 0 when it is negative.
    pub fn size(&mut self, name: &str) -> u64 {
        u64::try_from(self.get(self.values.long(name), 0)).unwrap_or(0)
    }

    /// `yes` or `no`.
    pub fn bool(&mut self, name: &str) -> bool {
        self.get(self.values.bool(name), false)
    }

    /// A span of time.
    pub fn time(&mut self, name: &str) -> Duration {
        self.get(self.values.time(name), Duration::ZERO)
    }

    /// A span of time that depends on stress.
    pub fn stressed_time(&mut self, name: &str) -> Stressed<Duration> {
        let placeholder = Stressed { normal: Duration::ZERO, stress: Duration::ZERO };
        self.get(self.values.stressed_time(name), placeholder)
    }
}
