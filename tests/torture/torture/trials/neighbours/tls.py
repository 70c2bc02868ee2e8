"""tlsproxy(8) is missing, throttled, hanging, says something else, or dies in mid-session."""

import time

from ...plan import Figure, Trial, must
from ...standins.service import FULL, HANGING, MISSING, WELL
from ...standins.tlsproxy import MUTE, NONSENSE, REFUSING
from ...world import World
from .town import Town, setting


def _fails(world: World) -> list[Figure]:
    town = Town(world)
    rates = {"known": 30, "new": 20, "tls": 20}
    manners = (MISSING, FULL, REFUSING, NONSENSE) if world.short else \
        (MISSING, FULL, REFUSING, NONSENSE, HANGING, MUTE) * 5
    unavailable = 0
    for manner in manners:
        since = len(town.log.records)
        town.load.clear()
        town.begin(3, rates)
        time.sleep(1.3)
        town.tlsproxy.behave(manner)
        time.sleep(2)
        if manner in (HANGING, MUTE):
            # Its time limit.
            time.sleep(10)
        town.tlsproxy.behave(WELL)
        town.end()
        outcomes = town.visitors.outcomes
        must(outcomes["TLS"] > 0, f"{manner}: nobody got into TLS: {outcomes}")
        must(outcomes["454"] > 0, f"{manner} was not noticed: {outcomes}")
        must(set(outcomes) <= {"TLS", "454", "plain"}, f"{manner}: {outcomes}")
        unavailable += outcomes["454"]
        reason = {MISSING: "connect to private/tlsproxy service: No such file",
                  FULL: "connect to private/tlsproxy service: Resource temporarily",
                  REFUSING: "problem receiving status from private/tlsproxy service",
                  NONSENSE: "problem receiving protocol attribute from private/tlsproxy",
                  HANGING: "timeout receiving protocol attribute from private/tlsproxy service",
                  MUTE: "timeout receiving status from private/tlsproxy service"}[manner]
        warnings = town.log.count(reason, since)
        must(warnings == outcomes["454"],
             f"{manner}: {outcomes}, and {warnings} warnings that say so")
    town.serves()
    town.check_unhurt()
    return [Figure("faults of tlsproxy", len(manners)), Figure("told 454", unavailable),
            Figure("got into TLS", town.tlsproxy.taken)]


def _dies(world: World) -> list[Figure]:
    """With sessions in it: they are cut off, and nobody else."""
    town = Town(world)
    rounds = 3 if world.short else 60
    town.begin(2 + rounds, {"known": 30, "new": 20, "tls": 20}, stay=0.7)
    time.sleep(2)
    for number in range(rounds):
        time.sleep(0.5)
        if number % 3 == 2:
            # Before it dies it stands still, in the middle of everything.
            town.tlsproxy.stand_still(True)
            time.sleep(0.3)
        town.tlsproxy.die()
        town.tlsproxy.stand_still(False)
        time.sleep(0.5)
    town.end()
    outcomes = town.visitors.outcomes
    must(town.tlsproxy.cut_off > 0 and outcomes["cut off in TLS"] > 0, f"nobody: {outcomes}")
    town.serves()
    town.check_unhurt()
    must(town.log.count("DISCONNECT") > 0, "no sessions")
    return [Figure("deaths of tlsproxy", rounds), Figure("sessions cut off", town.tlsproxy.cut_off),
            Figure("sessions that went well", outcomes["TLS"])]


TRIALS = (
    Trial("neighbours/tlsproxy", "tlsproxy missing, throttled, refusing, hanging, talking nonsense",
          _fails, setting(("postscreen_tls_security_level = encrypt",))),
    Trial("neighbours/tlsproxy-dies", "tlsproxy dies in mid-session", _dies, setting()),
)
