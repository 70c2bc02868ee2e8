//! The core's questions, answered from tables and cache.

use std::net::IpAddr;

use super::inquiries::{Asker, Inquired, Inquiries};
use crate::cache::Cache;
use crate::postfix::screen_tables::{NoName, ScreenTables, ScreenView};
use crate::postfix::table::RemoteQuestion;
use crate::screen::event::{Access, Cached, Filtered, Lookup, Lookups, Spoken, Trust};
use crate::screen::logline::Message;
use crate::screen::screener::Screener;
use crate::screen::session::SessionId;
use crate::screen::test_set::UnixTime;
use crate::sys::{self, LocalTime};

/// Everything that the core may ask.
#[derive(Debug)]
pub struct Sources {
    /// The lookup tables and lists of main.cf.
    pub tables: ScreenTables,
    /// What tables elsewhere are asked.
    pub inquiries: Inquiries,
    /// The verdict cache.
    pub cache: Cache,
}

impl Sources {
    /// Looks something up, as far as that is possible now. What an attempt that came to a
    /// question had to say does not count: the next one says it again.
    fn look_up<T>(
        &mut self,
        session: SessionId,
        messages: &mut Vec<Message>,
        look: impl Fn(ScreenView<'_>, &mut Vec<Message>) -> Result<T, RemoteQuestion>,
    ) -> Lookup<T> {
        let (asker, said) = (Asker::Session(session), messages.len());
        loop {
            match look(self.tables.with(self.inquiries.known(asker)), messages) {
                Ok(value) => {
                    self.inquiries.settled(asker);
                    return Lookup::Known(value);
                }
                Err(question) => {
                    messages.truncate(said);
                    match self.inquiries.ask(asker, question) {
                        Inquired::Later => return Lookup::Asked,
                        Inquired::AtOnce => {}
                    }
                }
            }
        }
    }

    /// Gives DNS blocklists their names, as far as that is possible now.
    pub fn name_lists(&mut self, screener: &mut Screener) -> Vec<Message> {
        let view = self.tables.with(self.inquiries.known(Asker::ListNames));
        let mut messages = Vec::new();
        match screener.rename_lists(|domain| view.dnsbl_name(domain, &mut messages)) {
            Ok(()) => self.inquiries.settled(Asker::ListNames),
            Err(NoName::Asked(question)) => {
                messages.clear();
                self.inquiries.ask(Asker::ListNames, question);
            }
            Err(error) => {
                messages.push(Message::warning(error.to_string()));
                self.inquiries.settled(Asker::ListNames);
            }
        }
        messages
    }
}

impl Lookups for Sources {
    fn access(
        &mut self,
        asker: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Access> {
        self.look_up(asker, messages, |tables, messages| tables.access(client, messages))
    }

    fn stop_asking(&mut self, asker: SessionId) {
        self.inquiries.hurry(Asker::Session(asker));
    }

    fn cached(&mut self, client: IpAddr) -> Cached {
        self.cache.lookup(client)
    }

    fn interface_allowed(
        &mut self,
        asker: SessionId,
        server: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<bool> {
        self.look_up(asker, messages, |tables, messages| tables.interface_allowed(server, messages))
    }

    fn discarded_keywords(
        &mut self,
        asker: SessionId,
        client: IpAddr,
        messages: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        self.look_up(asker, messages, |tables, messages| {
            tables.discarded_keywords(client, messages)
        })
    }

    fn footer(
        &mut self,
        asker: SessionId,
        reply: &str,
        messages: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        self.look_up(asker, messages, |tables, messages| tables.footer(reply, messages))
    }

    fn command_filter(
        &mut self,
        asker: SessionId,
        line: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<Filtered> {
        self.look_up(asker, messages, |tables, messages| tables.command_filter(line, messages))
    }

    fn forbidden(
        &mut self,
        asker: SessionId,
        word: &[u8],
        messages: &mut Vec<Message>,
    ) -> Lookup<bool> {
        self.look_up(asker, messages, |tables, messages| tables.forbidden(word, messages))
    }

    fn proxy_spoken(&mut self, server: IpAddr, messages: &mut Vec<Message>) -> Spoken {
        self.tables.proxy_spoken(server, messages)
    }

    fn proxy_trusted(&mut self, proxy: IpAddr, messages: &mut Vec<Message>) -> Trust {
        self.tables.proxy_trusted(proxy, messages)
    }

    fn local_time(&mut self, time: UnixTime) -> String {
        date_and_time(sys::local_time(self.cache.shown(time)))
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
