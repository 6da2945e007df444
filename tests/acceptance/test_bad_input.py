"""Wrong requests are refused with the right status and a sentence that names the field; never a 500."""

import json
import socket
from typing import Any

import pytest
import wire
from fix_server import RunningServer, Server, run_of

UNKNOWN = "00000000-0000-0000-0000-000000000001"
CHUNKED = (
    b"POST /runs/wait HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LIMIT = 65_536
DAYS_30 = 30 * 24 * 3600
GOOD = {"assistant_id": "joke", "input": {"topic": "ice"}}
RUN_ROUTES = ("/threads/{thread}/runs/stream", "/threads/{thread}/runs/wait", "/runs/stream", "/runs/wait")
routes = pytest.mark.parametrize("route", RUN_ROUTES)


@pytest.fixture(scope="module")
def thread(server: Server) -> str:
    return server.new_thread()


@pytest.fixture(scope="module")
def small(start_server: RunningServer) -> Server:
    """A server that takes bodies of at most 64 kB."""
    return start_server(GRAPHWIRE_BODY_BYTES_MAX=str(LIMIT))


def refused(response: wire.Response, status: int) -> str:
    """The sentence of an answer that must have this status."""
    body = response.body()
    assert response.status == status, f"{response.status} {body[:500]!r}"
    assert response.header("content-type") == "application/json"
    answer = json.loads(body)
    assert list(answer) == ["detail"]
    assert isinstance(answer["detail"], str)
    assert answer["detail"]
    return str(answer["detail"])


# ---------------------------------------------------------------- bodies that are not a JSON object
NOT_JSON = {
    "cut off": b'{"a":',
    "empty": b"",
    "a form": b"assistant_id=joke",
    "a byte order mark": b'\xef\xbb\xbf{"assistant_id": "joke"}',
    "bad UTF-8": b'{"assistant_id": "\xff\xfe"}',
    "an encoded surrogate": b'{"assistant_id": "\xed\xa0\x80"}',
    "a lone surrogate": b'{"assistant_id": "joke", "input": "\\ud800"}',
    "NaN": b'{"assistant_id": "joke", "input": NaN}',
    "Infinity": b'{"assistant_id": "joke", "input": -Infinity}',
    "a raw newline in a string": b'{"assistant_id": "jo\nke"}',
    "single quotes": b"{'assistant_id': 'joke'}",
    "two documents": b'{"assistant_id": "joke"}{}',
    "a trailing comma": b'{"assistant_id": "joke",}',
    "only spaces": b"   ",
}


@routes
@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON)
def test_a_body_that_is_not_json_is_422(server: Server, thread: str, route: str, raw: bytes) -> None:
    detail = refused(server.request("POST", route.format(thread=thread), raw=raw), 422)
    assert "JSON" in detail


@routes
@pytest.mark.parametrize("body", ["[1]", '"x"', "5", "null", "true"])
def test_a_body_that_is_not_an_object_is_422(server: Server, thread: str, route: str, body: str) -> None:
    refused(server.request("POST", route.format(thread=thread), raw=body.encode()), 422)


@pytest.mark.parametrize("levels", [129, 500, 3_000, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_json_that_is_too_deep_is_422(server: Server, brackets: tuple[str, str], levels: int) -> None:
    opening, closing = brackets
    nested = opening * levels + "1" + closing * levels
    refused(
        server.request("POST", "/runs/wait", raw=f'{{"assistant_id": "joke", "input": {nested}}}'.encode()),
        422,
    )


def test_json_of_a_hundred_levels_is_accepted(server: Server) -> None:
    nested: Any = "bottom"
    for _ in range(100):
        nested = [nested]
    assert server.wait("echo", {"x": nested}, thread=None)["x"] == nested


def test_a_body_without_a_content_type_is_read_as_json(server: Server) -> None:
    body = json.dumps(GOOD).encode()
    response = server.request("POST", "/runs/wait", headers={"Content-Length": str(len(body))}, raw=body)
    assert response.json()["joke"] == "Why ice? Ha!"


# ---------------------------------------------------------------- the size of a body
def big(size: int) -> bytes:
    """A good request of exactly so many bytes."""
    empty = len(json.dumps({"assistant_id": "joke", "input": {"topic": ""}}))
    return json.dumps({"assistant_id": "joke", "input": {"topic": "x" * (size - empty)}}).encode()


def test_a_body_of_the_allowed_size_is_accepted(small: Server) -> None:
    response = small.request("POST", "/runs/wait", raw=big(LIMIT))
    response.body()
    assert response.status == 200


def test_a_body_over_the_limit_is_413(small: Server) -> None:
    refused(small.request("POST", "/runs/wait", raw=big(LIMIT + 1)), 413)


def test_a_chunked_body_over_the_limit_is_413(small: Server) -> None:
    chunk = b"x" * 10_000
    chunks = (f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n") * 8
    head = CHUNKED
    with socket.create_connection(("127.0.0.1", small.port), timeout=wire.TIMEOUT_SECONDS) as sock:
        sock.sendall(head + chunks)  # no last chunk: the answer must not wait for it
        refused(wire.Response(sock, "POST"), 413)


def test_a_chunked_body_within_the_limit_is_accepted(small: Server) -> None:
    body = json.dumps(GOOD).encode()
    head = CHUNKED
    with socket.create_connection(("127.0.0.1", small.port), timeout=wire.TIMEOUT_SECONDS) as sock:
        sock.sendall(head + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        assert wire.Response(sock, "POST").json()["joke"] == "Why ice? Ha!"


def test_a_declared_terabyte_is_refused_without_waiting_for_it(small: Server) -> None:
    refused(small.request("POST", "/runs/wait", headers={"Content-Length": str(10**12)}), 413)


def test_the_server_goes_on_after_refusing_large_bodies(small: Server) -> None:
    for _ in range(20):
        refused(small.request("POST", "/runs/wait", raw=big(LIMIT * 4)), 413)
    assert small.wait("joke", {"topic": "ice"}, thread=None)["joke"] == "Why ice? Ha!"


# ---------------------------------------------------------------- every field of the body
WRONG: dict[str, list[Any]] = {
    "assistant_id": [None, 5, True, [], {}],
    "command": ["resume", 5, [1], True],
    "checkpoint": ["x", 5, [1], True],
    "checkpoint_id": [5, "zzz", [], {}, True],
    "config": ["x", [1], 5, True],
    "config.tags": ["x", 5, [1], {}],
    "config.recursion_limit": ["7", 1.5, [], 0, -1, 10_001, 10**30],
    "config.configurable": ["x", [1], 5],
    "config.metadata": ["x", [1], 5],
    "context": ["x", [1], 5, True],
    "metadata": ["x", [1], 5, True],
    "stream_mode": [
        "bogus",
        "",
        "message",
        "runs",
        ["values", "bogus"],
        7,
        {"a": 1},
        [None],
        [["values"]],
        True,
    ],
    "stream_subgraphs": ["yes", "true", 2, [], {}],
    "stream_resumable": ["yes", "true", 2, [], {}],
    "interrupt_before": ["call_model", 3, {"a": 1}, [1], True],
    "interrupt_after": ["call_model", 3, {"a": 1}, [1], True],
    "multitask_strategy": ["zzz", 5, [], {}, ""],
    "if_not_exists": ["zzz", 5, [], {}, ""],
    "on_disconnect": ["zzz", 5, [], {}, ""],
    "after_seconds": ["3", [], {}, DAYS_30 + 1, 2**70, 1e300],
    "durability": ["zzz", 5, [], {}, ""],
    "checkpoint_during": ["x", 5, [], {}],
    "webhook": ["", 5, [], {}, "x" * 65_537],
    "feedback_keys": ["k1", 5, [1], {}],
    "langsmith_tracer": ["x", 5, [1]],
}
OPTIONAL = sorted({field.split(".")[0] for field in WRONG} - {"assistant_id"} | {"input", "on_completion"})
wrong_values = pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(field, value, id=f"{field}={json.dumps(value)[:20]}")
        for field in WRONG
        for value in WRONG[field]
    ],
)


def body_with(field: str, value: Any) -> dict[str, Any]:
    outer, _, inner = field.partition(".")
    return GOOD | {outer: {inner: value} if inner else value}


@wrong_values
def test_a_wrong_value_is_422_and_names_the_field(
    server: Server, thread: str, field: str, value: Any
) -> None:
    response = server.request("POST", f"/threads/{thread}/runs/stream", body_with(field, value))
    assert field.split(".")[-1] in refused(response, 422)


@pytest.mark.parametrize("field", WRONG)
def test_a_run_without_a_thread_is_checked_the_same_way(server: Server, field: str) -> None:
    for value in WRONG[field]:
        assert field.split(".")[-1] in refused(
            server.request("POST", "/runs/wait", body_with(field, value)), 422
        )


def test_on_completion_is_checked_for_runs_without_a_thread(server: Server) -> None:
    assert "on_completion" in refused(
        server.request("POST", "/runs/wait", body_with("on_completion", "zzz")), 422
    )


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_means_the_same_as_a_missing_field(server: Server, field: str) -> None:
    values = server.post("/runs/wait", {"assistant_id": "echo", "input": {"x": 1}} | {field: None})
    if field == "input":
        assert values["__error__"]["error"] == "EmptyInputError"
    else:
        assert values == {"x": 1, "log": ["a", "b"]}


@pytest.mark.parametrize("field", ["zzz", "thread_id", "streamMode", "__class__", "kwargs", ""])
def test_unknown_fields_are_ignored(server: Server, field: str) -> None:
    assert server.post("/runs/wait", body_with(field, {"a": 1}))["joke"] == "Why ice? Ha!"


def test_a_missing_assistant_is_422(server: Server, thread: str) -> None:
    assert "assistant_id" in refused(
        server.request("POST", f"/threads/{thread}/runs/wait", {"input": {}}), 422
    )


@routes
def test_an_unknown_graph_is_422_and_the_known_ones_are_named(
    server: Server, thread: str, route: str
) -> None:
    detail = refused(server.request("POST", route.format(thread=thread), {"assistant_id": "nope"}), 422)
    assert "'nope'" in detail
    assert "joke" in detail


@routes
def test_an_empty_assistant_is_422(server: Server, thread: str, route: str) -> None:
    refused(server.request("POST", route.format(thread=thread), {"assistant_id": ""}), 422)


@routes
def test_an_unknown_assistant_is_404(server: Server, thread: str, route: str) -> None:
    refused(server.request("POST", route.format(thread=thread), {"assistant_id": UNKNOWN}), 404)


@pytest.mark.parametrize("route", RUN_ROUTES[:2])
def test_an_unknown_thread_is_404(server: Server, route: str) -> None:
    refused(server.request("POST", route.format(thread=UNKNOWN), GOOD), 404)


@routes
def test_context_together_with_configurable_is_400(server: Server, thread: str, route: str) -> None:
    body = GOOD | {"context": {"a": 1}, "config": {"configurable": {"b": 2}}}
    detail = refused(server.request("POST", route.format(thread=thread), body), 400)
    assert "configurable" in detail
    assert "context" in detail


def test_an_empty_context_with_a_configurable_is_accepted(server: Server) -> None:
    body = GOOD | {"context": {}, "config": {"configurable": {"b": 2}}}
    assert server.post("/runs/wait", body)["joke"] == "Why ice? Ha!"


def test_a_resume_without_a_thread_is_400(server: Server) -> None:
    body = {"assistant_id": "intr", "command": {"resume": "yes"}}
    assert "thread_id" in refused(server.request("POST", "/runs/wait", body), 400)


# ---------------------------------------------------------------- commands
@pytest.mark.parametrize(
    "command",
    [
        {"goto": 5},
        {"goto": [5]},
        {"goto": {"input": 1}},
        {"goto": [{"node": 5}]},
        {"update": "x"},
        {"update": [1]},
    ],
)
def test_a_command_of_the_wrong_shape_is_422(server: Server, thread: str, command: dict[str, Any]) -> None:
    body = {"assistant_id": "intr", "command": command}
    detail = refused(server.request("POST", f"/threads/{thread}/runs/wait", body), 422)
    assert next(iter(command)) in detail


@pytest.mark.parametrize(
    "command", [{"resume": None}, {"bogus": 1}, {"resume": None, "goto": [], "update": None}]
)
def test_a_command_that_says_nothing_is_no_failure_of_the_server(
    server: Server, command: dict[str, Any]
) -> None:
    thread = server.new_thread()
    server.wait("intr", {"x": "1"}, thread)
    body = {"assistant_id": "intr", "command": command}
    response = server.request("POST", f"/threads/{thread}/runs/wait", body)
    values = response.json()
    assert response.status in (200, 422)
    assert "__error__" not in values


# ---------------------------------------------------------------- limits
def test_sixteen_stream_modes_are_accepted_and_seventeen_are_not(server: Server, thread: str) -> None:
    path = f"/threads/{thread}/runs/stream"
    assert server.request("POST", path, GOOD | {"stream_mode": ["values"] * 16}).status == 200
    assert "stream_mode" in refused(
        server.request("POST", path, GOOD | {"stream_mode": ["values"] * 17}), 422
    )


@pytest.mark.parametrize("limit", [2, 10_000])
def test_recursion_limits_up_to_ten_thousand_are_accepted(server: Server, limit: int) -> None:
    assert server.post("/runs/wait", GOOD | {"config": {"recursion_limit": limit}})["joke"] == "Why ice? Ha!"


def test_a_delay_of_thirty_days_is_accepted(server: Server) -> None:
    response = server.request("POST", "/runs/stream", GOOD | {"after_seconds": DAYS_30})
    assert response.status == 200
    location = (response.header("location") or "").removesuffix("/stream")
    server.post(f"{location}/cancel?wait=1")
    assert [frame.data["outcome"] for frame in response.rest()] == ["interrupted"]


def test_a_negative_delay_means_now(server: Server) -> None:
    assert server.post("/runs/wait", GOOD | {"after_seconds": -3})["joke"] == "Why ice? Ha!"


# ---------------------------------------------------------------- paths
@pytest.mark.parametrize(
    "thread_id", ["x", "1", "00000000-0000-0000-0000-00000000000g", UNKNOWN + "0", "%00", "{}"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/threads/{id}/runs/stream"),
        ("POST", "/threads/{id}/runs/wait"),
        ("GET", "/threads/{id}"),
        ("DELETE", "/threads/{id}"),
        ("GET", "/threads/{id}/state"),
        ("GET", f"/threads/{{id}}/runs/{UNKNOWN}"),
        ("GET", f"/threads/{{id}}/runs/{UNKNOWN}/stream"),
        ("POST", f"/threads/{{id}}/runs/{UNKNOWN}/cancel"),
        ("GET", f"/threads/{UNKNOWN}/runs/{{id}}"),
        ("GET", f"/threads/{UNKNOWN}/runs/{{id}}/stream"),
        ("POST", f"/threads/{UNKNOWN}/runs/{{id}}/cancel"),
    ],
)
def test_an_id_that_is_no_uuid_is_422_everywhere(
    server: Server, method: str, path: str, thread_id: str
) -> None:
    body = GOOD if path.endswith(("/stream", "/wait")) and method == "POST" else None
    assert "UUID" in refused(server.request(method, path.format(id=thread_id), body), 422)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/threads/{UNKNOWN}"),
        ("DELETE", f"/threads/{UNKNOWN}"),
        ("GET", f"/threads/{UNKNOWN}/state"),
        ("GET", f"/threads/{UNKNOWN}/runs/{UNKNOWN}"),
        ("POST", f"/threads/{UNKNOWN}/runs/{UNKNOWN}/cancel"),
        ("GET", "/no/such/route"),
        ("POST", "/runs/streams"),
    ],
)
def test_what_there_is_not_is_404(server: Server, method: str, path: str) -> None:
    refused(server.request(method, path), 404)


def test_a_wrong_method_is_405_and_names_the_right_one(server: Server) -> None:
    response = server.request("PUT", "/runs/stream")
    assert response.status == 405
    assert "POST" in (response.header("allow") or "")


@pytest.mark.parametrize("query", ["action=zzz", "wait=maybe", "wait=2"])
def test_unknown_values_of_a_cancel_are_422(server: Server, thread: str, query: str) -> None:
    stream = server.stream("joke", {"topic": "ice"}, thread)
    stream.rest()
    response = server.request("POST", f"{run_of(stream)}/cancel?{query}")
    assert query.split("=")[0] in refused(response, 422)


# ---------------------------------------------------------------- threads
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("thread_id", "x"),
        ("thread_id", 5),
        ("metadata", "x"),
        ("metadata", [1]),
        ("if_exists", "zzz"),
        ("if_exists", 5),
    ],
)
def test_a_wrong_value_for_a_new_thread_is_422_and_names_the_field(
    server: Server, field: str, value: Any
) -> None:
    assert field in refused(server.request("POST", "/threads", {field: value}), 422)


def test_a_thread_that_exists_already_is_409(server: Server, thread: str) -> None:
    refused(server.request("POST", "/threads", {"thread_id": thread}), 409)


def test_a_new_thread_needs_no_body(server: Server) -> None:
    assert server.post("/threads", {})["status"] == "idle"


# ---------------------------------------------------------------- never a 500, never a hang
HOSTILE = [
    None, True, 0, -1, 0.5, 2**63, 2**70, -(2**70), 1e308,
    "", "x", "\x00", "\u2028", "😀" * 1000, "x" * 10**5,
    [], [[]], [None], [1] * 2000,
    {}, {"": None}, {"a": {"b": {"c": None}}}, {"$ne": 1}, {"__proto__": 1},
    {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}},
]  # fmt: skip
FIELDS = [
    *WRONG, "input", "input.topic", "on_completion", "command.resume", "command.goto", "command.update",
    "checkpoint.checkpoint_id", "checkpoint.checkpoint_ns",
]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_no_value_of_a_field_makes_the_server_fail(server: Server, field: str) -> None:
    for value in HOSTILE:
        response = server.request("POST", "/runs/stream", body_with(field, value))
        answer = response.rest() if response.status == 200 else response.body()
        assert response.status < 500, f"{field}={value!r}: {response.status} {answer!r}"
        assert response.ended_by in ("last chunk", "content-length")
