"""The log service goes away and comes back, or stays and does not read: postlogd(8), and what
listens at /dev/log (rsyslogd(8); journald(8), whose socket stays while it is away)."""

import signal
import socket
import subprocess
import time
from itertools import count
from pathlib import Path

from bench.plan import KNOWN, OTHERS

from ...plan import Figure, Setting, Trial, must
from ...standins.log import CRAWLING, FORGOTTEN, GONE, REPLACED, UNREAD
from ...standins.service import WELL
from ...world import World
from .town import Town, setting

# postscreen_watchdog_timeout
WATCHDOG = 10

# How long it is away, seconds: longer than records can wait, too.
_PERIODS = (0.1, 0.5, 1.5, 4.0)


def _comes_and_goes(manner: str):
    def trial(world: World) -> list[Figure]:
        town = Town(world)
        times = 20
        rate = 100 if world.short else 300
        seconds = times * 0.3 if world.short else times * (sum(_PERIODS) / len(_PERIODS) + 0.5) + 5
        since = len(town.log.records)
        town.begin(seconds, {"known": rate})
        slowest = 0.0
        for number in range(times):
            town.log.behave(manner)
            time.sleep(0.05 if world.short else _PERIODS[number % len(_PERIODS)])
            back = time.monotonic()
            town.log.behave(WELL)
            world.until(lambda: town.log.first_after(back) is not None, 1,
                        f"logging resumes within a second, time {number + 1}")
            slowest = max(slowest, town.log.first_after(back) - back)
            time.sleep(0.1 if world.short else 0.3)
        load = town.end()["known"].check("220")
        lost, clients = _account(world, town, since, load.begun)
        must(lost > 0 or manner != GONE or world.short, "none was lost, so that was not tried")
        town.serves()
        town.check_unhurt()
        return [Figure("times away", times), Figure("records", 2 * clients),
                Figure("lost and reported", lost), Figure("unaccounted for", 0),
                Figure("resumed at the latest after, ms", slowest * 1000)]
    return trial


def _account(world: World, town: Town, since: int, clients: int) -> tuple[int, int]:
    """Every record is here, or was reported as lost: a known client leaves two."""
    def here() -> int:
        return town.log.count(r"CONNECT from \[127\.2\.|ALLOWLISTED \[127\.2\.", since)
    world.until(lambda: here() + town.log.lost() >= 2 * clients, 5,
                f"{2 * clients} records, here or reported as lost")
    time.sleep(0.5)
    must(here() + town.log.lost() == 2 * clients,
         f"{2 * clients} records: {here()} are here, {town.log.lost()} were reported as lost")
    return town.log.lost(), clients


def _stands_still(world: World) -> list[Figure]:
    """A socket that nobody reads, for longer than the watchdog waits, with clients all the time."""
    town = Town(world)
    away = 5 if world.short else 3 * WATCHDOG
    since = len(town.log.records)
    town.begin(away + 2, {"known": 200})
    time.sleep(1)
    town.log.behave(UNREAD)
    time.sleep(away)
    back = time.monotonic()
    town.log.behave(WELL)
    world.until(lambda: town.log.first_after(back) is not None, 1, "logging resumes")
    load = town.end()["known"].check("220")
    # It was waited for once, and not by turns.
    slowest = load.time("first_byte", "max")
    must(slowest < 2500, f"a client has waited for {slowest:.0f} ms")
    lost, _ = _account(world, town, since, load.begun)
    must(lost > 0 or world.short, "none was lost, so it was not tried")
    town.serves()
    town.check_unhurt()
    return [Figure("unread for, s", away), Figure("clients", load.begun),
            Figure("slowest first byte, ms", slowest), Figure("records lost and reported", lost),
            Figure("unaccounted for", 0)]


def _forgotten(world: World) -> list[Figure]:
    """Another socket has taken the place of one that is still open somewhere, and read by nobody:
    that is found out when it is full for a second, also from inside the jail."""
    town = Town(world)
    rounds = 1 if world.short else 10
    rate, slowest = 400, 0.0
    # So many fit into a socket, by the kernel's limit; a known client leaves two records.
    fills = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) / (2 * rate)
    since = len(town.log.records)
    town.begin(rounds * (fills + 3), {"known": rate})
    for _ in range(rounds):
        back = time.monotonic()
        town.log.behave(FORGOTTEN)
        world.until(lambda: town.log.first_after(back) is not None, fills + 2,
                    "the other socket is found")
        slowest = max(slowest, town.log.first_after(back) - back - fills)
        town.log.behave(WELL)
        time.sleep(0.5)
    load = town.end()["known"].check("220")
    town.log.read_forgotten()
    lost, clients = _account(world, town, since, load.begun)
    town.check_unhurt()
    return [Figure("sockets forgotten", rounds), Figure("clients", clients),
            Figure("found after it was full, ms", slowest * 1000),
            Figure("lost and reported", lost)]


def _crawls(world: World) -> list[Figure]:
    """A log service that reads a record now and then: the mail goes on, and the watchdog, for
    which a turn of the loop is too long if it waits for each record, has nothing to say."""
    town = Town(world)
    slow = 6 if world.short else 4 * WATCHDOG
    since = len(town.log.records)
    town.begin(slow + 2, {"known": 200, "new": 50})
    town.log.behave(CRAWLING)
    time.sleep(slow)
    town.log.behave(WELL)
    loads = town.end()
    for load in loads.values():
        load.check("220")
    slowest = loads["known"].time("first_byte", "max")
    must(slowest < WATCHDOG * 1000, f"a client has waited for {slowest:.0f} ms")
    must(not town.log.count("watchdog", since), "the watchdog was heard")
    town.serves()
    town.check_unhurt()
    return [Figure("crawling for, s", slow), Figure("clients", sum(l.begun for l in loads.values())),
            Figure("slowest first byte of a known client, ms", slowest),
            Figure("records lost and reported", town.log.lost())]


def _postlogd(world: World) -> list[Figure]:
    """The real one, killed again and again. Its socket is master(8)'s: records wait in it."""
    world.load("new", OTHERS, count=5, in_flight=5)
    world.load("known", KNOWN, count=5, in_flight=5)
    pid, slowest, killed = world.worker(), 0.0, 0
    numbers = count(100)
    for number in range(20):
        for process in world.processes():
            if process.name == "postlogd":
                world.kill(process.pid, signal.SIGTERM if number % 2 else signal.SIGKILL)
                killed += 1
        first = next(numbers)
        back = time.monotonic()
        # What the process that is killed has read already is lost with it.
        time.sleep(0.05)
        world.load("known", KNOWN, count=1, in_flight=1, first=first)
        address = f"127.2.0.{first}"
        world.until(lambda: f"ALLOWLISTED [{address}]" in world.log_text(), 65,
                    f"record number {number + 1}")
        slowest = max(slowest, time.monotonic() - back)
    must(world.worker() == pid, "there is another worker")
    must(killed > 15, f"it was killed only {killed} times")
    return [Figure("deaths of postlogd", killed), Figure("resumed at the latest after, ms",
                                                     slowest * 1000)]


_RSYSLOG = """\
global(workDirectory="{scratch}")
module(load="imuxsock" SysSock.Name="/dev/log" SysSock.RateLimit.Interval="0")
action(type="omfile" file="{file}" template="RSYSLOG_TraditionalFileFormat")
"""


def _rsyslogd(world: World) -> list[Figure]:
    """The real one, ended and killed again and again. What is in its socket then is lost with it,
    and nobody could count that; all else is here or reported."""
    configuration = world.scratch / "rsyslog.conf"
    configuration.write_text(_RSYSLOG.format(scratch=world.scratch, file=world.log_file))

    def start() -> subprocess.Popen:
        command = ["rsyslogd", "-n", "-i", "NONE", "-f", str(configuration)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        world.until(_is_read, 20, "rsyslogd has a socket")
        return process

    times, rate, last, slowest = 20, 100, 0, 0.0
    Path("/dev/log").unlink()
    process = start()
    world.load("new", OTHERS, count=5, in_flight=5)
    pid = world.worker()
    known = world.clients("known", KNOWN, rate=rate, seconds=40, count=40 * rate)
    for number in range(times):
        process.send_signal(signal.SIGTERM if number % 2 else signal.SIGKILL)
        process.wait()
        time.sleep(_PERIODS[number % 3])
        process = start()
        back, size = time.monotonic(), world.log_file.stat().st_size
        world.until(lambda: world.log_file.stat().st_size > size, 1,
                    f"logging resumes within a second, time {number + 1}")
        slowest = max(slowest, time.monotonic() - back)
        time.sleep(0.2)
    load = known.result().check("220")
    time.sleep(1)
    here = len(world.records(r"CONNECT from \[127\.2\.|ALLOWLISTED \[127\.2\."))
    lost = sum(int(line.split("warning: ")[1].split()[0]) for line in world.records("records lost"))
    missing = 2 * load.begun - here - lost
    must(missing >= 0, f"{here} records and {lost} reported as lost of {2 * load.begun}")
    # It reads what comes within milliseconds; what it has read it writes at once.
    must(missing < times * 20, f"{missing} records of {2 * load.begun} are missing")
    must(world.worker() == pid, "there is another worker")
    process.kill()
    return [Figure("deaths of rsyslogd", times), Figure("records", 2 * load.begun),
            Figure("lost in its socket when it died", missing), Figure("lost and reported", lost),
            Figure("resumed at the latest after, ms", slowest * 1000)]


def _is_read() -> bool:
    """Whether somebody has the socket at /dev/log."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        try:
            asker.connect("/dev/log")
        except OSError:
            return False
    return True


_KNOWN = setting(("postscreen_access_list = cidr:/etc/postfix/known",))
_OUTSIDE = setting(("postscreen_access_list = cidr:/etc/postfix/known",), chroot=False)

TRIALS = (
    Trial("neighbours/log-gone", "the socket of the log service gone and back 20 times, chrooted",
          _comes_and_goes(GONE), _KNOWN),
    Trial("neighbours/log-gone-outside", "the same, not chrooted", _comes_and_goes(GONE), _OUTSIDE,
          short=False),
    Trial("neighbours/log-unread", "a log socket that stays while its reader is away, 20 times",
          _comes_and_goes(UNREAD), _KNOWN),
    Trial("neighbours/log-replaced", "another socket in the place of the log's, 20 times",
          _comes_and_goes(REPLACED), _KNOWN),
    Trial("neighbours/log-forgotten", "the same, and the old one is still open and read by nobody",
          _forgotten, _KNOWN),
    Trial("neighbours/log-stands-still", "a log socket that nobody reads", _stands_still, _KNOWN),
    Trial("neighbours/log-crawls", "a log service that reads a record now and then", _crawls,
          _KNOWN),
    Trial("neighbours/rsyslogd", "rsyslogd ended or killed 20 times", _rsyslogd, _KNOWN, short=False),
    Trial("neighbours/postlogd", "postlogd killed 20 times", _postlogd,
          Setting(main_cf=("postscreen_access_list = cidr:/etc/postfix/known",),
                  files=(("known", "127.2.0.0/16 permit\n"),), log=False), short=False),
)
