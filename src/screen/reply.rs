//! Every SMTP reply text.
//!
//! The core names a reply by its meaning; the text is made when it is sent, so that a
//! waiting session holds none.

use std::fmt;

use super::address::AddressText;
use super::policy::{EngineRules, Policy};
use super::smtp::discard::Discarded;
use super::smtp::keyword::Keyword;
use super::verdict::{Blocked, Refusal};

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
    /// DNS blocklists know the client.
    Blocked(Blocked),
    /// The client does not speak SMTP.
    NonSmtpCommand,
    /// Try again later, for no reason that concerns the client.
    Unavailable,
    /// The reply to QUIT.
    Bye,
    /// main.cf: `postscreen_command_time_limit`.
    CommandTimeLimit,
    /// main.cf: `line_length_limit` or `postscreen_command_count_limit`.
    CommandLimit,
    /// To RCPT and VRFY: not this client, or not now.
    Refused(Option<Refusal>),
    /// To HELO.
    Helo,
    /// To HELO without a name.
    HeloSyntax,
    /// To EHLO, with all keywords but these.
    Ehlo(Discarded),
    /// To EHLO without a name.
    EhloSyntax,
    /// main.cf: `postscreen_helo_required`.
    HeloFirst,
    /// To MAIL.
    SenderOk,
    /// To MAIL without an address.
    MailSyntax,
    /// To MAIL when there is a sender already.
    NestedMail,
    /// To RCPT without a sender.
    MailFirst,
    /// To RCPT without an address.
    RcptSyntax,
    /// To DATA without a sender.
    RcptFirst,
    /// To DATA with an argument.
    DataSyntax,
    /// To BDAT without a sender.
    MailFirstForChunks,
    /// To BDAT without a size.
    BdatSyntax,
    /// To DATA and BDAT: there cannot be a recipient.
    NoRecipients,
    /// To RSET and NOOP.
    Ok,
    /// To VRFY without an address.
    VrfySyntax,
    /// main.cf: `postscreen_disable_vrfy_command`.
    VrfyDisabled,
    /// To ETRN without a domain.
    EtrnSyntax,
    /// To ETRN.
    NoQueue,
    /// To STARTTLS: what follows goes over TLS.
    ReadyForTls,
    /// To STARTTLS with an argument.
    StarttlsSyntax,
    /// To STARTTLS: tlsproxy(8) is not to be had.
    TlsUnavailable,
    /// To STARTTLS over TLS.
    TlsActive,
    /// main.cf: `postscreen_tls_security_level = encrypt`.
    StarttlsFirst,
    /// A command that is switched off.
    NotImplemented,
    /// No command at all.
    NotRecognized,
}

impl Reply {
    /// Appends the reply, CR LF included, to `buffer`.
    pub fn write(self, policy: &Policy, buffer: &mut Vec<u8>) {
        if policy.soft_bounce {
            buffer.extend_from_slice(self.text(policy).as_bytes());
        } else {
            // Writing into a Vec cannot fail.
            let _ = self.show(policy, &mut Bytes(buffer));
        }
        buffer.extend_from_slice(b"\r\n");
    }

    /// The reply without its last CR LF, as the log has it too.
    pub fn text(self, policy: &Policy) -> String {
        let mut text = self.plain(policy);
        if policy.soft_bounce {
            soften(&mut text);
        }
        text
    }

    /// The same without main.cf: `soft_bounce`, as `postscreen_reject_footer_maps` knows it.
    pub fn plain(self, policy: &Policy) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = self.show(policy, &mut text);
        text
    }

    fn show(self, policy: &Policy, out: &mut impl fmt::Write) -> fmt::Result {
        let host = policy.myhostname.as_str();
        let text = match self {
            Reply::Teaser => {
                let banner = policy.greet_banner.as_deref().unwrap_or_default();
                return write!(out, "220-{banner}");
            }
            Reply::Greeting => return write!(out, "220 {}", policy.smtpd_banner),
            Reply::CommandTimeLimit => {
                return write!(out, "421 4.4.2 {host} Error: timeout exceeded");
            }
            Reply::CommandLimit => {
                return write!(out, "421 {host} Service unavailable - try again later");
            }
            Reply::Helo => return write!(out, "250 {host}"),
            Reply::Ehlo(discarded) => return ehlo(host, &policy.engine, discarded, out),
            Reply::Blocked(by) => return blocked("521", by, policy, out),
            Reply::Refused(Some(Refusal::Blocked(by))) => return blocked("550", by, policy, out),
            Reply::NoResources => "421 4.3.2 No system resources",
            Reply::TooManyConnections => "421 4.7.0 Error: too many connections",
            Reply::ServerPortsBusy => "421 4.3.2 All server ports are busy",
            Reply::ScreeningPortsBusy => "421 4.3.2 All screening ports are busy",
            Reply::Denylisted => "521 5.3.2 Service currently unavailable",
            Reply::ProtocolError => "521 5.5.1 Protocol error",
            Reply::NonSmtpCommand => "521 5.7.0 Error: I can break rules, too. Goodbye.",
            Reply::Unavailable => "421 4.3.2 Service currently unavailable",
            Reply::Bye => "221 2.0.0 Bye",
            Reply::Refused(None | Some(Refusal::Veto)) => "450 4.3.2 Service currently unavailable",
            Reply::Refused(Some(Refusal::Denylisted)) => "550 5.3.2 Service currently unavailable",
            Reply::Refused(Some(Refusal::Pregreet | Refusal::DeepTest)) => {
                "550 5.5.1 Protocol error"
            }
            Reply::HeloSyntax => "501 Syntax: HELO hostname",
            Reply::EhloSyntax => "501 Syntax: EHLO hostname",
            Reply::StarttlsSyntax if policy.engine.old_starttls_syntax => {
                "501 Syntax: EHLO hostname"
            }
            Reply::StarttlsSyntax => "501 5.5.4 Syntax: STARTTLS",
            Reply::ReadyForTls => "220 2.0.0 Ready to start TLS",
            Reply::TlsUnavailable => "454 4.7.0 TLS not available due to local problem",
            Reply::TlsActive => "554 5.5.1 Error: TLS already active",
            Reply::StarttlsFirst => "530 5.7.0 Must issue a STARTTLS command first",
            Reply::HeloFirst => "503 5.5.1 Error: send HELO/EHLO first",
            Reply::SenderOk => "250 2.1.0 Ok",
            Reply::MailSyntax => "501 5.5.4 Syntax: MAIL FROM:<address>",
            Reply::NestedMail => "503 5.5.1 Error: nested MAIL command",
            Reply::MailFirst => "503 5.5.1 Error: need MAIL command",
            Reply::RcptSyntax => "501 5.5.4 Syntax: RCPT TO:<address>",
            Reply::RcptFirst => "503 5.5.1 Error: need RCPT command",
            Reply::DataSyntax => "501 5.5.4 Syntax: DATA",
            Reply::MailFirstForChunks => "554 5.5.1 Error: need MAIL command",
            Reply::BdatSyntax => "501 5.5.4 Syntax: BDAT count [LAST]",
            Reply::NoRecipients => "554 5.5.1 Error: no valid recipients",
            Reply::Ok => "250 2.0.0 Ok",
            Reply::VrfySyntax => "501 5.5.4 Syntax: VRFY address",
            Reply::VrfyDisabled => "502 5.5.1 VRFY command is disabled",
            Reply::EtrnSyntax => "500 Syntax: ETRN domain",
            Reply::NoQueue => "458 Unable to queue messages",
            Reply::NotImplemented => "502 5.5.1 Error: command not implemented",
            Reply::NotRecognized => "502 5.5.2 Error: command not recognized",
        };
        out.write_str(text)
    }
}

/// Text that becomes bytes.
struct Bytes<'a>(&'a mut Vec<u8>);

impl fmt::Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Who says so, after the code.
fn blocked(
    code: &str,
    Blocked { client, by }: Blocked,
    policy: &Policy,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let list = by.and_then(|entry| policy.dnsbl.lists.of_entry(entry));
    let name = list.map(|list| &*list.public_name).unwrap_or_default();
    let client = AddressText(client);
    write!(out, "{code} 5.7.1 Service unavailable; client [{client}] blocked using {name}")
}

/// The host name, then one line for each keyword.
fn ehlo(
    host: &str,
    rules: &EngineRules,
    discarded: Discarded,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let mut keywords =
        rules.announced.iter().filter(|keyword| !discarded.contains(**keyword)).peekable();
    let separator = |more: bool| if more { '-' } else { ' ' };
    write!(out, "250{}{host}", separator(keywords.peek().is_some()))?;
    while let Some(keyword) = keywords.next() {
        let more = keywords.peek().is_some();
        write!(out, "\r\n250{}{}", separator(more), keyword.name())?;
        if *keyword == Keyword::Size && rules.message_size_limit > 0 {
            write!(out, " {}", rules.message_size_limit)?;
        }
    }
    Ok(())
}

/// main.cf: `soft_bounce`. A permanent code becomes a temporary one, and so does the
/// enhanced code.
fn soften(reply: &mut String) {
    for position in [0, 4] {
        if reply.as_bytes().get(position) == Some(&b'5') {
            reply.replace_range(position..=position, "4");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::dnsbl::lists::{EntryId, Lists};
    use crate::screen::dnsbl::site::parse_sites;
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
            (Reply::NonSmtpCommand, "521 5.7.0 Error: I can break rules, too. Goodbye."),
            (Reply::Refused(None), "450 4.3.2 Service currently unavailable"),
            (Reply::Refused(Some(Refusal::Veto)), "450 4.3.2 Service currently unavailable"),
            (Reply::Refused(Some(Refusal::Denylisted)), "550 5.3.2 Service currently unavailable"),
            (Reply::Refused(Some(Refusal::Pregreet)), "550 5.5.1 Protocol error"),
            (Reply::Refused(Some(Refusal::DeepTest)), "550 5.5.1 Protocol error"),
            (Reply::Helo, "250 mx.example.test"),
            (Reply::HeloSyntax, "501 Syntax: HELO hostname"),
            (Reply::EhloSyntax, "501 Syntax: EHLO hostname"),
            (Reply::HeloFirst, "503 5.5.1 Error: send HELO/EHLO first"),
            (Reply::SenderOk, "250 2.1.0 Ok"),
            (Reply::MailSyntax, "501 5.5.4 Syntax: MAIL FROM:<address>"),
            (Reply::NestedMail, "503 5.5.1 Error: nested MAIL command"),
            (Reply::MailFirst, "503 5.5.1 Error: need MAIL command"),
            (Reply::RcptSyntax, "501 5.5.4 Syntax: RCPT TO:<address>"),
            (Reply::RcptFirst, "503 5.5.1 Error: need RCPT command"),
            (Reply::DataSyntax, "501 5.5.4 Syntax: DATA"),
            (Reply::MailFirstForChunks, "554 5.5.1 Error: need MAIL command"),
            (Reply::BdatSyntax, "501 5.5.4 Syntax: BDAT count [LAST]"),
            (Reply::NoRecipients, "554 5.5.1 Error: no valid recipients"),
            (Reply::Ok, "250 2.0.0 Ok"),
            (Reply::VrfySyntax, "501 5.5.4 Syntax: VRFY address"),
            (Reply::VrfyDisabled, "502 5.5.1 VRFY command is disabled"),
            (Reply::EtrnSyntax, "500 Syntax: ETRN domain"),
            (Reply::NoQueue, "458 Unable to queue messages"),
            (Reply::ReadyForTls, "220 2.0.0 Ready to start TLS"),
            (Reply::StarttlsSyntax, "501 Syntax: EHLO hostname"),
            (Reply::TlsUnavailable, "454 4.7.0 TLS not available due to local problem"),
            (Reply::TlsActive, "554 5.5.1 Error: TLS already active"),
            (Reply::StarttlsFirst, "530 5.7.0 Must issue a STARTTLS command first"),
            (Reply::NotImplemented, "502 5.5.1 Error: command not implemented"),
            (Reply::NotRecognized, "502 5.5.2 Error: command not recognized"),
            (
                Reply::Ehlo(Discarded::NOTHING),
                "250-mx.example.test\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
                 250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n\
                 250 CHUNKING",
            ),
        ] {
            assert_eq!(text(reply, &policy), format!("{expected}\r\n"));
        }
    }

    #[test]
    fn settings_that_change_texts() {
        let mut policy = policy();
        policy.engine.old_starttls_syntax = false;
        assert_eq!(text(Reply::StarttlsSyntax, &policy), "501 5.5.4 Syntax: STARTTLS\r\n");
        policy.engine.message_size_limit = 0;
        policy.engine.announced = vec![Keyword::Size, Keyword::Dsn, Keyword::Chunking];
        let without = |words| Reply::Ehlo(Discarded::parse(words, policy.engine.vocabulary));
        let two = "250-mx.example.test\r\n250-SIZE\r\n250 DSN\r\n";
        assert_eq!(text(without("etrn chunking"), &policy), two);
        let none = "250 mx.example.test\r\n";
        assert_eq!(text(without("dsn,chunking,size"), &policy), none);
    }

    #[test]
    fn who_is_on_a_blocklist_is_told_on_which() {
        let mut policy = policy();
        let sites = parse_sites("a.test 0a1b2c3d4e5f6g7h8i9j.dq.test").unwrap();
        policy.dnsbl.lists = Lists::new(&sites);
        let by =
            |entry| Blocked { client: "2001:db8::1".parse().unwrap(), by: Some(EntryId(entry)) };
        assert_eq!(
            text(Reply::Blocked(by(0)), &policy),
            "521 5.7.1 Service unavailable; client [2001:db8::1] blocked using a.test\r\n"
        );
        assert_eq!(
            text(Reply::Refused(Some(Refusal::Blocked(by(1)))), &policy),
            "550 5.7.1 Service unavailable; client [2001:db8::1] blocked using *.dq.test\r\n"
        );
        policy.soft_bounce = true;
        assert!(text(Reply::Blocked(by(0)), &policy).starts_with("421 4.7.1 "));
    }

    #[test]
    fn soft_bounce_changes_both_codes_and_nothing_else() {
        let policy = Policy { soft_bounce: true, ..policy() };
        assert_eq!(text(Reply::ProtocolError, &policy), "421 4.5.1 Protocol error\r\n");
        assert_eq!(text(Reply::Denylisted, &policy), "421 4.3.2 Service currently unavailable\r\n");
        assert_eq!(text(Reply::Greeting, &policy), "220 mx.example.test ESMTP Postfix\r\n");
        let missing = text(Reply::NotRecognized, &policy);
        assert_eq!(missing, "402 4.5.2 Error: command not recognized\r\n");
        assert_eq!(text(Reply::NoQueue, &policy), "458 Unable to queue messages\r\n");
        assert_eq!(text(Reply::EtrnSyntax, &policy), "400 Syntax: ETRN domain\r\n");
        let limit = "421 mx.example.test Service unavailable - try again later\r\n";
        assert_eq!(text(Reply::CommandLimit, &policy), limit);
    }
}
