"""Clients that have passed before, and are handed off at once."""

from ..plan import (FLOOR, GATEPOST, HELD, KNOWN, NEW, POSTSCREEN, Cache, Case, Figure, Scale,
                    Scenario, Setting, Target, Values, quotient)
from ..world import World

CLIENTS = 2000
WAITING = 8000
PASS_OLD = ("CONNECT", "PASS OLD")


def _setting(scale: Scale) -> Setting:
    # Nobody gets through such a wait: who is held is held.
    return Setting(greet_wait=600, cache=Cache(KNOWN, CLIENTS), many=True)


def _wake(world: World) -> None:
    """The program runs, and has seen all of them."""
    world.wake("known", KNOWN, CLIENTS)


def _known(world: World) -> Values:
    _wake(world)
    count = world.scale(16000)

    def cpu(count: int, in_flight: int) -> float:
        measured = world.measure("known", KNOWN, count, "220", PASS_OLD, spread=CLIENTS,
                                 in_flight=in_flight)
        return measured.cpu

    values: Values = {"cpu-1": cpu(world.scale(6000), 1), "cpu-20": cpu(count, 20)}
    held = world.clients("hold", HELD, count=WAITING, in_flight=500, greet_wait=600)
    held.wait_until_held()
    world.settle()
    values["waiting"] = cpu(count, 20)
    if world.program != FLOOR:      # it does not notice when they go
        world.log.start_count()
        held.result()
        world.log.expect({"HANGUP": WAITING})
        world.settle()
        # Before and after, so that what changes on this machine meanwhile does not count.
        values["cpu-20"] = (values["cpu-20"] + cpu(count, 20)) / 2
    quotient(values, "waiting/none", "waiting", "cpu-20")
    return values


def _beside_new(key: str):
    def run(world: World) -> Values:
        _wake(world)
        seconds = world.scale(10, 4)
        world.log.start_count()
        known = world.clients("known", KNOWN, rate=50, seconds=seconds, spread=CLIENTS,
                              count=50 * seconds)
        new = world.clients("new", NEW, rate=150, seconds=seconds, greet_wait=2,
                            count=150 * seconds)
        old, others = known.result().check("220"), new.result().check("220")
        world.log.expect({"CONNECT": old.begun + others.begun, "PASS OLD": old.begun,
                          "PASS NEW": others.begun})
        return {f"{key}{share}": old.time("first_byte", share) for share in ("p50", "p99")}

    return run


def _system_calls(world: World) -> Values:
    _wake(world)
    values: Values = {}
    for in_flight in (1, 20):
        calls = world.system_calls("known", KNOWN, 1000, spread=CLIENTS, in_flight=in_flight)
        values[f"calls-{in_flight}"] = sum(calls.values()) / 1000
        sorted_calls = sorted(calls.items(), key=lambda item: (-round(item[1] / 1000, 1), item[0]))
        often = [f"{name} {number / 1000:.1f}" for name, number in sorted_calls if number >= 50]
        values[f"names-{in_flight}"] = ", ".join(often)
    return values


SCENARIOS = (
    Scenario(
        "known", f"{CLIENTS:,} known clients, one visit after the other",
        (Figure("cpu-20", "CPU, µs a visit, 20 in flight", target=Target(0.65, POSTSCREEN)),
         Figure("cpu-1", "CPU, µs a visit, 1 in flight", target=Target(0.65, POSTSCREEN)),
         Figure("waiting", "CPU, µs a visit, 20 in flight, beside 8,000 that wait"),
         Figure("waiting/none", "the last one to that with none waiting", 2, ratio=False,
                target=Target(1.1))),
        (Case("known", _known, _setting),)),
    Scenario(
        "known-beside-new", "50 known clients a second, beside 150 new ones; greet wait 2 s",
        (Figure("p50", "first byte of the known, ms, p50"),
         Figure("p99", "first byte of the known, ms, p99", target=Target(2, FLOOR)),
         Figure("slow-p50", "the same with syncs 5 ms slower, p50"),
         Figure("slow-p99", "the same with syncs 5 ms slower, p99", target=Target(2, FLOOR))),
        (Case("plain", _beside_new(""),
              lambda scale: Setting(greet_wait=2, cache=Cache(KNOWN, CLIENTS))),
         Case("slow", _beside_new("slow-"),
              lambda scale: Setting(greet_wait=2, cache=Cache(KNOWN, CLIENTS), slow_syncs=5)))),
    Scenario(
        "syscalls", "system calls for a known client, all threads and processes (strace)",
        (Figure("calls-1", "system calls a visit, 1 in flight", target=Target(13)),
         Figure("calls-20", "system calls a visit, 20 in flight", target=Target(13)),
         Figure("names-1", "1 in flight", note=True),
         Figure("names-20", "20 in flight", note=True)),
        (Case("syscalls", _system_calls, _setting, (POSTSCREEN, GATEPOST, FLOOR)),),
        most_rounds=2),
)
