//! Inputs that come too late, twice, or out of place.

use gatepost::screen::dnsbl::answer::{Asker, ListId, Question};
use gatepost::screen::event::{Input, TlsNews, Watch};
use gatepost::screen::session::SessionId;

use crate::draw;
use crate::outside::{Smtpd, Tlsproxy};
use crate::world::World;

impl World {
    /// An input that the core must shrug off.
    pub fn stray(&mut self) -> Result<(), String> {
        let result = self.rng.pick(&Smtpd::ALL).result();
        if self.rng.chance(20) {
            let (address, list) = (self.address(), ListId(self.rng.pick(&[0, 1, 70])));
            let question = Question { asker: Asker::Client, address, list };
            if self.questions.contains_key(&question) {
                return Ok(());
            }
            let answer = draw::answer(&mut self.rng);
            return self.feed(Input::ListAnswer { question, answer: &answer });
        }
        if self.rng.chance(50) {
            let count = self.gone.len();
            let id = match self.rng.count(0, count) {
                0 => SessionId { slot: u32::MAX, generation: 1 },
                nth => self.gone[nth - 1],
            };
            let news = self.stray_news();
            let input = match self.rng.between(0, 6) {
                0 => Input::Deadline { session: id },
                1 => Input::Closed { session: id },
                2 => Input::Peeked { session: id, data: b"HELO late\r\n" },
                3 => Input::Received { session: id, data: b"HELO late\r\n" },
                4 => Input::Tls { session: id, news },
                5 => Input::Answered { session: id },
                _ => Input::HandOff { session: id, result },
            };
            return self.feed(input);
        }
        let count = self.seats.len();
        if count == 0 {
            return Ok(());
        }
        let nth = self.rng.count(0, count - 1);
        let Some((id, seat)) = self.seats.iter().nth(nth) else { return Ok(()) };
        let (watch, handing_off) = (seat.watch, seat.handing_off);
        let starting = seat.attempt.is_some();
        let news = self.stray_news();
        match self.rng.between(0, 5) {
            5 => self.feed(Input::Answered { session: id }),
            0 if watch != Watch::Peek => self.feed(Input::Peeked { session: id, data: b"x" }),
            1 if watch != Watch::Read => self.feed(Input::Received { session: id, data: b"x" }),
            2 if handing_off => self.feed(Input::Closed { session: id }),
            3 if !handing_off => self.feed(Input::HandOff { session: id, result }),
            4 if !starting => self.feed(Input::Tls { session: id, news }),
            _ => Ok(()),
        }
    }

    fn stray_news(&mut self) -> TlsNews<'static> {
        let news: Vec<TlsNews<'_>> = Tlsproxy::ALL.iter().flat_map(|state| state.news()).collect();
        self.rng.pick(&news)
    }
}
