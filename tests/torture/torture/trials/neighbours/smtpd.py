"""smtpd(8) is missing, throttled, hanging, or closes early."""

import socket
import time

from bench.plan import OTHERS

from ...plan import Figure, Trial, must
from ...standins.service import FULL, HANGING, MISSING, WELL
from ...standins.smtpd import EARLY
from ...world import World
from .town import Town, replies, setting

# smtpd(8) may take so long to take a client; Postfix's limit.
HAND_OFF_LIMIT = 100


def _fails(world: World) -> list[Figure]:
    town = Town(world)
    rounds = 1 if world.short else 25
    faults, turned_away, clients = 0, 0, 0
    for manner in (MISSING, FULL, HANGING, EARLY) * rounds:
        since = len(town.log.records)
        town.load.clear()
        town.begin(2.5, {"known": 60, "engine": 20})
        time.sleep(0.5)
        town.smtpd.behave(manner)
        time.sleep(1.5)
        town.smtpd.behave(WELL)
        faults += 1
        loads = town.end()
        sent_away = replies(loads)["421"]
        turned_away += sent_away
        clients += sum(load.begun for load in loads.values())
        reason = {MISSING: "cannot connect to service private/smtpd: (No such file|Connection ref)",
                  FULL: "cannot connect to service private/smtpd: Resource temporarily",
                  HANGING: "^$", EARLY: "cannot pass connection to service private/smtpd: Broken"}
        warnings = town.log.count(reason[manner], since)
        must(warnings == sent_away, f"{manner}: {sent_away} clients turned away, {warnings} "
             "warnings that say so")
        must(sent_away > 0 or manner in (HANGING, EARLY), f"{manner} was not noticed")
    town.serves()
    town.check_unhurt()
    return [Figure("faults of smtpd", faults), Figure("clients", clients),
            Figure("told 421", turned_away), Figure("dropped by smtpd itself", town.smtpd.dropped),
            Figure("left without a reply by us", 0)]


def _teaser(world: World) -> list[Figure]:
    """Clients that have seen a teaser get the rest of a greeting first, and 421 then."""
    town = Town(world)
    town.smtpd.behave(MISSING)
    count = 50 if world.short else 2000
    load = world.load("engine", OTHERS, count=count, in_flight=50, first=1000)
    must(load.replies == {"421": count}, f"not all were told 421: {load}")
    must(town.log.count("PASS NEW") >= count, "they have not passed")
    town.smtpd.behave(WELL)
    known = world.load("engine", OTHERS, count=count, in_flight=50, first=1000)
    must(known.replies == {"250": count}, f"their pass was not remembered: {known}")
    town.check_unhurt()
    return [Figure("clients that waited in vain", count)]


def _hangs(world: World) -> list[Figure]:
    """For longer than its time limit. What it was sent it may take even then."""
    town = Town(world)
    town.smtpd.behave(HANGING)
    clients = [socket.create_connection(("127.0.0.1", 25), source_address=(f"127.2.1.{n + 1}", 0))
               for n in range(200)]
    time.sleep(3)
    spent = world.cpu_of(town.pid)
    time.sleep(HAND_OFF_LIMIT - 10)
    spent = world.cpu_of(town.pid) - spent
    must(spent < 1_000_000, f"it was busy while it waited: {spent:.0f} µs")
    timeout = "timeout sending connection to service private/smtpd"
    must(town.log.count(timeout) == 0, "it has given up too early")
    world.until(lambda: town.log.count(timeout) == len(clients), 20,
                "the time limit of the hand-off")
    town.smtpd.behave(WELL)
    for client in clients:
        client.settimeout(10)
        must(client.recv(100).startswith(b"220 "), "a client was forgotten")
        client.close()
    town.serves()
    town.check_unhurt()
    return [Figure("hand-offs that hung for 100 s", len(clients)),
            Figure("cpu meanwhile, µs", int(spent))]


TRIALS = (
    Trial("neighbours/smtpd", "smtpd missing, throttled, hanging, closing early, under load",
          _fails, setting(("postscreen_pipelining_enable = no",))),
    Trial("neighbours/smtpd-teaser", "smtpd missing after the greet wait", _teaser,
          setting(("postscreen_pipelining_enable = no",))),
    Trial("neighbours/smtpd-hangs", "smtpd takes no client for longer than its time limit", _hangs,
          setting(), short=False),
)
