"""Schemathesis asks what the document allows and what it forbids: no 5xx, no answer outside its schema.

GRAPHWIRE_TEST_EXAMPLES=200 asks each operation so often, every time anew, and all border cases besides: for a
nightly run. Without it the examples are few and always the same.
"""

import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests
import schemathesis
from fix_api import DOCUMENT
from fix_server import RunningServer, Server
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from wire import Frames

EXAMPLES = int(os.environ.get("GRAPHWIRE_TEST_EXAMPLES", "0"))
EXAMPLES_IN_CI = 15
ANSWER_SECONDS = 20.0
SILENCE_SECONDS = 0.3  # of a stream that goes on: then nothing of interest comes any more
AFTER_SECONDS_MAX = 0.05
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
GRAPHS = ["echo", "boom", "intr", "func", "subg"]


def api(phase: str) -> schemathesis.BaseSchema:
    """The document as Schemathesis has it, to be asked in one of its ways."""
    config = {
        "generation": {"deterministic": not EXAMPLES, "max-examples": EXAMPLES or EXAMPLES_IN_CI},
        "phases": {name: {"enabled": name == phase} for name in ("examples", "coverage", "fuzzing")},
    }
    return schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(config))


API = api("fuzzing")


@pytest.fixture(scope="module")
def asked(start_server: RunningServer) -> Server:
    """A server of our own: what is asked here deletes whatever there is."""
    return start_server()


@pytest.fixture
def there(asked: Server) -> dict[str, str]:
    """Ids of things that exist, by the names of parameters; a thread with a run that has ended."""
    thread, run = asked.new_thread(), str(uuid4())
    asked.wait("intr", {}, thread, run_id=run)
    assistant = asked.post("/assistants", {"graph_id": "intr"})["assistant_id"]
    asked.request("PUT", "/store/items", {"namespace": ["a"], "key": "k", "value": {"n": 1}}).body()
    checkpoint = asked.get(f"/threads/{thread}/state")["checkpoint_id"]
    cron = asked.post("/runs/crons", {"assistant_id": "echo", "schedule": "0 0 1 1 *"})["cron_id"]
    return {
        "thread_id": thread,
        "run_id": run,
        "assistant_id": assistant,
        "checkpoint_id": checkpoint,
        "cron_id": cron,
        "namespace": "a",
        "key": "k",
    }


def waiting(server: Server) -> dict[str, str]:
    """The ids of a run that can be cancelled."""
    body = {"assistant_id": "echo", "input": {}, "after_seconds": 3_600}
    run = server.post(f"/threads/{server.new_thread()}/runs", body)
    return {"thread_id": run["thread_id"], "run_id": run["run_id"]}


def quick(body: Any) -> Any:
    """The body without what would make a run wait for days."""
    if isinstance(body, list):
        return [quick(item) for item in body]
    if not isinstance(body, dict):
        return body
    found = dict(body)
    if isinstance(found.get("after_seconds"), int | float):
        found["after_seconds"] = min(found["after_seconds"], AFTER_SECONDS_MAX)
    return found


def existing(case: Any, there: dict[str, str], graph: str) -> None:
    """Let a case ask for what exists: most made-up ids only show how a 404 looks."""
    for parameters in (case.path_parameters or {}, case.query or {}):
        parameters |= {name: there[name] for name in parameters if name in there}
    for item in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(item, dict):
            known = {**there, "namespace": [there["namespace"]], "run_ids": [there["run_id"]]}
            item |= {name: known[name] for name in item if name in known and item[name] is not None}
            item |= {name: graph for name in ("assistant_id", "graph_id") if name in item}
            item.pop("webhook", None)  # nearly all are refused, and the rest would be called


def ask(case: Any, server: Server) -> requests.Response:
    """The answer as far as it comes: streams may go on for ever."""
    sent = {**case.as_transport_kwargs(base_url=server.url), "stream": True, "timeout": ANSWER_SECONDS}
    response = requests.request(**sent)
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        response.content  # noqa: B018 - reads it
        return response
    frames, parts = Frames(), list(pieces(response))
    for part in parts:
        frames.feed(part)
    response._content = b"".join(parts)
    return response


def pieces(response: requests.Response) -> Iterator[bytes]:
    """The parts of a stream up to its end, or until it falls silent."""
    connection = response.raw.connection
    if connection is not None and connection.sock is not None:
        connection.sock.settimeout(SILENCE_SECONDS)
    try:
        yield from response.iter_content(None)
    except requests.exceptions.ConnectionError as silence:
        if "timed out" not in str(silence).lower():
            raise
    finally:
        response.close()


@API.given(real=st.booleans(), graph=st.sampled_from(GRAPHS))
@API.parametrize()
@settings(suppress_health_check=list(HealthCheck), deadline=None, database=None)
def test_no_answer_is_outside_its_schema(
    case: Any, real: bool, graph: str, asked: Server, there: dict[str, str]
) -> None:
    case.body = quick(case.body)
    if real:
        if case.operation.path.endswith("/cancel"):
            there = there | waiting(asked)
        existing(case, there, graph)
    case.validate_response(ask(case, asked), checks=CHECKS)


if EXAMPLES:

    @api("coverage").parametrize()
    @settings(suppress_health_check=list(HealthCheck), deadline=None, database=None)
    def test_no_answer_to_a_border_case_is_outside_its_schema(case: Any, asked: Server) -> None:
        case.body = quick(case.body)
        case.validate_response(ask(case, asked), checks=CHECKS)
