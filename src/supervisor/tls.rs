//! How the workers are to ask tlsproxy(8): found out before the jail.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Sources;
use crate::config::postconf;
use crate::config::settings::Settings;
use crate::daemon::Tlsproxy;
use crate::postfix::master::Options;
use crate::postfix::params::PostfixVersion;
use crate::postfix::tlsproxy::{self, Form, LongForm, UNSET_ENDS_IN_BLANK};
use crate::screen::policy::{Policy, TlsLevel};

/// Puts together what a worker needs to know of tlsproxy(8).
pub(super) fn tlsproxy(
    sources: &Sources,
    options: &Options,
    settings: &Settings,
    policy: &Policy,
) -> Tlsproxy {
    let level = policy.engine.tls_level;
    let form = if level == TlsLevel::None || speaks_short_form(settings.mail_version) {
        Form::Short
    } else {
        Form::Long(long_form(sources, options, settings, level))
    };
    Tlsproxy {
        path: Path::new("private").join(&settings.services.tlsproxy),
        form,
        time_limit: policy.command_time_limit.normal,
    }
}

/// Of the two forms the long one does no harm where the short one is spoken.
fn speaks_short_form(version: Option<PostfixVersion>) -> bool {
    version.is_some_and(|version| !version.is_at_least(3, 12))
}

fn long_form(
    sources: &Sources,
    options: &Options,
    settings: &Settings,
    level: TlsLevel,
) -> LongForm {
    let names = tlsproxy::parameter_names();
    let values = postconf::values(sources, &options.overrides, names).unwrap_or_else(|problem| {
        log::warn!("{problem}; for the TLS settings of tlsproxy(8), using Postfix's defaults");
        BTreeMap::new()
    });
    LongForm::new(&tlsproxy::Settings {
        level,
        service_name: &options.service,
        version: settings.mail_version,
        values: &values,
        set_in_main_cf: UNSET_ENDS_IN_BLANK.map(|name| sources.main_cf().value(name).is_some()),
    })
}
