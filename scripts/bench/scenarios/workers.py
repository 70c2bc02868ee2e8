"""Gatepost with more than one worker."""

from collections.abc import Callable

from ..plan import (GATEPOST, KNOWN, NEW, Cache, Case, Figure, Scale, Scenario, Setting, Value,
                    Values, quotient)
from ..processes import Ration
from ..world import World
from .known import CLIENTS, PASS_OLD
from .new import PASS_NEW


SHARE = 0.2


def _throughput(workers: int) -> Callable[[World], Values]:
    def run(world: World) -> Values:
        world.wake("known", KNOWN, CLIENTS)
        values: Values = {}

        def measure(kind: str, *words: object, **options: object) -> None:
            before = world.cpu_of_each()
            measured = world.measure(kind, *words, **options)
            key = f"{workers}-{kind}"
            values.update({f"{key}-rate": measured.rate, f"{key}-cpu": measured.cpu,
                           f"{key}-share": world.busiest(before)})

        measure("known", KNOWN, world.scale(40000), "220", PASS_OLD, spread=CLIENTS,
                in_flight=200)
        measure("new", NEW, world.scale(15000), "220", PASS_NEW, in_flight=world.scale(7500),
                greet_wait=1)
        values[f"{workers}-rationed-rate"] = _rationed(world)
        return values

    return run


def _rationed(world: World) -> Value:
    """Visits a second, if each worker has a fifth of a core, so that there is enough for the
    clients and for what stands around."""
    if Ration.parent() is None:
        return "no control groups"
    ration = Ration(SHARE)
    try:
        for process in world.workers():
            ration.give(process.pid)
        load = world.load("known", KNOWN, count=world.scale(20000), spread=CLIENTS, in_flight=200)
        load.check("220")
        return load.finished / load.seconds
    finally:
        ration.take_back()


def _setting(workers: int) -> Callable[[Scale], Setting]:
    return lambda scale: Setting(gatepost_cf=(f"workers = {workers}",),
                                 cache=Cache(KNOWN, CLIENTS), many=True)


def _figures() -> tuple[Figure, ...]:
    figures = []
    for kind, load in (("known", "known clients, 200 in flight"),
                       ("new", "new clients, 7,500 in flight, greet wait 1 s")):
        for key, label, digits in (("rate", "visits a second", 0),
                                   ("cpu", "CPU, µs a visit", 1),
                                   ("share", "share of the busiest process", 2)):
            figures += [Figure(f"{workers}-{kind}-{key}",
                               f"{load}, workers = {workers}: {label}", digits, ratio=False)
                        for workers in (1, 2)]
    figures += [Figure(f"{workers}-rationed-rate",
                       f"known clients, 200 in flight, {SHARE} of a core for each worker, "
                       f"workers = {workers}: visits a second", 0, ratio=False)
                for workers in (1, 2)]
    figures.append(Figure("rationed", "the ratio of these two", 2, ratio=False))
    return tuple(figures)


def _finish(values: Values) -> None:
    quotient(values, "rationed", "2-rationed-rate", "1-rationed-rate")


SCENARIOS = (
    Scenario(
        "workers", "Gatepost with one worker and with two; the clients and all stand-ins run "
                   "on the same cores",
        _figures(),
        tuple(Case(f"{workers}", _throughput(workers), _setting(workers), (GATEPOST,))
              for workers in (1, 2)),
        _finish),
)
