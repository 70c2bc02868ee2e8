"""Verdict caches that are there before the program starts, made once and then copied.

postscreen(8)'s is made by postmap(1), of the type that is its default here; Gatepost's by
SQLite, with the tables of src/cache/sqlite.rs.
"""

import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

from .plan import GATEPOST, POSTSCREEN, Cache

# Where the program looks for it, below data_directory.
NAMES = {POSTSCREEN: "postscreen_cache.db", GATEPOST: "postscreen_cache.sqlite"}

_SQLITE = """
    PRAGMA journal_mode = wal;
    PRAGMA synchronous = off;
    PRAGMA application_id = 0x47507631;
    PRAGMA user_version = 1;
    CREATE TABLE verdict (
        address      BLOB    NOT NULL PRIMARY KEY,
        pregreet     INTEGER NOT NULL,
        dnsbl        INTEGER NOT NULL,
        pipelining   INTEGER NOT NULL,
        non_smtp     INTEGER NOT NULL,
        bare_newline INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value) WITHOUT ROWID;
"""


class Caches:
    """The files that were made, below a directory."""

    def __init__(self, root: Path, owner: str):
        self._root = root
        self._owner = owner
        self._made: dict[tuple[Cache, str], Path] = {}
        # What postmap(1) needs to start.
        (root / "etc").mkdir(parents=True)
        (root / "etc/main.cf").write_text("compatibility_level = 3.6\nmyhostname = localhost\n")

    def put(self, cache: Cache, program: str, directory: Path) -> None:
        """A copy of it into a data_directory; the floor has none."""
        if program not in NAMES:
            return
        if (cache, program) not in self._made:
            place = self._root / str(len(self._made))
            place.mkdir()
            make = _make_btree if program == POSTSCREEN else _make_sqlite
            make(cache, place / NAMES[program], self._root / "etc")
            self._made[cache, program] = place / NAMES[program]
        target = directory / NAMES[program]
        shutil.copyfile(self._made[cache, program], target)
        shutil.chown(target, self._owner)
        target.chmod(0o600)


def _stamp(cache: Cache) -> int:
    return int(time.time()) + cache.days * 86400


def _make_btree(cache: Cache, path: Path, config_directory: Path) -> None:
    stamp = _stamp(cache)
    # In the order of the keys, as it is fastest.
    keys = sorted(str(address) for address in cache.network.addresses(cache.entries))
    lines = "".join(f"{key}\t{stamp};{stamp};{stamp};{stamp};{stamp}\n" for key in keys)
    if cache.is_clean:
        lines += f"_LAST_CACHE_CLEANUP_COMPLETED_\t{int(time.time())}\n"
    subprocess.run(["postmap", "-c", config_directory, "-i", f"btree:{path.with_suffix('')}"],
                   input=lines.encode(), check=True)


def _make_sqlite(cache: Cache, path: Path, _config_directory: Path) -> None:
    stamp = _stamp(cache)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(_SQLITE)
    connection.execute("BEGIN")
    # Otherwise postscreen's own cache would be looked for, and taken over.
    connection.execute("INSERT INTO meta VALUES ('import_finished', ?)", (int(time.time()),))
    if cache.is_clean:
        connection.execute("INSERT INTO meta VALUES ('last_cleanup_completed', ?)",
                           (int(time.time()),))
    connection.executemany("INSERT INTO verdict VALUES (?, ?, ?, ?, ?, ?)",
                           ((address.packed, *[stamp] * 5)
                            for address in cache.network.addresses(cache.entries)))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(truncate)")
    connection.close()
