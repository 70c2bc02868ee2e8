"""Run by scripts/bench.sh, as root: python3 -m bench OPTION..."""

import json
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from harness import namespace

from . import inside, machine, options, tables
from .rounds import Runner


def main(words: list[str]) -> int:
    """Measure what the command line asks for."""
    chosen = options.parse(words)
    if chosen.list:
        for scenario in chosen.scenarios:
            print(f"{scenario.name:20} {scenario.title}")
        return 0
    if why := namespace.problem():
        print(f"bench: {why}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = Path(tempfile.mkdtemp(prefix="gatepost-bench-", dir="/var/tmp"))
    root.chmod(0o755)           # daemons that run as another user must get in
    try:
        return measure(chosen, root)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(root, ignore_errors=True)


def measure(chosen, root: Path) -> int:
    """All scenarios; their tables are printed as they are done."""
    runner = Runner(root, chosen)
    description = machine.describe(runner.version, root)
    if chosen.quick:
        description.insert(0, "quick: a quarter of the load, or less")
    print("\n".join(description), flush=True)
    done, failures = [], []
    for scenario in chosen.scenarios:
        results = runner.run(scenario)
        if results.programs():
            done.append(results)
            print("\n" + tables.table(results, chosen.targets).text(), flush=True)
        failures += results.failures
    description[-1] += f", {machine.load()} at the end"
    if chosen.markdown:
        parts = [f"    make bench{_command(chosen)}", "; ".join(description) + ".",
                 *(tables.table(results, chosen.targets).markdown() for results in done)]
        chosen.markdown.write_text("\n\n".join(parts) + "\n")
    if chosen.json:
        rounds = {results.scenario.name: results.rounds for results in done}
        chosen.json.write_text(json.dumps({"machine": description, "rounds": rounds,
                                           "failures": failures}, indent=1) + "\n")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


# What names files of this machine is of no use to others.
_PRIVATE = ("--gatepost", "--visits", "--name-server", "--slowsync", "--markdown", "--json",
            "--keep")


def _command(chosen) -> str:
    """The options, as make takes them."""
    words, rest = [], iter(chosen.words)
    for word in rest:
        if word in _PRIVATE:
            next(rest)
        elif word.partition("=")[0] not in _PRIVATE:
            words.append(word)
    return f' BENCH_OPTIONS="{shlex.join(words)}"' if words else ""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside.run(Path(sys.argv[2])))
    sys.exit(main(sys.argv[1:]))
