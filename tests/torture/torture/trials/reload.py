"""Reloads under load: nobody is refused or forgotten, and nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter

from bench.plan import KNOWN, NEW, OTHERS, Network
from bench.standins import Clients

from ..plan import Figure, Setting, Trial, must
from ..world import World

PREGREETERS = Network("127.5.0.0/16")
DENIED = Network("127.6.0.0/16")            # they meet the engine
EARLY = Network("127.7.0.0/16")

GREET_WAIT = 1
KNOWN_COUNT = 300
# Of a hundred clients, and how every visit of the kind ends.
MIX = (("new", NEW, 60, "220"), ("known", KNOWN, 20, "220"),
       ("pregreet", PREGREETERS, 7, "521"), ("engine", DENIED, 6, "550"),
       ("early", EARLY, 7, "521"))

MAIN_CF = ("postscreen_greet_action = drop",
           "postscreen_access_list = cidr:/etc/postfix/access.cidr",
           "postscreen_denylist_action = enforce")
FILES = (("access.cidr", f"{DENIED.text} reject\n"),)
_PASS = re.compile(r"\]: PASS (NEW|OLD) \[([\d.]+)\]")


def _by_command(world: World) -> None:
    subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=60)


def _by_signal(world: World) -> None:
    """What is left of a reload without postfix-script, as by `kill -HUP $MAINPID`."""
    os.kill(world.master(), signal.SIGHUP)


def _by_edit(world: World) -> None:
    """The entry in master.cf gets another option each time."""
    name = "smtp/inet/postscreen_command_count_limit"
    shown = subprocess.run(["postconf", "-hP", name], check=True, capture_output=True, text=True,
                           timeout=60).stdout.strip()
    limit = int(shown or 20) + 1
    subprocess.run(["postconf", "-P", f"{name}={limit}"], check=True, capture_output=True,
                   timeout=60)
    _by_command(world)


# ---- what is left

def _standing(world: World, workers: int) -> dict[str, tuple[int, int]]:
    """Descriptors and memory (KiB) of master(8), the supervisor and its first worker, which all
    have just begun and seen the same few clients."""
    _by_command(world)
    _alone(world, workers)
    world.load("known", KNOWN, count=KNOWN_COUNT, in_flight=10).check("220")
    world.settle()
    _alone(world, workers)
    supervisor, *its = world.family()
    must(len(its) == workers, f"{len(its)} workers")
    return {name: (world.descriptors(pid), world.resident(pid))
            for name, pid in (("master", world.master()), ("supervisor", supervisor),
                              ("worker", its[0]))}


def _alone(world: World, workers: int) -> None:
    """No process of an earlier start is there any more. One that is told to end may serve a client
    still, and the next one begins when a client comes."""
    def holds() -> bool:
        world.load("known", KNOWN, count=1, in_flight=1).check("220")
        time.sleep(0.1)
        return len(world.gateposts()) == 1 + workers

    world.until(holds, 30, "one supervisor and its workers")


def _compare(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> None:
    for name, (descriptors, memory) in before.items():
        more, larger = after[name]
        must(more == descriptors, f"descriptors of the {name}: {descriptors}, then {more}")
        # Pages come and go by the kernel's own ideas.
        must(larger <= memory + 1024, f"memory of the {name}: {memory} KiB, then {larger} KiB")


# ---- who has come

def _make_known(world: World) -> None:
    """Those who are known from then on have passed."""
    world.load("new", KNOWN, count=KNOWN_COUNT, in_flight=KNOWN_COUNT,
               greet_wait=GREET_WAIT).check("220")
    world.settle()


def _mixed(world: World, rate: float, seconds: float) -> list[tuple[Clients, str]]:
    running = []
    for kind, network, share, reply in MIX:
        its_rate = rate * share / 100
        count = int(its_rate * seconds)
        spread = KNOWN_COUNT if kind == "known" else None
        options = {"rate": its_rate, "count": count, "spread": spread}
        if kind != "known":
            options["greet_wait"] = GREET_WAIT
        running.append((world.clients(kind, network, **options), reply))
    return running


def _passes(world: World) -> dict[str, Counter[str]]:
    """How often an address was logged as new, and as old."""
    found: dict[str, Counter[str]] = {"NEW": Counter(), "OLD": Counter()}
    for match in _PASS.finditer(world.log_text()):
        found[match[1]][match[2]] += 1
    return found


def _storm(reloads: int, rate: float, workers: int = 1, ways=(_by_command, _by_signal)):
    """Reloads twice a second while all kinds of clients arrive."""
    def run(world: World) -> list[Figure]:
        count, per_second = (10, 100) if world.short else (reloads, rate)
        pause = 0.5
        seconds = count * pause + 1
        _make_known(world)
        before = _standing(world, workers)
        running = _mixed(world, per_second, seconds)
        most, begin, done = 0, time.monotonic(), 0
        while time.monotonic() < begin + count * pause or done < count:
            ways[done % len(ways)](world)
            done += 1
            most = max(most, len(world.gateposts()))
            time.sleep(max(0.0, begin + done * pause - time.monotonic()))
        loads = [(clients.result(), reply) for clients, reply in running]
        for load, reply in loads:
            # Who meant to be early and was late, as the machine was busy, shows nothing.
            must(load.all_lost == 0 and load.finished + load.late == load.begun,
                 f"clients were lost: {load}")
            must(load.finished > load.late and set(load.replies) == {reply},
                 f"not every visit ended with {reply}: {load}")
        world.settle()
        newcomers = [str(address) for address in NEW.addresses(loads[0][0].begun)]
        passes = _passes(world)
        wrong = [a for a in newcomers if passes["NEW"][a] != 1 or passes["OLD"][a]]
        must(not wrong, f"{len(wrong)} of {len(newcomers)} were not logged as new, once: "
                        f"{[(a, passes['NEW'][a], passes['OLD'][a]) for a in wrong[:3]]}")
        again = [str(address) for address in KNOWN.addresses(KNOWN_COUNT)]
        wrong = [a for a in again if passes["NEW"][a] != 1]
        must(not wrong, f"known clients were new again: {wrong[:3]}")
        # Nobody is asked to wait again: the verdicts have outlived it all.
        second = world.load("known", NEW, count=len(newcomers), in_flight=50).check("220")
        must(second.finished == len(newcomers), f"some did not come again: {second}")
        world.settle()
        passes = _passes(world)
        wrong = [a for a in newcomers if passes["NEW"][a] != 1 or passes["OLD"][a] != 1]
        must(not wrong, f"{len(wrong)} were not remembered: {wrong[:3]}")
        after = _standing(world, workers)
        _compare(before, after)
        refused = sum(load.replies.get("521", 0) + load.replies.get("550", 0) for load, _ in loads)
        took = time.monotonic() - begin
        return [Figure("reloads", done), Figure("clients", sum(l.begun for l, _ in loads)),
                Figure("a second", per_second), Figure("verdicts", len(newcomers)),
                Figure("turned down", refused), Figure("lost", 0),
                Figure("verdicts lost", 0), Figure("most processes at once", most),
                Figure("descriptors of master, before and after",
                       f"{before['master'][0]}, {after['master'][0]}"),
                Figure("memory of master, KiB", f"{before['master'][1]}, {after['master'][1]}"),
                Figure("memory of the worker, KiB",
                       f"{before['worker'][1]}, {after['worker'][1]}"),
                Figure("seconds", took)]
    return run


# ---- other ways to begin anew

def _draining(world: World) -> list[Figure]:
    """Reloads while workers of several earlier ones still have clients."""
    rounds, each = (3, 10) if world.short else (20, 50)
    _make_known(world)
    before = _standing(world, 1)
    held = []
    for number in range(rounds):
        clients = world.clients("hold", DENIED, count=each, first=number * each, in_flight=each,
                                greet_wait=GREET_WAIT)
        clients.wait_until_held()
        held.append(clients)
        for _ in range(3):
            _by_command(world)
        world.load("known", OTHERS, count=20, in_flight=20).check("220")
    draining = len(world.gateposts()) - 2
    # One each has clients; of those that a reload met without a client none is left.
    world.until(lambda: len(world.gateposts()) == rounds + 2, 30,
                f"{rounds} draining workers, a supervisor and a worker")
    for clients in held:
        load = clients.result()
        must(load.all_lost == 0, f"clients of a draining worker were lost: {load}")
    world.until(lambda: len(world.gateposts()) == 2, 30, "draining workers end with their clients")
    _compare(before, _standing(world, 1))
    return [Figure("workers that were draining", draining), Figure("clients held", rounds * each),
            Figure("lost", 0)]


def _stop_and_start(world: World) -> list[Figure]:
    """`postfix stop` and start under load: who is let in stays known, nobody stays behind."""
    rounds, rate = (2, 100) if world.short else (20, 300)
    _make_known(world)
    lost, begun, refused = Counter(), 0, 0
    for number in range(rounds):
        count = 2 * rate
        clients = world.clients("new", NEW, count=count, first=number * count, rate=rate,
                                greet_wait=GREET_WAIT)
        time.sleep(1.5)
        # Those that were let in until now must be known to whoever comes next.
        subprocess.run(["postfix", "stop"], check=True, capture_output=True, timeout=60)
        world.until(lambda: not world.gateposts(), 30, "all processes end after postfix stop")
        subprocess.run(["postfix", "start"], check=True, capture_output=True, timeout=60)
        load = clients.result()
        begun += load.begun
        refused += load.lost.get("refused", 0)
        lost.update(load.lost)
        world.load("known", KNOWN, count=KNOWN_COUNT, in_flight=20).check("220")
    world.settle()
    passes = _passes(world)
    # Whose verdict was logged is not tested again, whatever has come in between.
    let_in = [address for address in passes["NEW"] if address.startswith("127.3.")]
    must(bool(let_in), "nobody was let in")
    highest = max(int(a.split(".")[2]) * 256 + int(a.split(".")[3]) for a in let_in) + 1
    world.load("known", NEW, count=highest, in_flight=highest, greet_wait=GREET_WAIT)
    world.settle()
    passes = _passes(world)
    wrong = [a for a in let_in if passes["NEW"][a] != 1 or passes["OLD"][a] < 1]
    must(not wrong, f"{len(wrong)} of {len(let_in)} verdicts were lost: {wrong[:3]}")
    return [Figure("stops and starts", rounds), Figure("clients", begun),
            Figure("found the port closed", refused),
            Figure("cut off by the stop", sum(lost.values()) - refused),
            Figure("verdicts", len(let_in)), Figure("verdicts lost", 0)]


def _setting(**options: object) -> Setting:
    return Setting(main_cf=MAIN_CF, files=FILES, greet_wait=GREET_WAIT, **options)


TRIALS = (
    Trial("reload/storm", "reloads and SIGHUP while all kinds of clients arrive",
          _storm(200, 300), _setting()),
    Trial("reload/no-chroot", "the same, without a jail", _storm(200, 300),
          _setting(chroot=False), short=False),
    Trial("reload/workers", "the same, with two workers", _storm(200, 300, workers=2),
          _setting(gatepost_cf=("workers = 2",)), short=False),
    Trial("reload/smtpd", "the same, in front of the real smtpd(8)", _storm(200, 60),
          _setting(smtpd=False), short=False),
    Trial("reload/edit", "the entry in master.cf is edited before each reload",
          _storm(50, 300, ways=(_by_edit,)), _setting(), short=False),
    Trial("reload/draining", "reloads while workers of earlier ones have clients", _draining,
          _setting()),
    Trial("reload/stop", "postfix stop and start under load", _stop_and_start, _setting()),
)
