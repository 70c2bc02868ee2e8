//! What the administrator wants, as the screening core needs it: typed, checked, and
//! free of main.cf's syntax. `config/` makes it.

use std::time::Duration;

use super::dnsbl::guard;
use super::dnsbl::lists::Lists;
use super::dnsbl::score::TtlLimits;
use super::footer::Footers;
use super::smtp::discard::{Discarded, Vocabulary};
use super::smtp::keyword::Keyword;
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
    /// How DNS blocklists are judged.
    pub dnsbl: DnsblRules,
    /// main.cf: `postscreen_greet_wait`.
    pub greet_wait: Stressed<Duration>,
    /// main.cf: `postscreen_command_time_limit`.
    pub command_time_limit: Stressed<Duration>,
    /// main.cf: `line_length_limit`, bytes, CR LF included; at least 512.
    pub line_length_limit: usize,
    /// The rules of the built-in SMTP engine.
    pub engine: EngineRules,
    /// Which clients smtpd(8) takes.
    pub protocols: Protocols,
    /// The connection limits of this process.
    pub limits: Limits,
    /// main.cf: `soft_bounce`.
    pub soft_bounce: bool,
    /// What is added to the replies that turn a client down.
    pub footers: Footers,
    /// main.cf: `respectful_logging`.
    pub wording: Wording,
    /// main.cf: `delay_logging_resolution_limit`, digits after the decimal point, 0..6.
    pub delay_resolution: u8,
    /// main.cf: `smtpd_service_name`.
    pub smtpd_service: String,
    /// main.cf: `tlsproxy_service_name`.
    pub tlsproxy_service: String,
    /// main.cf: `postscreen_upstream_proxy_protocol`; `None` when empty.
    pub upstream_proxy: Option<UpstreamProxy>,
}

/// How clients come through a proxy that speaks HAProxy's PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpstreamProxy {
    /// main.cf: `postscreen_upstream_proxy_timeout`, for the whole header.
    pub timeout: Duration,
    /// gatepost.cf: `upstream_proxy_log_checks`: whether the log tells of the health checks of
    /// trusted proxies.
    pub log_checks: bool,
}

/// How DNS blocklists are judged.
#[derive(Clone, PartialEq, Debug)]
pub struct DnsblRules {
    /// main.cf: `postscreen_dnsbl_sites`.
    pub lists: Lists,
    /// main.cf: `postscreen_dnsbl_threshold`: the score from which on a client fails; at
    /// least 1.
    pub threshold: i32,
    /// main.cf: `postscreen_dnsbl_allowlist_threshold`: the score down from which a client
    /// need not pass any other test; `None` unless negative.
    pub allowlist_threshold: Option<i32>,
    /// For how long a pass counts.
    pub ttl: TtlLimits,
    /// main.cf: `postscreen_dnsbl_timeout`, the limit of one look-up.
    pub timeout: Duration,
    /// gatepost.cf: `dnsbl_detail_log`.
    pub detail: DetailLog,
    /// gatepost.cf: `dnsbl_guard`.
    pub guard: guard::Mode,
}

/// About which clients the log says how their score came about (gatepost.cf:
/// `dnsbl_detail_log`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DetailLog {
    /// Those that some list knows, and those about whom some list gave no answer.
    #[default]
    Listed,
    /// All that were looked up.
    All,
    /// None.
    None,
}

/// What the built-in SMTP engine goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EngineRules {
    /// main.cf: `postscreen_command_count_limit`, lines; at least 1.
    pub command_count_limit: usize,
    /// main.cf: `postscreen_helo_required`: MAIL and ETRN want HELO or EHLO first.
    pub helo_required: bool,
    /// main.cf: `postscreen_disable_vrfy_command`: VRFY is refused.
    pub vrfy_disabled: bool,
    /// main.cf: `postscreen_tls_security_level` and its predecessors.
    pub tls_level: TlsLevel,
    /// STARTTLS is only not announced when it is among the discarded keywords, as from
    /// Postfix 3.12 on; before, it does not work either.
    pub discarded_starttls_works: bool,
    /// What EHLO announces, in order, unless it is discarded: all but what main.cf's
    /// `disable_vrfy_command`, `smtputf8_enable` and TLS level take away.
    pub announced: Vec<Keyword>,
    /// main.cf: `postscreen_discard_ehlo_keywords`.
    pub discarded: Discarded,
    /// How words that are discarded are read and logged.
    pub vocabulary: Vocabulary,
    /// main.cf: `message_size_limit`, bytes, as announced; 0 for no limit.
    pub message_size_limit: u64,
    /// main.cf: `smtputf8_enable`: a command word has to be UTF-8.
    pub smtputf8: bool,
    /// main.cf: `postscreen_command_filter`, as messages name it; `None` without.
    pub command_filter: Option<String>,
    /// main.cf: `info_log_address_format`.
    pub address_format: AddressFormat,
    /// The wording of Postfix 3.7 about STARTTLS with an argument, which speaks of EHLO.
    pub old_starttls_syntax: bool,
}

/// What is done about STARTTLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsLevel {
    /// It is not offered.
    None,
    /// It is offered.
    May,
    /// Nothing but EHLO and the like works without it.
    Encrypt,
}

/// How mail addresses are logged (main.cf: `info_log_address_format`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressFormat {
    /// As in a message: quoted where necessary.
    External,
    /// As they are.
    Internal,
}

/// A setting with one value for normal operation and one for stress mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stressed<T> {
    /// The value with `stress` empty.
    pub normal: T,
    /// The value with `stress = yes`.
    pub stress: T,
}

/// main.cf: `inet_protocols`, without what the system lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocols {
    /// IPv4 is used.
    pub ipv4: bool,
    /// IPv6 is used.
    pub ipv6: bool,
}

/// How many clients may be served at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// main.cf: `postscreen_client_connection_count_limit`; `None` when 0 or less.
    pub per_client: Option<usize>,
    /// gatepost.cf: `client_connection_prefix_ipv6`: IPv6 addresses that agree in so many bits
    /// are one client for that limit, 1..=128.
    pub prefix_ipv6: u8,
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
