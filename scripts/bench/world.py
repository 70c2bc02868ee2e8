"""What a case of a scenario can do with the instance that it was given."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness import namespace

from . import processes
from .plan import OTHERS, Network, Scale, Wrong
from .standins import Clients, Load, Log, NameServer, Smtpd

QUEUE = Path(namespace.MOUNTS["spool"])


@dataclass(frozen=True)
class Measured:
    """A load, and what it has cost the program."""
    load: Load
    cpu: float                  # µs a visit

    @property
    def rate(self) -> float:
        """Visits a second."""
        return self.load.finished / self.load.seconds


@dataclass
class World:
    """The instance, and what stands around it."""
    program: str
    scale: Scale
    visits: Path
    log: Log
    smtpd: Smtpd
    name_server: NameServer | None
    log_file: Path | None
    scratch: Path               # a directory
    slowsync: Path | None       # the library that the program must have loaded

    # ---- load

    def clients(self, kind: str, network: Network, **options: object) -> Clients:
        """Starts a load; the names of options are those of benches/visits."""
        return Clients(self.visits, kind, network, options)

    def load(self, kind: str, network: Network, **options: object) -> Load:
        """Runs a load to its end."""
        return self.clients(kind, network, **options).result()

    def wake(self, kind: str = "new", network: Network = OTHERS, count: int = 20,
             reply: str = "220", **options: object) -> None:
        """Lets master(8) start the program, which costs what is not to be measured."""
        self.load(kind, network, count=count, in_flight=20, **options).check(reply)
        self.settle(kind)
        if self.slowsync and not all(processes.has_mapped(process.pid, self.slowsync)
                                     for process in self.processes()):
            raise Wrong("the library that slows syncs down was not loaded")

    def measure(self, kind: str, network: Network, count: int, reply: str,
                expected: tuple[str, ...], **options: object) -> Measured:
        """Runs a load of which every visit must end with a reply, and leave one each of some
        records in the log."""
        self.log.start_count()
        before = self.cpu()
        load = self.load(kind, network, count=count, **options).check(reply)
        self.log.expect(dict(Counter(expected * count)))
        self.settle(kind)
        return Measured(load, (self.cpu() - before) / count)

    @staticmethod
    def settle(kind: str = "new") -> None:
        """Waits for what goes on behind the clients' backs: verdicts are written and synced
        within a second, helpers end. Known clients cause nothing of the kind."""
        time.sleep(0.2 if kind == "known" else 1.2)

    # ---- processes

    @property
    def _master(self) -> int:
        return int((QUEUE / "pid/master.pid").read_text())

    def processes(self) -> list[processes.Process]:
        """Those of the program and its helpers."""
        return processes.below(self._master)

    def workers(self) -> list[processes.Process]:
        """Those that another process of the program has started."""
        everybody = self.processes()
        pids = {process.pid for process in everybody}
        return [process for process in everybody if process.parent in pids]

    def cpu(self) -> float:
        """Processor time of the program and its helpers so far, µs."""
        return processes.cpu(self._master)

    def busiest(self, before: dict[int, float]) -> float:
        """The share that the busiest process has had in all processor time since then."""
        after = self.cpu_of_each()
        spent = [time - before.get(pid, 0) for pid, time in after.items()]
        return max(spent) / sum(spent)

    def cpu_of_each(self) -> dict[int, float]:
        """Processor time so far by process, µs."""
        return {process.pid: processes.own_cpu(process.pid) for process in self.processes()}

    def memory(self) -> processes.Memory:
        """Of the program and its helpers."""
        return processes.Memory.of(self.processes())

    def wait_for_helpers(self) -> None:
        """Waits until no more processes come."""
        count, since = 0, time.monotonic()
        while time.monotonic() < since + 2:
            if (now := len(self.processes())) != count:
                count, since = now, time.monotonic()
            time.sleep(0.1)

    def restart(self) -> None:
        """`postfix reload`, until the old process has gone: the next client starts another."""
        old = {process.pid for process in self.processes()}
        subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=20)
        deadline = time.monotonic() + 10
        while old & {process.pid for process in self.processes()}:
            if time.monotonic() > deadline:
                raise Wrong("the program does not end at a reload")
            time.sleep(0.02)

    def system_calls(self, kind: str, network: Network, count: int,
                     **options: object) -> Counter[str]:
        """The system calls that a load costs the program, by name."""
        report = self.scratch / "strace"
        pids = [process.pid for process in self.processes()]
        words = [word for pid in pids for word in ("-p", str(pid))]
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", str(report), *words],
                                  stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not processes.traced(pids):
            if tracer.poll() is not None or time.monotonic() > deadline:
                raise Wrong("strace does not come to work")
            time.sleep(0.05)
        self.load(kind, network, count=count, **options).check("220")
        self.settle(kind)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=20)
        calls: Counter[str] = Counter()
        for line in report.read_text().splitlines():
            # % time, seconds, usecs/call, calls, errors if there were any, name
            if match := re.match(r" *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", line):
                calls[match[2]] += int(match[1])
        total = calls.pop("total", 0)
        if not total or total != sum(calls.values()):
            raise Wrong(f"strace's table is not understood: {report.read_text()}")
        return calls

    def wait_for_record(self, pattern: str, seconds: float) -> bool:
        """Waits until the log has a record like this."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.log_text()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def log_text(self) -> str:
        """All records, where they are kept."""
        return self.log_file.read_text(errors="replace")
