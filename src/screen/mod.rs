//! The pure core: from inputs and the time in them to outputs, without descriptor,
//! clock, log call, environment, file or randomness.
//!
//! Read `event` for the contract, then the steps in the order in which a client takes
//! them: `proxy`, `connect`, `early`, `dialogue`, `starttls`, `conclude`. Each asks `verdict`
//! what follows.

pub mod address;
mod blocklist;
pub mod census;
pub mod client;
mod conclude;
mod connect;
mod dialogue;
pub mod dnsbl;
mod early;
pub mod event;
pub mod expand;
pub mod footer;
mod holding;
pub mod hostname;
pub mod logline;
pub mod policy;
mod proxy;
pub mod proxy_protocol;
pub mod ration;
pub mod reply;
pub mod screener;
pub mod session;
pub mod slots;
pub mod smtp;
pub mod starttls;
pub mod test_set;
#[cfg(test)]
pub mod testing;
pub mod verdict;
