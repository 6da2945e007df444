"""Containment of JSON in JSON."""

from typing import Any

import pytest

from server.storage.history import contains

HAVE = {
    "deep": {"a": 1, "b": {"c": "text"}},
    "list": [1, True, {"x": 1, "y": 2}],
    "none": None,
    "yes": True,
    "one": 1,
    "half": 0.5,
}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"deep": {}},
        {"deep": {"a": 1}},
        {"deep": {"b": {"c": "text"}}, "one": 1},
        {"list": [1, True, {"y": 2, "x": 1}]},
        {"none": None},
        {"yes": True},
        {"one": 1.0},
        {"half": 0.5},
    ],
)
def test_json_contains(wanted: Any) -> None:
    assert contains(HAVE, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {"deep": {"a": 2}},
        {"deep": {"z": None}},
        {"deep": 1},
        {"one": {}},
        {"missing": None},
        {"none": False},
        {"yes": 1},
        {"one": True},
        {"one": "1"},
        {"list": [1]},  # an array is compared as a whole
        {"list": [1, 1, {"x": 1, "y": 2}]},
        {"list": [1, True, {"x": 1}]},
        {"list": {}},
        {"deep": []},
    ],
)
def test_json_does_not_contain(wanted: Any) -> None:
    assert not contains(HAVE, wanted)
