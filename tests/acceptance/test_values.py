"""Values that JSON does not know are encoded in one way, in streams and in the state, and never end a run."""

import json
import sys
from typing import Any

import pytest
from fix_server import Server, run_of

HUGE = 10**5000
sys.set_int_max_str_digits(10_000)

# kind → the JSON text of the value, as it must stand on the wire
ENCODED = {
    "datetime": '"2020-01-02T03:04:05.000678+00:00"',
    "naive datetime": '"2020-01-02T03:04:05"',
    "date": '"2020-01-02"',
    "time": '"03:04:05"',
    "timedelta": "90.0",
    "uuid": '"00000000-0000-0000-0000-000000000001"',
    "decimal": "1.50",
    "long decimal": "3.14159265358979323846264338327950288",
    "decimal nan": "null",
    "bytes": '"AP9oaQ=="',
    "set": "[1]",
    "frozenset": "[1]",
    "tuple": '[1,"a"]',
    "pydantic": '{"a":1,"when":"2020-01-02T03:04:05+00:00"}',
    "dataclass": '{"x":2}',
    "enum": '"red"',
    "nan": "null",
    "infinity": "null",
    "big int": str(2**70),
    "negative big int": str(-(2**70)),
    "huge int": str(HUGE),
    "int keys": '{"1":"a"}',
    "none key": '{"null":"b"}',
    "tuple keys": '{"(1, 2)":"c"}',
    "enum keys": '{"red":"d"}',
    "uuid keys": '{"00000000-0000-0000-0000-000000000001":"e"}',
    "exception": '{"error":"ValueError","message":"boom"}',
    "function": "null",
    "class": "null",
    "object": "null",
    "hostile object": "null",
    "surrogate": '"bad \ufffd char"',
    "surrogate key": '{"bad \ufffd key":1}',
    "surrogate pair": '"😀"',
    "nul": '"a\\u0000b"',
    "nested": '{"a":[{"b":["2020-01-02",[1],null,1180591620717411303424]}]}',
}
# what a checkpoint brings back need not be what was stored: strict msgpack knows no foreign types
BOUNDLESS = ["self-containing", "deep"]
kinds = pytest.mark.parametrize("kind", ENCODED)


def emitted(server: Server, kind: str) -> tuple[dict[str, Any], str]:
    """The raw data of the custom and the updates event of such a value, and the path of its run."""
    stream = server.stream("oddv", {"kind": kind}, stream_mode=["custom", "updates"])
    data = {
        frame.event: frame.raw.split(b"\r\n")[1].removeprefix(b"data: ").decode() for frame in stream.rest()
    }
    return data, run_of(stream)


@kinds
def test_a_custom_event_shows_the_value_in_json(server: Server, kind: str) -> None:
    data, _ = emitted(server, kind)
    assert data["custom"] == ENCODED[kind]


@kinds
def test_an_update_shows_the_value_in_json(server: Server, kind: str) -> None:
    data, _ = emitted(server, kind)
    assert data["updates"] == f'{{"node":{{"v":{ENCODED[kind]}}}}}'


@kinds
def test_the_run_with_such_a_value_succeeds(server: Server, kind: str) -> None:
    data, run = emitted(server, kind)
    assert "error" not in data
    assert server.get(run)["status"] == "success"


@kinds
def test_the_thread_and_the_state_show_the_value_as_the_stream_did(server: Server, kind: str) -> None:
    data, run = emitted(server, kind)
    thread = run.rsplit("/runs/", 1)[0]
    streamed = json.loads(data["updates"])["node"]["v"]
    assert server.get(thread)["values"]["v"] == streamed
    assert server.get(f"{thread}/state")["values"]["v"] == streamed


@kinds
def test_the_thread_still_works_after_such_a_value(server: Server, kind: str) -> None:
    thread = server.new_thread()
    server.wait("oddv", {"kind": kind}, thread)
    assert server.wait("oddv", {"kind": "date"}, thread)["v"] == "2020-01-02"


@pytest.mark.parametrize("kind", BOUNDLESS)
def test_a_value_without_a_bottom_does_not_end_the_stream(server: Server, kind: str) -> None:
    data, run = emitted(server, kind)
    assert json.loads(data["custom"])[0] is not None
    assert server.get(run)["status"] in ("success", "error")


def test_integers_and_decimals_keep_every_digit_on_the_wire(server: Server) -> None:
    data, _ = emitted(server, "long decimal")
    assert json.loads(data["custom"], parse_float=str) == "3.14159265358979323846264338327950288"


def test_a_message_is_an_object_with_its_type(server: Server) -> None:
    data, _ = emitted(server, "message")
    assert json.loads(data["custom"]) == {
        "content": "hi",
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "ai",
        "name": None,
        "id": "m1",
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": None,
    }
