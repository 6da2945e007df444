"""The nouns of authorisation: which rows a caller may touch, and the filters that handlers return.

A filter is over the metadata of a resource (contract/resources.md 10.2). What it does not know is refused:
a test that is passed over would show everybody everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

TESTS_MAX = 100  # each is a condition of a statement
DEPTH_MAX = 6
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Holds:
    """Metadata have this value under the key; or a list that has all these values."""

    key: str
    value: Any
    listed: bool = False

    @property
    def wanted(self) -> dict[str, Any]:
        """What the metadata contain, in the terms of searches."""
        return {self.key: list(self.value) if self.listed else self.value}


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of several groups of tests holds; all tests of a group."""

    groups: "tuple[tuple[Test, ...], ...]"


Test = Holds | AnyOf


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows of a kind somebody may touch: those that pass all of these; without any, all rows.

    `owner` made them, or, where they are the server's own, they are among `shared`.
    """

    owner: str | None = None
    shared: tuple[str, ...] = ()
    tests: tuple[Test, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to test."""
        return self.owner is not None or bool(self.tests)

    def __and__(self, other: "Scope") -> "Scope":
        if not other:
            return self
        if not self:
            return other
        owner = other.owner if self.owner is None else self.owner
        shared = other.shared if self.owner is None else self.shared
        return replace(self, owner=owner, shared=shared, tests=(*self.tests, *other.tests))


EVERYTHING = Scope()


class BadFilter(Exception):
    """What a handler returned is no filter."""


def parsed_filter(given: Mapping[Any, Any], depth: int = 0) -> tuple[Test, ...]:
    """A handler's filter as tests, all of which must hold. Raises BadFilter."""
    if depth > DEPTH_MAX:
        raise BadFilter(f"a filter has at most {DEPTH_MAX} levels")
    found: list[Test] = []
    for key, wanted in given.items():
        if not isinstance(key, str):
            raise BadFilter(f"{key!r} is no key of metadata")
        found += _tests(key, wanted, depth)
    if len(found) > TESTS_MAX:
        raise BadFilter(f"a filter has at most {TESTS_MAX} tests")
    return tuple(found)


def _tests(key: str, wanted: Any, depth: int) -> tuple[Test, ...]:
    if key == "$and":
        return tuple(test for group in _groups(key, wanted, depth) for test in group)
    if key == "$or":
        return (AnyOf(_groups(key, wanted, depth)),)
    if key.startswith("$"):
        raise BadFilter(f"{key} is unknown: there are $eq, $contains, $or and $and")
    if isinstance(wanted, Mapping):
        if not wanted:
            raise BadFilter(f"{key}: an empty test says nothing")
        return tuple(_operation(key, operator, value) for operator, value in wanted.items())
    return (_equals(key, wanted),)


def _groups(key: str, wanted: Any, depth: int) -> tuple[tuple[Test, ...], ...]:
    if not isinstance(wanted, list | tuple) or not wanted or len(wanted) > TESTS_MAX:
        raise BadFilter(f"{key}: must be a list of 1 to {TESTS_MAX} filters")
    if not all(isinstance(group, Mapping) for group in wanted):
        raise BadFilter(f"{key}: must be a list of filters")
    return tuple(parsed_filter(group, depth + 1) for group in wanted)


def _operation(key: str, operator: Any, value: Any) -> Holds:
    if operator == "$eq":
        return _equals(key, value)
    if operator == "$contains":
        listed = value if isinstance(value, list | tuple | set | frozenset) else [value]
        if not listed or len(listed) > TESTS_MAX or not all(isinstance(one, _SCALARS) for one in listed):
            raise BadFilter(f"{key}: $contains takes a text, number or truth value, or a list of them")
        return Holds(key, tuple(listed), listed=True)
    raise BadFilter(f"{key}: {operator!r} is unknown: there are $eq and $contains")


def _equals(key: str, value: Any) -> Holds:
    if not isinstance(value, _SCALARS):
        raise BadFilter(f"{key}: only texts, numbers, truth values and null can be equal")
    return Holds(key, value)
