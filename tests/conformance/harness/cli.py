"""The command line: which scenarios, which programs, and the verdict."""

import argparse
import concurrent.futures
import difflib
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import checks, instance, namespace, scenario, transcript

HERE = Path(__file__).resolve().parent.parent
JAIL = namespace.MOUNTS["spool"]
DEFAULT_JOBS = 8            # runs mostly wait, so more than there are processors


@dataclass
class Outcome:
    """What came of one scenario."""
    name: str
    verdict: str                        # 'pass', 'fail' or 'skip'
    report: list[str] = field(default_factory=list)
    seconds: float = 0.0


class HarnessError(Exception):
    """Something that is neither the reference's nor the candidate's fault."""


class Harness:
    """Runs scenarios against the reference and a candidate."""

    def __init__(self, options: argparse.Namespace, root: Path):
        self.options = options
        self.root = root
        self.template = instance.Template(root)
        self.reference = self.template.daemons / instance.REFERENCE
        self.candidate = options.candidate or self.reference
        # Runs end when this pipe is closed, however this process ends.
        self._lifeline, self._lifeline_end = os.pipe()

    def close(self) -> None:
        """Stop all runs that are under way."""
        os.close(self._lifeline_end)

    def run(self, script: scenario.Scenario) -> Outcome:
        """Run one scenario as often as needed, and compare."""
        began = time.monotonic()
        if script.candidate_only and not self.options.candidate:
            return Outcome(script.name, "skip", ["only for a candidate"])
        if missing := self.missing(script):
            return Outcome(script.name, "fail" if self.options.complete else "skip", [missing])
        report: list[str] = []
        try:
            if script.candidate_only:
                self._run_candidate(script, report)
            else:
                self._compare(script, report)
        except (HarnessError, checks.CheckError, scenario.ScenarioError, OSError,
                subprocess.SubprocessError) as error:
            report.append(f"cannot run: {error}")
        verdict = "fail" if report else "pass"
        return Outcome(script.name, verdict, report, time.monotonic() - began)

    def _run_candidate(self, script, report: list[str]) -> transcript.Transcript:
        return self.run_once(script, self.candidate, "candidate",
                             self.options.candidate_set, report)

    def _compare(self, script, report: list[str]) -> None:
        """Run the candidate and compare it with what is expected."""
        expected, label = self._expected(script, report)
        if expected is not None:
            actual = self._run_candidate(script, report)
            report += difflib.unified_diff(expected, actual.render(), label, "candidate",
                                           lineterm="", n=4)

    def _expected(self, script, report: list[str]) -> tuple[list[str] | None, str]:
        """What the candidate is compared with; None when only recording."""
        if self.options.expect:
            path = self.options.expect / f"{script.name}.txt"
            if not path.exists():
                raise HarnessError(f"no recorded transcript {path}")
            return path.read_text(encoding="utf-8").splitlines(), str(path)
        lines = self.run_once(script, self.reference, "reference", [], report).render()
        if self.options.record and not report:
            path = self.options.record / f"{script.name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            if not self.options.candidate:
                return None, ""
        return lines, "reference"

    def missing(self, script: scenario.Scenario) -> str:
        """Why a scenario cannot run here; empty if it can."""
        for need in script.needs:
            kind, _, name = need.partition(" ")
            if kind == "tls":
                present = self.template.has_tls
            elif kind == "program":
                present = shutil.which(name) is not None
            elif kind == "table":
                present = name in self.template.table_types
            elif kind == "parameter":
                present = subprocess.run(["postconf", "-dh", name], capture_output=True,
                                         text=True).stderr == ""
            else:
                raise HarnessError(f"{script.path}: unknown need: {need}")
            if not present:
                return f"needs {need}"
        return ""

    def observe(self, script: scenario.Scenario, program: Path, role: str,
                settings: list[str]) -> dict:
        """One run in namespaces of its own; what was seen, as it was seen."""
        root = self.root / script.name.replace("/", "-") / role
        root.parent.mkdir(exist_ok=True)
        private = instance.Instance(root, self.template, script, program, settings,
                                    self.options.chroot)
        limit = float(script.options.get("limit", 45))
        job = {"root": str(root), "scenario": str(script.path), "name": script.name,
               "program": str(program), "resolv_conf": private.resolv_conf,
               "limit": limit, "result": str(root / "result.json")}
        (root / "job.json").write_text(json.dumps(job))
        command = [*namespace.ENTER, sys.executable, "-B", "-m", "harness.worker",
                   str(root / "job.json")]
        done = subprocess.run(command, cwd=HERE, stdin=self._lifeline,
                              capture_output=True, text=True, timeout=limit + 30)
        try:
            run = json.loads((root / "result.json").read_text())
        except FileNotFoundError:
            raise HarnessError(f"{role}: the run ended early: {done.stderr}") from None
        if run["error"]:
            raise HarnessError(f"{role}: {run['error']}")
        if self.options.chroot and run["roots"] and JAIL not in run["roots"] \
                and any("]: CONNECT from " in line for line in run["log"]):
            raise HarnessError(f"{role}: not in its jail, but in {' '.join(run['roots'])}")
        if not self.options.keep:
            shutil.rmtree(root)
        return run

    def run_once(self, script: scenario.Scenario, program: Path, role: str,
                 settings: list[str], report: list[str]) -> transcript.Transcript:
        """One run, made comparable; failed assertions go to the report."""
        return self.judge(script, role, self.observe(script, program, role, settings), report)

    def judge(self, script: scenario.Scenario, role: str, run: dict,
              report: list[str]) -> transcript.Transcript:
        """Make a run comparable; failed assertions go to the report."""
        seen = transcript.build(run, script.strict, script.ignore)
        addresses = {client["name"]: client["address"] for client in run["clients"]}
        failed = checks.failures(seen, script.where, addresses)
        judged_alone = role == "reference" or bool(script.candidate_only)
        if judged_alone:
            failed += [f"{name}: {event}" for name, events in seen.wire.items()
                       for event in events if "timeout waiting" in event]
        if failed:
            report += [f"{role}: does not hold: {text}" for text in failed]
            if judged_alone or self.options.expect:
                report += ["    " + line for line in seen.render()]
        return seen


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run", description="Compare a postscreen(8) replacement with Postfix's own.")
    parser.add_argument("--candidate", type=Path, metavar="PATH",
                        help="the program to test (default: the reference itself)")
    parser.add_argument("--candidate-set", action="append", default=[],
                        metavar="NAME=VALUE", help="a main.cf setting for the candidate only")
    parser.add_argument("--only", action="append", metavar="GLOB",
                        help="run only scenarios whose name matches")
    parser.add_argument("--scenarios", type=Path, metavar="DIR",
                        help="the scenarios below DIR instead of the project's")
    parser.add_argument("--complete", action="store_true",
                        help="a scenario whose needs are not met here fails")
    parser.add_argument("--chroot", action="store_true",
                        help="both programs in a jail, unless a scenario says otherwise")
    parser.add_argument("--jobs", type=int, default=DEFAULT_JOBS, metavar="N")
    parser.add_argument("--keep", action="store_true",
                        help="keep the instance directories, and say where they are")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--verbose", action="store_true", help="also print passed scenarios")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--record", type=Path, metavar="DIR",
                        help="write the reference's transcripts to DIR")
    either.add_argument("--expect", type=Path, metavar="DIR",
                        help="compare with the transcripts in DIR, not with the reference")
    parser.add_argument("--known", type=Path, metavar="FILE",
                        help="scenarios that are known to differ, with the reason")
    options = parser.parse_args(arguments)
    if options.candidate:
        options.candidate = options.candidate.absolute()
        if not os.access(options.candidate, os.X_OK):
            parser.error(f"not an executable file: {options.candidate}")
    return options


def main(arguments: list[str]) -> int:
    options = parse_arguments(arguments)
    try:
        scripts = load_scenarios(options)
    except (scenario.ScenarioError, OSError) as error:
        print(f"run: {error}", file=sys.stderr)
        return 2
    names = {script.name for script in scripts}
    if options.only:
        scripts = [s for s in scripts
                   if any(fnmatch.fnmatchcase(s.name, glob) for glob in options.only)]
    try:
        known = known_differences(options.known, names)
    except (ValueError, OSError) as error:
        print(f"run: {error}", file=sys.stderr)
        return 2
    if options.list:
        for script in scripts:
            print(f"{script.name:34} {script.title}")
        return 0
    if not scripts:
        print("run: no scenario matches", file=sys.stderr)
        return 2
    if why := namespace.problem():
        print(f"run: {why}", file=sys.stderr)
        return 2

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root = Path(tempfile.mkdtemp(prefix="conformance-"))
    root.chmod(0o755)           # daemons that run as another user must get in
    try:
        return _run_all(scripts, options, root, known)
    finally:
        if options.keep:
            print(f"instances kept in {root}", file=sys.stderr)
        else:
            shutil.rmtree(root, ignore_errors=True)


def load_scenarios(options: argparse.Namespace) -> list[scenario.Scenario]:
    """The project's scenarios, those of its own among them, or those of --scenarios."""
    if options.scenarios:
        return scenario.load_all(options.scenarios.absolute())
    return scenario.load_all(HERE / "scenarios") + scenario.load_all(HERE / "own", "own/")


def known_differences(path: Path | None, names: set[str]) -> dict[str, str]:
    """Read the list of scenarios that are known to differ: {name: "KIND: reason"}.

    A line is `pending NAME REASON` (not met yet) or `deviation NAME REASON`
    (differs on purpose); `#` starts a comment. Raises ValueError on other lines,
    and on names that no scenario has or that stand there twice.
    """
    known = {}
    for number, line in enumerate(path.read_text().splitlines() if path else [], 1):
        words = line.split("#")[0].split(None, 2)
        if not words:
            continue
        if len(words) < 3 or words[0] not in ("pending", "deviation"):
            raise ValueError(f"{path}:{number}: want: pending|deviation NAME REASON")
        if words[1] not in names:
            raise ValueError(f"{path}:{number}: no such scenario: {words[1]}")
        if words[1] in known:
            raise ValueError(f"{path}:{number}: listed twice: {words[1]}")
        known[words[1]] = f"{words[0]}: {words[2]}"
    return known


def settle(outcome: Outcome, known: dict[str, str]) -> Outcome:
    """A known difference is skipped while it lasts, and fails once it is gone."""
    why = known.get(outcome.name)
    if why is None or outcome.verdict == "skip":
        return outcome
    if outcome.verdict == "fail":
        return Outcome(outcome.name, "skip", [why], outcome.seconds)
    return Outcome(outcome.name, "fail", [f"passes, but is listed as {why}"], outcome.seconds)


def _run_all(scripts: list, options: argparse.Namespace, root: Path,
             known: dict[str, str]) -> int:
    totals = {"pass": 0, "fail": 0, "skip": 0}
    pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
    harness = Harness(options, root)
    try:
        jobs = [pool.submit(harness.run, script) for script in scripts]
        for job in concurrent.futures.as_completed(jobs):
            outcome = settle(job.result(), known)
            totals[outcome.verdict] += 1
            _print_outcome(outcome, options.verbose)
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        harness.close()
        pool.shutdown()
    skipped = f", {totals['skip']} skipped" if totals["skip"] else ""
    print(f"{totals['pass']} passed, {totals['fail']} failed{skipped}")
    return 1 if totals["fail"] or not totals["pass"] else 0


def _print_outcome(outcome: Outcome, verbose: bool) -> None:
    if outcome.verdict == "fail":
        print(f"FAIL {outcome.name} ({outcome.seconds:.1f} s)")
        print("\n".join("    " + line for line in outcome.report))
    elif outcome.verdict == "skip":
        print(f"skip {outcome.name}: {outcome.report[0]}")
    elif verbose:
        print(f"pass {outcome.name} ({outcome.seconds:.1f} s)")
    sys.stdout.flush()
