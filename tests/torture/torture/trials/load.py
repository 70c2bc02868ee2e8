"""Many clients, and such as do not behave."""

import re
import resource
import subprocess
import time
from pathlib import Path

from bench.plan import HELD, KNOWN, MANY, NEW, OTHERS, Network
from bench.standins import Clients, Load

from ..callers import Caller, callers, half_open
from ..plan import Figure, Setting, Trial, must
from ..world import World

# What a process may take that has nothing to do, percent of a core.
IDLE = 1.0
# The same where thousands of connections are silent, or somebody says a byte a second.
NEARLY_IDLE = 5.0
# How soon all must be as before, seconds.
RECOVERY = 10
# Milliseconds that a visit may take that has to wait for nothing, on a machine that is busy.
PROMPT = 1000

FLOOD = Network("127.32.0.0/13")

_TOO_MANY = "421 4.7.0 Error: too many connections"
_SCREENING = "421 4.3.2 All screening ports are busy"
_SERVERS = "421 4.3.2 All server ports are busy"
_NO_RESOURCES = "421 4.3.2 No system resources"
_TIMEOUT = "421 4.4.2 mx.example.test Error: timeout exceeded"


def _permit(*networks: Network) -> tuple[tuple[str, str], ...]:
    return (("access", "".join(f"{network.text} permit\n" for network in networks)),)


_ACCESS = "postscreen_access_list = cidr:/etc/postfix/access"


def _idle(world: World, seconds: float, most: float, when: str) -> float:
    share = world.share(seconds)
    must(share <= most, f"{share:.1f} % of a core {when}")
    return share


def _recovered(world: World, worker: int, descriptors: int) -> float:
    """Waits until the process has no more descriptors than before, and a visit is prompt."""
    begin = time.monotonic()
    world.until(lambda: world.descriptors(worker) <= descriptors + 12, RECOVERY,
                "descriptors are free again")
    while True:
        load = world.load("known", KNOWN, count=20, in_flight=5).check("220")
        if load.time("first_byte", "max") <= PROMPT:
            break
        must(time.monotonic() < begin + RECOVERY, f"visits are slow: {load.times}")
    must(world.worker() == worker, "another process serves")
    return time.monotonic() - begin


def _in_order(world: World, count: int) -> None:
    """Clients that connect one after the other are served in this order."""
    with callers() as them:
        for number in range(count):
            them.append(Caller(f"127.4.9.{number + 1}"))
        ports = [caller.port for caller in them]
        for caller in them:
            must(caller.line().startswith("220-"), "no teaser")
    world.until(lambda: len(world.records(r" CONNECT from \[127\.4\.9\.")) == count, 10,
                "the log has all of them")
    seen = [int(re.search(r"\]:(\d+) to", line)[1])
            for line in world.records(r" CONNECT from \[127\.4\.9\.")]
    must(seen == ports, "clients were not taken in order")


def _only_the_start_is_warned_of(world: World) -> None:
    warnings = world.troubles().get("warning:", [])
    other = [line for line in warnings if not re.search(r"need \d+ file descriptors, but", line)]
    must(not other and len(warnings) <= 1, f"warnings: {warnings[:5]}")


def _hold(world: World, count: int, processes: int) -> list[Clients]:
    """So many clients in the greet wait, from as many addresses."""
    each = count // processes
    held = [world.clients("hold", HELD, first=number * each, count=each, in_flight=200,
                          greet_wait=600) for number in range(processes)]
    for clients in held:
        clients.wait_until_held()
    return held


def _waiting(world: World) -> list[Figure]:
    """As many clients as can be in the greet wait, and others besides."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(20_000, hard - 500)
    count = 1000 if world.short else most - most % 4
    world.wake("known", KNOWN)
    world.settle()
    worker = world.worker()
    seconds = 2 if world.short else 10
    nobody = _idle(world, seconds, IDLE, "without clients")
    memory, descriptors = world.resident(worker), world.descriptors(worker)
    begin = time.monotonic()
    held = _hold(world, count, 4)
    took = time.monotonic() - begin
    must(world.descriptors(worker) >= count, "they are not all there")
    waiting = _idle(world, seconds, IDLE, "while all wait")
    grown = world.resident(worker) - memory
    # Others come meanwhile: such as talk too early, known ones, and some one by one.
    early = world.load("pregreet", OTHERS, count=200, in_flight=20).check("521")
    known = world.load("known", KNOWN, count=200, in_flight=20).check("220")
    for load in (early, known):
        must(load.time("visit", "p99") <= PROMPT, f"visits are slow: {load.times}")
    _in_order(world, 50)
    begin = time.monotonic()
    for clients in held:
        must(clients.result().check("220").finished == count // 4, "some are missing")
    recovery = _recovered(world, worker, descriptors)
    world.settle()
    left = world.resident(worker) - memory
    must(left < 2048 + grown / 2, f"{left} KiB are kept of {grown}")
    again = _idle(world, seconds, IDLE, "after that")
    _only_the_start_is_warned_of(world)
    return [Figure("limit of descriptors", hard),
            Figure("clients in the greet wait at once", count),
            Figure("all in after, s", took), Figure("KiB for each", grown / count),
            Figure("core used without clients, %", nobody),
            Figure("while all wait, %", waiting), Figure("after that, %", again),
            Figure("first byte for a known one meanwhile, p99 ms", known.time("first_byte", "p99")),
            Figure("visit that talks too early meanwhile, p99 ms", early.time("visit", "p99")),
            Figure("as before after, s", recovery),
            Figure("memory kept, KiB", left), Figure("lost", 0)]


def _wave(world: World) -> list[Figure]:
    """As many clients as can be, to the end of their wait, which comes for all at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(20_000, hard - 500)
    count = 500 if world.short else most - most % 4
    world.wake("known", KNOWN)
    worker, descriptors = world.worker(), world.descriptors(world.worker())
    each = count // 4
    loads = [world.clients("new", HELD, first=number * each, count=each, in_flight=each,
                           greet_wait=5) for number in range(4)]
    results = [clients.result().check("220") for clients in loads]
    must(not any(result.all_lost for result in results), "clients were lost")
    passes = r"\]: PASS NEW \[127\.(8|9|10|11)\."
    # The last records are on their way when their clients have gone.
    world.until(lambda: len(world.records(passes)) >= count, 10, "each has its PASS NEW")
    seen = len(world.records(passes))
    must(seen == count, f"{seen} times PASS NEW")
    recovery = _recovered(world, worker, descriptors)
    _only_the_start_is_warned_of(world)
    late = max(result.time("banner", "p99") for result in results)
    return [Figure("clients at once", count), Figure("banner after, p99 ms", late),
            Figure("as before after, s", recovery), Figure("lost", 0)]


def _limits(world: World) -> list[Figure]:
    """The three limits, in Postfix's words, and floods against them."""
    world.wake("known", KNOWN)
    worker = world.worker()
    descriptors, memory = world.descriptors(worker), world.resident(worker)
    with callers() as them:
        # From one address.
        for _ in range(10):
            them.append(Caller("127.4.0.1"))
            must(them[-1].line().startswith("220-"), "no teaser within the limit")
        for _ in range(3):
            them.append(Caller("127.4.0.1"))
            must(them[-1].line() == _TOO_MANY, "the limit of an address has other words")
            must(them[-1].line() == "", "the connection goes on")
        count = 1000 if world.short else 30_000
        one = _flood(world, count, OTHERS, {"first": 1, "spread": 1})
        must(set(one.replies) == {"421"}, f"{one.replies} from one address")
        # The queue before smtpd(8): of N, N - 1 are screened.
        for number in range(89):
            them.append(Caller(f"127.4.1.{number + 1}"))
            must(them[-1].line().startswith("220-"), f"no teaser for number {number}")
        for number in range(3):
            them.append(Caller(f"127.4.2.{number + 1}"))
            must(them[-1].line() == _SCREENING, "the pre-queue limit has other words")
            must(them[-1].line() == "", "the connection goes on")
        full = _idle(world, 2, IDLE, "at the pre-queue limit")
        # Who is known does not wait in that queue.
        known = world.load("known", KNOWN, count=20, in_flight=5).check("220")
        many = _flood(world, count, FLOOD, {})
        must(set(many.replies) == {"421"}, f"{many.replies} at the pre-queue limit")
    # The queue for smtpd(8).
    world.until(lambda: world.descriptors(worker) <= descriptors + 12, RECOVERY, "all have gone")
    world.smtpd.pause()
    try:
        with callers() as them:
            for number in range(20):
                them.append(Caller(f"127.2.3.{number + 1}"))
            world.until(lambda: len(world.records(r"LISTED \[127\.2\.3\.")) == 20, 10,
                        "they wait for smtpd")
            them.append(Caller("127.2.4.1"))
            must(them[-1].line() == _SERVERS, "the post-queue limit has other words")
            must(them[-1].line() == "", "the connection goes on")
            busy = _idle(world, 2, IDLE, "at the post-queue limit")
            flood = _flood(world, count, KNOWN, {"first": 2000})
            must(set(flood.replies) == {"421"}, f"{flood.replies} at the post-queue limit")
            world.smtpd.go_on()
            for caller in them[:20]:
                must(caller.line().startswith("220 "), "who has waited for smtpd is lost")
    finally:
        world.smtpd.go_on()
    recovery = _recovered(world, worker, descriptors)
    rejects = {words: len(world.records(rf"reject: (CONNECT|connect) from \S+: {words}$"))
               for words in ("too many connections", "all screening ports busy",
                             "all server ports busy")}
    must(all(number > count for number in rejects.values()), f"rejects in the log: {rejects}")
    return [Figure("turned down", sum(rejects.values())), Figure("lost", 0),
            Figure("flood from many at the limit, 1/s", many.finished / many.seconds),
            Figure("flood from one, 1/s", one.finished / one.seconds),
            Figure("core used at the pre-queue limit, %", full),
            Figure("at the post-queue limit, %", busy),
            Figure("known ones meanwhile, p99 ms", known.time("visit", "p99")),
            Figure("as before after, s", recovery),
            Figure("memory kept, KiB", world.resident(worker) - memory)]


def _flood(world: World, count: int, network: Network, options: dict[str, int]) -> Load:
    load = world.load("known", network, count=count, in_flight=200, **options)
    must(not load.all_lost, f"connections were lost: {load.lost}")
    return load


def _slow(world: World) -> list[Figure]:
    """Slow readers, and such as say a byte a second: until their time is up."""
    # What the kernel takes for a client that does not read.
    Path("/proc/sys/net/ipv4/tcp_wmem").write_text("4096 16384 16384")
    count = 200 if world.short else 3000
    world.wake("known", KNOWN)
    worker = world.worker()
    descriptors, memory = world.descriptors(worker), world.resident(worker)
    drips = world.clients("drip", NEW, count=count, in_flight=count, greet_wait=1)
    readers = world.clients("slow", OTHERS, count=count, in_flight=count, greet_wait=1)
    silent = world.clients("hold", HELD, count=count, in_flight=count, greet_wait=1)
    world.until(lambda: world.descriptors(worker) > descriptors + 2 * count, 40, "all are in")
    time.sleep(3)
    share, most = world.share(2, worker), world.resident(worker)
    known = world.load("known", KNOWN, count=50, in_flight=5).check("220")
    must(known.time("visit", "p99") <= PROMPT, f"visits are slow: {known.times}")
    dripped = drips.result().check("421")
    read = readers.result().check("220")
    # The time of those is up, too, who do not say anything.
    limits = r"COMMAND TIME LIMIT from \[127\."
    world.until(lambda: len(world.records(limits)) >= 3 * count, 60, "all have been told to go")
    must(silent.result().replies == {"421": count}, "the silent ones were not told to go")
    must(not (dripped.all_lost or read.all_lost), f"{dripped.lost} {read.lost}")
    timeouts = len(world.records(limits))
    must(timeouts == 3 * count, f"{timeouts} time limits for {3 * count} clients")
    recovery = _recovered(world, worker, descriptors)
    idle = _idle(world, 2, IDLE, "after that")
    kept = world.resident(worker) - memory
    must(kept < 4096 + (most - memory) / 4, f"{kept} KiB are kept of {most - memory}")
    return [Figure("of each kind at once", count), Figure("core used by them, %", share),
            Figure("known ones meanwhile, p99 ms", known.time("visit", "p99")),
            Figure("memory for all, KiB", most - memory),
            Figure("memory kept, KiB", kept),
            Figure("as before after, s", recovery), Figure("idle, %", idle)]


def _half_open(world: World) -> list[Figure]:
    """First packets without a second one, and connections that are reset in every phase."""
    server = ("198.51.100.25", 25)
    # What goes to lo and is for nobody there is dropped without a word.
    for command in (f"address add {server[0]}/32 dev lo", "route add 198.18.0.0/15 dev lo"):
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)
    world.wake("known", KNOWN)
    world.settle()
    worker = world.worker()
    descriptors = world.descriptors(worker)
    rounds, each = (5, 1000) if world.short else (60, 2000)
    slowest = 0.0
    for number in range(rounds):
        half_open(each, number * each, server)
        # Of those who mean it, each is served.
        load = world.load("known", KNOWN, count=20, in_flight=5).check("220")
        slowest = max(slowest, load.time("visit", "max"))
        with callers() as them:
            them.append(Caller(f"127.2.5.{number + 1}", server))
            must(them[0].line().startswith("220 "), "not served besides half-open connections")
    received = _received()
    must(received > 0, "there are no half-open connections")
    idle = _idle(world, 2, IDLE, "with half-open connections")
    # Such as are reset.
    count = 3000 if world.short else 60_000
    resets = world.load("reset", NEW, count=count, in_flight=300,
                        greet_wait=1)
    must(resets.finished == count and not resets.all_lost, f"resets: {resets}")
    recovery = _recovered(world, worker, descriptors)
    # Everybody who came in has gone.
    world.settle()
    came, went = (len(world.records(rf" {word} (from )?\[127\.3\.")) for word in
                  ("CONNECT", "DISCONNECT"))
    must(0 < came <= count, f"{came} came of {count}")
    must(came == went, f"{came} came, {went} went")
    after = _idle(world, 2, IDLE, "after that")
    return [Figure("half-open", rounds * each), Figure("of them with the kernel", received),
            Figure("core used meanwhile, %", idle), Figure("slowest visit meanwhile, ms", slowest),
            Figure("resets", count), Figure("of them seen", came),
            Figure("as before after, s", recovery), Figure("idle, %", after)]


def _received() -> int:
    """How many connections are half-open."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return sum(line.split()[3] == "03" for line in lines[1:])


def _proxy(world: World) -> list[Figure]:
    """A flood of connections whose proxy never says whom it speaks for."""
    header = "PROXY TCP4 127.2.9.{} 198.51.100.25 {} 25"

    def visit(number: int) -> float:
        begin = time.monotonic()
        with callers() as them:
            them.append(Caller("127.4.0.9"))
            them[0].say(header.format(number % 250 + 1, 2000 + number))
            must(them[0].line().startswith("220 "), f"visit {number} was lost")
        return (time.monotonic() - begin) * 1000

    visit(0)
    worker = world.worker()
    descriptors = world.descriptors(worker)
    count = 300 if world.short else 5000
    most, slowest = 0, 0.0
    with callers() as silent:
        for number in range(count):
            silent.append(Caller(f"127.32.{number // 250}.{number % 250 + 1}"))
            if number % 10 == 0:
                slowest = max(slowest, visit(number))
                most = max(most, world.descriptors(worker))
        must(most <= descriptors + 100 + 20, f"{most} descriptors for a limit of 100")
        idle = _idle(world, 2, IDLE, "with the most silent connections")
        for caller in silent[:count - 100]:
            must(caller.line() == _NO_RESOURCES, "the oldest were not told to go")
            must(caller.line() == "", "the connection goes on")
    world.until(lambda: world.descriptors(worker) <= descriptors + 12, RECOVERY, "all have gone")
    crowd = len(world.records("too many connections without a header"))
    must(1 <= crowd <= 10, f"{crowd} lines about the crowd")
    must(world.worker() == worker, "another process serves")
    return [Figure("silent connections", count), Figure("limit", 100),
            Figure("most descriptors", most), Figure("visits meanwhile", (count + 9) // 10),
            Figure("slowest of them, ms", slowest), Figure("core used, %", idle),
            Figure("lost", 0)]


TRIALS = (
    Trial("load/waiting", "thousands in the greet wait of one worker, and others besides", _waiting,
          Setting(greet_wait=600, troubles=("warning:",), files=_permit(KNOWN),
                  main_cf=(_ACCESS, "postscreen_greet_action = drop",
                           "postscreen_pre_queue_limit = 30000",
                           "postscreen_post_queue_limit = 30000"))),
    Trial("load/wave", "thousands whose wait ends", _wave,
          Setting(greet_wait=5, troubles=("warning:",), files=_permit(KNOWN),
                  main_cf=(_ACCESS, "postscreen_pre_queue_limit = 30000",
                           "postscreen_post_queue_limit = 30000"))),
    Trial("load/limits", "connection floods, and what the limits say to them", _limits,
          Setting(greet_wait=600, files=_permit(KNOWN),
                  main_cf=(_ACCESS, "postscreen_pre_queue_limit = 100",
                           "postscreen_post_queue_limit = 20",
                           "postscreen_client_connection_count_limit = 10"))),
    Trial("load/slow", "slow readers, a byte a second, silence", _slow,
          Setting(greet_wait=1, files=_permit(KNOWN),
                  main_cf=(_ACCESS, "postscreen_command_time_limit = 8s",
                           "postscreen_command_count_limit = 1000000",
                           "postscreen_bare_newline_enable = yes",
                           "postscreen_pre_queue_limit = 10000"))),
    Trial("load/broken", "half-open connections, and resets in every phase", _half_open,
          Setting(greet_wait=1, files=_permit(KNOWN),
                  main_cf=(_ACCESS, "postscreen_bare_newline_enable = yes"))),
    Trial("load/proxy", "silent connections where the PROXY protocol is spoken", _proxy,
          # The stand-in wants to be told who is really at the other end.
          Setting(smtpd=False, troubles=("warning:",), files=_permit(KNOWN),
                  main_cf=(_ACCESS, "postscreen_upstream_proxy_protocol = haproxy",
                           "postscreen_upstream_proxy_timeout = 600s",
                           "postscreen_pre_queue_limit = 100"))),
)
