"""Threads, as a user of the JavaScript SDK makes, finds, copies and throws them away."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from fix_server import Server

from .test_js_sdk import Client, node

SUPERSTEPS = [
    {"updates": [{"values": {"x": 1}, "asNode": "__start__"}]},
    {"updates": [{"values": {"log": ["a"]}, "asNode": "a"}]},
]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with node("client.mjs", server.url) as process:
        yield Client(process)
        process.kill()


def test_a_thread_lives_and_goes(client: Client) -> None:
    thread_id = str(uuid4())
    made = client.call("threads.create", {"threadId": thread_id, "metadata": {"a": 1}, "ttl": 5})
    again = {"threadId": thread_id, "ifExists": "do_nothing"}
    assert client.call("threads.create", again) == made
    changed = client.call("threads.update", thread_id, {"metadata": {"b": 2}, "ttl": 7})
    assert changed["metadata"] == {"a": 1, "b": 2}
    client.start("threads.update", thread_id, {"metadata": {"b": 3}, "returnMinimal": True})
    assert client.hear() == {}  # nothing, as it was asked for
    shown = client.call("threads.get", thread_id, {"include": ["ttl"]})
    assert (shown["metadata"]["b"], shown["ttl"]["ttl_minutes"]) == (3, 7)
    client.start("threads.delete", thread_id)
    assert "error" not in client.hear()
    client.start("threads.get", thread_id)
    assert client.hear()["error"]["status"] == 404


def test_threads_are_found_copied_and_pruned(client: Client) -> None:
    mark = {"test": str(uuid4())}
    made = client.call("threads.create", {"metadata": mark, "graphId": "echo", "supersteps": SUPERSTEPS})
    assert made["values"] == {"x": 1, "log": ["a"]}
    copy = client.call("threads.copy", made["thread_id"])
    assert (copy["values"], copy["metadata"]) == (made["values"], made["metadata"])
    assert client.call("threads.search", {"metadata": mark, "sortBy": "created_at"}) == [copy, made]
    asked = {"metadata": mark, "status": "interrupted", "select": ["thread_id"], "limit": 1}
    found = client.call("threads.search", {**asked, "extract": {"last": "values.log[-1]"}})
    assert found == [{"thread_id": copy["thread_id"], "extracted": {"last": "a"}}]
    assert client.call("threads.count", {"metadata": mark, "values": {"x": 1}}) == 2
    both = [made["thread_id"], copy["thread_id"]]
    assert client.call("threads.prune", both, {"strategy": "keep_latest"}) == {"pruned_count": 2}
    assert len(client.call("threads.getHistory", copy["thread_id"])) == 1
    assert client.call("threads.prune", both) == {"pruned_count": 2}
    assert client.call("threads.search", {"ids": both}) == []
