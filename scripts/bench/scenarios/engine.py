"""Clients that are turned away: pregreeters, and those that meet the built-in SMTP engine."""

from ..plan import (NEW, POSTSCREEN, Case, Figure, Network, Scale, Scenario, Setting,
                    Target, Values)
from ..world import World

PREGREETERS = Network("127.5.0.0/16")


def _pregreet(world: World) -> Values:
    world.wake("pregreet", PREGREETERS, reply="521")
    measured = world.measure("pregreet", PREGREETERS, world.scale(12000), "521",
                             ("CONNECT", "PREGREET", "DISCONNECT"), in_flight=20)
    return {"pregreet": measured.cpu}


def _engine(world: World) -> Values:
    world.wake("engine", reply="450")
    measured = world.measure("engine", NEW, world.scale(4000), "450",
                             ("CONNECT", "NOQUEUE", "PASS NEW", "DISCONNECT"),
                             in_flight=500, greet_wait=1)
    return {"engine": measured.cpu}


SCENARIOS = (
    Scenario(
        "engine", "clients that are turned away",
        (Figure("pregreet", "CPU, µs a pregreeter that is dropped, 20 in flight",
                target=Target(0.6, POSTSCREEN)),
         Figure("engine", "CPU, µs a whole visit at the dummy engine, greet wait of 1 s "
                          "included, 500 in flight", target=Target(0.35, POSTSCREEN))),
        # postscreen(8) counts whole seconds: a wait of 1 s may be over before a pregreeter speaks.
        (Case("pregreet", _pregreet,
              lambda scale: Setting(greet_wait=6, main_cf=("postscreen_greet_action = drop",),
                                    turn_away="early")),
         Case("engine", _engine,
              lambda scale: Setting(main_cf=("postscreen_bare_newline_enable = yes",),
                                    turn_away="everybody")))),
)
