//! DNS look-ups: what blocklists say about addresses, without a process or thread for it.
//!
//! `query` makes and reads messages, `resolv_conf` says whom to ask, `cache` remembers
//! answers; the [`resolver`] sends, waits, asks again, and gives up.

pub mod cache;
pub mod query;
pub mod resolv_conf;
