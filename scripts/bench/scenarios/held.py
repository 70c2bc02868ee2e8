"""Memory of clients that wait."""

from collections.abc import Callable

from ..plan import (GATEPOST, HELD, POSTSCREEN, Case, Figure, Scale, Scenario, Setting, Target,
                    Values)
from ..world import World
from .dnsbl import NONE, SILENT


def _memory(key: str, few: int, many: int) -> Callable[[World], Values]:
    def run(world: World) -> Values:
        # Before: what the program has once it has done anything at all.
        world.load("hold", HELD, count=100, in_flight=100, hold=0.1, greet_wait=600)
        world.settle()
        sizes = []
        for first, last in ((100, few), (few, many)):
            world.clients("hold", HELD, first=first, count=last - first, in_flight=200,
                          greet_wait=600).wait_until_held()
            world.settle()
            sizes.append(world.memory())
        one, other = sizes
        return {f"{key}-resident": (other.resident - one.resident) / (many - few),
                f"{key}-proportional": (other.proportional - one.proportional) / (many - few),
                f"{key}-total": other.proportional / 1024}

    return run


SCENARIOS = (
    Scenario(
        "memory", "clients in the greet wait",
        (Figure("plain-resident", "resident, KiB a client, from 3,000 to 15,000", 2,
                target=Target(0.6)),),
        (Case("plain", _memory("plain", 3000, 15000),
              lambda scale: Setting(greet_wait=600), (POSTSCREEN, GATEPOST)),)),
)
