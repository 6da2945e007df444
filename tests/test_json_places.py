"""Problems are shown at their line, whatever the JSON looks like."""

import pytest

from server.config.places import path_of, places

TEXT = """{
  "a": {"b": [1,
    {"c\\"d": "}"}]},
  "a": true, "x.y": {"z": null}
}
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ((), 1, 1),
        (("a", "b"), 2, 9),
        (("a", "b", 0), 2, 15),
        (("a", "b", 1), 3, 5),
        (("a", "b", 1, 'c"d'), 3, 6),
        (("x.y", "z"), 4, 22),
        (("x.y", "missing", "too"), 4, 14),
    ],
)
def test_every_value_has_its_line_and_column(path: tuple[str | int, ...], line: int, column: int) -> None:
    assert places(TEXT).line_of(path) == (line, column)


def test_a_key_that_stands_there_twice_is_told() -> None:
    assert places(TEXT).repeated == [("a",)]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("x.y.z", ("x.y", "z")),
        ("x.y.gone", ("x.y",)),
        ("a.b.c", ("a", "b")),
        ("nothing", ()),
    ],
)
def test_a_key_leads_as_far_as_the_document_goes(key: str, path: tuple[str, ...]) -> None:
    assert path_of(key, {"x.y": {"z": 1}, "x": {}, "a": {"b": 2}}) == path
