"""Processes that are killed at random moments, with many of them on one cache.

What is promised: a verdict is committed within 50 ms, and what is committed is not lost by the
death of any process. So whatever was logged as PASS NEW, by a worker that lived on for longer than
that, has to be in the file in the end. Time that this machine did not give to those who were ready
to run is not counted.
"""

import asyncio
import random
import re
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..plan import Figure, Setting, Trial, must
from ..visitors import Lateness, addresses, visit, visits
from ..world import World, _parent
from .storage import mount_data

SERVICES = 10
PORTS = [25] + [2500 + n for n in range(1, SERVICES)]
COMMIT = 0.050
NETWORK = 40


@dataclass
class Records:
    """What the log says, with the times at which that was seen."""
    file: Path
    passed: dict[str, tuple[float, int]] = field(default_factory=dict)      # by address
    serving: set[int] = field(default_factory=set)
    _place: int = 0
    _rest: bytes = b""

    def follow(self, until: threading.Event) -> None:
        """Reads on until then."""
        while not until.is_set():
            self.read()
            time.sleep(0.002)
        self.read()

    def read(self) -> None:
        with self.file.open("rb") as file:
            file.seek(self._place)
            fresh = file.read()
        # Not before it was read: nothing is made older than it is.
        now = time.monotonic()
        self._place += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        for line in lines:
            match = re.search(rb"\[(\d+)\]: (CONNECT|PASS NEW)(?: from)? \[([0-9.]+)\]", line)
            if match:
                pid, what, address = int(match[1]), match[2], match[3].decode()
                self.serving.add(pid)
                if what == b"PASS NEW":
                    self.passed[address] = (now, pid)


def _kills(world: World) -> list[Figure]:
    kills, rate = (25, 40) if world.short else (1000, 60)
    # The promise is about commits; how long a disk takes to sync is not the question.
    mount_data("tmpfs", "size=64m")
    dice = random.Random(4)
    records, over, lateness = Records(world.log_file), threading.Event(), Lateness()
    visits(addresses(NETWORK - 1, 1))
    follower = threading.Thread(target=records.follow, args=(over,), daemon=True)
    follower.start()
    killed: dict[int, float] = {}
    supervisors = 0
    done = threading.Event()
    outcome: list[object] = []

    async def load() -> None:
        tasks, number = [], 0
        while not done.is_set():
            source = addresses(NETWORK, 1, number)[0]
            server = ("127.0.0.1", PORTS[number % SERVICES])
            tasks.append(asyncio.create_task(visit(source, server, tries=60, patience=20)))
            number += 1
            await asyncio.sleep(1 / rate)
        outcome.extend(await asyncio.gather(*tasks))

    loader = threading.Thread(target=lambda: asyncio.run(load()), daemon=True)
    loader.start()
    end = time.monotonic() + (120 if world.short else 1500)
    while len(killed) + supervisors < kills and time.monotonic() < end:
        time.sleep(dice.uniform(0.02, 0.35))
        ours = set(world.gateposts())
        # One that nobody was served by yet would count as a failed start, and master(8) would
        # close its port for a minute: that is another matter.
        workers = [pid for pid in ours if _parent(pid) in ours and pid in records.serving]
        if not workers:
            continue
        pid = dice.choice(workers)
        if dice.random() < 0.2:
            world.kill(_parent(pid))
            supervisors += 1
        else:
            killed[pid] = time.monotonic()
            world.kill(pid)
    done.set()
    loader.join(60)
    must(not loader.is_alive(), "clients are not served to the end")
    time.sleep(1)
    over.set()
    follower.join()
    must(len(killed) + supervisors == kills, f"only {len(killed) + supervisors} kills")
    unserved = [seen for seen in outcome if not seen.reply.startswith("220 ")]
    must(not unserved, f"clients were not let in: {unserved[:3]}")
    lost, spared = _lost(world, records, killed, lateness)
    must(not lost, f"verdicts were lost: {lost[:5]}")
    sample = dice.sample(sorted(set(records.passed) - spared), min(30, len(records.passed) // 2))
    for seen in visits(sample):
        must(seen.reply.startswith("220 "), f"a client was not let in: {seen}")
    for source in sample:
        world.until(lambda s=source: f"PASS OLD [{s}]" in world.log_text(), 5,
                    f"PASS OLD {source}")
    return [Figure("workers killed", len(killed)), Figure("supervisors killed", supervisors),
            Figure("clients", len(outcome)), Figure("verdicts", len(records.passed)),
            Figure("verdicts of the last 50 ms before a kill", len(spared)), Figure("lost", 0)]


def _lost(world: World, records: Records, killed: dict[int, float],
          lateness: Lateness) -> tuple[list[tuple[str, float]], set[str]]:
    """Verdicts that should be in the file, with their ages at the kill; and those that need not
    be there."""
    database = sqlite3.connect(world.cache_file, timeout=10)
    must(database.execute("PRAGMA integrity_check").fetchone() == ("ok",), "it is not sound")
    stored = {".".join(map(str, key)) for (key,) in database.execute(
        "SELECT address FROM verdict") if len(key) == 4}
    database.close()
    lost, spared = [], set()
    for address, (seen, pid) in records.passed.items():
        age = killed.get(pid, float("inf")) - seen
        allowed = COMMIT + (lateness.between(seen, killed[pid]) if pid in killed else 0)
        if age < allowed:
            spared.add(address)
        elif address not in stored:
            lost.append((address, age))
    return lost, spared


TRIALS = (
    Trial("storage/kills", "kill -9 of one of ten processes on one cache, at random moments",
          _kills, Setting(master_cf=tuple(f"127.0.0.1:{port} inet n - n - 1 postscreen"
                                          for port in PORTS[1:]), troubles=("warning:",)),
          limit=2000),
)
