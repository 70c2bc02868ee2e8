//! The worker: the process that serves clients. It decides nothing.
//!
//! `startup` opens what it needs and locks itself in, `worker` is the loop, `accept` takes
//! connections in as long as `descriptors` has room for them, `clients` reports what their sockets say, `effects` does what the core wants
//! done, `hand_offs` passes clients to smtpd(8), `starttls` to tlsproxy(8), `lookups` answers the core's questions, `lists` asks DNS
//! blocklists on its behalf at the servers that `names` knows, `lifecycle` obeys the supervisor and
//! signals, `rush` knows when memory is to be given back, `status` tells what was counted.

mod accept;
mod clients;
mod descriptors;
mod effects;
mod hand_offs;
mod inquiries;
mod lifecycle;
mod lists;
mod lookups;
mod names;
mod rush;
mod starttls;
mod startup;
mod status;
mod table_servers;
mod worker;

pub use accept::Company;
pub use descriptors::needed as needed_descriptors;
pub use names::{Content, NameServers, ResolvConf};
pub use starttls::Tlsproxy;
pub use startup::{CacheStart, Start, run};
pub use table_servers::TableServerSettings;
pub use worker::{Watched, WorkerSettings};
