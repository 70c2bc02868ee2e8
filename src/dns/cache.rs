//! A bounded memory of answers, each for as long as the list allows.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::screen::dnsbl::answer::{Answer, ListId};

/// How long an answer is used at most, whatever its time to live.
const MOST_SECONDS: u32 = 3600;

/// Answers with more addresses are not kept: they are rare, and would take more room than a
/// bound on the number of answers promises.
const MOST_ADDRESSES: usize = 32;

/// Answers by address and list.
///
/// Two generations: new answers go into the young one; when that holds half of the capacity
/// it becomes the old one, and the old one is forgotten as a whole. So nothing is ever
/// searched for what has expired, and none is moved when it is asked for: answers are short
/// of life anyway.
#[derive(Debug)]
pub struct AnswerCache {
    young: HashMap<Key, Entry>,
    old: HashMap<Key, Entry>,
    half: usize,
    /// Entries count their seconds from here.
    epoch: Option<Instant>,
}

type Key = (IpAddr, ListId);

#[derive(Debug)]
struct Entry {
    /// `None`: not listed.
    addresses: Option<Box<[Ipv4Addr]>>,
    /// When the answer came, seconds since the epoch of the cache.
    since: u32,
    /// The time to live that it had then, seconds.
    ttl: u32,
}

impl AnswerCache {
    /// An empty cache for at most `capacity` answers (at least 2).
    pub fn new(capacity: usize) -> AnswerCache {
        AnswerCache {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (capacity / 2).max(1),
            epoch: None,
        }
    }

    /// Remembers an answer, if it has a time to live. A failure is none, and changes nothing.
    pub fn insert(&mut self, address: IpAddr, list: ListId, answer: &Answer, now: Instant) {
        if let Answer::Failed(_) = answer {
            return;
        }
        let key = (address, list);
        // Whatever was known is not what is known now.
        self.old.remove(&key);
        self.young.remove(&key);
        let (addresses, ttl) = match answer {
            Answer::Listed { addresses, ttl } if addresses.len() <= MOST_ADDRESSES => {
                (Some(addresses.clone()), *ttl)
            }
            Answer::NotListed { ttl: Some(ttl) } => (None, *ttl),
            Answer::Listed { .. } | Answer::NotListed { ttl: None } | Answer::Failed(_) => return,
        };
        if ttl == 0 {
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        let since = self.seconds(now);
        self.young.insert(key, Entry { addresses, since, ttl });
    }

    /// An answer that may still be used, with what is left of its time to live.
    pub fn get(&mut self, address: IpAddr, list: ListId, now: Instant) -> Option<Answer> {
        let key = (address, list);
        let now = self.seconds(now);
        let entry = self.young.get(&key).or_else(|| self.old.get(&key))?;
        // A second that has begun counts as over.
        let age = now.saturating_sub(entry.since).saturating_add(1);
        if age > entry.ttl.min(MOST_SECONDS) {
            return None;
        }
        let ttl = entry.ttl - (age - 1);
        Some(match &entry.addresses {
            Some(addresses) => Answer::Listed { addresses: addresses.clone(), ttl },
            None => Answer::NotListed { ttl: Some(ttl) },
        })
    }

    fn seconds(&mut self, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(now);
        let since: Duration = now.saturating_duration_since(epoch);
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::dnsbl::answer::Failure;

    const LIST: ListId = ListId(3);

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn listed(ttl: u32) -> Answer {
        Answer::Listed { addresses: Box::new([Ipv4Addr::LOCALHOST]), ttl }
    }

    fn not_listed(ttl: u32) -> Answer {
        Answer::NotListed { ttl: Some(ttl) }
    }

    struct Clock(Instant);

    impl Clock {
        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }
    }

    #[test]
    fn answers_grow_old() {
        let clock = Clock(Instant::now());
        for answer in [listed, not_listed] {
            let mut cache = AnswerCache::new(10);
            cache.insert(address(1), LIST, &answer(100), clock.at(50));
            assert_eq!(cache.get(address(1), LIST, clock.at(50)), Some(answer(100)));
            assert_eq!(cache.get(address(1), LIST, clock.at(51)), Some(answer(99)));
            assert_eq!(cache.get(address(1), LIST, clock.at(149)), Some(answer(1)));
            assert_eq!(cache.get(address(1), LIST, clock.at(150)), None);
            assert_eq!(cache.get(address(1), LIST, clock.at(100_000)), None);
        }
    }

    #[test]
    fn other_addresses_and_lists_have_other_answers() {
        let now = Instant::now();
        let mut cache = AnswerCache::new(10);
        cache.insert(address(1), LIST, &listed(100), now);
        assert_eq!(cache.get(address(2), LIST, now), None);
        assert_eq!(cache.get(address(1), ListId(4), now), None);
        cache.insert(address(1), ListId(4), &not_listed(9), now);
        assert_eq!(cache.get(address(1), LIST, now), Some(listed(100)));
        assert_eq!(cache.get(address(1), ListId(4), now), Some(not_listed(9)));
    }

    #[test]
    fn an_hour_is_the_most() {
        let clock = Clock(Instant::now());
        let mut cache = AnswerCache::new(10);
        cache.insert(address(1), LIST, &not_listed(86_400), clock.at(0));
        assert_eq!(cache.get(address(1), LIST, clock.at(3599)), Some(not_listed(82_801)));
        assert_eq!(cache.get(address(1), LIST, clock.at(3600)), None);
    }

    #[test]
    fn what_must_not_be_kept_replaces_what_was() {
        let now = Instant::now();
        let many = Answer::Listed { addresses: [Ipv4Addr::LOCALHOST; 33].into(), ttl: 100 };
        for answer in [listed(0), not_listed(0), Answer::NotListed { ttl: None }, many] {
            let mut cache = AnswerCache::new(10);
            cache.insert(address(1), LIST, &listed(100), now);
            cache.insert(address(1), LIST, &answer, now);
            assert_eq!(cache.get(address(1), LIST, now), None, "{answer:?}");
        }
    }

    #[test]
    fn failures_change_nothing() {
        let now = Instant::now();
        let mut cache = AnswerCache::new(10);
        cache.insert(address(1), LIST, &listed(100), now);
        for n in 1..3 {
            cache.insert(address(n), LIST, &Answer::Failed(Failure::NoReply), now);
        }
        assert_eq!(cache.get(address(1), LIST, now), Some(listed(100)));
        assert_eq!(cache.get(address(2), LIST, now), None);
    }

    #[test]
    fn the_newest_answer_counts() {
        let now = Instant::now();
        let mut cache = AnswerCache::new(4);
        for n in 1..=3 {
            cache.insert(address(n), LIST, &listed(100), now);
        }
        cache.insert(address(1), LIST, &not_listed(50), now);
        assert_eq!(cache.get(address(1), LIST, now), Some(not_listed(50)));
    }

    #[test]
    fn never_holds_more_than_its_capacity() {
        let now = Instant::now();
        let mut cache = AnswerCache::new(100);
        for n in 0..10_000 {
            cache.insert(address(n), LIST, &listed(100), now);
            assert!(cache.len() <= 100);
        }
        assert!(cache.get(address(9_999), LIST, now).is_some());
        assert!(cache.get(address(9_950), LIST, now).is_some());
        assert!(cache.get(address(9_000), LIST, now).is_none());
    }

    #[test]
    fn entries_are_small() {
        assert!(size_of::<(Key, Entry)>() <= 48);
    }
}
