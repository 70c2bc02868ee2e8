//! The loop's connection: short reads.
//!
//! A look-up by itself is a read transaction: two calls of fcntl(2) for a shared lock. Where
//! the loop says what its turns are, the second look-up of a turn begins a transaction that
//! serves all later ones, so that a burst of clients costs two pairs of locks and not one
//! each; a turn with one look-up has nothing to begin. The transaction ends with the turn at
//! the latest: a snapshot that outlived it would keep the log from being written from its
//! beginning, and verdicts of other processes from being seen.

use std::net::IpAddr;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Statement};
use self_cell::self_cell;

use super::record::{self, Columns, Key};
use super::sqlite::{Fault, META, columns_of, meta, query_meta};
use crate::screen::test_set::CacheRecord;

const VERDICT: &str = "
    SELECT pregreet, dnsbl, pipelining, non_smtp, bare_newline FROM verdict WHERE address = ?1";

/// Compiling a statement takes longer than a look-up.
struct Statements<'connection> {
    verdict: Statement<'connection>,
    meta: Statement<'connection>,
    begin: Statement<'connection>,
    end: Statement<'connection>,
}

self_cell!(
    struct Prepared {
        owner: Connection,

        #[not_covariant]
        dependent: Statements,
    }
);

/// What has been read since the loop's turn began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// There is none.
    None,
    /// Nothing yet.
    Fresh,
    /// One verdict, in a transaction of its own.
    Single,
    /// Several, in the one that is open now.
    Open,
}

/// The read connection.
pub(super) struct Reader {
    prepared: Prepared,
    turn: Turn,
}

impl Reader {
    /// A reader that uses `connection` for nothing else. Reads once, which opens the log.
    pub fn new(connection: Connection) -> rusqlite::Result<Reader> {
        let prepared = Prepared::try_new(connection, |connection| {
            Ok::<_, rusqlite::Error>(Statements {
                verdict: connection.prepare(VERDICT)?,
                meta: connection.prepare(META)?,
                begin: connection.prepare("BEGIN")?,
                end: connection.prepare("COMMIT")?,
            })
        })?;
        let mut reader = Reader { prepared, turn: Turn::None };
        reader.columns(&Key::V4([0; 4]))?;
        Ok(reader)
    }

    /// How long to wait for a lock from now on.
    pub fn set_lock_wait(&self, wait: Duration) -> rusqlite::Result<()> {
        self.prepared.borrow_owner().busy_timeout(wait)
    }

    /// The verdict about `address` in the file, commits of other processes before the turn's
    /// second look-up included.
    pub fn lookup(&mut self, address: IpAddr) -> Result<Option<CacheRecord>, Fault> {
        match self.turn {
            Turn::None | Turn::Open => {}
            Turn::Fresh => self.turn = Turn::Single,
            Turn::Single => {
                self.prepared.with_dependent_mut(|_, statements| statements.begin.execute([]))?;
                self.turn = Turn::Open;
            }
        }
        Ok(self.columns(&Key::of(address))?.map(record::from_columns))
    }

    /// How many verdicts were removed by others, ever ([`meta::REMOVALS`]).
    pub fn removals(&mut self) -> Result<i64, Fault> {
        let count = self
            .prepared
            .with_dependent_mut(|_, statements| query_meta(&mut statements.meta, meta::REMOVALS));
        Ok(count?.unwrap_or(0))
    }

    /// Look-ups until [`Reader::end_turn`] belong together.
    pub fn begin_turn(&mut self) {
        if self.turn == Turn::None {
            self.turn = Turn::Fresh;
        }
    }

    /// Gives up what the turn holds.
    pub fn end_turn(&mut self) {
        if self.turn == Turn::Open {
            // Nothing was written, so there is nothing that could fail but a transaction that
            // an error has ended already.
            let _ = self.prepared.with_dependent_mut(|_, statements| statements.end.execute([]));
        }
        self.turn = Turn::None;
    }

    /// Whether look-ups do not see what is committed now.
    pub fn holds_snapshot(&self) -> bool {
        self.turn == Turn::Open
    }

    fn columns(&mut self, key: &Key) -> rusqlite::Result<Option<Columns>> {
        self.prepared.with_dependent_mut(|_, statements| {
            statements.verdict.query_row([key.bytes()], |row| columns_of(row, 0)).optional()
        })
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("turn", &self.turn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::sqlite::{OpenOptions, open};
    use crate::cache::test_dir::TestDir;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    /// A reader, and another process.
    fn setup(dir: &TestDir) -> (Reader, Connection) {
        let opened = open(&dir.file("c"), &OpenOptions::default()).unwrap();
        (opened.reader, Connection::open(dir.file("c")).unwrap())
    }

    fn store(connection: &Connection, n: u32) {
        let sql = "INSERT INTO verdict VALUES (?1, 77, 1, 1, 1, 1)";
        connection.execute(sql, [n.to_be_bytes()]).unwrap();
    }

    /// Whether the log can be emptied, and so nobody holds a snapshot.
    fn nobody_reads(connection: &Connection) -> bool {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() == 0
    }

    #[test]
    fn the_read_connection_cannot_write_and_leaves_no_snapshot() {
        let dir = TestDir::new();
        let (mut reader, other) = setup(&dir);
        assert!(reader.prepared.borrow_owner().execute("DELETE FROM verdict", []).is_err());
        reader.lookup(address(1)).unwrap();
        assert!(nobody_reads(&other));
    }

    #[test]
    fn without_a_turn_every_look_up_sees_what_others_have_committed() {
        let dir = TestDir::new();
        let (mut reader, other) = setup(&dir);
        for n in 0..10 {
            assert_eq!(reader.lookup(address(n)).unwrap(), None);
            store(&other, n);
            assert!(reader.lookup(address(n)).unwrap().is_some());
        }
    }

    #[test]
    fn the_look_ups_of_a_turn_share_a_snapshot_that_goes_with_it() {
        let dir = TestDir::new();
        let (mut reader, other) = setup(&dir);
        other.busy_timeout(Duration::ZERO).unwrap();
        for round in [0, 10] {
            reader.begin_turn();
            assert!(reader.lookup(address(round)).unwrap().is_none());
            assert!(!reader.holds_snapshot() && nobody_reads(&other), "one look-up holds nothing");
            assert!(reader.lookup(address(round + 1)).unwrap().is_none());
            store(&other, round + 2);
            assert!(reader.lookup(address(round + 2)).unwrap().is_none(), "committed later");
            assert!(reader.holds_snapshot() && !nobody_reads(&other));
            reader.end_turn();
            assert!(!reader.holds_snapshot() && nobody_reads(&other));
            assert!(reader.lookup(address(round + 2)).unwrap().is_some());
        }
    }

    #[test]
    fn turns_without_look_ups_cost_nothing_and_break_nothing() {
        let dir = TestDir::new();
        let (mut reader, other) = setup(&dir);
        for _ in 0..3 {
            reader.begin_turn();
            reader.end_turn();
            reader.end_turn();
        }
        store(&other, 1);
        assert!(reader.lookup(address(1)).unwrap().is_some());
    }
}
