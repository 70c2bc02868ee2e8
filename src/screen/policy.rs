//! What the administrator wants, as the screening core needs it: typed, checked, and
//! free of main.cf's syntax. `config/` makes it.

use std::time::Duration;

use super::test_set::{Action, PerTest, TestSet};

/// The settings that decide what happens to a client.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// main.cf: `postscreen_greet_banner`, the text of the teaser; `None` when empty,
    /// which turns the pregreet test off.
    pub greet_banner: Option<String>,
    /// main.cf: `smtpd_banner`, the greeting of the built-in SMTP engine.
    pub smtpd_banner: String,
    /// main.cf: `myhostname`.
    pub myhostname: String,
    /// The tests that are switched on.
    pub enabled: TestSet,
    /// main.cf: `postscreen_greet_action`, `postscreen_dnsbl_action`, and so on.
    pub actions: PerTest<Action>,
    /// main.cf: `postscreen_denylist_action`.
    pub denylist_action: Action,
    /// How long a pass counts: main.cf `postscreen_greet_ttl` and so on; for DNSBL the
    /// minimum, `postscreen_dnsbl_min_ttl`.
    pub ttl: PerTest<Duration>,
    /// main.cf: `postscreen_dnsbl_max_ttl`.
    pub dnsbl_max_ttl: Duration,
    /// main.cf: `postscreen_greet_wait`.
    pub greet_wait: Stressed<Duration>,
    /// main.cf: `postscreen_command_time_limit`.
    pub command_time_limit: Stressed<Duration>,
    /// main.cf: `line_length_limit`, bytes, CR LF included; at least 512.
    pub line_length_limit: usize,
    /// The connection limits of this process.
    pub limits: Limits,
    /// main.cf: `soft_bounce`.
    pub soft_bounce: bool,
    /// main.cf: `respectful_logging`.
    pub wording: Wording,
    /// main.cf: `delay_logging_resolution_limit`, digits after the decimal point, 0..6.
    pub delay_resolution: u8,
    /// main.cf: `smtpd_service_name`.
    pub smtpd_service: String,
}

/// A setting with one value for normal operation and one for stress mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stressed<T> {
    /// The value with `stress` empty.
    pub normal: T,
    /// The value with `stress = yes`.
    pub stress: T,
}

/// How many clients may be served at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// main.cf: `postscreen_client_connection_count_limit`; `None` when 0 or less.
    pub per_client: Option<usize>,
    /// main.cf: `postscreen_post_queue_limit`, hand-offs in progress.
    pub post_queue: usize,
    /// main.cf: `postscreen_pre_queue_limit`, sessions being screened.
    pub pre_queue: usize,
}

/// Which words the log uses for the access list's verdicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wording {
    /// ALLOWLISTED, DENYLISTED, ALLOWLIST VETO.
    Respectful,
    /// WHITELISTED, BLACKLISTED, WHITELIST VETO.
    Old {
        /// The old words are only used because `compatibility_level` is below 3.6: say so
        /// once.
        by_compatibility_level: bool,
    },
}
