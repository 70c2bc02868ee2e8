//! gatepost.cf: the settings that Postfix has no parameter for. Mail must not stop because
//! of them, so everything wrong here is a warning, and the default applies.

use std::path::{Path, PathBuf};

use super::reader::Reader;
use crate::postfix::main_cf::{Dictionary, Origin};
use crate::postfix::proxy_lists::{INTERFACES, ListText, NETWORKS, ProxyListSettings};
use crate::screen::dnsbl::guard;
use crate::screen::policy::DetailLog;

/// The names that exist.
const NAMES: [&str; 12] = [
    "workers",
    "client_connection_prefix_ipv6",
    "cache_file",
    "cache_max_entries",
    "dnsbl_detail_log",
    "dnsbl_guard",
    "dnsbl_nameservers",
    NETWORKS,
    INTERFACES,
    "upstream_proxy_log_checks",
    "sandbox",
    "fallback",
];

/// How different an unknown name may be from an existing one to be called a slip.
const MAX_DISTANCE: usize = 3;

/// The settings of gatepost.cf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnSettings {
    /// gatepost.cf: `workers`, how many processes screen clients, 1..=64.
    pub workers: usize,
    /// gatepost.cf: `client_connection_prefix_ipv6`, how many bits of an IPv6 address make a
    /// client for `postscreen_client_connection_count_limit`, 1..=128.
    pub client_connection_prefix_ipv6: usize,
    /// gatepost.cf: `cache_file`, the absolute path of the verdict cache; `None`: beside
    /// the place that `postscreen_cache_map` names.
    pub cache_file: Option<PathBuf>,
    /// gatepost.cf: `cache_max_entries`, at least 1000.
    pub cache_max_entries: usize,
    /// gatepost.cf: `dnsbl_nameservers`, who is asked about DNS blocklists; empty: whom
    /// resolv.conf names.
    pub dnsbl_nameservers: String,
    /// gatepost.cf: `dnsbl_detail_log`, `listed`, `all` or `none`.
    pub dnsbl_detail_log: DetailLog,
    /// gatepost.cf: `dnsbl_guard`, `enforce`, `warn` or `off`.
    pub dnsbl_guard: guard::Mode,
    /// gatepost.cf: `upstream_proxy_networks` and `upstream_proxy_interfaces`.
    pub proxy_lists: ProxyListSettings,
    /// gatepost.cf: `upstream_proxy_log_checks`, `yes` or `no`.
    pub upstream_proxy_log_checks: bool,
    /// gatepost.cf: `sandbox`, `yes` or `no`: whether workers lock themselves in.
    pub sandbox: bool,
    /// gatepost.cf: `fallback`, `postscreen` or `none`.
    pub fallback: Substitute,
}

/// Who serves when Gatepost cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Substitute {
    /// postscreen(8).
    #[default]
    Postscreen,
    /// Nobody.
    None,
}

/// What is wrong with gatepost.cf as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OwnTrouble {
    /// Nothing that matters here.
    #[default]
    None,
    /// It cannot be read, or somebody seems to have meant `upstream_proxy_networks`: unless it
    /// is there all the same, the trusted proxies are not known.
    ProxiesMeant,
}

/// Looks for lines that begin almost with `upstream_proxy_networks`. If the name is misspelt or
/// the `=` is missing, it would otherwise be as if there were no list, and everybody trusted.
pub(super) fn trouble(text: &[u8]) -> OwnTrouble {
    let is_meant = |line: &[u8]| {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'=';
        let word = line.trim_ascii_start().split(ends).next().unwrap_or_default();
        nearest(&String::from_utf8_lossy(word)) == Some(NETWORKS)
    };
    if text.split(|byte| *byte == b'\n').any(is_meant) {
        OwnTrouble::ProxiesMeant
    } else {
        OwnTrouble::None
    }
}

impl Default for OwnSettings {
    fn default() -> OwnSettings {
        OwnSettings {
            workers: 1,
            client_connection_prefix_ipv6: 128,
            cache_file: None,
            cache_max_entries: 2_000_000,
            dnsbl_nameservers: String::new(),
            dnsbl_detail_log: DetailLog::Listed,
            dnsbl_guard: guard::Mode::Enforce,
            proxy_lists: ProxyListSettings::default(),
            upstream_proxy_log_checks: true,
            sandbox: true,
            fallback: Substitute::Postscreen,
        }
    }
}

impl OwnSettings {
    /// Reads the settings; `file` is how messages call gatepost.cf. Values may refer to
    /// other settings of the file and to parameters of main.cf.
    pub(super) fn read(
        file: &str,
        dictionary: Option<&Dictionary>,
        trouble: OwnTrouble,
        reader: &mut Reader<'_>,
    ) -> OwnSettings {
        let mut own = OwnSettings::default();
        let named = dictionary.is_some_and(|all| all.value(NETWORKS).is_some());
        if trouble == OwnTrouble::ProxiesMeant && !named {
            own.proxy_lists.networks = ListText::Unusable;
        }
        let Some(dictionary) = dictionary else { return own };
        for (name, entry) in dictionary.iter() {
            let place = match entry.origin {
                Origin::File { line } => format!("{file}, line {line}"),
                Origin::CommandLine => file.to_owned(),
            };
            let problem = match reader.values.expand_for(dictionary, &entry.value) {
                // What has become of it is not what was meant.
                Ok(value) if value.is_empty() && !entry.value.trim().is_empty() => {
                    own.cannot_tell(name);
                    own.set(name, &value).err()
                }
                Ok(value) => own.set(name, &value).err(),
                Err(error) => {
                    own.cannot_tell(name);
                    Some(error.to_string())
                }
            };
            if let Some(problem) = problem {
                reader.warn(format!("{place}: {problem}"));
            }
        }
        own
    }

    /// The list that a name stands for; `None` for other settings.
    fn list(&mut self, name: &str) -> Option<&mut ListText> {
        match name {
            NETWORKS => Some(&mut self.proxy_lists.networks),
            INTERFACES => Some(&mut self.proxy_lists.interfaces),
            _ => None,
        }
    }

    /// A list that cannot be told must not be as good as none.
    fn cannot_tell(&mut self, name: &str) {
        if let Some(list) = self.list(name) {
            *list = ListText::Unusable;
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(list) = self.list(name) {
            if !value.is_empty() {
                *list = ListText::Text(value.to_owned());
            }
            return Ok(());
        }
        match name {
            "upstream_proxy_log_checks" => {
                set_switch(&mut self.upstream_proxy_log_checks, name, value)
            }
            "sandbox" => set_switch(&mut self.sandbox, name, value),
            "fallback" => {
                self.fallback = match value {
                    "postscreen" => Substitute::Postscreen,
                    "none" => Substitute::None,
                    _ => return Err(not_one_of(name, value, "postscreen, none")),
                };
                Ok(())
            }
            "workers" => set_number(&mut self.workers, name, value, 1, 64),
            "client_connection_prefix_ipv6" => {
                set_number(&mut self.client_connection_prefix_ipv6, name, value, 1, 128)
            }
            "cache_max_entries" => {
                set_number(&mut self.cache_max_entries, name, value, 1000, usize::MAX)
            }
            "cache_file" if value.is_empty() => Ok(()),
            "cache_file" if Path::new(value).is_absolute() => {
                self.cache_file = Some(PathBuf::from(value));
                Ok(())
            }
            "cache_file" => Err(format!("{name} = {value}: need an absolute path; ignored")),
            "dnsbl_guard" => match guard::Mode::parse(value) {
                Some(mode) => {
                    self.dnsbl_guard = mode;
                    Ok(())
                }
                None => Err(not_one_of(name, value, "enforce, warn, off")),
            },
            "dnsbl_nameservers" => {
                value.clone_into(&mut self.dnsbl_nameservers);
                Ok(())
            }
            "dnsbl_detail_log" => {
                self.dnsbl_detail_log = match value {
                    "listed" => DetailLog::Listed,
                    "all" => DetailLog::All,
                    "none" => DetailLog::None,
                    _ => return Err(not_one_of(name, value, "listed, all, none")),
                };
                Ok(())
            }
            _ => Err(match nearest(name) {
                Some(known) => format!("unknown parameter \"{name}\"; did you mean \"{known}\"?"),
                None => format!("unknown parameter \"{name}\""),
            }),
        }
    }
}

fn not_one_of(name: &str, value: &str, words: &str) -> String {
    format!("{name} = {value}: need one of {words}; ignored")
}

/// Sets `target` if the text is `yes` or `no`.
fn set_switch(target: &mut bool, name: &str, value: &str) -> Result<(), String> {
    *target = match value {
        "yes" => true,
        "no" => false,
        _ => return Err(not_one_of(name, value, "yes, no")),
    };
    Ok(())
}

/// Sets `target` if the text is a number in bounds.
fn set_number(
    target: &mut usize,
    name: &str,
    value: &str,
    min: usize,
    max: usize,
) -> Result<(), String> {
    match value.parse() {
        Ok(number) if (min..=max).contains(&number) => {
            *target = number;
            Ok(())
        }
        _ => {
            let range =
                if max == usize::MAX { format!("{min} up") } else { format!("{min} to {max}") };
            Err(format!("{name} = {value}: need a number from {range}; using {target}"))
        }
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let (distance, known) = NAMES.iter().map(|known| (distance(name, known), *known)).min()?;
    (distance <= MAX_DISTANCE && distance < known.len()).then_some(known)
}

/// How many bytes have to be inserted, deleted or changed to make one text the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (byte, deleted) in one.bytes().zip(1..) {
        let mut next = vec![deleted];
        let mut left = deleted;
        for (candidate, pair) in other.bytes().zip(row.windows(2)) {
            let [diagonal, above] = *pair else { continue };
            left = (left + 1).min(above + 1).min(diagonal + usize::from(candidate != byte));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(one.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_proxies_that_was_meant() {
        for (text, expected) in [
            ("", OwnTrouble::None),
            ("# upstream_proxy_networks\nworkers = 2\n", OwnTrouble::None),
            ("upstream_proxy_interfaces = 127.0.0.1\n", OwnTrouble::None),
            ("upstream_proxy_networks = 127.0.0.1\n", OwnTrouble::ProxiesMeant),
            ("workers = 2\nupstream_proxy_network=127.0.0.1\n", OwnTrouble::ProxiesMeant),
            ("upstream_proxy_networks 127.0.0.1\n", OwnTrouble::ProxiesMeant),
        ] {
            assert_eq!(trouble(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("workers", "workers"), 0);
        assert_eq!(distance("worker", "workers"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("cahce", "cache"), 2);
        assert_eq!(nearest("wrokers"), Some("workers"));
        assert_eq!(nearest("cachefile"), Some("cache_file"));
        assert_eq!(nearest("smtpd_banner"), None);
    }
}
