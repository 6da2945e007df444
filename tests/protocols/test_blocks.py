"""Pieces of messages become content blocks, whatever their provider calls them."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from server.protocols.v2.blocks import Message
from server.streaming.encode import decode, encode


def told(*pieces: AIMessageChunk | AIMessage) -> list[dict[str, Any]]:
    """The events of a message that comes in these pieces, as the log has them."""
    message = Message("m", (), "node")
    found = [event for piece in pieces for event in message.add(decode(encode(piece)))]
    return json.loads(encode([*found, *message.end()]))  # type: ignore[no-any-return]


def streamed(events: list[dict[str, Any]], index: int) -> str:
    deltas = [
        event["delta"]
        for event in events
        if event["event"] == "content-block-delta" and event["index"] == index
    ]
    return "".join(
        next(value for key, value in delta.items() if key not in ("type", "encoding")) for delta in deltas
    )


def final(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["content"] for event in events if event["event"] == "content-block-finish"]


def call(args: str, index: int = 0, name: str | None = None, call_id: str | None = None) -> AIMessageChunk:
    chunk = {"name": name, "args": args, "id": call_id, "index": index, "type": "tool_call_chunk"}
    return AIMessageChunk("", tool_call_chunks=[chunk])


def test_text_is_one_block() -> None:
    events = told(AIMessageChunk("one "), AIMessageChunk(""), AIMessageChunk("two"))
    assert streamed(events, 0) == "one two"
    assert final(events) == [{"type": "text", "text": "one two"}]


def test_text_beyond_ascii_comes_whole() -> None:
    events = told(*(AIMessageChunk(letter) for letter in "añ€🙂"))
    assert streamed(events, 0) == final(events)[0]["text"] == "añ€🙂"


def test_text_and_two_calls_are_three_blocks() -> None:
    events = told(
        AIMessageChunk("let me "),
        call("", 0, "f", "a"),
        call('{"x"', 0),
        call("", 1, "g", "b"),
        call(": 1}", 0),
        call("{}", 1),
    )
    assert final(events) == [
        {"type": "text", "text": "let me "},
        {"type": "tool_call", "id": "a", "name": "f", "args": {"x": 1}},
        {"type": "tool_call", "id": "b", "name": "g", "args": {}},
    ]
    assert streamed(events, 1) == '{"x": 1}'


def test_arguments_that_are_no_json_make_an_invalid_call() -> None:
    [block] = final(told(call("{oops", 0, "f", "a")))
    assert (block["type"], block["args"], block["name"]) == ("invalid_tool_call", "{oops", "f")


def test_thoughts_of_anthropic_are_a_block_of_their_own() -> None:
    provider = {"model_provider": "anthropic"}
    events = told(
        AIMessageChunk([{"type": "thinking", "thinking": "hm", "index": 0}], response_metadata=provider),
        AIMessageChunk([{"type": "thinking", "thinking": "…", "index": 0}], response_metadata=provider),
        AIMessageChunk([{"type": "text", "text": "so", "index": 1}], response_metadata=provider),
    )
    blocks = final(events)
    assert [block["type"] for block in blocks] == ["reasoning", "text"]
    assert blocks[0]["reasoning"] == streamed(events, 0) == "hm…"
    assert blocks[1]["text"] == streamed(events, 1) == "so"


def test_an_image_is_told_when_it_is_finished() -> None:
    image = {"type": "image", "base64": "QUJD", "mime_type": "image/png"}
    [block] = final(told(AIMessageChunk([image])))
    assert (block["type"], block["base64"]) == ("image", "QUJD")


def test_a_whole_message_is_told_like_one_that_came_in_pieces() -> None:
    message = AIMessage("hi", id="m", tool_calls=[{"id": "a", "name": "f", "args": {"x": 1}}])
    blocks = final(told(message))
    assert blocks[0] == {"type": "text", "text": "hi"}
    assert (blocks[1]["type"], blocks[1]["args"]) == ("tool_call", {"x": 1})


def test_what_providers_say_of_tokens_is_added_up() -> None:
    def used(given: int, taken: int) -> Any:
        return {"input_tokens": given, "output_tokens": taken, "total_tokens": given + taken}

    events = told(
        AIMessageChunk("a", usage_metadata=used(3, 0)), AIMessageChunk("b", usage_metadata=used(0, 2))
    )
    assert events[-1]["usage"] == used(3, 2)


def test_what_told_of_the_answer_is_told_at_its_end() -> None:
    events = told(AIMessageChunk("a"), AIMessageChunk("", response_metadata={"finish_reason": "stop"}))
    assert events[-1]["metadata"] == {"finish_reason": "stop"}


@pytest.mark.parametrize("content", [[{"type": "odd", "x": 1}], [{"no": "type"}], ["text"], [], ""])
def test_odd_content_does_not_fail(content: Any) -> None:
    assert told(AIMessageChunk(content))[-1]["event"] == "message-finish"


def test_every_event_says_of_which_message_it_is() -> None:
    assert {(event["id"], event["run_id"]) for event in told(AIMessageChunk("a"))} == {("m", "m")}
