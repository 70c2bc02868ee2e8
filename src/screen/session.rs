//! Sessions, and the ids that stand for them.

use std::net::SocketAddr;
use std::time::Instant;

use super::dialogue::Pause;
use super::dnsbl::score::Score;
use super::smtp::engine::Engine;
use super::starttls::StartingTls;
use super::test_set::TestSet;
use super::verdict::{Outcomes, Refusal};

/// Names a session: a slot in a table, and how often that slot has been given out.
/// An id that outlives its session matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId {
    /// Index into the table of sessions.
    pub slot: u32,
    /// Counts the sessions that had this slot; wraps.
    pub generation: u32,
}

/// One client connection, from accept to hand-off or close.
#[derive(Debug)]
pub struct Session {
    /// The client's end.
    pub client: SocketAddr,
    /// Our end.
    pub server: SocketAddr,
    /// What became of each test in this session.
    pub outcomes: Outcomes,
    /// Why the client must not be handed off, if it must not; a later reason replaces an
    /// earlier one.
    pub refusal: Option<Refusal>,
    /// Whether some test had never been passed when the tests were selected: such a client
    /// gets PASS NEW.
    pub was_new: bool,
    /// The client need not be tested in any way as long as the DNSBL test counts as passed.
    pub recommended: bool,
    /// Where the session is.
    pub phase: Phase,
    /// When the phase began; HANGUP and PREGREET times count from here.
    pub phase_began: Instant,
}

impl Session {
    /// The tests that were due when the tests were selected.
    pub fn due(&self) -> TestSet {
        self.outcomes.due()
    }
}

/// Where a session is, and what only that phase needs.
#[derive(Debug)]
pub enum Phase {
    /// Waiting for what a table elsewhere says of the client, or of the address of ours that
    /// it has come to. Belongs to "tests before SMTP handshake".
    AtTheDoor(Door),
    /// In the greet wait: "tests before SMTP handshake".
    BeforeHandshake(GreetWait),
    /// Talking to the built-in SMTP engine: "tests after SMTP handshake".
    AfterHandshake(Box<Engine>),
    /// In the middle of a line, of which a table elsewhere has to say something. Belongs to
    /// "tests after SMTP handshake".
    Pausing(Box<Pause>),
    /// Between the STARTTLS command and its reply: tlsproxy(8) is asked. Belongs to "tests
    /// after SMTP handshake".
    StartingTls(Box<StartingTls>),
    /// Waiting for smtpd(8) to take the client.
    HandingOff(HandingOff),
}

/// What has to be known before any test can begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// What main.cf: `postscreen_access_list` says of the client.
    AccessList,
    /// What main.cf: `postscreen_allowlist_interfaces` says of our address.
    Interfaces,
}

/// The wait before the greeting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GreetWait {
    /// When it is over.
    pub ends: Instant,
    /// What the DNS lists say, once all of them have answered.
    pub score: Option<Score>,
    /// No answer that is still to come can change the verdict, and the session does not wait
    /// for it much longer.
    pub hurried: bool,
}

impl GreetWait {
    /// A wait that begins.
    pub fn until(ends: Instant) -> GreetWait {
        GreetWait { ends, score: None, hurried: false }
    }
}

/// A hand-off in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandingOff {
    /// The descriptor is under way; the deadline is that of the whole exchange.
    Sent,
    /// The service's listen queue was full; the deadline is the next attempt.
    Busy,
}

/// A table that gives out the ids of what it holds.
#[derive(Debug)]
pub struct Slots<T> {
    table: ById<T>,
    free: Vec<u32>,
}

/// A table of what somebody else knows about the same ids.
#[derive(Debug)]
pub struct ById<T> {
    slots: Vec<Slot<T>>,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { table: ById::default(), free: Vec::new() }
    }
}

impl<T> Default for ById<T> {
    fn default() -> Self {
        ById { slots: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// Adds a value under a fresh id. `None` when there are 2^32 values.
    pub fn insert(&mut self, value: T) -> Option<SessionId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.table.slots.len()).ok()?,
        };
        let before = self.table.slots.get(slot as usize).map_or(0, |entry| entry.generation);
        let id = SessionId { slot, generation: before.wrapping_add(1) };
        self.table.insert(id, value);
        Some(id)
    }

    /// Takes the value under an id out. The slot can be given out again, with another
    /// generation.
    pub fn remove(&mut self, id: SessionId) -> Option<T> {
        let value = self.table.remove(id)?;
        self.free.push(id.slot);
        Some(value)
    }

    /// How many values the table holds.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the table holds nothing.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The value under an id, unless it has gone.
    pub fn get(&self, id: SessionId) -> Option<&T> {
        self.table.get(id)
    }

    /// The value under an id, unless it has gone.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut T> {
        self.table.get_mut(id)
    }

    /// All values with their ids, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &T)> {
        self.table.iter()
    }
}

impl<T> ById<T> {
    /// How many values the table holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a value. An older value in the same slot is replaced and returned.
    pub fn insert(&mut self, id: SessionId, value: T) -> Option<T> {
        let index = id.slot as usize;
        while self.slots.len() <= index {
            self.slots.push(Slot { generation: 0, value: None });
        }
        let entry = self.slots.get_mut(index)?;
        entry.generation = id.generation;
        let old = entry.value.replace(value);
        if old.is_none() {
            self.len += 1;
        }
        old
    }

    /// The value under an id, unless it has gone.
    pub fn get(&self, id: SessionId) -> Option<&T> {
        let entry = self.slots.get(id.slot as usize)?;
        if entry.generation == id.generation { entry.value.as_ref() } else { None }
    }

    /// The value under an id, unless it has gone.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut T> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation == id.generation { entry.value.as_mut() } else { None }
    }

    /// Takes the value under an id out.
    pub fn remove(&mut self, id: SessionId) -> Option<T> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        self.len -= 1;
        Some(value)
    }

    /// All values with their ids, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, entry)| {
            let slot = u32::try_from(index).ok()?;
            let id = SessionId { slot, generation: entry.generation };
            Some((id, entry.value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_matches_nothing() {
        let mut table = Slots::default();
        let first = table.insert("first").unwrap();
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second").unwrap();
        assert_eq!(second.slot, first.slot);
        assert_ne!(second, first);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_second_table_follows_the_ids_of_the_first() {
        let (mut owner, mut follower) = (Slots::default(), ById::default());
        let a = owner.insert(()).unwrap();
        let b = owner.insert(()).unwrap();
        assert_eq!(follower.insert(b, 'b'), None);
        assert_eq!(follower.insert(a, 'a'), None);
        assert_eq!(follower.iter().collect::<Vec<_>>(), [(a, &'a'), (b, &'b')]);
        owner.remove(a);
        follower.remove(a);
        let again = owner.insert(()).unwrap();
        assert_eq!(follower.insert(again, 'c'), None);
        assert_eq!(follower.get(a), None);
        assert_eq!(follower.len(), 2);
    }

    #[test]
    fn memory_of_a_waiting_client_is_bounded() {
        // One of the figures we compete on; think before raising it.
        assert!(size_of::<Session>() <= 216, "{}", size_of::<Session>());
    }
}
