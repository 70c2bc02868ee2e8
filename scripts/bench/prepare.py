"""The files of an instance: what the harness of the conformance tests makes, set up for load."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from harness import instance, namespace, scenario

from .caches import Caches
from .plan import FLOOR, GATEPOST, KNOWN, POSTSCREEN, Setting

# Limits that no load comes near: a program that begins to economise would not be comparable.
# Where there are enough descriptors for that many clients at once, so much the better.
LIMIT, LIMIT_OF_MANY = 6000, 30000

# master(8) gives these to the programs it starts; the rest of what is here is the default.
ENVIRONMENT = ("MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C "
               "POSTLOG_SERVICE POSTLOG_HOSTNAME")


class Workshop:
    """Makes instances."""

    def __init__(self, root: Path, options: Namespace):
        self.template = instance.Template(root)
        self._root = root
        self._slowsync = options.slowsync.resolve()
        floor = root / FLOOR            # the program goes by its name
        floor.symlink_to(options.visits.resolve())
        self._paths = {POSTSCREEN: self.template.daemons / instance.REFERENCE,
                       GATEPOST: options.gatepost.resolve(), FLOOR: floor}
        self._caches = Caches(root / "caches", self.template.owner)

    def make(self, place: Path, program: str, setting: Setting) -> str:
        """An instance; returns its resolv.conf."""
        script = scenario.Scenario(
            name="bench", path=Path(__file__), options={"log": "syslog"},
            main_cf=self._main_cf(setting),
            # A stand-in has its socket.
            master_cf=["remove smtpd/pass"],
            resolv_conf=list(setting.resolv_conf) or ["options timeout:10 attempts:1"],
            files={"gatepost.cf": "".join(line + "\n" for line in setting.gatepost_cf)})
        made = instance.Instance(place, self.template, script, self._paths[program], [])
        (place / "spool/floor.cf").write_text(_floor_cf(setting))
        if setting.cache:
            self._caches.put(setting.cache, program, place / "data")
        return made.resolv_conf

    def _main_cf(self, setting: Setting) -> list[str]:
        limit = LIMIT_OF_MANY if setting.many else LIMIT
        lines = [f"postscreen_greet_wait = {setting.greet_wait}s",
                 # The listen backlog.
                 "default_process_limit = 30000",
                 f"postscreen_pre_queue_limit = {limit}",
                 f"postscreen_post_queue_limit = {limit}",
                 "postscreen_client_connection_count_limit = 0"]
        if not setting.cleanup:
            lines.append("postscreen_cache_cleanup_interval = 0")
        lines += [*blocklists(setting.zones), *slowed(self._slowsync, setting.slow_syncs)]
        return overridden(lines, setting.main_cf)


def blocklists(zones: tuple[str, ...]) -> list[str]:
    """Parameters for these; a client that all of them list passes, too."""
    if not zones:
        return []
    return [f"postscreen_dnsbl_sites = {', '.join(zones)}",
            f"postscreen_dnsbl_threshold = {len(zones) + 1}"]


def slowed(slowsync: Path, milliseconds: int) -> list[str]:
    """Parameters for a disk whose syncs take so much longer."""
    return preloaded(f"{slowsync} SLOWSYNC_MS={milliseconds}") if milliseconds else []


def preloaded(library: object) -> list[str]:
    """Parameters with which all programs have a library loaded."""
    return [f"import_environment = {ENVIRONMENT} LD_PRELOAD={library}"]


def overridden(lines: list[str], own: tuple[str, ...]) -> list[str]:
    """Parameters, unless a setting's own say otherwise."""
    named = {line.split("=")[0].strip() for line in own}
    return [line for line in lines if line.split("=")[0].strip() not in named] + list(own)


def _floor_cf(setting: Setting) -> str:
    known = setting.cache.network if setting.cache else KNOWN
    lines = [f"greet_wait_ms={setting.greet_wait * 1000}",
             f"known={known.text}",
             "log_socket=/dev/log",
             "smtpd_socket=private/smtpd",
             "max_clients=19000"]
    if setting.zones:
        lines += [f"dnsbl={','.join(setting.zones)}", f"name_server={namespace.NAME_SERVER}:53"]
    if setting.turn_away:
        lines.append(f"turn_away={setting.turn_away}")
    return "".join(line + "\n" for line in lines)
