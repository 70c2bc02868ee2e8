//! The core's questions, answered from tables and cache.

use std::net::IpAddr;

use crate::cache::Cache;
use crate::postfix::screen_tables::ScreenTables;
use crate::screen::event::{Access, Cached, Filtered, Lookups};
use crate::screen::logline::Message;
use crate::screen::test_set::UnixTime;
use crate::sys::{self, LocalTime};

/// Everything that the core may ask.
#[derive(Debug)]
pub struct Sources {
    /// The lookup tables and lists of main.cf.
    pub tables: ScreenTables,
    /// The verdict cache.
    pub cache: Cache,
}

impl Lookups for Sources {
    fn access(&mut self, client: IpAddr, messages: &mut Vec<Message>) -> Access {
        self.tables.access(client, messages)
    }

    fn cached(&mut self, client: IpAddr) -> Cached {
        self.cache.lookup(client)
    }

    fn interface_allowed(&mut self, server: IpAddr, messages: &mut Vec<Message>) -> bool {
        self.tables.interface_allowed(server, messages)
    }

    fn discarded_keywords(
        &mut self,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Option<String> {
        self.tables.discarded_keywords(client, messages)
    }

    fn footer(&mut self, reply: &str, messages: &mut Vec<Message>) -> Option<String> {
        self.tables.footer(reply, messages)
    }

    fn command_filter(&mut self, line: &[u8], messages: &mut Vec<Message>) -> Filtered {
        self.tables.command_filter(line, messages)
    }

    fn forbidden(&mut self, word: &[u8], messages: &mut Vec<Message>) -> bool {
        self.tables.forbidden(word, messages)
    }

    fn local_time(&mut self, time: UnixTime) -> String {
        date_and_time(sys::local_time(time))
    }
}

/// strftime(3)'s `%b %d %H:%M:%S`; unlike in the log, days have two digits.
fn date_and_time(time: LocalTime) -> String {
    let LocalTime { day, hour, minute, second, .. } = time;
    format!("{} {day:02} {hour:02}:{minute:02}:{second:02}", time.month_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_have_two_digits() {
        let time = LocalTime { month: 8, day: 3, hour: 4, minute: 5, second: 6 };
        assert_eq!(date_and_time(time), "Sep 03 04:05:06");
        let time = LocalTime { month: 11, day: 31, hour: 23, minute: 59, second: 60 };
        assert_eq!(date_and_time(time), "Dec 31 23:59:60");
    }
}
