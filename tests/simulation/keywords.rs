//! EHLO keywords by client: a second telling, by what a few examples come to.

use std::net::IpAddr;

use gatepost::screen::reply::Reply;
use gatepost::screen::smtp::discard::{Discarded, Vocabulary};
use gatepost::screen::smtp::keyword::Keyword;

use crate::laws::Laws;
use crate::rng::Rng;
use crate::witness::{Answers, ensure};

const DISCARDED: [&str; 4] = ["", "chunking", "dsn, silent-discard", "STARTTLS"];

/// What main.cf says about EHLO keywords.
pub fn draw(rng: &mut Rng) -> Discarded {
    Discarded::parse(rng.pick(&DISCARDED), Vocabulary::Before311)
}

/// What the table of EHLO keywords says about a client.
pub fn of_client(client: IpAddr) -> Option<&'static str> {
    let number = match client {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    match number % 5 {
        0 => Some("chunking"),
        1 => Some("size,silent-discard"),
        2 => Some("nothing-known"),
        _ => None,
    }
}

impl Laws {
    /// The keywords that are kept from a client.
    pub fn kept_from(&self, client: IpAddr) -> Discarded {
        let words = |text| Discarded::parse(text, self.policy.engine.vocabulary);
        of_client(client).map_or(self.policy.engine.discarded, words)
    }

    /// EHLO announces what is not kept from the client; says how often that is news.
    pub fn keywords(
        &self,
        client: IpAddr,
        answers: &Answers,
        replies: &[Reply],
    ) -> Result<usize, String> {
        let usual = self.policy.engine.discarded;
        let own = of_client(client);
        let words = |text| Discarded::parse(text, self.policy.engine.vocabulary);
        let right = self.kept_from(client);
        let mut count = 0;
        for reply in replies {
            if let Reply::Ehlo(discarded) = reply {
                // Whether STARTTLS is of any use is not settled here.
                let same = *discarded == right || *discarded == right.with(Keyword::Starttls);
                ensure(same, || format!("{discarded:?} instead of {right:?}"))?;
                count += 1;
            }
        }
        ensure(answers.keywords == count, || {
            format!("{count} EHLOs, {} questions about keywords", answers.keywords)
        })?;
        // Only one of the table's values is worth a line.
        let news = own == Some("chunking") && usual != words("chunking");
        Ok(if news { count } else { 0 })
    }
}
