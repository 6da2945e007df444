"""Text survives byte for byte, whatever it holds, and no text can forge an event."""

import json

import pytest
from fix_server import Server, run_of
from wire import Frame

SEPARATORS = [
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\n\r\n",
    "\v",
    "\f",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
]
FORGERIES = [
    "\n\nevent: error\ndata: {}\n\n",
    "\r\n\r\nevent: end\r\ndata: null\r\n\r\n",
    "data: x",
    ": heartbeat",
    "id: 1-1",
    "retry: 1",
    "\ufeffevent: x",
    '"}]\r\n\r\n',
]
UNICODE = [
    "😀",
    "👨‍👩‍👧‍👦",
    "é",
    "e\u0301",
    "漢字",
    "שלום",
    "\u202egnp.exe",
    "\u200b\u200d",
    "\ufeff",
    "\ufffe\uffff",
    "\U0010ffff",
    "\ufffd",
]
JSON_LIKE = [
    '"',
    "\\",
    "\\n",
    "\\u0000",
    "\\ud800",
    "</script>",
    "{}",
    "null",
    " ",
    "  leading",
    "trailing \t",
]
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]


def emitted(server: Server, texts: list[str], times: int = 1) -> tuple[list[Frame], str]:
    """The frames of a run whose model says these texts, and the path of its thread."""
    graph_input = {"texts": [json.dumps(text) for text in texts], "times": times}
    stream = server.stream("texts", graph_input, stream_mode=["messages-tuple", "custom", "values"])
    frames = stream.rest()
    assert stream.ended_by == "last chunk"
    return frames, run_of(stream).rsplit("/runs/", 1)[0]


def tokens(frames: list[Frame]) -> list[str]:
    return [
        frame.data[0]["content"] for frame in frames if frame.event == "messages" and frame.data[0]["content"]
    ]


def customs(frames: list[Frame]) -> list[str]:
    return [frame.data for frame in frames if frame.event == "custom"]


GROUPS = {
    "separators": SEPARATORS,
    "separators inside words": [f"a{text}b" for text in SEPARATORS],
    "forgeries": FORGERIES,
    "unicode": UNICODE,
    "text that looks like JSON": JSON_LIKE,
    "control characters": CONTROLS,
    "control characters inside words": [f"a{text}b" for text in CONTROLS],
}
groups = pytest.mark.parametrize("texts", GROUPS.values(), ids=GROUPS)


@groups
def test_tokens_arrive_as_they_were_spoken(server: Server, texts: list[str]) -> None:
    frames, _ = emitted(server, texts)
    assert tokens(frames) == texts


@groups
def test_custom_events_arrive_as_they_were_written(server: Server, texts: list[str]) -> None:
    frames, _ = emitted(server, texts)
    assert customs(frames) == texts


@groups
def test_the_state_holds_the_same_text_as_the_stream(server: Server, texts: list[str]) -> None:
    frames, thread = emitted(server, texts)
    assert frames[-1].data["out"] == "".join(texts)
    assert server.get(f"{thread}/state")["values"]["out"] == "".join(texts)
    assert server.get(thread)["values"]["out"] == "".join(texts)


@groups
def test_clients_that_cut_at_every_unicode_line_end_see_the_same_frames(
    server: Server, texts: list[str]
) -> None:
    frames, _ = emitted(server, texts)
    for frame in frames:
        lines = frame.raw.decode().splitlines()
        assert [line.partition(":")[0] for line in lines if line] in (
            ["event", "data", "id"],
            ["event", "data", "id", "retry"],
        )


def test_no_event_is_added_by_text_that_looks_like_one(server: Server) -> None:
    frames, _ = emitted(server, FORGERIES)
    assert {frame.event for frame in frames} == {"metadata", "values", "messages", "custom"}


def test_the_input_comes_back_as_it_was_sent(server: Server) -> None:
    text = "".join([*SEPARATORS, *UNICODE, *CONTROLS, *FORGERIES])
    frames = server.stream("joke", {"topic": text}).rest()
    assert frames[1].data == {"topic": text}


@pytest.mark.parametrize("text", ["x", "é", "😀", "\n", "\x00", "\u2028"], ids=ascii)
def test_a_token_of_a_million_characters_arrives_whole(server: Server, text: str) -> None:
    frames, _ = emitted(server, [text], times=1_000_000)
    assert tokens(frames) == customs(frames) == [text * 1_000_000]


def test_three_thousand_tokens_arrive_in_order(server: Server) -> None:
    spoken = [f"{number} " for number in range(3_000)]
    graph_input = {"texts": [json.dumps(text) for text in spoken]}
    assert tokens(server.stream("texts", graph_input, stream_mode="messages-tuple").rest()) == spoken


# ---------------------------------------------------------------- lone surrogates, which have no bytes
@pytest.mark.parametrize("lone", ["\ud800", "\udbff", "\udc00", "\udfff", "\ude00\ud83d"], ids=ascii)  # noqa: PT014 - they only look alike
def test_a_lone_surrogate_becomes_the_replacement_character_and_the_text_around_it_stays(
    server: Server, lone: str
) -> None:
    frames, _ = emitted(server, ["before ", f"é{lone}漢", " after"])
    spoken = ["before ", "é" + "\ufffd" * len(lone) + "漢", " after"]
    assert tokens(frames) == customs(frames) == spoken


def test_the_run_with_a_lone_surrogate_succeeds(server: Server) -> None:
    stream = server.stream("texts", {"texts": [json.dumps("a\ud800b")]})
    stream.rest()
    assert server.get(run_of(stream))["status"] == "success"


def test_the_state_with_a_lone_surrogate_can_be_read(server: Server) -> None:
    frames, thread = emitted(server, ["a\ud800b"])
    assert frames[-1].data["out"] == "a\ufffdb"
    assert server.get(f"{thread}/state")["values"]["out"] == "a\ufffdb"


def test_the_two_halves_of_an_emoji_in_two_tokens_are_two_replacement_characters(server: Server) -> None:
    frames, _ = emitted(server, ["\ud83d", "\ude00"])
    assert tokens(frames) == ["\ufffd", "\ufffd"]


def test_the_two_halves_of_an_emoji_in_one_token_are_the_emoji(server: Server) -> None:
    graph_input = {"texts": ['"\\ud83d\\ude00"']}
    assert tokens(server.stream("texts", graph_input, stream_mode="messages-tuple").rest()) == ["😀"]
