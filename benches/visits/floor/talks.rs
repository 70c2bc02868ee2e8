//! Clients that are turned away: who talks too early, or wants to leave a message.
//!
//! One call of epoll for each, one to read and one to answer a line, and the records.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::config::TurnAway;
use super::journal::Journal;
use crate::Outcome;
use crate::reply::LineHead;

const TOO_EARLY: &[u8] = b"521 5.5.1 Protocol error\r\n";
const BANNER: &[u8] = b"220 mx.example.test ESMTP Postfix\r\n";
const EHLO: &[u8] = b"250-mx.example.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n\
    250-ETRN\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n";
const MAIL: &[u8] = b"250 2.1.0 Ok\r\n";
const RCPT: &[u8] = b"450 4.3.2 Service currently unavailable\r\n";
const QUIT: &[u8] = b"221 2.0.0 Bye\r\n";
const WHAT: &[u8] = b"502 5.5.2 Error: command not recognized\r\n";

struct Talker {
    stream: TcpStream,
    client: SocketAddr,
    head: LineHead,
}

/// Those whose words are awaited, by number.
#[derive(Default)]
pub struct Talks {
    talkers: Vec<Option<Talker>>,
    free: Vec<usize>,
}

impl Talks {
    /// Listens to a client. Events have this number with `base` added.
    pub fn begin(
        &mut self,
        epoll: &Epoll,
        base: u64,
        stream: TcpStream,
        client: SocketAddr,
    ) -> Outcome<()> {
        let number = self.free.pop().unwrap_or_else(|| {
            self.talkers.push(None);
            self.talkers.len() - 1
        });
        let token = base + u64::try_from(number)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        if let Some(place) = self.talkers.get_mut(number) {
            *place = Some(Talker { stream, client, head: LineHead::default() });
        }
        Ok(())
    }

    /// Greets a client, and listens.
    pub fn greet(
        &mut self,
        epoll: &Epoll,
        base: u64,
        mut stream: TcpStream,
        client: SocketAddr,
    ) -> Outcome<()> {
        let _ = stream.write(BANNER);
        self.begin(epoll, base, stream, client)
    }

    /// A client has said something, or has gone.
    pub fn hear(&mut self, number: usize, whom: TurnAway, journal: &mut Journal) {
        let Some(place) = self.talkers.get_mut(number) else { return };
        let Some(talker) = place else { return };
        let mut bytes = [0; 4096];
        let count = match talker.stream.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        let said = bytes.get(..count).unwrap_or_default();
        let goes_on = !said.is_empty()
            && match whom {
                TurnAway::Early => talker.turn_early_away(said, journal),
                TurnAway::Everybody => talker.answer(said, journal),
            };
        if !goes_on {
            journal.pass("DISCONNECT", talker.client);
            // Closing takes it out of epoll.
            *place = None;
            self.free.push(number);
        }
    }
}

impl Talker {
    fn turn_early_away(&mut self, said: &[u8], journal: &mut Journal) -> bool {
        journal.pregreet(said, self.client);
        let _ = self.stream.write(TOO_EARLY);
        false
    }

    /// Returns whether there is more to come.
    fn answer(&mut self, said: &[u8], journal: &mut Journal) -> bool {
        for &byte in said {
            let Some(verb) = self.head.take(byte) else { continue };
            let reply = match &verb {
                b"EHLO" => EHLO,
                b"MAIL" => MAIL,
                b"RCPT" => {
                    journal.reject(self.client);
                    RCPT
                }
                b"QUIT" => {
                    journal.pass("PASS NEW", self.client);
                    QUIT
                }
                _ => WHAT,
            };
            let _ = self.stream.write(reply);
            if verb == *b"QUIT" {
                return false;
            }
        }
        true
    }
}
