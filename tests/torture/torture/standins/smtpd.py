"""What stands in for smtpd(8)."""

from __future__ import annotations

import contextlib
import socket

from .service import FULL, HANGING, MISSING, Service

# It closes the channel at once, with the client in it or not.
EARLY = "early"


class Smtpd(Service):
    """Takes clients, greets them, and lets them go."""

    MANNERS = (MISSING, FULL, HANGING, EARLY)

    taken = 0
    # Clients that it may have taken along when it closed early.
    dropped = 0

    def serve(self, connection: socket.socket) -> None:
        if self.manner == EARLY:
            self.dropped += 1
            self.end(connection)
        else:
            self.where.loop.add_reader(connection, self._take, connection)

    def _take(self, channel: socket.socket) -> None:
        try:
            attributes, descriptors, _, _ = socket.recv_fds(channel, 4096, 1)
        except BlockingIOError:
            return
        except OSError:
            attributes, descriptors = b"", []
        self.end(channel)
        if not descriptors:
            return
        if b"\0client_address\0" not in attributes or not attributes.endswith(b"\0\0"):
            raise RuntimeError(f"smtpd was told {attributes!r}")
        client = socket.socket(fileno=descriptors[0])
        client.setblocking(False)
        self.taken += 1
        with contextlib.suppress(OSError):
            client.send(b"220 mx.example.test ESMTP\r\n")
        self.connections.add(client)
        self.where.loop.add_reader(client, self._hear, client)

    def _hear(self, client: socket.socket) -> None:
        try:
            said = client.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        with contextlib.suppress(OSError):
            if b"QUIT" in said:
                client.send(b"221 2.0.0 Bye\r\n")
            elif said:
                # To everything else.
                client.send(b"250 2.0.0 Ok\r\n")
                return
        self.end(client)
