"""Reloads under load."""

import subprocess
import time

from bench.plan import NEW, OTHERS

from ..plan import Figure, Setting, Trial, must
from ..world import World


def _reloads(world: World) -> list[Figure]:
    reloads, rate = (10, 100) if world.short else (200, 300)
    pause = 0.5
    seconds = reloads * pause + 2
    world.wake()
    clients = world.clients("new", NEW, rate=rate, seconds=seconds, count=int(rate * seconds),
                            greet_wait=1)
    for _ in range(reloads):
        time.sleep(pause)
        subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=20)
    load = clients.result().check("220")
    world.until(lambda: len(world.gateposts()) == 2, 10, "one supervisor and one worker")
    must(not load.all_lost, f"clients were lost: {load.lost}")
    return [Figure("reloads", reloads), Figure("clients", load.begun), Figure("lost", 0)]


TRIALS = (
    Trial("reload/storm", "reloads while new clients arrive", _reloads, Setting()),
)
