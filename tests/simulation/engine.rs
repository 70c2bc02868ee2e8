//! The laws for the built-in engine: one reply for each line, and what the deep tests make
//! of them.

use gatepost::screen::event::Now;
use gatepost::screen::reply::Reply;
use gatepost::screen::test_set::{Action, Test};

use crate::laws::Laws;
use crate::seen::{Seen, Word};
use crate::witness::{Expected, Fate, Witness, ensure};

impl Laws {
    /// The client has said something. What the engine replies is not our concern, but that
    /// each line gets one reply, and what follows from the offences that it reports.
    pub fn received(
        &mut self,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
        data: &[u8],
        seen: &Seen,
    ) -> Result<(), String> {
        let own = |word: &&Word| {
            matches!(
                word,
                Word::LengthLimit
                    | Word::CountLimit
                    | Word::Offence(_)
                    | Word::Discarding
                    | Word::RejectRcpt
                    | Word::NoValidRcpt
            )
        };
        let words: Vec<Word> = seen.words.iter().filter(own).copied().collect();
        expected.replies.clone_from(&seen.replies);
        let begins = |reply: &Reply| matches!(reply, Reply::Teaser | Reply::Greeting);
        ensure(!seen.replies.iter().any(begins), || "greeted twice".into())?;

        let lines = self.lines_with_replies(witness, data, &words, seen)?;
        for word in &words {
            if let Word::Offence(test) = word {
                self.offence(witness, *test, now)?;
            }
        }
        if lines.iter().any(|line| is(b"RCPT", line)) {
            for test in Test::ALL.into_iter().filter(|test| !test.is_early()) {
                if witness.fates[test] == Fate::Pending {
                    self.tally.add("passed at RCPT");
                    witness.fates[test] = Fate::Passed(now.wall.plus(self.policy.ttl[test]));
                }
            }
        }
        expected.words.extend(words);
        // A line that is too long has a reply, but is none.
        let lines = lines.iter().map(Vec::as_slice).chain([&b""[..]]);
        let ends: Vec<bool> =
            seen.replies.iter().zip(lines).map(|(reply, line)| ends(*reply, line)).collect();
        let last = ends.split_last();
        ensure(last.is_none_or(|(_, others)| !others.contains(&true)), || {
            "goes on after a last word".into()
        })?;
        let over = last.is_some_and(|(ends, _)| *ends);
        ensure(seen.closed == over || witness.returned, || {
            format!("closed: {}, with {:?}", seen.closed, seen.replies)
        })?;
        if seen.closed {
            ensure(last.is_some(), || "closed without a word".into())?;
            self.end_here(witness, expected);
        }
        Ok(())
    }

    /// The lines that have been replied to in this turn; the rest is kept for the next one.
    fn lines_with_replies(
        &self,
        witness: &mut Witness,
        data: &[u8],
        words: &[Word],
        seen: &Seen,
    ) -> Result<Vec<Vec<u8>>, String> {
        witness.line.extend_from_slice(data);
        let complete = witness.line.iter().filter(|byte| **byte == b'\n').count();
        let too_long = usize::from(words.contains(&Word::LengthLimit));
        let replied = seen.replies.len() - too_long;
        ensure(replied == complete || (seen.closed && replied < complete), || {
            format!("{replied} replies to {complete} lines")
        })?;
        let mut lines: Vec<Vec<u8>> =
            witness.line.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let rest = lines.split_off(replied);
        witness.line = rest.concat();
        let limit = self.policy.line_length_limit;
        ensure(lines.iter().all(|line| line.len() <= limit), || "a line too long".into())?;
        ensure(seen.closed || witness.line.len() <= limit, || "too much in the buffer".into())?;
        Ok(lines)
    }

    /// A deep test has taken offence, which it does at most once.
    fn offence(&mut self, witness: &mut Witness, test: Test, now: Now) -> Result<(), String> {
        let fate = witness.fates[test];
        let open = matches!(fate, Fate::Pending | Fate::Passed(_));
        ensure(open, || format!("{test:?} cannot fail now: {witness:?}"))?;
        if matches!(fate, Fate::Passed(_)) && self.policy.actions[test] != Action::Ignore {
            self.tally.add("pass taken back");
        }
        witness.fates[test] = match self.policy.actions[test] {
            Action::Drop => Fate::Failed,
            Action::Enforce => {
                witness.refused = true;
                Fate::Failed
            }
            Action::Ignore => {
                self.tally.add("excused");
                let ttl = Test::ALL.into_iter().map(|test| self.policy.ttl[test]).min();
                Fate::Excused(now.wall.plus(ttl.unwrap_or_default()))
            }
        };
        Ok(())
    }
}

/// Whether the session is over after this reply to this line.
fn ends(reply: Reply, line: &[u8]) -> bool {
    matches!(
        reply,
        Reply::Bye
            | Reply::CommandLimit
            | Reply::ProtocolError
            | Reply::NonSmtpCommand
            | Reply::NoRecipients
            | Reply::RcptFirst
            | Reply::DataSyntax
            | Reply::BdatSyntax
            | Reply::MailFirstForChunks
            | Reply::NoResources
    ) || (reply == Reply::NotImplemented && is(b"BDAT", line))
}

/// Whether a line has this command.
fn is(command: &[u8], line: &[u8]) -> bool {
    let text = line.split(|byte| b"\0\r\n".contains(byte)).next().unwrap_or_default();
    let mut words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.next().is_some_and(|word| word.eq_ignore_ascii_case(command))
}
