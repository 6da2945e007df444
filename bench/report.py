"""Rows of figures, side by side with the targets, as text for the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .stats import Figure

SUBJECTS = ("graphwire", "bare", "floor")


@dataclass(frozen=True, slots=True)
class Target:
    """What Graphwire must reach: a plain limit, or a limit on its ratio to a baseline."""

    limit: float
    to: Literal["bare", "floor"] | None = None
    at_least: bool = False

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.limit:g}" + (f" × {self.to}" if self.to else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement of all subjects; a subject may be missing."""

    name: str
    unit: str
    figures: Mapping[str, Figure]
    target: Target | None = None
    note: str = ""

    def ratio(self, to: Literal["bare", "floor"]) -> float | None:
        ours, base = self.figures.get("graphwire"), self.figures.get(to)
        if ours is None or base is None or not base.median:
            return None
        return ours.median / base.median

    def verdict(self) -> str:
        ours = self.figures.get("graphwire")
        if self.target is None or ours is None:
            return ""
        value = self.ratio(self.target.to) if self.target.to else ours.median
        if value is None:
            return ""
        reached = value >= self.target.limit if self.target.at_least else value <= self.target.limit
        return "ok" if reached else "MISS"


HEAD = ("measurement", *SUBJECTS, "× bare", "× floor", "target", "")


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.low == figure.high:
        return number(figure.median)
    return f"{number(figure.median)} ({number(figure.low)}–{number(figure.high)})"


def cells(row: Row) -> tuple[str, ...]:
    ratios = [row.ratio("bare"), row.ratio("floor")]
    shown = ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    figures = [cell(row.figures.get(subject)) for subject in SUBJECTS]
    target = str(row.target) if row.target else ""
    return (f"{row.name}, {row.unit}", *figures, *shown, target, row.verdict())


def render(rows: list[Row]) -> str:
    """A table that reads in a terminal and is valid Markdown."""
    lines = [HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    table = [_line(line, widths) for line in lines]
    table.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([*table, *([""] if notes else []), *notes])


def _line(line: tuple[str, ...], widths: list[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
