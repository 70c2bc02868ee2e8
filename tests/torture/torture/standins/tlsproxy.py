"""What stands in for tlsproxy(8). Its TLS is plain text."""

from __future__ import annotations

import contextlib
import socket

from .service import FULL, HANGING, MISSING, WELL, Service

# It introduces itself and says nothing more; it says no; it says something else.
MUTE, REFUSING, NONSENSE = "mute", "refusing", "nonsense"

GREETING = b"protocol\0tlsproxy_protocol\0\0"


class Tlsproxy(Service):
    """Takes clients over, and copies what they say."""

    MANNERS = (MISSING, FULL, HANGING, MUTE, REFUSING, NONSENSE)

    # Sessions that it has taken over, and those among them that it has cut off.
    taken = 0
    cut_off = 0
    # Whether sessions are copied at present.
    copies = True

    def __init__(self, *arguments: object):
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        super().__init__(*arguments)

    def die(self) -> int:
        """Ends all sessions, as a process does that is killed; returns how many there were."""
        def act() -> int:
            count = len(self._pairs)
            self.cut_off += count
            for pair in list(self._pairs):
                self._part(pair)
            for connection in list(self.connections):
                self.end(connection)
            self._hanging.clear()
            return count
        return self.where.do(act)

    def stand_still(self, still: bool) -> None:
        """Whether sessions in progress stand still."""
        def act() -> None:
            self.copies = not still
            for pair in self._pairs:
                self._watch(pair)
        self.where.do(act)

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.send(b"what\0ever\0\0" if self.manner == NONSENSE else GREETING)
        self.where.loop.add_reader(connection, self._hear, connection)

    def _hear(self, connection: socket.socket) -> None:
        try:
            said, descriptors, _, _ = socket.recv_fds(connection, 8192, 1)
        except BlockingIOError:
            return
        except OSError:
            said, descriptors = b"", []
        if descriptors:
            self._take(connection, socket.socket(fileno=descriptors[0]))
        elif not said:
            self.end(connection)
        elif self.manner != MUTE:
            status = b"0" if self.manner == REFUSING else b"1"
            with contextlib.suppress(OSError):
                connection.send(b"status\0" + status + b"\0\0")

    def _take(self, channel: socket.socket, client: socket.socket) -> None:
        client.setblocking(False)
        self.taken += 1
        self.connections.add(client)
        pair = (channel, client)
        self._pairs.append(pair)
        self._watch(pair)

    def _watch(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for source, target in (pair, pair[::-1]):
            self.where.loop.remove_reader(source)
            if self.copies:
                self.where.loop.add_reader(source, self._copy, source, target, pair)

    def _copy(self, source: socket.socket, target: socket.socket,
              pair: tuple[socket.socket, socket.socket]) -> None:
        try:
            data = source.recv(4096)
            if data:
                target.send(data)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._part(pair)

    def _part(self, pair: tuple[socket.socket, socket.socket]) -> None:
        if pair in self._pairs:
            self._pairs.remove(pair)
            for side in pair:
                self.end(side)


__all__ = ["FULL", "HANGING", "MISSING", "MUTE", "NONSENSE", "REFUSING", "WELL", "Tlsproxy"]
