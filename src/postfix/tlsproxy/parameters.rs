//! The second list of a request in the long form, as a table.
//!
//! Postfix 3.12 is not out yet: this is what its development snapshots expect.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::request::end;
use crate::postfix::attr::{AttrWriter, NulInValue};
use crate::postfix::params::{PostfixVersion, seconds};
use crate::screen::policy::TlsLevel;

/// What a request in the long form depends on.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// main.cf: `postscreen_tls_security_level`.
    pub level: TlsLevel,
    /// master.cf: the name of our service.
    pub service_name: &'a str,
    /// The version of Postfix; unknown ones get what the latest expects.
    pub version: Option<PostfixVersion>,
    /// The values of [`parameter_names`], as postconf(1) -x says; what is missing counts as
    /// Postfix's default.
    pub values: &'a BTreeMap<String, String>,
    /// Whether main.cf sets [`UNSET_ENDS_IN_BLANK`], in this order.
    pub set_in_main_cf: [bool; UNSET_ENDS_IN_BLANK.len()],
}

/// The settings that go with a request, but for what is the client's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LongForm {
    service_name: String,
    attributes: Vec<(&'static str, Field)>,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Field {
    /// This.
    Ready(String),
    /// `[address]:port` of the client.
    Client,
    /// The client's address.
    ClientAddress,
}

/// Where a value comes from; a parameter comes with Postfix's default.
#[derive(Clone, Copy, Debug)]
enum Source {
    Is(&'static str),
    Text(&'static str, &'static str),
    /// A file name, or `none`, which is sent as nothing.
    File(&'static str),
    Number(&'static str, &'static str),
    Seconds(&'static str, &'static str),
    Switch(&'static str, bool),
    /// The first parameter at level `may`, the second one at level `encrypt`.
    ByLevel(&'static str, &'static str, &'static str),
    /// Both parameters at level `encrypt`; and what does not go with client certificates.
    Exclusions,
    /// Whether clients are asked for a certificate.
    AskCertificate,
    /// Whether they must have one.
    RequireCertificate,
    ServiceName,
    Client,
    ClientAddress,
}

use Source::{
    AskCertificate, ByLevel, Client, ClientAddress, Exclusions, File, Is, Number,
    RequireCertificate, Seconds, ServiceName, Switch, Text,
};

/// Parameters whose compiled-in default ends in a blank, which postconf(1) does not show.
/// tlsproxy compares byte by byte, and warns of every difference.
pub const UNSET_ENDS_IN_BLANK: [&str; 2] = ["tls_eecdh_auto_curves", "tls_ffdhe_auto_groups"];

/// Settings of the process, which tlsproxy compares with its own.
const PROCESS: [(&str, Source); 20] = [
    ("config_file", Text("tls_config_file", "default")),
    ("config_name", Text("tls_config_name", "")),
    ("tls_high_cipherlist", Text("tls_high_cipherlist", "aNULL:-aNULL:HIGH:@STRENGTH")),
    (
        "tls_medium_cipherlist",
        Text("tls_medium_cipherlist", "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH"),
    ),
    ("tls_null_cipherlist", Text("tls_null_cipherlist", "eNULL:!aNULL")),
    (
        "tls_eecdh_auto_curves",
        Text("tls_eecdh_auto_curves", "X25519 X448 prime256v1 secp384r1 secp521r1"),
    ),
    ("tls_eecdh_strong_curve", Text("tls_eecdh_strong_curve", "prime256v1")),
    ("tls_eecdh_ultra_curve", Text("tls_eecdh_ultra_curve", "secp384r1")),
    ("tls_ffdhe_auto_groups", Text("tls_ffdhe_auto_groups", "ffdhe2048 ffdhe3072")),
    ("tls_disable_workarounds", Text("tls_disable_workarounds", "")),
    ("tls_ssl_options", Text("tls_ssl_options", "")),
    ("tlsmgr_service_name", Text("tlsmgr_service_name", "tlsmgr")),
    ("tls_session_ticket_cipher", Text("tls_session_ticket_cipher", "aes-256-cbc")),
    ("tls_daemon_random_bytes", Number("tls_daemon_random_bytes", "32")),
    ("tls_append_default_CA", Switch("tls_append_default_CA", false)),
    ("tls_preempt_cipherlist", Switch("tls_preempt_cipherlist", false)),
    ("tls_wildcard_matches_multiple_labels", Switch("tls_wildcard_matches_multiple_labels", true)),
    ("tls_server_sni_maps", Text("tls_server_sni_maps", "")),
    ("tls_fast_shutdown_enable", Switch("tls_fast_shutdown_enable", true)),
    ("tls_trust_server_ccerts", Switch("tls_trust_server_ccerts", false)),
];

/// Settings of the server, for which tlsproxy keeps one TLS context each.
const SERVER: [(&str, Source); 20] = [
    ("log_param", Is("postscreen_tls_loglevel")),
    ("log_level", Text("postscreen_tls_loglevel", "0")),
    ("verifydepth", Number("postscreen_tls_ccert_verifydepth", "9")),
    ("cache_type", Is("smtpd")),
    ("set_sessid", Switch("postscreen_tls_always_issue_session_ids", true)),
    ("chain_files", Text("postscreen_tls_chain_files", "")),
    ("cert_file", File("postscreen_tls_cert_file")),
    ("key_file", Text("postscreen_tls_key_file", "")),
    ("dcert_file", Text("postscreen_tls_dcert_file", "")),
    ("dkey_file", Text("postscreen_tls_dkey_file", "")),
    ("eccert_file", Text("postscreen_tls_eccert_file", "")),
    ("eckey_file", Text("postscreen_tls_eckey_file", "")),
    ("CAfile", Text("postscreen_tls_CAfile", "")),
    ("CApath", Text("postscreen_tls_CApath", "")),
    (
        "protocols",
        ByLevel("postscreen_tls_protocols", "postscreen_tls_mandatory_protocols", ">=TLSv1"),
    ),
    ("eecdh_grade", Text("postscreen_tls_eecdh_grade", "auto")),
    ("dh1024_param_file", Text("postscreen_tls_dh1024_param_file", "")),
    ("dh512_param_file", Text("postscreen_tls_dh512_param_file", "")),
    ("ask_ccert", AskCertificate),
    ("mdalg", Text("postscreen_tls_fingerprint_digest", "sha256")),
];

/// Settings of the session, and the snapshot that brought each of them.
const SESSION: [(&str, Source, u32); 12] = [
    ("log_param", Is("postscreen_tls_loglevel"), 20_260_429),
    ("log_level", Text("postscreen_tls_loglevel", "0"), 20_260_429),
    ("timeout", Seconds("postscreen_starttls_timeout", "300"), 20_260_423),
    ("enable_rpk", Switch("postscreen_tls_enable_rpk", false), 20_260_423),
    ("requirecert", RequireCertificate, 20_260_423),
    ("serverid", ServiceName, 20_260_423),
    ("namaddr", Client, 20_260_423),
    (
        "cipher_grade",
        ByLevel("postscreen_tls_ciphers", "postscreen_tls_mandatory_ciphers", "medium"),
        20_260_423,
    ),
    ("cipher_exclusions", Exclusions, 20_260_423),
    ("mdalg", Text("postscreen_tls_fingerprint_digest", "sha256"), 20_260_423),
    ("trace_size_limit", Number("postscreen_tls_trace_size_limit", "102400"), 20_260_514),
    ("trace_peer", ClientAddress, 20_260_514),
];

const ASK: &str = "postscreen_tls_ask_ccert";
const REQUIRE: &str = "postscreen_tls_req_ccert";
const EXCLUDE: &str = "postscreen_tls_exclude_ciphers";
const EXCLUDE_MORE: &str = "postscreen_tls_mandatory_exclude_ciphers";

/// Ciphers without a certificate, which leave no room for one of the client.
const ANONYMOUS: &str = "aNULL";

/// The parameters that a request in the long form is made of, for one call of postconf(1).
pub fn parameter_names() -> impl Iterator<Item = &'static str> {
    let session = SESSION.iter().map(|(_, source, _)| source);
    let sources = PROCESS.iter().chain(&SERVER).map(|(_, source)| source).chain(session);
    sources.flat_map(|source| match *source {
        Text(name, _) | File(name) | Number(name, _) | Seconds(name, _) | Switch(name, _) => {
            vec![name]
        }
        ByLevel(may, encrypt, _) => vec![may, encrypt],
        Exclusions => vec![EXCLUDE, EXCLUDE_MORE],
        AskCertificate => vec![ASK],
        RequireCertificate => vec![REQUIRE],
        Is(_) | ServiceName | Client | ClientAddress => vec![],
    })
}

impl LongForm {
    /// Puts the settings together.
    pub fn new(settings: &Settings<'_>) -> LongForm {
        let known = |since: u32| {
            let snapshot = PostfixVersion::snapshot(3, 12, since);
            settings.version.is_none_or(|version| version >= snapshot || version < FIRST)
        };
        let session = SESSION.iter().filter(|(_, _, since)| known(*since));
        let session = session.map(|(name, source, _)| (*name, *source));
        let all = PROCESS.into_iter().chain(SERVER).chain(session);
        LongForm {
            service_name: settings.service_name.to_owned(),
            attributes: all.map(|(name, source)| (name, settings.field(source))).collect(),
        }
    }

    /// master.cf: the name of our service.
    pub(super) fn service_name(&self) -> &str {
        &self.service_name
    }

    /// Writes the list for a client.
    pub(super) fn write(
        &self,
        list: &mut AttrWriter,
        client: SocketAddr,
    ) -> Result<(), NulInValue> {
        for (name, field) in &self.attributes {
            match field {
                Field::Ready(value) => list.string(name, value)?,
                Field::Client => list.string(name, end(client))?,
                Field::ClientAddress => list.address(name, client.ip()),
            };
        }
        list.end();
        Ok(())
    }
}

/// The first snapshot with a long form. To what is older it means nothing, so it gets what the
/// latest expects.
const FIRST: PostfixVersion = PostfixVersion::snapshot(3, 12, 20_260_423);

impl Settings<'_> {
    fn field(&self, source: Source) -> Field {
        Field::Ready(match source {
            Is(text) => text.to_owned(),
            Text(name, default) => {
                let mut text = self.text(name, default).to_owned();
                let unset = UNSET_ENDS_IN_BLANK.iter().zip(self.set_in_main_cf);
                if unset.into_iter().any(|(special, set)| *special == name && !set) {
                    text.push(' ');
                }
                text
            }
            File(name) => {
                let text = self.text(name, "");
                if text.eq_ignore_ascii_case("none") { String::new() } else { text.to_owned() }
            }
            Number(name, default) => {
                let is_number = |text: &&str| text.parse::<u32>().is_ok();
                Some(self.text(name, default)).filter(is_number).unwrap_or(default).to_owned()
            }
            Seconds(name, default) => match seconds(self.text(name, default), Some(b's')) {
                Some(seconds @ 1..) => seconds.to_string(),
                _ => default.to_owned(),
            },
            Switch(name, default) => number(self.switch(name, default)),
            ByLevel(may, encrypt, default) => {
                self.text(if self.is_mandatory() { encrypt } else { may }, default).to_owned()
            }
            Exclusions => self.exclusions(),
            AskCertificate => number(self.asks_certificate()),
            RequireCertificate => number(self.requires_certificate()),
            ServiceName => self.service_name.to_owned(),
            Client => return Field::Client,
            ClientAddress => return Field::ClientAddress,
        })
    }

    fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.values.get(name).map_or(default, String::as_str)
    }

    fn switch(&self, name: &str, default: bool) -> bool {
        match self.text(name, "") {
            text if text.eq_ignore_ascii_case("yes") => true,
            text if text.eq_ignore_ascii_case("no") => false,
            _ => default,
        }
    }

    fn is_mandatory(&self) -> bool {
        self.level == TlsLevel::Encrypt
    }

    /// A certificate can only be required where TLS is.
    fn requires_certificate(&self) -> bool {
        self.is_mandatory() && self.switch(REQUIRE, false)
    }

    fn asks_certificate(&self) -> bool {
        self.requires_certificate() || self.switch(ASK, false)
    }

    fn exclusions(&self) -> String {
        let more = if self.is_mandatory() { self.text(EXCLUDE_MORE, "") } else { "" };
        let anonymous = if self.asks_certificate() { ANONYMOUS } else { "" };
        let parts = [self.text(EXCLUDE, ""), more, anonymous];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" ")
    }
}

fn number(switch: bool) -> String {
    u8::from(switch).to_string()
}
