"""The program among stand-ins that can fail, under a load of all kinds of clients."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.plan import KNOWN, NEW, OTHERS, Network
from bench.standins import Clients, Load
from harness import namespace

from ...plan import Setting, must
from ...standins.log import LogService
from ...standins.name_server import NameServer
from ...standins.neighbourhood import Neighbourhood
from ...standins.proxymap import Proxymap
from ...standins.smtpd import Smtpd
from ...standins.tlsproxy import Tlsproxy
from ...standins.visitors import CUT_OFF, TIMEOUT, Visitors
from ...world import World

# Known by a file, so that nobody has to be asked; all others are asked about.
_ACCESS = "127.2.0.0/16 permit\n"
PREGREETERS = Network("127.5.0.0/16")
TALKERS = Network("127.6.0.0/16")
LISTED = Network("127.7.0.0/16")
REJECTED = Network("127.9.0.0/16")
TLS_CLIENTS = "127.10"

_MAIN_CF = (
    "postscreen_access_list = cidr:/etc/postfix/known, proxy:texthash:/clients",
    "postscreen_denylist_action = drop",
    "postscreen_greet_action = drop",
    "postscreen_dnsbl_sites = bl.test",
    "postscreen_dnsbl_action = drop",
    "postscreen_pipelining_enable = yes",
    "postscreen_tls_security_level = may",
    "proxy_read_maps = proxy:texthash:/clients",
)

_MASTER_CF = ("remove tlsproxy/unix", "remove proxymap/unix", "remove dnsblog/unix")

# Descriptors that come and go by themselves: idle connections to table servers and the like.
SPARE_DESCRIPTORS = 4


def setting(main_cf: tuple[str, ...] = (), **others: object) -> Setting:
    """The setting of a town: main.cf's lines come in addition."""
    named = {line.split("=")[0].strip() for line in main_cf}
    kept = tuple(line for line in _MAIN_CF if line.split("=")[0].strip() not in named)
    return Setting(main_cf=kept + main_cf, master_cf=_MASTER_CF,
                   files=(("known", _ACCESS),), troubles=("warning:",), smtpd=False,
                   resolv_conf=("options timeout:1 attempts:2",), **others)


@dataclass
class Town:
    """See the module. With `smtpd` False in the setting, the entry of smtpd(8) has to go."""
    world: World
    where: Neighbourhood = field(default_factory=Neighbourhood)

    def __post_init__(self) -> None:
        private = self.world.queue / "private"
        self.smtpd = Smtpd(self.where, private / "smtpd")
        self.tlsproxy = Tlsproxy(self.where, private / "tlsproxy")
        self.proxymap = Proxymap(self.where, private / "proxymap")
        self.names = NameServer(self.where, namespace.NAME_SERVER)
        self.log = LogService(self.where, Path("/dev/log"), self.world.log_file)
        self.load: dict[str, Clients] = {}
        self.visitors: Visitors | None = None
        # The program starts, and everything that comes once has come.
        self.world.load("new", OTHERS, count=5, in_flight=5).check("220")
        self.world.load("known", KNOWN, count=5, in_flight=5).check("220")
        time.sleep(1.5)
        self.pid = self.world.worker()
        self.before = self.world.descriptors(self.pid)
        self.memory = self.world.resident(self.pid)

    @property
    def all(self) -> dict[str, object]:
        """The neighbours, by name."""
        return {"smtpd": self.smtpd, "tlsproxy": self.tlsproxy, "proxymap": self.proxymap,
                "names": self.names, "log": self.log}

    def begin(self, seconds: float, rates: dict[str, float], stay: float = 0.2) -> None:
        """Clients of all kinds from now on."""
        networks = {"known": KNOWN, "new": NEW, "pregreet": PREGREETERS, "engine": TALKERS}
        for kind, rate in rates.items():
            if kind == "tls":
                self.visitors = Visitors(self.where, TLS_CLIENTS, rate, stay)
            else:
                # Talkers come again, and are known then.
                spread = int(rate * 5) if kind == "engine" else None
                self.load[kind] = self.world.clients(
                    kind, networks[kind], rate=rate, seconds=seconds, greet_wait=1,
                    count=int(rate * seconds), spread=spread)

    def end(self) -> dict[str, Load]:
        """Waits for the clients that have come. What they must not have met is checked."""
        loads = {kind: clients.result() for kind, clients in self.load.items()}
        for kind, load in loads.items():
            must(not load.lost.get("timeout"), f"{kind} clients wait for ever: {load}")
            must(not load.lost.get("refused"), f"{kind} clients were refused: {load}")
        cut_off = sum(load.lost.get("closed", 0) + load.lost.get("reset", 0)
                      for load in loads.values())
        outcomes = self.tls_outcomes()
        must(not outcomes[TIMEOUT] and not outcomes["refused"], f"TLS clients: {outcomes}")
        must(outcomes[f"{CUT_OFF} in TLS"] <= self.tlsproxy.cut_off,
             f"cut off in TLS, where tlsproxy has done so to {self.tlsproxy.cut_off}: {outcomes}")
        cut_off += outcomes[CUT_OFF]
        must(cut_off <= self.smtpd.dropped,
             f"{cut_off} clients got no reply, where smtpd has dropped {self.smtpd.dropped}: "
             f"{loads} {outcomes}")
        return loads

    def tls_outcomes(self) -> Counter[str]:
        """What has become of those who wanted TLS."""
        return self.visitors.stop() if self.visitors else Counter()

    def check_unhurt(self) -> None:
        """The same process, with what it had at the beginning."""
        world = self.world
        must(world.worker() == self.pid, "there is another worker")
        world.until(lambda: world.descriptors(self.pid) <= self.before + SPARE_DESCRIPTORS, 20,
                    f"no more descriptors than {self.before} at the beginning: "
                    f"{world.descriptors(self.pid)} {self.open_files()}")
        grown = world.resident(self.pid) - self.memory
        must(grown < 8192, f"memory has grown by {grown} KiB")
        spent = world.cpu_of(self.pid)
        time.sleep(1)
        spent = world.cpu_of(self.pid) - spent
        must(spent < 50_000, f"with nothing to do it has spent {spent:.0f} µs in a second")

    def open_files(self) -> Counter[str]:
        """What the descriptors of the worker are, for whoever wonders."""
        found: Counter[str] = Counter()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found[re.sub(r"\d+", "", str(entry.readlink()))] += 1
            except OSError:
                continue
        return found

    def serves(self) -> None:
        """Everything is as it was: all kinds of clients are served as always."""
        for kind, network, reply in (("known", KNOWN, "220"), ("new", OTHERS, "220"),
                                     ("pregreet", OTHERS, "521")):
            first = 10_000 + len(self.log.records) % 20_000 if kind != "known" else 0
            self.world.load(kind, network, count=10, in_flight=10, first=first).check(reply)


def replies(loads: dict[str, Load]) -> Counter[str]:
    """All replies of a load."""
    found: Counter[str] = Counter()
    for load in loads.values():
        found.update(load.replies)
    return found
