"""Crashes under load, and postscreen(8) in between."""

import signal
import subprocess
import time

from bench.plan import NEW

from ..plan import Figure, Setting, Trial, must
from ..world import World

# How many crashes within a minute make a process become postscreen(8).
TOO_MANY = 3


def _crashes(world: World) -> list[Figure]:
    rounds, rate = (1, 50) if world.short else (20, 100)
    each = 8.0                  # seconds of a round, with time to spare
    seconds = rounds * each + 2
    world.wake()
    clients = world.clients("new", NEW, rate=rate, seconds=seconds, count=int(rate * seconds),
                            greet_wait=1)
    begin = time.monotonic()
    for number in range(rounds):
        time.sleep(max(0.0, begin + number * each - time.monotonic()))
        for _ in range(TOO_MANY):
            world.until(lambda: len(world.gateposts()) == 2, 10, "a supervisor and a worker")
            time.sleep(1)       # the worker has clients
            worker = world.worker()
            world.kill(worker, signal.SIGABRT)
            # Its successor may be there at once.
            world.until(lambda: worker not in world.gateposts(), 10, "the end of a worker")
        world.until(lambda: not world.gateposts(), 10, "postscreen(8)")
        time.sleep(1)           # it has clients
        subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=20)
    load = clients.result()
    world.until(lambda: len(world.gateposts()) == 2, 10, "one supervisor and one worker")
    fallbacks = world.records("postscreen.8. serves instead")
    must(len(fallbacks) == rounds, f"{len(fallbacks)} fallbacks instead of {rounds}")
    # Who was there when the worker crashed is cut off; nobody else notices.
    cut_off = load.lost["reset"] + load.lost["closed"]
    others = {kind: count for kind, count in load.lost.items()
              if count and kind not in ("reset", "closed")}
    must(not others, f"clients were lost otherwise: {others}")
    must(set(load.replies) <= {"220"}, f"replies: {load.replies}")
    must(load.replies["220"] + cut_off == load.begun, "clients are missing")
    # Those of a greet wait, with time to spare.
    crashes = rounds * TOO_MANY
    must(cut_off <= crashes * rate * 3, f"{cut_off} clients were cut off by {crashes} crashes")
    longest = load.time("first_byte", "max")
    must(longest < 10_000, f"a client waited {longest} ms")
    return [Figure("crashes", crashes), Figure("fallbacks", rounds),
            Figure("clients", load.begun), Figure("cut off by a crash", cut_off),
            Figure("lost otherwise", 0),
            Figure("longest wait for the first byte, ms", longest)]


TRIALS = (
    Trial("fallback/crashes", "crashes while new clients arrive", _crashes,
          Setting(troubles=("warning:",))),
)
