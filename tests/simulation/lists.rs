//! The laws for DNS blocklists: who asks, what the answers come to, and who goes on when.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost::screen::dnsbl::answer::{Answer, Asker, Failure, ListId, Question};
use gatepost::screen::dnsbl::guard::Mode;
use gatepost::screen::dnsbl::guard::notice::{Effect, Notice};
use gatepost::screen::dnsbl::lists::{Entry, List, Lists};
use gatepost::screen::event::{Now, Output};
use gatepost::screen::logline::LogLine;
use gatepost::screen::policy::DetailLog;
use gatepost::screen::reply::Reply;
use gatepost::screen::session::SessionId;
use gatepost::screen::test_set::{Action, Test};
use gatepost::screen::verdict::Blocked;

use crate::laws::Laws;
use crate::seen::{Seen, Word};
use crate::witness::{Expected, Fate, Witness, ensure};

/// How long a verdict that is certain waits for the rest of the answers.
const GRACE: Duration = Duration::from_secs(1);

/// The look-ups for an address that are under way, and what came of them.
#[derive(Debug, Default)]
pub struct Round {
    pub answers: BTreeMap<ListId, Option<Answer>>,
    pub waiting: Vec<SessionId>,
}

/// What the answers so far say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opinion {
    pub rank: i32,
    pub ttl: Duration,
    top: Option<(i32, u16)>,
    low: i32,
    high: i32,
    told: bool,
}

/// Whether one of the records counts for an entry. A code by which the list refuses to answer
/// does not, unless the entry asks for just that.
fn matches(entry: &Entry, records: &[Ipv4Addr], mode: Mode) -> bool {
    records.iter().any(|record| match &entry.filter {
        Some(filter) => filter.matches(*record),
        None => mode != Mode::Enforce || !is_code(*record),
    })
}

fn is_code(record: Ipv4Addr) -> bool {
    record.octets().starts_with(&[127, 255, 255]) || record.octets()[0] != 127
}

/// Whether an answer says nothing but that the list refuses to answer.
fn refuses(list: &List, answer: &Answer, mode: Mode) -> bool {
    let Answer::Listed { addresses, .. } = answer else { return false };
    mode == Mode::Enforce
        && addresses.iter().all(|record| is_code(*record))
        && !list.entries.iter().any(|entry| matches(entry, addresses, mode))
}

/// Adds everything up, entry by entry.
fn opinion(laws: &Laws, round: &Round) -> Opinion {
    let rules = &laws.policy.dnsbl;
    let (mut rank, mut low, mut high) = (0, 0, 0);
    let mut top = None;
    let (mut for_it, mut against_it) = (Vec::new(), Vec::new());
    let (mut missing, mut hit) = (false, false);
    for (id, list) in rules.lists.iter() {
        let Some(answer) = round.answers.get(&id) else { continue };
        missing |= matches!(answer, None | Some(Answer::Failed(_)));
        for entry in &list.entries {
            let (listed, ttl) = match answer {
                Some(Answer::Listed { addresses, ttl }) => {
                    if matches(entry, addresses, rules.guard) {
                        hit = true;
                        rank += entry.weight;
                        if top.is_none_or(|(weight, _)| entry.weight > weight) {
                            top = Some((entry.weight, entry.id.0));
                        }
                        if top.is_some_and(|(weight, id)| weight == entry.weight && id > entry.id.0)
                        {
                            top = Some((entry.weight, entry.id.0));
                        }
                    }
                    (true, *ttl)
                }
                Some(Answer::NotListed { ttl }) => (false, ttl.unwrap_or(0)),
                Some(Answer::Failed(_)) => continue,
                None => {
                    low += entry.weight.min(0);
                    high += entry.weight.max(0);
                    continue;
                }
            };
            let good_sign = if entry.weight > 0 { !listed } else { listed };
            if good_sign { for_it.push(ttl) } else { against_it.push(ttl) }
        }
    }
    let deciding = if rank > 0 { against_it } else { for_it };
    let ttl = if missing { None } else { deciding.into_iter().min() };
    let ttl = Duration::from_secs(ttl.unwrap_or(0).into()).max(rules.ttl.min).min(rules.ttl.max);
    let told = match rules.detail {
        DetailLog::All => true,
        DetailLog::Listed => hit || missing,
        DetailLog::None => false,
    };
    Opinion { rank, ttl, top, low: rank + low, high: rank + high, told }
}

/// All questions about an address.
fn questions(lists: &Lists, witness: &Witness) -> Vec<Question> {
    let address = witness.client.ip();
    lists.iter().map(|(list, _)| Question { asker: Asker::Client, address, list }).collect()
}

impl Laws {
    /// A session that needs a score joins the look-ups for its address, or starts them.
    pub fn asks(
        &mut self,
        id: SessionId,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
    ) {
        let lists = &self.policy.dnsbl.lists;
        let aside = &self.aside;
        let Some(run) = self.runs.get_mut(&witness.client.ip()) else { return };
        if run.round.is_some() {
            self.tally.add("shares look-ups");
        }
        let round = run.round.get_or_insert_with(|| {
            let is_asked = |question: &Question| !aside.contains(&question.list);
            expected.asked = questions(lists, witness).into_iter().filter(is_asked).collect();
            let answers = expected.asked.iter().map(|question| (question.list, None)).collect();
            Round { answers, waiting: vec![] }
        });
        round.waiting.push(id);
        if round.answers.is_empty() {
            self.tally.add("nobody to ask");
            run.round = None;
            let opinion = opinion(self, &Round::default());
            self.takes(witness, expected, opinion, now);
            if witness.pregreet() != Fate::Pending {
                self.early_tests_over(witness, expected, now);
            }
        } else {
            self.hurries(witness, expected, now);
        }
    }

    /// Whether a session waits for lists.
    fn awaits(witness: &Witness) -> bool {
        witness.fates.dnsbl == Fate::Pending && witness.score.is_none()
    }

    /// Somebody whose verdict is certain does not wait for the rest much longer.
    fn hurries(&mut self, witness: &mut Witness, expected: &mut Expected, now: Now) {
        let Some(run) = self.runs.get(&witness.client.ip()) else { return };
        let Some(round) = &run.round else { return };
        let opinion = opinion(self, round);
        let welcome = |rank| self.speaks_well(witness, rank);
        let certain = welcome(opinion.high)
            || witness.pregreet() != Fate::Pending
                && opinion.high < self.policy.dnsbl.threshold
                && !welcome(opinion.low);
        if certain && !witness.hurried && now.mono + GRACE < witness.began + witness.wait {
            self.tally.add("hurried");
            witness.hurried = true;
            expected.grace = Some(GRACE);
        }
    }

    fn speaks_well(&self, witness: &Witness, rank: i32) -> bool {
        !witness.refused
            && !matches!(witness.pregreet(), Fate::Failed | Fate::Ignored)
            && self.policy.dnsbl.allowlist_threshold.is_some_and(|least| rank <= least)
    }

    /// A session that is to wait for lists after a pregreet. Says whether it is.
    pub fn waits_on(&mut self, witness: &mut Witness, expected: &mut Expected, now: Now) -> bool {
        if !Laws::awaits(witness) {
            return false;
        }
        self.tally.add("pregreeter waits for lists");
        self.hurries(witness, expected, now);
        true
    }

    /// The wait is over, or cut short: what has come in so far counts.
    pub fn takes_what_there_is(
        &mut self,
        id: SessionId,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
    ) {
        if Laws::awaits(witness) {
            let run = self.runs.get(&witness.client.ip());
            let Some(round) = run.and_then(|run| run.round.as_ref()) else { return };
            let opinion = opinion(self, round);
            self.tally.add("partial score");
            self.takes(witness, expected, opinion, now);
            self.stops_waiting(id, witness, expected);
        }
    }

    fn takes(&mut self, witness: &mut Witness, expected: &mut Expected, it: Opinion, now: Now) {
        if it.told {
            expected.words.push(Word::Score(it.rank));
        }
        witness.score = Some(it);
        if self.speaks_well(witness, it.rank) {
            self.tally.add("recommended");
            let until = now.wall.plus(it.ttl);
            for test in Test::ALL {
                if witness.fates[test] == Fate::Pending {
                    witness.fates[test] = Fate::Passed(until);
                }
            }
            witness.recommended = Some(until);
        }
    }

    /// The last one that waits takes the questions with it.
    pub fn stops_waiting(&mut self, id: SessionId, witness: &Witness, expected: &mut Expected) {
        let Some(run) = self.runs.get_mut(&witness.client.ip()) else { return };
        let Some(round) = &mut run.round else { return };
        let before = round.waiting.len();
        round.waiting.retain(|other| *other != id);
        if round.waiting.is_empty() && before > 0 {
            let open = |question: &Question| round.answers.get(&question.list) == Some(&None);
            let all = questions(&self.policy.dnsbl.lists, witness);
            expected.forgotten = all.into_iter().filter(open).collect();
            run.round = None;
        }
    }

    /// What the score comes to, at the end of the wait. Says whether that ends the session.
    pub fn score_counts(
        &mut self,
        witness: &mut Witness,
        expected: &mut Expected,
        now: Now,
    ) -> bool {
        let Some(it) = witness.score.filter(|_| witness.fates.dnsbl == Fate::Pending) else {
            return false;
        };
        if it.rank < self.policy.dnsbl.threshold {
            witness.fates.dnsbl = Fate::Passed(now.wall.plus(it.ttl));
            return false;
        }
        expected.words.push(Word::DnsblRank(it.rank));
        let client = witness.client.ip();
        let by = self.policy.dnsbl.lists.iter().flat_map(|(_, list)| &list.entries);
        let by = by.map(|entry| entry.id).find(|id| it.top.is_some_and(|(_, top)| top == id.0));
        match self.policy.actions.dnsbl {
            Action::Ignore => witness.fates.dnsbl = Fate::Ignored,
            Action::Enforce => {
                self.tally.add("dnsbl enforce");
                witness.fates.dnsbl = Fate::Failed;
                witness.refused = true;
            }
            Action::Drop => {
                self.tally.add("dnsbl drop");
                witness.fates.dnsbl = Fate::Failed;
                expected.replies.push(Reply::Blocked(Blocked { client, by }));
                self.end_here(witness, expected);
                return true;
            }
        }
        false
    }

    /// An answer moves everybody who waits for it, in the order in which they came.
    pub fn list_answer(
        &mut self,
        question: Question,
        answer: &Answer,
        now: Now,
        out: &[Output],
    ) -> Result<(), String> {
        let round = self.runs.get_mut(&question.address).and_then(|run| run.round.as_mut());
        let place = round.and_then(|round| round.answers.get_mut(&question.list));
        let Some(place @ None) = place else {
            self.tally.add("answer for nobody");
            return ensure(out.is_empty(), || "outputs for an answer nobody waits for".into());
        };
        let rules = &self.policy.dnsbl;
        let list = rules.lists.get(question.list).ok_or("no such list")?;
        let refused = Answer::Failed(Failure::Refused);
        let answer = if refuses(list, answer, rules.guard) { &refused } else { answer };
        *place = Some(answer.clone());
        let out = without_the_news(answer, out)?;
        let Some(run) = self.runs.get_mut(&question.address) else { return Ok(()) };
        let complete =
            run.round.as_ref().is_some_and(|round| round.answers.values().all(Option::is_some));
        let round = if complete { run.round.take() } else { None };
        let opinion = round.as_ref().map(|round| opinion(self, round));
        let waiting = match (&round, &self.runs[&question.address].round) {
            (Some(round), _) | (None, Some(round)) => round.waiting.clone(),
            (None, None) => vec![],
        };
        let mut rest = out;
        for id in waiting {
            let mut witness = self.sessions.remove(&id).ok_or("waits, but is not there")?;
            let mut expected = Expected::default();
            let before = witness.place;
            match opinion {
                Some(opinion) => {
                    self.takes(&mut witness, &mut expected, opinion, now);
                    if witness.pregreet() != Fate::Pending {
                        self.early_tests_over(&mut witness, &mut expected, now);
                    }
                }
                None => self.hurries(&mut witness, &mut expected, now),
            }
            let own;
            (own, rest) = rest.split_at(about(id, &witness, rest));
            let seen = Seen::of(id, witness.client, witness.server, own)?;
            let moved = witness.place != before;
            self.settle(id, witness, seen, expected, now, moved)?;
        }
        ensure(rest.is_empty(), || format!("nobody waits for {rest:?}"))
    }
}

/// Takes out what the guard of the lists does, which is about no client, and notes which lists
/// it has put aside.
pub fn without_the_guard(laws: &mut Laws, out: &[Output]) -> Result<Vec<Output>, String> {
    let mut rest = Vec::new();
    for output in out {
        match output {
            Output::Log(LogLine::Dnsbl(notice)) => {
                let named = |zone: &str| {
                    let lists = laws.policy.dnsbl.lists.iter();
                    lists.filter(|(_, list)| *list.public_name == *zone).map(|(id, _)| id).last()
                };
                match notice {
                    Notice::PutAside(case) | Notice::PutAsideAgain(case)
                        if case.effect == Effect::Aside =>
                    {
                        laws.tally.add("put aside");
                        laws.aside.insert(named(&case.zone).ok_or("no such zone")?);
                    }
                    Notice::Back { zone, effect: Effect::Aside, .. } => {
                        laws.tally.add("back");
                        laws.aside.remove(&named(zone).ok_or("no such zone")?);
                    }
                    _ => laws.tally.add("other notice"),
                }
            }
            Output::AskList(question) if question.asker == Asker::TestPoint => {
                ensure(laws.policy.dnsbl.guard != Mode::Off, || "asks although it is off".into())?;
            }
            Output::SetGuardDeadline(_) | Output::StoreList(_) => {}
            _ => rest.push(output.clone()),
        }
    }
    let aside = !laws.aside.is_empty();
    ensure(!aside || laws.policy.dnsbl.guard == Mode::Enforce, || "put aside in vain".into())?;
    Ok(rest)
}

/// How many outputs from the first on are about this session. What does not name a session
/// belongs to the one that is named next, and all up to a Close to the one that ends.
fn about(id: SessionId, witness: &Witness, out: &[Output]) -> usize {
    let names = |output: &Output| match output {
        Output::Send(other, _)
        | Output::SendText { session: other, .. }
        | Output::Watch(other, _)
        | Output::SetDeadline(other, _)
        | Output::HandOff { session: other, .. }
        | Output::Close(other) => Some(*other == id),
        Output::Log(line) => {
            let text = line.to_string();
            let own = format!("[{}]:{}", witness.client.ip(), witness.client.port());
            text.contains("]:").then(|| text.contains(&own))
        }
        _ => None,
    };
    if out.iter().find_map(names) != Some(true) {
        return 0;
    }
    if let Some(place) = out.iter().position(|output| *output == Output::Close(id)) {
        return place + 1;
    }
    let end = out.iter().position(|output| names(output) == Some(false)).unwrap_or(out.len());
    let own = &out[..end];
    own.iter().rposition(|output| names(output) == Some(true)).map_or(end, |last| last + 1)
}

/// Takes off what the log says about the answer itself: a line for each record; about a
/// failure not always one.
fn without_the_news<'a>(answer: &Answer, out: &'a [Output]) -> Result<&'a [Output], String> {
    let news = |output: &&Output| match output {
        Output::Log(LogLine::List(line)) => !line.to_string().starts_with("score "),
        _ => false,
    };
    let lines = out.iter().take_while(news).count();
    let right = match answer {
        Answer::Listed { addresses, .. } => lines == addresses.len(),
        Answer::NotListed { .. } => lines == 0,
        Answer::Failed(_) => lines <= 1,
    };
    ensure(right, || format!("{lines} lines about {answer:?}"))?;
    Ok(&out[lines..])
}
