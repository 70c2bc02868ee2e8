"""A log service at /dev/log: goes away, comes back, or stays and does not read."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

from .neighbourhood import Neighbourhood
from .service import WELL

# Its socket is away, as that of rsyslogd(8) between two of its lives; is there and not read, as
# that which systemd(1) keeps for journald(8); has another one in its place; has another one in its
# place, and is still open somewhere; is read now and then.
GONE, UNREAD, REPLACED, FORGOTTEN, CRAWLING = \
    "gone", "unread", "replaced", "forgotten", "crawling"

_LOST = re.compile(r"warning: (\d+) log records lost while the log service was away")


class LogService:
    """Keeps every record, with the time at which it came."""

    MANNERS = (GONE, UNREAD, REPLACED, CRAWLING)

    def __init__(self, where: Neighbourhood, path: Path, keep: Path):
        self.where = where
        self.path = path
        self.manner = WELL
        self.records: list[tuple[float, str]] = []
        self._keep = keep.open("ab", buffering=0)
        self._socket: socket.socket | None = None
        self._old: list[socket.socket] = []
        where.do(self._open)

    def behave(self, manner: str) -> None:
        """Changes its manner."""
        def act() -> None:
            self.manner = manner
            if manner == GONE:
                self._close()
            elif manner == REPLACED:
                self._close()
                self._open()
            elif manner == FORGOTTEN:
                if self._socket:
                    self.where.loop.remove_reader(self._socket)
                    self._old.append(self._socket)
                self._open()
            elif self._socket is None:
                self._open()
            if self._socket:
                self.where.loop.remove_reader(self._socket)
            if manner in (WELL, REPLACED, FORGOTTEN) and self._socket:
                self.where.loop.add_reader(self._socket, self._read, self._socket)
                self._read(self._socket)
            elif manner == CRAWLING:
                self._crawl()
        self.where.do(act)

    def _open(self) -> None:
        # Beside, then in place: nobody may find a socket that is not ready.
        new = self.path.with_name("new-log")
        new.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(new))
        os.chmod(new, 0o666)
        os.rename(new, self.path)
        self.where.loop.add_reader(self._socket, self._read, self._socket)

    def _close(self) -> None:
        if self._socket:
            self.path.unlink(missing_ok=True)
            self.where.loop.remove_reader(self._socket)
            # What is in the queue would be lost with it, and nobody could count that.
            self._socket.shutdown(socket.SHUT_RD)
            self._read(self._socket)
            self._socket.close()
            self._socket = None

    def _crawl(self) -> None:
        if self.manner == CRAWLING and self._socket:
            self._read(self._socket, most=1)
            self.where.loop.call_later(0.4, self._crawl)

    def _read(self, source: socket.socket, most: int = 1 << 30) -> None:
        for _ in range(most):
            try:
                record = source.recv(8192)
            except OSError:
                return
            if not record:
                return
            self._keep.write(record + b"\n")
            self.records.append((time.monotonic(), record.decode(errors="replace")))

    # What was read. The list only grows, so that it may be looked at from outside.

    def read_forgotten(self) -> None:
        """Reads what was left in sockets that were forgotten, as nobody would."""
        self.where.do(lambda: [self._read(old) for old in self._old])

    def count(self, pattern: str, since: int = 0) -> int:
        """How many records match."""
        return sum(bool(re.search(pattern, text)) for _, text in self.records[since:])

    def lost(self) -> int:
        """How many records were lost, by the program's own account."""
        return sum(int(match[1]) for _, text in self.records if (match := _LOST.search(text)))

    def first_after(self, moment: float) -> float | None:
        """When the first record came after that."""
        return next((at for at, text in self.records if at >= moment and "postscreen" in text),
                    None)
