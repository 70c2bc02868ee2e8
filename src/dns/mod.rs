//! DNS look-ups: what blocklists say about addresses, without a process or thread for it.
//!
//! `query` makes and reads messages about a `name`, `resolv_conf` says whom to ask, `cache`
//! remembers answers. The [`resolver`] is what the loop drives: it keeps the look-ups (`lookup`),
//! each on its `course` through the servers of which `ranking` knows the better ones, lets them
//! wait in a `queue` that is fair, and sends through the sockets of `transport` (`udp`, `tcp`).

pub mod cache;
mod course;
mod index;
mod lookup;
mod name;
pub mod query;
mod queue;
mod ranking;
pub mod resolv_conf;
pub mod resolver;
mod tcp;
mod tick;
mod timers;
mod transport;
mod udp;

use crate::screen::session::SessionId;
use crate::screen::slots::Slots;

/// Names a look-up: the same kind of number as a session's.
type LookupId = SessionId;

/// Names a socket.
type ChannelId = SessionId;
