"""`store` of langgraph.json: what is accepted, and what refusals say."""

from pathlib import Path
from typing import Any

import pytest

from server.config.store import store_rules
from server.errors import ConfigError
from server.rules.items import IndexRules, StoreRules

FILE = Path("langgraph.json")
INDEX = {"embed": "./embed.py:embed", "dims": 3}


def test_without_the_key_items_live_for_ever_and_are_not_indexed() -> None:
    for value in (None, {}, {"index": None, "ttl": None}, {"ttl": {}}):
        assert store_rules(FILE, value) == StoreRules()
    rules = StoreRules()
    assert (rules.index, rules.default_ttl_seconds, rules.refresh_on_read) == (None, None, True)


def test_every_rule_is_read_and_minutes_become_seconds() -> None:
    index = {"embed": "openai:text-embedding-3-small", "dims": 1536, "fields": ["a", "b[*].c"]}
    ttl = {"default_ttl": 1.5, "refresh_on_read": False, "sweep_interval_minutes": 10}
    assert store_rules(FILE, {"index": index, "ttl": ttl}) == StoreRules(
        index=IndexRules("openai:text-embedding-3-small", 1536, ("a", "b[*].c")),
        default_ttl_seconds=90.0,
        refresh_on_read=False,
        sweep_seconds=600.0,
    )


def test_an_index_looks_into_whole_values_unless_it_says_otherwise() -> None:
    for index in (INDEX, {**INDEX, "fields": None}):
        rules = store_rules(FILE, {"index": index})
        assert rules.index == IndexRules("./embed.py:embed", 3, ("$",))


def test_unknown_keys_are_ignored_as_on_the_reference() -> None:
    assert store_rules(FILE, {"index": {**INDEX, "distance": "l2"}, "ttl": {"x": 1}, "path": "y"}).index


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ([], "store"),
        ("x", "store"),
        ({"index": []}, "store.index"),
        ({"index": {}}, "store.index.embed"),
        *(
            ({"index": {**INDEX, "embed": bad}}, "store.index.embed")
            for bad in (None, 1, "", "x", "x:", ":x")
        ),
        *(
            ({"index": {**INDEX, "dims": bad}}, "store.index.dims")
            for bad in (None, 0, -1, 1.5, True, "3", 2**20)
        ),
        *(({"index": {**INDEX, "fields": bad}}, "store.index.fields") for bad in ([], "$", [1], [""], {})),
        ({"ttl": 5}, "store.ttl"),
        *(
            ({"ttl": {"default_ttl": bad}}, "store.ttl.default_ttl")
            for bad in (0, -1, "5", True, float("inf"))
        ),
        ({"ttl": {"sweep_interval_minutes": 0}}, "store.ttl.sweep_interval_minutes"),
        *(({"ttl": {"refresh_on_read": bad}}, "store.ttl.refresh_on_read") for bad in (0, "false")),
    ],
    ids=str,
)
def test_a_refusal_names_the_file_and_the_key(value: Any, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        store_rules(FILE, value)
    assert refused.value.message.startswith(f'langgraph.json: "{key}" must be ')
