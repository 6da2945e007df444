"""What a run's row says becomes the graph's input and config."""

from typing import Any

import pytest
from langgraph.types import Command, Send

from server import __version__
from server.execution.run_config import LANGGRAPH_VERSION, graph_input, runnable_config
from server.models import Run, RunStatus

AT = "2026-01-01T00:00:00.000000+00:00"


def run(**kwargs: Any) -> Run:
    said = {"config": {}, **kwargs}
    return Run("r", "t", "a", "g", RunStatus.running, {}, said, "enqueue", AT, AT, AT, attempt=2)


# ------------------------------------------------------------------------------------- input


@pytest.mark.parametrize("value", [{"a": 1}, None, "text", [], {}])
def test_the_input_is_what_was_sent(value: Any) -> None:
    assert graph_input(run(input=value)) == value


def test_a_command_wins_over_input() -> None:
    assert graph_input(run(input={"a": 1}, command={"resume": "yes"})) == Command(resume="yes")


@pytest.mark.parametrize("answer", ["yes", "", 0, False, [], {}, {"id": "answer"}])
def test_an_answer_may_be_any_value(answer: Any) -> None:
    assert graph_input(run(command={"resume": answer})) == Command(resume=answer)


@pytest.mark.parametrize("command", [None, {}])
def test_without_a_command_the_input_counts(command: Any) -> None:
    assert graph_input(run(input={"a": 1}, command=command)) == {"a": 1}


@pytest.mark.parametrize(
    ("goto", "expected"),
    [
        ("node", ["node"]),
        (["a", "b"], ["a", "b"]),
        ({"node": "a", "input": {"x": 1}}, [Send("a", {"x": 1})]),
        ([{"node": "a", "input": None}, "b"], [Send("a", None), "b"]),
        ({"node": "a"}, [Send("a", None)]),
    ],
)
def test_goto_names_nodes_or_sends_to_them(goto: Any, expected: list[Any]) -> None:
    assert graph_input(run(command={"goto": goto})).goto == expected


def test_an_update_of_pairs_becomes_pairs() -> None:
    assert graph_input(run(command={"update": [["a", 1], ["a", 2]]})).update == [("a", 1), ("a", 2)]


def test_an_update_may_be_a_dict() -> None:
    assert graph_input(run(command={"update": {"a": 1}})).update == {"a": 1}


def test_all_parts_of_a_command_go_together() -> None:
    command = graph_input(run(command={"goto": "n", "update": {"a": 1}, "resume": "x"}))
    assert command == Command(goto=["n"], update={"a": 1}, resume="x")


# ------------------------------------------------------------------------------------- config


def test_the_metadata_ends_with_what_the_server_knows_in_its_order() -> None:
    config = runnable_config(run(config={"metadata": {"mine": 1}}), "http://here")
    assert list(config["metadata"].items()) == [
        ("mine", 1),
        ("run_attempt", 2),
        ("langgraph_version", LANGGRAPH_VERSION),
        ("langgraph_api_version", __version__),
        ("langgraph_plan", "open-source"),
        ("langgraph_host", "self-hosted"),
        ("langgraph_api_url", "http://here"),
        ("run_id", "r"),
        ("thread_id", "t"),
    ]


def test_nobody_overwrites_what_the_server_says_of_itself() -> None:
    config = runnable_config(run(config={"metadata": {"run_id": "forged", "thread_id": "forged"}}), "")
    assert (config["metadata"]["run_id"], config["metadata"]["thread_id"]) == ("r", "t")


def test_the_config_keeps_what_the_caller_said() -> None:
    said = {"tags": ["x"], "recursion_limit": 7, "configurable": {"model": "m"}}
    config = runnable_config(run(config=said), "")
    assert (config["tags"], config["recursion_limit"], config["configurable"]) == (["x"], 7, {"model": "m"})


def test_langchain_knows_the_run_under_our_id() -> None:
    assert runnable_config(run(), "")["run_id"] == "r"


def test_a_checkpoint_to_fork_from_is_put_in() -> None:
    checkpoint = {"checkpoint_id": "c", "checkpoint_ns": "", "checkpoint_map": {"": "c"}}
    assert runnable_config(run(checkpoint=checkpoint), "")["configurable"] == checkpoint


def test_a_checkpoint_cannot_name_another_thread() -> None:
    said = run(config={"configurable": {"thread_id": "t"}}, checkpoint={"thread_id": "other", "__x": 1})
    assert runnable_config(said, "")["configurable"] == {"thread_id": "t"}


def test_the_row_stays_as_it_is() -> None:
    """A second attempt starts from the same row."""
    said = run(config={"configurable": {"a": 1}, "metadata": {"b": 2}}, checkpoint={"checkpoint_id": "c"})
    config = runnable_config(said, "")
    config["configurable"].pop("checkpoint_id")
    config["metadata"]["more"] = 1
    assert said.kwargs["config"] == {"configurable": {"a": 1}, "metadata": {"b": 2}}
    assert runnable_config(said, "")["configurable"]["checkpoint_id"] == "c"
