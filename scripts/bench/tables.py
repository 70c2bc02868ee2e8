"""Medians, ratios, and how they are written."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from .plan import FLOOR, GATEPOST, POSTSCREEN, Figure, Target, Value
from .rounds import Results

NOTHING = "–"


@dataclass(frozen=True)
class Spread:
    """A figure over all rounds."""
    numbers: tuple[float, ...]
    texts: tuple[str, ...]      # of rounds that have come to no number

    @classmethod
    def of(cls, values: list[Value]) -> Spread:
        return cls(tuple(v for v in values if isinstance(v, (int, float))),
                   tuple(dict.fromkeys(v for v in values if isinstance(v, str))))

    def show(self, digits: int | None = None) -> str:
        """median (lowest–highest), and the texts; without a number of digits, as ratios."""
        shown = []
        if self.numbers:
            low, high = min(self.numbers), max(self.numbers)
            text = _number(statistics.median(self.numbers), digits)
            if len(self.numbers) > 1:
                text += f" ({_number(low, digits)}–{_number(high, digits)})"
            shown.append(text)
        return ", ".join([*shown, *self.texts]) or NOTHING


def _number(number: float, digits: int | None) -> str:
    if digits is None:
        digits = 2 if number >= 0.1 else 3 if number >= 0.01 else 4
    return f"{number:,.{digits}f}"


def ratios(results: Results, key: str, other: str) -> Spread:
    """Of Gatepost's figure to that of another program, round by round."""
    pairs = zip(results.values(GATEPOST, key), results.values(other, key))
    return Spread.of([mine / its for mine, its in pairs
                      if isinstance(mine, (int, float)) and isinstance(its, (int, float)) and its])


@dataclass(frozen=True)
class Table:
    """Lines of cells, of which the first one is the heading, and what goes below."""
    title: str
    lines: list[list[str]]
    notes: list[str]

    def text(self) -> str:
        """For a terminal."""
        widths = [max(len(line[i]) for line in self.lines) for i in range(len(self.lines[0]))]
        rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                for line in self.lines]
        return "\n".join([self.title, *("  " + row for row in [*rows, *self.notes])])

    def markdown(self) -> str:
        """For a document."""
        head, *rest = self.lines
        rows = [head, ["---"] * len(head), *rest]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        notes = ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join([self.title, "", *lines, *notes])


def table(results: Results, with_targets: bool) -> Table:
    """The table of a scenario."""
    programs = results.programs()
    others = [p for p in (POSTSCREEN, FLOOR) if p in programs and GATEPOST in programs]
    head = ["", *programs, *(f"Gatepost / {other}" for other in others)]
    lines = [head + (["target", "met"] if with_targets else [])]
    notes = []
    for figure in results.scenario.figures:
        spreads = {p: Spread.of(results.values(p, figure.key)) for p in programs}
        if figure.note:
            notes += [f"{figure.label}, {p}: {text}"
                      for p in programs for text in spreads[p].texts[-1:]]
            continue
        line = [figure.label, *(spreads[p].show(figure.digits) for p in programs)]
        for other in others:
            line.append(ratios(results, figure.key, other).show() if figure.ratio else NOTHING)
        if with_targets:
            line += _verdict(results, figure)
        lines.append(line)
    count = len(results.rounds)
    rounds = f"{count} round{'s' if count > 1 else ''}"
    return Table(f"**{results.scenario.name}**: {results.scenario.title} ({rounds})", lines, notes)


def _verdict(results: Results, figure: Figure) -> list[str]:
    """What is aimed at, and whether it was reached."""
    target = figure.target
    if target is None:
        return ["", ""]
    reached = _reached(results, figure.key, target)
    if reached is None:
        return [str(target), "?"]
    # As it is shown.
    reached = round(reached, 2 if target.to else figure.digits)
    return [str(target), "yes" if target.is_met(reached) else "NO"]


def _reached(results: Results, key: str, target: Target) -> float | None:
    spread = (ratios(results, key, target.to) if target.to
              else Spread.of(results.values(GATEPOST, key)))
    if not spread.numbers:
        return None
    if target.always:
        return (min if target.least else max)(spread.numbers)
    return statistics.median(spread.numbers)
