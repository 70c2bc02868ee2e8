"""What a trial can do with the instance that it was given."""

from __future__ import annotations

import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.world import QUEUE
from bench.world import World as Instance

from .plan import Wrong

# What says in a record that something is not as it should be.
_TROUBLE = re.compile(r"(?:postscreen|gatepost)\S*\[\d+\]: (warning:|error:|fatal:|panic:)(.*)")


class OwnClock:
    """The wall clock of the program (benches/visits/setclock.rs), and the run of the machine."""

    _FILE = Path("/run/setclock")
    _BOOT_ID = "/proc/sys/kernel/random/boot_id"

    def __init__(self, boot_id: Path):
        self._boot_id = boot_id
        self._FILE.write_bytes(bytes(16))
        self._FILE.chmod(0o644)
        with open(self._FILE, "r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), 16)
        boot_id.write_text(Path(self._BOOT_ID).read_text())
        boot_id.chmod(0o644)
        subprocess.run(["mount", "--bind", boot_id, self._BOOT_ID], check=True)

    def set_ahead(self, seconds: int) -> None:
        """Sets the clock, in one move."""
        self._mapped[:8] = seconds.to_bytes(8, sys.byteorder, signed=True)

    @property
    def ahead(self) -> int:
        """What it is ahead of the right one, seconds."""
        return int.from_bytes(self._mapped[:8], sys.byteorder, signed=True)

    def now(self) -> float:
        """What it says."""
        return time.time() + self.ahead

    def suspend(self, seconds: int) -> None:
        """The machine sleeps; the clock for intervals stands still."""
        so_far = int.from_bytes(self._mapped[8:], sys.byteorder, signed=True)
        self._mapped[8:] = (so_far + seconds).to_bytes(8, sys.byteorder, signed=True)

    def reboot(self) -> None:
        """For what is started from now on the machine has been started anew."""
        self._boot_id.write_text(f"{uuid.uuid4()}\n")


@dataclass
class World(Instance):
    """The instance of a trial: load and counters are those of the benches."""
    gatepost: Path = Path()             # the program
    short: bool = False                 # the form of `make test`, which has some seconds
    own_clock: OwnClock | None = None

    # ---- the log

    def troubles(self) -> dict[str, list[str]]:
        """Records of the program that are not information, by their first word."""
        found: dict[str, list[str]] = {}
        if self.log_file is None:
            self.log.counts()
            return {word: [f"{count} times"] for word, count in self.log.troubles.items() if count}
        for match in _TROUBLE.finditer(self.log_text()):
            found.setdefault(match[1], []).append(match[2].strip())
        return found

    def records(self, pattern: str) -> list[str]:
        """Lines of the log that match."""
        return [line for line in self.log_text().splitlines() if re.search(pattern, line)]

    def census(self) -> dict[str, int]:
        """What the worker has counted, at its socket."""
        sockets = [path for path in (QUEUE / "private").glob("gatepost.*.*")
                   if path.name.split(".")[1] == str(self.supervisor())]
        if len(sockets) != 1:
            raise Wrong(f"there are {len(sockets)} sockets for what was counted")
        with socket.socket(socket.AF_UNIX) as asker:
            asker.settimeout(10)
            asker.connect(str(sockets[0]))
            text = asker.makefile().read()
        return {name: int(value) for name, value in map(str.split, text.splitlines())}

    def last_records(self) -> list[str]:
        """For whoever wants to know why a trial has failed."""
        if self.log_file is None:
            return []
        try:
            return self.log_text().splitlines()[-40:]
        except OSError:
            return []

    # ---- processes

    def gateposts(self) -> list[int]:
        """The processes of the program under master(8): supervisors and workers, draining ones
        included."""
        ours = os.stat(self.gatepost)
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    its = os.stat(f"/proc/{entry}/exe")
                except OSError:
                    continue            # it has ended, or is a kernel's
                if (its.st_dev, its.st_ino) == (ours.st_dev, ours.st_ino):
                    found.append(int(entry))
        return sorted(found)

    def master(self) -> int:
        """master(8)."""
        return self._master

    def family(self) -> list[int]:
        """The supervisor that serves, and its workers."""
        everybody = set(self.gateposts())
        supervisors = [pid for pid in everybody if _parent(pid) == self._master]
        if len(supervisors) != 1:
            raise Wrong(f"there are {len(supervisors)} supervisors")
        return supervisors + sorted(pid for pid in everybody if _parent(pid) == supervisors[0])

    def worker(self) -> int:
        """The process that serves: the one whose parent is the program, too."""
        everybody = set(self.gateposts())
        workers = [pid for pid in everybody if _parent(pid) in everybody]
        if len(workers) != 1:
            raise Wrong(f"there are {len(workers)} workers")
        return workers[0]

    def supervisor(self) -> int:
        """The process that master(8) has started."""
        return _parent(self.worker())

    @staticmethod
    def descriptors(pid: int) -> int:
        """How many descriptors a process has open."""
        return len(os.listdir(f"/proc/{pid}/fd"))

    @staticmethod
    def resident(pid: int) -> int:
        """Memory of a process, KiB."""
        match = re.search(r"^Rss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        return int(match[1]) if match else 0

    @staticmethod
    def cpu_of(pid: int) -> float:
        """Processor time of a process so far, µs."""
        return processes.own_cpu(pid)

    def share(self, seconds: float, *pids: int) -> float:
        """Which part of a core processes take while nobody does anything about them, percent;
        without any, those of the program that there are now."""
        pids = pids or tuple(self.gateposts())
        before, begin = sum(map(self.cpu_of, pids)), time.monotonic()
        time.sleep(seconds)
        spent = sum(map(self.cpu_of, pids)) - before
        return spent / 10_000 / (time.monotonic() - begin)

    @staticmethod
    def until(holds: Callable[[], bool], seconds: float, what: str) -> float:
        """Waits until something holds; returns how long that took, seconds."""
        begin = time.monotonic()
        while not holds():
            if time.monotonic() > begin + seconds:
                raise Wrong(f"not within {seconds} s: {what}")
            time.sleep(0.01)
        return time.monotonic() - begin

    @staticmethod
    def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to a process that may have ended."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    @property
    def cache_file(self) -> Path:
        """The database."""
        return Path("/var/lib/postfix/postscreen_cache.sqlite")

    @property
    def queue(self) -> Path:
        """The queue directory, which is the jail, too."""
        return QUEUE


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
