"""New clients, which wait for the greeting."""

from ..plan import (FLOOR, NEW, OTHERS, POSTSCREEN, Case, Figure, Network, Scale, Scenario, Setting,
                    Target, Values, Wrong)
from ..world import World

PASS_NEW = ("CONNECT", "PASS NEW")
# Who speaks at the end of the wait.
EARLY = Network("127.5.0.0/16")


def _new(world: World) -> Values:
    world.wake()
    measured = world.measure("new", NEW, world.scale(4000), "220", PASS_NEW,
                             in_flight=500, greet_wait=1)
    return {"cpu": measured.cpu}


def _burst(world: World) -> Values:
    world.wake()
    count = world.scale(3000, 1000)
    world.log.start_count()
    load = world.load("new", NEW, count=count, in_flight=count, greet_wait=1)
    values: Values = {"lost": load.all_lost, "ended": world.log.counts().get("fatal:", 0)}
    if load.all_lost == 0:
        load.check("220")
        world.log.expect({"CONNECT": count, "PASS NEW": count})
    if "banner" in load.times:
        values["banner"] = load.time("banner", "p99") / 1000
    return values


def _precision(world: World) -> Values:
    world.wake()
    seconds = world.scale(5, 3)
    measured = world.measure("new", NEW, 200 * seconds, "220", PASS_NEW, rate=200, greet_wait=2)
    banner = {share: measured.load.time("banner", share) - 2000
              for share in ("min", "p50", "p99")}
    values: Values = {**banner}
    if world.program != FLOOR:      # it does not listen
        count = 100 * seconds
        early = world.load("early", EARLY, count=count, rate=100, greet_wait=2)
        # Who was late has shown nothing, but there must not be many of them.
        if sum(early.replies.values()) + early.late != count or early.late > count / 10:
            raise Wrong(f"not all early talkers were early, or got an answer: {early}")
        values["early"] = early.replies.get("220", 0)
        values["early-share"] = 100 * values["early"] / (count - early.late)
    return values


SCENARIOS = (
    Scenario(
        "new", "new clients through a greet wait of 1 s, 500 in flight",
        (Figure("cpu", "CPU, µs a client", target=Target(0.35, POSTSCREEN)),),
        (Case("new", _new, lambda scale: Setting()),)),
    Scenario(
        "burst", "3,000 new clients at once, greet wait 1 s, syncs 5 ms slower",
        (Figure("lost", "clients lost", 0, ratio=False, target=Target(0, always=True)),
         Figure("banner", "banner, s, p99 of the others", 2, target=Target(1.2)),
         Figure("ended", "the program was ended by its watchdog", 0, ratio=False)),
        (Case("burst", _burst, lambda scale: Setting(slow_syncs=5)),)),
    Scenario(
        "precision", "200 new clients a second through a greet wait of 2 s; "
                     "100 a second who speak 0–20 ms before its end",
        (Figure("min", "banner, ms after the end of the wait, earliest", ratio=False,
                target=Target(0, least=True, always=True)),
         Figure("p50", "banner, ms after the end of the wait, p50", ratio=False),
         Figure("p99", "banner, ms after the end of the wait, p99", ratio=False,
                target=Target(20)),
         Figure("early", "early talkers that got in", ratio=False,
                target=Target(0, always=True)),
         Figure("early-share", "the same, percent", ratio=False)),
        (Case("precision", _precision, lambda scale: Setting(
            greet_wait=2, main_cf=("postscreen_greet_action = drop",))),)),
)
