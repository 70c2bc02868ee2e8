"""The processes around the program under test, all of them roles of benches/visits."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .plan import Network, Wrong

SERVER = "127.0.0.1:25"
# More than any load takes: what hangs must not hang for ever.
LIMIT = 200


@dataclass(frozen=True)
class Load:
    """What became of visits."""
    begun: int
    finished: int
    seconds: float
    replies: dict[str, int]
    lost: dict[str, int]
    late: int                   # visits that were meant to be early, and were not
    times: dict[str, dict[str, float]]

    @classmethod
    def parse(cls, output: str) -> Load:
        """From the last line of what the program says."""
        lines = output.splitlines()
        if not lines:
            raise Wrong("the load said nothing")
        result = json.loads(lines[-1])
        times = {name[:-len("_ms")]: value for name, value in result.items()
                 if name.endswith("_ms")}
        return cls(result["begun"], result["finished"], result["seconds"], result["replies"],
                   result["lost"], result.get("late", 0), times)

    @property
    def all_lost(self) -> int:
        return sum(self.lost.values())

    def time(self, name: str, share: str) -> float:
        """Milliseconds, for example of ("banner", "p99")."""
        if name not in self.times:
            raise Wrong(f"no {name} was seen: {self}")
        return self.times[name][share]

    def check(self, reply: str) -> Load:
        """Every visit must have ended with this reply."""
        if self.replies != {reply: self.begun}:
            raise Wrong(f"not every visit ended with {reply}: {self}")
        return self


class Clients:
    """A load that is running."""

    def __init__(self, visits: Path, kind: str, network: Network, options: dict[str, object]):
        words = [word for name, value in options.items() if value is not None
                 for word in ("--" + name.replace("_", "-"), str(value))]
        self._process = subprocess.Popen(
            [visits, "load", kind, "--server", SERVER, "--sources", network.text, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_until_held(self) -> None:
        """For the kind `hold`: until all are in."""
        line = self._process.stdout.readline()
        if not line.startswith('{"holding"'):
            raise Wrong(f"the clients are not held: {line}{self._process.stderr.read()}")

    def running(self) -> bool:
        """Whether it goes on."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Ends it; the kernel closes its connections."""
        self._process.kill()
        self._process.communicate()

    def result(self) -> Load:
        """Waits for the end; who is held is let go."""
        try:
            output, errors = self._process.communicate("\n", timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Wrong(f"the load did not end in {LIMIT} s") from None
        if self._process.returncode:
            raise Wrong(f"the load failed: {errors.strip()}")
        return Load.parse(output)


class _StandIn:
    """A process that serves until SIGTERM."""

    def __init__(self, command: list[object], socket_path: Path):
        self._process = subprocess.Popen([str(word) for word in command],
                                         stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 5
        while not socket_path.is_socket():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Wrong(f"no stand-in at {socket_path}")
            time.sleep(0.01)
        # The socket is there before its mode is what it has to be.
        time.sleep(0.05)

    def _line(self, number: signal.Signals) -> dict:
        self._process.send_signal(number)
        line = self._process.stdout.readline()
        if not line:
            raise Wrong("a stand-in has ended")
        return json.loads(line)


class Smtpd(_StandIn):
    """Stands in for smtpd(8)."""

    def __init__(self, visits: Path, path: Path):
        super().__init__([visits, "smtpd", "--socket", path], path)

    def pause(self) -> None:
        """Lets it take nobody until it may go on."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """The end of that."""
        self._process.send_signal(signal.SIGCONT)

    def end(self, may_be_abandoned: bool = False) -> int:
        """Ends it, and says how many clients it was given. `may_be_abandoned`: some connections
        to it may have come to nothing."""
        counts = self._line(signal.SIGTERM)
        self._process.wait()
        if counts["wrong"] or (counts["abandoned"] and not may_be_abandoned):
            raise Wrong(f"smtpd was told the wrong things about clients: {counts}")
        return counts["taken"]


class Log(_StandIn):
    """Stands in for the log service, and counts records by their first word or two."""

    def __init__(self, visits: Path, path: Path, keep: Path | None):
        options = ["--keep", keep] if keep else []
        super().__init__([visits, "log", "--socket", path, *options], path)
        self._counts: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()

    def end(self) -> None:
        """Ends it; the socket stays as a file."""
        self._line(signal.SIGTERM)
        self._process.wait()

    def start_count(self) -> None:
        """Forgets what was counted."""
        self._take()
        self._counts.clear()

    def _take(self) -> None:
        counts = self._line(signal.SIGUSR1)
        self._counts.update(counts)
        for word in ("fatal:", "panic:", "warning:", "error:"):
            self.troubles[word] += counts.get(word, 0)

    def counts(self) -> dict[str, int]:
        """What was counted since the start."""
        self._take()
        return dict(self._counts)

    def expect(self, expected: dict[str, int]) -> None:
        """These counts must come, no other ones.

        The last records are on their way when their clients have gone.
        """
        deadline = time.monotonic() + 5
        while True:
            self._take()
            seen = {word: self._counts[word] for word in expected}
            if seen == expected:
                return
            if time.monotonic() > deadline or any(seen[w] > expected[w] for w in expected):
                raise Wrong(f"the log has {dict(self._counts)}, expected are {expected}")
            time.sleep(0.02)


class NameServer:
    """The name server of benches/dnsbl."""

    def __init__(self, program: Path, address: str):
        self._address = address
        self._process = subprocess.Popen(
            [program, "--bench", "--role", "name-server", "--server", f"{address}:53"],
            stdout=subprocess.PIPE, text=True)
        if not self._process.stdout.readline():
            raise Wrong("there is no name server")

    def questions(self) -> int:
        """How many it was asked so far."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(5)
            asker.connect((self._address, 53))
            asker.send(b"?")
            return struct.unpack(">QQ", asker.recv(16))[0]
