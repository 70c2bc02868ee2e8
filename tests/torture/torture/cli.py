"""The command line: runs trials, each in namespaces of its own."""

import argparse
import fnmatch
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from harness import namespace

from . import inside
from .plan import Figure, Trial
from .prepare import Workshop
from .trials import TRIALS


def main(words: list[str]) -> int:
    """Run what the command line asks for."""
    if words[:1] == ["--inside"]:
        return inside.run(Path(words[1]))
    options = _parse(words)
    chosen = [trial for trial in TRIALS
              if any(fnmatch.fnmatch(trial.name, only) for only in options.only or ["*"])
              and (trial.short or not options.short)]
    if options.list:
        for trial in chosen:
            print(f"{trial.name:28} {trial.title}")
        return 0
    if why := namespace.problem():
        print(f"torture: {why}", file=sys.stderr)
        return 1
    if not chosen:
        print("torture: no such trial", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = Path(tempfile.mkdtemp(prefix="gatepost-torture-", dir="/var/tmp"))
    root.chmod(0o755)           # daemons that run as another user must get in
    try:
        return _run_all(options, chosen, root)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="torture", description="Load and faults that must not hurt, under a real master(8).")
    for name in ("gatepost", "visits", "name-server", "slowsync", "setclock"):
        parser.add_argument("--" + name, type=Path, required="--list" not in words,
                            help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help="the form of `make test`")
    parser.add_argument("--only", action="append", metavar="PATTERN",
                        help="trials whose name matches (may be repeated)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="how many at a time, where they do not measure (default 1)")
    parser.add_argument("--list", action="store_true", help="name the trials, and stop")
    parser.add_argument("--markdown", type=Path, metavar="FILE",
                        help="write the figures there, too")
    return parser.parse_args(words)


def _run_all(options: argparse.Namespace, chosen: list[Trial], root: Path) -> int:
    workshop = Workshop(root, options.gatepost.resolve(), options.slowsync.resolve(),
                        options.setclock.resolve())
    report = Report()
    for trial in chosen:
        if trial.is_alone:
            report.add(trial, *_timed(options, trial, root, workshop))
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(_timed, options, trial, root, workshop): trial
                   for trial in chosen if not trial.is_alone}
        try:
            for done in as_completed(running):
                report.add(running[done], *done.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if options.markdown:
        options.markdown.write_text(report.markdown())
    print(f"{len(chosen) - report.failed} passed, {report.failed} failed")
    return 1 if report.failed else 0


class Report:
    """What came out, as it comes."""

    def __init__(self) -> None:
        self.failed = 0
        self._lines: list[str] = []

    def add(self, trial: Trial, outcome: dict, seconds: float) -> None:
        """One trial is over."""
        if "wrong" in outcome:
            self.failed += 1
            print(f"FAIL {trial.name} ({seconds:.0f} s): {outcome['wrong']}")
            for line in outcome.get("log", []):
                print(f"     | {line}")
        else:
            print(f"ok   {trial.name} ({seconds:.0f} s): {trial.title}")
            figures = [Figure(*figure) for figure in outcome["figures"]]
            for figure in figures:
                print(f"     {figure}")
            found = "; ".join(map(str, figures)) or "–"
            self._lines.append(f"| `{trial.name}` | {trial.title} | {found} | {seconds:.0f} s |")
        sys.stdout.flush()

    def markdown(self) -> str:
        """What has passed, as a table."""
        head = ["| trial | what must not hurt | found | took |", "|---|---|---|---|"]
        return "\n".join([*head, *sorted(self._lines)]) + "\n"


def _timed(options: argparse.Namespace, trial: Trial, root: Path,
           workshop: Workshop) -> tuple[dict, float]:
    begin = time.monotonic()
    outcome = _run(options, trial, root, workshop)
    return outcome, time.monotonic() - begin


# One at a time is made: they share what is made once.
_MAKING = threading.Lock()


def _run(options: argparse.Namespace, trial: Trial, root: Path, workshop: Workshop) -> dict:
    home = root / trial.name.replace("/", "-")
    place, outcome_file = home / "instance", home / "outcome.json"
    home.mkdir(mode=0o755)
    try:
        with _MAKING:
            resolv_conf = workshop.make(place, trial.setting)
        order = {"trial": trial.name, "place": str(place), "short": options.short,
                 "program": options.gatepost.name, "resolv_conf": resolv_conf,
                 "outcome": str(outcome_file),
                 **{name: str(getattr(options, name).resolve())
                    for name in ("gatepost", "visits", "name_server", "slowsync", "setclock")}}
        order_file = home / "order.json"
        order_file.write_text(json.dumps(order))
        subprocess.run([*namespace.ENTER, sys.executable, sys.argv[0], "--inside",
                        str(order_file)], timeout=trial.limit, stdin=subprocess.DEVNULL)
        if not outcome_file.exists():
            return {"wrong": "nothing came out"}
        return json.loads(outcome_file.read_text())
    except subprocess.TimeoutExpired:
        return {"wrong": f"not done within {trial.limit} s"}
    finally:
        shutil.rmtree(home, ignore_errors=True)
