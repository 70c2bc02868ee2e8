"""Descriptors that run out."""

import re
import time
from dataclasses import replace
from pathlib import Path

from bench.plan import HELD, KNOWN, MANY, NEW
from bench.scenarios.dnsbl import NONE
from bench.standins import Log

from ..plan import Figure, Setting, Trial, must
from ..world import World

LIMIT = 256
# What a process may take that has nothing to do, percent of a core.
IDLE = 2.0

_AT_START = re.compile(rf"need \d+ file descriptors, but the limit is {LIMIT};")
_IN_USE = re.compile(rf"no file descriptors for more than (\d+) clients, as the limit is {LIMIT};")


def _expect_warnings(world: World, most: int) -> None:
    """One at the start, and one for each shortage, but few; no others."""
    warnings = world.troubles().get("warning:", [])
    start = [line for line in warnings if _AT_START.search(line)]
    in_use = [line for line in warnings if _IN_USE.search(line)]
    must(len(start) == 1, f"not one warning at the start: {warnings[:5]}")
    must(1 <= len(in_use) <= most, f"{len(in_use)} warnings of shortages: {in_use[:5]}")
    must(len(warnings) == len(start) + len(in_use), f"other warnings: {warnings[:9]}")


def _room(world: World) -> int:
    """How many clients there is room for, as the log has it."""
    world.until(lambda: any(map(_IN_USE.search, world.troubles().get("warning:", []))), 30,
                "a warning that there is no room")
    return int(next(filter(None, map(_IN_USE.search, world.troubles()["warning:"])))[1])


def _shortage(world: World) -> list[Figure]:
    """More new clients than there are descriptors: each is served, only later."""
    count = 600 if world.short else 6000
    world.wake()
    worker = world.worker()
    before = world.descriptors(worker)
    clients = world.clients("new", NEW, count=count, in_flight=min(count, 800), greet_wait=2)
    room = _room(world)
    most = 0
    while clients.running():
        most = max(most, world.descriptors(worker))
        time.sleep(0.05)
    load = clients.result().check("220")
    must(not load.all_lost, f"clients were lost: {load.lost}")
    must(most <= LIMIT, f"{most} descriptors were open")
    must(world.worker() == worker, "another process serves")
    world.until(lambda: world.descriptors(worker) <= before + 12, 30, "descriptors are free again")
    _expect_warnings(world, 3 + int(load.seconds // 60))
    for name in ("PASS NEW", "CONNECT"):
        seen = len(world.records(rf"\]: {name} (from )?\[127\.3\."))
        must(seen == count, f"{seen} times {name} for {count} clients")
    return [Figure("limit of descriptors", LIMIT), Figure("room for clients", room),
            Figure("clients", count), Figure("lost", 0), Figure("most open", most)]


def _waiting(world: World) -> list[Figure]:
    """As many clients as there is room for, who stay, and others behind them in the listen
    queue: nothing spins, the log, changed tables and the queue go on."""
    world.wake("known", KNOWN)
    worker = world.worker()
    first = world.clients("hold", HELD, count=100, in_flight=50, greet_wait=600)
    first.wait_until_held()
    second = world.clients("hold", HELD, first=1000, count=150, in_flight=150, greet_wait=600)
    room = _room(world)
    seconds = 2 if world.short else 20
    share = world.share(seconds)
    must(share < IDLE, f"{share:.1f} % of a core with the listen queue full")
    # The log service comes anew while there is no room.
    must(world.descriptors(worker) < LIMIT, "nothing is left for anything else")
    world.log.end()
    Path("/dev/log").unlink()
    world.log = Log(world.visits, Path("/dev/log"), world.log_file)
    with open("/etc/postfix/access", "a") as access:
        access.write(f"{MANY.text} permit\n")
    world.until(lambda: world.records("access has changed - taken in"), 20, "a changed table")
    # Those who wait have their turn as soon as others go.
    first.result().check("220")
    second.wait_until_held()
    # And others, who are handed off at once.
    known = world.load("known", MANY, count=200, in_flight=20).check("220")
    second.result().check("220")
    world.until(lambda: world.descriptors(worker) < 60, 20, "descriptors are free again")
    must(world.worker() == worker, "another process serves")
    _expect_warnings(world, 3)
    return [Figure("room for clients", room), Figure("core used while full, %", share),
            Figure("served after that", known.finished + 250), Figure("lost", 0)]


def _flapping(world: World) -> list[Figure]:
    """Clients come and go at the very limit: the log is told now and then."""
    world.wake("known", KNOWN)
    count = 2000 if world.short else 50_000
    held = world.clients("hold", HELD, count=400, in_flight=400, greet_wait=600)
    room = _room(world)
    worker = world.worker()
    load = world.clients("known", KNOWN, count=20, in_flight=20)
    time.sleep(1)
    must(world.share(2, worker) < IDLE, "the loop does not rest at the limit")
    held.kill()
    load.result().check("220")
    # In bursts that just fill the room.
    bursts = world.load("known", KNOWN, count=count, in_flight=2 * room)
    must(set(bursts.replies) == {"220"}, f"{bursts.replies}: {world.troubles()}"[:600])
    _expect_warnings(world, 3 + int(bursts.seconds // 60) + 1)
    return [Figure("room for clients", room), Figure("known clients at the limit", count),
            Figure("lost", 0)]


def _under_way(world: World) -> list[Figure]:
    """More clients on their way to smtpd(8) than the kernel allows a user: two workers may have
    more together than one process may have open. They are tried again until smtpd has caught up.
    """
    world.wake("known", KNOWN)
    count, rounds = 420, 20
    tried = 0
    for number in range(rounds):
        world.smtpd.pause()
        clients = world.clients("known", KNOWN, first=number * count, count=count, in_flight=count)
        begin = time.monotonic()
        wanted = (number + 1) * count
        # A second is what hand-offs are tried for.
        while time.monotonic() < begin + 0.3 and \
                len(world.records(r"\]: ALLOWLISTED \[127\.2\.")) < wanted:
            time.sleep(0.02)
        world.smtpd.go_on()
        load = clients.result()
        must(not load.all_lost, f"clients were lost: {load}")
        tried += load.begun
        must(load.replies == {"220": count}, f"{load.replies}: {world.troubles()}"[:600])
    return [Figure("clients", tried), Figure("workers", 2), Figure("lost", 0)]


_SHORT_OF = Setting(descriptors=LIMIT, greet_wait=2, zones=NONE, troubles=("warning:",))
_PERMITTED = Setting(
    # In a jail there is no other socket of the log service to go to.
    chroot=False, descriptors=LIMIT, greet_wait=600, troubles=("warning:",),
    main_cf=("postscreen_access_list = cidr:/etc/postfix/access",),
    files=(("access", f"{KNOWN.text} permit\n"),))

TRIALS = (
    Trial("descriptors/shortage", "more new clients than descriptors, with look-ups and hand-offs",
          _shortage, _SHORT_OF),
    Trial("descriptors/full", "all descriptors in use, the listen queue full: no spin, log and "
          "tables go on, and then the queue", _waiting, _PERMITTED),
    Trial("descriptors/edge", "clients come and go where the descriptors end", _flapping,
          _PERMITTED),
    # It depends on times.
    Trial("descriptors/under-way", "more hand-offs under way than the kernel allows",
          _under_way, replace(_PERMITTED, gatepost_cf=("workers = 2",)), short=False),
)
