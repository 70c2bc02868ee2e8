"""New clients, and DNS blocklists."""

from collections.abc import Callable

from ..plan import (FLOOR, NEW, POSTSCREEN, Case, Figure, Scale, Scenario, Setting, Target, Values,
                    Wrong)
from ..world import World

# The name server goes by the first letter: a list that knows nobody, one that knows
# everybody, one that never answers.
NONE = tuple(f"none{number}.bench.test" for number in (1, 2, 3))
ALL = tuple(f"listed{number}.bench.test" for number in (1, 2, 3))
SILENT = tuple(f"silent{number}.bench.test" for number in (1, 2, 3))


def _look_up(key: str, records: tuple[str, ...]) -> Callable[[World], Values]:
    def run(world: World) -> Values:
        world.wake()
        count = world.scale(3000)
        asked = world.name_server.questions()
        # The floor keeps it to itself who is listed.
        expected = ("CONNECT", "PASS NEW", *(records if world.program != FLOOR else ()))
        measured = world.measure("new", NEW, count, "220", expected,
                                 in_flight=400, greet_wait=1)
        asked = world.name_server.questions() - asked
        if asked < 3 * count:
            raise Wrong(f"{asked} questions for {count} clients")
        return {key: measured.cpu}

    return run


SCENARIOS = (
    Scenario(
        "dnsbl", "new clients, three DNS blocklists, greet wait 1 s, 400 in flight; "
                 "who is listed on all of them passes, too",
        (Figure("none", "CPU with helpers, µs a client, on no list",
                target=Target(0.18, POSTSCREEN)),
         Figure("all", "CPU with helpers, µs a client, on all lists",
                target=Target(0.18, POSTSCREEN))),
        (Case("none", _look_up("none", ()), lambda scale: Setting(zones=NONE)),
         Case("all", _look_up("all", ("addr",) * 3), lambda scale: Setting(zones=ALL)))),
)
