"""A few clients, one socket each, where it matters what exactly is said to whom."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

SERVER = ("127.0.0.1", 25)
PATIENCE = 20.0         # seconds that an answer may take on a busy machine


class Caller:
    """A client at an address of its own."""

    def __init__(self, address: str, server: tuple[str, int] = SERVER):
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE)
        self._socket.bind((address, 0))
        self._socket.connect(server)
        self._heard = b""

    @property
    def port(self) -> int:
        """Its end of the connection."""
        return self._socket.getsockname()[1]

    def say(self, text: str) -> None:
        """Sends a line."""
        self._socket.sendall(text.encode() + b"\r\n")

    def line(self) -> str:
        """The next line, or nothing if the connection has ended."""
        while b"\n" not in self._heard:
            try:
                some = self._socket.recv(4096)
            except ConnectionResetError:
                some = b""
            if not some:
                return ""
            self._heard += some
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode().rstrip("\r")

    def close(self) -> None:
        self._socket.close()


@contextmanager
def callers() -> Iterator[list[Caller]]:
    """A list for some of them, who are gone in the end."""
    them: list[Caller] = []
    try:
        yield them
    finally:
        for caller in them:
            caller.close()


def half_open(count: int, first: int, server: tuple[str, int]) -> None:
    """Connections of which only the first packet comes, each from an address that never
    answers: 198.18.0.0/15, which must be routed to nowhere."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    to = socket.inet_aton(server[0])
    for number in range(first, first + count):
        source = struct.pack("!I", 0xC6120000 + number % 0x20000)
        port = 1024 + number % 60000
        head = struct.pack("!HHIIBBHHH", port, server[1], number, 0, 5 << 4, 2, 64240, 0, 0)
        pseudo = source + to + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head))
        head = head[:16] + struct.pack("!H", _checksum(pseudo + head)) + head[18:]
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(head), 0, 0, 64,
                             socket.IPPROTO_TCP, 0, source, to) + head
        raw.sendto(packet, (server[0], 0))
    raw.close()


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
