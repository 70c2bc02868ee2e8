"""Name servers are silent, lie, die, and return."""

import time

from ...plan import Figure, Trial, must
from ...standins.name_server import DEAD, FAILING, LYING, SILENT, SLOW
from ...standins.service import WELL
from ...world import World
from .town import LISTED, Town, setting


def _fails(world: World) -> list[Figure]:
    town = Town(world)
    listed_before = town.log.count("listed by domain")
    manners = (DEAD, LYING, SILENT) if world.short else (DEAD, SILENT, FAILING, LYING, SLOW) * 6
    first, clients, worst = 0, 0, 0.0
    for manner in manners:
        town.load.clear()
        town.begin(3, {"known": 40, "new": 60})
        time.sleep(0.5)
        town.names.behave(manner)
        time.sleep(2.5)
        loads = town.end()
        town.names.behave(WELL)
        for kind, load in loads.items():
            load.check("220")
        clients += sum(load.begun for load in loads.values())
        # Whatever it does, nobody waits longer than the greet wait, and a bit for a busy machine.
        worst = max(worst, loads["new"].time("banner", "p99"))
        must(worst < 3000, f"{manner}: a greet wait of {worst:.0f} ms")
        # Whom it lists is turned away again as soon as it answers again: a server that was found
        # dead is tried again by and by.
        def is_blocked() -> bool:
            nonlocal first
            first += 5
            load = world.load("new", LISTED, count=5, in_flight=5, first=first)
            must(set(load.replies) <= {"220", "521"} and not load.all_lost, f"{manner}: {load}")
            return load.replies == {"521": 5}
        world.until(is_blocked, 30, f"{manner}: lists count again")
        must(world.worker() == town.pid, "there is another worker")
    # No lie was believed: only those of the list were found in it.
    believed = town.log.count(r"addr 127\.(?!7\.)\S+ listed by domain") - listed_before
    must(believed <= 0, f"{believed} lies were believed")
    town.serves()
    town.check_unhurt()
    return [Figure("faults of the name server", len(manners)), Figure("clients", clients),
            Figure("slowest banner (p99), ms", worst), Figure("lies believed", 0)]


TRIALS = (
    Trial("neighbours/names", "name servers silent, lying, failing, slow, dying, returning", _fails,
          setting()),
)
