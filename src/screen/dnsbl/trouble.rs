//! Look-ups that fail, and how often the log is told.

use std::collections::HashMap;
use std::time::Instant;

use super::answer::{Failure, ListId};
use crate::screen::ration::Ration;

/// Counts the troubles of all lists.
#[derive(Clone, Debug, Default)]
pub struct Troubles(HashMap<(ListId, Kind), Ration>);

/// What is counted together: what postscreen(8) logs in different words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    TimeLimit,
    Other,
}

impl Kind {
    fn of(failure: Failure) -> Kind {
        match failure {
            Failure::TimeLimit => Kind::TimeLimit,
            Failure::NoReply | Failure::ServerError | Failure::Unreachable | Failure::Refused => {
                Kind::Other
            }
        }
    }
}

impl Troubles {
    /// Notes a failure. Returns `None` if the log has had enough of it, else how many failures
    /// of this kind were not logged since the last one that was.
    pub fn note(&mut self, list: ListId, failure: Failure, now: Instant) -> Option<u64> {
        let entry = self.0.entry((list, Kind::of(failure)));
        entry.or_insert_with(|| Ration::new(now)).take(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::screen::ration::BURST;

    #[test]
    fn a_flood_is_logged_once_a_minute_with_a_count() {
        let start = Instant::now();
        let mut troubles = Troubles::default();
        let mut note = |list, seconds| {
            let now = start + Duration::from_secs(seconds);
            troubles.note(ListId(list), Failure::NoReply, now)
        };
        assert_eq!([note(0, 0), note(0, 1), note(0, 2)], [Some(0); 3]);
        for second in 3..60 {
            assert_eq!(note(0, second), None);
        }
        assert_eq!(note(0, 60), Some(57));
        assert_eq!(note(0, 61), None);
        assert_eq!(note(0, 120), Some(1));
        assert_eq!(note(1, 61), Some(0), "another list");
        assert_eq!([note(0, 9000), note(0, 9001), note(0, 9002)], [Some(0); 3]);
        assert_eq!(note(0, 9003), None);
    }

    #[test]
    fn kinds_are_counted_apart() {
        let now = Instant::now();
        let mut troubles = Troubles::default();
        for _ in 0..BURST {
            assert!(troubles.note(ListId(0), Failure::NoReply, now).is_some());
        }
        assert_eq!(troubles.note(ListId(0), Failure::ServerError, now), None);
        assert_eq!(troubles.note(ListId(0), Failure::TimeLimit, now), Some(0));
    }
}
