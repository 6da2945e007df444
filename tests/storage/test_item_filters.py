"""Filters of the store find what they describe, by rules of JSON, and nothing of them ever becomes SQL."""

from typing import Any

import orjson
import pytest

from server.errors import Invalid, RequestError
from server.rules.items import ItemPut, ItemSearch
from server.storage.database import Database
from server.storage.filters import CONDITIONS_MAX, DEPTH_MAX
from server.storage.item_store import ItemStore

# What somebody would break out of a statement or a JSON path with (reliability I4).
HOSTILE = [
    "", "'", '"', "\\", "a.b", "$.a", "a[0]", "a b", "é", "\n", "' OR 1=1 --", "') OR ('1'='1",
    "a') = 'x' OR 1=1; DROP TABLE items; --", '"); DROP TABLE items; --', "x' UNION SELECT * FROM runs --",
    "$.a' || (SELECT value FROM items) || '", ":at", "?", "%s", "{}", "key", "items.value",
]  # fmt: skip
VALUE = {
    "n": 5,
    "half": 0.5,
    "big": 2**63,
    "yes": True,
    "none": None,
    "text": "melon",
    "list": [1, {"a": 1, "b": [2]}, "x"],
    "empty": {},
    "deep": {"a": {"b": 3, "c": "x"}, "d": None},
    "a.b": "dotted",
}


@pytest.fixture
def store(database: Database) -> ItemStore:
    return ItemStore(database, orjson.dumps)


def keys(store: ItemStore, wanted: dict[str, Any]) -> list[str]:
    return sorted(item.key for item in store.run_now([ItemSearch(filter=wanted)])[0])


def put(store: ItemStore, **values: Any) -> None:
    store.run_now([ItemPut(("n",), key, value) for key, value in values.items()])


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"n": 5},
        {"n": 5.0},
        {"half": 0.5},
        {"big": 2**63},
        {"yes": True},
        {"none": None},
        {"missing": None},
        {"text": "melon", "n": 5},
        {"list": [1, {"b": [2], "a": 1.0}, "x"]},
        {"empty": {}},
        {"deep": {}},
        {"deep": {"a": {"b": 3}}},
        {"deep": {"a": {"b": {"$gt": 2, "$lt": 4}}, "d": None}},
        {"deep": {"x": None}},
        {"a.b": "dotted"},
        {"n": {"$eq": 5}},
        {"n": {"$ne": 6}},
        {"n": {"$ne": "5"}},
        {"missing": {"$ne": 1}},
        {"missing": {"$eq": None}},
        {"n": {"$ne": None}},
        {"yes": {"$ne": 1}},
        {"n": {"$gt": 4.5, "$gte": 5, "$lt": 5.5, "$lte": 5}},
        {"text": {"$gt": "apple", "$lt": "zebra"}},
        {"deep": {"$eq": {"a": {"c": "x", "b": 3}, "d": None}}},
        {"list": {"$ne": [1]}},
    ],
    ids=str,
)
def test_an_item_is_found_by_what_it_holds(store: ItemStore, wanted: Any) -> None:
    put(store, it=VALUE)
    assert keys(store, wanted) == ["it"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": 6},
        {"n": "5"},
        {"n": True},
        {"yes": 1},
        {"yes": "true"},
        {"none": 0},
        {"none": ""},
        {"n": None},
        {"text": "Melon"},
        {"n": 5, "text": "x"},
        {"list": [1]},
        {"text": {"a": 1}},
        {"text": ["melon"]},
        {"text": {"$eq": {}}},
        {"n": {"b": {"c": 1}}},
        {"list": [{"a": 1, "b": [2]}, 1, "x"]},
        {"list": [1, {"a": 1}, "x"]},
        {"list": {}},
        {"empty": []},
        {"deep": {"a": {"b": 4}}},
        {"deep": {"a": None}},
        {"a": {"b": "dotted"}},
        {"none": {"$ne": None}},
        {"missing": {"$ne": None}},
        {"n": {"$ne": 5.0}},
        {"missing": {"$gt": 0}},
        {"missing": {"$lt": 0}},
        {"text": {"$gt": 0}},
        {"text": {"$lt": 0}},
        {"n": {"$gt": "0"}},
        {"yes": {"$gte": 0}},
        {"none": {"$lte": 0}},
        {"n": {"$gt": 5}},
        {"n": {"$lt": 5}},
        {"n": {"$gt": 1, "$lt": 2}},
        {"deep": {"$eq": {"a": {"b": 3}}}},
    ],
    ids=str,
)
def test_an_item_is_not_found_by_what_it_does_not_hold(store: ItemStore, wanted: Any) -> None:
    put(store, it=VALUE)
    assert keys(store, wanted) == []


@pytest.mark.parametrize("key", HOSTILE)
def test_every_key_can_be_asked_for_and_finds_only_its_own(store: ItemStore, key: str) -> None:
    put(store, its={key: 1}, nested={"in": {key: {"deep": "x"}}}, other={"other": 1, "n": 2})
    assert keys(store, {key: 1}) == ["its"]
    if key.startswith("$"):  # below the first level these are operators
        with pytest.raises(RequestError, match="unknown operator"):
            keys(store, {"in": {key: {"deep": "x"}}})
    else:
        assert keys(store, {"in": {key: {"deep": "x"}}}) == ["nested"]
    for operator in ("$eq", "$gte", "$lte"):
        assert keys(store, {key: {operator: 1}}) == ["its"]
    assert keys(store, {key: {"$ne": 1}}) == ["nested", "other"]
    assert keys(store, {}) == ["its", "nested", "other"]


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_can_be_asked_for_and_finds_only_its_own(store: ItemStore, text: str) -> None:
    put(store, its={"k": text}, other={"k": "other than that"})
    assert keys(store, {"k": text}) == ["its"]
    assert keys(store, {"k": {"$ne": text}}) == ["other"]
    assert keys(store, {"k": {"$gte": text, "$lte": text}}) == ["its"]


@pytest.mark.parametrize("operator", ["$in", "$", "$GT", "$or", "$gt; DROP TABLE items", *HOSTILE])
def test_an_unknown_operator_is_refused_by_name(store: ItemStore, operator: str) -> None:
    with pytest.raises(RequestError, match=r"filter\.outer\.inner: unknown operator"):
        keys(store, {"outer": {"inner": {"$eq": 1, operator: 1}}})


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
@pytest.mark.parametrize("operand", [None, True, [], [1], {}, {"$gt": 1}], ids=str)
def test_only_numbers_and_texts_are_more_or_less(store: ItemStore, operator: str, operand: Any) -> None:
    with pytest.raises(RequestError, match=r"filter\.k: \$\w+ compares numbers or texts"):
        keys(store, {"k": {operator: operand}})


def test_a_filter_has_limits(store: ItemStore) -> None:
    wide = {str(index): index for index in range(CONDITIONS_MAX)}
    put(store, it=wide)
    assert keys(store, wide) == ["it"]
    with pytest.raises(Invalid, match="filter: at most"):
        keys(store, {**wide, "more": 1})
    deep: dict[str, Any] = {"k": 1}
    for _ in range(DEPTH_MAX - 1):
        deep = {"k": deep}
    put(store, deep=deep)
    assert keys(store, deep) == ["deep"]
    with pytest.raises(Invalid, match="filter: at most"):
        keys(store, {"k": deep})
