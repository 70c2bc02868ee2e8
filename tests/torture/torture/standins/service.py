"""A service at a UNIX socket, as master(8) keeps them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from .neighbourhood import Neighbourhood

# What every service knows; each has more.
WELL, MISSING, FULL, HANGING = "well", "missing", "full", "hanging"

# A listen queue with room for so many is soon full.
SHORT_QUEUE = 3
LONG_QUEUE = 1000


class Service:
    """Listens at a path. What connections are for is said in `serve`."""

    MANNERS: tuple[str, ...] = (MISSING, FULL, HANGING)

    def __init__(self, where: Neighbourhood, path: Path):
        self.where = where
        self.path = path
        self.manner = WELL
        self.connections: set[socket.socket] = set()
        self._hanging: list[socket.socket] = []
        self._listener: socket.socket | None = None
        where.do(self._open)

    def behave(self, manner: str) -> None:
        """Changes its manner."""
        self.where.do(lambda: self._behave(manner))

    def _behave(self, manner: str) -> None:
        self.manner = manner
        if manner == MISSING:
            self._close()
        elif manner == FULL:
            # Those who wait in the old queue would be lost without a trace; so they are served.
            self._accept()
            self._close()
            self._open(reading=False)
        elif manner == WELL:
            if self._listener is None:
                self._open()
            else:
                self._listener.listen(LONG_QUEUE)
                self.where.loop.add_reader(self._listener, self._accept)
                self._accept()
            hanging, self._hanging = self._hanging, []
            for connection in hanging:
                self.serve(connection)
        elif self._listener is None:
            self._open()

    def _open(self, reading: bool = True) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(self.path))
        os.chmod(self.path, 0o666)
        self._listener.listen(LONG_QUEUE if reading else SHORT_QUEUE)
        if reading:
            self.where.loop.add_reader(self._listener, self._accept)

    def _close(self) -> None:
        if self._listener:
            # In this order nobody gets into the queue behind the last one who is served.
            self.path.unlink(missing_ok=True)
            self._accept()
            self.where.loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        while self._listener:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            self.connections.add(connection)
            if self.manner == HANGING:
                self._hanging.append(connection)
            else:
                self.serve(connection)

    def end(self, connection: socket.socket) -> None:
        """Closes a connection."""
        self.connections.discard(connection)
        self.where.loop.remove_reader(connection)
        connection.close()

    def serve(self, connection: socket.socket) -> None:
        """A connection has come, and is to be treated in the present manner."""
        raise NotImplementedError
