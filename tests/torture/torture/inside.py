"""Inside the namespaces: start everything, run one trial, write down what came out.

The kernel ends what is left when this process ends.
"""

import ctypes
import dataclasses
import json
import os
import resource
import subprocess
import sys
import traceback
from pathlib import Path

from harness import instance, namespace

from bench.inside import SYSCTLS
from bench.plan import Scale
from bench.standins import Log, NameServer, Smtpd
from bench.world import QUEUE

from .plan import Setting, Trial, Wrong
from .trials import TRIALS
from .world import OwnClock, World


def run(order_file: Path) -> int:
    """Do what the order says."""
    order = json.loads(order_file.read_text())
    trial = next(trial for trial in TRIALS if trial.name == order["trial"])
    world = None
    try:
        world = _begin(order, trial.setting)
        figures = trial.run(world)
        _end(world, trial)
        outcome = {"figures": [dataclasses.astuple(figure) for figure in figures]}
    except Wrong as error:
        outcome = {"wrong": str(error)}
    except Exception:
        outcome = {"wrong": traceback.format_exc()}
    if world and "wrong" in outcome:
        outcome["log"] = world.last_records()
    Path(order["outcome"]).write_text(json.dumps(outcome))
    return 0


def _begin(order: dict, setting: Setting) -> World:
    place = Path(order["place"])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    namespace.set_up(place, order["resolv_conf"], set(), "")
    namespace.set_up_dev(place)
    # What is left there by one instance is not for another one that runs at the same time.
    (place / "run").mkdir()
    subprocess.run(["mount", "--bind", str(place / "run"), "/run"], check=True)
    for name, value in SYSCTLS.items():
        Path("/proc/sys", name).write_text(str(value))
    visits = Path(order["visits"])
    log_file = Path(namespace.MAIL_LOG)
    if setting.log:
        log_file = place / "records" if setting.keep_log else None
    log = Log(visits, Path("/dev/log"), log_file) if setting.log else None
    smtpd = Smtpd(visits, QUEUE / "private/smtpd") if setting.smtpd else None
    name_server = None
    if setting.zones:
        name_server = NameServer(Path(order["name_server"]), namespace.NAME_SERVER)
    own_clock = OwnClock(place / "boot_id") if setting.own_clock else None
    if setting.descriptors:
        _limited_start(setting.descriptors)
    else:
        instance.start()
    return World(program=order["program"], scale=Scale(order["short"], 30), visits=visits,
                 log=log, smtpd=smtpd, name_server=name_server, log_file=log_file, scratch=place,
                 slowsync=Path(order["slowsync"]) if setting.slow_syncs else None,
                 gatepost=Path(order["gatepost"]), short=order["short"], own_clock=own_clock)


def _limited_start(limit: int) -> None:
    """master(8) with a hard limit of descriptors, which not even root can raise there."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            drop_from_bounding_set, sys_resource = 24, 24
            # Where there is no such capability to drop, nobody can raise limits.
            ctypes.CDLL(None).prctl(drop_from_bounding_set, sys_resource)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            instance.start()
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise Wrong("master(8) does not start with so few descriptors")


def _end(world: World, trial: Trial) -> None:
    """Nothing may be in the log that a trial does not expect, and no helper may have failed."""
    if world.smtpd:
        # With few descriptors, few may be under way to smtpd(8): hand-offs are tried again.
        world.smtpd.end(may_be_abandoned=bool(trial.setting.descriptors))
    found = world.troubles()
    unexpected = {word: lines for word, lines in found.items() if word not in trial.setting.troubles}
    if unexpected:
        words = ", ".join(f"{len(lines)} {word}" for word, lines in unexpected.items())
        raise Wrong(f"unexpected in the log: {words} {list(unexpected.values())[0][:3]}")


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
