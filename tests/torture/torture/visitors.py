"""Clients that come back, one by one and by address: what benches/visits does not do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

SERVER = ("127.0.0.1", 25)


@dataclass(frozen=True)
class Visit:
    """What became of a client."""
    source: str
    reply: str                  # the first line that is not part of a teaser; empty: none
    seconds: float
    tries: int


async def visit(source: str, server: tuple[str, int] = SERVER, tries: int = 1,
                patience: float = 30) -> Visit:
    """Waits for the greeting, and leaves. A connection that breaks is tried again."""
    begin, reply, count = time.monotonic(), "", 0
    while not reply and count < tries:
        count += 1
        try:
            reply = await asyncio.wait_for(_greeting(source, server), patience)
        except (OSError, asyncio.TimeoutError):
            reply = ""
        if not reply and count < tries:
            await asyncio.sleep(0.1)
    return Visit(source, reply, time.monotonic() - begin, count)


async def _greeting(source: str, server: tuple[str, int]) -> str:
    reader, writer = await asyncio.open_connection(*server, local_addr=(source, 0))
    try:
        while line := (await reader.readline()).decode(errors="replace"):
            if line[3:4] == " ":
                writer.write(b"QUIT\r\n")
                await reader.readline()
                return line.strip()
        return ""
    finally:
        writer.close()


def visits(sources: Iterable[str], tries: int = 1) -> list[Visit]:
    """All at once."""
    async def run() -> list[Visit]:
        return await asyncio.gather(*(visit(source, tries=tries) for source in sources))
    return asyncio.run(run())


def addresses(network: int, count: int, first: int = 1) -> list[str]:
    """Of 127.NETWORK.0.0/16."""
    return [f"127.{network}.{n // 250}.{n % 250 + 1}" for n in range(first, first + count)]


class Lateness(threading.Thread):
    """How late this machine wakes those who sleep: what nobody else can be blamed for."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._seen: list[tuple[float, float]] = []
        self.start()

    def run(self) -> None:
        while True:
            begin = time.monotonic()
            time.sleep(0.005)
            now = time.monotonic()
            self._seen.append((now, now - begin - 0.005))

    def between(self, begin: float, end: float) -> float:
        """The worst between two moments, a bit before and after included."""
        return max((late for at, late in self._seen if begin - 0.1 <= at <= end + 0.1),
                   default=0)
