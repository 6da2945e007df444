"""The book that the nodes of graphs/ledger.py keep: what really executed, whatever the server says of it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Step:
    """One execution of one step. Times in seconds of the monotonic clock; None: no end was noted."""

    run: str
    thread: str
    attempt: int
    number: int
    pid: int
    began: float
    ended: float | None
    cancelled: bool


class Ledger:
    def __init__(self, path: Path) -> None:
        self._path = path

    def input(self, steps: int, pause: float) -> dict[str, Any]:
        """For a run of so many steps, each of which takes `pause` seconds."""
        return {"ledger": str(self._path), "steps": steps, "pause": pause, "next": 0}

    def steps(self) -> list[Step]:
        """Everything that was executed, in the order in which it began."""
        lines = self._text().splitlines(keepends=True)
        open_since: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        found = []
        for line in map(json.loads, (line for line in lines if line.endswith("\n"))):
            under_way = open_since[line["run"], line["attempt"], line["step"], line["pid"]]
            if line["what"] == "begin":
                under_way.append(line)
            else:
                found.append(_step(under_way.pop(), line))
        found += [_step(begin, None) for unfinished in open_since.values() for begin in unfinished]
        return sorted(found, key=lambda step: step.began)

    def knows(self, run: str) -> bool:
        """Whether a step of this run has begun."""
        return f'"{run}"' in self._text()

    def _text(self) -> str:
        return self._path.read_text() if self._path.exists() else ""


def _step(begin: dict[str, Any], end: dict[str, Any] | None) -> Step:
    return Step(
        run=begin["run"],
        thread=begin["thread"],
        attempt=begin["attempt"],
        number=begin["step"],
        pid=begin["pid"],
        began=begin["at"],
        ended=end["at"] if end else None,
        cancelled=end is not None and end["what"] == "cancelled",
    )


def overlapping(steps: Iterable[Step], deaths: Mapping[int, float]) -> list[tuple[Step, Step]]:
    """Pairs of steps of one thread that executed at the same time.

    What a process had not ended when it died, ended then: `deaths` are process ids and times.
    """
    last: dict[str, Step] = {}
    found = []
    for step in steps:
        before = last.get(step.thread)
        if before is not None and (before.ended or deaths.get(before.pid, float("inf"))) > step.began:
            found.append((before, step))
        last[step.thread] = step
    return found


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")
