//! Removing what is no longer of use, in small steps in address order.
//!
//! A step ([`sweep`](super::sweep)) reads some rows and deletes those that have to go; between
//! two steps the storage thread writes verdicts and pauses, so that neither this process nor
//! others wait for a clean-up. Runs are of three kinds: removing expired records (postscreen's
//! "cleanup"), and, if there are more records than allowed, counting them by expiry and
//! then removing those that expire first. Address order needs no index besides the table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::clock::Moment;
use super::record;
use super::sqlite::{Fault, get_meta, meta, set_meta};
use super::sweep::{Pace, SHORTEST_PAUSE, StoredRow, scan, scan_and_delete};
use crate::postfix::message::Message;
use crate::screen::test_set::{CacheRecord, Expiry, Test, TestSet, UnixTime};

/// A step of the wall clock that no machine makes in honest work.
const JUMP: Duration = Duration::from_secs(24 * 3_600);
/// A run whose process has not been heard of for so long is taken over.
const CLAIM: Duration = Duration::from_secs(300);
const CLAIM_RENEWAL: Duration = Duration::from_secs(60);
/// Rows on a page of 4096 bytes, as far as can be told without counting: half of what fits, as
/// addresses come in any order. If there are more, the next clean-up finds out.
const ROWS_PER_PAGE: u64 = 128;

/// What is removed, and when.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// The cache in log lines.
    pub name: String,
    /// The tests that are enabled.
    pub enabled: TestSet,
    /// How long an expired record is kept.
    pub retention: Duration,
    /// Between two runs; `None` for never.
    pub interval: Option<Duration>,
    /// The largest number of records; `None` for any.
    pub max_entries: Option<u64>,
}

impl Policy {
    /// Whether `record` stays: no enabled test would have been due at `cutoff`.
    fn keeps(&self, record: &CacheRecord, cutoff: UnixTime) -> bool {
        !self.enabled.iter().any(|test| record[test].is_due(cutoff))
    }

    /// The second at which `record` stops sparing its client a test; 0 for never passed.
    fn end_of_use(&self, record: &CacheRecord) -> u64 {
        let seconds = |test: Test| match record[test] {
            Expiry::NeverPassed | Expiry::Disabled => 0,
            Expiry::Until(end) => end.0,
        };
        let first = self.enabled.iter().map(seconds).min();
        first.unwrap_or_else(|| Test::ALL.into_iter().map(seconds).max().unwrap_or(0))
    }
}

/// Records counted by the hour in which their use ends.
#[derive(Debug)]
struct Histogram {
    first: u64,
    last: u64,
    hours: BTreeMap<u64, u64>,
}

impl Histogram {
    fn new(now: UnixTime) -> Histogram {
        // Whatever lies outside of this span shares the bucket at its end, so that strange
        // stamps cannot make the table large.
        let hour = now.0 / 3_600;
        Histogram {
            first: hour.saturating_sub(60 * 24),
            last: hour + 400 * 24,
            hours: BTreeMap::new(),
        }
    }

    fn hour(&self, second: u64) -> u64 {
        (second / 3_600).clamp(self.first, self.last)
    }

    fn count(&mut self, second: u64) {
        let hour = self.hour(second);
        let count = self.hours.entry(hour).or_default();
        *count = count.saturating_add(1);
    }

    /// The hour such that all records before it and `.1` records in it are the `excess`
    /// records that expire first.
    fn threshold(&self, excess: u64) -> (u64, u64) {
        let mut rest = excess;
        for (hour, count) in &self.hours {
            if *count >= rest {
                return (*hour, rest);
            }
            rest -= count;
        }
        (self.last, rest)
    }
}

#[derive(Debug)]
enum Pass {
    /// Remove what had expired at `cutoff`. Fixed at the start, so that a clock that jumps
    /// during the run changes nothing.
    Expire { cutoff: UnixTime },
    /// Count.
    Measure(Histogram),
    /// Remove what expires before hour `below`, and `quota` records of that hour.
    Trim { histogram: Histogram, below: u64, quota: u64 },
}

#[derive(Debug)]
struct Run {
    pass: Pass,
    after: Vec<u8>,
    retained: u64,
    dropped: u64,
    renew_claim: Instant,
    pace: Pace,
}

impl Run {
    fn new(pass: Pass, now: Moment) -> Run {
        let renew_claim = now.mono + CLAIM_RENEWAL;
        Run { pass, after: Vec::new(), retained: 0, dropped: 0, renew_claim, pace: Pace::new() }
    }
}

/// What one call did.
#[derive(Debug)]
pub(super) struct Turn {
    /// When to call again.
    pub next: Instant,
    /// What to log.
    pub message: Option<Message>,
}

/// When to clean up, and the run that is under way.
#[derive(Debug)]
pub(super) struct Cleanup {
    policy: Policy,
    run: Option<Run>,
    /// When the next run is due; `None` before the first call, and if never.
    due: Option<Instant>,
    next_step: Option<Instant>,
    previous: Option<Moment>,
    /// About as many records are in the file, or fewer.
    entries: Option<u64>,
    /// When [`Cleanup::entries`] may be looked at again.
    count_after: Option<Instant>,
}

impl Cleanup {
    /// Nothing has been done yet.
    pub fn new(policy: Policy) -> Cleanup {
        Cleanup {
            policy,
            run: None,
            due: None,
            next_step: None,
            previous: None,
            entries: None,
            count_after: None,
        }
    }

    /// `count` verdicts were written; some of them may be new records.
    pub fn note_stores(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.entries = self.entries.map(|entries| entries.saturating_add(count));
    }

    /// Does at most one step, if it is time.
    ///
    /// # Errors
    /// Nothing was changed; the same call can be made again.
    pub fn turn(&mut self, connection: &Connection, now: Moment) -> Result<Turn, Fault> {
        let mut turn = Turn { next: now.mono + Duration::from_secs(3_600), message: None };
        match self.previous {
            None => self.first_turn(connection, now)?,
            Some(previous) => turn.message = self.check_for_jump(previous, now),
        }
        self.previous = Some(now);
        if self.next_step.is_none_or(|next| next <= now.mono) {
            if self.run.is_none() {
                self.run = self.begin(connection, now)?;
            }
            if self.run.is_some() {
                let (pause, message) = self.step(connection, now)?;
                turn.message = message.or(turn.message);
                self.next_step = Some(now.mono + pause);
            }
        }
        if self.run.is_some() {
            turn.next = self.next_step.unwrap_or(now.mono);
        } else if let Some(due) = self.due {
            turn.next = turn.next.min(due).max(now.mono + SHORTEST_PAUSE);
        }
        Ok(turn)
    }

    /// The process ends: gives up the run that is under way. Returns what to log.
    pub fn interrupt(&mut self, connection: &Connection) -> Option<Message> {
        let run = self.run.take()?;
        // Best effort: a claim that stays runs out by itself.
        let _ = release_claim(connection);
        let counted = run.retained > 0 || run.dropped > 0;
        (counted && matches!(run.pass, Pass::Expire { .. }))
            .then(|| self.report("partial", run.retained, run.dropped))
    }

    fn first_turn(&mut self, connection: &Connection, now: Moment) -> Result<(), Fault> {
        if let Some(interval) = self.policy.interval {
            self.due = Some(now.mono + time_left(last_completed(connection)?, interval, now.wall));
        }
        if self.policy.max_entries.is_some() {
            let count = |pragma| -> Result<u64, Fault> {
                let pages: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
                Ok(u64::try_from(pages).unwrap_or(0))
            };
            // Earlier clean-ups leave many free ones.
            let pages = count("page_count")?.saturating_sub(count("freelist_count")?);
            self.entries = Some(pages.saturating_mul(ROWS_PER_PAGE));
        }
        Ok(())
    }

    /// A wall clock that leaps is wrong before or after; until that is clear nothing is
    /// removed because of it.
    fn check_for_jump(&mut self, previous: Moment, now: Moment) -> Option<Message> {
        let (interval, due) = (self.policy.interval?, self.due?);
        let passed = now.mono.saturating_duration_since(previous.mono);
        let leap =
            Duration::from_secs(now.wall.0.saturating_sub(previous.wall.0)).saturating_sub(passed);
        if leap <= JUMP {
            return None;
        }
        self.due = Some(due.max(now.mono + interval));
        // No warning: with time that is reckoned from the start of the machine it means that the
        // machine has slept.
        Some(Message::info(format!(
            "cache {}: the clock jumped {} seconds ahead; next cleanup in {} seconds",
            self.policy.name,
            leap.as_secs(),
            interval.as_secs()
        )))
    }

    /// The run to start now, if one is due and no other process is at it.
    fn begin(&mut self, connection: &Connection, now: Moment) -> Result<Option<Run>, Fault> {
        if let (Some(interval), Some(due)) = (self.policy.interval, self.due)
            && due <= now.mono
        {
            // Another process may have done it meanwhile.
            let left = time_left(last_completed(connection)?, interval, now.wall);
            if !left.is_zero() {
                self.due = Some(now.mono + left);
            } else if claim(connection, now.wall)? {
                let cutoff = now.wall.minus(self.policy.retention);
                return Ok(Some(Run::new(Pass::Expire { cutoff }, now)));
            } else {
                self.due = Some(now.mono + CLAIM);
            }
        }
        let too_many = match (self.policy.max_entries, self.entries) {
            (Some(max), Some(entries)) => entries > max,
            _ => false,
        };
        if !too_many || self.count_after.is_some_and(|after| after > now.mono) {
            return Ok(None);
        }
        if !claim(connection, now.wall)? {
            self.count_after = Some(now.mono + CLAIM);
            return Ok(None);
        }
        Ok(Some(Run::new(Pass::Measure(Histogram::new(now.wall)), now)))
    }

    /// Returns when the next one may be, from now on, and what to log.
    fn step(
        &mut self,
        connection: &Connection,
        now: Moment,
    ) -> Result<(Duration, Option<Message>), Fault> {
        let Some(run) = &mut self.run else { return Ok((SHORTEST_PAUSE, None)) };
        let begun = Instant::now();
        if run.renew_claim <= now.mono {
            set_meta(connection, meta::CLEANUP_CLAIMED, stamp(now.wall))?;
            run.renew_claim = now.mono + CLAIM_RENEWAL;
        }
        let policy = &self.policy;
        let limit = run.pace.rows();
        // A step that fails is done again, so that nothing is counted before it is through.
        let (rows, deleted) = match &mut run.pass {
            Pass::Expire { cutoff } => scan_and_delete(connection, &run.after, limit, |row| {
                record::address_from_bytes(&row.key).is_none()
                    || !policy.keeps(&record::from_columns(row.columns), *cutoff)
            })?,
            Pass::Measure(histogram) => {
                let rows = scan(connection, &run.after, limit)?;
                for row in &rows {
                    histogram.count(policy.end_of_use(&record::from_columns(row.columns)));
                }
                (rows, 0)
            }
            Pass::Trim { histogram, below, quota } => {
                let mut left = *quota;
                let is_doomed = |row: &StoredRow| {
                    let end = policy.end_of_use(&record::from_columns(row.columns));
                    let hour = histogram.hour(end);
                    let spare = hour > *below || (hour == *below && left == 0);
                    left = if hour == *below { left.saturating_sub(1) } else { left };
                    !spare
                };
                let done = scan_and_delete(connection, &run.after, limit, is_doomed)?;
                *quota = left;
                done
            }
        };
        run.dropped = run.dropped.saturating_add(deleted as u64);
        run.retained = run.retained.saturating_add((rows.len() - deleted) as u64);
        let more = rows.len() == limit;
        if more && let Some(last) = rows.last() {
            run.after.clone_from(&last.key);
        }
        let span = begun.elapsed();
        let pause = run.pace.note(span);
        let message = if more { None } else { self.end_of_run(connection, now)? };
        Ok((span + pause, message))
    }

    fn end_of_run(
        &mut self,
        connection: &Connection,
        now: Moment,
    ) -> Result<Option<Message>, Fault> {
        let Some(run) = &self.run else { return Ok(None) };
        let (retained, dropped) = (run.retained, run.dropped);
        if matches!(run.pass, Pass::Expire { .. }) {
            set_meta(connection, meta::LAST_CLEANUP_COMPLETED, stamp(now.wall))?;
        }
        release_claim(connection)?;
        self.entries = Some(retained);
        let Some(run) = self.run.take() else { return Ok(None) };
        let max = self.policy.max_entries.unwrap_or(u64::MAX);
        match run.pass {
            Pass::Expire { .. } => {
                self.due = self.policy.interval.map(|interval| now.mono + interval);
                Ok(Some(self.report("full", retained, dropped)))
            }
            Pass::Measure(histogram) if retained > max => {
                // Some room, so that not every new record starts a run.
                let (below, quota) = histogram.threshold(retained - (max - max / 10));
                let trim = Pass::Trim { histogram, below, quota };
                if claim(connection, now.wall)? {
                    self.run = Some(Run::new(trim, now));
                }
                Ok(None)
            }
            Pass::Measure(_) => Ok(None),
            Pass::Trim { .. } => Ok(Some(Message::info(format!(
                "cache {} held more than {max} entries: retained={retained} dropped={dropped} \
                 that expire first",
                self.policy.name
            )))),
        }
    }

    fn report(&self, kind: &str, retained: u64, dropped: u64) -> Message {
        let name = &self.policy.name;
        Message::info(format!(
            "cache {name} {kind} cleanup: retained={retained} dropped={dropped} entries"
        ))
    }
}

/// How long until the next run. A completion in the future (the clock was ahead then)
/// counts as one of just now.
fn time_left(last: Option<UnixTime>, interval: Duration, now: UnixTime) -> Duration {
    last.map_or(Duration::ZERO, |last| {
        interval.saturating_sub(Duration::from_secs(now.0.saturating_sub(last.0)))
    })
}

fn last_completed(connection: &Connection) -> Result<Option<UnixTime>, Fault> {
    let last = get_meta(connection, meta::LAST_CLEANUP_COMPLETED)?;
    Ok(last.and_then(|seconds| u64::try_from(seconds).ok()).map(UnixTime))
}

/// Takes the right to clean up, unless another process has it and lives.
fn claim(connection: &Connection, now: UnixTime) -> Result<bool, Fault> {
    let changed = connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value
         WHERE value <= ?3 OR value > ?2",
        (meta::CLEANUP_CLAIMED, stamp(now), stamp(now.minus(CLAIM))),
    )?;
    Ok(changed > 0)
}

fn release_claim(connection: &Connection) -> Result<(), Fault> {
    connection.execute("DELETE FROM meta WHERE name = ?1", [meta::CLEANUP_CLAIMED])?;
    Ok(())
}

fn stamp(time: UnixTime) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "cleanup_tests.rs"]
mod tests;
