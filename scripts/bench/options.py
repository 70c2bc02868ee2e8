"""The command line."""

import argparse
from pathlib import Path

from .plan import PROGRAMS, Scale
from .scenarios import SCENARIOS

# Of a whole run, and of one that only shows whether all is well.
ROUNDS, QUICK_ROUNDS = 5, 1


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line; the first four options are bench.sh's."""
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure postscreen(8), Gatepost and the floor in turn.")
    for name in ("gatepost", "visits", "name-server", "slowsync"):
        parser.add_argument("--" + name, type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=_positive, metavar="N",
                        help=f"rounds of each scenario (default {ROUNDS})")
    parser.add_argument("--only", action="append", metavar="SCENARIO", default=[],
                        choices=[scenario.name for scenario in SCENARIOS],
                        help="this scenario (may be repeated)")
    parser.add_argument("--programs", type=_programs, default=PROGRAMS,
                        metavar="P,P", help=f"of {','.join(PROGRAMS)}")
    parser.add_argument("--quick", action="store_true",
                        help="a quarter of the load, one round: whether it works")
    parser.add_argument("--patience", type=_positive, default=30, metavar="SECONDS",
                        help="how long a cleanup of the cache is waited for (default 30)")
    parser.add_argument("--markdown", type=Path, metavar="FILE",
                        help="write the tables there, too")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the figures of every round there")
    parser.add_argument("--targets", action="store_true",
                        help="show what is aimed at beside the figures")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY",
                        help="keep the log records of every instance there")
    parser.add_argument("--list", action="store_true", help="name the scenarios, and stop")
    options = parser.parse_args(words)
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    options.scale = Scale(options.quick, options.patience)
    options.scenarios = [scenario for scenario in SCENARIOS
                         if not options.only or scenario.name in options.only]
    options.words = words
    return options


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise ValueError(word)
    return number


def _programs(word: str) -> tuple[str, ...]:
    chosen = word.split(",")
    if unknown := set(chosen) - set(PROGRAMS):
        raise argparse.ArgumentTypeError(f"no such program: {', '.join(sorted(unknown))}")
    return tuple(name for name in PROGRAMS if name in chosen)
