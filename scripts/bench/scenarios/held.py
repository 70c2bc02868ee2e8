"""Memory of clients that wait."""

from collections.abc import Callable

from ..plan import (GATEPOST, HELD, POSTSCREEN, Case, Figure, Scale, Scenario, Setting, Target,
                    Values)
from ..world import World
from .dnsbl import NONE, SILENT

LOTS = (3000, 15000)
# postscreen(8) has a process for every look-up that is not answered yet.
SOME = (50, 200)
# So that no look-up ends by itself: the C library asks for that long, and so does Gatepost.
PATIENT = ("options timeout:30 attempts:5",)


def _memory(key: str, counts: dict[str, tuple[int, int]]) -> Callable[[World], Values]:
    def run(world: World) -> Values:
        few, many = counts[world.program]
        sizes = []
        for first, last in ((0, few), (few, many)):
            world.clients("hold", HELD, first=first, count=last - first, in_flight=200,
                          greet_wait=600).wait_until_held()
            world.wait_for_helpers()
            sizes.append(world.memory())
        one, other = sizes
        return {f"{key}-resident": (other.resident - one.resident) / (many - few),
                f"{key}-proportional": (other.proportional - one.proportional) / (many - few),
                f"{key}-total": other.proportional / 1024}

    return run


def _setting(zones: tuple[str, ...]) -> Callable[[Scale], Setting]:
    return lambda scale: Setting(greet_wait=600, many=True, zones=zones, resolv_conf=PATIENT,
                                 main_cf=("postscreen_dnsbl_timeout = 600s",))


BOTH = (POSTSCREEN, GATEPOST)
SCENARIOS = (
    Scenario(
        "memory", "clients in the greet wait: what one more costs, between 3,000 and 15,000; "
                  "with helper processes",
        (Figure("plain-resident", "KiB a client, resident", 2, target=Target(0.6)),
         Figure("plain-proportional", "KiB a client, proportional", 2),
         Figure("plain-total", "MiB with 15,000, proportional"),
         Figure("answered-resident", "three DNSBLs that have answered: KiB a client, resident",
                2, target=Target(1.2)),
         Figure("answered-proportional", "the same, proportional", 2),
         Figure("answered-total", "the same, MiB with 15,000, proportional"),
         Figure("silent-resident", "three DNSBLs that do not answer: KiB a client, resident "
                                   "(postscreen: between 50 and 200 clients)", 2,
                target=Target(1.2)),
         Figure("silent-proportional", "the same, proportional", 2),
         Figure("silent-total", "the same, MiB with 15,000 (postscreen: 200), proportional",
                ratio=False)),
        (Case("plain", _memory("plain", dict.fromkeys(BOTH, LOTS)), _setting(()), BOTH),
         Case("answered", _memory("answered", dict.fromkeys(BOTH, LOTS)), _setting(NONE), BOTH),
         Case("silent", _memory("silent", {POSTSCREEN: SOME, GATEPOST: LOTS}),
              _setting(SILENT), BOTH)),
        most_rounds=2),
)
