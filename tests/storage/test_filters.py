"""Searches find exactly what contains the filter, and nothing of a filter ever becomes SQL."""

import itertools
import sqlite3
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from fix_database import only_postgres
from sqlalchemy import Column, MetaData, Table, Text, insert, select

from server.errors import Invalid
from server.models import Page
from server.storage.database import Database, Tx
from server.storage.filters import (
    CONDITIONS_MAX,
    DEPTH_MAX,
    Order,
    contains,
    count_of,
    includes,
    lowered,
    page_of,
)
from server.storage.tables import Document, RawJson

rows = Table(
    "rows",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("group", Text),
    Column("metadata", Document, nullable=False),
    Column("raw", RawJson),
)
ORDER = Order({"name": lowered(rows.c.name), "group": rows.c.group}, default="group", key=rows.c.name)

# What a key or a text may be, and what somebody would break out of a statement with.
HOSTILE = [
    "", " ", "'", "''", '"', '""', "`", "\\", "\\'", "$", "$.a", "$['a']", "a.b", "a[0]", "[0]", "*", "#-1",
    "' OR 1=1 --", "') OR ('1'='1", '"; DROP TABLE rows; --', "$.a') OR 1=1 --", "%", "_", ":name", "?", "%s",
    "%(x)s", "{}", "null", "true", "1", "key", "atom", "rows.name", "\n", "\t", "\x1f", "\u2028", "é", "漢字",
    "😀", "x" * 10_000, "__proto__", "\ufffd",
]  # fmt: skip


@pytest.fixture(autouse=True)
def table(database: Database) -> Iterator[None]:
    database.write_now(rows.metadata.create_all)
    yield
    database.write_now(rows.metadata.drop_all)


def add(database: Database, name: str, metadata: Any, group: str = "", raw: bytes | None = None) -> None:
    row = {"name": name, "group": group, "metadata": metadata, "raw": raw}
    database.write_now(lambda tx: tx.execute(insert(rows), row).rowcount)


def found(database: Database, wanted: Any, column: Any = rows.c.metadata) -> list[str]:
    def work(tx: Tx) -> list[str]:
        query = select(rows.c.name).where(*contains(tx, column, wanted)).order_by(rows.c.name)
        return list(tx.execute(query).scalars())

    return database.read_now(work)


def page(database: Database, **asked: Any) -> tuple[list[str], int]:
    def work(tx: Tx) -> tuple[list[str], int]:
        some, total = page_of(tx, select(rows.c.name), Page(**asked), ORDER)
        return [row.name for row in some], total

    return database.read_now(work)


# ---------------------------------------------------------------- what contains what
CONTAINED: list[tuple[Any, Any]] = [
    ({"a": 1}, {}),
    ({"a": 1, "b": 2}, {"a": 1}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 1.0}, {"a": 1}),
    ({"a": 1}, {"a": 1.0}),
    ({"a": 0.1}, {"a": 0.1}),
    ({"a": 1e-7}, {"a": 0.0000001}),
    ({"a": 3.141592653589793}, {"a": 3.141592653589793}),
    ({"a": 2**63}, {"a": 2**63}),
    ({"a": 2**64 - 1}, {"a": 2**64 - 1}),
    ({"a": -(2**63)}, {"a": -(2**63)}),
    ({"a": 1e300}, {"a": 1e300}),
    ({"a": True}, {"a": True}),
    ({"a": False}, {"a": False}),
    ({"a": None}, {"a": None}),
    ({"a": ""}, {"a": ""}),
    ({"a": {}}, {"a": {}}),
    ({"a": {"b": 1}}, {"a": {}}),
    ({"a": {"b": {"c": [1]}, "x": 2}}, {"a": {"b": {"c": [1]}}}),
    ({"a": []}, {"a": []}),
    ({"a": [1, 2]}, {"a": []}),
    ({"a": [1, 2]}, {"a": [1, 2]}),
    ({"a": [1, 2, 3]}, {"a": [3, 1]}),
    ({"a": [{"b": 1, "c": 2}, 5]}, {"a": [{"b": 1}]}),
    ({"a": [[1, 2], [3]]}, {"a": [[3]]}),
    ({"a": ["x", None, True]}, {"a": [None]}),
]
NOT_CONTAINED: list[tuple[Any, Any]] = [
    ({}, {"a": 1}),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"A": 1}),
    ({"a": 1}, {"a": 1, "b": 1}),
    ({"a": 1}, {"a": True}),
    ({"a": True}, {"a": 1}),
    ({"a": 0}, {"a": False}),
    ({"a": 0}, {"a": None}),
    ({"a": 1}, {"a": "1"}),
    ({"a": "1"}, {"a": 1}),
    ({"a": "true"}, {"a": True}),
    ({"a": "null"}, {"a": None}),
    ({}, {"a": None}),
    ({"a": "x"}, {"a": "X"}),
    ({"a": "xy"}, {"a": "x"}),
    ({"a": {}}, {"a": []}),
    ({"a": []}, {"a": {}}),
    ({"a": "{}"}, {"a": {}}),
    ({"a": '{"b": 1}'}, {"a": {"b": 1}}),
    ({"a": "not json"}, {"a": {"b": 1}}),
    ({"a": "[1]"}, {"a": [1]}),
    ({"a": 1}, {"a": [1]}),
    ({"a": [1]}, {"a": 1}),
    ({"a": [1, 2]}, {"a": [1, 4]}),
    ({"a": [[1], [2]]}, {"a": [[1, 2]]}),
    ({"a": [{"b": 1}, {"c": 2}]}, {"a": [{"b": 1, "c": 2}]}),
    ({"a": {"b": 1}}, {"b": 1}),
    ({"a.b": 1}, {"a": {"b": 1}}),
    ({"a": {"b": 1}}, {"a.b": 1}),
    ({"a": [1]}, {"a": {"0": 1}}),
    ({"a": 2**53}, {"a": 2**53 + 1}),
]


@pytest.mark.parametrize(("document", "wanted"), CONTAINED, ids=repr)
def test_a_document_that_contains_the_filter_is_found(database: Database, document: Any, wanted: Any) -> None:
    add(database, "it", document)
    assert found(database, wanted) == ["it"]


@pytest.mark.parametrize(("document", "wanted"), NOT_CONTAINED, ids=repr)
def test_a_document_that_does_not_contain_the_filter_is_not_found(
    database: Database, document: Any, wanted: Any
) -> None:
    add(database, "it", document)
    assert found(database, wanted) == []


def test_a_filter_looks_into_json_that_graphs_made(database: Database) -> None:
    add(database, "never ran", {}, raw=None)
    add(database, "ran", {}, raw=b'{"topic": "ice", "n": [1, 2]}')
    assert found(database, {"topic": "ice", "n": [2]}, rows.c.raw) == ["ran"]
    assert found(database, {"topic": None}, rows.c.raw) == []


# ---------------------------------------------------------------- hostile keys and values
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_key_finds_the_row_that_has_it_and_no_other(database: Database, text: str) -> None:
    add(database, "other", {"safe": 1, "nested": {"safe": 1}})
    assert found(database, {text: 1}) == []
    add(database, "it", {text: 1, "nested": {text: 1}})
    assert found(database, {text: 1}) == ["it"]
    assert found(database, {"nested": {text: 1}}) == ["it"]
    assert found(database, {"safe": 1}) == ["other"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_value_finds_the_row_that_has_it_and_no_other(database: Database, text: str) -> None:
    add(database, "other", {"a": "safe", "b": ["safe"]})
    assert found(database, {"a": text}) == found(database, {"b": [text]}) == []
    add(database, "it", {"a": text, "b": [text]})
    assert found(database, {"a": text}) == found(database, {"b": [text]}) == ["it"]


def test_no_key_is_taken_for_another(database: Database) -> None:
    for index, text in enumerate(HOSTILE):
        add(database, f"{index:02}", {text: index})
    for (index, text), other in itertools.product(enumerate(HOSTILE), range(3)):
        assert found(database, {text: index + other}) == ([f"{index:02}"] if other == 0 else [])


def test_nothing_of_a_filter_is_in_the_statement(database: Database) -> None:
    wanted = {"secret key": {"inner key": ["some text", 12345]}}

    def work(tx: Tx) -> str:
        return str(select(rows.c.name).where(*contains(tx, rows.c.metadata, wanted)).compile(tx))

    statement = database.read_now(work)
    assert [part for part in ("secret", "inner", "some text", "12345") if part in statement] == []


# ---------------------------------------------------------------- limits
def test_a_filter_at_the_limits_is_answered(database: Database) -> None:
    wide = {f"key {number}": number for number in range(CONDITIONS_MAX)}
    deep: Any = {"bottom": 1}
    for _ in range(DEPTH_MAX - 1):
        deep = {"down": deep}
    add(database, "it", {**wide, **deep})
    assert found(database, wide) == found(database, deep) == ["it"]


@pytest.mark.parametrize(
    "wanted",
    [
        {f"key {number}": number for number in range(CONDITIONS_MAX + 1)},
        {"items": list(range(CONDITIONS_MAX))},
        orjson.loads('{"a":' * (DEPTH_MAX + 1) + "1" + "}" * (DEPTH_MAX + 1)),
    ],
    ids=["too many keys", "too many items", "too deep"],
)
def test_a_filter_beyond_the_limits_is_refused_by_the_name_of_its_field(
    database: Database, wanted: Any
) -> None:
    with pytest.raises(Invalid, match=r"^metadata: "):
        found(database, wanted)


# ---------------------------------------------------------------- names, order, pages
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Älva", "äLV"),
        ("ΣΟΦΊΑ", "οφί"),
        ("100%", "0%"),
        ("a_b", "A_B"),
        ("back\\slash", "K\\S"),
        ("a/b", "/"),
    ],
)
def test_a_part_of_a_name_is_found_in_whatever_case(database: Database, name: str, part: str) -> None:
    add(database, name, {})
    add(database, "another: 1005 axb", {})
    query = select(rows.c.name).where(includes(rows.c.name, part))
    assert database.read_now(lambda tx: list(tx.execute(query).scalars())) == [name]


@pytest.mark.parametrize("part", ["%", "_", "a%c", "'", "\\"])
def test_the_wildcards_of_sql_stand_for_themselves(database: Database, part: str) -> None:
    add(database, "abc", {})
    query = select(rows.c.name).where(includes(rows.c.name, part))
    assert database.read_now(lambda tx: tx.execute(query).all()) == []


def test_pages_make_up_the_whole_and_the_total_is_true(database: Database) -> None:
    names = [f"{number:02}" for number in range(7)]
    for name in names:
        add(database, name, {})
    pages = [page(database, limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert [total for _, total in pages] == [7, 7, 7, 7]
    assert [name for some, _ in pages for name in some] == names


def test_rows_are_sorted_without_regard_to_case_and_equals_by_the_default(database: Database) -> None:
    for name, group in [("b", "1"), ("A", "2"), ("ä", "3"), ("B", "2"), ("Ö", "3")]:
        add(database, name, {}, group)
    assert page(database, sort_by="name", descending=False)[0] == ["A", "B", "b", "ä", "Ö"]
    assert page(database, sort_by="name")[0] == ["Ö", "ä", "B", "b", "A"]
    assert page(database)[0] == page(database, sort_by="group")[0] == ["Ö", "ä", "A", "B", "b"]
    assert page(database, descending=False)[0] == ["b", "A", "B", "Ö", "ä"]


@pytest.mark.parametrize("name", ["", "raw", "name; DROP TABLE rows", "name desc", "1", "rows.name"])
def test_only_declared_names_can_be_sorted_by(database: Database, name: str) -> None:
    if not name:
        assert page(database, sort_by=name) == ([], 0)  # none asked for
        return
    with pytest.raises(Invalid, match=r"^sort_by: must be one of name, group"):
        page(database, sort_by=name)


def test_counting_counts_what_the_filter_finds(database: Database) -> None:
    for number in range(5):
        add(database, str(number), {"even": number % 2 == 0})

    def work(tx: Tx) -> int:
        return count_of(tx, select(rows.c.name).where(*contains(tx, rows.c.metadata, {"even": True})))

    assert database.read_now(work) == 3


# ---------------------------------------------------------------- PostgreSQL
@only_postgres
def test_what_postgresql_cannot_search_for_is_refused_by_the_name_of_its_field(database: Database) -> None:
    for wanted in ({"a": "x\0"}, {"\0": 1}, {"a": [{"b": "\0"}]}):
        for column in (rows.c.metadata, rows.c.raw):
            with pytest.raises(Invalid, match=rf"^{column.name}: must not contain the character NUL"):
                found(database, wanted, column)
    assert found(database, {"a": "\\u0000"}) == []


@only_postgres
def test_a_document_with_a_nul_stands_in_the_way_of_no_search(database: Database) -> None:
    add(database, "nul", {}, raw=b'{"a":"\\u0000","b":"\\\\u0000","c":1}')
    add(database, "other", {}, raw=b'{"a":1,"c":1}')
    assert found(database, {"c": 1}, rows.c.raw) == ["nul", "other"]
    assert found(database, {"b": "\\u0000"}, rows.c.raw) == ["nul"]
    assert found(database, {"a": 1}, rows.c.raw) == ["other"]


def test_sqlite_is_new_enough_for_json() -> None:
    assert sqlite3.connect(":memory:").execute("SELECT atom FROM json_each('[7]')").fetchone() == (7,)
