//! The laws for a first contact: limits, access list, cache, and which tests are due.

use std::net::SocketAddr;
use std::time::Duration;

use gatepost::screen::event::{Access, Cached, Now, Output, Watch};
use gatepost::screen::reply::Reply;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{Action, CacheRecord, Expiry, PerTest, Test, TestSet};

use crate::laws::Laws;
use crate::seen::{Seen, Word};
use crate::witness::{Answers, Expected, Fate, Place, Witness, ensure};

impl Laws {
    /// The rules of a first contact, step by step.
    pub fn connected(
        &mut self,
        id: SessionId,
        (client, server): (SocketAddr, SocketAddr),
        now: Now,
        answers: &Answers,
        out: &[Output],
    ) -> Result<(), String> {
        let seen = Seen::of(id, client, server, out)?;
        let mut expected = Expected { words: vec![Word::Connect], ..Expected::default() };
        let (open, hand_offs) = (self.open() + 1, self.hand_offs());
        let limits = self.policy.limits;
        if !self.stress && open >= limits.pre_queue * 9 / 10 {
            self.stress = true;
            expected.words.push(Word::EnteringStress(open));
        }
        let wait = self.policy.greet_wait;
        let mut witness = Witness {
            client,
            server,
            began: now.mono,
            wait: if self.stress { wait.stress } else { wait.normal },
            due: TestSet::EMPTY,
            was_new: false,
            fates: PerTest::default(),
            refused: false,
            score: None,
            hurried: false,
            recommended: None,
            line: Vec::new(),
            esmtp: false,
            secure: false,
            asked: now.mono,
            place: Place::Waiting,
            watch: Watch::Nothing,
            deadline: None,
            handed: now.mono,
            returned: false,
        };
        let run = self.runs.entry(client.ip()).or_default();
        run.sessions += 1;
        let of_address = run.sessions;
        let crowd = self.crowd(client.ip());

        let mut asked = 0;
        let protocols = self.policy.protocols;
        let served = |end: SocketAddr| if end.is_ipv4() { protocols.ipv4 } else { protocols.ipv6 };
        if !(served(client) && served(server)) {
            let minute = Duration::from_secs(60);
            let paid = self.unserved_paid.map_or(now.mono, |paid| paid.max(now.mono));
            if paid - now.mono <= 2 * minute {
                self.unserved_paid = Some(paid + minute);
                expected.words.push(Word::NotServed);
            }
            expected.turn_away(Some(Word::ServerPortsBusy), Reply::ServerPortsBusy);
        } else if limits.per_client.is_some_and(|limit| crowd > limit) {
            if limits.per_client.is_some_and(|limit| of_address <= limit) {
                self.tally.add("network too many");
            }
            expected.turn_away(Some(Word::TooManyConnections), Reply::TooManyConnections);
        } else if limits.post_queue > 0 && hand_offs >= limits.post_queue {
            expected.turn_away(Some(Word::ServerPortsBusy), Reply::ServerPortsBusy);
        } else {
            asked += 1;
            let access = answers.access.ok_or("the access list was not asked")?;
            match access {
                Access::Permit => expected.words.push(Word::Allowlisted),
                Access::Reject => expected.words.push(Word::Denylisted),
                Access::Undecided => {}
            }
            match (access, self.policy.denylist_action) {
                (Access::Permit, _) => self.begin_hand_off(&mut witness, &mut expected, now),
                (Access::Reject, Action::Drop) => expected.turn_away(None, Reply::Denylisted),
                (access, action) => {
                    witness.refused = access == Access::Reject && action == Action::Enforce;
                    asked += self.screened(id, &mut witness, &mut expected, now, answers)?;
                }
            }
        }
        ensure(answers.questions == asked, || format!("{asked} questions, not {answers:?}"))?;
        self.settle(id, witness, seen, expected, now, true)
    }

    /// The steps of a client that the access list leaves to the tests. Says how many
    /// questions they give rise to.
    fn screened(
        &mut self,
        id: SessionId,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
        answers: &Answers,
    ) -> Result<usize, String> {
        let mut asked = 0;
        let run = self.runs.get_mut(&witness.client.ip()).ok_or("no run")?;
        let mut found = false;
        let record = match run.record {
            _ if witness.refused => CacheRecord::default(),
            Some(record) if run.sessions > 1 => record,
            _ => {
                asked += 1;
                match answers.cached.as_ref().ok_or("the cache was not asked")? {
                    Cached::Found(record) => {
                        found = true;
                        *record
                    }
                    Cached::NotFound | Cached::Failed(_) => CacheRecord::default(),
                }
            }
        };
        let mut record = record;
        if !witness.refused {
            run.record = Some(record);
            // What parallel sessions that failed nothing have passed counts at once.
            let parallel =
                self.sessions.values().filter(|other| other.client.ip() == witness.client.ip());
            let screened = parallel.filter(|other| other.place.is_screened());
            for other in screened {
                for test in Test::ALL {
                    record[test] = record[test].max(other.pass(test).unwrap_or_default());
                }
            }
        }
        let valid = |test: Test| matches!(record[test], Expiry::Until(end) if now.wall <= end);
        witness.due = self.policy.enabled.iter().filter(|test| !valid(*test)).collect();
        witness.was_new = Test::ALL.into_iter().any(|test| record[test] == Expiry::NeverPassed);
        for test in witness.due.iter() {
            witness.fates[test] = Fate::Pending;
        }
        if found && witness.due.is_empty() {
            self.tally.add("known");
            expected.words.push(Word::PassOld);
            self.begin_hand_off(witness, expected, now);
            return Ok(asked);
        }
        asked += 1;
        if !answers.interface.ok_or("nobody asked about the interface")? {
            witness.refused = true;
            expected.words.push(Word::Veto);
        }
        let screening = self.open() - self.hand_offs() + 1;
        if self.policy.limits.pre_queue > 0 && screening >= self.policy.limits.pre_queue {
            expected.turn_away(Some(Word::ScreeningPortsBusy), Reply::ScreeningPortsBusy);
        } else if witness.due.any_early() {
            if witness.pregreet() == Fate::Pending {
                expected.replies.push(Reply::Teaser);
            }
            if witness.fates.dnsbl == Fate::Pending {
                self.asks(id, witness, expected, now);
            }
        } else {
            if witness.due.is_empty() && !witness.refused {
                // What a parallel session has passed counts, without a line in the log.
                self.tally.add("rides along");
            }
            self.early_tests_over(witness, expected, now);
        }
        Ok(asked)
    }
}
