"""The log readers: what each of them makes of a levelled mail log, as comparable text."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from .levelled import Line

FAIL2BAN_FILTER = Path("/etc/fail2ban/filter.d/postfix.conf")
LOGWATCH_POSTFIX = Path("/usr/share/logwatch/scripts/services/postfix")
_GROKCOUNT = Path(__file__).resolve().parent / "grokcount.py"

# The same text, the same report: no hash order, no language of the user's.
_ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC", "HOME": "/nonexistent",
                "PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0"}


class ReaderError(Exception):
    """A log reader that cannot be run."""


def _run(*command: str, text: str = "") -> str:
    """What a program says; its complaints are part of that."""
    done = subprocess.run(command, env=_ENVIRONMENT, input=text, capture_output=True, text=True,
                          errors="backslashreplace", timeout=120)
    if done.returncode:
        raise ReaderError(f"{command[0]} ended with status {done.returncode}: {done.stderr}")
    return done.stdout + done.stderr


class Reader:
    """A log reader. report() is all that it says about a log, in lines."""

    name = ""

    def report(self, log: list[Line]) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="logtools-") as directory:
            path = Path(directory, "mail.log")
            path.write_text("".join(line.whole + "\n" for line in log))
            return self._read(path, log)

    def _read(self, path: Path, log: list[Line]) -> list[str]:
        raise NotImplementedError

    def treatment(self, log: list[Line]) -> str:
        """In a word, what the reader makes of lines that are no events."""
        raise NotImplementedError


class Pflogsumm(Reader):
    name = "pflogsumm"

    def _read(self, path: Path, log: list[Line]) -> list[str]:
        return _run("pflogsumm", "--smtpd_stats", "--verbose_msg_detail", "--rej_add_from",
                    str(path)).splitlines()

    def treatment(self, log: list[Line]) -> str:
        report = self.report(log)
        if report == self.report([]):
            return "no mention"
        start = report.index("Warnings") + 2
        end = report.index("", start)
        listed = sum(int(line.split()[0]) for line in report[start:end]
                     if re.match(r" +\d+ ", line) and "(total:" not in line)
        return "warnings" if listed == len(log) else "something else"


class Logwatch(Reader):
    name = "logwatch"

    def _read(self, path: Path, log: list[Line]) -> list[str]:
        report = _run("logwatch", "--service", "postfix", "--detail", "High", "--range", "all",
                      "--logdir", str(path.parent), "--output", "stdout", "--format", "text",
                      "--numeric").splitlines()
        begin = [n for n, line in enumerate(report) if "Postfix Begin" in line]
        end = [n for n, line in enumerate(report) if "Postfix End" in line]
        body = self._sorted(report[begin[0] + 1:end[0]]) if begin and end else []
        # What it knows but does not show, unless it is told to.
        detail = _run("perl", str(LOGWATCH_POSTFIX), "--detail", "20", "--full", "-l",
                      "postscreen=20", "-l", "dnsblog=20", str(path)).splitlines()
        return body + (["== in detail", *self._sorted(detail)] if detail else [])

    @staticmethod
    def _sorted(report: list[str]) -> list[str]:
        """Lines that it does not know are in no order."""
        place = next((n for n, line in enumerate(report) if "**Unmatched Entries**" in line),
                     len(report))
        return report[:place + 1] + sorted(report[place + 1:])

    def treatment(self, log: list[Line]) -> str:
        report = self.report(log)
        if not report:
            return "no mention"
        report = report[:report.index("== in detail")]
        unmatched = sum(int(line.split()[0]) for line in report
                        if re.search(r"^ *\d+   Jan  2 03:04:05 ", line))
        warnings = [int(line.split()[0]) for line in report
                    if re.match(r" *\d+   Miscellaneous warnings  +\d+ *$", line)]
        if unmatched == len(log):
            return "unmatched entries"
        return "warnings" if warnings == [len(log)] else "something else"


class Fail2ban(Reader):
    def __init__(self, mode: str):
        self.mode = mode
        self.name = f"fail2ban, mode {mode}"

    @staticmethod
    def modes() -> list[str]:
        """The modes that the installed filter has."""
        return re.findall(r"^mdpr-(\w+)\s*=", FAIL2BAN_FILTER.read_text(), re.M)

    def _read(self, path: Path, log: list[Line]) -> list[str]:
        report = _run("fail2ban-regex", "--usedns", "no", "--encoding", "UTF-8", "-v",
                      "--print-all-matched", "--print-no-missed", str(path),
                      f"postfix[mode={self.mode}]").splitlines()
        return [line for line in report
                if not re.match(r"Use +log file : |\[processed in ", line)]

    def matched(self, log: list[Line]) -> list[str]:
        """The lines, from their time stamps on, for which somebody would be punished."""
        report = self.report(log)
        place = next((n for n, line in enumerate(report) if line.startswith("|- Matched line")),
                     len(report))
        lines = [line[3:] for line in report[place + 1:] if line.startswith("|  ")]
        count = re.search(r"^Lines: \d+ lines, 0 ignored, (\d+) matched", "\n".join(report), re.M)
        if count is None or int(count[1]) != len(lines):
            raise ReaderError(f"cannot read the report of fail2ban-regex: {report}")
        return lines

    def addresses(self, log: list[Line]) -> set[str]:
        """Who would be punished."""
        return {match[1] for line in self.report(log)
                if (match := re.match(r"\|      (\S+)  \w{3} Jan 02 03:04:05 \d+", line))}

    def treatment(self, log: list[Line]) -> str:
        return "matched" if self.matched(log) else "no mention"


class Grok(Reader):
    """pygrok with the patterns in logtools.grok."""

    name = "grok"

    def __init__(self, python: Path, patterns: Path):
        self._python, self._file = python, patterns
        self._patterns: list[str] = []
        self._seen: dict[str, list | None] = {}     # what was found in a text

    def read_all(self, logs: list[list[Line]]) -> None:
        """Look at many logs at once: to start pygrok takes longer than to use it."""
        texts = {line.text for log in logs for line in self._own(log)} - self._seen.keys()
        if texts:
            # -I -B: its own packages only, and no files left behind.
            answer = json.loads(_run(str(self._python), "-I", "-B", str(_GROKCOUNT),
                                     str(self._file), text="\n".join(texts)))
            self._patterns = answer["patterns"]
            self._seen |= {text: answer["found"].get(text) for text in texts}

    @staticmethod
    def _own(log: list[Line]) -> list[Line]:
        return [line for line in log if line.program in ("postscreen", "dnsblog", "")]

    def _read(self, path: Path, log: list[Line]) -> list[str]:
        self.read_all([log])
        counts = Counter(json.dumps(self._seen[line.text] or ["no pattern", line.text])
                         for line in self._own(log))
        return [f"{number} {what}" for what, number in sorted(counts.items())]

    def unmet(self, log: list[Line]) -> list[str]:
        """The patterns that no line matches."""
        self.read_all([log])
        met = {found[0] for line in self._own(log) if (found := self._seen[line.text])}
        return sorted(set(self._patterns) - met)

    def knows(self, log: list[Line]) -> set[str]:
        """The texts that some pattern matches."""
        self.read_all([log])
        return {line.text for line in self._own(log) if self._seen[line.text]}

    def treatment(self, log: list[Line]) -> str:
        return "something else" if self.knows(log) else "no pattern"


def missing(python: Path) -> str:
    """Why the log readers cannot be run; empty if they can."""
    for program in ("pflogsumm", "logwatch", "fail2ban-regex"):
        if not shutil.which(program):
            return f"the program '{program}' is not installed"
    for file in (FAIL2BAN_FILTER, LOGWATCH_POSTFIX):
        if not file.exists():
            return f"{file} is missing"
    done = subprocess.run([str(python), "-I", "-c", "import pygrok, regex"], capture_output=True,
                          text=True)
    return f"{python} has no pygrok: {done.stderr.strip()}" if done.returncode else ""
