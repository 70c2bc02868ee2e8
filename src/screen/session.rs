//! Sessions, and the ids that stand for them; tables of both are in [`super::slots`].

use std::net::SocketAddr;
use std::time::Instant;

use super::client::Clients;
use super::dialogue::Pause;
use super::dnsbl::score::Score;
use super::smtp::engine::Engine;
use super::starttls::StartingTls;
use super::test_set::TestSet;
use super::verdict::{self, Outcomes, Refusal};

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
    /// Whether its passes count for parallel sessions; see [`super::client::Client::helpers`].
    pub helps: bool,
}

impl Session {
    /// Sees to it that the session's passes count for parallel ones if they should.
    pub(super) fn update_standing(&mut self, clients: &mut Clients, id: SessionId) {
        let helps = verdict::helps_others(self.refusal, &self.outcomes);
        match (self.helps, helps) {
            (false, true) => clients.add_helper(self.client.ip(), id),
            (true, false) => clients.remove_helper(self.client.ip(), id),
            (false, false) | (true, true) => {}
        }
        self.helps = helps;
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_waiting_client_is_bounded() {
        // One of the figures we compete on; think before raising it.
        assert!(size_of::<Session>() <= 184, "{}", size_of::<Session>());
    }
}
