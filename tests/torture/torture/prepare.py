"""The files of an instance: what the harness of the conformance tests makes, set up for load."""

from __future__ import annotations

from pathlib import Path

from harness import instance, scenario

from bench.caches import Caches
from bench.plan import GATEPOST
from bench.prepare import blocklists, overridden, preloaded, slowed

from .plan import Setting

# Limits that no load comes near, unless a trial says so.
LIMIT = 6000

NO_LIMITS = ("default_process_limit = 30000",       # the listen backlog
             f"postscreen_pre_queue_limit = {LIMIT}",
             f"postscreen_post_queue_limit = {LIMIT}",
             "postscreen_client_connection_count_limit = 0")


class Workshop:
    """Makes instances."""

    def __init__(self, root: Path, gatepost: Path, slowsync: Path, setclock: Path):
        self.template = instance.Template(root)
        self._gatepost = gatepost
        self._slowsync = slowsync
        self._caches = Caches(root / "caches", self.template.owner)
        self._setclock = setclock

    def make(self, place: Path, setting: Setting) -> str:
        """An instance; returns its resolv.conf."""
        master_cf = list(setting.master_cf)
        if setting.smtpd:
            master_cf.append("remove smtpd/pass")
        script = scenario.Scenario(
            name="torture", path=Path(__file__),
            options={"log": "syslog"} if setting.log else {},
            main_cf=self._main_cf(setting), master_cf=master_cf,
            resolv_conf=list(setting.resolv_conf) or ["options timeout:10 attempts:1"],
            files={"gatepost.cf": "".join(line + "\n" for line in setting.gatepost_cf),
                   **dict(setting.files)})
        made = instance.Instance(place, self.template, script, self._gatepost, [],
                                 chroot=setting.chroot)
        if setting.cache:
            self._caches.put(setting.cache, GATEPOST, place / "data")
        return made.resolv_conf

    def _main_cf(self, setting: Setting) -> list[str]:
        lines = [*NO_LIMITS, f"postscreen_greet_wait = {setting.greet_wait}s",
                 *blocklists(setting.zones), *slowed(self._slowsync, setting.slow_syncs)]
        if setting.own_clock:
            lines += preloaded(self._setclock)
        return overridden(lines, setting.main_cf)
