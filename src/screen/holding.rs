//! Replies whose footers a table elsewhere has to know, and all that has to come behind them.
//!
//! A session does not wait for its replies: what it does next is decided, and logged, at once.
//! Only what the client would see of it is held back, in its order.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::event::{Lookup, Output, Watch};
use super::reply::Reply;
use super::screener::{Screener, Turn};
use super::session::{Phase, SessionId};
use super::slots::ById;

/// What is held back, by session. Some of these sessions have ended.
#[derive(Debug, Default)]
pub(super) struct Holding(ById<VecDeque<Held>>);

#[derive(Debug)]
enum Held {
    Reply(SocketAddr, Reply),
    Output(Output),
}

/// A reply without its footer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LateReply {
    /// Its place among the outputs of the turn.
    pub place: usize,
    pub session: SessionId,
    pub client: SocketAddr,
    pub reply: Reply,
}

/// Whether footers are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// They are.
    Waits,
    /// What is not known by now does not matter.
    IsOver,
}

impl Holding {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sessions of which something is held back.
    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.0.iter().map(|(id, _)| id).collect()
    }

    /// Takes out of a turn's outputs, from `start` on, what has to wait.
    pub(super) fn hold_back(
        &mut self,
        late: impl IntoIterator<Item = LateReply>,
        start: usize,
        out: &mut Vec<Output>,
    ) {
        let mut late = late.into_iter().peekable();
        let outputs = out.split_off(start.min(out.len()));
        for (place, output) in (start..).zip(outputs) {
            while let Some(reply) = late.next_if(|reply| reply.place <= place) {
                self.hold(reply, out);
            }
            match output.to_client().and_then(|id| self.0.get_mut(id)) {
                Some(queue) => queue.push_back(Held::Output(output)),
                None => out.push(output),
            }
        }
        for reply in late {
            self.hold(reply, out);
        }
    }

    fn hold(&mut self, late: LateReply, out: &mut Vec<Output>) {
        let LateReply { session, client, reply, .. } = late;
        let held = Held::Reply(client, reply);
        match self.0.get_mut(session) {
            Some(queue) => queue.push_back(held),
            None => {
                // So that no more than the replies to one buffer of commands have to wait.
                out.push(Output::Watch(session, Watch::Nothing));
                self.0.insert(session, VecDeque::from([held]));
            }
        }
    }
}

/// Lets go what need not wait any more. To be called before the session says anything else.
pub(super) fn go_on(
    screener: &mut Screener,
    turn: &mut Turn<'_>,
    id: SessionId,
    patience: Patience,
) {
    let Some(mut queue) = screener.holding.0.remove(id) else { return };
    while let Some(held) = queue.pop_front() {
        match held {
            Held::Output(output) => turn.out.push(output),
            Held::Reply(client, reply) => {
                if patience == Patience::IsOver {
                    turn.lookups.stop_asking(id);
                }
                match turn.footed(&screener.policy, id, client, reply) {
                    Lookup::Known(output) => turn.out.push(output),
                    Lookup::Asked => {
                        queue.push_front(held);
                        screener.holding.0.insert(id, queue);
                        break;
                    }
                }
            }
        }
    }
    // What is let go here is not to be held back again.
    turn.held_from = turn.out.len();
    let is_talking = |phase: &Phase| matches!(phase, Phase::AfterHandshake(_));
    if screener.holding.0.get(id).is_none()
        && screener.screening.get(id).is_some_and(|session| is_talking(&session.phase))
    {
        turn.out.push(Output::Watch(id, Watch::Read));
    }
}
