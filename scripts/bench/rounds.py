"""Outside the namespaces: runs all cases in turn, each in an instance of its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

from harness import namespace

from .plan import PROGRAMS, Case, Scenario, Value, Values, Wrong
from .prepare import Workshop

# No case takes as long as this.
LIMIT = 400


@dataclasses.dataclass
class Results:
    """What the rounds of a scenario have come to."""
    scenario: Scenario
    rounds: list[dict[str, Values]]         # by program
    failures: list[str]

    def programs(self) -> list[str]:
        """Those that have figures."""
        return [program for program in PROGRAMS if any(program in round_ for round_ in self.rounds)]

    def values(self, program: str, key: str) -> list[Value]:
        """A figure, round by round; nothing where the round has failed."""
        return [round_.get(program, {}).get(key) for round_ in self.rounds]


class Runner:
    """Runs scenarios."""

    def __init__(self, root: Path, options: Namespace):
        self._root = root
        self._options = options
        self._workshop = Workshop(root, options)
        self.version = self._workshop.template.version

    def run(self, scenario: Scenario) -> Results:
        """All rounds of a scenario. In each, the programs take their turns one after the
        other, so that what goes on besides on this machine meets all of them."""
        results = Results(scenario, [], [])
        count = min(self._options.rounds, scenario.most_rounds)
        for number in range(1, count + 1):
            figures: dict[str, Values] = {}
            failed: set[str] = set()
            for case in scenario.cases:
                for program in self._options.programs:
                    if program not in case.programs:
                        continue
                    what = f"{scenario.name}/{case.name}, round {number}, {program}"
                    begin = time.monotonic()
                    try:
                        values = self._case(scenario, case, program, what)
                        figures.setdefault(program, {}).update(values)
                        _say(f"{what}: {time.monotonic() - begin:.1f} s")
                    except Wrong as error:
                        failed.add(program)
                        results.failures.append(f"{what}: {error}")
                        _say(f"FAILED {what}: {error}")
            for program, values in figures.items():
                scenario.finish(values)
            results.rounds.append(figures)
        return results

    def _case(self, scenario: Scenario, case: Case, program: str, what: str) -> Values:
        place = self._root / "instance"
        setting = case.setting(self._options.scale)
        log = None
        if self._options.keep:
            self._options.keep.mkdir(parents=True, exist_ok=True)
            name = "".join(c if c.isalnum() else "-" for c in what)
            log = str((self._options.keep / f"{name}.log").resolve())
            Path(log).unlink(missing_ok=True)
        try:
            order = {"place": str(place), "scenario": scenario.name, "case": case.name,
                     "program": program, "scale": dataclasses.asdict(self._options.scale),
                     "visits": str(self._options.visits.resolve()),
                     "name_server": str(self._options.name_server.resolve()),
                     "slowsync": str(self._options.slowsync.resolve()), "log": log,
                     "resolv_conf": self._workshop.make(place, program, setting),
                     "outcome": str(self._root / "outcome.json")}
            return self._inside(order)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _inside(self, order: dict) -> Values:
        order_file = self._root / "order.json"
        order_file.write_text(json.dumps(order))
        outcome_file = Path(order["outcome"])
        outcome_file.unlink(missing_ok=True)
        try:
            subprocess.run([*namespace.ENTER, sys.executable, "-B", "-m", "bench", "--inside",
                            str(order_file)], timeout=LIMIT, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Wrong(f"not done within {LIMIT} s") from None
        if not outcome_file.exists():
            raise Wrong("nothing came out")
        outcome = json.loads(outcome_file.read_text())
        if "wrong" in outcome:
            raise Wrong(outcome["wrong"])
        return outcome["values"]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
