"""Rows of figures, side by side with the targets, as text for the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .stats import Figure

SUBJECTS = ("graphwire", "bare", "floor")
BASES: tuple[Literal["bare", "floor"], ...] = ("bare", "floor")


@dataclass(frozen=True, slots=True)
class Target:
    """What Graphwire must reach: a plain limit, or a limit on its ratio to a baseline."""

    limit: float
    to: Literal["bare", "floor"] | None = None
    at_least: bool = False

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

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

    def verdict(self, ours: Sequence[str]) -> str:
        """Whether all of those whose target it is have reached it."""
        shown = [self.figures[name].median for name in ours if name in self.figures]
        if self.target is None or not shown:
            return ""
        values = [self.ratio(self.target.to)] if self.target.to else shown
        found = [value for value in values if value is not None]
        return ("ok" if all(map(self.target.reached, found)) else "MISS") if found else ""


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.low == figure.high:
        return number(figure.median)
    return f"{number(figure.median)} ({number(figure.low)}–{number(figure.high)})"


def cells(row: Row, subjects: Sequence[str]) -> tuple[str, ...]:
    ours = ("graphwire",) if "graphwire" in subjects else subjects
    ratios = [row.ratio(base) for base in BASES if base in subjects]
    shown = ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    figures = [cell(row.figures.get(subject)) for subject in subjects]
    target = str(row.target) if row.target else ""
    return (f"{row.name}, {row.unit}", *figures, *shown, target, row.verdict(ours))


def render(rows: list[Row], subjects: Sequence[str] = SUBJECTS) -> str:
    """A table that reads in a terminal and is valid Markdown."""
    ratios = [f"× {base}" for base in BASES if base in subjects]
    head = ("measurement", *subjects, *ratios, "target", "")
    lines = [head, *(cells(row, subjects) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    table = [_line(line, widths) for line in lines]
    table.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([*table, *([""] if notes else []), *notes])


def _line(line: tuple[str, ...], widths: list[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
