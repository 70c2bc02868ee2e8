//! The verdict cache: what is remembered about client addresses.
//!
//! Two threads share it. The event loop holds a [`Cache`]: a read connection, a bounded
//! memory of recent verdicts, and the verdicts that are not written yet; it never waits
//! for a write or a disk sync. The *storage thread* owns the only writing connection: it
//! commits verdicts in small batches, syncs them, removes expired ones, and watches
//! whether the loop still turns. Beside the verdicts the file keeps a few short texts
//! ([`Cache::note`]).
//!
//! Start-up order: [`sqlite::open_or_set_aside`] as `mail_owner` before chroot(2), then
//! [`Cache::start`] after the last privilege is gone and every sandbox layer is set.
//! Nothing is opened by name after that.

mod cleanup;
pub mod clock;
mod filesystem;
mod front;
pub mod import;
pub mod location;
mod mailbox;
mod notes;
mod reader;
mod recent;
mod reckoning;
pub mod record;
mod set_aside;
pub mod sqlite;
mod storage;
mod sweep;
#[cfg(test)]
mod test_dir;
mod throttle;
mod unwritten;
pub mod watchdog;
mod writer;

pub use front::{Cache, CacheOptions};
pub use mailbox::CacheEvent;
pub use set_aside::{Identity, set_aside_known};
