"""What a scenario is made of."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import World

POSTSCREEN, GATEPOST, FLOOR = "postscreen", "gatepost", "floor"
PROGRAMS = (POSTSCREEN, GATEPOST, FLOOR)

# A number, a text such as "> 30" where there is none, or nothing where it makes no sense.
Value = float | str | None
Values = dict[str, Value]


class Wrong(Exception):
    """A round that did not go as it must: its figures would mean nothing."""


@dataclass(frozen=True)
class Scale:
    """How much is done."""
    quick: bool
    patience: int               # seconds that a cleanup is waited for

    def __call__(self, count: int, quick: int | None = None) -> int:
        """A count, or what a quick run makes do with: a quarter if nothing else is said."""
        if not self.quick:
            return count
        return quick if quick is not None else max(1, count // 4)


@dataclass(frozen=True)
class Network:
    """Where clients come from: all of 127.0.0.0/8 is on the loopback interface."""
    text: str

    def addresses(self, count: int) -> list[ipaddress.IPv4Address]:
        """The first ones."""
        base = ipaddress.ip_network(self.text).network_address
        return [base + i for i in range(count)]


# The clients of one load never come from the addresses of another one, but for the known.
KNOWN = Network("127.2.0.0/16")
NEW = Network("127.3.0.0/16")
OTHERS = Network("127.4.0.0/16")
HELD = Network("127.8.0.0/14")
MANY = Network("127.16.0.0/12")


@dataclass(frozen=True)
class Cache:
    """Verdicts about the first addresses of a network."""
    network: Network
    entries: int
    days: int = 20              # until they expire; negative: since

    @property
    def is_clean(self) -> bool:
        """Whether it was cleaned up a moment ago: otherwise each start begins with that."""
        return self.days >= 0


@dataclass(frozen=True)
class Setting:
    """How an instance is set up."""
    greet_wait: int = 1         # seconds
    main_cf: tuple[str, ...] = ()
    gatepost_cf: tuple[str, ...] = ()
    cache: Cache | None = None
    cleanup: bool = False       # of the cache, at the start
    slow_syncs: int = 0         # milliseconds that are added to each
    zones: tuple[str, ...] = ()             # DNS blocklists
    resolv_conf: tuple[str, ...] = ()       # options
    many: bool = False          # more than 5,000 clients at once
    keep_log: bool = False
    turn_away: str = ""         # whom the floor does not let in: "early", "everybody"


@dataclass(frozen=True)
class Case:
    """What is done with one instance."""
    name: str
    run: Callable[[World], Values]
    setting: Callable[[Scale], Setting]
    programs: tuple[str, ...] = PROGRAMS


@dataclass(frozen=True)
class Target:
    """What is aimed at, for Gatepost: a limit of the figure itself, or of its ratio to that
    of another program. It is the median that counts, or the worst round."""
    limit: float
    to: str = ""
    least: bool = False
    always: bool = False

    def __str__(self) -> str:
        sign = "≥" if self.least else "≤"
        return (f"{'always ' if self.always else ''}{sign} {self.limit:g}"
                + (f" of {self.to}" if self.to else ""))

    def is_met(self, reached: float) -> bool:
        """Whether this is good enough."""
        return reached >= self.limit if self.least else reached <= self.limit


@dataclass(frozen=True)
class Figure:
    """A line of a table, or below it."""
    key: str
    label: str
    digits: int = 1
    ratio: bool = True          # whether ratios between programs mean something
    target: Target | None = None
    note: bool = False          # a text that goes below the table


@dataclass(frozen=True)
class Scenario:
    """A table."""
    name: str
    title: str
    figures: tuple[Figure, ...]
    cases: tuple[Case, ...]
    # Adds figures that come from several cases.
    finish: Callable[[Values], None] = field(default=lambda values: None)
    # What takes long is not done more often than this.
    most_rounds: int = 1000


def quotient(values: Values, key: str, above: str, below: str) -> None:
    """Add a figure that is the ratio of two."""
    one, other = values.get(above), values.get(below)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)) and other:
        values[key] = one / other
