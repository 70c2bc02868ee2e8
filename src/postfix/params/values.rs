//! The value of a parameter: main.cf, then the build's defaults, then the table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{BadValue, DefaultValue, Fetched, Kind, Param, PostfixVersion, TABLE, convert, find};
use crate::postfix::main_cf::{Dictionary, Origin};
use crate::screen::expand::{ExpandError, Mode, expand, sole_reference};
use crate::screen::policy::Stressed;

/// What parameters depend on besides main.cf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surroundings {
    /// Where main.cf was found; `$config_directory` unless main.cf sets that.
    pub config_directory: String,
    /// `$process_name`.
    pub process_name: String,
    /// `$process_id`.
    pub process_id: u32,
    /// `$service_name`.
    pub service_name: String,
    /// The host's name, which need not have a domain.
    pub host_name: String,
    /// The defaults that depend on the build, by parameter name, unexpanded.
    pub build_defaults: BTreeMap<String, String>,
}

/// The values of all parameters.
#[derive(Clone, Debug)]
pub struct Values {
    dictionary: Dictionary,
    /// What main.cf cannot change.
    fixed: BTreeMap<&'static str, String>,
    /// What applies when main.cf says nothing, before the table of defaults.
    fallback: BTreeMap<String, String>,
}

/// The parameters that have a value of their own under stress.
const STRESSED: [&str; 2] = ["postscreen_command_time_limit", "postscreen_greet_wait"];

/// postscreen(8) manages `stress` by itself; main.cf and `-o` do not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stress {
    Off,
    On,
}

impl Values {
    /// Brings the settings and the surroundings together.
    pub fn new(dictionary: Dictionary, surroundings: Surroundings) -> Values {
        let fixed = BTreeMap::from([
            ("process_name", surroundings.process_name),
            ("process_id", surroundings.process_id.to_string()),
            ("service_name", surroundings.service_name),
        ]);
        let mut fallback = surroundings.build_defaults;
        fallback.insert("config_directory".to_owned(), surroundings.config_directory);
        let mut values = Values { dictionary, fixed, fallback };
        values.take_names();
        values.name_host(&surroundings.host_name);
        values
    }

    /// Before Postfix 3.12, `-o` may change what the process and its service are called.
    fn take_names(&mut self) {
        if self.version().is_none_or(|version| version.is_at_least(3, 12)) {
            return;
        }
        for name in ["process_name", "service_name"] {
            let entry = self.dictionary.iter().find(|(known, _)| *known == name);
            if let Some((_, entry)) = entry
                && entry.origin == Origin::CommandLine
            {
                self.fixed.insert(name, entry.value.clone());
            }
        }
    }

    /// Sets the defaults of `myhostname` and `mydomain`. Each may be made from the other,
    /// so neither has a default while the first is computed.
    fn name_host(&mut self, host: &str) {
        const NO_DOMAIN: &str = "localdomain";
        let full_name = if host.contains('.') {
            host.to_owned()
        } else {
            let domain =
                self.dictionary.value("mydomain").map(|text| self.expand(text, Stress::Off));
            let domain = domain.and_then(Result::ok).filter(|domain| !domain.is_empty());
            format!("{host}.{}", domain.as_deref().unwrap_or(NO_DOMAIN))
        };
        self.fallback.insert("myhostname".to_owned(), full_name);
        let name = self.expand("$myhostname", Stress::Off).unwrap_or_default();
        let domain = name.split_once('.').map_or(NO_DOMAIN, |(_, domain)| domain);
        self.fallback.insert("mydomain".to_owned(), domain.to_owned());
    }

    /// Whether main.cf or the command line sets a parameter.
    pub fn is_set(&self, name: &str) -> bool {
        self.dictionary.value(name).is_some()
    }

    /// The unexpanded text of a parameter, or of any name in main.cf.
    fn unexpanded(&self, name: &str, stress: Stress) -> Option<&str> {
        if name == "stress" {
            return Some(if stress == Stress::On { "yes" } else { "" });
        }
        let set = self.fixed.get(name).map(String::as_str).or_else(|| self.dictionary.value(name));
        set.or_else(|| self.default_of(name))
    }

    fn default_of(&self, name: &str) -> Option<&str> {
        let known = self.fallback.get(name).map(String::as_str);
        known.or_else(|| match find(name)?.default {
            DefaultValue::Text(text) | DefaultValue::Build(text) => Some(text),
            DefaultValue::Computed | DefaultValue::Undefined => None,
        })
    }

    /// Expands a text from another file; names are settings of that file, then parameters,
    /// then anything else that main.cf sets.
    ///
    /// # Errors
    /// As [`expand`].
    pub fn expand_for(&self, other: &Dictionary, text: &str) -> Result<String, ExpandError> {
        let parameter = |name: &str| self.unexpanded(name, Stress::Off);
        let lookup = |name: &str| other.value(name).or_else(|| parameter(name)).map(Cow::Borrowed);
        expand(text, Mode::Recursive, lookup)
    }

    fn expand(&self, text: &str, stress: Stress) -> Result<String, ExpandError> {
        let lookup = |name: &str| self.unexpanded(name, stress).map(Cow::Borrowed);
        expand(text, Mode::Recursive, lookup)
    }

    fn expanded(&self, name: &str, stress: Stress) -> Result<String, BadValue> {
        let text = self.unexpanded(name, stress).unwrap_or_default();
        self.expand(text, stress).map_err(BadValue::Macro)
    }

    /// A text. `mynetworks` is empty when it is not set; see [`Values::is_set`].
    ///
    /// # Errors
    /// When it cannot be expanded or is too short.
    pub fn str(&self, name: &str) -> Result<String, BadValue> {
        let kind = kind_of(name)?;
        if !matches!(kind, Kind::Str { .. }) {
            return Err(mistaken(name));
        }
        convert::text(name, kind, self.expanded(name, Stress::Off)?)
    }

    /// A text that is not expanded when it is read. When it is nothing but a reference to
    /// another parameter, the text of that one, again not expanded.
    ///
    /// # Errors
    /// When it is too short.
    pub fn raw(&self, name: &str) -> Result<String, BadValue> {
        let kind = kind_of(name)?;
        if !matches!(kind, Kind::Raw { .. }) {
            return Err(mistaken(name));
        }
        let text = self.unexpanded(name, Stress::Off).unwrap_or_default();
        let text = convert::text(name, kind, text.to_owned())?;
        let other = sole_reference(&text).and_then(|name| self.unexpanded(name, Stress::Off));
        Ok(other.map(str::to_owned).unwrap_or(text))
    }

    /// A number.
    ///
    /// # Errors
    /// When it cannot be expanded, is no number of 32 bits, or is out of bounds.
    pub fn int(&self, name: &str) -> Result<i32, BadValue> {
        match kind_of(name)? {
            Kind::Int(bounds) | Kind::Nint(bounds) => {
                convert::int(name, bounds, &self.expanded(name, Stress::Off)?)
            }
            _ => Err(mistaken(name)),
        }
    }

    /// A large number.
    ///
    /// # Errors
    /// When it cannot be expanded, is no number of 64 bits, or is out of bounds.
    pub fn long(&self, name: &str) -> Result<i64, BadValue> {
        match kind_of(name)? {
            Kind::Long(bounds) => convert::long(name, bounds, &self.expanded(name, Stress::Off)?),
            _ => Err(mistaken(name)),
        }
    }

    /// `yes` or `no`.
    ///
    /// # Errors
    /// When it cannot be expanded or is something else.
    pub fn bool(&self, name: &str) -> Result<bool, BadValue> {
        match kind_of(name)? {
            Kind::Bool | Kind::Nbool => convert::boolean(name, &self.expanded(name, Stress::Off)?),
            _ => Err(mistaken(name)),
        }
    }

    /// A span of time, whole seconds, below 2^31.
    ///
    /// # Errors
    /// When it cannot be expanded, is no span of time, or is out of bounds.
    pub fn time(&self, name: &str) -> Result<Duration, BadValue> {
        self.time_under(name, Stress::Off)
    }

    /// A span of time that depends on `$stress`.
    ///
    /// # Errors
    /// As [`Values::time`]; the value under stress is looked at first.
    pub fn stressed_time(&self, name: &str) -> Result<Stressed<Duration>, BadValue> {
        let stress = self.time_under(name, Stress::On)?;
        Ok(Stressed { normal: self.time_under(name, Stress::Off)?, stress })
    }

    fn time_under(&self, name: &str, stress: Stress) -> Result<Duration, BadValue> {
        let Kind::Time(bounds) = kind_of(name)? else { return Err(mistaken(name)) };
        let default = self.default_of(name).unwrap_or_default();
        let default = self.expand(default, stress).map_err(BadValue::Macro)?;
        let value = self.expanded(name, stress)?;
        convert::time(name, bounds, &value, convert::default_unit(&default))
    }

    /// Checks the values of all parameters that postscreen(8) fetches at one time, in the
    /// order in which it does.
    pub fn problems(&self, fetched: Fetched) -> Vec<BadValue> {
        let mut params: Vec<&Param> =
            TABLE.iter().filter(|param| param.fetched == fetched).collect();
        if !matches!(fetched, Fetched::Early | Fetched::Switches) {
            params.sort_by_key(|param| fetch_order(fetched, param.kind));
        }
        params.into_iter().filter_map(|param| self.check(param).err()).collect()
    }

    fn check(&self, param: &Param) -> Result<(), BadValue> {
        let name = param.name;
        match param.kind {
            Kind::Str { .. } => self.str(name).map(drop),
            Kind::Raw { .. } => self.raw(name).map(drop),
            Kind::Int(_) | Kind::Nint(_) => self.int(name).map(drop),
            Kind::Long(_) => self.long(name).map(drop),
            Kind::Time(_) if STRESSED.contains(&name) => self.stressed_time(name).map(drop),
            Kind::Time(_) => self.time(name).map(drop),
            Kind::Bool | Kind::Nbool => self.bool(name).map(drop),
        }
    }

    /// The version of the Postfix around us, whatever `mail_version` in main.cf pretends;
    /// `None` when it is no version.
    pub fn version(&self) -> Option<PostfixVersion> {
        PostfixVersion::parse(self.default_of("mail_version")?)
    }
}

/// Postfix fetches the parameters of a group type by type.
fn fetch_order(fetched: Fetched, kind: Kind) -> u8 {
    match kind {
        Kind::Str { .. } => 0,
        Kind::Int(_) => 1,
        Kind::Nint(_) => 2,
        Kind::Long(_) => 3,
        Kind::Bool if fetched == Fetched::Common => 4,
        Kind::Time(_) => 5,
        Kind::Bool => 6,
        Kind::Raw { .. } => 7,
        Kind::Nbool => 8,
    }
}

fn kind_of(name: &str) -> Result<Kind, BadValue> {
    find(name).map(|param| param.kind).ok_or_else(|| mistaken(name))
}

fn mistaken(name: &str) -> BadValue {
    BadValue::NoSuchParameter { name: name.to_owned() }
}

#[cfg(test)]
mod tests;
