"""What a new run executes with: assistant, thread, server and caller merged, later wins, nobody smuggles."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.errors import Contradiction
from server.models import Assistant, Caller, Run, RunRequest, RunStatus
from server.services.run_plan import check, plan

AT = "2026-01-01T00:00:00.000000+00:00"
TOLD = {"graph_id": "g", "assistant_id": "a"}
CALLER = Caller("ada", ("read",), {"name": "Ada"}, "req-1")


def planned(
    request: RunRequest,
    assistant: dict[str, Any] | None = None,
    thread_metadata: dict[str, Any] | None = None,
    temporary: bool = False,
) -> Run:
    settings = {"config": {}, "context": {}, "metadata": {}, **(assistant or {})}
    found = Assistant("a", "g", "name", None, version=1, created_at=AT, updated_at=AT, **settings)
    return plan(request, "r", "t", found, thread_metadata or {}, CALLER, temporary)


def asking(**fields: Any) -> RunRequest:
    return RunRequest("g", **fields)


def configurable(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = run.kwargs["config"]["configurable"]
    return found


# ------------------------------------------------------------------------------------- the row


def test_a_new_run_waits_and_knows_whose_it_is() -> None:
    run = planned(asking())
    assert (run.run_id, run.thread_id, run.assistant_id, run.graph_id) == ("r", "t", "a", "g")
    assert (run.status, run.attempt) == (RunStatus.pending, 0)


def test_a_run_is_due_at_once() -> None:
    run = planned(asking())
    assert run.due_at == run.created_at == run.updated_at


def test_a_delayed_run_is_due_later() -> None:
    run = planned(asking(after_seconds=60))
    due = datetime.fromisoformat(run.due_at) - datetime.now(UTC)
    assert timedelta(seconds=50) < due <= timedelta(seconds=60)


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_delay_into_the_past_is_none(seconds: float) -> None:
    run = planned(asking(after_seconds=seconds))
    assert run.due_at == run.created_at


@pytest.mark.parametrize("temporary", [True, False])
def test_a_run_knows_whether_it_vanishes(temporary: bool) -> None:
    assert planned(asking(), temporary=temporary).temporary is temporary


@pytest.mark.parametrize(("durability", "during"), [("sync", True), ("async", True), ("exit", False)])
def test_the_old_name_of_durability_is_kept_beside_the_new_one(durability: str, during: bool) -> None:
    kwargs = planned(asking(durability=durability)).kwargs
    assert (kwargs["durability"], kwargs["checkpoint_during"]) == (durability, during)


def test_what_was_asked_is_kept_for_every_attempt() -> None:
    request = asking(
        input={"a": 1},
        command={"resume": 1},
        checkpoint={"checkpoint_id": "c"},
        stream_mode=("values", "updates"),
        stream_subgraphs=True,
        interrupt_before=["n"],
        interrupt_after="*",
        feedback_keys=["k"],
    )
    kwargs = planned(request).kwargs
    expected = {
        "input": {"a": 1},
        "command": {"resume": 1},
        "checkpoint": {"checkpoint_id": "c"},
        "stream_mode": ["values", "updates"],
        "subgraphs": True,
        "interrupt_before": ["n"],
        "interrupt_after": "*",
        "feedback_keys": ["k"],
    }
    assert {key: kwargs[key] for key in expected} == expected


# ------------------------------------------------------------------------------------- metadata


def test_metadata_of_the_caller_wins_over_thread_and_assistant() -> None:
    run = planned(
        asking(config={"metadata": {"c": "config", "d": "config"}}, metadata={"d": "request"}),
        {"metadata": {"a": "assistant", "b": "assistant", "c": "assistant"}},
        {"b": "thread", "c": "thread"},
    )
    assert run.metadata == {**TOLD, "a": "assistant", "b": "thread", "c": "config", "d": "request"}


def test_the_graph_of_an_earlier_run_on_the_thread_is_not_this_runs() -> None:
    assert planned(asking(), thread_metadata={"graph_id": "old", "assistant_id": "old"}).metadata == TOLD


def test_the_config_carries_the_same_metadata() -> None:
    run = planned(asking(metadata={"a": 1}))
    assert run.kwargs["config"]["metadata"] == run.metadata


# ------------------------------------------------------------------------------------- context, configurable


def test_context_is_seen_as_configurable_too() -> None:
    run = planned(asking(context={"model": "m"}))
    assert run.kwargs["context"] == {"model": "m"}
    assert configurable(run)["model"] == "m"


def test_configurable_is_seen_as_context_too() -> None:
    run = planned(asking(config={"configurable": {"model": "m"}}))
    assert run.kwargs["context"] == {"model": "m"}
    assert configurable(run)["model"] == "m"


def test_the_callers_settings_win_over_the_assistants_key_by_key() -> None:
    assistant = {"config": {"configurable": {"a": 1, "b": 1}}, "context": {"a": 1, "b": 1}}
    run = planned(asking(context={"b": 2}), assistant)
    assert run.kwargs["context"] == {"a": 1, "b": 2}
    assert {key: configurable(run)[key] for key in "ab"} == {"a": 1, "b": 2}


def test_other_parts_of_the_config_win_over_the_assistants() -> None:
    assistant = {"config": {"tags": ["assistant"], "recursion_limit": 5}}
    config = planned(asking(config={"tags": ["caller"]}), assistant).kwargs["config"]
    assert (config["tags"], config["recursion_limit"]) == (["caller"], 5)


def test_both_context_and_configurable_are_a_contradiction() -> None:
    with pytest.raises(Contradiction, match="Cannot specify both"):
        check(asking(context={"a": 1}, config={"configurable": {"b": 1}}))


@pytest.mark.parametrize(
    "fields",
    [
        {"context": {"a": 1}, "config": {"configurable": {}}},
        {"context": {}, "config": {"configurable": {"a": 1}}},
        {"context": {"a": 1}, "config": {"tags": ["x"]}},
    ],
)
def test_an_empty_one_of_the_two_contradicts_nothing(fields: dict[str, Any]) -> None:
    check(asking(**fields))


# ------------------------------------------------------------------------------------- what nobody may say

SMUGGLED = [
    "thread_id",
    "run_id",
    "assistant_id",
    "graph_id",
    "user_id",
    "checkpoint_ns",
    "checkpoint_map",
    "langgraph_auth_user",
    "langgraph_auth_user_id",
    "langgraph_auth_permissions",
    "langgraph_request_id",
    "__pregel_resuming",
    "__anything",
]


@pytest.mark.parametrize("key", SMUGGLED)
def test_no_caller_sets_what_is_the_servers(key: str) -> None:
    run = planned(asking(config={"configurable": {key: "forged"}}))
    assert configurable(run).get(key) != "forged"
    assert run.kwargs["context"] == {}


@pytest.mark.parametrize("key", SMUGGLED)
def test_no_assistant_sets_what_is_the_servers(key: str) -> None:
    run = planned(asking(), {"config": {"configurable": {key: "forged"}}})
    assert configurable(run).get(key) != "forged"


@pytest.mark.parametrize("key", SMUGGLED)
def test_no_context_sets_what_is_the_servers(key: str) -> None:
    assert configurable(planned(asking(context={key: "forged"}))).get(key) != "forged"


def test_the_graph_learns_who_asks_and_where_it_runs() -> None:
    found = configurable(planned(asking()))
    assert found == {
        **TOLD,
        "run_id": "r",
        "thread_id": "t",
        "user_id": "ada",
        "langgraph_auth_user": {"name": "Ada"},
        "langgraph_auth_user_id": "ada",
        "langgraph_auth_permissions": ["read"],
        "langgraph_request_id": "req-1",
    }


def test_planning_changes_neither_request_nor_assistant() -> None:
    config, context = {"configurable": {"a": 1}, "metadata": {}}, {"b": 1}
    planned(asking(config=config), {"config": {"configurable": {"c": 1}}, "context": context})
    assert (config, context) == ({"configurable": {"a": 1}, "metadata": {}}, {"b": 1})
