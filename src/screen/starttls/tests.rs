use super::*;
use crate::screen::event::{Access, Input, Now};
use crate::screen::policy::{Policy, TlsLevel};
use crate::screen::smtp::discard::Discarded;
use crate::screen::smtp::keyword::Keyword;
use crate::screen::smtp::offence::Offence;
use crate::screen::test_set::{Test, TestSet, UnixTime};
use crate::screen::testing::{Says, policy};

/// A session in the engine, with a clock.
struct Dialogue {
    screener: Screener,
    now: Now,
}

const ID: SessionId = SessionId { slot: 0, generation: 1 };
const OFFERED: Reply = Reply::Ehlo(Discarded::NOTHING);

fn not_offered() -> Reply {
    Reply::Ehlo(Discarded::NOTHING.with(Keyword::Starttls))
}

const TIME_LIMIT: Duration = Duration::from_secs(300);

fn tls_policy(tls_level: TlsLevel) -> Policy {
    let mut policy = policy();
    policy.enabled = TestSet::EMPTY.with(Test::Pipelining);
    policy.engine.tls_level = tls_level;
    policy.engine.announced = Keyword::ALL.to_vec();
    policy
}

impl Dialogue {
    fn new(policy: Policy) -> Dialogue {
        let now = Now { mono: Instant::now(), wall: UnixTime(1_800_000_000) };
        let mut dialogue = Dialogue { screener: Screener::new(policy), now };
        dialogue.connect();
        dialogue
    }

    fn connect(&mut self) {
        let client = "192.0.2.1:4711".parse().unwrap();
        let server = "192.0.2.25:25".parse().unwrap();
        self.feed(Input::Connected { session: ID, client, server });
    }

    fn feed(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        self.screener.handle(input, self.now, &mut Says(Access::Undecided), &mut out);
        self.screener.check_invariants().unwrap();
        out
    }

    fn say(&mut self, data: &[u8]) -> Vec<Output> {
        self.feed(Input::Received { session: ID, data })
    }

    fn news(&mut self, news: TlsNews<'_>) -> Vec<Output> {
        self.feed(Input::Tls { session: ID, news })
    }

    fn wait(&mut self, span: Duration) {
        self.now.mono += span;
    }

    fn deadline_in(&self, span: Duration) -> Output {
        Output::SetDeadline(ID, self.now.mono + span)
    }

    /// What comes out when an attempt begins.
    fn attempt(&self) -> [Output; 3] {
        let client = "192.0.2.1:4711".parse().unwrap();
        [
            Output::Watch(ID, Watch::Nothing),
            self.deadline_in(TLS_ANSWER_LIMIT),
            Output::StartTls { session: ID, client },
        ]
    }

    fn fail(&mut self) -> Vec<Output> {
        self.say(b"STARTTLS\r\n");
        self.news(TlsNews::Failed { trouble: TlsTrouble::NoStatus, detail: None })
    }
}

fn send(reply: Reply) -> Output {
    Output::Send(ID, reply)
}

fn trouble(trouble: TlsFailure) -> Output {
    Output::Log(LogLine::TlsTrouble { service: "tlsproxy".into(), trouble })
}

fn warning(text: &str) -> Output {
    Output::Log(LogLine::Message(Message::warning(text)))
}

#[test]
fn the_way_into_tls() {
    let mut dialogue = Dialogue::new(tls_policy(TlsLevel::May));
    dialogue.say(b"EHLO x\r\n");
    let out = dialogue.say(b"STARTTLS\r\n");
    assert_eq!(out, dialogue.attempt());
    dialogue.wait(Duration::from_secs(7));
    assert_eq!(dialogue.news(TlsNews::Asked), [dialogue.deadline_in(TLS_ANSWER_LIMIT)]);
    dialogue.wait(Duration::from_secs(7));
    let out = dialogue.news(TlsNews::Taken);
    assert_eq!(
        out,
        [
            send(Reply::ReadyForTls),
            Output::TlsBegins(ID),
            Output::Watch(ID, Watch::Read),
            dialogue.deadline_in(TIME_LIMIT),
        ]
    );
    let out = dialogue.say(b"EHLO x\r\n");
    assert_eq!(out, [send(not_offered()), dialogue.deadline_in(TIME_LIMIT)]);
    let out = dialogue.feed(Input::Closed { session: ID });
    assert!(matches!(out[0], Output::Log(LogLine::Hangup { .. })), "{out:?}");
}

/// What is sent behind STARTTLS is seen by the pipelining test, and then forgotten.
#[test]
fn plain_text_does_not_get_into_tls() {
    let mut dialogue = Dialogue::new(tls_policy(TlsLevel::May));
    let out = dialogue.say(b"STARTTLS\r\nMAIL FROM:<a>\r\nRCPT");
    let [Output::Log(LogLine::Offence(_, Offence::Pipelining { unread, .. })), rest @ ..] =
        &out[..]
    else {
        panic!("{out:?}");
    };
    assert_eq!(&**unread, b"MAIL FROM:<a>\r\nRCPT");
    assert_eq!(rest, dialogue.attempt());
    // Nothing more is read now; if it were, it would not count.
    assert_eq!(dialogue.say(b" TO:<b>\r\n"), []);
    dialogue.news(TlsNews::Asked);
    assert_eq!(dialogue.news(TlsNews::Taken).len(), 4);
    assert_eq!(dialogue.say(b"RCPT TO:<b>\r\n")[0], send(Reply::MailFirst));
}

#[test]
fn plain_text_goes_on_after_a_failure() {
    let mut dialogue = Dialogue::new(tls_policy(TlsLevel::May));
    dialogue.say(b"STARTTLS\r\nEHLO x\r\nMAIL FROM:<a>\r\nRC");
    dialogue.news(TlsNews::Asked);
    let detail = Some("missing attribute status");
    let out = dialogue.news(TlsNews::Failed { trouble: TlsTrouble::NoStatus, detail });
    assert_eq!(
        out,
        [
            warning("missing attribute status"),
            trouble(TlsFailure::NoStatus),
            Output::AbandonTls(ID),
            send(Reply::TlsUnavailable),
            Output::Watch(ID, Watch::Read),
            send(OFFERED),
            send(Reply::SenderOk),
            dialogue.deadline_in(TIME_LIMIT),
        ]
    );
    let out = dialogue.say(b"PT\r\n");
    assert_eq!(out[0], send(Reply::RcptSyntax));
    // News about an attempt that is over are no news.
    for news in [TlsNews::Busy, TlsNews::Asked, TlsNews::Taken] {
        assert_eq!(dialogue.news(news), []);
    }
}

#[test]
fn several_starttls_in_one_piece_are_tried_one_by_one() {
    let mut dialogue = Dialogue::new(tls_policy(TlsLevel::Encrypt));
    dialogue.say(b"STARTTLS\r\nSTARTTLS\r\nSTARTTLS\r\nQUIT\r\n");
    for _ in 0..2 {
        let failed = TlsNews::Failed { trouble: TlsTrouble::NotTaken, detail: None };
        let out = dialogue.news(failed);
        assert_eq!(
            out[..3],
            [trouble(TlsFailure::NotTaken), Output::AbandonTls(ID), send(Reply::TlsUnavailable),]
        );
        assert_eq!(out[4..], dialogue.attempt());
    }
    let gone = TlsNews::Failed { trouble: TlsTrouble::NotAsked("Broken pipe"), detail: None };
    let out = dialogue.news(gone);
    assert_eq!(out[0], trouble(TlsFailure::NotAsked("Broken pipe".into())));
    assert_eq!(
        out[2..5],
        [send(Reply::TlsUnavailable), Output::Watch(ID, Watch::Read), send(Reply::Bye),]
    );
    assert_eq!(out.last(), Some(&Output::Close(ID)));
}

#[test]
fn each_answer_has_its_time() {
    let mut dialogue = Dialogue::new(tls_policy(TlsLevel::May));
    dialogue.say(b"STARTTLS\r\n");
    dialogue.wait(TLS_ANSWER_LIMIT);
    let out = dialogue.feed(Input::Deadline { session: ID });
    assert_eq!(
        out,
        [
            trouble(TlsFailure::LateGreeting),
            Output::AbandonTls(ID),
            send(Reply::TlsUnavailable),
            Output::Watch(ID, Watch::Read),
            dialogue.deadline_in(TIME_LIMIT),
        ]
    );
    dialogue.say(b"STARTTLS\r\n");
    dialogue.news(TlsNews::Asked);
    let out = dialogue.feed(Input::Deadline { session: ID });
    assert_eq!(out[0], trouble(TlsFailure::LateStatus));
}

#[test]
fn a_full_queue_is_tried_again_for_a_second() {
    let mut dialogue = Dialogue::new(tls_policy(TlsLevel::May));
    dialogue.say(b"STARTTLS\r\n");
    let start = dialogue.now.mono;
    let out = loop {
        let out = dialogue.news(TlsNews::Busy);
        if out != [dialogue.deadline_in(BUSY_PAUSE)] {
            break out;
        }
        // Whatever comes in the pause is of no account.
        assert_eq!(dialogue.news(TlsNews::Asked), []);
        dialogue.wait(BUSY_PAUSE);
        let again = dialogue.feed(Input::Deadline { session: ID });
        assert_eq!(again, dialogue.attempt()[1..]);
    };
    assert_eq!(dialogue.now.mono - start, BUSY_LIMIT);
    assert_eq!(out[0], trouble(TlsFailure::NoService(BUSY_REASON.into())));
}

#[test]
fn an_attempt_ends_with_its_session() {
    for input in [Input::Closed { session: ID }, Input::Terminate] {
        let mut dialogue = Dialogue::new(tls_policy(TlsLevel::May));
        dialogue.say(b"STARTTLS\r\nNOOP\r\n");
        let out = dialogue.feed(input);
        assert_eq!(out.last(), Some(&Output::Close(ID)));
        let told = out.contains(&send(Reply::Unavailable));
        assert_eq!(told, input == Input::Terminate, "{out:?}");
        assert_eq!(dialogue.news(TlsNews::Asked), []);
    }
}

#[test]
fn starttls_is_not_offered_after_three_failures() {
    let mut dialogue = Dialogue::new(tls_policy(TlsLevel::May));
    let ehlo = |dialogue: &mut Dialogue| dialogue.say(b"EHLO x\r\n").swap_remove(0);
    let (offered, withheld) = (send(OFFERED), send(not_offered()));
    let notice = |notice| Output::Log(LogLine::TlsNotice { service: "tlsproxy".into(), notice });
    for _ in 0..2 {
        dialogue.fail();
        assert_eq!(ehlo(&mut dialogue), offered);
    }
    assert!(dialogue.fail().contains(&notice(TlsNotice::Suspended)));
    assert_eq!(ehlo(&mut dialogue), withheld);
    assert_eq!(dialogue.say(b"STARTTLS\r\n")[0], send(Reply::TlsUnavailable));

    dialogue.wait(verdict::TLS_PAUSE);
    assert_eq!(ehlo(&mut dialogue), offered);
    dialogue.say(b"STARTTLS\r\n");
    dialogue.news(TlsNews::Asked);
    let out = dialogue.news(TlsNews::Taken);
    assert_eq!(out[2], notice(TlsNotice::Resumed));
}

#[test]
fn mandatory_starttls_is_always_offered() {
    let mut dialogue = Dialogue::new(tls_policy(TlsLevel::Encrypt));
    for _ in 0..5 {
        let out = dialogue.fail();
        let notice = |output: &Output| matches!(output, Output::Log(LogLine::TlsNotice { .. }));
        assert!(!out.iter().any(notice), "{out:?}");
    }
    assert_eq!(dialogue.say(b"EHLO x\r\n")[0], send(OFFERED));
    let out = dialogue.say(b"STARTTLS\r\n");
    assert_eq!(out, dialogue.attempt());
}
