"""`checkpointer` of langgraph.json: what is accepted, and what refusals say."""

from pathlib import Path
from typing import Any

import pytest

from server.config.checkpointer import retention_rules
from server.errors import ConfigError
from server.rules.threads import Keep, PruneStrategy, RetentionRules, Ttl

FILE = Path("langgraph.json")


def test_without_the_key_everything_is_kept_for_ever() -> None:
    for value in (None, {}, {"ttl": None, "retention": None}, {"ttl": {}, "retention": {}}):
        assert retention_rules(FILE, value) == RetentionRules()
    assert RetentionRules() == RetentionRules(None, None, 300.0, 1_000)


def test_every_rule_is_read_and_minutes_become_seconds() -> None:
    ttl = {
        "strategy": "keep_latest",
        "default_ttl": 43200,
        "sweep_interval_minutes": 0.5,
        "sweep_limit": 10,
    }
    retention = {"checkpoints": 50, "days": 7.5}
    assert retention_rules(FILE, {"ttl": ttl, "retention": retention}) == RetentionRules(
        default_ttl=Ttl(PruneStrategy.keep_latest, 43200.0),
        keep=Keep(50, 7.5),
        sweep_seconds=30.0,
        sweep_limit=10,
    )


def test_one_limit_is_enough_and_threads_are_deleted_unless_it_says_otherwise() -> None:
    assert retention_rules(FILE, {"retention": {"checkpoints": 1}}).keep == Keep(1, None)
    assert retention_rules(FILE, {"retention": {"days": 1}}).keep == Keep(None, 1.0)
    found = retention_rules(FILE, {"ttl": {"default_ttl": 1}})
    assert found.default_ttl == Ttl(PruneStrategy.delete, 1.0)


def test_other_keys_are_ignored_as_on_the_reference() -> None:
    value = {"backend": "default", "path": "./x.py:y", "serde": {}, "ttl": {"refresh": True}}
    assert retention_rules(FILE, value) == RetentionRules()


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ([], "checkpointer"),
        ("x", "checkpointer"),
        ({"ttl": 60}, "checkpointer.ttl"),
        ({"ttl": {"strategy": "archive"}}, "checkpointer.ttl.strategy"),
        ({"ttl": {"strategy": ["delete"]}}, "checkpointer.ttl.strategy"),
        *(
            ({"ttl": {"default_ttl": wrong}}, "checkpointer.ttl.default_ttl")
            for wrong in (0, -1, True, "60", float("nan"), float("inf"), 1e30)
        ),
        ({"ttl": {"sweep_interval_minutes": 0}}, "checkpointer.ttl.sweep_interval_minutes"),
        *(({"ttl": {"sweep_limit": wrong}}, "checkpointer.ttl.sweep_limit") for wrong in (0, 1.5, True, 2e9)),
        ({"retention": 5}, "checkpointer.retention"),
        ({"retention": {"checkpoint": 5}}, "checkpointer.retention.checkpoint"),
        *(
            ({"retention": {"checkpoints": wrong}}, "checkpointer.retention.checkpoints")
            for wrong in (0, -1, 1.5, True, "5", 10**9)
        ),
        *(({"retention": {"days": wrong}}, "checkpointer.retention.days") for wrong in (0, -1, "5", 1e9)),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(value: Any, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        retention_rules(FILE, value)
    assert refused.value.message.startswith(f'langgraph.json: "{key}" ')
    assert refused.value.message.endswith(".")
