"""Processor time and memory of the program's processes: all that master(8) has started.

Nothing but the program under test and its helpers runs below master(8) here; smtpd(8) and
the log service are stand-ins, and not its children.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICK = 1_000_000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """Of /proc/PID/stat."""
    pid: int
    name: str
    parent: int
    ended_children: float       # processor time, µs in steps of 10,000


def _read(path: str) -> str:
    """A file of /proc; empty if the process has ended."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _process(pid: int) -> Process | None:
    head, _, rest = _read(f"/proc/{pid}/stat").rpartition(")")
    if not rest:
        return None
    words = rest.split()
    return Process(pid, head.partition("(")[2], int(words[1]),
                   (int(words[13]) + int(words[14])) * _TICK)


def below(ancestor: int) -> list[Process]:
    """The descendants of a process."""
    everybody = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (process := _process(int(entry))):
            everybody[process.pid] = process

    def descends(process: Process | None) -> bool:
        while process and process.parent != ancestor:
            process = everybody.get(process.parent)
        return process is not None

    return [process for process in everybody.values() if descends(process)]


def cpu(ancestor: int) -> float:
    """The processor time of all descendants of a process, those that have ended included; µs.

    The scheduler counts in nanoseconds and by thread; of what has ended there are only ticks,
    which is good enough, as it is added up before it is rounded.
    """
    alive = sum(own_cpu(process.pid) + process.ended_children for process in below(ancestor))
    master = _process(ancestor)
    return alive + (master.ended_children if master else 0)


def own_cpu(pid: int) -> float:
    """The processor time of all threads of a process, µs."""
    total = 0.0
    for thread in _threads(pid):
        words = _read(f"/proc/{pid}/task/{thread}/schedstat").split()
        total += int(words[0]) / 1000 if words else 0
    return total


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def traced(pids: list[int]) -> bool:
    """Whether a debugger has attached itself to all threads of these processes."""
    for pid in pids:
        for thread in _threads(pid):
            if re.search(r"TracerPid:\t0$", _read(f"/proc/{pid}/task/{thread}/status"), re.M):
                return False
    return True


def has_mapped(pid: int, path: Path) -> bool:
    """Whether a process has loaded a library."""
    return str(path) in _read(f"/proc/{pid}/maps")


@dataclass(frozen=True)
class Memory:
    """KiB."""
    resident: int               # what is shared counts in each process
    proportional: int           # what n processes share counts as one nth in each

    @classmethod
    def of(cls, processes: list[Process]) -> "Memory":
        """The sum."""
        # The numbers in /proc/PID/status are estimates.
        texts = [_read(f"/proc/{process.pid}/smaps_rollup") for process in processes]

        def total(name: str) -> int:
            return sum(int(number) for text in texts
                       for number in re.findall(rf"^{name}: +(\d+) kB", text, re.M))

        return cls(total("Rss"), total("Pss"))


class Ration:
    """A share of a core for each of some processes, by the kernel's control groups (either
    version). Without it two workers on two cores, with their clients and all else on the same
    ones, could not show what they can do."""

    PERIOD = 10_000             # µs: short, so that waits for the next one are

    def __init__(self, share: float):
        self._share = share
        self._groups: list[Path] = []

    @staticmethod
    def parent() -> Path | None:
        """Where groups can be made."""
        unified, cpu = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")
        if "cpu" in _read(str(unified / "cgroup.subtree_control")).split():
            return unified
        return cpu if (cpu / "cpu.cfs_quota_us").exists() or (cpu / "cgroup.procs").exists() \
            else None

    def give(self, pid: int) -> None:
        """From now on, the process has no more than the share."""
        parent = self.parent()
        if parent is None:
            raise OSError("no control group for processor time")
        group = parent / f"gatepost-bench-{os.getpid()}-{len(self._groups)}"
        group.mkdir()
        self._groups.append(group)
        quota = int(self.PERIOD * self._share)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {self.PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(self.PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        (group / "cgroup.procs").write_text(str(pid))

    def take_back(self) -> None:
        """All processes are as they were, and nothing is left behind."""
        for group in self._groups:
            for pid in _read(str(group / "cgroup.procs")).split():
                (group.parent / "cgroup.procs").write_text(pid)
            group.rmdir()
        self._groups.clear()
