//! tlsproxy(8), which does TLS for clients of the built-in SMTP engine.
//!
//! ```text
//! us                                       tlsproxy(8)
//! connect                             ->
//!                                     <-   greeting: protocol = tlsproxy_protocol
//! request: client, time limits, ...   ->
//!                                     <-   status: other than 0 if it can
//! the client's socket                 ->
//! SMTP in the clear                   <->  TLS to the client
//! ```
//!
//! Neither answer carries a version, and a request of the wrong form can kill a tlsproxy
//! process with all its sessions; so the form goes by the version of Postfix ([`Form`]).

mod exchange;
mod parameters;
mod request;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::postfix::local;

pub use exchange::{Exchange, Failure, Flaw, Step};
pub use parameters::{LongForm, Settings, UNSET_ENDS_IN_BLANK, parameter_names};
pub use request::{Form, REQUEST_LIMIT, RequestError, request};

/// The byte that carries the client's descriptor.
const CARRIER: &[u8] = &[0];

/// Connects to the service that listens at `path`, without waiting.
///
/// # Errors
/// EAGAIN when its listen queue is full.
pub fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    local::open(path)
}

/// Sends a request, in one piece: a tlsproxy of another version than expected could not
/// make sense of a second one.
///
/// # Errors
/// Those of sendmsg(2).
pub fn ask(channel: BorrowedFd<'_>, request: &[u8]) -> Result<(), Errno> {
    local::send(channel, request, None)
}

/// Gives tlsproxy the client's socket. From then on it is tlsproxy's: our copy is good for one
/// reply in the clear, and to be closed.
///
/// # Errors
/// Those of sendmsg(2); the client is still ours then.
pub fn pass(channel: BorrowedFd<'_>, client: BorrowedFd<'_>) -> Result<(), Errno> {
    local::send(channel, CARRIER, Some(client))
}

#[cfg(test)]
mod tests;
