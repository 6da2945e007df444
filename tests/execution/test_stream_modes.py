"""Each mode asked for has its mode of the graph, and each chunk becomes events of its name and shape."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.types import Interrupt

from server.api.schemas.runs import StreamMode
from server.execution.stream_modes import (
    WIRE_MODES,
    Translator,
    announces_interrupt,
    graph_modes,
    root_interrupts,
)
from server.streaming.broker import ASIDE, Entry

QUESTION = Interrupt("why?", id="i1")
CONFIG = {"configurable": {"thread_id": "t", "checkpoint_id": "c", "checkpoint_ns": "", "__secret": 1}}
PUBLIC = {"configurable": {"thread_id": "t", "checkpoint_id": "c", "checkpoint_ns": ""}}


def one(entries: list[Entry]) -> tuple[str, Any]:
    """(event, data) of a chunk that makes one event."""
    assert len(entries) == 1
    return entries[0].event, json.loads(entries[0].data + entries[0].shared)


def translated(mode: str, chunk: Any, namespace: tuple[str, ...] = ()) -> tuple[str, Any]:
    return one(Translator.of([mode]).entries(namespace, mode, chunk))


def test_every_mode_of_the_door_is_known_here() -> None:
    assert sorted(WIRE_MODES) == sorted(StreamMode.__args__)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["values"], ["values"]),
        (["messages-tuple"], ["messages"]),
        (["messages", "messages-tuple"], ["messages"]),
        (["updates", "values", "updates"], ["updates", "values"]),
        (["events"], []),
        (["events", "custom"], ["custom"]),
    ],
)
def test_modes_asked_for_become_modes_of_the_graph_each_once(asked: list[str], expected: list[str]) -> None:
    assert graph_modes(asked) == expected


@pytest.mark.parametrize("mode", ["values", "updates", "custom", "tasks", "events"])
def test_most_modes_show_their_chunk_as_it_is(mode: str) -> None:
    assert translated(mode, {"a": (1, None)}) == (mode, {"a": [1, None]})


def test_the_namespace_of_a_subgraph_is_in_the_name() -> None:
    assert translated("updates", 1, ("a:1", "b:2")) == ("updates|a:1|b:2", 1)


def test_a_custom_chunk_may_be_anything() -> None:
    assert [translated("custom", chunk)[1] for chunk in ("text", 1, None, [object()])] == [
        "text",
        1,
        None,
        [None],
    ]


# ------------------------------------------------------------------------------------- messages


def test_a_token_is_a_pair_of_message_and_metadata() -> None:
    chunk = (AIMessageChunk("to", id="m"), {"langgraph_node": "n"})
    event, data = one(Translator.of(["messages-tuple"]).entries((), "messages", chunk))
    assert event == "messages"
    assert (data[0]["type"], data[0]["content"], data[1]) == ("AIMessageChunk", "to", {"langgraph_node": "n"})


def test_tokens_of_one_call_share_the_bytes_of_their_metadata() -> None:
    translator, metadata = Translator.of(["messages-tuple"]), {"langgraph_node": "n"}
    first, second = (
        translator.entries((), "messages", (AIMessageChunk(word, id="m"), metadata))[0] for word in "ab"
    )
    assert first.shared is second.shared


def test_tokens_of_two_calls_at_once_keep_their_own_metadata() -> None:
    translator, nodes = Translator.of(["messages-tuple"]), [{"node": "a"}, {"node": "b"}]
    found = [
        one(translator.entries((), "messages", (AIMessageChunk("x", id="m"), nodes[turn % 2])))[1][1]
        for turn in range(6)
    ]
    assert found == nodes * 3


def test_asked_for_both_forms_of_messages_the_tuple_wins() -> None:
    translator = Translator.of(["messages", "messages-tuple"])
    assert one(translator.entries((), "messages", (AIMessage("hi", id="m"), {})))[0] == "messages"


def test_tokens_of_a_subgraph_carry_its_namespace() -> None:
    translator = Translator.of(["messages-tuple"])
    assert one(translator.entries(("sub:1",), "messages", (AIMessage("hi"), {})))[0] == "messages|sub:1"


def test_the_accumulating_form_tells_of_metadata_then_of_the_message() -> None:
    entries = Translator.of(["messages"]).entries((), "messages", (AIMessage("hi", id="m"), {"a": 1}))
    shown = [entry for entry in entries if not entry.event.startswith(ASIDE)]
    assert [entry.event for entry in shown] == ["messages/metadata", "messages/complete"]
    assert json.loads(shown[0].data) == {"m": {"metadata": {"a": 1}}}


# ------------------------------------------------------------------------------------- checkpoints and debug


def test_checkpoints_hide_what_is_internal_in_a_config() -> None:
    event, data = translated("checkpoints", {"config": CONFIG, "parent_config": CONFIG, "values": {"a": 1}})
    assert event == "checkpoints"
    assert data == {"config": PUBLIC, "parent_config": PUBLIC, "values": {"a": 1}}


def test_the_first_checkpoint_has_no_parent() -> None:
    assert translated("checkpoints", {"config": CONFIG, "parent_config": None})[1]["parent_config"] is None


def test_a_debug_checkpoint_says_where_it_and_its_parent_are() -> None:
    payload = {"config": CONFIG, "parent_config": None, "values": {}, "tasks": [{"id": "1", "state": CONFIG}]}
    data = translated("debug", {"type": "checkpoint", "step": 1, "payload": payload})[1]
    assert data["payload"]["checkpoint"] == PUBLIC["configurable"]
    assert data["payload"]["parent_checkpoint"] is None
    assert data["payload"]["tasks"] == [{"id": "1", "checkpoint": PUBLIC["configurable"]}]


def test_a_debug_task_is_shown_as_it_is() -> None:
    chunk = {"type": "task", "step": 1, "payload": {"id": "1", "name": "n"}}
    assert translated("debug", chunk) == ("debug", chunk)


def test_a_chunk_is_left_as_the_graph_made_it() -> None:
    """The graph may hold on to what it streams."""
    config = json.loads(json.dumps(CONFIG))
    task = {"id": "1", "state": config}
    chunk = {
        "type": "checkpoint",
        "payload": {"config": config, "parent_config": config, "tasks": [task], "values": {}},
    }
    before = json.dumps(chunk)
    translated("debug", chunk)
    assert json.dumps(chunk) == before


# ------------------------------------------------------------------------------------- interrupts


@pytest.mark.parametrize(
    ("mode", "chunk", "announces"),
    [
        ("updates", {"__interrupt__": (QUESTION,)}, True),
        ("values", {"a": 1, "__interrupt__": (QUESTION,)}, True),
        ("tasks", {"id": "1", "interrupts": [{"value": "why?"}]}, True),
        ("debug", {"type": "task_result", "payload": {"interrupts": [{"value": "why?"}]}}, True),
        ("updates", {"node": {"a": 1}}, False),
        ("values", {"a": "__interrupt__"}, False),
        ("values", ["__interrupt__"], False),
        ("tasks", {"id": "1", "interrupts": []}, False),
        ("tasks", {"id": "1", "name": "n", "input": {}}, False),
        ("debug", {"type": "task", "payload": {"interrupts": [1]}}, False),
        ("debug", {"type": "task_result", "payload": None}, False),
        ("custom", {"__interrupt__": 1}, False),
        ("messages", (AIMessage("__interrupt__"), {}), False),
    ],
)
def test_an_interrupt_is_recognised_in_every_mode_that_tells_of_it(
    mode: str, chunk: Any, announces: bool
) -> None:
    assert announces_interrupt(mode, chunk) is announces


def test_the_interrupts_of_the_root_are_collected_by_id() -> None:
    chunk = {"__interrupt__": (QUESTION, Interrupt("who?", id="i2"))}
    assert [item.value for item in root_interrupts((), "updates", chunk).values()] == ["why?", "who?"]


@pytest.mark.parametrize(
    ("namespace", "mode", "chunk"),
    [
        (("sub:1",), "updates", {"__interrupt__": (QUESTION,)}),
        ((), "tasks", {"interrupts": [QUESTION]}),
        ((), "values", "text"),
        ((), "values", {"a": 1}),
    ],
)
def test_nothing_else_is_taken_for_an_interrupt_of_the_root(
    namespace: tuple[str, ...], mode: str, chunk: Any
) -> None:
    assert root_interrupts(namespace, mode, chunk) == {}


def test_the_progress_of_a_tool_is_told_as_the_hooks_know_it() -> None:
    translator = Translator.of(["tools"])

    def told(**chunk: Any) -> Any:
        return one(translator.entries(("a:1",), "tools", {"tool_call_id": "c", **chunk}))

    call = {"toolCallId": "c", "name": "look"}
    assert told(event="tool-started", tool_name="look", input={"q": 1}) == (
        "tools|a:1",
        {"event": "on_tool_start", **call, "input": {"q": 1}},
    )
    assert told(event="tool-output-delta", delta="x")[1] == {"event": "on_tool_event", **call, "data": "x"}
    assert told(event="tool-finished", output="y")[1] == {"event": "on_tool_end", **call, "output": "y"}
    told(event="tool-started", tool_name="look")
    assert told(event="tool-error", message="no")[1] == {"event": "on_tool_error", **call, "error": "no"}
