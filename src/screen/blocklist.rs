//! The DNSBL part of the early tests: questions, answers, and who waits for them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::dnsbl::answer::{Answer, Asker, Failure, ListId, Question};
use super::dnsbl::board::Board;
use super::dnsbl::guard::Order;
use super::dnsbl::name;
use super::dnsbl::score::{self, Score, State};
use super::early;
use super::event::Output;
use super::logline::{ListLine, LogLine, Missing, Verdicts};
use super::policy::{DetailLog, DnsblRules};
use super::screener::{Screener, Turn};
use super::session::{Phase, Session, SessionId};
use super::verdict;

/// How long a session whose verdict is certain waits for the answers that are still to come:
/// they have a say in how long a pass counts.
const GRACE: Duration = Duration::from_secs(1);

/// A session in the greet wait wants a score.
pub(super) fn ask(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, address: IpAddr) {
    let Some(client) = screener.clients.get_mut(address) else { return };
    let lists = &screener.policy.dnsbl.lists;
    let guard = &screener.guard;
    let board = client.board.get_or_insert_with(|| {
        let board = Board::new(lists, |list| guard.is_aside(list));
        turn.out.extend(board.pending().map(|list| Output::AskList(by_client(address, list))));
        Box::new(board)
    });
    board.join(id);
    if board.is_complete() {
        settle(screener, turn, address);
    } else {
        hurry(screener, turn, id, address);
    }
}

fn by_client(address: IpAddr, list: ListId) -> Question {
    Question { asker: Asker::Client, address, list }
}

/// A list has answered, or failed to.
pub(super) fn answered(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    question: Question,
    answer: &Answer,
) {
    match question.asker {
        Asker::Client => about_client(screener, turn, question, answer),
        Asker::TestPoint => {
            let mut orders = Vec::new();
            screener.guard.point_answered(question, answer, turn.now, &mut orders);
            obey(screener, turn, orders);
        }
    }
}

fn about_client(screener: &mut Screener, turn: &mut Turn<'_>, question: Question, answer: &Answer) {
    let Question { address, list: id, .. } = question;
    let rules = &screener.policy.dnsbl;
    let refuses = rules.lists.get(id).is_some_and(|list| rules.guard.is_refusal(list, answer));
    let taken = if refuses { &Answer::Failed(Failure::Refused) } else { answer };
    let Some(client) = screener.clients.get_mut(address) else { return };
    let board = client.board.as_mut();
    let wanted = board.is_some_and(|board| board.take_in(&rules.lists, id, taken, rules.guard));
    if wanted {
        log(screener, turn, question, taken);
        observe(screener, turn, id, answer);
        settle(screener, turn, address);
    }
}

/// Lets the guard know what a list has said about a client.
fn observe(screener: &mut Screener, turn: &mut Turn<'_>, list: ListId, answer: &Answer) {
    let mut orders = Vec::new();
    screener.guard.observe(list, answer, turn.now, &mut orders);
    obey(screener, turn, orders);
}

/// The guard has something to do, perhaps.
pub(super) fn guard_deadline(screener: &mut Screener, turn: &mut Turn<'_>) {
    screener.guard_due = None;
    let mut orders = Vec::new();
    screener.guard.due(turn.now, &mut orders);
    obey(screener, turn, orders);
}

/// Does what the guard wants, and sees that it is called again in time.
fn obey(screener: &mut Screener, turn: &mut Turn<'_>, orders: Vec<Order>) {
    turn.out.extend(orders.into_iter().map(|order| match order {
        Order::Ask(question) => Output::AskList(question),
        Order::Say(notice) => Output::Log(LogLine::Dnsbl(notice)),
        Order::Store(saved) => Output::StoreList(saved),
    }));
    let due = screener.guard.next_due();
    if due != screener.guard_due {
        screener.guard_due = due;
        turn.out.extend(due.map(Output::SetGuardDeadline));
    }
}

/// Logs what dnsblog(8) would log.
fn log(screener: &mut Screener, turn: &mut Turn<'_>, question: Question, answer: &Answer) {
    let Question { address, list: id, .. } = question;
    let Some(list) = screener.policy.dnsbl.lists.get(id) else { return };
    match answer {
        Answer::Listed { addresses, .. } => {
            for record in addresses {
                turn.log(LogLine::List(ListLine::Listed {
                    client: address,
                    list: list.public_name.clone(),
                    record: *record,
                }));
            }
        }
        // How a list refuses to answer is the guard's business.
        Answer::NotListed { .. } | Answer::Failed(Failure::Refused) => {}
        Answer::Failed(failure) => {
            let Some(unsaid) = screener.troubles.note(id, *failure, turn.now.mono) else { return };
            turn.log(LogLine::List(match failure {
                Failure::TimeLimit => ListLine::TimeLimit {
                    limit: screener.policy.dnsbl.timeout,
                    list: list.public_name.clone(),
                    unsaid,
                },
                Failure::NoReply
                | Failure::ServerError
                | Failure::Unreachable
                | Failure::Refused => {
                    let name = format!("{}.{}", name::reversed(address), list.public_name);
                    ListLine::LookupError { name: name.into(), unsaid }
                }
            }));
        }
    }
}

/// Lets go who has waited long enough: all, when nothing is to come any more, and those for
/// whom nothing of what is to come makes a difference.
fn settle(screener: &mut Screener, turn: &mut Turn<'_>, address: IpAddr) {
    let Some(client) = screener.clients.get_mut(address) else { return };
    let Some(board) = client.board.take_if(|board| board.is_complete()) else {
        return hurry_all(screener, turn, address);
    };
    for id in board.waiting() {
        let Some(session) = screener.screening.get(id) else { continue };
        let score = take_score(screener, turn, session.client, &board);
        early::scored(screener, turn, id, score);
    }
}

/// Shortens the wait of sessions whose verdict has become certain by an answer.
fn hurry_all(screener: &mut Screener, turn: &mut Turn<'_>, address: IpAddr) {
    let Some(client) = screener.clients.get_mut(address) else { return };
    let Some(board) = &client.board else { return };
    let soon = turn.now.mono + GRACE;
    for id in board.waiting() {
        if let Some(session) = screener.screening.get_mut(id)
            && may_hurry(&screener.policy.dnsbl, board.bounds(), session, soon)
        {
            turn.out.push(Output::SetDeadline(id, soon));
        }
    }
}

/// The same for one that has come, or has done something.
pub(super) fn hurry(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, address: IpAddr) {
    let Some(client) = screener.clients.get_mut(address) else { return };
    let Some(board) = &client.board else { return };
    let soon = turn.now.mono + GRACE;
    if let Some(session) = screener.screening.get_mut(id)
        && may_hurry(&screener.policy.dnsbl, board.bounds(), session, soon)
    {
        turn.out.push(Output::SetDeadline(id, soon));
    }
}

/// Whether a session need not wait longer than `soon`, and would; it is told once.
fn may_hurry(rules: &DnsblRules, bounds: (i32, i32), session: &mut Session, soon: Instant) -> bool {
    let Phase::BeforeHandshake(wait) = &mut session.phase else { return false };
    let hurries = !wait.hurried
        && soon < wait.ends
        && verdict::is_certain(rules, session.refusal, &session.outcomes, bounds);
    wait.hurried |= hurries;
    hurries
}

/// What the answers so far come to. The session does not wait for more.
pub(super) fn score_so_far(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    client: SocketAddr,
) -> Option<Score> {
    let board = screener.clients.get_mut(client.ip())?.board.take()?;
    let score = take_score(screener, turn, client, &board);
    let silent: Vec<ListId> = board.pending().collect();
    if let Some(entry) = screener.clients.get_mut(client.ip()) {
        entry.board = Some(board);
    }
    for list in silent {
        observe(screener, turn, list, &Answer::Failed(Failure::TimeLimit));
    }
    leave(screener, turn, id, client.ip());
    Some(score)
}

/// The score of a session, with a line about how it came about.
fn take_score(
    screener: &Screener,
    turn: &mut Turn<'_>,
    client: SocketAddr,
    board: &Board,
) -> Score {
    let rules = &screener.policy.dnsbl;
    let score = score::score(&rules.lists, board.states(), rules.ttl, rules.guard);
    let verdicts = verdicts(rules, board.states());
    let is_told = match rules.detail {
        DetailLog::All => true,
        DetailLog::Listed => !verdicts.counted.is_empty() || !verdicts.missing.is_empty(),
        DetailLog::None => false,
    };
    if is_told {
        turn.log(LogLine::List(ListLine::Score { client, rank: score.rank, verdicts }));
    }
    score
}

fn verdicts(rules: &DnsblRules, states: &[State]) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for ((_, list), state) in rules.lists.iter().zip(states) {
        let name = || list.public_name.clone();
        match state {
            State::Answered(Answer::Listed { addresses, .. }) => {
                verdicts.counted.extend(list.entries.iter().filter_map(|entry| {
                    let counts = |record: &&Ipv4Addr| rules.guard.counts(entry, &[**record]);
                    let record = addresses.iter().find(counts)?;
                    Some((name(), entry.weight, *record))
                }));
            }
            State::Answered(Answer::Failed(failure)) => {
                verdicts.missing.push((name(), Missing::Failed(*failure)));
            }
            State::Pending => verdicts.missing.push((name(), Missing::TooLate)),
            State::Answered(Answer::NotListed { .. }) | State::Aside => {}
        }
    }
    verdicts
}

/// A session does not wait any more, if it did. The last one takes the questions with it.
pub(super) fn leave(screener: &mut Screener, turn: &mut Turn<'_>, id: SessionId, address: IpAddr) {
    let Some(client) = screener.clients.get_mut(address) else { return };
    let Some(board) = &mut client.board else { return };
    if board.leave(id)
        && let Some(board) = client.board.take_if(|board| board.is_forgotten())
    {
        turn.out.extend(board.pending().map(|list| Output::ForgetList(by_client(address, list))));
    }
}
