//! One client's socket, and the laws for what is done to it.

use std::net::SocketAddr;
use std::time::Duration;

use gatepost::screen::event::{Output, Watch};
use gatepost::screen::policy::{Policy, TlsLevel};
use gatepost::screen::reply::Reply;

use super::texts;
use super::world::base;

/// A client's socket.
#[derive(Debug)]
pub struct Seat {
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub watch: Watch,
    pub deadline: Option<Duration>,
    pub unread: Vec<u8>,
    /// Something has happened that the core has not been told.
    pub news: bool,
    pub hung_up: bool,
    pub handing_off: Option<UnderWay>,
    /// How far it is on its way to tlsproxy(8).
    pub starting: Option<Starting>,
    pub secure: bool,
    /// Nothing has happened since TLS began.
    pub just_begun: bool,
    pub replies: Vec<Reply>,
}

/// How far an attempt at TLS is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Starting {
    Connected,
    Asked,
}

/// How far a hand-off is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnderWay {
    Sent,
    Pausing,
}

impl Seat {
    pub fn new(client: SocketAddr, server: SocketAddr) -> Seat {
        Seat {
            client,
            server,
            watch: Watch::Nothing,
            deadline: None,
            unread: Vec::new(),
            news: false,
            hung_up: false,
            handing_off: None,
            starting: None,
            secure: false,
            just_begun: false,
            replies: Vec::new(),
        }
    }

    /// Whether there is something that the core wants to know.
    pub fn has_news(&self) -> bool {
        let something = self.hung_up || !self.unread.is_empty();
        self.news && something && self.watch != Watch::Nothing
    }

    /// Applies an output, but for the last one.
    pub fn obey(&mut self, output: &Output, policy: &Policy, time: Duration) {
        match output {
            Output::Send(_, reply) => self.sent(policy, *reply, None),
            Output::SendText { reply, text, .. } => self.sent(policy, *reply, Some(text)),
            Output::Watch(_, watch) => {
                self.watch = *watch;
                self.news = true;
                if *watch == Watch::Read {
                    self.handing_off = None;
                }
            }
            Output::SetDeadline(_, deadline) => {
                let deadline = deadline.checked_duration_since(base()).unwrap();
                assert!(deadline >= time, "a deadline in the past");
                self.deadline = Some(deadline);
            }
            Output::HandOff { client, server, .. } => {
                assert_eq!((*client, *server), (self.client, self.server));
                assert_eq!(self.watch, Watch::Nothing, "handed off while it is looked at");
                assert_ne!(self.handing_off, Some(UnderWay::Sent), "handed off twice");
                assert!(!self.secure, "handed off with TLS");
                self.handing_off = Some(UnderWay::Sent);
            }
            Output::StartTls { client, .. } => {
                assert_eq!(*client, self.client);
                assert_eq!(self.watch, Watch::Nothing, "TLS begins while it is looked at");
                assert!(!self.secure && self.starting.is_none(), "given to tlsproxy twice");
                self.starting = Some(Starting::Connected);
            }
            Output::AbandonTls(_) => self.starting = None,
            Output::TlsBegins(_) => {
                assert_eq!(self.starting.take(), Some(Starting::Asked), "without tlsproxy");
                assert_eq!(self.replies.last(), Some(&Reply::ReadyForTls));
                self.secure = true;
                self.just_begun = true;
                // What is there in the clear is no handshake.
                self.hung_up |= !self.unread.is_empty();
                self.unread.clear();
                self.news = true;
            }
            _ => panic!("{output:?} is about no socket"),
        }
    }

    fn sent(&mut self, policy: &Policy, reply: Reply, footer: Option<&str>) {
        texts::reply(policy, reply, footer);
        assert!(!self.just_begun, "{reply:?} to what came in the clear");
        let begins = matches!(reply, Reply::Teaser | Reply::Greeting);
        assert!(!begins || !self.replies.contains(&reply), "{reply:?} twice");
        let in_vain = policy.engine.tls_level == TlsLevel::Encrypt && !self.secure;
        let taken = matches!(reply, Reply::SenderOk | Reply::Refused(_) | Reply::NoRecipients);
        assert!(!(in_vain && taken), "{reply:?} in the clear");
        assert!(reply != Reply::ReadyForTls || self.starting == Some(Starting::Asked), "to whom?");
        assert!(reply != Reply::Teaser || self.replies.is_empty(), "a teaser too late");
        self.replies.push(reply);
    }
}
