//! The dummy SMTP server that ends the visits of clients that are not handed off.
//!
//! It follows the rules of order and syntax far enough to learn helo, sender and recipients;
//! it accepts no recipient, and so never sees a message.

use super::command::{Command, LastCommand, Verb};
use super::discard::Discarded;
use super::keyword::Keyword;
use super::line::{Line, LineReader, Piece};
use crate::screen::policy::{EngineRules, TlsLevel};
use crate::screen::reply::Reply;
use crate::screen::verdict::{Refusal, TlsOffer};

/// The state of one dialogue. All it keeps of what the client sent is bounded by main.cf:
/// `line_length_limit`.
#[derive(Debug, Default)]
pub struct Engine {
    reader: LineReader,
    /// What the command filter has put in the place of the line that was read.
    replacement: Option<Box<str>>,
    talk: Talk,
    /// What every command but QUIT gets, if there is nothing to talk about.
    last_word: Option<Reply>,
}

/// What the client has said so far.
#[derive(Debug, Default)]
struct Talk {
    helo: Option<Box<[u8]>>,
    /// EHLO was used; HELO does not change that.
    esmtp: bool,
    /// What is kept from the client; settled when it asks with EHLO.
    discarded: Discarded,
    /// MAIL was accepted.
    sender: Option<Box<[u8]>>,
    /// How many lines have come.
    lines: usize,
    last: LastCommand,
    /// What is said goes over TLS.
    secured: bool,
}

/// What the engine says to a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What is to be logged about it.
    pub note: Option<Note>,
    /// What the client is told.
    pub reply: Reply,
    /// What comes after the reply.
    pub then: Then,
}

/// How a dialogue goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// With the next line.
    NextLine,
    /// Not at all: the connection is closed.
    Close,
    /// Over TLS. The reply is for the moment when that is ready to begin, if it ever is.
    StartTls,
}

/// An event that is worth a log line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// A recipient is refused.
    Recipient(Envelope),
    /// DATA, although no recipient was accepted.
    Data,
    /// BDAT, although no recipient was accepted.
    Bdat,
    /// main.cf: `postscreen_command_count_limit`; the line before.
    TooManyCommands(LastCommand),
}

/// What the client told of itself and its message, without quotes and brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The argument of MAIL.
    pub sender: Box<[u8]>,
    /// The argument of RCPT.
    pub recipient: Box<[u8]>,
    /// The argument of HELO or EHLO; empty without.
    pub helo: Box<[u8]>,
    /// EHLO was used.
    pub esmtp: bool,
}

impl Answer {
    fn go_on(reply: Reply) -> Answer {
        Answer { note: None, reply, then: Then::NextLine }
    }

    fn end(reply: Reply) -> Answer {
        Answer { note: None, reply, then: Then::Close }
    }
}

impl Engine {
    /// An engine that answers the first command, unless it is QUIT, with `last_word`.
    pub fn with_last_word(last_word: Reply) -> Engine {
        Engine { last_word: Some(last_word), ..Engine::default() }
    }

    /// Takes input up to the end of a line; `limit` is main.cf: `line_length_limit`, bytes.
    pub fn read(&mut self, input: &mut &[u8], limit: usize) -> Piece {
        self.reader.feed(input, limit)
    }

    /// The last line that was answered.
    pub fn last(&self) -> LastCommand {
        self.talk.last
    }

    /// Keeps these keywords from the client, after an EHLO, instead of what is kept from
    /// everybody; the reply to it.
    pub fn discard(&mut self, keywords: Discarded, offer: TlsOffer) -> Reply {
        self.talk.discarded = keywords;
        self.talk.announce(offer)
    }

    /// What follows goes over TLS. What the client has said of itself in the clear does not
    /// count any more (RFC 3207, 4.2), what it has shown of its manners does.
    pub fn enter_tls(&mut self) {
        self.talk.secured = true;
        self.talk.helo = None;
        self.talk.sender = None;
    }

    /// The line that was read, as it was sent.
    pub fn line(&self) -> Line<'_> {
        self.reader.line()
    }

    /// What main.cf: `postscreen_command_filter` is asked about the line that was read: its
    /// text without the blanks before it. Nothing, if it has to be UTF-8 (main.cf:
    /// `smtputf8_enable`) and is not.
    pub fn filter_key(&self, smtputf8: bool) -> Option<&[u8]> {
        let text = self.reader.line().text();
        let start = text.iter().position(|byte| !b" \t".contains(byte)).unwrap_or(text.len());
        (!smtputf8 || str::from_utf8(text).is_ok()).then(|| text.get(start..).unwrap_or_default())
    }

    /// Puts a text in the place of the line that was read, until it is answered.
    pub fn replace(&mut self, text: Box<str>) {
        self.replacement = Some(text);
    }

    /// The line that was read, or what has been put in its place.
    pub fn command(&self) -> Command<'_> {
        command(&self.reader, self.replacement.as_deref())
    }

    /// Answers the line that was read, or what has been put in its place.
    pub fn answer(
        &mut self,
        rules: &EngineRules,
        refusal: Option<Refusal>,
        offer: TlsOffer,
    ) -> Answer {
        let replacement = self.replacement.take();
        let command = command(&self.reader, replacement.as_deref());
        let before = std::mem::replace(&mut self.talk.last, command.verb.into());
        self.talk.lines = self.talk.lines.saturating_add(1);
        match (command.verb, self.last_word) {
            (Some(Verb::Quit), _) => Answer::end(Reply::Bye),
            (_, Some(last_word)) => Answer::end(last_word),
            _ if self.talk.lines > rules.command_count_limit => Answer {
                note: Some(Note::TooManyCommands(before)),
                ..Answer::end(Reply::CommandLimit)
            },
            (Some(verb), _) if self.talk.misses_tls(verb, rules) => {
                Answer::go_on(Reply::StarttlsFirst)
            }
            (Some(Verb::Starttls), _) => self.talk.starttls(&command, rules, offer),
            (Some(Verb::Data), _) => {
                Answer { note: Some(Note::Data), ..Answer::end(self.talk.data(&command)) }
            }
            (Some(Verb::Bdat), _) => {
                Answer { note: Some(Note::Bdat), ..Answer::end(self.talk.bdat(&command)) }
            }
            (Some(Verb::Rcpt), _) => self.talk.rcpt(&command, refusal),
            (verb, _) => Answer::go_on(match verb {
                Some(Verb::Helo) => self.talk.helo(&command),
                Some(Verb::Ehlo) => self.talk.ehlo(&command, rules, offer),
                Some(Verb::Mail) => self.talk.mail(&command, rules),
                Some(Verb::Rset) => self.talk.rset(),
                Some(Verb::Noop) => Reply::Ok,
                Some(Verb::Vrfy) => vrfy(&command, rules, refusal),
                Some(Verb::Etrn) => self.talk.etrn(&command, rules),
                _ => Reply::NotRecognized,
            }),
        }
    }
}

impl Talk {
    fn helo(&mut self, command: &Command<'_>) -> Reply {
        let Some(name) = command.argument() else { return Reply::HeloSyntax };
        self.helo = Some(name.into());
        self.sender = None;
        Reply::Helo
    }

    fn ehlo(&mut self, command: &Command<'_>, rules: &EngineRules, offer: TlsOffer) -> Reply {
        let Some(name) = command.argument() else { return Reply::EhloSyntax };
        self.helo = Some(name.into());
        self.sender = None;
        self.esmtp = true;
        self.discarded = rules.discarded;
        self.announce(offer)
    }

    /// The reply to EHLO. STARTTLS is not announced where it would be of no use.
    fn announce(&self, offer: TlsOffer) -> Reply {
        let useless = self.secured || offer == TlsOffer::Suspended;
        let discarded = self.discarded;
        Reply::Ehlo(if useless { discarded.with(Keyword::Starttls) } else { discarded })
    }

    /// Whether a command has to wait for TLS (main.cf: `postscreen_tls_security_level =
    /// encrypt`). What is refused anyway need not.
    fn misses_tls(&self, verb: Verb, rules: &EngineRules) -> bool {
        let waits = match verb {
            Verb::Helo | Verb::Ehlo | Verb::Starttls | Verb::Noop | Verb::Quit => false,
            Verb::Xclient | Verb::Xforward | Verb::Auth => false,
            Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Bdat => true,
            Verb::Rset | Verb::Vrfy | Verb::Etrn => true,
        };
        waits && !self.secured && rules.tls_level == TlsLevel::Encrypt
    }

    fn starttls(&self, command: &Command<'_>, rules: &EngineRules, offer: TlsOffer) -> Answer {
        if command.argument().is_some() {
            return Answer::go_on(Reply::StarttlsSyntax);
        }
        if self.secured {
            return Answer::go_on(Reply::TlsActive);
        }
        // What is kept from a client is only settled when it asks what there is.
        let discarded = self.discarded.contains(Keyword::Starttls);
        match offer {
            TlsOffer::Off => Answer::go_on(Reply::NotImplemented),
            _ if discarded && !rules.discarded_starttls_works => {
                Answer::go_on(Reply::NotImplemented)
            }
            TlsOffer::Suspended => Answer::go_on(Reply::TlsUnavailable),
            TlsOffer::Open => {
                Answer { note: None, reply: Reply::ReadyForTls, then: Then::StartTls }
            }
        }
    }

    fn misses_helo(&self, rules: &EngineRules) -> bool {
        rules.helo_required && self.helo.is_none()
    }

    fn mail(&mut self, command: &Command<'_>, rules: &EngineRules) -> Reply {
        if self.misses_helo(rules) {
            return Reply::HeloFirst;
        }
        if self.sender.is_some() {
            return Reply::NestedMail;
        }
        let Some(sender) = command.address() else { return Reply::MailSyntax };
        self.sender = Some(sender.into());
        Reply::SenderOk
    }

    fn rcpt(&self, command: &Command<'_>, refusal: Option<Refusal>) -> Answer {
        let Some(sender) = &self.sender else { return Answer::go_on(Reply::MailFirst) };
        let Some(recipient) = command.address() else {
            return Answer::go_on(Reply::RcptSyntax);
        };
        let envelope = Envelope {
            sender: sender.clone(),
            recipient: recipient.into(),
            helo: self.helo.clone().unwrap_or_default(),
            esmtp: self.esmtp,
        };
        let note = Some(Note::Recipient(envelope));
        Answer { note, ..Answer::go_on(Reply::Refused(refusal)) }
    }

    fn data(&self, command: &Command<'_>) -> Reply {
        match (command.argument(), &self.sender) {
            (Some(_), _) => Reply::DataSyntax,
            (None, None) => Reply::RcptFirst,
            (None, Some(_)) => Reply::NoRecipients,
        }
    }

    fn bdat(&self, command: &Command<'_>) -> Reply {
        if self.discarded.contains(Keyword::Chunking) {
            return Reply::NotImplemented;
        }
        match (command.argument(), &self.sender) {
            (None, _) => Reply::BdatSyntax,
            (Some(_), None) => Reply::MailFirstForChunks,
            (Some(_), Some(_)) => Reply::NoRecipients,
        }
    }

    fn rset(&mut self) -> Reply {
        self.sender = None;
        Reply::Ok
    }

    fn etrn(&self, command: &Command<'_>, rules: &EngineRules) -> Reply {
        if self.misses_helo(rules) {
            Reply::HeloFirst
        } else if command.argument().is_none() {
            Reply::EtrnSyntax
        } else {
            Reply::NoQueue
        }
    }
}

fn command<'a>(reader: &'a LineReader, replacement: Option<&'a str>) -> Command<'a> {
    Command::parse(replacement.map_or_else(|| reader.line().text(), str::as_bytes))
}

fn vrfy(command: &Command<'_>, rules: &EngineRules, refusal: Option<Refusal>) -> Reply {
    if command.argument().is_none() {
        Reply::VrfySyntax
    } else if rules.vrfy_disabled {
        Reply::VrfyDisabled
    } else {
        Reply::Refused(refusal)
    }
}

#[cfg(test)]
mod tests;
