//! One measurement each. Every one prints a line `name=value ...`.

use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gatepost::cache::record::Key;
use gatepost::cache::{Cache, CacheOptions};
use gatepost::screen::event::Cached;
use rusqlite::{Connection, OptionalExtension};

use super::Outcome;
use super::file::{FRESH, address, options, start, verdict};
use super::usage::{cpu, mark, percentile, resident};

/// The environment variable that tells a role to do only what is measured.
pub const QUIET: &str = "CACHE_FILE_QUIET";

/// The thread that writes.
const STORAGE: Option<&str> = Some("storage");

/// A row of numbers that look like chance and are the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[allow(clippy::cast_possible_truncation)]
        let high = (self.0 >> 33) as u32;
        high % limit
    }
}

fn find(cache: &mut Cache, address: IpAddr) -> Outcome<()> {
    match cache.lookup(address) {
        Cached::Found(_) => Ok(()),
        other => Err(format!("{address}: {other:?}").into()),
    }
}

/// Looks up `rounds` addresses out of all `entries`, one in a turn of the loop and ten in one;
/// then, again and again, the same ten.
pub fn look_up(path: &Path, entries: u32, rounds: u32) -> Outcome<()> {
    let mut cache = start(path, options())?;
    let mut draw = Draw(1);
    let mut turns = |cache: &mut Cache, each: u32, limit: Option<u32>| -> Outcome<f64> {
        mark();
        let before = cpu(None)?;
        for turn in 0..rounds / each {
            cache.begin_turn();
            for number in 0..each {
                let number = limit.map_or(number + turn % 10, |limit| draw.below(limit));
                find(cache, address(number))?;
            }
            cache.end_turn();
        }
        Ok((cpu(None)? - before) / f64::from(rounds))
    };
    // Warm-up.
    turns(&mut cache, 1, Some(entries))?;
    let drawn = turns(&mut cache, 1, Some(entries))?;
    let together = turns(&mut cache, 10, Some(entries))?;
    let again = turns(&mut cache, 1, None)?;
    mark();
    println!(
        "drawn_us={drawn:.2} ten_a_turn_us={together:.2} again_us={again:.3} rss_kib={}",
        resident()
    );
    cache.flush_and_close();
    Ok(())
}

/// Stores `rate` verdicts about new clients a second, evenly, each after a look-up.
pub fn store(path: &Path, rate: u32, seconds: u32) -> Outcome<()> {
    let mut cache = start(path, options())?;
    let other = Connection::open(path)?;
    let (count, begun) = (rate * seconds, Instant::now());
    let mut waits = Vec::new();
    let mut pending: Option<(IpAddr, Instant)> = None;
    mark();
    let storage = cpu(STORAGE)?;
    for number in 0..count {
        let due = begun + Duration::from_secs(1) * number / rate;
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            if let Some((address, since)) = pending
                && is_there(&other, address)?
            {
                waits.push(since.elapsed().as_secs_f64() * 1e3);
                pending = None;
            }
            thread::sleep(left.min(Duration::from_millis(2)));
        }
        let new = address(u32::MAX - number);
        if cache.lookup(new) != Cached::NotFound {
            return Err(format!("{new} is there already").into());
        }
        let at = Instant::now();
        cache.store(new, verdict(FRESH));
        // Under strace this would be most of what is counted.
        if pending.is_none() && std::env::var_os(QUIET).is_none() {
            pending = Some((new, at));
        }
    }
    thread::sleep(Duration::from_millis(1_500));
    mark();
    let storage = (cpu(STORAGE)? - storage) / f64::from(count);
    let (most, p99) = (percentile(&mut waits, 1.0), percentile(&mut waits, 0.99));
    println!(
        "storage_us={storage:.1} visible_p99_ms={p99:.1} visible_max_ms={most:.1} rss_kib={}",
        resident()
    );
    cache.flush_and_close();
    Ok(())
}

fn is_there(connection: &Connection, address: IpAddr) -> Outcome<bool> {
    let key = Key::of(address);
    let sql = "SELECT 1 FROM verdict WHERE address = ?1";
    Ok(connection.query_row(sql, [key.bytes()], |_| Ok(())).optional()?.is_some())
}

/// Opens the file, starts the thread, and asks once.
pub fn open(path: &Path) -> Outcome<()> {
    mark();
    let begun = Instant::now();
    let mut cache = start(path, options())?;
    let started = begun.elapsed();
    cache.lookup(address(7));
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    mark();
    println!("open_ms={:.2} first_ms={:.2}", ms(started), ms(begun.elapsed()));
    cache.flush_and_close();
    Ok(())
}

/// Lets the clean-up of a file full of expired verdicts run, and sees how long others wait:
/// look-ups and stores of this process, and a writer of another one.
pub fn clean(path: &Path) -> Outcome<()> {
    let interval = Some(Duration::from_secs(12 * 3_600));
    let other = Connection::open(path)?;
    // As a worker writes; and it would wait inside SQLite for as long.
    other.busy_timeout(Duration::from_millis(500))?;
    other.execute_batch("PRAGMA synchronous = normal; PRAGMA wal_autocheckpoint = 0")?;
    other.execute("DELETE FROM meta WHERE name = 'last_cleanup_completed'", [])?;
    let entries: i64 = other.query_row("SELECT count(*) FROM verdict", [], |row| row.get(0))?;
    let mut cache = start(path, CacheOptions { cleanup_interval: interval, ..options() })?;
    let begun = Instant::now();
    let (mut looks, mut visible, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    let mut pending: Option<(IpAddr, Instant)> = None;
    let mut log_size = 0;
    let log = path
        .with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy()));
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let mut number = 0_u32;
    loop {
        number += 1;
        let at = Instant::now();
        cache.lookup(address(number.wrapping_mul(97)));
        looks.push(ms(at));
        if let Some((address, since)) = pending {
            if is_there(&other, address)? {
                visible.push(ms(since));
                pending = None;
            }
        } else {
            let new = address(u32::MAX - number);
            cache.store(new, verdict(FRESH));
            pending = Some((new, Instant::now()));
        }
        if number.is_multiple_of(20) {
            let at = Instant::now();
            other.execute("INSERT OR REPLACE INTO meta VALUES ('bench', ?1)", [number])?;
            writes.push(ms(at));
            log_size = log_size.max(std::fs::metadata(&log).map_or(0, |data| data.len()));
            let sql = "SELECT 1 FROM meta WHERE name = 'last_cleanup_completed'";
            if other.query_row(sql, [], |_| Ok(())).optional()?.is_some() {
                break;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let thread_us = cpu(STORAGE)?;
    println!(
        "entries={entries} seconds={seconds:.2} storage_cpu_s={:.2} log_mib={:.1} \
         look_p99_ms={:.3} look_max_ms={:.2} visible_p99_ms={:.1} visible_max_ms={:.1} \
         other_writer_p99_ms={:.1} other_writer_max_ms={:.1}",
        thread_us / 1e6,
        f64::from(u32::try_from(log_size >> 10)?) / 1024.0,
        percentile(&mut looks, 0.99),
        percentile(&mut looks, 1.0),
        percentile(&mut visible, 0.99),
        percentile(&mut visible, 1.0),
        percentile(&mut writes, 0.99),
        percentile(&mut writes, 1.0),
    );
    cache.flush_and_close();
    Ok(())
}
