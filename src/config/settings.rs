//! What the processes around the screening core need to know.

use std::path::PathBuf;
use std::time::Duration;

use super::gatepost_cf::OwnSettings;
use super::reader::Reader;
use crate::postfix::mynetworks::Style;
use crate::postfix::params::PostfixVersion;
use crate::screen::dnsbl::site::Site;
use crate::screen::expand::CompatibilityLevel;
use crate::screen::policy::{AddressFormat, Protocols, TlsLevel};

/// Everything that main.cf and gatepost.cf say outside the screening policy.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Where things are.
    pub directories: Directories,
    /// main.cf: `mail_owner`, the user whose rights the workers have. Not looked up yet.
    pub mail_owner: String,
    /// main.cf: `setgid_group`. Not looked up yet.
    pub setgid_group: String,
    /// Where and how to log.
    pub logging: Logging,
    /// main.cf: `myhostname`.
    pub myhostname: String,
    /// The version of the Postfix around us; `None` when it cannot be told.
    pub mail_version: Option<PostfixVersion>,
    /// main.cf: `compatibility_level`.
    pub compatibility_level: CompatibilityLevel,
    /// main.cf: `smtputf8_enable`.
    pub smtputf8: bool,
    /// main.cf: `socketmap_max_query_size` and `socketmap_max_reply_size`, bytes; Postfix 3.10.
    pub socketmap_limits: (usize, usize),
    /// Other services, by the names of their sockets in `private/`.
    pub services: Services,
    /// Who is let in.
    pub access: Access,
    /// The verdict cache.
    pub cache: Cache,
    /// main.cf: `max_idle`: how long to wait for a client before the process ends.
    pub max_idle: Duration,
    /// main.cf: `postscreen_watchdog_timeout`, at least 10 s.
    pub watchdog_timeout: Duration,
    /// main.cf: `ipc_timeout`.
    pub ipc_timeout: Duration,
    /// main.cf: `daemon_table_open_error_is_fatal`.
    pub table_open_error_is_fatal: bool,
    /// main.cf: `default_database_type`, for tables that are given without a type.
    pub default_database_type: String,
    /// DNS blocklists.
    pub dnsbl: Dnsbl,
    /// The built-in SMTP engine.
    pub engine: Engine,
    /// main.cf: `postscreen_upstream_proxy_protocol` is `haproxy`.
    pub upstream_proxy: bool,
    /// gatepost.cf.
    pub own: OwnSettings,
}

/// Directories, as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directories {
    /// Where main.cf was read from.
    pub config: PathBuf,
    /// main.cf: `queue_directory`, the working directory and the jail.
    pub queue: PathBuf,
    /// main.cf: `data_directory`, owned by `mail_owner`.
    pub data: PathBuf,
    /// main.cf: `daemon_directory`, where the stock postscreen is.
    pub daemon: PathBuf,
    /// main.cf: `command_directory`, where postconf and postmap are.
    pub command: PathBuf,
}

/// Where and how to log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logging {
    /// main.cf: `syslog_name`, the first part of the log's tag.
    pub syslog_name: String,
    /// main.cf: `syslog_facility`, in lower case, one that syslog(3) knows.
    pub syslog_facility: String,
    /// main.cf: `maillog_file`; when set, postlogd(8) gets the log instead of syslogd.
    pub maillog_file: Option<String>,
    /// main.cf: `postlog_service_name`, a socket in `public/`.
    pub postlog_service_name: String,
}

/// Names of other services.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Services {
    /// main.cf: `smtpd_service_name`.
    pub smtpd: String,
    /// main.cf: `tlsproxy_service_name`.
    pub tlsproxy: String,
    /// main.cf: `dnsblog_service_name`.
    pub dnsblog: String,
    /// main.cf: `proxymap_service_name`.
    pub proxymap: String,
}

/// The lists of clients and of interfaces, and what they depend on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// main.cf: `postscreen_access_list`.
    pub list: String,
    /// main.cf: `postscreen_allowlist_interfaces`.
    pub allowlist_interfaces: String,
    /// main.cf: `mynetworks`; `None` when it is not set and has to be computed.
    pub mynetworks: Option<String>,
    /// main.cf: `mynetworks_style`.
    pub mynetworks_style: Style,
    /// Neither `mynetworks` nor `mynetworks_style` is set: clients that are let in only
    /// because of `compatibility_level` are worth a notice.
    pub mynetworks_by_default: bool,
    /// main.cf: `inet_interfaces`.
    pub inet_interfaces: String,
    /// main.cf: `inet_protocols`; at least one.
    pub inet_protocols: Protocols,
    /// main.cf: `non_bdb_migration_level` is not `disable`: a hash or btree table may be of
    /// another type.
    pub non_bdb_migration: bool,
}

/// The verdict cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    /// main.cf: `postscreen_cache_map`, expanded; `None` when empty: no cache.
    pub map: Option<String>,
    /// main.cf: `default_cache_db_type`.
    pub default_type: String,
    /// main.cf: `postscreen_cache_cleanup_interval`; `None` when 0: no cleanup.
    pub cleanup_interval: Option<Duration>,
    /// main.cf: `postscreen_cache_retention_time`, how long an expired verdict is kept.
    pub retention: Duration,
}

/// DNS blocklists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dnsbl {
    /// main.cf: `postscreen_dnsbl_sites`.
    pub sites: Vec<Site>,
    /// main.cf: `postscreen_dnsbl_threshold`, at least 1.
    pub threshold: i32,
    /// main.cf: `postscreen_dnsbl_allowlist_threshold`; only negative ones count.
    pub allowlist_threshold: i32,
    /// main.cf: `postscreen_dnsbl_timeout`.
    pub timeout: Duration,
    /// main.cf: `postscreen_dnsbl_reply_map`, one table.
    pub reply_map: Option<String>,
}

/// The built-in SMTP engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Engine {
    /// main.cf: `postscreen_tls_security_level` and its predecessors.
    pub tls_level: TlsLevel,
    /// main.cf: `postscreen_command_count_limit`, at least 1.
    pub command_count_limit: usize,
    /// main.cf: `postscreen_command_filter`, one table.
    pub command_filter: Option<String>,
    /// main.cf: `postscreen_forbidden_commands`, a list of words and tables.
    pub forbidden_commands: String,
    /// main.cf: `postscreen_helo_required`.
    pub helo_required: bool,
    /// main.cf: `postscreen_disable_vrfy_command`: the VRFY command is refused.
    pub vrfy_command_disabled: bool,
    /// main.cf: `disable_vrfy_command`: EHLO does not announce VRFY.
    pub vrfy_keyword_disabled: bool,
    /// main.cf: `postscreen_discard_ehlo_keywords`.
    pub discard_ehlo_keywords: String,
    /// main.cf: `postscreen_discard_ehlo_keyword_address_maps`, a list of tables.
    pub discard_ehlo_keyword_address_maps: String,
    /// main.cf: `postscreen_reject_footer`, unexpanded.
    pub reject_footer: Option<String>,
    /// main.cf: `postscreen_reject_footer_maps`, a list of tables.
    pub reject_footer_maps: String,
    /// main.cf: `postscreen_expansion_filter`, with its escape sequences.
    pub expansion_filter: String,
    /// main.cf: `message_size_limit`, bytes; 0 for no limit.
    pub message_size_limit: u64,
    /// main.cf: `info_log_address_format`.
    pub address_format: AddressFormat,
}

/// The values that needed more than their type to be checked.
pub(super) struct Checked {
    pub config_directory: PathBuf,
    pub compatibility_level: CompatibilityLevel,
    pub syslog_facility: String,
    pub inet_protocols: Protocols,
    pub mynetworks_style: Style,
    pub maillog_file: Option<String>,
    pub dnsbl_sites: Vec<Site>,
    pub tls_level: TlsLevel,
    pub address_format: AddressFormat,
    pub upstream_proxy: bool,
    pub own: OwnSettings,
}

impl Settings {
    pub(super) fn read(reader: &mut Reader<'_>, checked: Checked) -> Settings {
        let path = |reader: &mut Reader<'_>, name: &str| PathBuf::from(reader.str(name));
        Settings {
            directories: Directories {
                config: checked.config_directory,
                queue: path(reader, "queue_directory"),
                data: path(reader, "data_directory"),
                daemon: path(reader, "daemon_directory"),
                command: path(reader, "command_directory"),
            },
            mail_owner: reader.str("mail_owner"),
            setgid_group: reader.str("setgid_group"),
            logging: Logging {
                syslog_name: reader.str("syslog_name"),
                syslog_facility: checked.syslog_facility,
                maillog_file: checked.maillog_file,
                postlog_service_name: reader.str("postlog_service_name"),
            },
            myhostname: reader.str("myhostname"),
            mail_version: reader.values.version(),
            compatibility_level: checked.compatibility_level,
            smtputf8: reader.bool("smtputf8_enable"),
            socketmap_limits: (
                reader.count("socketmap_max_query_size"),
                reader.count("socketmap_max_reply_size"),
            ),
            services: Services {
                smtpd: reader.str("smtpd_service_name"),
                tlsproxy: reader.str("tlsproxy_service_name"),
                dnsblog: reader.str("dnsblog_service_name"),
                proxymap: reader.str("proxymap_service_name"),
            },
            access: access(reader, checked.mynetworks_style, checked.inet_protocols),
            cache: Cache {
                map: reader.optional("postscreen_cache_map"),
                default_type: reader.str("default_cache_db_type"),
                cleanup_interval: Some(reader.time("postscreen_cache_cleanup_interval"))
                    .filter(|interval| !interval.is_zero()),
                retention: reader.time("postscreen_cache_retention_time"),
            },
            max_idle: reader.time("max_idle"),
            watchdog_timeout: reader.time("postscreen_watchdog_timeout"),
            ipc_timeout: reader.time("ipc_timeout"),
            table_open_error_is_fatal: reader.bool("daemon_table_open_error_is_fatal"),
            default_database_type: reader.str("default_database_type"),
            dnsbl: Dnsbl {
                sites: checked.dnsbl_sites,
                threshold: reader.int("postscreen_dnsbl_threshold"),
                allowlist_threshold: reader.int("postscreen_dnsbl_allowlist_threshold"),
                timeout: reader.time("postscreen_dnsbl_timeout"),
                reply_map: reader.optional("postscreen_dnsbl_reply_map"),
            },
            engine: engine(reader, checked.tls_level, checked.address_format),
            upstream_proxy: checked.upstream_proxy,
            own: checked.own,
        }
    }
}

fn access(reader: &mut Reader<'_>, mynetworks_style: Style, inet_protocols: Protocols) -> Access {
    let mynetworks = reader.values.is_set("mynetworks").then(|| reader.str("mynetworks"));
    Access {
        list: reader.str("postscreen_access_list"),
        allowlist_interfaces: reader.str("postscreen_allowlist_interfaces"),
        mynetworks_by_default: mynetworks.is_none() && !reader.values.is_set("mynetworks_style"),
        mynetworks,
        mynetworks_style,
        inet_interfaces: reader.str("inet_interfaces"),
        inet_protocols,
        non_bdb_migration: reader.str("non_bdb_migration_level") != "disable",
    }
}

fn engine(reader: &mut Reader<'_>, tls_level: TlsLevel, address_format: AddressFormat) -> Engine {
    Engine {
        tls_level,
        command_count_limit: reader.count("postscreen_command_count_limit"),
        command_filter: reader.optional("postscreen_command_filter"),
        forbidden_commands: reader.str("postscreen_forbidden_commands"),
        helo_required: reader.bool("postscreen_helo_required"),
        vrfy_command_disabled: reader.bool("postscreen_disable_vrfy_command"),
        vrfy_keyword_disabled: reader.bool("disable_vrfy_command"),
        discard_ehlo_keywords: reader.str("postscreen_discard_ehlo_keywords"),
        discard_ehlo_keyword_address_maps: reader
            .str("postscreen_discard_ehlo_keyword_address_maps"),
        reject_footer: Some(reader.raw("postscreen_reject_footer"))
            .filter(|footer| !footer.is_empty()),
        reject_footer_maps: reader.str("postscreen_reject_footer_maps"),
        expansion_filter: reader.raw("postscreen_expansion_filter"),
        message_size_limit: reader.size("message_size_limit"),
        address_format,
    }
}
