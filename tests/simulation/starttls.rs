//! The laws for STARTTLS: what is offered, tried, and forgotten.

use std::time::Duration;

use gatepost::screen::event::{Now, TlsNews};
use gatepost::screen::policy::TlsLevel;
use gatepost::screen::reply::Reply;
use gatepost::screen::smtp::keyword::Keyword;
use gatepost::screen::verdict::TlsNotice;

use crate::laws::{BUSY_LIMIT, Laws};
use crate::seen::{Seen, Word};
use crate::witness::{Answers, Expected, Place, Witness, ensure};

/// How many failures in a row suspend the offer, and for how long.
const FAILURES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(60);

impl Laws {
    fn suspended(&self, now: Now) -> bool {
        self.policy.engine.tls_level == TlsLevel::May
            && self.tls_again.is_some_and(|again| now.mono < again)
    }

    /// STARTTLS is announced where it would be tried, and nothing works without it where it
    /// is mandatory.
    pub fn law_of_offers(
        &mut self,
        witness: &mut Witness,
        replies: &[Reply],
        now: Now,
    ) -> Result<(), String> {
        let level = self.policy.engine.tls_level;
        let kept = self.kept_from(witness.client.ip());
        let hidden = witness.secure || self.suspended(now);
        let announced = if hidden { kept.with(Keyword::Starttls) } else { kept };
        let may_be_off = [Keyword::Starttls, Keyword::Chunking];
        let some_off = may_be_off.iter().any(|keyword| kept.contains(*keyword));
        for reply in replies {
            witness.esmtp |= matches!(reply, Reply::Ehlo(_));
            let right = match reply {
                Reply::Ehlo(discarded) => *discarded == announced,
                Reply::TlsUnavailable => self.suspended(now) && !witness.secure,
                Reply::TlsActive => witness.secure,
                Reply::NotImplemented => level == TlsLevel::None || (witness.esmtp && some_off),
                Reply::ReadyForTls => false,
                Reply::StarttlsFirst => level == TlsLevel::Encrypt && !witness.secure,
                Reply::SenderOk | Reply::Refused(_) | Reply::NoRecipients | Reply::NoQueue => {
                    level != TlsLevel::Encrypt || witness.secure
                }
                _ => true,
            };
            ensure(right, || format!("{reply:?} at level {level:?} to {witness:?}"))?;
            match reply {
                Reply::StarttlsFirst => self.tally.add("STARTTLS first"),
                Reply::TlsUnavailable => self.tally.add("STARTTLS withheld"),
                Reply::TlsActive => self.tally.add("TLS active"),
                _ => {}
            }
        }
        Ok(())
    }

    /// A line has asked for TLS, and what came behind it waits.
    pub fn starts_tls(
        &mut self,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
        line: Option<&Vec<u8>>,
    ) -> Result<(), String> {
        let level = self.policy.engine.tls_level;
        let asks = line.is_some_and(|line| {
            let text = line.split(|byte| b"\0\r\n".contains(byte)).next().unwrap_or_default();
            text.trim_ascii().eq_ignore_ascii_case(b"STARTTLS")
        });
        let kept = self.kept_from(witness.client.ip()).contains(Keyword::Starttls);
        let open = level != TlsLevel::None && !witness.secure && !self.suspended(now);
        let worth_it = open && !(witness.esmtp && kept);
        ensure(asks && worth_it, || format!("{line:?} starts TLS: {witness:?}"))?;
        expected.starts_tls = true;
        witness.asked = now.mono;
        witness.place = Place::Greeting;
        Ok(())
    }

    pub fn tls_deadline(
        &mut self,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
        answers: &Answers,
        seen: &Seen,
    ) -> Result<(), String> {
        if witness.place == Place::TlsPause {
            witness.place = Place::Greeting;
            expected.starts_tls = true;
            return Ok(());
        }
        self.tally.add("TLS timeout");
        self.tls_fails(witness, expected, now, answers, seen)
    }

    pub fn tls_news(
        &mut self,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
        news: TlsNews<'_>,
        answers: &Answers,
        seen: &Seen,
    ) -> Result<(), String> {
        match (witness.place, news) {
            (Place::Greeting, TlsNews::Busy) if now.mono - witness.asked < BUSY_LIMIT => {
                self.tally.add("TLS queue full");
                witness.place = Place::TlsPause;
            }
            (Place::Greeting, TlsNews::Asked) => witness.place = Place::Status,
            (Place::Status, TlsNews::Taken) => self.tls_begins(witness, expected),
            (Place::Greeting, TlsNews::Busy) | (_, TlsNews::Failed { .. }) => {
                self.tls_fails(witness, expected, now, answers, seen)?;
            }
            _ => self.tally.add("TLS news out of step"),
        }
        Ok(())
    }

    fn tls_begins(&mut self, witness: &mut Witness, expected: &mut Expected) {
        self.tally.add("TLS");
        if !witness.line.is_empty() {
            self.tally.add("plain text dropped");
        }
        witness.line.clear();
        witness.secure = true;
        witness.place = Place::Engine;
        expected.replies.push(Reply::ReadyForTls);
        expected.tls_begins = true;
        if self.tls_failures >= FAILURES && self.policy.engine.tls_level == TlsLevel::May {
            expected.words.push(Word::TlsNotice(TlsNotice::Resumed));
        }
        self.tls_failures = 0;
        self.tls_again = None;
    }

    /// The dialogue goes on in the clear, with what is there already.
    fn tls_fails(
        &mut self,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
        answers: &Answers,
        seen: &Seen,
    ) -> Result<(), String> {
        expected.words.push(Word::TlsTrouble);
        expected.abandons_tls = true;
        expected.replies.push(Reply::TlsUnavailable);
        expected.restarts = true;
        self.tls_failures += 1;
        if self.tls_failures >= FAILURES {
            self.tls_again = Some(now.mono + PAUSE);
        }
        if self.tls_failures == FAILURES && self.policy.engine.tls_level == TlsLevel::May {
            expected.words.push(Word::TlsNotice(TlsNotice::Suspended));
        }
        witness.place = Place::Engine;
        if !witness.line.is_empty() {
            self.tally.add("plain text kept");
        }
        self.received(witness, expected, now, &[], answers, seen)
    }
}
