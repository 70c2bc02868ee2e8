"""A description of the machine."""

import os
import platform
import re
import statistics
import tempfile
import time
from pathlib import Path


def describe(postfix: str, directory: Path) -> list[str]:
    """What counts for the figures, in lines; the instances are in this directory."""
    return [f"{_processor()}, {os.cpu_count()} cores, {_memory()} of memory",
            f"Linux {platform.release()}, {_system()}, Postfix {postfix}",
            f"a sync of the disk that the instances are on takes {_sync(directory):.2f} ms",
            f"load {load()} at the start"]


def load() -> str:
    """The load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


def _field(path: str, pattern: str) -> str:
    match = re.search(pattern, Path(path).read_text(), re.M) if Path(path).exists() else None
    return match[1] if match else ""


def _processor() -> str:
    name = _field("/proc/cpuinfo", r"^model name\s*: (.*)$") or platform.machine()
    family, model = (_field("/proc/cpuinfo", rf"^{word}\s*: (.*)$")
                     for word in ("cpu family", "model"))
    return f"{name} (family {family}, model {model})" if family else name


def _memory() -> str:
    kib = _field("/proc/meminfo", r"^MemTotal: +(\d+) kB$")
    return f"{int(kib) / 1048576:.0f} GB" if kib else "?"


def _system() -> str:
    return _field("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)') or "?"


def _sync(directory: Path) -> float:
    """The median time of fdatasync(2) after a small write; ms."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(50):
            file.write(b"x" * 512)
            file.flush()
            begin = time.monotonic()
            os.fdatasync(file.fileno())
            times.append((time.monotonic() - begin) * 1000)
    return statistics.median(times)
