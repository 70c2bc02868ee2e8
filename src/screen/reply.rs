//! Every SMTP reply text.
//!
//! The core names a reply by its meaning; the text is made when it is sent, so that a
//! waiting session holds none.

use super::policy::Policy;

/// A reply to the client, by its meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The first line of a greeting that is not finished yet.
    Teaser,
    /// The greeting of the built-in SMTP engine.
    Greeting,
    /// The client cannot be identified, or the descriptor could not be passed on.
    NoResources,
    /// main.cf: `postscreen_client_connection_count_limit`.
    TooManyConnections,
    /// main.cf: `postscreen_post_queue_limit`, or no smtpd(8).
    ServerPortsBusy,
    /// main.cf: `postscreen_pre_queue_limit`.
    ScreeningPortsBusy,
    /// The access list turns the client away.
    Denylisted,
    /// The client talked before its turn, or otherwise broke the protocol.
    ProtocolError,
    /// Try again later, for no reason that concerns the client.
    Unavailable,
    /// The reply to QUIT.
    Bye,
    /// main.cf: `postscreen_command_time_limit`.
    CommandTimeLimit,
    /// main.cf: `line_length_limit` or `postscreen_command_count_limit`.
    CommandLimit,
}

impl Reply {
    /// Appends the reply, CR LF included, to `buffer`.
    pub fn write(self, policy: &Policy, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        let host = policy.myhostname.as_str();
        let parts: &[&str] = match self {
            Reply::Teaser => &["220-", policy.greet_banner.as_deref().unwrap_or_default()],
            Reply::Greeting => &["220 ", policy.smtpd_banner.as_str()],
            Reply::NoResources => &["421 4.3.2 No system resources"],
            Reply::TooManyConnections => &["421 4.7.0 Error: too many connections"],
            Reply::ServerPortsBusy => &["421 4.3.2 All server ports are busy"],
            Reply::ScreeningPortsBusy => &["421 4.3.2 All screening ports are busy"],
            Reply::Denylisted => &["521 5.3.2 Service currently unavailable"],
            Reply::ProtocolError => &["521 5.5.1 Protocol error"],
            Reply::Unavailable => &["421 4.3.2 Service currently unavailable"],
            Reply::Bye => &["221 2.0.0 Bye"],
            Reply::CommandTimeLimit => &["421 4.4.2 ", host, " Error: timeout exceeded"],
            Reply::CommandLimit => &["421 ", host, " Service unavailable - try again later"],
        };
        for part in parts {
            buffer.extend_from_slice(part.as_bytes());
        }
        buffer.extend_from_slice(b"\r\n");
        if policy.soft_bounce
            && let Some(text) = buffer.get_mut(start..)
        {
            soften(text);
        }
    }
}

/// main.cf: `soft_bounce`. A permanent code becomes a temporary one, and so does the
/// enhanced code.
fn soften(reply: &mut [u8]) {
    for position in [0, 4] {
        if let Some(digit) = reply.get_mut(position)
            && *digit == b'5'
        {
            *digit = b'4';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::testing::policy;

    fn text(reply: Reply, policy: &Policy) -> String {
        let mut buffer = Vec::new();
        reply.write(policy, &mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn golden_texts() {
        let policy = policy();
        for (reply, expected) in [
            (Reply::Teaser, "220-mx.example.test ESMTP Postfix"),
            (Reply::Greeting, "220 mx.example.test ESMTP Postfix"),
            (Reply::NoResources, "421 4.3.2 No system resources"),
            (Reply::TooManyConnections, "421 4.7.0 Error: too many connections"),
            (Reply::ServerPortsBusy, "421 4.3.2 All server ports are busy"),
            (Reply::ScreeningPortsBusy, "421 4.3.2 All screening ports are busy"),
            (Reply::Denylisted, "521 5.3.2 Service currently unavailable"),
            (Reply::ProtocolError, "521 5.5.1 Protocol error"),
            (Reply::Unavailable, "421 4.3.2 Service currently unavailable"),
            (Reply::Bye, "221 2.0.0 Bye"),
            (Reply::CommandTimeLimit, "421 4.4.2 mx.example.test Error: timeout exceeded"),
            (Reply::CommandLimit, "421 mx.example.test Service unavailable - try again later"),
        ] {
            assert_eq!(text(reply, &policy), format!("{expected}\r\n"));
        }
    }

    #[test]
    fn soft_bounce_changes_both_codes_and_nothing_else() {
        let policy = Policy { soft_bounce: true, ..policy() };
        assert_eq!(text(Reply::ProtocolError, &policy), "421 4.5.1 Protocol error\r\n");
        assert_eq!(text(Reply::Denylisted, &policy), "421 4.3.2 Service currently unavailable\r\n");
        assert_eq!(text(Reply::Greeting, &policy), "220 mx.example.test ESMTP Postfix\r\n");
    }
}
