//! The table of parameters. Defaults are compared with `postconf -d` by
//! `tests/params_against_postconf.rs`.

use super::{Bounds, DefaultValue, Fetched, Kind, Param};
use DefaultValue::{Build, Computed, Text, Undefined};
use Fetched::{Common, Early, Host, Never, Screen, ScreenFrom312, Switches};

const fn param(fetched: Fetched, name: &'static str, kind: Kind, default: DefaultValue) -> Param {
    Param { name, kind, default, fetched }
}

const STR: Kind = Kind::Str { min: 0 };
const STR1: Kind = Kind::Str { min: 1 };
const RAW: Kind = Kind::Raw { min: 0 };
const RAW1: Kind = Kind::Raw { min: 1 };
const INT: Kind = Kind::Int(Bounds::ANY);
const INT1: Kind = Kind::Int(Bounds::from(1));
const NINT: Kind = Kind::Nint(Bounds::ANY);
const LONG: Kind = Kind::Long(Bounds::ANY);
const LONG1: Kind = Kind::Long(Bounds::from(1));
const TIME: Kind = Kind::Time(Bounds::ANY);
const TIME1: Kind = Kind::Time(Bounds::from(1));
const BOOL: Kind = Kind::Bool;
const NBOOL: Kind = Kind::Nbool;

const SMTPD_EXPANSION_FILTER: &str = concat!(
    r##"\t\40!"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"##,
    "abcdefghijklmnopqrstuvwxyz{|}~"
);

/// Every parameter that postscreen(8) reads, or that their defaults refer to.
#[rustfmt::skip]
pub static TABLE: &[Param] = &[
    param(Early, "compatibility_level", STR, Text("0")),
    param(Early, "mail_version", STR1, Build("3.7.11")),
    param(Early, "syslog_facility", STR1, Text("mail")),
    param(Early, "inet_protocols", STR, Text("all")),
    param(Early, "multi_instance_name", STR, Text("")),
    param(Early, "syslog_name", STR1, Text("${multi_instance_name?{$multi_instance_name}:{postfix}}")),
    param(Early, "maillog_file", STR, Text("")),
    param(Early, "maillog_file_prefixes", STR1, Text("/var, /dev/stdout")),
    param(Early, "maillog_file_permissions", STR1, Text("0600")),
    param(Early, "postlog_service_name", STR1, Text("postlog")),
    param(Switches, "daemon_table_open_error_is_fatal", BOOL, Text("no")),
    param(Switches, "smtputf8_enable", NBOOL, Text("${{$compatibility_level} <level {1} ? {no} : {yes}}")),
    param(Switches, "respectful_logging", NBOOL, Text("${{$compatibility_level} <level {3.6} ? {no} : {yes}}")),

    param(Host, "myhostname", STR1, Computed),
    param(Host, "mydomain", STR1, Computed),

    param(Common, "command_directory", STR1, Build("/usr/sbin")),
    param(Common, "config_directory", STR, Computed),
    param(Common, "daemon_directory", STR1, Build("/usr/lib/postfix/sbin")),
    param(Common, "data_directory", STR1, Build("/var/lib/postfix")),
    param(Common, "default_cache_db_type", STR1, Build("btree")),
    param(Common, "default_database_type", STR1, Build("hash")),
    param(Common, "default_process_limit", INT1, Text("100")),
    param(Common, "delay_logging_resolution_limit", Kind::Int(Bounds::up_to(6)), Text("2")),
    param(Common, "dns_ncache_ttl_fix_enable", BOOL, Text("no")),
    param(Common, "export_environment", STR, Text("TZ MAIL_CONFIG LANG")),
    param(Common, "enable_idna2003_compatibility", NBOOL, Text("no")),
    param(Common, "import_environment", STR, Text("MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME")),
    param(Common, "inet_interfaces", STR, Text("all")),
    param(Common, "info_log_address_format", STR1, Text("external")),
    param(Common, "ipc_timeout", TIME1, Text("3600s")),
    param(Common, "known_tcp_ports", STR, Text("lmtp=24, smtp=25, smtps=submissions=465, submission=587")),
    param(Common, "line_length_limit", Kind::Int(Bounds::from(512)), Text("2048")),
    param(Common, "lmdb_map_size", LONG1, Text("16777216")),
    param(Common, "mail_name", STR1, Text("Postfix")),
    param(Common, "mail_owner", STR1, Build("postfix")),
    param(Common, "mail_release_date", STR1, Build("20240304")),
    param(Common, "max_idle", TIME1, Text("100s")),
    param(Common, "max_use", INT1, Text("100")),
    param(Common, "message_size_limit", LONG, Text("10240000")),
    param(Common, "mynetworks", STR, Computed),
    param(Common, "mynetworks_style", STR1, Text("${{$compatibility_level} <level {2} ? {subnet} : {host}}")),
    param(Common, "non_bdb_custom_mapping", STR, Text("")),
    param(Common, "non_bdb_migration_level", STR, Text("disable")),
    param(Common, "parent_domain_matches_subdomains", STR, Text("debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps")),
    param(Common, "proxy_interfaces", STR, Text("")),
    param(Common, "proxymap_service_name", STR1, Text("proxymap")),
    param(Common, "proxywrite_service_name", STR1, Text("proxywrite")),
    param(Common, "queue_directory", STR1, Build("/var/spool/postfix")),
    param(Common, "relayhost", STR, Text("")),
    param(Common, "setgid_group", STR1, Build("postdrop")),
    param(Common, "socketmap_max_query_size", INT1, Text("10000")),
    param(Common, "socketmap_max_reply_size", INT1, Text("100000")),
    param(Common, "soft_bounce", BOOL, Text("no")),

    param(Screen, "dnsblog_service_name", STR1, Text("dnsblog")),
    param(Screen, "postscreen_access_list", STR, Text("permit_mynetworks")),
    param(Screen, "postscreen_allowlist_interfaces", STR, Text("${postscreen_whitelist_interfaces?{$postscreen_whitelist_interfaces}:{static:all}}")),
    param(Screen, "postscreen_bare_newline_action", STR1, Text("ignore")),
    param(Screen, "postscreen_bare_newline_enable", BOOL, Text("no")),
    param(Screen, "postscreen_bare_newline_ttl", TIME1, Text("30d")),
    param(Screen, "postscreen_cache_cleanup_interval", TIME, Text("12h")),
    param(Screen, "postscreen_cache_map", STR, Build("btree:$data_directory/postscreen_cache")),
    param(Screen, "postscreen_cache_retention_time", TIME1, Text("7d")),
    param(Screen, "postscreen_client_connection_count_limit", NINT, Text("$smtpd_client_connection_count_limit")),
    param(Screen, "postscreen_command_count_limit", INT1, Text("20")),
    param(Screen, "postscreen_command_filter", STR, Text("")),
    param(Screen, "postscreen_command_time_limit", TIME1, Text("${stress?{10}:{300}}s")),
    param(Screen, "postscreen_denylist_action", STR1, Text("${postscreen_blacklist_action?{$postscreen_blacklist_action}:{ignore}}")),
    param(Screen, "postscreen_disable_vrfy_command", NBOOL, Text("$disable_vrfy_command")),
    param(Screen, "postscreen_discard_ehlo_keyword_address_maps", STR, Text("$smtpd_discard_ehlo_keyword_address_maps")),
    param(Screen, "postscreen_discard_ehlo_keywords", STR, Text("$smtpd_discard_ehlo_keywords")),
    param(Screen, "postscreen_dnsbl_action", STR1, Text("ignore")),
    param(Screen, "postscreen_dnsbl_allowlist_threshold", NINT, Text("${postscreen_dnsbl_whitelist_threshold?{$postscreen_dnsbl_whitelist_threshold}:{0}}")),
    param(Screen, "postscreen_dnsbl_max_ttl", TIME1, Text("${postscreen_dnsbl_ttl?{$postscreen_dnsbl_ttl}:{1}}h")),
    param(Screen, "postscreen_dnsbl_min_ttl", TIME1, Text("60s")),
    param(Screen, "postscreen_dnsbl_reply_map", STR, Text("")),
    param(Screen, "postscreen_dnsbl_sites", STR, Text("")),
    param(Screen, "postscreen_dnsbl_threshold", INT1, Text("1")),
    param(Screen, "postscreen_dnsbl_timeout", TIME1, Text("10s")),
    param(Screen, "postscreen_enforce_tls", NBOOL, Text("$smtpd_enforce_tls")),
    param(Screen, "postscreen_expansion_filter", RAW1, Text("$smtpd_expansion_filter")),
    param(Screen, "postscreen_forbidden_commands", STR, Text("$smtpd_forbidden_commands")),
    param(Screen, "postscreen_greet_action", STR1, Text("ignore")),
    param(Screen, "postscreen_greet_banner", STR, Text("$smtpd_banner")),
    param(Screen, "postscreen_greet_ttl", TIME1, Text("1d")),
    param(Screen, "postscreen_greet_wait", TIME1, Text("${stress?{2}:{6}}s")),
    param(Screen, "postscreen_helo_required", NBOOL, Text("$smtpd_helo_required")),
    param(Screen, "postscreen_non_smtp_command_action", STR1, Text("drop")),
    param(Screen, "postscreen_non_smtp_command_enable", BOOL, Text("no")),
    param(Screen, "postscreen_non_smtp_command_ttl", TIME1, Text("30d")),
    param(Screen, "postscreen_pipelining_action", STR1, Text("enforce")),
    param(Screen, "postscreen_pipelining_enable", BOOL, Text("no")),
    param(Screen, "postscreen_pipelining_ttl", TIME1, Text("30d")),
    param(Screen, "postscreen_post_queue_limit", Kind::Nint(Bounds::from(5)), Text("$default_process_limit")),
    param(Screen, "postscreen_pre_queue_limit", Kind::Nint(Bounds::from(10)), Text("$default_process_limit")),
    param(Screen, "postscreen_reject_footer", RAW, Text("$smtpd_reject_footer")),
    param(Screen, "postscreen_reject_footer_maps", STR, Text("$smtpd_reject_footer_maps")),
    param(Screen, "postscreen_tls_security_level", STR, Text("$smtpd_tls_security_level")),
    param(Screen, "postscreen_upstream_proxy_protocol", STR, Text("")),
    param(Screen, "postscreen_upstream_proxy_timeout", TIME1, Text("5s")),
    param(Screen, "postscreen_use_tls", NBOOL, Text("$smtpd_use_tls")),
    param(Screen, "postscreen_watchdog_timeout", Kind::Time(Bounds::from(10)), Text("10s")),
    param(Screen, "disable_vrfy_command", BOOL, Text("no")),
    param(Screen, "smtpd_banner", STR1, Text("$myhostname ESMTP $mail_name")),
    param(Screen, "smtpd_client_connection_count_limit", INT, Text("50")),
    param(Screen, "smtpd_command_filter", STR, Text("")),
    param(Screen, "smtpd_discard_ehlo_keyword_address_maps", STR, Text("")),
    param(Screen, "smtpd_discard_ehlo_keywords", STR, Text("")),
    param(Screen, "smtpd_enforce_tls", BOOL, Text("no")),
    param(Screen, "smtpd_expansion_filter", RAW1, Text(SMTPD_EXPANSION_FILTER)),
    param(Screen, "smtpd_forbidden_commands", STR, Build("CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}")),
    param(Screen, "smtpd_helo_required", BOOL, Text("no")),
    param(Screen, "smtpd_reject_footer", RAW, Text("")),
    param(Screen, "smtpd_service_name", STR1, Text("smtpd")),
    param(Screen, "smtpd_tls_security_level", STR, Text("")),
    param(Screen, "smtpd_use_tls", BOOL, Text("no")),
    param(Screen, "tlsproxy_service_name", STR1, Text("tlsproxy")),

    param(ScreenFrom312, "postscreen_starttls_timeout", TIME1, Text("$smtpd_starttls_timeout")),
    param(ScreenFrom312, "postscreen_tls_always_issue_session_ids", NBOOL, Text("$smtpd_tls_always_issue_session_ids")),
    param(ScreenFrom312, "postscreen_tls_ask_ccert", NBOOL, Text("$smtpd_tls_ask_ccert")),
    param(ScreenFrom312, "postscreen_tls_CAfile", STR, Text("$smtpd_tls_CAfile")),
    param(ScreenFrom312, "postscreen_tls_CApath", STR, Text("$smtpd_tls_CApath")),
    param(ScreenFrom312, "postscreen_tls_ccert_verifydepth", NINT, Text("$smtpd_tls_ccert_verifydepth")),
    param(ScreenFrom312, "postscreen_tls_cert_file", STR, Text("$smtpd_tls_cert_file")),
    param(ScreenFrom312, "postscreen_tls_chain_files", STR, Text("$smtpd_tls_chain_files")),
    param(ScreenFrom312, "postscreen_tls_ciphers", STR1, Text("$smtpd_tls_ciphers")),
    param(ScreenFrom312, "postscreen_tls_dcert_file", STR, Text("$smtpd_tls_dcert_file")),
    param(ScreenFrom312, "postscreen_tls_dh1024_param_file", STR, Text("$smtpd_tls_dh1024_param_file")),
    param(ScreenFrom312, "postscreen_tls_dh512_param_file", STR, Text("$smtpd_tls_dh512_param_file")),
    param(ScreenFrom312, "postscreen_tls_dkey_file", STR, Text("$smtpd_tls_dkey_file")),
    param(ScreenFrom312, "postscreen_tls_eccert_file", STR, Text("$smtpd_tls_eccert_file")),
    param(ScreenFrom312, "postscreen_tls_eckey_file", STR, Text("$smtpd_tls_eckey_file")),
    param(ScreenFrom312, "postscreen_tls_eecdh_grade", STR1, Text("$smtpd_tls_eecdh_grade")),
    param(ScreenFrom312, "postscreen_tls_enable_rpk", NBOOL, Text("$smtpd_tls_enable_rpk")),
    param(ScreenFrom312, "postscreen_tls_exclude_ciphers", STR, Text("$smtpd_tls_exclude_ciphers")),
    param(ScreenFrom312, "postscreen_tls_fingerprint_digest", STR1, Text("$smtpd_tls_fingerprint_digest")),
    param(ScreenFrom312, "postscreen_tls_key_file", STR, Text("$smtpd_tls_key_file")),
    param(ScreenFrom312, "postscreen_tls_loglevel", STR, Text("$smtpd_tls_loglevel")),
    param(ScreenFrom312, "postscreen_tls_loglevel_maps", STR, Text("$smtpd_tls_loglevel_maps")),
    param(ScreenFrom312, "postscreen_tls_mandatory_ciphers", STR1, Text("$smtpd_tls_mandatory_ciphers")),
    param(ScreenFrom312, "postscreen_tls_mandatory_exclude_ciphers", STR, Text("$smtpd_tls_mandatory_exclude_ciphers")),
    param(ScreenFrom312, "postscreen_tls_mandatory_protocols", STR, Text("$smtpd_tls_mandatory_protocols")),
    param(ScreenFrom312, "postscreen_tls_protocols", STR, Text("$smtpd_tls_protocols")),
    param(ScreenFrom312, "postscreen_tls_req_ccert", NBOOL, Text("$smtpd_tls_req_ccert")),
    param(ScreenFrom312, "postscreen_tls_trace_size_limit", NINT, Text("$smtpd_tls_trace_size_limit")),

    param(Never, "postscreen_blacklist_action", STR, Undefined),
    param(Never, "postscreen_dnsbl_ttl", STR, Undefined),
    param(Never, "postscreen_dnsbl_whitelist_threshold", STR, Undefined),
    param(Never, "postscreen_whitelist_interfaces", STR, Undefined),
    param(Never, "meta_directory", STR, Build("/etc/postfix")),
    param(Never, "process_id", STR, Computed),
    param(Never, "process_name", STR, Computed),
    param(Never, "service_name", STR, Computed),
    param(Never, "shlib_directory", STR, Build("/usr/lib/postfix")),
    param(Never, "smtpd_reject_footer_maps", STR, Text("")),
    param(Never, "smtpd_starttls_timeout", TIME1, Text("${stress?{10}:{300}}s")),
    param(Never, "smtpd_timeout", TIME1, Text("${stress?{10}:{300}}s")),
    param(Never, "smtpd_tls_always_issue_session_ids", BOOL, Text("yes")),
    param(Never, "smtpd_tls_ask_ccert", BOOL, Text("no")),
    param(Never, "smtpd_tls_CAfile", STR, Text("")),
    param(Never, "smtpd_tls_CApath", STR, Text("")),
    param(Never, "smtpd_tls_ccert_verifydepth", INT, Text("9")),
    param(Never, "smtpd_tls_cert_file", STR, Text("")),
    param(Never, "smtpd_tls_chain_files", STR, Text("")),
    param(Never, "smtpd_tls_ciphers", STR1, Text("medium")),
    param(Never, "smtpd_tls_dcert_file", STR, Text("")),
    param(Never, "smtpd_tls_dh1024_param_file", STR, Text("")),
    param(Never, "smtpd_tls_dh512_param_file", STR, Text("")),
    param(Never, "smtpd_tls_dkey_file", STR, Text("$smtpd_tls_dcert_file")),
    param(Never, "smtpd_tls_eccert_file", STR, Text("")),
    param(Never, "smtpd_tls_eckey_file", STR, Text("$smtpd_tls_eccert_file")),
    param(Never, "smtpd_tls_eecdh_grade", STR1, Text("auto")),
    param(Never, "smtpd_tls_enable_rpk", BOOL, Text("no")),
    param(Never, "smtpd_tls_exclude_ciphers", STR, Text("")),
    param(Never, "smtpd_tls_fingerprint_digest", STR1, Text("${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}")),
    param(Never, "smtpd_tls_key_file", STR, Text("$smtpd_tls_cert_file")),
    param(Never, "smtpd_tls_loglevel", STR, Text("0")),
    param(Never, "smtpd_tls_loglevel_maps", STR, Text("")),
    param(Never, "smtpd_tls_mandatory_ciphers", STR1, Text("medium")),
    param(Never, "smtpd_tls_mandatory_exclude_ciphers", STR, Text("")),
    param(Never, "smtpd_tls_mandatory_protocols", STR, Text(">=TLSv1")),
    param(Never, "smtpd_tls_protocols", STR, Text(">=TLSv1")),
    param(Never, "smtpd_tls_req_ccert", BOOL, Text("no")),
    param(Never, "smtpd_tls_trace_size_limit", INT, Text("102400")),
    param(Never, "stress", STR, Computed),
    param(Never, "tls_trace_rate_limit", INT, Text("1")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = TABLE.iter().map(|param| param.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
