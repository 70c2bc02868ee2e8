"""A run's mail log as log readers get it, without what differs between two runs of one program.

Unlike a transcript it stays a mail log: only time stamps, host names, process ids, ports,
queue ids and elapsed times are replaced, each by a value of the same form that depends on
the script alone; and the lines of a session stand together. Nothing else is touched, so that
a reader finds in it what it would find in the log itself.
"""

import re
from dataclasses import dataclass

from . import maillog, transcript

# Lines that come when the run is over or not, or that depend on the clock.
_LEFT_OUT = ("postfix-script", "postlogd", "anvil", "tlsmgr", "master")

_FIRST_PORT = 20000
_SHARED_PID = 900                           # of programs other than smtpd
_QUEUE_ID = re.compile(r"([0-9A-F]{8,20}): client=")


@dataclass(frozen=True)
class Line:
    """One line: who wrote it, what it says, and all of it."""
    program: str
    text: str
    whole: str

    @property
    def notice(self) -> str:
        """The kind of notice that the line is; empty for all other lines."""
        if self.program != "postscreen":
            return ""
        return next((kind for kind, form in transcript.NOTICES.items()
                     if re.fullmatch(form, self.text)), "")


def level(run: dict) -> list[Line]:
    """The log of a run (see worker.observe)."""
    cleaner = transcript.Cleaner(run, set())
    ports = {f"[{address}]{colon}{port}": f"[{address}]{colon}{_FIRST_PORT + number}"
             for number, (address, port) in enumerate(_by_session(run)) for colon in (":", "")}
    grouped: dict[str, list[tuple[str, str]]] = {}
    other = "other"
    for raw in run["log"]:
        group, _ = cleaner.log_line(raw)
        parsed = maillog.parse(raw)
        if parsed is None:
            grouped.setdefault(group or other, []).append(("", raw))
            continue
        label, _, text = parsed
        if label.rpartition("/")[2] not in _LEFT_OUT:
            grouped.setdefault(group or other, []).append((label, _level(text, ports)))
    queue_ids: dict[str, str] = {}
    lines = []
    smtpd_sessions = 0
    for group in sorted(grouped):
        entries = grouped[group]
        smtpd_sessions += group.startswith("smtpd ")
        if not _is_session(group):
            entries.sort()
        for label, text in entries:
            if match := _QUEUE_ID.match(text):
                queue_ids.setdefault(match[1], f"{0xA0000000 + len(queue_ids):X}")
            pid = _SHARED_PID + (smtpd_sessions if group.startswith("smtpd ") else 0)
            lines.append((label, pid, text))
    return [_line(label, pid, text, queue_ids) for label, pid, text in lines]


def _by_session(run: dict) -> list[tuple[str, str]]:
    """The clients' addresses and ports in the order of the script."""
    place = {client["name"]: number for number, client in enumerate(run["clients"])}

    def key(item):
        client, _, connection = item[1].rpartition("/")
        return place[client], int(connection)

    return [tuple(end.rsplit(":", 1)) for end, _ in sorted(run["ports"].items(), key=key)]


def _is_session(group: str) -> bool:
    return group.startswith("smtpd ") or "/" in group


def _level(text: str, ports: dict[str, str]) -> str:
    text = re.sub(r"\[[0-9a-fA-F.:]+\]:?\d+", lambda end: ports.get(end[0], end[0]), text)
    text = re.sub(r"(PREGREET \d+ after|HANGUP after) \d+(\.\d{1,2})? from", r"\1 0.1 from", text,
                  count=1)
    return re.sub(r"^cache \S+ (full|partial) cleanup", r"cache btree:cache \1 cleanup", text)


def _line(label: str, pid: int, text: str, queue_ids: dict[str, str]) -> Line:
    for ours, levelled in queue_ids.items():
        text = text.replace(ours, levelled)
    if not label:
        return Line("", text, text)
    return Line(label.rpartition("/")[2], text, f"Jan  2 03:04:05 mx {label}[{pid}]: {text}")
