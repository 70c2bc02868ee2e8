//! What the core may ask, answered by lot: at once, later, not at all, or otherwise than the
//! last time.

use std::collections::HashSet;
use std::net::IpAddr;

use gatepost::screen::event::{Access, Cached, Filtered, Lookup, Lookups, Spoken, Trust};
use gatepost::screen::logline::Message;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{CacheRecord, Expiry, PerTest, UnixTime};

use crate::targets::smtp_session::world::START;
use crate::targets::take::Take;

pub struct Tables {
    /// How they answer, one after the other.
    ways: [u8; 4],
    asked: usize,
    /// Everything is known from now on.
    pub settled: bool,
    /// Whose next question has to be answered.
    hurried: HashSet<SessionId>,
    /// Who was told in this turn that the answer comes later.
    pub waiting: HashSet<SessionId>,
}

impl Tables {
    pub fn new(take: &mut Take<'_>) -> Tables {
        Tables {
            ways: [(); 4].map(|()| take.number()),
            asked: 0,
            settled: false,
            hurried: HashSet::new(),
            waiting: HashSet::new(),
        }
    }

    fn way(&mut self) -> u8 {
        self.asked += 1;
        // Two lengths without a common divisor, so that the same question meets all ways.
        let turn = u8::try_from(self.asked % 7).unwrap();
        self.ways[self.asked % 4].wrapping_add(turn)
    }

    fn say<T: Clone>(&mut self, asker: SessionId, answers: &[T]) -> Lookup<T> {
        let way = self.way();
        let hurried = self.hurried.remove(&asker);
        if way % 3 == 1 && !hurried && !self.settled {
            self.waiting.insert(asker);
            return Lookup::Asked;
        }
        Lookup::Known(answers[usize::from(way) % answers.len()].clone())
    }
}

impl Lookups for Tables {
    fn access(&mut self, asker: SessionId, _: IpAddr, said: &mut Vec<Message>) -> Lookup<Access> {
        said.push(Message::warning("access list: something to say"));
        self.say(asker, &[Access::Undecided, Access::Undecided, Access::Permit, Access::Reject])
    }

    fn stop_asking(&mut self, asker: SessionId) {
        self.hurried.insert(asker);
    }

    fn cached(&mut self, _: IpAddr) -> Cached {
        let all = |expiry| Cached::Found(PerTest::from_fn(|_| expiry));
        match self.way() % 8 {
            0 => all(Expiry::Until(UnixTime(START.0 + 86_400))),
            1 => all(Expiry::Until(UnixTime(u64::MAX))),
            2 => all(Expiry::Until(UnixTime(0))),
            3 => all(Expiry::Disabled),
            4 => Cached::Found(CacheRecord::default()),
            5 => Cached::Failed("cache: disk I/O error".into()),
            _ => Cached::NotFound,
        }
    }

    fn interface_allowed(
        &mut self,
        asker: SessionId,
        _: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<bool> {
        self.say(asker, &[true, true, true, false])
    }

    fn discarded_keywords(
        &mut self,
        asker: SessionId,
        _: IpAddr,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        self.say(asker, &[None, Some("starttls".to_owned()), Some("silent-discard,dsn".to_owned())])
    }

    fn footer(
        &mut self,
        asker: SessionId,
        reply: &str,
        _: &mut Vec<Message>,
    ) -> Lookup<Option<String>> {
        assert!(reply.starts_with(['4', '5']), "no footer for {reply}");
        self.say(asker, &[None, Some("Call us".to_owned()), Some("${broken".to_owned())])
    }

    fn local_time(&mut self, time: UnixTime) -> String {
        { time.0 }.to_string()
    }

    fn command_filter(
        &mut self,
        asker: SessionId,
        _: &[u8],
        _: &mut Vec<Message>,
    ) -> Lookup<Filtered> {
        let by = |text: &str| Filtered::Replaced(text.into());
        let all = [Filtered::Unchanged, Filtered::Failed, by("STARTTLS"), by("RCPT TO:<a>")];
        self.say(asker, &all)
    }

    fn forbidden(&mut self, asker: SessionId, _: &[u8], _: &mut Vec<Message>) -> Lookup<bool> {
        self.say(asker, &[false, false, true])
    }

    fn proxy_spoken(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Spoken {
        [Spoken::Yes, Spoken::No, Spoken::Unknown, Spoken::Yes][usize::from(self.way()) % 4]
    }

    fn proxy_trusted(&mut self, _: IpAddr, _: &mut Vec<Message>) -> Trust {
        [Trust::Anybody, Trust::Listed, Trust::Stranger, Trust::Listed][usize::from(self.way()) % 4]
    }
}
