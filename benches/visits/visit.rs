//! One visit, from what the client hears to what it says. Knows no socket and no time.

use super::reply::{LineHead, ReplyLine};

/// What a client is up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Is expected to be let in at once, and leaves.
    Known,
    /// Waits for the banner, and leaves.
    New,
    /// Speaks as soon as it sees the teaser.
    Pregreet,
    /// Waits for the banner, and tries to send a message.
    Engine,
    /// Speaks right before the wait is over.
    Early,
    /// Stays as long as it is told to.
    Hold,
    /// Asks for much after the banner, and reads a byte a second.
    Slow,
    /// Waits for the banner, and says a byte a second.
    Drip,
    /// Resets the connection: some clients at once, others when they hear the first, second ...
    /// line.
    Reset,
}

/// What the kinds are called on the command line.
pub const NAMES: [(&str, Kind); 9] = [
    ("known", Kind::Known),
    ("new", Kind::New),
    ("pregreet", Kind::Pregreet),
    ("engine", Kind::Engine),
    ("early", Kind::Early),
    ("hold", Kind::Hold),
    ("slow", Kind::Slow),
    ("drip", Kind::Drip),
    ("reset", Kind::Reset),
];

impl Kind {
    /// By its name on the command line.
    pub fn named(name: &str) -> Option<Kind> {
        NAMES.iter().find(|(other, _)| *other == name).map(|(_, kind)| *kind)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, other)| *other == self).map_or("", |(name, _)| name)
    }
}

/// What is said before its time.
pub const EARLY: &[u8] = b"EHLO early\r\n";

/// What is said in the end.
pub const QUIT: &[u8] = b"QUIT\r\n";

/// What is said at the built-in engine before QUIT.
const MESSAGE: [&[u8]; 3] = [
    b"EHLO client.example\r\n",
    b"MAIL FROM:<sender@client.example>\r\n",
    b"RCPT TO:<user@example.test>\r\n",
];

/// What is asked for again and again in order not to be read.
pub fn much() -> Vec<u8> {
    b"EHLO x\r\n".repeat(500)
}

/// What is said a byte at a time.
const WORDS: &[u8] = b"NOOP and some more words that take long\r\n";

/// Before as many different lines resets come: the teaser, the banner, and the replies to
/// [`MESSAGE`].
const PHASES: u64 = 6;

/// Where a visit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The greeting is awaited: the teaser, if there is one, and the banner.
    Greeting,
    /// Command number so and so of [`MESSAGE`] has been said.
    Message(usize),
    /// QUIT has been said.
    Quit,
    /// Only the end can come.
    Over,
}

/// One visit.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    kind: Kind,
    step: Step,
    head: LineHead,
    heard: bool,
    spoke: bool,
    /// The reply that counts: the last one before QUIT is said.
    reply: Option<u16>,
    /// How many more times it listens before it resets the connection.
    patience: u64,
    /// How many bytes were said one by one.
    dripped: usize,
}

/// What there was in some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Heard {
    /// The first byte of all.
    pub first: bool,
    /// The banner.
    pub banner: bool,
    /// What to say now.
    pub say: Option<&'static [u8]>,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Nobody listened.
    Refused,
    /// It was reset.
    Reset,
    /// The server closed it.
    Closed,
    /// Nobody ended it within the time limit.
    Timeout,
    /// We have held it long enough.
    Released,
    /// The client did, as it was about to.
    Left,
}

/// What is done a byte at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dawdling {
    Reads,
    Writes,
}

/// What has become of a visit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Result {
    /// There was this reply.
    Finished(u16),
    /// It did not get to its end.
    Lost(End),
}

impl Visit {
    /// Connecting; so many have come before.
    pub fn new(kind: Kind, number: u64) -> Visit {
        Visit {
            patience: number % PHASES,
            dripped: 0,
            kind,
            step: Step::Greeting,
            head: LineHead::default(),
            heard: false,
            spoke: false,
            reply: None,
        }
    }

    /// Takes what has come.
    pub fn hear(&mut self, bytes: &[u8]) -> Heard {
        let first = !self.heard && !bytes.is_empty();
        let mut heard = Heard { first, ..Heard::default() };
        self.heard |= first;
        for &byte in bytes {
            if let Some(line) = self.head.take(byte)
                && let Some(line) = ReplyLine::new(line)
                && line.last
            {
                self.take_reply(line.code, &mut heard);
            }
        }
        if first && self.kind == Kind::Pregreet && heard.say.is_none() {
            heard.say = self.speak();
        }
        heard
    }

    /// It is time to be early: what to say, unless it is too late for that.
    pub fn speak(&mut self) -> Option<&'static [u8]> {
        if self.spoke || self.reply.is_some() {
            return None;
        }
        self.spoke = true;
        Some(EARLY)
    }

    /// Whether the time has come to reset the connection.
    pub fn resets(&mut self) -> bool {
        if self.kind != Kind::Reset {
            return false;
        }
        let now = self.patience == 0;
        self.patience = self.patience.saturating_sub(1);
        now
    }

    /// Whether it takes its time now, in one way or the other.
    pub fn dawdles(&self) -> Option<Dawdling> {
        match (self.kind, self.step) {
            (Kind::Slow, Step::Message(_)) => Some(Dawdling::Reads),
            (Kind::Drip, Step::Message(_)) => Some(Dawdling::Writes),
            _ => None,
        }
    }

    /// The next byte to say.
    pub fn drip(&mut self) -> &'static [u8] {
        let place = self.dripped % WORDS.len();
        self.dripped += 1;
        WORDS.get(place..=place).unwrap_or_default()
    }

    /// Whether it may stay: it has been greeted, and not been turned down.
    pub fn stays(&self) -> bool {
        self.kind == Kind::Hold && self.heard && self.step == Step::Greeting
    }

    /// What it means that the connection has ended.
    pub fn end(&self, end: End) -> Result {
        match (end, self.reply) {
            (End::Released, _) if self.stays() => Result::Finished(220),
            (End::Left, reply) => Result::Finished(reply.unwrap_or(0)),
            // A server that closes with something unread resets.
            (End::Closed | End::Reset, Some(code)) if self.step == Step::Over => {
                Result::Finished(code)
            }
            _ => Result::Lost(end),
        }
    }

    fn take_reply(&mut self, code: u16, heard: &mut Heard) {
        let next = match self.step {
            Step::Over => return,
            Step::Quit => {
                self.step = Step::Over;
                return;
            }
            Step::Greeting => 0,
            Step::Message(number) => number + 1,
        };
        self.reply = Some(code);
        if self.step == Step::Greeting {
            heard.banner = code == 220;
        }
        // These are a server's last words, and so is anything instead of a banner.
        let last = matches!(code, 421 | 521) || (next == 0 && code != 220);
        (self.step, heard.say) = match (self.kind, MESSAGE.get(next)) {
            _ if last => (Step::Over, None),
            (Kind::Hold, _) => (Step::Greeting, None),
            (Kind::Slow | Kind::Drip, _) => (Step::Message(0), None),
            (Kind::Engine | Kind::Reset, Some(command)) => (Step::Message(next), Some(*command)),
            _ => (Step::Quit, Some(QUIT)),
        };
    }
}
