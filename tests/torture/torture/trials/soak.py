"""Very many connections of all kinds, each of which is accounted for."""

import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.plan import KNOWN, Cache, Network
from bench.standins import Load

from ..plan import Figure, Setting, Trial, must
from ..world import World

NEW = Network("127.64.0.0/10")
PREGREETERS = Network("127.32.0.0/12")
DENIED = Network("127.5.0.0/16")
FICKLE = Network("127.6.0.0/16")

# How many there are in the long form, if the environment does not say.
CONNECTIONS = int(os.environ.get("TORTURE_SOAK", "10_000_000"))
CLIENTS = 2000                  # those that are known
# How long a new verdict counts and is kept, and how often that is looked at; seconds.
TTL, RETENTION, CLEANUP = 20, 10, 20
# New clients by address; the same come again when they have been forgotten.
POOL = 1_500_000

MIB = 1024


@dataclass(frozen=True)
class Round:
    """How many visits of each kind there are; what is in flight at once stays below the limits."""
    known: int
    new: int
    early: int
    denied: int
    fickle: int

    @property
    def total(self) -> int:
        return self.known + self.new + self.early + self.denied + self.fickle


LONG = Round(known=150_000, new=40_000, early=35_000, denied=20_000, fickle=5_000)
SHORT = Round(known=6_000, new=1_500, early=1_500, denied=600, fickle=400)


def _visits(world: World, size: Round, number: int) -> None:
    """One round, all kinds at once. Every visit must end as is due to it."""
    first = number * size.new % POOL

    def load(kind: str, network: Network, count: int, reply: str, **options: object) -> Load:
        return world.load(kind, network, count=count, **options).check(reply)

    def denied() -> Load:
        # They have no verdict, so that they may come again.
        return load("engine", DENIED, size.denied, "550", spread=60_000, in_flight=1200)

    with ThreadPoolExecutor() as pool:
        loads = [
            pool.submit(load, "known", KNOWN, size.known, "220", spread=CLIENTS, in_flight=30),
            pool.submit(load, "new", NEW, size.new, "220", first=first, in_flight=3500,
                        greet_wait=1),
            pool.submit(load, "pregreet", PREGREETERS, size.early, "521", spread=900_000,
                        in_flight=30),
            pool.submit(denied),
            # They leave in the middle of the greet wait.
            pool.submit(load, "hold", FICKLE, size.fickle // 5, "220", hold=0.01,
                        in_flight=size.fickle // 5),
        ]
        for done in loads:
            done.result()
    for _ in range(4):
        load("hold", FICKLE, size.fickle // 5, "220", hold=0.01, in_flight=size.fickle // 5)


def _rows(world: World) -> int:
    with sqlite3.connect(f"file:{world.cache_file}?mode=ro", uri=True) as connection:
        return connection.execute("SELECT count(*) FROM verdict").fetchone()[0]


@dataclass(frozen=True)
class _State:
    """What must not grow."""
    resident: int               # KiB
    descriptors: int
    rows: int
    file: int                   # bytes

    @classmethod
    def of(cls, world: World, pid: int) -> "_State":
        return cls(world.resident(pid), world.descriptors(pid), _rows(world),
                   world.cache_file.stat().st_size)


def _soak(world: World) -> list[Figure]:
    size, rounds = (SHORT, 2) if world.short else (LONG, max(3, CONNECTIONS // LONG.total))
    world.log.start_count()
    begin = time.monotonic()
    _visits(world, size, 0)
    worker = world.worker()
    world.settle()
    states = [_State.of(world, worker)]
    for number in range(1, rounds):
        _visits(world, size, number)
        states.append(_State.of(world, worker))
        must(world.worker() == worker, "another process serves now")
    seconds = time.monotonic() - begin
    count = rounds * size.total

    world.until(lambda: world.census()["open"] == 0, 10, "no connection is open")
    census = world.census()
    taken = world.smtpd.end()
    world.smtpd = None
    fickle, away = rounds * (size.fickle // 5 * 5), rounds * (size.early + size.denied)
    expected = {"accepted": count, "handed_off": rounds * (size.known + size.new),
                "turned_away": away, "hung_up": fickle}
    seen = {name: census[name] for name in expected}
    must(seen == expected, f"the process has counted {seen}, not {expected}")
    must(taken == census["handed_off"], f"smtpd(8) was given {taken} clients")
    world.log.expect({"CONNECT": count, "PASS OLD": rounds * size.known,
                      "PASS NEW": rounds * size.new, "PREGREET": rounds * size.early,
                      "DENYLISTED": rounds * size.denied, "HANGUP": fickle,
                      "DISCONNECT": away + fickle})

    world.settle()
    last = _State.of(world, worker)
    # Memory is at its most once all that is bounded has been filled.
    filled = max(state.resident for state in states[:max(1, len(states) // 3)])
    must(last.resident <= filled + 4 * MIB, f"memory grows: {[s.resident for s in states]}")
    must(last.descriptors <= states[0].descriptors,
         f"descriptors grow: {[s.descriptors for s in states]} {last.descriptors}")
    most = max(state.rows for state in states)
    if not world.short:
        # As many as can have come while they were kept, and the clean-up did not look.
        rate = rounds * size.new / seconds
        bound = CLIENTS + 1.5 * rate * (TTL + RETENTION + 2 * CLEANUP)
        must(most <= bound, f"{most} entries in the cache, where {bound:.0f} are expected")
    return [Figure("connections", count), Figure("a second", count / seconds),
            Figure("handed off", taken), Figure("turned away", away), Figure("hung up", fickle),
            Figure("not accounted for", 0), Figure("resident at first, KiB", states[0].resident),
            Figure("at the end, KiB", last.resident),
            Figure("descriptors at first", states[0].descriptors),
            Figure("at the end", last.descriptors), Figure("most entries in the cache", most),
            Figure("most bytes in its file", max(state.file for state in states))]


TRIALS = (
    Trial("soak/everybody", "connections of all kinds, as fast as they go", _soak,
          Setting(main_cf=(f"postscreen_greet_ttl = {TTL}s",
                           f"postscreen_cache_retention_time = {RETENTION}s",
                           f"postscreen_cache_cleanup_interval = {CLEANUP}s",
                           "postscreen_greet_action = drop",
                           "postscreen_denylist_action = enforce",
                           f"postscreen_access_list = cidr:{{{{ {DENIED.text} reject }}}}"),
                  cache=Cache(KNOWN, CLIENTS), keep_log=False),
          limit=3600),
)
