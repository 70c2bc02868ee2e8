//! Questions to DNS blocklists, and who is asked.

use std::time::{Duration, Instant};

use super::names::{Content, NameServers};
use super::worker::Worker;
use crate::dns::resolver::{Limits, Resolver};
use crate::event::reactor::{Reactor, Source};
use crate::screen::dnsbl::answer::{Answer, Question};
use crate::screen::dnsbl::guard::saved::Saved;
use crate::screen::event::{Input, Now};
use crate::screen::policy::DnsblRules;

/// The resolver, and where its servers come from.
#[derive(Debug)]
pub struct ListLookups {
    resolver: Resolver,
    names: NameServers,
    /// main.cf: `postscreen_dnsbl_timeout`.
    timeout: Duration,
    /// Reused from turn to turn.
    answers: Vec<(Question, Answer)>,
}

impl ListLookups {
    /// Makes the resolver. It opens sockets when it has to ask.
    pub fn new(
        rules: &DnsblRules,
        names: NameServers,
        reactor: &Reactor,
        most_sockets: usize,
        now: Instant,
    ) -> std::io::Result<ListLookups> {
        let servers = servers(&names);
        let domains = rules.lists.iter().map(|(_, list)| list.domain.clone()).collect();
        let (registry, token) = (reactor.share()?, Source::dns_token);
        let limits = Limits { sockets: most_sockets, ..Limits::default() };
        let resolver = Resolver::new(registry, token, servers, domains, limits, now);
        Ok(ListLookups { resolver, names, timeout: rules.timeout, answers: Vec::new() })
    }

    /// When the resolver has something to do.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        self.resolver.next_deadline()
    }

    /// A socket of the resolver is ready.
    pub fn ready(&mut self, slot: u32, generation: u32, now: Now) {
        self.resolver.ready(slot, generation, now.mono);
    }

    /// The core wants to know.
    pub fn ask(&mut self, question: Question, now: Now) {
        self.resolver.ask(question, now.mono + self.timeout, now.mono);
    }

    /// The core does not want to know any more.
    pub fn forget(&mut self, question: Question, now: Now) {
        self.resolver.cancel(question, now.mono);
    }

    /// A file that names servers has changed.
    pub fn take_in(&mut self, number: usize, content: Content, now: Now) {
        self.names.take_in(number, content);
        self.resolver.reconfigure(servers(&self.names), now.mono);
    }
}

fn servers(names: &NameServers) -> crate::dns::resolv_conf::Servers {
    let (servers, warnings) = names.servers();
    for warning in warnings {
        log::warn!("name servers: {warning}");
    }
    servers
}

impl Worker {
    /// Lets the core watch the lists themselves.
    pub(super) fn watch_lists(&mut self, saved: &[Saved], now: Now) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.screener.watch_lists(saved, now, &mut outputs);
        self.apply_all(outputs, now);
    }

    /// Hands the answers that are in to the core. What follows from them, cached answers
    /// included, comes in the next turn.
    pub(super) fn list_answers(&mut self, now: Now) {
        let Some(lists) = &mut self.lists else { return };
        lists.resolver.expired(now.mono);
        let mut answers = std::mem::take(&mut lists.answers);
        while let Some(answer) = lists.resolver.take_answer() {
            answers.push(answer);
        }
        for (question, answer) in answers.drain(..) {
            self.feed(Input::ListAnswer { question, answer: &answer }, now);
        }
        if let Some(lists) = &mut self.lists {
            lists.answers = answers;
        }
    }
}
