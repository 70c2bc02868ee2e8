//! How many connections there were, and how they have ended.

/// How a connection has ended. There is no fourth way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// smtpd(8) has it.
    HandedOff,
    /// We have ended it, with a reply where one was possible.
    TurnedAway,
    /// The client has, or what we sent could not be written.
    HungUp,
}

/// The counts of one process since its start. What has begun and not ended is open.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Census {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Those that have ended with [`End::HandedOff`].
    pub handed_off: u64,
    /// Those that have ended with [`End::TurnedAway`].
    pub turned_away: u64,
    /// Those that have ended with [`End::HungUp`].
    pub hung_up: u64,
}

impl Census {
    pub(super) fn count(&mut self, end: End) {
        *match end {
            End::HandedOff => &mut self.handed_off,
            End::TurnedAway => &mut self.turned_away,
            End::HungUp => &mut self.hung_up,
        } += 1;
    }

    /// Those that have ended, one way or another.
    pub fn ended(&self) -> u64 {
        self.handed_off.saturating_add(self.turned_away).saturating_add(self.hung_up)
    }
}
