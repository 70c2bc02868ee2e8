"""What stands in for proxymap(8), up to Postfix 3.10. It knows one network, which it rejects."""

from __future__ import annotations

import contextlib
import socket

from .service import FULL, HANGING, MISSING, Service

# It dies of every question, with all its connections; it introduces itself and says nothing more;
# it says something else; its answers come in pieces.
PANICKING, MUTE, NONSENSE = "panicking", "mute", "nonsense"

REJECTED = "127.9."


class Proxymap(Service):
    """Answers look-ups of client addresses."""

    MANNERS = (MISSING, FULL, HANGING, PANICKING, MUTE, NONSENSE)

    questions = 0

    def _behave(self, manner: str) -> None:
        if manner in (MISSING, FULL):
            # Connections are kept for the next question, unless their process has gone.
            for connection in list(self.connections):
                self.end(connection)
        super()._behave(manner)

    def serve(self, connection: socket.socket) -> None:
        greeting = b"protocol\0proxymap_protocol\0\0"
        with contextlib.suppress(OSError):
            connection.send(b"\xff\0\0\0what" if self.manner == NONSENSE else greeting)
        self.where.loop.add_reader(connection, self._hear, connection)

    def _hear(self, connection: socket.socket) -> None:
        try:
            said = connection.recv(8192)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            return self.end(connection)
        self.questions += 1
        if self.manner == PANICKING:
            for other in list(self.connections):
                self.end(other)
            self._hanging.clear()
            return None
        if self.manner in (MUTE, HANGING):
            return None
        words = said.split(b"\0")
        key = words[words.index(b"key") + 1].decode() if b"key" in words else ""
        answer = b"status\x000\0value\0reject\0\0" if key.startswith(REJECTED) else \
            b"status\x001\0value\0\0\0"
        if self.manner == NONSENSE:
            answer = b"status\0perhaps\0value\0\0\0"
        with contextlib.suppress(OSError):
            connection.send(answer)
        return None
