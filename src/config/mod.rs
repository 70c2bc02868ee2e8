//! From parameters to typed policy and settings.
//!
//! [`Sources`] are the texts, [`load`] is pure: everything about a value is decided here,
//! at start, and the rest of the program never sees main.cf.

pub mod build_defaults;
mod checks;
mod files;
pub mod gatepost_cf;
pub mod limits;
mod policy;
pub mod postconf;
mod reader;
pub mod settings;

use std::path::{Path, PathBuf};

use crate::postfix::main_cf::Dictionary;
use crate::postfix::message::{Level, Message};
use crate::postfix::params::{Fetched, Surroundings, Values};
use crate::screen::policy::Policy;
use build_defaults::BuildDefaults;
use gatepost_cf::{OwnSettings, OwnTrouble};
use reader::Reader;
use settings::Settings;

/// The configuration as text: what the files and the command line say.
#[derive(Clone, Debug)]
pub struct Sources {
    config_directory: PathBuf,
    main_cf: Dictionary,
    gatepost_cf: Option<Dictionary>,
    own_trouble: OwnTrouble,
    messages: Vec<Message>,
}

/// What the configuration depends on besides its texts.
#[derive(Clone, Debug)]
pub struct Request {
    /// `$service_name`: the argument of `-n`, else the process name.
    pub service_name: String,
    /// `$process_name`.
    pub process_name: String,
    /// `$process_id`.
    pub process_id: u32,
    /// The host's name, with or without a domain.
    pub host_name: String,
    /// The defaults that depend on how Postfix was built.
    pub build_defaults: BuildDefaults,
}

/// A configuration that works.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// What the processes need.
    pub settings: Settings,
    /// What the screening core needs.
    pub policy: Policy,
    /// What to log about it, in order; nothing is [`Level::Fatal`].
    pub messages: Vec<Message>,
}

/// A configuration that does not work: log the messages and exit with status 1.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.reason())]
pub struct Fatal {
    /// What to log, in order. The first fatal message is what postscreen(8) would have
    /// died of; the fatal messages after it are further problems.
    pub messages: Vec<Message>,
}

impl Fatal {
    /// The text of the first fatal message.
    pub fn reason(&self) -> &str {
        let fatal = self.messages.iter().find(|message| message.level == Level::Fatal);
        fatal.map(|message| message.text.as_str()).unwrap_or_default()
    }
}

impl Sources {
    /// Reads main.cf and, if there is one, gatepost.cf. `overrides` are the arguments of
    /// `-o`, left to right; pass `-i SECONDS` as `max_idle=SECONDS`.
    ///
    /// # Errors
    /// When main.cf cannot be read, or it or an override is no `name = value`.
    pub fn read(config_directory: &Path, overrides: &[String]) -> Result<Sources, Fatal> {
        let main_cf_path = config_directory.join("main.cf");
        let main_cf = files::read_stable(&main_cf_path).map_err(|error| Fatal {
            messages: vec![Message::fatal(files::open_error(&main_cf_path, &error))],
        })?;
        let own_path = config_directory.join("gatepost.cf");
        let (gatepost_cf, trouble) = match files::read_stable(&own_path) {
            Ok(text) => (Some(text), None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, None),
            Err(error) => (None, Some(Message::warning(files::open_error(&own_path, &error)))),
        };
        let mut sources =
            Self::from_texts(config_directory, &main_cf, gatepost_cf.as_deref(), overrides)?;
        if trouble.is_some() {
            sources.own_trouble = OwnTrouble::ProxiesMeant;
        }
        sources.messages.extend(trouble);
        Ok(sources)
    }

    /// Like [`Sources::read`], from the texts of the files.
    ///
    /// # Errors
    /// When main.cf or an override is no `name = value`.
    pub fn from_texts(
        config_directory: &Path,
        main_cf: &[u8],
        gatepost_cf: Option<&[u8]>,
        overrides: &[String],
    ) -> Result<Sources, Fatal> {
        let name = |file: &str| config_directory.join(file).display().to_string();
        let mut messages = Vec::new();
        let mut read = || -> Result<Dictionary, String> {
            let mut dictionary = Dictionary::parse(&name("main.cf"), main_cf, &mut messages)
                .map_err(|error| error.to_string())?;
            for text in overrides {
                dictionary.override_with(text).map_err(|error| error.to_string())?;
            }
            Ok(dictionary)
        };
        let main_cf = match read() {
            Ok(dictionary) => dictionary,
            Err(reason) => {
                messages.push(Message::fatal(reason));
                return Err(Fatal { messages });
            }
        };
        let own_trouble = gatepost_cf.map(gatepost_cf::trouble).unwrap_or_default();
        let gatepost_cf = gatepost_cf
            .map(|text| Dictionary::parse_leniently(&name("gatepost.cf"), text, &mut messages));
        let config_directory = config_directory.to_owned();
        Ok(Sources { config_directory, main_cf, gatepost_cf, own_trouble, messages })
    }

    /// The settings of main.cf and of the command line.
    pub fn main_cf(&self) -> &Dictionary {
        &self.main_cf
    }

    /// Where main.cf was read from.
    pub fn config_directory(&self) -> &Path {
        &self.config_directory
    }
}

/// Checks the whole configuration, in postscreen(8)'s order.
///
/// `mail_owner` and `setgid_group` are not looked up: that needs the system.
///
/// # Errors
/// When any value is bad.
pub fn load(sources: &Sources, request: &Request) -> Result<Loaded, Fatal> {
    let values = Values::new(
        sources.main_cf.clone(),
        Surroundings {
            config_directory: sources.config_directory.display().to_string(),
            process_name: request.process_name.clone(),
            process_id: request.process_id,
            service_name: request.service_name.clone(),
            host_name: request.host_name.clone(),
            build_defaults: request.build_defaults.to_map(),
        },
    );
    let mut reader = Reader::new(&values, sources.messages.clone());

    let compatibility_level = checks::compatibility_level(&mut reader)?;
    reader.check_all(Fetched::Early);
    let syslog_facility = checks::syslog_facility(&mut reader, &sources.config_directory);
    reader.check_all(Fetched::Switches);
    let inet_protocols = checks::inet_protocols(&mut reader);
    reader.check_all(Fetched::Host);
    checks::host_names(&mut reader, &sources.config_directory);
    reader.check_all(Fetched::Common);
    let mynetworks_style = checks::mynetworks_style(&mut reader);
    checks::relayhost(&mut reader);
    let maillog_file = checks::maillog_file(&mut reader);
    reader.check_all(Fetched::Screen);
    if values.version().is_some_and(|version| version.is_at_least(3, 12)) {
        reader.check_all(Fetched::ScreenFrom312);
    }
    checks::single_tables(&mut reader);
    let dnsbl_sites = checks::dnsbl_sites(&mut reader);
    let tls_level = checks::tls_level(&mut reader);
    let actions = checks::actions(&mut reader);
    let upstream_proxy = checks::upstream_proxy(&mut reader);
    let address_format = checks::address_format(&mut reader);

    let own = OwnSettings::read(
        &sources.config_directory.join("gatepost.cf").display().to_string(),
        sources.gatepost_cf.as_ref(),
        sources.own_trouble,
        &mut reader,
    );
    let checked = settings::Checked {
        config_directory: sources.config_directory.clone(),
        compatibility_level,
        syslog_facility,
        inet_protocols,
        mynetworks_style,
        maillog_file,
        dnsbl_sites,
        tls_level,
        address_format,
        upstream_proxy,
        own,
    };
    let settings = Settings::read(&mut reader, checked);
    let policy = policy::policy(&mut reader, actions, &settings);
    let messages = reader.finish()?;
    Ok(Loaded { settings, policy, messages })
}

#[cfg(test)]
mod tests;
