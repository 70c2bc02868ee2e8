"""proxymap(8) is missing, throttled, panics, hangs, says something else."""

import time

from ...plan import Figure, Trial, must
from ...standins.proxymap import MUTE, NONSENSE, PANICKING
from ...standins.service import FULL, HANGING, MISSING, WELL
from ...world import World
from .town import REJECTED, Town, setting

# A question to a table elsewhere has so much time.
TIME_LIMIT = 10

# So often the log is told at once why a table fails.
BURST = 3


def _fails(world: World) -> list[Figure]:
    town = Town(world)
    manners = (PANICKING, MISSING, NONSENSE, FULL) if world.short else \
        (PANICKING, MISSING, NONSENSE, FULL, HANGING, MUTE) * 5
    first, clients, began = 0, 0, time.monotonic()
    for manner in manners:
        since = len(town.log.records)
        town.load.clear()
        town.begin(3, {"known": 40, "new": 40})
        time.sleep(0.5)
        town.proxymap.behave(manner)
        time.sleep(TIME_LIMIT + 1 if manner in (HANGING, MUTE) else 1.5)
        town.proxymap.behave(WELL)
        loads = town.end()
        for load in loads.values():
            load.check("220")
        clients += sum(load.begun for load in loads.values())
        # Nobody waits for a table that is about somebody else.
        slowest = loads["known"].time("first_byte", "max")
        must(slowest < 2000, f"{manner}: a known client has waited for {slowest:.0f} ms")
        slowest = loads["new"].time("first_byte", "max")
        must(slowest < (TIME_LIMIT + 3) * 1000, f"{manner}: a teaser after {slowest:.0f} ms")
        ignored = town.log.count("table lookup error -- ignoring the remainder", since)
        must(ignored > 0 or manner == FULL, f"{manner} was not noticed")
        first += 20
        load = world.load("new", REJECTED, count=20, in_flight=20, first=first)
        load.check("521")
        must(world.worker() == town.pid, "there is another worker")
    # What comes of it is told each time, the reason a few times, and then once a minute.
    told = town.log.count(r"private/proxymap|service proxymap: ")
    most = BURST + (time.monotonic() - began) // 60 + 1
    must(0 < told <= most, f"the reason was told {told} times, not {most:.0f} at most")
    town.serves()
    town.check_unhurt()
    return [Figure("faults of proxymap", len(manners)), Figure("clients", clients),
            Figure("questions answered", town.proxymap.questions)]


TRIALS = (
    Trial("neighbours/proxymap", "proxymap missing, throttled, panicking, hanging, talking nonsense",
          _fails, setting()),
)
