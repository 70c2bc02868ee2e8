//! Notices when the event loop is stuck in one turn.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// In how many looks a turn must be the same. Time alone proves nothing: while the process was
/// stopped, or its machine, nobody could turn, and the thread that looks may be the first to run
/// again.
const LOOKS: u32 = 4;

/// Shared between the loop, which marks its turns, and the storage thread, which watches.
///
/// One counter: odd while the loop works, even while it sleeps in poll. The loop never
/// reads a clock for it.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// A loop that has not begun its first turn.
    pub fn new() -> Heartbeat {
        Heartbeat::default()
    }

    /// The loop has woken up and starts to work. Without effect in the middle of a turn.
    pub fn turn_begins(&self) {
        let count = self.0.load(Ordering::Relaxed);
        // Only the loop's thread writes, so that load and store need no exchange.
        self.0.store(count | 1, Ordering::Relaxed);
    }

    /// The loop goes to sleep. Without effect outside of a turn.
    pub fn turn_ends(&self) {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(count & 1), Ordering::Relaxed);
    }

    /// The number of the turn that is running, if one is.
    fn turn(&self) -> Option<u64> {
        let count = self.0.load(Ordering::Relaxed);
        (count & 1 == 1).then_some(count)
    }
}

/// A turn that may be a hang.
#[derive(Clone, Copy, Debug)]
struct Seen {
    turn: u64,
    since: Instant,
    looks: u32,
}

/// Watches a [`Heartbeat`].
pub struct Watchdog {
    heartbeat: Arc<Heartbeat>,
    timeout: Duration,
    on_hang: Option<Box<dyn FnOnce() + Send>>,
    seen: Option<Seen>,
    checked: Option<Instant>,
}

impl Watchdog {
    /// Calls `on_hang`, on the storage thread and at most once, when one turn lasts longer
    /// than `timeout` (main.cf: `postscreen_watchdog_timeout`, seconds, above 0). A hang is
    /// noticed after one to one and a half times that.
    pub fn new(
        heartbeat: Arc<Heartbeat>,
        timeout: Duration,
        on_hang: Box<dyn FnOnce() + Send>,
    ) -> Watchdog {
        Watchdog { heartbeat, timeout, on_hang: Some(on_hang), seen: None, checked: None }
    }

    /// Has a look, at most every third of the time-out; returns when to call again, or
    /// `None` if there is nothing to do any more.
    pub(super) fn check(&mut self, now: Instant) -> Option<Instant> {
        self.on_hang.as_ref()?;
        let pause = (self.timeout / 3).max(Duration::from_millis(10));
        if let Some(checked) = self.checked
            && now.saturating_duration_since(checked) < pause
        {
            return Some(checked + pause);
        }
        self.checked = Some(now);
        match (self.heartbeat.turn(), &mut self.seen) {
            (None, _) => self.seen = None,
            (Some(turn), Some(seen)) if turn == seen.turn => {
                seen.looks = seen.looks.saturating_add(1);
                if now.saturating_duration_since(seen.since) >= self.timeout
                    && seen.looks >= LOOKS
                    && let Some(on_hang) = self.on_hang.take()
                {
                    on_hang();
                    return None;
                }
            }
            (Some(turn), _) => self.seen = Some(Seen { turn, since: now, looks: 1 }),
        }
        Some(now + pause)
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn watchdog(heartbeat: &Arc<Heartbeat>) -> (Watchdog, Arc<AtomicU32>) {
        let barks = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&barks);
        let on_hang = Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        (Watchdog::new(Arc::clone(heartbeat), Duration::from_secs(9), on_hang), barks)
    }

    #[test]
    fn a_turn_that_lasts_the_whole_timeout_is_a_hang_once() {
        let heartbeat = Arc::new(Heartbeat::new());
        let (mut watchdog, barks) = watchdog(&heartbeat);
        let mut now = Instant::now();
        assert_eq!(watchdog.check(now), Some(now + Duration::from_secs(3)));
        heartbeat.turn_begins();
        for _ in 0..3 {
            now += Duration::from_secs(3);
            assert_eq!(watchdog.check(now), Some(now + Duration::from_secs(3)));
        }
        assert_eq!(barks.load(Ordering::Relaxed), 0);
        now += Duration::from_secs(3);
        assert_eq!(watchdog.check(now), None);
        assert_eq!(watchdog.check(now + Duration::from_secs(60)), None);
        assert_eq!(barks.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_process_that_was_stopped_in_a_turn_gets_time_to_end_it() {
        let heartbeat = Arc::new(Heartbeat::new());
        let (mut watchdog, barks) = watchdog(&heartbeat);
        let mut now = Instant::now();
        heartbeat.turn_begins();
        watchdog.check(now);
        for _ in 0..2 {
            now += Duration::from_secs(3_600);
            assert!(watchdog.check(now).is_some());
        }
        assert_eq!(barks.load(Ordering::Relaxed), 0);
        // It goes on for long enough now.
        now += Duration::from_secs(3);
        assert_eq!(watchdog.check(now), None);
        assert_eq!(barks.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn many_turns_and_long_sleeps_are_no_hang() {
        let heartbeat = Arc::new(Heartbeat::new());
        let (mut watchdog, barks) = watchdog(&heartbeat);
        let mut now = Instant::now();
        for turn in 0..100 {
            heartbeat.turn_begins();
            now += Duration::from_secs(3);
            assert!(watchdog.check(now).is_some());
            heartbeat.turn_ends();
            if turn % 10 == 0 {
                now += Duration::from_secs(1_000);
                assert!(watchdog.check(now).is_some());
            }
        }
        assert_eq!(barks.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn marks_are_idempotent() {
        let heartbeat = Heartbeat::new();
        assert_eq!(heartbeat.turn(), None);
        heartbeat.turn_begins();
        let first = heartbeat.turn();
        heartbeat.turn_begins();
        assert_eq!(heartbeat.turn(), first);
        heartbeat.turn_ends();
        heartbeat.turn_ends();
        assert_eq!(heartbeat.turn(), None);
        heartbeat.turn_begins();
        assert_ne!(heartbeat.turn(), first);
    }
}
