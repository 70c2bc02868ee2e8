"""Gatepost with more than one worker."""

from collections.abc import Callable

from ..plan import GATEPOST, KNOWN, NEW, Cache, Case, Figure, Scale, Scenario, Setting, Values
from ..world import World
from .known import CLIENTS, PASS_OLD
from .new import PASS_NEW


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
        return values

    return run


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
    return tuple(figures)


SCENARIOS = (
    Scenario(
        "workers", "Gatepost with one worker and with two; the clients and all stand-ins run "
                   "on the same cores",
        _figures(),
        tuple(Case(f"{workers}", _throughput(workers), _setting(workers), (GATEPOST,))
              for workers in (1, 2))),
)
