use super::*;
use crate::screen::smtp::discard::Vocabulary;
use crate::screen::testing::policy;

/// Says lines one by one; the replies, and whether the last one ended the session.
fn say(engine: &mut Engine, rules: &EngineRules, lines: &[&str]) -> (Vec<Reply>, bool) {
    let offer = match rules.tls_level {
        TlsLevel::None => TlsOffer::Off,
        TlsLevel::May | TlsLevel::Encrypt => TlsOffer::Open,
    };
    say_with(engine, rules, offer, lines)
}

fn say_with(
    engine: &mut Engine,
    rules: &EngineRules,
    offer: TlsOffer,
    lines: &[&str],
) -> (Vec<Reply>, bool) {
    let (mut replies, mut ends) = (Vec::new(), false);
    for line in lines {
        assert!(!ends, "{line} comes too late");
        let text = format!("{line}\r\n");
        assert_eq!(engine.read(&mut text.as_bytes(), 2048), Piece::Line);
        let answer = engine.answer(rules, None, offer);
        replies.push(answer.reply);
        ends = answer.then != Then::NextLine;
    }
    (replies, ends)
}

fn replies(lines: &[&str]) -> Vec<Reply> {
    say(&mut Engine::default(), &policy().engine, lines).0
}

const REFUSED: Reply = Reply::Refused(None);

#[test]
fn order() {
    assert_eq!(
        replies(&[
            "RCPT TO:<b@d>",
            "MAIL FROM:<a@c>",
            "MAIL FROM:<c@c>",
            "RSET",
            "RCPT TO:<b@d>",
            "MAIL FROM:<c@c>",
            "HELO x",
            "RCPT TO:<b@d>",
            "MAIL FROM:<d@c>",
            "EHLO x",
            "RCPT TO:<b@d>",
            "MAIL FROM:<d@c>",
            "RCPT TO:<b@d>",
        ]),
        [
            Reply::MailFirst,
            Reply::SenderOk,
            Reply::NestedMail,
            Reply::Ok,
            Reply::MailFirst,
            Reply::SenderOk,
            Reply::Helo,
            Reply::MailFirst,
            Reply::SenderOk,
            Reply::Ehlo(Discarded::NOTHING),
            Reply::MailFirst,
            Reply::SenderOk,
            REFUSED,
        ]
    );
}

/// A failed HELO keeps the sender, as the recordings show.
#[test]
fn missing_arguments() {
    assert_eq!(
        replies(&["HELO", "EHLO ", "MAIL", "MAIL FROM <x>", "RCPT", "VRFY", "ETRN"]),
        [
            Reply::HeloSyntax,
            Reply::EhloSyntax,
            Reply::MailSyntax,
            Reply::MailSyntax,
            Reply::MailFirst,
            Reply::VrfySyntax,
            Reply::EtrnSyntax,
        ]
    );
    assert_eq!(
        replies(&["MAIL FROM:", "RCPT", "RCPT TO", "HELO", "RCPT TO:"]),
        [Reply::SenderOk, Reply::RcptSyntax, Reply::RcptSyntax, Reply::HeloSyntax, REFUSED]
    );
}

#[test]
fn other_commands() {
    assert_eq!(
        replies(&[
            "NOOP a b",
            "VRFY b",
            "ETRN x",
            "AUTH PLAIN x",
            "XCLIENT NAME=x",
            "HELP",
            "",
            "STARTTLS",
            "STARTTLS x",
        ]),
        [
            Reply::Ok,
            REFUSED,
            Reply::NoQueue,
            Reply::NotRecognized,
            Reply::NotRecognized,
            Reply::NotRecognized,
            Reply::NotRecognized,
            Reply::NotImplemented,
            Reply::StarttlsSyntax,
        ]
    );
}

#[test]
fn what_ends_the_session() {
    for (lines, expected) in [
        (&["QUIT now"][..], Reply::Bye),
        (&["DATA"], Reply::RcptFirst),
        (&["MAIL FROM:<>", "DATA now"], Reply::DataSyntax),
        (&["MAIL FROM:<>", "DATA"], Reply::NoRecipients),
        (&["BDAT 10"], Reply::MailFirstForChunks),
        (&["MAIL FROM:<>", "BDAT"], Reply::BdatSyntax),
        (&["MAIL FROM:<>", "BDAT 10 LAST"], Reply::NoRecipients),
    ] {
        let (replies, ends) = say(&mut Engine::default(), &policy().engine, lines);
        assert_eq!((replies.last(), ends), (Some(&expected), true), "{lines:?}");
    }
}

#[test]
fn settings_that_change_replies() {
    let rules = EngineRules {
        helo_required: true,
        vrfy_disabled: true,
        discarded: Discarded::parse("chunking dsn", Vocabulary::Since311),
        ..policy().engine
    };
    let lines = ["MAIL FROM:<a>", "ETRN x", "VRFY x", "EHLO x", "MAIL FROM:<a>", "BDAT 4 LAST"];
    assert_eq!(
        say(&mut Engine::default(), &rules, &lines).0,
        [
            Reply::HeloFirst,
            Reply::HeloFirst,
            Reply::VrfyDisabled,
            Reply::Ehlo(rules.discarded),
            Reply::SenderOk,
            Reply::NotImplemented,
        ]
    );
    // Before EHLO nothing is known of discarded keywords.
    let chunks = say(&mut Engine::default(), &rules, &["HELO x", "BDAT 4 LAST"]);
    assert_eq!(chunks.0, [Reply::Helo, Reply::MailFirstForChunks]);
}

#[test]
fn what_is_kept_from_one_client() {
    let words = |text| Discarded::parse(text, Vocabulary::Since311);
    let rules = EngineRules { discarded: words("chunking"), ..policy().engine };
    let mut engine = Engine::default();
    say(&mut engine, &rules, &["EHLO x"]);
    assert_eq!(engine.discard(words("dsn"), TlsOffer::Off), Reply::Ehlo(words("dsn")));
    assert_eq!(say(&mut engine, &rules, &["BDAT 4 LAST"]).0, [Reply::MailFirstForChunks]);

    // It holds until the next EHLO that is in order.
    let mut engine = Engine::default();
    say(&mut engine, &policy().engine, &["EHLO x"]);
    engine.discard(words("chunking"), TlsOffer::Off);
    let chunks = say(&mut engine, &policy().engine, &["HELO x", "EHLO", "BDAT 4 LAST"]);
    assert_eq!(chunks.0, [Reply::Helo, Reply::EhloSyntax, Reply::NotImplemented]);
}

#[test]
fn the_line_behind_the_limit_ends_it_unless_it_is_quit() {
    let rules = EngineRules { command_count_limit: 3, ..policy().engine };
    let mut engine = Engine::default();
    let chatter = ["EHLO x", "", "XYZZY"];
    assert!(!say(&mut engine, &rules, &chatter).1);
    assert_eq!(engine.read(&mut &b"NOOP\r\n"[..], 512), Piece::Line);
    let note = Some(Note::TooManyCommands(LastCommand::Unimplemented));
    let end = Answer { note, reply: Reply::CommandLimit, then: Then::Close };
    assert_eq!(engine.answer(&rules, None, TlsOffer::Off), end);
    let mut engine = Engine::default();
    let leaving = say(&mut engine, &rules, &["NOOP", "NOOP", "NOOP", "QUIT"]);
    assert_eq!(leaving.0.last(), Some(&Reply::Bye));
}

#[test]
fn who_has_been_sent_back_hears_one_thing() {
    for (line, expected) in [
        ("QUIT", Reply::Bye),
        ("  quit now", Reply::Bye),
        ("QUITE", Reply::NoResources),
        ("EHLO c.example", Reply::NoResources),
        ("", Reply::NoResources),
    ] {
        let mut engine = Engine::with_last_word(Reply::NoResources);
        assert_eq!(say(&mut engine, &policy().engine, &[line]), (vec![expected], true));
    }
}

#[test]
fn the_envelope_of_a_refused_recipient() {
    let rules = policy().engine;
    let mut engine = Engine::default();
    say(&mut engine, &rules, &["EHLO x", "HELO a b", "MAIL FROM:<\"a b\"@c> SIZE=1"]);
    assert_eq!(engine.read(&mut &b"rcpt to:<x@d>\r\n"[..], 512), Piece::Line);
    assert_eq!(engine.command().verb, Some(Verb::Rcpt));
    let envelope = Envelope {
        sender: (*b"a b@c").into(),
        recipient: (*b"x@d").into(),
        helo: (*b"a").into(),
        esmtp: true,
    };
    let refusal = Some(Refusal::Pregreet);
    let reply = Reply::Refused(refusal);
    let expected = Answer { note: Some(Note::Recipient(envelope)), reply, then: Then::NextLine };
    assert_eq!(engine.answer(&rules, refusal, TlsOffer::Off), expected);
    assert_eq!(engine.last(), LastCommand::Known(Verb::Rcpt));
}

#[test]
fn what_the_command_filter_is_asked() {
    let key = |line: &[u8], smtputf8| {
        let mut engine = Engine::default();
        assert_eq!(engine.read(&mut [line, b"\r\n"].concat().as_slice(), 512), Piece::Line);
        engine.filter_key(smtputf8).map(<[u8]>::to_vec)
    };
    for (line, expected) in [
        (&b"NOOP x "[..], &b"NOOP x "[..]),
        (b" \t  noop", b"noop"),
        (b"\x0bNOOP", b"\x0bNOOP"),
        (b"a\0b", b"a"),
        (b" \t", b""),
        (b"", b""),
        (b"\xc3\xa9", b"\xc3\xa9"),
    ] {
        assert_eq!(key(line, true).as_deref(), Some(expected), "{line:?}");
    }
    assert_eq!(key(b"caf\xe9", true), None);
    assert_eq!(key(b"caf\xe9", false).as_deref(), Some(&b"caf\xe9"[..]));
    assert_eq!(key(b"NOOP\0\xe9", true).as_deref(), Some(&b"NOOP"[..]));
}

#[test]
fn a_replacement_counts_for_one_line() {
    let rules = policy().engine;
    let mut engine = Engine::default();
    for (line, replacement, expected, last) in [
        (&b"HELP\r\n"[..], Some("NOOP"), Reply::Ok, Verb::Noop.name()),
        (b"HELP\r\n", None, Reply::NotRecognized, "UNIMPLEMENTED"),
        (b"MAIL\r\n", Some("  MAIL FROM:<a@b>"), Reply::SenderOk, Verb::Mail.name()),
        (b"NOOP\r\n", Some(""), Reply::NotRecognized, "UNIMPLEMENTED"),
        (b"NOOP\r\n", None, Reply::Ok, Verb::Noop.name()),
    ] {
        assert_eq!(engine.read(&mut &*line, 512), Piece::Line);
        if let Some(text) = replacement {
            engine.replace(text.into());
            assert_eq!(engine.line().bytes, line.trim_ascii_end());
        }
        assert_eq!(engine.answer(&rules, None, TlsOffer::Off).reply, expected, "{replacement:?}");
        assert_eq!(engine.last().to_string(), last);
    }
}

/// Rules under which STARTTLS is announced.
fn tls_rules(tls_level: TlsLevel) -> EngineRules {
    EngineRules { tls_level, announced: Keyword::ALL.to_vec(), ..policy().engine }
}

const OFFERED: Reply = Reply::Ehlo(Discarded::NOTHING);

fn not_offered() -> Reply {
    Reply::Ehlo(Discarded::NOTHING.with(Keyword::Starttls))
}

#[test]
fn starttls_asks_for_an_attempt() {
    let rules = tls_rules(TlsLevel::May);
    let mut engine = Engine::default();
    let replies = say(&mut engine, &rules, &["EHLO x", "STARTTLS now", "MAIL FROM:<a>"]).0;
    assert_eq!(replies, [OFFERED, Reply::StarttlsSyntax, Reply::SenderOk]);
    assert_eq!(engine.read(&mut &b"starttls  \r\n"[..], 512), Piece::Line);
    let answer = engine.answer(&rules, None, TlsOffer::Open);
    assert_eq!(answer, Answer { note: None, reply: Reply::ReadyForTls, then: Then::StartTls });
    // Nothing has happened so far.
    assert_eq!(say(&mut engine, &rules, &["RCPT TO:<b>", "EHLO x"]).0, [REFUSED, OFFERED]);
}

/// RFC 3207, 4.2. The count of commands goes on, and so does ESMTP, as with postscreen(8).
#[test]
fn what_was_said_in_the_clear_is_forgotten() {
    let rules =
        EngineRules { helo_required: true, command_count_limit: 8, ..tls_rules(TlsLevel::Encrypt) };
    let mut engine = Engine::default();
    say(&mut engine, &rules, &["EHLO x", "NOOP", "STARTTLS"]);
    engine.enter_tls();
    let lines = ["MAIL FROM:<a>", "EHLO x", "STARTTLS", "MAIL FROM:<a>", "RCPT TO:<b>"];
    assert_eq!(
        say(&mut engine, &rules, &lines).0,
        [Reply::HeloFirst, not_offered(), Reply::TlsActive, Reply::SenderOk, REFUSED]
    );
    assert_eq!(say(&mut engine, &rules, &["NOOP"]), (vec![Reply::CommandLimit], true));

    let rules = tls_rules(TlsLevel::May);
    let mut engine = Engine::default();
    say(&mut engine, &rules, &["EHLO x", "MAIL FROM:<a>", "STARTTLS"]);
    engine.enter_tls();
    say(&mut engine, &rules, &["MAIL FROM:<c>"]);
    assert_eq!(engine.read(&mut &b"RCPT TO:<b>\r\n"[..], 512), Piece::Line);
    let Some(Note::Recipient(envelope)) = engine.answer(&rules, None, TlsOffer::Open).note else {
        panic!("no envelope");
    };
    assert_eq!((&*envelope.sender, &*envelope.helo, envelope.esmtp), (&b"c"[..], &b""[..], true));
}

#[test]
fn most_commands_wait_for_tls_where_it_is_mandatory() {
    let rules = tls_rules(TlsLevel::Encrypt);
    for line in ["MAIL FROM:<a>", "RCPT", "DATA", "BDAT 4", "RSET", "VRFY", "ETRN"] {
        let expected = (vec![Reply::StarttlsFirst], false);
        assert_eq!(say(&mut Engine::default(), &rules, &[line]), expected, "{line}");
    }
    for (line, expected) in [
        ("HELO x", Reply::Helo),
        ("EHLO x", OFFERED),
        ("EHLO", Reply::EhloSyntax),
        ("NOOP", Reply::Ok),
        ("QUIT", Reply::Bye),
        ("AUTH PLAIN", Reply::NotRecognized),
        ("XCLIENT", Reply::NotRecognized),
        ("XFORWARD", Reply::NotRecognized),
        ("HELP", Reply::NotRecognized),
        ("", Reply::NotRecognized),
        ("STARTTLS", Reply::ReadyForTls),
    ] {
        assert_eq!(say(&mut Engine::default(), &rules, &[line]).0, [expected], "{line}");
    }
    let mut engine = Engine::default();
    engine.enter_tls();
    let lines = ["RSET", "VRFY b", "MAIL FROM:<a>", "DATA"];
    let replies = say(&mut engine, &rules, &lines).0;
    assert_eq!(replies, [Reply::Ok, REFUSED, Reply::SenderOk, Reply::NoRecipients]);
}

#[test]
fn starttls_that_is_discarded_off_or_suspended() {
    let discarded = Discarded::NOTHING.with(Keyword::Starttls);
    let mut rules = EngineRules { discarded, ..tls_rules(TlsLevel::May) };
    let lines = ["EHLO x", "STARTTLS x", "STARTTLS"];
    let say_all = |rules: &EngineRules| say(&mut Engine::default(), rules, &lines).0;
    assert_eq!(say_all(&rules), [not_offered(), Reply::StarttlsSyntax, Reply::NotImplemented]);
    // What is kept from a client is only known after EHLO.
    let early = say(&mut Engine::default(), &rules, &["HELO x", "STARTTLS"]).0;
    assert_eq!(early, [Reply::Helo, Reply::ReadyForTls]);
    rules.discarded_starttls_works = true;
    assert_eq!(say_all(&rules), [not_offered(), Reply::StarttlsSyntax, Reply::ReadyForTls]);

    // It may be kept from one client, and not from others.
    let rules = tls_rules(TlsLevel::May);
    let mut engine = Engine::default();
    say(&mut engine, &rules, &["EHLO x"]);
    assert_eq!(engine.discard(discarded, TlsOffer::Open), not_offered());
    assert_eq!(say(&mut engine, &rules, &["STARTTLS"]).0, [Reply::NotImplemented]);

    let off = policy().engine;
    assert_eq!(say_all(&off), [OFFERED, Reply::StarttlsSyntax, Reply::NotImplemented]);

    let mut engine = Engine::default();
    let told = [not_offered(), Reply::StarttlsSyntax, Reply::TlsUnavailable];
    assert_eq!(say_with(&mut engine, &rules, TlsOffer::Suspended, &lines).0, told);
    // That is no word about the client.
    assert_eq!(say(&mut engine, &rules, &["STARTTLS"]).0, [Reply::ReadyForTls]);
}
