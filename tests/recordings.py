"""Recorded transcripts, made by transcripts/distill.py, and how answers are held against them."""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "transcripts"
VARIABLE = re.compile(r"<(\d+)>")
ID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32})"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00")
# keys with two underscores that belong to the wire; any other one has leaked from the inside
PUBLIC = {"__interrupt__", "__metadata__", "__return__", "__end__", "__start__", "__error__"}
Event = tuple[str, Any]


@dataclass
class Case:
    """The requests on one thread of a recording, one after the other, and their answers."""

    recording: str
    name: str
    thread: str | None
    parallel: bool
    prepared: str
    steps: list[dict[str, Any]]

    @property
    def label(self) -> str:
        return f"{self.recording}: {self.name}"


def load(*prefixes: str) -> list[Case]:
    files = [path for path in sorted(FOLDER.glob("*.json")) if path.name.startswith(prefixes)]
    fixtures = [json.loads(path.read_text()) for path in files]
    return [Case(fixture["recording"], **case) for fixture in fixtures for case in fixture["cases"]]


@dataclass
class Bindings:
    """Which id of ours stands for which id of the recording: one for one."""

    ours: dict[str, str] = field(default_factory=dict)
    theirs: dict[str, str] = field(default_factory=dict)

    def bind(self, variable: str, value: str) -> bool:
        known, back = self.ours.setdefault(variable, value), self.theirs.setdefault(value, variable)
        return known == value and back == variable

    def copy(self) -> "Bindings":
        return Bindings(dict(self.ours), dict(self.theirs))

    def fill(self, value: Any) -> Any:
        """A recorded request with our ids in it."""
        return json.loads(VARIABLE.sub(lambda match: self.ours[match[1]], json.dumps(value)))


def check(step: dict[str, Any], events: list[Event], bindings: Bindings, parallel: bool = False) -> None:
    """Hold the events of a stream against those of the recording."""
    for event, data in events:
        assert not (leaked := sorted(_private_keys(data))), f"{event} shows the server's inside: {leaked}"
    events = _without_completions(events)
    expected = [(event, data) for event, data in step["events"]]
    if step.get("cut"):
        events = events[: len(expected)]
    if parallel:
        problem = _unordered(expected, events, bindings)
        assert problem is None, problem
        return
    # callbacks run beside the graph: what they say has an order of its own
    for own in (False, True):
        _in_order(
            [event for event in expected if (event[0] == "events") is own],
            [event for event in events if (event[0] == "events") is own],
            bindings,
        )


def _in_order(expected: list[Event], events: list[Event], bindings: Bindings) -> None:
    names, wanted = [event for event, _ in events], [event for event, _ in expected]
    for number, ((name, data), (our_name, our_data)) in enumerate(zip(expected, events, strict=False)):
        problem = differs(name, our_name, bindings, "event") or differs(data, our_data, bindings, "data")
        assert problem is None, f"event {number}, {our_name}: {problem}\n names {names}\nwanted {wanted}"
    assert len(events) == len(expected), f"{len(events)} events {names} instead of {len(expected)} {wanted}"


def _without_completions(events: list[Event]) -> list[Event]:
    """The reference never says that a streamed message is complete. We do, once, with its last partial."""
    last: dict[str, Any] = {}
    completed: set[str] = set()
    kept = []
    for event, data in events:
        message_id = data[0]["id"] if event in ("messages/partial", "messages/complete") else None
        if event == "messages/partial":
            assert message_id not in completed, f"{message_id} goes on after its end"
            last[message_id] = data
        if event == "messages/complete" and message_id in last:
            assert message_id not in completed, f"{message_id} is completed twice"
            assert data == last[message_id], "a complete message equals its last partial"
            completed.add(message_id)
        else:
            kept.append((event, data))
    failed = any(event == "error" for event, _ in events)
    assert failed or completed == set(last), f"never completed: {set(last) - completed}"
    return kept


def _unordered(expected: list[Event], events: list[Event], bindings: Bindings) -> str | None:
    """Tasks of one step run at the same time: between two states any order will do, but not within a task."""
    names, wanted = [event for event, _ in events], [event for event, _ in expected]
    if names.count("values") != wanted.count("values") or len(names) != len(wanted):
        return f"{names} instead of {wanted}"
    for steps in zip(_steps(expected), _steps(events), strict=True):
        matched = _match(steps[0], list(enumerate(steps[1])), bindings, {})
        if matched is None:
            return f"no order of {json.dumps(steps[1])} gives {json.dumps(steps[0])}"
        bindings.ours, bindings.theirs = matched.ours, matched.theirs
    return None


def _steps(events: list[Event]) -> list[list[Event]]:
    """The events up to each state, the state included."""
    steps: list[list[Event]] = [[]]
    for event in events:
        steps[-1].append(event)
        if event[0] == "values":
            steps.append([])
    return steps


def _match(
    expected: list[Event], events: list[tuple[int, Event]], bindings: Bindings, lanes: dict[str, int]
) -> Bindings | None:
    if not expected:
        return bindings
    (name, data), rest = expected[0], expected[1:]
    lane = _lane(name, data)
    for index, (place, (our_name, our_data)) in enumerate(events):
        tried = bindings.copy()
        if (
            place < lanes.get(lane, -1)
            or differs(name, our_name, tried, "")
            or differs(data, our_data, tried, "")
        ):
            continue
        found = _match(rest, events[:index] + events[index + 1 :], tried, lanes | {lane: place})
        if found is not None:
            return found
    return None


def _lane(name: str, data: Any) -> str:
    if name == "messages":
        return str(data[0]["id"])
    return str(data["id"]) if name == "tasks" else json.dumps(data)


def _private_keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {key for key in value if key.startswith("__") and key not in PUBLIC}
        return own.union(*map(_private_keys, value.values()))
    return set().union(*map(_private_keys, value)) if isinstance(value, list) else set()


def differs(expected: Any, ours: Any, bindings: Bindings, where: str) -> str | None:
    """The first difference, in words; None when there is none."""
    if expected == "<any>":
        return None
    if type(expected) is not type(ours):
        return f"{where} is {_short(ours)} instead of {_short(expected)}"
    if isinstance(expected, dict):
        return _object_differs(expected, ours, bindings, where)
    if isinstance(expected, list):
        if len(expected) != len(ours):
            return f"{where} has {len(ours)} items, not {len(expected)}: {_short(ours)} / {_short(expected)}"
        pairs = enumerate(zip(expected, ours, strict=True))
        return next((p for i, (e, o) in pairs if (p := differs(e, o, bindings, f"{where}[{i}]"))), None)
    if isinstance(expected, str):
        return (
            None
            if _same_text(expected, ours, bindings)
            else f"{where} is {_short(ours)} instead of {expected!r}"
        )
    return None if expected == ours else f"{where} is {ours!r} instead of {expected!r}"


def _object_differs(
    expected: dict[str, Any], ours: dict[str, Any], bindings: Bindings, where: str
) -> str | None:
    left = set(ours)
    for key, value in expected.items():
        if key == "~":
            continue
        found = key if key in left else next((k for k in sorted(left) if _same_key(key, k, bindings)), None)
        if found is None:
            return f"{where}.{key} is missing among {sorted(ours)}"
        left.discard(found)
        if problem := differs(value, ours[found], bindings, f"{where}.{key}"):
            return problem
    return f"{where} has more keys: {sorted(left)}" if left and "~" not in expected else None


def _same_key(expected: str, ours: str, bindings: Bindings) -> bool:
    return bool(VARIABLE.search(expected)) and _same_text(expected, ours, bindings)


def _same_text(expected: str, ours: str, bindings: Bindings) -> bool:
    if expected == "<time>":
        return bool(TIME.fullmatch(ours))
    match = _pattern(expected).fullmatch(ours)
    return bool(match) and all(
        bindings.bind(variable, value)
        for variable, value in zip(VARIABLE.findall(expected), match.groups(), strict=True)
    )


@cache
def _pattern(expected: str) -> re.Pattern[str]:
    return re.compile(ID.join(map(re.escape, VARIABLE.split(expected)[::2])), re.S)


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:300]
