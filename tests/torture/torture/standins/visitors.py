"""Clients that those of benches/visits do not play: they are asked into TLS, or take their time."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from concurrent.futures import Future

from .neighbourhood import Neighbourhood

# Longer than any time limit that may hold up a visitor.
PATIENCE = 45.0

CUT_OFF, TIMEOUT = "cut off", "timeout"


class _Gone(Exception):
    """The connection has ended."""


class Visitors:
    """Visits at even spacing, until it is stopped; counts what became of them."""

    def __init__(self, where: Neighbourhood, network: str, rate: float, stay: float = 0):
        self.outcomes: Counter[str] = Counter()
        self.begun = 0
        self._network = network         # the first two bytes of addresses
        self._stay = stay               # how long to be in TLS before anything is said
        self._stopped = False
        self._all: Future[None] = where.start(self._run(rate))

    def stop(self) -> Counter[str]:
        """No more visits; waits for those under way."""
        self._stopped = True
        self._all.result(PATIENCE + 30)
        return self.outcomes

    async def _run(self, rate: float) -> None:
        loop, visits = asyncio.get_running_loop(), set()
        begin = loop.time()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
            if self._stopped:
                break
            self.begun += 1
            address = f"{self._network}.{number // 250 % 250}.{number % 250 + 1}"
            visit = loop.create_task(self._timed(address))
            visits.add(visit)
            visit.add_done_callback(visits.discard)
        await asyncio.gather(*visits)

    async def _timed(self, address: str) -> None:
        try:
            outcome = await asyncio.wait_for(self._visit(address), PATIENCE)
        except asyncio.TimeoutError:
            outcome = TIMEOUT
        except _Gone as gone:
            outcome = str(gone)
        self.outcomes[outcome] += 1

    async def _visit(self, address: str) -> str:
        """Into TLS, if that is to be had; the last word that counts."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", 25,
                                                           local_addr=(address, 0))
        except OSError:
            raise _Gone("refused") from None
        try:
            code, _ = await _reply(reader)
            if code != 220:
                return str(code)
            code, text = await _say(reader, writer, "EHLO visitor.example")
            if code != 250:
                return str(code)
            if "STARTTLS" not in text:
                await _say(reader, writer, "QUIT")
                return "plain"
            code, _ = await _say(reader, writer, "STARTTLS")
            if code != 220:
                await _say(reader, writer, "QUIT")
                return str(code)
            try:
                await asyncio.sleep(self._stay)
                code, _ = await _say(reader, writer, "EHLO visitor.example")
                code, _ = await _say(reader, writer, "QUIT")
            except _Gone:
                raise _Gone(f"{CUT_OFF} in TLS") from None
            return "TLS" if code == 221 else str(code)
        finally:
            writer.close()


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
               line: str) -> tuple[int, str]:
    writer.write(line.encode() + b"\r\n")
    return await _reply(reader)


async def _reply(reader: asyncio.StreamReader) -> tuple[int, str]:
    text = ""
    while True:
        try:
            line = (await reader.readline()).decode(errors="replace")
        except OSError:
            line = ""
        if not line:
            raise _Gone(CUT_OFF)
        text += line
        if line[3:4] != "-":
            return int(line[:3]), text
