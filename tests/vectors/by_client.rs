//! Replies that depend on who the client is: EHLO keywords and reject footers.

use super::*;

/// What main.cf and a table say about EHLO keywords, as seen on 3.7.11.
#[test]
fn keywords_by_client() {
    let visit = |name, words, says: &[_], log: &[&str]| {
        let mut service = Service::new(|policy| {
            deep(Action::Enforce)(policy);
            policy.engine.discarded = Discarded::parse("chunking", Vocabulary::Before311);
        });
        service.tables.discarded = Some(words);
        dialogue_with(service, name, says, log);
    };
    let told: &[&str] = &["a 250-mx.example.test\r\n250-SIZE 10240000\r\n250-ETRN\r\n\
                           250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 CHUNKING"];
    let line = "[203.0.113.1]40097: discarding EHLO keywords: 8BITMIME VRFY EHLO_MASK_SMTPUTF8";
    visit(
        "with a line for each EHLO",
        "smtputf8 vrfy,bogus 8bitmime",
        &[
            (b"HELO x\r\n", &["a 250 mx.example.test"]),
            (HELLO.0, told),
            (HELLO.0, told),
            (b"BDAT 1\r\n", &["a 554 5.5.1 Error: need MAIL command", "a EOF"]),
        ],
        &[line, line, "BDAT without valid RCPT from [203.0.113.1]:Pa"],
    );
    let told: &[&str] = &["a 250-mx.example.test\r\n250-SIZE 10240000\r\n250-VRFY\r\n\
                           250-ETRN\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n\
                           250-SMTPUTF8\r\n250 CHUNKING"];
    visit("silently", "DSN, silent-discard", &[(HELLO.0, told), QUIT], &[]);
    visit("nothing at all", "bogus", &[HELLO, QUIT], &[]);
}

#[test]
fn v60_reject_footer_and_soft_bounce() {
    let set = |policy: &mut Policy| {
        policy.denylist_action = Action::Enforce;
        policy.soft_bounce = true;
        policy.footers.general = Some(
            "\\c; see https://x.example/?ip=$client_address&p=$client_port&h=$server_name\\n\
             Second line at $localtime"
                .into(),
        );
    };
    const LATER: &[&str] = &["a 450-4.3.2 Service currently unavailable; see \
        https://x.example/?ip=203.0.113.1&p=40097&h=mx.example.test\r\n\
        450 4.3.2 Second line at Nov 22 10:44:27"];
    const NO_QUEUE: &[&str] = &["a 458-Unable to queue messages; see \
        https://x.example/?ip=203.0.113.1&p=40097&h=mx.example.test\r\n\
        458 Second line at Nov 22 10:44:27"];
    const UNKNOWN: &[&str] = &["a 402-4.5.2 Error: command not recognized; see \
        https://x.example/?ip=203.0.113.1&p=40097&h=mx.example.test\r\n\
        402 4.5.2 Second line at Nov 22 10:44:27"];
    dialogue_with(
        Service::new(set).with_access(Access::Reject),
        "V60",
        &[
            HELLO,
            MAIL,
            (RCPT_LATER.0, LATER),
            (b"VRFY x\r\n", LATER),
            (b"ETRN x\r\n", NO_QUEUE),
            (b"FOO\r\n", UNKNOWN),
            QUIT,
        ],
        &["DENYLISTED [203.0.113.1]:Pa", REJECT_LATER],
    );
}
