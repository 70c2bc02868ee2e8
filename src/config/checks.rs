//! What postscreen(8) demands of values beyond their type, in its words. Some of it only
//! comes up at the first client there; here everything is checked at start.

use std::path::Path;

use super::Fatal;
use super::reader::Reader;
use crate::postfix::mynetworks::Style;
use crate::screen::dnsbl::site::{self, Site, SiteError};
use crate::screen::expand::CompatibilityLevel;
use crate::screen::hostname;
use crate::screen::policy::{AddressFormat, Protocols, TlsLevel};
use crate::screen::test_set::{Action, PerTest};

/// The facilities that Postfix knows on Linux.
const FACILITIES: [&str; 20] = [
    "auth", "authpriv", "cron", "daemon", "ftp", "kern", "local0", "local1", "local2", "local3",
    "local4", "local5", "local6", "local7", "lpr", "mail", "news", "syslog", "user", "uucp",
];

/// What separates the words of a list.
const SEPARATORS: [char; 5] = [',', ' ', '\t', '\r', '\n'];

/// The actions after failed tests, and for clients on the denylist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Actions {
    /// main.cf: `postscreen_greet_action` and so on.
    pub tests: PerTest<Action>,
    /// main.cf: `postscreen_denylist_action`.
    pub denylist: Action,
}

/// main.cf: `compatibility_level`. Many defaults depend on it, so nothing else is looked at
/// when it is bad.
///
/// # Errors
/// When it is no level.
pub fn compatibility_level(reader: &mut Reader<'_>) -> Result<CompatibilityLevel, Fatal> {
    let problem = match reader.values.str("compatibility_level") {
        Ok(text) => match CompatibilityLevel::parse(&text) {
            Ok(level) => return Ok(level),
            Err(error) => error.to_string(),
        },
        Err(error) => {
            reader.report(&error);
            return Err(reader.give_up());
        }
    };
    reader.fatal(problem);
    Err(reader.give_up())
}

/// main.cf: `syslog_facility`.
pub fn syslog_facility(reader: &mut Reader<'_>, config_directory: &Path) -> String {
    let facility = reader.str("syslog_facility");
    if !facility.is_empty() && !FACILITIES.contains(&facility.as_str()) {
        reader.fatal(format!(
            "file {}/main.cf: parameter syslog_facility: unrecognized value: {facility}",
            config_directory.display()
        ));
    }
    facility
}

/// main.cf: `inet_protocols`. Without any, postscreen(8) dies at the first client.
pub fn inet_protocols(reader: &mut Reader<'_>) -> Protocols {
    let text = reader.str("inet_protocols");
    let mut protocols = Protocols { ipv4: false, ipv6: false };
    for word in text.split(SEPARATORS).filter(|word| !word.is_empty()) {
        match word {
            "all" => protocols = Protocols { ipv4: true, ipv6: true },
            "ipv4" => protocols.ipv4 = true,
            "ipv6" => protocols.ipv6 = true,
            _ => {
                reader.fatal(format!("unknown inet_protocols value \"{word}\" in \"{text}\""));
                return protocols;
            }
        }
    }
    if !protocols.ipv4 && !protocols.ipv6 {
        reader.fatal(format!("all network protocols are disabled (inet_protocols = {text})"));
    }
    protocols
}

/// main.cf: `myhostname`, `mydomain`. The second is normally made from the first, so it is
/// not looked at when that is bad.
pub fn host_names(reader: &mut Reader<'_>, config_directory: &Path) {
    for parameter in ["myhostname", "mydomain"] {
        let Some(name) = reader.optional(parameter) else { continue };
        if let Err(error) = hostname::check(&name) {
            reader.warn(error.to_string());
            reader.fatal(format!(
                "file {}/main.cf: parameter {parameter}: bad parameter value: {name}",
                config_directory.display()
            ));
            return;
        }
    }
}

/// main.cf: `mynetworks_style`. A bad one does no harm while `mynetworks` is set, and
/// postscreen(8) says nothing about it then; that is worth a warning.
pub fn mynetworks_style(reader: &mut Reader<'_>) -> Style {
    let text = reader.str("mynetworks_style");
    let mut styles = Vec::new();
    let mut problem = None;
    for word in text.split(SEPARATORS).filter(|word| !word.is_empty()) {
        match word {
            "class" => styles.push(Style::Class),
            "subnet" => styles.push(Style::Subnet),
            "host" => styles.push(Style::Host),
            _ => {
                let unknown =
                    format!("unknown mynetworks mask style value \"{word}\" in \"{text}\"");
                problem.get_or_insert(unknown);
            }
        }
    }
    styles.dedup();
    let style = match (problem, styles.as_slice()) {
        (None, [style]) => return *style,
        (Some(problem), _) => problem,
        (None, _) if text.is_empty() => return Style::Host,
        (None, _) => format!("bad mynetworks_style value: {text}; specify exactly one value"),
    };
    if reader.values.is_set("mynetworks") {
        reader.warn(style);
    } else {
        reader.fatal(style);
    }
    Style::Host
}

/// main.cf: `relayhost`.
pub fn relayhost(reader: &mut Reader<'_>) {
    let (relayhost, myhostname) = (reader.str("relayhost"), reader.str("myhostname"));
    if !myhostname.is_empty() && relayhost.eq_ignore_ascii_case(&myhostname) {
        reader.fatal(format!(
            "myhostname and relayhost parameter settings must not be identical: {myhostname}"
        ));
    }
}

/// main.cf: `maillog_file`, which must start with one of `maillog_file_prefixes`.
pub fn maillog_file(reader: &mut Reader<'_>) -> Option<String> {
    let file = reader.optional("maillog_file")?;
    let prefixes = reader.str("maillog_file_prefixes");
    let mut prefixes = prefixes.split(SEPARATORS).filter(|prefix| !prefix.is_empty());
    if !prefixes.any(|prefix| file.starts_with(prefix)) {
        reader.fatal(format!(
            "maillog_file value '{file}' does not match any prefix in maillog_file_prefixes"
        ));
    }
    Some(file)
}

/// main.cf: the parameters that name one table each. Since 3.11 a name without a type is
/// a table that does not work; before that it was fatal.
pub fn single_tables(reader: &mut Reader<'_>) {
    let lenient = reader.values.version().is_some_and(|version| version.is_at_least(3, 11));
    for parameter in ["postscreen_command_filter", "postscreen_dnsbl_reply_map"] {
        let Some(table) = reader.optional(parameter) else { continue };
        if !table.contains(':') {
            let text =
                format!("open dictionary: expecting \"type:name\" form instead of \"{table}\"");
            if lenient { reader.error(text) } else { reader.fatal(text) }
        }
    }
}

/// main.cf: `postscreen_dnsbl_sites`.
pub fn dnsbl_sites(reader: &mut Reader<'_>) -> Vec<Site> {
    site::parse_sites(&reader.str("postscreen_dnsbl_sites")).unwrap_or_else(|error| {
        if let SiteError::Domain { why, .. } = &error {
            reader.warn(why.to_string());
        }
        reader.fatal(error.to_string());
        Vec::new()
    })
}

/// main.cf: `postscreen_tls_security_level`; when that is empty, the older
/// `postscreen_enforce_tls` and `postscreen_use_tls`.
pub fn tls_level(reader: &mut Reader<'_>) -> TlsLevel {
    let Some(text) = reader.optional("postscreen_tls_security_level") else {
        let (enforce, offer) =
            (reader.bool("postscreen_enforce_tls"), reader.bool("postscreen_use_tls"));
        return match (enforce, offer) {
            (true, _) => TlsLevel::Encrypt,
            (false, true) => TlsLevel::May,
            (false, false) => TlsLevel::None,
        };
    };
    match text.to_ascii_lowercase().as_str() {
        "none" => TlsLevel::None,
        "may" => TlsLevel::May,
        "encrypt" => TlsLevel::Encrypt,
        "fingerprint" | "secure" | "verify" => {
            reader.warn(format!(
                "postscreen_tls_security_level: unsupported TLS level \"{text}\", using \"encrypt\""
            ));
            TlsLevel::Encrypt
        }
        _ => {
            reader.fatal(format!("Invalid TLS level \"{text}\""));
            TlsLevel::None
        }
    }
}

/// The `*_action` parameters, also those of tests that are off.
pub fn actions(reader: &mut Reader<'_>) -> Actions {
    Actions {
        denylist: action(reader, "postscreen_denylist_action"),
        tests: {
            let dnsbl = action(reader, "postscreen_dnsbl_action");
            let pregreet = action(reader, "postscreen_greet_action");
            let pipelining = action(reader, "postscreen_pipelining_action");
            let non_smtp_command = action(reader, "postscreen_non_smtp_command_action");
            let bare_newline = action(reader, "postscreen_bare_newline_action");
            PerTest { pregreet, dnsbl, pipelining, non_smtp_command, bare_newline }
        },
    }
}

fn action(reader: &mut Reader<'_>, parameter: &str) -> Action {
    let text = reader.str(parameter);
    match text.to_ascii_lowercase().as_str() {
        "ignore" | "continue" => Action::Ignore,
        "enforce" => Action::Enforce,
        "drop" => Action::Drop,
        // Too short, which has been reported.
        "" => Action::Ignore,
        _ => {
            reader.fatal(format!("bad {parameter} value: {text}"));
            Action::Ignore
        }
    }
}

/// main.cf: `postscreen_upstream_proxy_protocol`: whether clients come through a proxy.
pub fn upstream_proxy(reader: &mut Reader<'_>) -> bool {
    let parameter = "postscreen_upstream_proxy_protocol";
    match reader.str(parameter).as_str() {
        "" => false,
        "haproxy" => true,
        other => {
            reader.fatal(format!("unsupported {parameter} value: {other}"));
            false
        }
    }
}

/// main.cf: `info_log_address_format`.
pub fn address_format(reader: &mut Reader<'_>) -> AddressFormat {
    let text = reader.str("info_log_address_format");
    match text.to_ascii_lowercase().as_str() {
        "external" | "" => AddressFormat::External,
        "internal" => AddressFormat::Internal,
        _ => {
            reader.fatal(format!("invalid parameter setting \"info_log_address_format = {text}\""));
            AddressFormat::External
        }
    }
}
