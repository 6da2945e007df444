"""The accumulating `messages` mode: each event carries the whole message so far."""

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    ToolMessage,
)

from server.execution.messages import Event, MessageAssembler

METADATA = {"langgraph_node": "n"}


def token(text: str, id: str = "m", last: bool = False, **more: object) -> AIMessageChunk:
    return AIMessageChunk(text, id=id, chunk_position="last" if last else None, **more)


def events(*chunks: BaseMessageChunk | AIMessage | HumanMessage | ToolMessage) -> list[Event]:
    assembler = MessageAssembler()
    return [event for chunk in chunks for event in assembler.add(chunk, METADATA)]


def texts(found: list[Event], name: str) -> list[str]:
    return [data[0].content for event, data in found if event == name]


def test_each_token_is_told_with_all_before_it() -> None:
    found = events(token("a"), token("b"), token("c"))
    assert texts(found, "messages/partial") == ["a", "ab", "abc"]


def test_the_metadata_of_a_message_is_told_once_and_first() -> None:
    found = events(token("a"), token("b"), token("c"))
    assert [event for event, _ in found].count("messages/metadata") == 1
    assert found[0] == ("messages/metadata", {"m": {"metadata": METADATA}})


def test_the_last_token_completes_the_message() -> None:
    found = events(token("a"), token("b", last=True))
    assert [event for event, _ in found][-2:] == ["messages/partial", "messages/complete"]
    assert texts(found, "messages/complete") == ["ab"]


def test_what_grew_is_shown_as_a_message_and_not_as_a_chunk() -> None:
    found = events(token("a"), token("b", last=True))
    assert {type(data[0]) for event, data in found if event != "messages/metadata"} == {AIMessage}


def test_a_ready_message_is_complete_at_once() -> None:
    message = HumanMessage("hi", id="h")
    assert events(message) == [
        ("messages/metadata", {"h": {"metadata": METADATA}}),
        ("messages/complete", [message]),
    ]


def test_messages_that_stream_at_the_same_time_do_not_mix() -> None:
    found = events(token("a", "1"), token("x", "2"), token("b", "1"), token("y", "2"))
    assert texts(found, "messages/partial") == ["a", "x", "ab", "xy"]


def test_what_was_told_before_does_not_change_afterwards() -> None:
    assembler = MessageAssembler()
    first = assembler.add(token("a"), METADATA)[-1][1][0]
    assembler.add(token("b"), METADATA)
    assert first.content == "a"


def test_the_pieces_of_a_tool_call_become_one_call() -> None:
    pieces = [
        {"name": "f", "args": '{"a"', "id": "c", "index": 0},
        {"name": None, "args": ":1}", "id": None, "index": 0},
    ]
    found = events(*(token("", tool_call_chunks=[piece]) for piece in pieces))
    assert found[-1][1][0].tool_calls == [{"name": "f", "args": {"a": 1}, "id": "c", "type": "tool_call"}]


def test_the_counted_tokens_of_all_chunks_are_kept() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    found = events(token("a", usage_metadata=usage), token("b", last=True, usage_metadata=usage))
    assert found[-1][1][0].usage_metadata == {"input_tokens": 2, "output_tokens": 4, "total_tokens": 6}


def test_a_message_that_starts_again_under_its_id_begins_anew() -> None:
    found = events(token("a", last=True), token("b", last=True))
    assert texts(found, "messages/complete") == ["a", "b"]


@pytest.mark.parametrize("chunk", [HumanMessageChunk("hi", id="m")])
def test_chunks_of_others_than_models_grow_too(chunk: BaseMessageChunk) -> None:
    found = events(chunk, chunk)
    assert texts(found, "messages/partial") == ["hi", "hihi"]


def test_the_answer_of_a_tool_is_told_whole() -> None:
    assert texts(events(ToolMessage("42", tool_call_id="c", id="t")), "messages/complete") == ["42"]
