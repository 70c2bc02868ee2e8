"""Large verdict caches, and what is removed from them."""

import re
import statistics
import time
from collections.abc import Callable

from ..plan import (GATEPOST, MANY, NEW, OTHERS, POSTSCREEN, Cache, Case, Figure, Scale, Scenario,
                    Setting, Target, Value, Values, Wrong, quotient)
from ..world import World
from .known import PASS_OLD

BOTH = (POSTSCREEN, GATEPOST)
LARGE, SMALL = 1_000_000, 10_000
# Entries besides these, for clients that come before the others.
FIRST = 2000
# A prime number: steps of this length, round and round, draw addresses from everywhere.
STEP = 104729
STARTS = 5


def _visits(key: str, entries: int) -> Callable[[World], Values]:
    def run(world: World) -> Values:
        world.wake("known", MANY, FIRST, first=entries)
        # No address comes twice: otherwise those of the small cache would cost less because
        # the kernel remembers addresses, too.
        measured = world.measure("known", MANY, world.scale(SMALL), "220", PASS_OLD,
                                 spread=entries, stride=STEP, in_flight=20)
        return {key: measured.cpu}

    return run


def _starts(world: World) -> Values:
    def start(number: int) -> float:
        load = world.load("known", MANY, first=LARGE + number, count=1, in_flight=1)
        return load.check("220").time("first_byte", "max")

    values: Values = {"first": start(0)}
    again = []
    for number in range(STARTS):
        world.restart()
        again.append(start(1 + number))
    values["start"] = statistics.median(again)
    return values


def _large(world: World) -> Values:
    # The starts first: the process that they leave behind is measured then.
    starts = _starts(world) if world.program in BOTH else {}
    return {**starts, **_visits("large", LARGE)(world)}


def _finish(values: Values) -> None:
    quotient(values, "large/small", "large", "small")


DONE = r"cache \S+ full cleanup: retained=(\d+) dropped=(\d+) entries"
SECONDS = 10
PER_SECOND = 100
WAIT = 1


def _new_clients(world: World, key: str) -> Callable[[], Values]:
    # One more before, so that nobody waits for the program's start.
    world.load("new", OTHERS, count=1, in_flight=1, greet_wait=WAIT).check("220")
    count = PER_SECOND * SECONDS
    clients = world.clients("new", NEW, count=count, rate=PER_SECOND, greet_wait=WAIT)

    def times() -> Values:
        load = clients.result().check("220")
        return {f"{key}-first": load.time("first_byte", "p99"),
                f"{key}-banner": load.time("banner", "p99")}

    return times


def _cleanup(world: World) -> Values:
    begin = time.monotonic()
    times = _new_clients(world, "with")
    done: Value = f"> {world.scale.patience}"
    if world.wait_for_record(DONE, world.scale.patience):
        done = time.monotonic() - begin
        kept, dropped = map(int, re.search(DONE, world.log_text()).groups())
        if dropped != LARGE:
            raise Wrong(f"{dropped} entries were dropped, {kept} were not")
    return {"done": done, **times()}


def _no_cleanup(world: World) -> Values:
    return _new_clients(world, "without")()


def _finish_cleanup(values: Values) -> None:
    quotient(values, "first", "with-first", "without-first")
    quotient(values, "banner", "with-banner", "without-banner")


def _expired(cleanup: bool) -> Callable[[Scale], Setting]:
    # A week is how long an expired entry is kept.
    return lambda scale: Setting(greet_wait=WAIT, cache=Cache(MANY, LARGE, days=-8),
                                 cleanup=cleanup, keep_log=True)


SCENARIOS = (
    Scenario(
        "large-cache", "known clients, addresses from all over the cache, each once",
        (Figure("small", "CPU, µs a visit, 10,000 entries, 20 in flight"),
         Figure("large", "CPU, µs a visit, 1,000,000 entries, 20 in flight"),
         Figure("large/small", "the ratio of these two", 2, ratio=False, target=Target(1.15)),
         Figure("start", "start to first verdict, ms, 1,000,000 entries", target=Target(20)),
         Figure("first", "the same, first start of the instance")),
        # The floor has no cache: it shows what so many addresses cost without one.
        (Case("small", _visits("small", SMALL),
              lambda scale: Setting(cache=Cache(MANY, SMALL + FIRST))),
         Case("large", _large, lambda scale: Setting(cache=Cache(MANY, LARGE + FIRST)))),
        _finish),
    Scenario(
        "cleanup", "1,000,000 expired entries, 100 new clients a second for 10 s, "
                   "greet wait 1 s",
        (Figure("done", "s until the entries are removed", ratio=False, target=Target(20)),
         Figure("with-first", "first byte, ms, p99, meanwhile"),
         Figure("without-first", "the same without a cleanup"),
         Figure("first", "the ratio of these two", 2, ratio=False, target=Target(2)),
         Figure("with-banner", "banner, ms, p99, meanwhile"),
         Figure("without-banner", "the same without a cleanup"),
         Figure("banner", "the ratio of these two", 2, ratio=False, target=Target(2))),
        (Case("with", _cleanup, _expired(True), BOTH),
         Case("without", _no_cleanup, _expired(False), BOTH)),
        _finish_cleanup, most_rounds=2),
)
