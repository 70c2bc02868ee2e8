//! Files to measure, and what is in them.

use std::net::IpAddr;
use std::path::Path;

use gatepost::cache::record;
use gatepost::cache::sqlite::{OpenOptions, open};
use gatepost::cache::{Cache, CacheOptions};
use gatepost::screen::test_set::{CacheRecord, Test, TestSet};
use rusqlite::Connection;

use super::Outcome;

/// In the year 2096.
pub const FRESH: u64 = 4_000_000_000;
/// In 1996, before any retention time.
pub const EXPIRED: u64 = 844_000_000;

/// The address of a number. Neighbours in number are far apart in address, as clients are.
pub fn address(number: u32) -> IpAddr {
    // An odd factor makes every number another address.
    IpAddr::V4(number.wrapping_mul(2_654_435_761).into())
}

/// The verdict of a test set with one deep test that is off.
pub fn verdict(end: u64) -> CacheRecord {
    record::parse(&format!("{end};{end};1;1;1"))
}

/// Makes a file with the verdicts about addresses 0 to `entries`, in the order in which clients
/// come: any.
pub fn fill(path: &Path, entries: u32, end: u64) -> Outcome<()> {
    drop(open(path, &OpenOptions::default())?);
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO verdict VALUES (?1, ?2, ?2, 1, 1, 1)")?;
        for number in 0..entries {
            let IpAddr::V4(v4) = address(number) else { continue };
            insert.execute((v4.octets(), i64::try_from(end)?))?;
        }
    }
    transaction.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// Opens the cache `path` as a worker does.
pub fn start(path: &Path, options: CacheOptions) -> Outcome<Cache> {
    let opened = open(path, &OpenOptions::default())?;
    Ok(Cache::start(opened, options, None, Box::new(|| ()))?)
}

/// As by default, but without clean-ups.
pub fn options() -> CacheOptions {
    let enabled = TestSet::EMPTY.with(Test::Pregreet).with(Test::Dnsbl);
    CacheOptions { cleanup_interval: None, ..CacheOptions::new("bench", enabled) }
}
