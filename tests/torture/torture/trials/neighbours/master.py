"""master(8) is killed."""

import time

from harness import instance

from bench.plan import KNOWN, NEW, OTHERS

from ...plan import Figure, Trial, must
from ...world import World
from .town import Town, setting


def _killed(world: World) -> list[Figure]:
    """Whoever is there is served to the end; who comes meanwhile waits in the listen queue of
    nobody, or is served by the next master."""
    town = Town(world)
    rounds = 2 if world.short else 20
    clients = 0
    for number in range(rounds):
        pid = world.worker()
        first = number * 200 + 1000
        waiting = world.clients("new", NEW, count=100, in_flight=100, greet_wait=1, first=first)
        talking = world.clients("engine", OTHERS, count=50, in_flight=50, greet_wait=1,
                                first=first)
        time.sleep(0.3 + number % 4 * 0.3)
        master = int((world.queue / "pid/master.pid").read_text())
        world.kill(master)
        for load in (waiting.result(), talking.result()):
            must(not load.all_lost and set(load.replies) <= {"220", "450"},
                 f"clients in progress were lost: {load}")
            clients += load.begun
        world.until(lambda: not world.gateposts(), 10, "all processes end with their clients")
        instance.start()
        load = world.load("known", KNOWN, count=10, in_flight=10)
        load.check("220")
        must(world.worker() != pid, "it has survived")
        # What was found out without a master is known to the next one's process.
        world.load("engine", OTHERS, count=50, in_flight=50, first=first).check("250")
    return [Figure("deaths of master", rounds), Figure("clients in progress", clients),
            Figure("lost", 0)]


TRIALS = (
    Trial("neighbours/master", "master killed while clients are in progress", _killed, setting()),
)
