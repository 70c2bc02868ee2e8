//! A step through the table of verdicts: how far it goes, and what it does to the file.
//!
//! The clean-up shares its thread with the verdicts of this process, the write lock with other
//! processes, and perhaps its only core with the loop. So a step is bounded by time, and what
//! follows it by a multiple of that: whoever needs the lock or the core waits a few
//! milliseconds at most, and most of the time not at all.

use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::record::Columns;
use super::sqlite::{Fault, columns_of};

/// How long a step should take: a tenth of the 25 ms that a verdict may wait for something else
/// in the storage thread, and short for whoever waits for the lock, as SQLite tries again
/// after 1, 2, 5 and 10 ms.
const STEP_SPAN: Duration = Duration::from_millis(2);
/// Rows in the first step; and in the smallest, or a busy machine would make a clean-up endless.
pub(super) const FIRST_ROWS: usize = 500;
/// Rows in the largest step.
const MOST_ROWS: usize = 8_000;
/// The clean-up has the lock for one part in so many of the time, and uses no more of a core.
const SHARE: u32 = 8;
/// Between two steps at least.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// Between two steps at most; on a machine that is too busy for short steps.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(15);

/// How large steps are, and how far apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rows: usize,
}

impl Pace {
    /// For the first step.
    pub fn new() -> Pace {
        Pace { rows: FIRST_ROWS }
    }

    /// Rows to read in the next step.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A step took `span`. Returns the pause after it.
    pub fn note(&mut self, span: Duration) -> Duration {
        if span > STEP_SPAN {
            self.rows = (self.rows / 2).max(FIRST_ROWS);
        } else if span < STEP_SPAN / 2 {
            self.rows = (self.rows * 2).min(MOST_ROWS);
        }
        (span * (SHARE - 1)).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }
}

/// A row as it is in the file.
#[derive(Debug)]
pub(super) struct StoredRow {
    /// The address.
    pub key: Vec<u8>,
    /// The verdict.
    pub columns: Columns,
}

/// Up to `limit` rows behind the key `after`.
pub(super) fn scan(
    connection: &Connection,
    after: &[u8],
    limit: usize,
) -> Result<Vec<StoredRow>, Fault> {
    let mut statement = connection.prepare(
        "SELECT address, pregreet, dnsbl, pipelining, non_smtp, bare_newline
         FROM verdict WHERE address > ?1 ORDER BY address LIMIT ?2",
    )?;
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((after, rows))?;
    let mut found = Vec::with_capacity(limit);
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_bytes().unwrap_or_default().to_vec();
        // In a damaged file they can be out of order, and a walk in that order be endless.
        if found.last().map_or(after, |last: &StoredRow| &last.key) >= &key[..] {
            return Err(Fault::Damaged("rows are out of order".to_owned()));
        }
        found.push(StoredRow { key, columns: columns_of(row, 1)? });
    }
    Ok(found)
}

/// Scans, and deletes the rows that `is_doomed`, which is asked once about each, in their order.
/// Nobody can change them meanwhile. Returns all rows, and how many were deleted.
pub(super) fn scan_and_delete(
    connection: &Connection,
    after: &[u8],
    limit: usize,
    mut is_doomed: impl FnMut(&StoredRow) -> bool,
) -> Result<(Vec<StoredRow>, usize), Fault> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let rows = scan(&transaction, after, limit)?;
    let mut deleted = 0;
    {
        // What expires together is often all there is of a page: to walk over it is a quarter
        // of the work of finding each row again.
        let mut delete =
            transaction.prepare("DELETE FROM verdict WHERE address BETWEEN ?1 AND ?2")?;
        let mut run: Option<(&StoredRow, &StoredRow)> = None;
        for row in &rows {
            if is_doomed(row) {
                run = Some((run.map_or(row, |(first, _)| first), row));
            } else if let Some((first, last)) = run.take() {
                deleted += delete.execute((&first.key, &last.key))?;
            }
        }
        if let Some((first, last)) = run {
            deleted += delete.execute((&first.key, &last.key))?;
        }
    }
    transaction.commit()?;
    Ok((rows, deleted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::sqlite::{OpenOptions, open};
    use crate::cache::test_dir::TestDir;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn steps_grow_while_they_are_quick_and_shrink_when_they_are_slow() {
        let mut pace = Pace::new();
        assert_eq!(pace.rows(), FIRST_ROWS);
        assert_eq!(pace.note(MS / 10), SHORTEST_PAUSE);
        assert_eq!(pace.rows(), 2 * FIRST_ROWS);
        assert_eq!(pace.note(MS * 3 / 2), MS * 21 / 2);
        assert_eq!(pace.rows(), 2 * FIRST_ROWS, "as it should be");
        assert_eq!(pace.note(MS * 3), LONGEST_PAUSE);
        assert_eq!(pace.note(MS * 50), LONGEST_PAUSE);
        assert_eq!(pace.rows(), FIRST_ROWS);
        for _ in 0..10 {
            pace.note(Duration::ZERO);
        }
        assert_eq!(pace.rows(), MOST_ROWS);
    }

    #[test]
    fn exactly_the_doomed_rows_go() {
        let doomed = |n: u32| n % 7 < 3 || (40..60).contains(&n) || n == 99;
        let dir = TestDir::new();
        let connection = open(&dir.file("c"), &OpenOptions::default()).unwrap().writer;
        for n in 0..100_u32 {
            let sql = "INSERT INTO verdict VALUES (?1, ?2, 1, 1, 1, 1)";
            connection.execute(sql, (n.to_be_bytes(), n)).unwrap();
        }
        let number = |row: &StoredRow| u32::try_from(row.columns[0]).unwrap();
        let (rows, mut deleted) =
            scan_and_delete(&connection, &[], 50, |row| doomed(number(row))).unwrap();
        assert_eq!(rows.iter().map(number).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
        let after = &rows.last().unwrap().key;
        let (rows, more) =
            scan_and_delete(&connection, after, 500, |row| doomed(number(row))).unwrap();
        assert_eq!(rows.len(), 50);
        deleted += more;
        let left = scan(&connection, &[], 500).unwrap();
        let kept: Vec<u32> = (0..100).filter(|n| !doomed(*n)).collect();
        assert_eq!(left.iter().map(number).collect::<Vec<_>>(), kept);
        assert_eq!(deleted, 100 - kept.len());
    }
}
