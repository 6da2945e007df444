"""The Python SDK's streams, event for event, against what was recorded from the reference server.

The graphs here have the structure of those that were recorded. Allowed differences: `id` on every event,
`messages/complete` for streamed messages, no internal keys, more keys in the server's own metadata.
"""

from typing import Any

import pytest
from fix_server import Server
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from recordings import Bindings, Case, check, differs, load


@pytest.fixture(scope="module")
def client(server: Server) -> SyncLangGraphClient:
    return get_sync_client(url=server.url, api_key=None)


def cases(*prefixes: str) -> Any:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.label) for case in load(*prefixes)])


@cases("01", "02")
def test_each_stream_mode_alone_sends_what_was_recorded(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("03")
def test_several_stream_modes_at_once_keep_the_recorded_order(
    client: SyncLangGraphClient, case: Case
) -> None:
    repeat(client, case)


@cases("04")
def test_what_a_node_writes_arrives_as_custom_events(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("05")
def test_tool_calls_and_the_model_inside_a_tool_stream_as_recorded(
    client: SyncLangGraphClient, case: Case
) -> None:
    repeat(client, case)


@cases("06-subgraph-off", "06-subgraph-debug-off")
def test_without_stream_subgraphs_only_the_root_is_shown(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("06-subgraph-on", "06-subgraph-debug-on")
def test_with_stream_subgraphs_event_names_carry_the_namespace(
    client: SyncLangGraphClient, case: Case
) -> None:
    repeat(client, case)


@cases("07")
def test_the_functional_api_streams_as_recorded(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("08")
def test_a_fan_out_streams_every_branch_and_joins(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("11", "12-interrupt-parallel")
def test_interrupts_and_their_answers_stream_as_recorded(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("12-interrupt-misc")
def test_every_kind_of_command_gives_the_recorded_result(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("29")
def test_breakpoints_stop_and_continue_as_recorded(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("35")
def test_interrupts_two_levels_down_are_reported_at_each_level(
    client: SyncLangGraphClient, case: Case
) -> None:
    repeat(client, case)


@cases("14")
def test_a_failure_ends_the_stream_with_the_recorded_error(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("36")
def test_every_kind_of_exception_is_named_as_recorded(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


@cases("26")
def test_only_the_recorded_messages_are_streamed(client: SyncLangGraphClient, case: Case) -> None:
    repeat(client, case)


def repeat(client: SyncLangGraphClient, case: Case) -> None:
    """Send the recorded requests and hold the answers against the recorded ones."""
    bindings, thread = Bindings(), None
    if case.thread:
        thread = client.threads.create()["thread_id"]
        bindings.bind(case.thread.strip("<>"), thread)
        prepare(client, thread, case.prepared)
    for step in case.steps:
        fields = dict(bindings.fill(step["body"]))
        assistant = fields.pop("assistant_id")
        if step["path"] == "stream":
            parts = [(part.event, part.data) for part in client.runs.stream(thread, assistant, **fields)]
            check(step, parts, bindings, case.parallel)
        else:
            result = client.runs.wait(thread, assistant, raise_error=False, **fields)
            assert (problem := differs(step["result"], result, bindings, "result")) is None, problem


def prepare(client: SyncLangGraphClient, thread: str, state: str) -> None:
    if state in ("interrupted", "finished"):
        client.runs.wait(thread, "intr", input={"x": "1"})
    if state == "finished":
        client.runs.wait(thread, "intr", command={"resume": "r"})
