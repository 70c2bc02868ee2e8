"""Clocks that jump, and processes that stand still: nobody is stuck, nothing expires at once,
and nothing lasts longer than it should."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

from bench.plan import KNOWN, NEW, Network

from ..plan import Figure, Setting, Trial, must
from ..world import World

PREGREETERS = Network("127.5.0.0/16")
GREET_WAIT = 1
SECOND, HOUR, DAY, YEAR = 1, 3600, 86400, 365 * 86400
TTL = DAY                                   # postscreen_greet_ttl
JUMPS = (10, -10, HOUR, -HOUR, DAY, -DAY, 10 * YEAR, -10 * YEAR)
KNOWN_COUNT = 100
_STAMP = re.compile(r"^<\d+>(\w{3} [ \d]\d \d\d:\d\d:\d\d) postfix/postscreen\[")
_CLEANUP = re.compile(r"full cleanup: retained=(\d+) dropped=(\d+)")


class _Visitors:
    """Clients that come at some moments of a trial."""

    def __init__(self, world: World):
        self.world = world
        self.used = 0
        self.visits = 0

    def make_known(self) -> None:
        """The known ones pass their test."""
        load = self.world.load("new", KNOWN, count=KNOWN_COUNT, in_flight=KNOWN_COUNT,
                               greet_wait=GREET_WAIT).check("220")
        self.visits += load.begun
        self.world.settle()

    def known(self, when: str) -> None:
        """Who has passed is let in, and does not wait."""
        load = self.world.load("known", KNOWN, count=KNOWN_COUNT, in_flight=20).check("220")
        self.visits += load.begun
        must(load.time("banner", "p90") < 700 * GREET_WAIT,
             f"known clients had to wait {when}: {load}")

    def tested(self, when: str) -> None:
        """Who has passed has to wait again, and is not a new one."""
        before = len(self.world.records("PASS NEW"))
        load = self.world.load("known", KNOWN, count=KNOWN_COUNT, in_flight=KNOWN_COUNT)
        load.check("220")
        self.visits += load.begun
        must(load.time("banner", "min") > 900 * GREET_WAIT, f"nobody had to wait {when}: {load}")
        must(len(self.world.records("PASS NEW")) == before, f"there were new ones {when}")

    def begin_new(self, count: int):
        """New ones begin their wait."""
        clients = self.world.clients("new", NEW, count=count, first=self.used, in_flight=count,
                                     greet_wait=GREET_WAIT)
        self.used += count
        self.visits += count
        return clients

    def end_new(self, clients, when: str) -> None:
        """They have waited as long as they should, whatever the clock said."""
        load = clients.result().check("220")
        # Nobody is sooner, and on a busy machine hardly anybody much later.
        must(950 * GREET_WAIT < load.time("banner", "min"), f"a wait was short {when}: {load}")
        must(load.time("banner", "max") < 15_000, f"a client was stuck {when}: {load}")


def _rows(world: World) -> dict[bytes, int]:
    """Until when clients count as polite, as the file has it."""
    with closing(sqlite3.connect(world.cache_file)) as connection:
        return dict(connection.execute("SELECT address, pregreet FROM verdict"))


def _check_rows(world: World, began: float, least: int) -> None:
    """Nothing is gone, and every verdict counts from when it was passed, by a right clock."""
    rows = _rows(world)
    must(len(rows) >= least, f"{least - len(rows)} verdicts are gone")
    now = time.time()
    wrong = [end for end in rows.values() if not began + TTL - 3 <= end <= now + TTL + 3]
    must(not wrong, f"verdicts count from {[end - TTL - now for end in wrong[:3]]} seconds from now")


def _check_stamps(world: World, since: int) -> None:
    """The log tells what the clock says."""
    lines = world.log_text().splitlines()[since:]
    stamps = [match[1] for line in lines if (match := _STAMP.match(line))]
    must(bool(stamps), "nothing was logged")
    says = world.own_clock.now()
    near = {time.strftime("%b %e %H:%M:%S", time.localtime(says - back)) for back in range(60)}
    must(stamps[-1] in near, f"the log says {stamps[-1]}, the clock "
                             f"{time.strftime('%b %e %H:%M:%S', time.localtime(says))}")


def _check_cleanups(world: World) -> int:
    """Clean-ups had nothing to remove. How many there were."""
    found = _CLEANUP.findall(world.log_text())
    must(all(dropped == "0" for _, dropped in found), f"a clean-up has removed verdicts: {found}")
    return len(found)


def _reload(world: World) -> None:
    subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=60)
    time.sleep(0.3)


def _restart(world: World, ahead: int) -> None:
    """The machine goes off, and on again with its clock like that."""
    subprocess.run(["postfix", "stop"], check=True, capture_output=True, timeout=60)
    world.until(lambda: not world.gateposts(), 30, "all processes end after postfix stop")
    world.own_clock.reboot()
    world.own_clock.set_ahead(ahead)
    subprocess.run(["postfix", "start"], check=True, capture_output=True, timeout=60)


def _jumps(world: World) -> list[Figure]:
    """There and back, with clients in their wait at both moments, and a new process in between."""
    began = time.time()
    visitors = _Visitors(world)
    visitors.make_known()
    jumps = (DAY, -10 * YEAR) if world.short else JUMPS
    rounds = 1 if world.short else 3
    for jump in jumps * rounds:
        for ahead, when in ((jump, f"{jump} s ahead"), (0, f"back from {jump} s")):
            log_lines = len(world.log_text().splitlines())
            clients = visitors.begin_new(20)
            time.sleep(GREET_WAIT / 2)
            world.own_clock.set_ahead(ahead)
            visitors.known(when)
            visitors.end_new(clients, when)
            visitors.end_new(visitors.begin_new(20), when)
            _reload(world)
            visitors.known(when + ", after a reload")
            _check_stamps(world, log_lines)
            world.settle()
            _check_rows(world, began, KNOWN_COUNT + visitors.used)
    # Those that have passed while the clock was wrong are known as well.
    load = world.load("known", NEW, count=visitors.used, in_flight=20).check("220")
    must(load.time("banner", "p90") < 700 * GREET_WAIT, f"they had to wait: {load}")
    must(len(world.records("PASS NEW")) == KNOWN_COUNT + visitors.used, "some were new twice")
    world.until(lambda: _check_cleanups(world) > 1, 20, "clean-ups")
    return [Figure("jumps", 2 * len(jumps) * rounds), Figure("visits", visitors.visits),
            Figure("verdicts", KNOWN_COUNT + visitors.used),
            Figure("clean-ups while the clock jumped", _check_cleanups(world)),
            Figure("verdicts lost or prolonged", 0)]


def _no_battery(world: World) -> list[Figure]:
    """A start in 1970, then the jump to the right time, an hour after the last one."""
    visitors = _Visitors(world)
    began = time.time()
    visitors.make_known()
    _restart(world, 60 - int(time.time()))
    visitors.known("in 1970")
    visitors.end_new(visitors.begin_new(20), "in 1970")
    must(len(world.records(r"seconds behind the last use of the file")) == 1,
         "nothing was said about the clock")
    world.settle()
    _check_stamps(world, 0)
    _check_rows(world, began, KNOWN_COUNT + visitors.used)
    # The rest of the trial is an hour later.
    clients = visitors.begin_new(20)
    time.sleep(GREET_WAIT / 2)
    world.own_clock.set_ahead(HOUR)
    visitors.end_new(clients, "at the jump from 1970")
    world.until(lambda: bool(world.records(r"the clock was set: 36\d\d seconds have passed")), 20,
                "the time that the machine was off is known")
    visitors.known("after 1970")
    _reload(world)
    visitors.known("after 1970 and a reload")
    # As long as the greeting counts, less the hour: then they are tested again, as it should be.
    _restart(world, HOUR + TTL - HOUR + 120)
    visitors.tested("after a day off")
    cleanups = _check_cleanups(world)
    return [Figure("visits", visitors.visits), Figure("clean-ups", cleanups),
            Figure("verdicts lost or prolonged", 0)]


def _first_start(world: World) -> list[Figure]:
    """The very first start is in 1970, or ten years ahead."""
    visitors = _Visitors(world)
    for ahead in (60 - int(time.time()), 10 * YEAR):
        subprocess.run(["postfix", "stop"], check=True, capture_output=True, timeout=60)
        world.until(lambda: not world.gateposts(), 30, "all processes end after postfix stop")
        for suffix in ("", "-wal", "-shm"):
            world.cache_file.with_name(world.cache_file.name + suffix).unlink(missing_ok=True)
        world.own_clock.reboot()
        world.own_clock.set_ahead(ahead)
        subprocess.run(["postfix", "start"], check=True, capture_output=True, timeout=60)
        visitors.make_known()
        visitors.known("at first")
        world.own_clock.set_ahead(0)
        visitors.known("when the clock is right")
        _reload(world)
        visitors.known("when the clock is right, after a reload")
    cleanups = _check_cleanups(world)
    return [Figure("visits", visitors.visits), Figure("clean-ups", cleanups),
            Figure("verdicts lost", 0)]


def _start_ahead(world: World) -> list[Figure]:
    """A start with the clock ten years ahead, and clean-ups before anybody sets it right."""
    visitors = _Visitors(world)
    visitors.make_known()
    _restart(world, 10 * YEAR)
    before = len(_CLEANUP.findall(world.log_text()))
    visitors.known("ten years ahead")
    world.until(lambda: len(_CLEANUP.findall(world.log_text())) > before + 1, 20, "clean-ups")
    must(len(_rows(world)) == KNOWN_COUNT, "verdicts are gone")
    world.own_clock.set_ahead(0)
    time.sleep(5)
    visitors.known("when the clock is right")
    return [Figure("visits", visitors.visits), Figure("clean-ups", _check_cleanups(world)),
            Figure("verdicts lost", 0)]


def _stopped(world: World) -> list[Figure]:
    """The processes stand still for longer than the greet wait and the watchdog's time."""
    rounds, span = (1, 4) if world.short else (6, 13)
    visitors = _Visitors(world)
    visitors.make_known()
    family = world.family()
    stops = 0
    for number in range(rounds):
        # In the midst of work, of all of them, or of one only.
        for pids in (family, family[1:], family[:1])[:1 if world.short else 3]:
            busy = world.clients("known", KNOWN, count=400, rate=200)
            talkers = world.clients("pregreet", PREGREETERS, count=20, in_flight=20,
                                    first=20 * stops, greet_wait=GREET_WAIT)
            waiting = visitors.begin_new(20)
            time.sleep(GREET_WAIT / 2 + number * 0.02)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            late = visitors.begin_new(20)
            time.sleep(span)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            for clients in (waiting, late):
                visitors.end_new(clients, "of a process that stood still")
            talkers.result().check("521")
            must(busy.result().check("220").all_lost == 0, "known clients were lost")
            stops += 1
            time.sleep(1)
    must(world.family() == family, "a process has ended")
    visitors.known("after all that")
    return [Figure("stops", stops), Figure("seconds each", span),
            Figure("watchdog, seconds", 10), Figure("clients", visitors.visits),
            Figure("lost", 0)]


def _suspended(world: World) -> list[Figure]:
    """The machine sleeps: first not long enough for verdicts to expire, then for longer."""
    visitors = _Visitors(world)
    visitors.make_known()
    family = world.family()
    for span in (HOUR, 12 * HOUR):
        waiting = visitors.begin_new(20)
        time.sleep(GREET_WAIT / 2)
        world.own_clock.suspend(span)
        visitors.end_new(waiting, "when the machine slept")
        visitors.known("after some hours of sleep")
    world.own_clock.suspend(TTL)
    visitors.tested("after a day of sleep")
    visitors.known("after they were tested again")
    must(world.family() == family, "a process has ended")
    return [Figure("visits", visitors.visits), Figure("lost", 0)]


def _leap(world: World) -> list[Figure]:
    """The wall clock repeats a second, again and again, under load."""
    began = time.time()
    visitors = _Visitors(world)
    visitors.make_known()
    seconds, rate = (5, 50) if world.short else (60, 100)
    count = seconds * rate
    clients = world.clients("new", NEW, count=count, rate=rate, greet_wait=GREET_WAIT)
    visitors.used = count
    leaps = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        # When the last second of the minute is over, it begins again, or is left out.
        time.sleep(1 - time.time() % 1)
        world.own_clock.set_ahead(-1 if world.own_clock.ahead == 0 else 0)
        leaps += 1
        visitors.known("at a leap second")
    visitors.end_new(clients, "at a leap second")
    world.settle()
    _check_rows(world, began, KNOWN_COUNT + count)
    must(len(world.records("PASS NEW")) == KNOWN_COUNT + count, "some were new twice")
    return [Figure("leap seconds", leaps), Figure("clients", count), Figure("lost", 0)]


def _setting(*main_cf: str, **options: object) -> Setting:
    return Setting(main_cf=("postscreen_cache_cleanup_interval = 1s", *main_cf),
                   greet_wait=GREET_WAIT, own_clock=True, **options)


TRIALS = (
    Trial("clock/jumps", "the wall clock jumps by seconds, hours, days and years, and back",
          _jumps, _setting()),
    Trial("clock/no-battery", "a start in 1970, and the jump to today", _no_battery,
          _setting(troubles=("warning:",))),
    Trial("clock/first-start", "the very first start with a wrong clock", _first_start,
          _setting(troubles=("warning:",)), short=False),
    Trial("clock/start-ahead", "a start with the clock ten years ahead", _start_ahead,
          _setting(troubles=("warning:",)), short=False),
    Trial("clock/stopped", "processes stand still for longer than every wait", _stopped,
          Setting(main_cf=("postscreen_greet_action = drop",),
                  greet_wait=GREET_WAIT)),
    Trial("clock/suspended", "the machine is suspended", _suspended, _setting()),
    Trial("clock/leap", "the wall clock repeats seconds", _leap, _setting()),
)
