"""What a trial is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.plan import Cache, Wrong

if TYPE_CHECKING:
    from .world import World

__all__ = ["Figure", "Setting", "Trial", "Wrong", "must"]


def must(holds: bool, otherwise: str) -> None:
    """What a trial is about: a trial in which something does not hold has failed."""
    if not holds:
        raise Wrong(otherwise)


@dataclass(frozen=True)
class Figure:
    """What a trial has found out, for people."""
    what: str
    value: float | int | str

    def __str__(self) -> str:
        if isinstance(self.value, float):
            return f"{self.what}: {self.value:,.2f}"
        return f"{self.what}: {self.value:,}" if isinstance(self.value, int) else \
            f"{self.what}: {self.value}"


@dataclass(frozen=True)
class Setting:
    """How the instance of a trial is set up."""
    main_cf: tuple[str, ...] = ()           # besides, or instead of, what prepare.py says
    master_cf: tuple[str, ...] = ()         # entries as in the conformance tests; 'remove NAME/TYPE'
    gatepost_cf: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()         # name below /etc/postfix, content
    greet_wait: int = 1                     # seconds
    chroot: bool = True
    # A stand-in has the socket of smtpd(8) and checks what it is told; else it is the real one.
    smtpd: bool = True
    # A stand-in has /dev/log and counts records; else postlogd(8) writes the maillog.
    log: bool = True
    zones: tuple[str, ...] = ()             # DNS blocklists, at the name server of benches/dnsbl
    resolv_conf: tuple[str, ...] = ()       # options
    descriptors: int = 0                    # the hard limit of master(8) and all below; 0: as it is
    slow_syncs: int = 0                     # milliseconds that are added to each
    keep_log: bool = True                   # the stand-in's; else it counts only
    cache: Cache | None = None              # verdicts that are there before the start
    # The wall clock of the program is the trial's to set, and the name of the machine's run, too.
    own_clock: bool = False
    # What the log may have of the program besides information: first words of records, such as
    # "warning:". Anything else of the kind is a failure.
    troubles: tuple[str, ...] = ()


# Subjects that want the machine for themselves: they measure processor time, or use up what the
# kernel has for all.
ALONE = ("load", "descriptors", "soak")


@dataclass(frozen=True)
class Trial:
    """A thing that must not hurt."""
    name: str                               # subject/what
    title: str
    run: Callable[[World], list[Figure]]
    setting: Setting = Setting()
    # Part of `make test`, in its short form, where world.short holds. At most some ten seconds.
    short: bool = True
    # No trial takes longer, in its long form; seconds.
    limit: int = 900

    @property
    def is_alone(self) -> bool:
        """Whether nothing may run beside it."""
        return self.name.partition("/")[0] in ALONE
