"""The command line: runs trials one after the other, each in namespaces of its own."""

import argparse
import fnmatch
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
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
    parser.add_argument("--list", action="store_true", help="name the trials, and stop")
    parser.add_argument("--markdown", type=Path, metavar="FILE",
                        help="write the figures there, too")
    return parser.parse_args(words)


def _run_all(options: argparse.Namespace, chosen: list[Trial], root: Path) -> int:
    workshop = Workshop(root, options.gatepost.resolve(), options.slowsync.resolve(),
                        options.setclock.resolve())
    lines, failed = [], 0
    for trial in chosen:
        begin = time.monotonic()
        outcome = _run(options, trial, root, workshop)
        seconds = time.monotonic() - begin
        if "wrong" in outcome:
            failed += 1
            print(f"FAIL {trial.name} ({seconds:.0f} s): {outcome['wrong']}")
            for line in outcome.get("log", []):
                print(f"     | {line}")
        else:
            print(f"ok   {trial.name} ({seconds:.0f} s): {trial.title}")
            figures = [Figure(*figure) for figure in outcome["figures"]]
            for figure in figures:
                print(f"     {figure}")
            found = "; ".join(map(str, figures)) or "–"
            lines.append(f"| `{trial.name}` | {trial.title} | {found} | {seconds:.0f} s |")
        sys.stdout.flush()
    if options.markdown:
        head = ["| trial | what must not hurt | found | took |", "|---|---|---|---|"]
        options.markdown.write_text("\n".join([*head, *lines]) + "\n")
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _run(options: argparse.Namespace, trial: Trial, root: Path, workshop: Workshop) -> dict:
    place, outcome_file = root / "instance", root / "outcome.json"
    outcome_file.unlink(missing_ok=True)
    try:
        order = {"trial": trial.name, "place": str(place), "short": options.short,
                 "program": options.gatepost.name,
                 "resolv_conf": workshop.make(place, trial.setting), "outcome": str(outcome_file),
                 **{name: str(getattr(options, name).resolve())
                    for name in ("gatepost", "visits", "name_server", "slowsync", "setclock")}}
        order_file = root / "order.json"
        order_file.write_text(json.dumps(order))
        subprocess.run([*namespace.ENTER, sys.executable, sys.argv[0], "--inside",
                        str(order_file)], timeout=trial.limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"wrong": f"not done within {trial.limit} s"}
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if not outcome_file.exists():
        return {"wrong": "nothing came out"}
    return json.loads(outcome_file.read_text())
