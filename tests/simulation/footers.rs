//! Reject footers: a second telling, by what a few examples come to.

use std::net::SocketAddr;

use gatepost::screen::event::{Input, Now, Output};
use gatepost::screen::footer::{Filter, Footers};
use gatepost::screen::reply::Reply;
use gatepost::screen::test_set::UnixTime;

use crate::laws::Laws;
use crate::rng::Rng;
use crate::witness::{Answers, ensure};

const BELOW: &str = "Call us";
const BEHIND: &str = "\\c; you are $client_address\\nat $localtime";
const UNKNOWN: &str = "$helo_name";
const BROKEN: &str = "${client_address";

const TEMPLATES: [&str; 4] = [BELOW, BEHIND, UNKNOWN, BROKEN];

/// What main.cf says about footers.
pub fn draw(rng: &mut Rng) -> Footers {
    Footers {
        general: rng.chance(40).then(|| rng.pick(&TEMPLATES).into()),
        by_reply: rng.chance(30),
        filter: Filter::parse("\\40.:0123456789abcdef"),
    }
}

/// What the footer table says about a reply.
pub fn in_table(reply: &str) -> Option<&'static str> {
    match reply.get(..2)? {
        "42" => Some(BEHIND),
        "52" => Some(BELOW),
        "55" => Some(BROKEN),
        _ => None,
    }
}

/// The table's way of telling the time.
pub fn told(time: UnixTime) -> String {
    format!("{}", { time.0 })
}

/// The text of a reply that has a footer.
fn expected(laws: &Laws, now: Now, client: SocketAddr, reply: Reply) -> Option<String> {
    let policy = &laws.policy;
    let asks = policy.footers.by_reply && !laws.footers_fail;
    let own = if asks { in_table(&reply.plain(policy)) } else { None };
    let text = reply.text(policy);
    let (code, words) = text.split_at(4);
    let status = if words.starts_with(['4', '5']) { &words[..6] } else { "" };
    let below = match own.or(policy.footers.general.as_deref())? {
        BELOW => BELOW.to_owned(),
        BEHIND => {
            let (first, code) = (code.replace(' ', "-"), code);
            let (who, when) = (client.ip(), told(now.wall));
            return Some(format!("{first}{words}; you are {who}\r\n{code}{status}at {when}"));
        }
        UNKNOWN => String::new(),
        _ => return None,
    };
    Some(format!("{}{words}\r\n{code}{status}{below}", code.replace(' ', "-")))
}

impl Laws {
    /// Every reply that turns a client down has its footer, and no other has one.
    pub fn footers(
        &mut self,
        input: &Input<'_>,
        now: Now,
        answers: &Answers,
        out: &[Output],
    ) -> Result<(), String> {
        let mut asked = 0;
        for output in out {
            let (id, reply, text) = match output {
                Output::Send(id, reply) => (id, *reply, None),
                Output::SendText { session, reply, text } => (session, *reply, Some(&**text)),
                _ => continue,
            };
            let client = match input {
                Input::Unidentified { .. } => None,
                Input::Connected { .. } if answers.trust.is_some() => None,
                Input::Connected { client, .. } => Some(*client),
                Input::Peeked { session, data } if self.proxies.contains_key(session) => {
                    self.named_by(*session, data)
                }
                _ => self.sessions.get(id).map(|witness| witness.client),
            };
            let client = client.filter(|_| reply.text(&self.policy).starts_with(['4', '5']));
            asked += usize::from(client.is_some() && self.policy.footers.by_reply);
            let expected = client.and_then(|client| expected(self, now, client, reply));
            ensure(text == expected.as_deref(), || {
                format!("{reply:?} should be {expected:?}, not {text:?}")
            })?;
            self.tally.add(if text.is_some() { "footer" } else { "no footer" });
        }
        ensure(answers.footers == asked, || {
            format!("{asked} questions about footers, not {}", answers.footers)
        })
    }
}
