"""Inside the namespaces: start everything, run one case, write down what came out.

The kernel ends what is left when this process ends.
"""

import json
import resource
import sys
import traceback
from pathlib import Path

from harness import instance, namespace

from .plan import Scale, Wrong
from .scenarios import SCENARIOS
from .standins import Log, NameServer, Smtpd
from .world import QUEUE, World

# The kernel's queues: as long as what a burst needs, and, for the log socket, what systemd
# sets at boot.
SYSCTLS = {"net/core/somaxconn": 32768, "net/ipv4/tcp_max_syn_backlog": 65536,
           "net/unix/max_dgram_qlen": 512}


def run(order_file: Path) -> int:
    """Do what the order says."""
    order = json.loads(order_file.read_text())
    try:
        outcome = {"values": _run(order, Path(order["place"]))}
    except Wrong as error:
        outcome = {"wrong": str(error)}
    except Exception:
        outcome = {"wrong": traceback.format_exc()}
    Path(order["outcome"]).write_text(json.dumps(outcome))
    return 0


def _run(order: dict, place: Path) -> dict:
    scenario = next(s for s in SCENARIOS if s.name == order["scenario"])
    case = next(c for c in scenario.cases if c.name == order["case"])
    scale = Scale(**order["scale"])
    setting = case.setting(scale)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    namespace.set_up(place, order["resolv_conf"], set(), "")
    namespace.set_up_dev(place)
    for name, value in SYSCTLS.items():
        Path("/proc/sys", name).write_text(str(value))
    visits = Path(order["visits"])
    keep = Path(order["log"]) if order["log"] else None
    if setting.keep_log and not keep:
        keep = place / "records"
    log = Log(visits, Path("/dev/log"), keep)
    smtpd = Smtpd(visits, QUEUE / "private/smtpd")
    name_server = None
    if setting.zones:
        name_server = NameServer(Path(order["name_server"]), namespace.NAME_SERVER)
    instance.start()
    world = World(program=order["program"], scale=scale, visits=visits, log=log, smtpd=smtpd,
                  name_server=name_server, log_file=keep, scratch=place,
                  slowsync=Path(order["slowsync"]) if setting.slow_syncs else None)
    values = case.run(world)
    smtpd.end()
    troubles = +log.troubles
    if setting.many:
        del troubles["warning:"]    # of Gatepost: that descriptors may run out
    if troubles:
        print(f"bench: {order['program']} logged {dict(troubles)}", file=sys.stderr)
    return values
