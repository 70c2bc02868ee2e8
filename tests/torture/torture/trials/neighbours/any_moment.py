"""Random neighbours fail in random ways at random moments, with all kinds of clients about."""

import os
import random
import time
from collections import Counter

from ...plan import Figure, Trial, must
from ...standins.service import WELL
from ...world import World
from .town import Town, replies, setting

_RATES = {"known": 60, "new": 30, "pregreet": 15, "engine": 30, "tls": 10}

# How long a fault lasts, seconds. After three failures in a row nobody is sent to tlsproxy(8) for
# a minute, so that more than short ones would keep it out of the trial.
_SHORTEST, _LONGEST, _LONGEST_OF_TLS = 0.02, 2.5, 0.12


def _any_moment(world: World) -> list[Figure]:
    seed = int(os.environ.get("TORTURE_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    seconds = 8 if world.short else 300
    town = Town(world)
    town.begin(seconds, _RATES, stay=1)
    print(f"     seed {seed} (TORTURE_SEED)", flush=True)
    injected: Counter[str] = Counter()
    heals: dict[str, float] = {}
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        for name in [name for name, at in heals.items() if at <= now]:
            del heals[name]
            town.all[name].behave(WELL)
        name = chance.choice(sorted(town.all))
        if name not in heals:
            neighbour = town.all[name]
            manner = chance.choice(neighbour.MANNERS)
            neighbour.behave(manner)
            injected[f"{name} {manner}"] += 1
            longest = _LONGEST_OF_TLS if name == "tlsproxy" else _LONGEST
            heals[name] = now + chance.uniform(_SHORTEST, longest)
        if chance.random() < 0.15:
            injected["tlsproxy dies"] += 1
            town.tlsproxy.die()
        if chance.random() < 0.1:
            injected["tlsproxy stands still"] += 1
            town.tlsproxy.stand_still(True)
            time.sleep(chance.uniform(0, 0.2))
            town.tlsproxy.stand_still(False)
        wake = min([now + chance.uniform(0.01, 0.6), *heals.values()])
        time.sleep(max(0.0, wake - time.monotonic()))
    for neighbour in town.all.values():
        neighbour.behave(WELL)
    loads = town.end()
    outcomes = town.visitors.outcomes
    allowed = {"known": {"220", "421"}, "new": {"220", "421"}, "pregreet": {"521", "220", "421"},
               "engine": {"450", "250", "421", "220"}}
    for kind, load in loads.items():
        must(set(load.replies) <= allowed[kind], f"seed {seed}: {kind}: {load}")
    must(set(outcomes) <= {"TLS", "454", "plain", "421", "cut off", "cut off in TLS", "250", "502"},
         f"seed {seed}: {outcomes}")
    must(not town.log.count("watchdog|panic:|fatal:|killed by"), f"seed {seed}: it has died")
    must(outcomes["TLS"] > 0 and (world.short or outcomes["cut off in TLS"] > 0),
         f"seed {seed}: tlsproxy was not part of it: {outcomes}")
    town.serves()
    town.check_unhurt()
    return [Figure("seed", seed), Figure("faults", sum(injected.values())),
            Figure("kinds of faults", len(injected)),
            Figure("clients", sum(load.begun for load in loads.values()) + town.visitors.begun),
            Figure("replies", str(dict(replies(loads)))), Figure("TLS", str(dict(outcomes))),
            Figure("dropped by smtpd, cut off by tlsproxy",
                   f"{town.smtpd.dropped}, {town.tlsproxy.cut_off}"),
            Figure("log records lost and reported", town.log.lost())]


TRIALS = (
    Trial("neighbours/any-moment", "random faults of all neighbours at random moments",
          _any_moment, setting()),
)
