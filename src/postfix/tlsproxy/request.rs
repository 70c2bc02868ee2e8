//! What tlsproxy(8) is asked.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::parameters::LongForm;
use crate::postfix::attr::{AttrWriter, NulInValue};
use crate::screen::address::AddressText;

/// The two forms of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// Postfix 3.6 to 3.11: one list; tlsproxy has its own settings. A tlsproxy of 3.12 waits
    /// for the second list, with all its sessions, until its watchdog kills it.
    Short,
    /// Postfix 3.12 and, because it does no harm there, an unknown one: a second list, with
    /// the settings. An older tlsproxy leaves it unread if it comes in one piece with the
    /// first, and fits into its buffer: [`REQUEST_LIMIT`].
    Long(LongForm),
}

/// How long a request may be, bytes.
pub const REQUEST_LIMIT: usize = 4096;

/// Why a request cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RequestError {
    /// A setting cannot be sent.
    #[error(transparent)]
    Nul(#[from] NulInValue),
    /// The settings are too long; bytes.
    #[error("request of {0} bytes is too long")]
    TooLong(usize),
}

/// The server role.
const FLAGS: i32 = 1;

/// What postscreen(8) calls itself in the short form; it selects the cache of TLS sessions.
const SERVER_ID: &str = "smtpd";

/// Asks tlsproxy to be a client's TLS server. `time_limit` is for the handshake, and for the
/// silence of either side after it.
///
/// # Errors
/// When the settings cannot be sent in the long form.
pub fn request(
    form: &Form,
    client: SocketAddr,
    time_limit: Duration,
) -> Result<Vec<u8>, RequestError> {
    let server_id = match form {
        Form::Short => SERVER_ID,
        Form::Long(settings) => settings.service_name(),
    };
    let mut lists = AttrWriter::new();
    lists
        .string("remote_endpoint", end(client))?
        .int("flags", FLAGS)
        .long("timeout", time_limit.as_secs())
        .long("timeout", time_limit.as_secs())
        .string("serverid", server_id)?
        .end();
    if let Form::Long(settings) = form {
        settings.write(&mut lists, client)?;
    }
    let bytes = lists.into_bytes();
    if bytes.len() > REQUEST_LIMIT { Err(RequestError::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// A client's end as Postfix writes it.
pub(super) fn end(client: SocketAddr) -> String {
    format!("[{}]:{}", AddressText(client.ip()), client.port())
}
