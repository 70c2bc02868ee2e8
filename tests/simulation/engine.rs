//! The laws for the built-in engine: one reply for each line, and what the deep tests make
//! of them.

use gatepost::screen::event::{Filtered, Now};
use gatepost::screen::reply::Reply;
use gatepost::screen::smtp::command::Verb;
use gatepost::screen::test_set::{Action, Test};

use crate::laws::Laws;
use crate::seen::{Seen, Word};
use crate::witness::{Answers, Expected, Fate, Witness, ensure};

impl Laws {
    /// The client has said something. What the engine replies is not our concern, but that
    /// each line gets one reply, and what follows from the offences that it reports.
    pub fn received(
        &mut self,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
        data: &[u8],
        answers: &Answers,
        seen: &Seen,
    ) -> Result<(), String> {
        let own = |word: &&Word| {
            matches!(
                word,
                Word::LengthLimit
                    | Word::CountLimit
                    | Word::Offence(_)
                    | Word::Discarding
                    | Word::Replaced
                    | Word::FilterFailed
                    | Word::RejectRcpt
                    | Word::NoValidRcpt
            )
        };
        let words: Vec<Word> = seen.words.iter().filter(own).copied().collect();
        // What the dialogue was interrupted for has been replied to.
        let replies = seen
            .replies
            .strip_prefix(&expected.replies[..])
            .ok_or_else(|| format!("{:?} are not the first replies: {seen:?}", expected.replies))?;
        expected.replies.clone_from(&seen.replies);
        let begins = |reply: &Reply| matches!(reply, Reply::Teaser | Reply::Greeting);
        ensure(!seen.replies.iter().any(begins), || "greeted twice".into())?;

        self.law_of_offers(witness, replies, now)?;

        let lines = self.lines_with_replies(witness, data, &words, replies, seen)?;
        let commands = self.filtered(&lines, answers, seen)?;
        self.forbidden(witness, &commands, answers, &words)?;
        for word in &words {
            if let Word::Offence(test) = word {
                self.offence(witness, *test, now)?;
            }
        }
        if commands.iter().any(|command| is(b"RCPT", command)) {
            for test in Test::ALL.into_iter().filter(|test| !test.is_early()) {
                if witness.fates[test] == Fate::Pending {
                    self.tally.add("passed at RCPT");
                    witness.fates[test] = Fate::Passed(now.wall.plus(self.policy.ttl[test]));
                }
            }
        }
        expected.words.extend(words);
        // A line that is too long has a reply, but is none.
        let answered = commands.iter().map(Vec::as_slice).chain([&b""[..]]);
        let ends: Vec<bool> =
            replies.iter().zip(answered).map(|(reply, line)| ends(*reply, line)).collect();
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
        if seen.starts_tls {
            self.starts_tls(witness, expected, now, commands.last())?;
        }
        Ok(())
    }

    /// The lines that have been taken in this turn: all of them have a reply, but for a last
    /// one that starts TLS. The rest is kept for the next turn.
    fn lines_with_replies(
        &self,
        witness: &mut Witness,
        data: &[u8],
        words: &[Word],
        replies: &[Reply],
        seen: &Seen,
    ) -> Result<Vec<Vec<u8>>, String> {
        witness.line.extend_from_slice(data);
        let complete = witness.line.iter().filter(|byte| **byte == b'\n').count();
        let too_long = usize::from(words.contains(&Word::LengthLimit));
        let replied = replies.len() - too_long + usize::from(seen.starts_tls);
        let stops = seen.closed || seen.starts_tls;
        ensure(replied == complete || (stops && replied < complete), || {
            format!("{replied} replies to {complete} lines")
        })?;
        let mut lines: Vec<Vec<u8>> =
            witness.line.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let rest = lines.split_off(replied);
        witness.line = rest.concat();
        let limit = self.policy.line_length_limit;
        ensure(lines.iter().all(|line| line.len() <= limit), || "a line too long".into())?;
        ensure(stops || witness.line.len() <= limit, || "too much in the buffer".into())?;
        Ok(lines)
    }

    /// What counts as said: each line goes through the command filter, if there is one. A line
    /// that is dropped for its newline does not, and counts for nothing.
    fn filtered(
        &mut self,
        lines: &[Vec<u8>],
        answers: &Answers,
        seen: &Seen,
    ) -> Result<Vec<Vec<u8>>, String> {
        let mut commands: Vec<Vec<u8>> = lines.iter().map(|line| text(line).to_vec()).collect();
        let dropped = self.policy.actions.bare_newline == Action::Drop
            && seen.words.contains(&Word::Offence(Test::BareNewline));
        if let Some(last) = commands.last_mut().filter(|_| dropped) {
            last.clear();
        }
        let subject = commands.len() - usize::from(dropped);
        let (mut told, mut replaced, mut failed) = (answers.filtered.iter(), 0, 0);
        for command in commands.iter_mut().take(subject) {
            let asks = self.policy.engine.command_filter.is_some()
                && (!self.policy.engine.smtputf8 || str::from_utf8(command).is_ok());
            if !asks {
                continue;
            }
            let (key, answer) = told.next().ok_or("the filter was not asked")?;
            let blanks = command.iter().take_while(|byte| b" \t".contains(byte)).count();
            ensure(*key == command[blanks..], || format!("asked about {key:?}: {command:?}"))?;
            match answer {
                Filtered::Unchanged => {}
                Filtered::Failed => failed += 1,
                Filtered::Replaced(by) => {
                    replaced += 1;
                    *command = by.as_bytes().to_vec();
                    if is(b"RCPT", command) {
                        self.tally.add("recipient by filter");
                    }
                }
            }
        }
        let rest = told.count();
        ensure(rest == 0, || format!("the filter was asked {rest} times too often"))?;
        let count = |wanted| seen.words.iter().filter(|word| **word == wanted).count();
        let logged = (count(Word::Replaced), count(Word::FilterFailed));
        ensure(logged == (replaced, failed), || format!("{logged:?} logged of the filter"))?;
        Ok(commands)
    }

    /// The list of forbidden commands is asked about unknown words, and only by a test that
    /// can still fail; and what it says counts.
    fn forbidden(
        &mut self,
        witness: &Witness,
        commands: &[Vec<u8>],
        answers: &Answers,
        words: &[Word],
    ) -> Result<(), String> {
        let open = matches!(witness.fates.non_smtp_command, Fate::Pending | Fate::Passed(_));
        ensure(open || answers.forbidden.is_empty(), || "asked in vain".into())?;
        let mut said = commands.iter().map(|command| word(command));
        for (asked, _) in &answers.forbidden {
            ensure(said.any(|word| word == *asked), || format!("{asked:?} was not said"))?;
            let known = Verb::of(asked).is_some();
            ensure(!known, || format!("{asked:?} is known"))?;
        }
        let offended = words.contains(&Word::Offence(Test::NonSmtpCommand));
        let on_list = answers.forbidden.iter().any(|(_, forbidden)| *forbidden);
        if on_list {
            self.tally.add("forbidden");
        }
        ensure(offended || !on_list, || "a forbidden word gave no offence".into())?;
        let odd = |command: &Vec<u8>| {
            let word = word(command);
            word.contains(&b':') || str::from_utf8(word).is_err()
        };
        ensure(!offended || on_list || commands.iter().any(odd), || "offence for nothing".into())
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

/// A line without its end, and without what follows a NUL.
fn text(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn word(command: &[u8]) -> &[u8] {
    command.split(|byte| *byte == b' ').find(|word| !word.is_empty()).unwrap_or_default()
}

/// Whether this is what a command line asks for.
fn is(command: &[u8], line: &[u8]) -> bool {
    word(line).eq_ignore_ascii_case(command)
}
