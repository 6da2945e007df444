"""The mission, as a user of the JavaScript SDK meets it. `make test` has put the SDK into js/node_modules."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_gate import Gate
from fix_openai import Conversation
from fix_server import Server
from recordings import Bindings, Case, check, load

JS = Path(__file__).parent / "js"
CAMEL = {
    "stream_mode": "streamMode",
    "stream_subgraphs": "streamSubgraphs",
    "interrupt_before": "interruptBefore",
    "interrupt_after": "interruptAfter",
}


def node(script: str, *arguments: str) -> subprocess.Popen[str]:
    assert (JS / "node_modules" / "@langchain" / "langgraph-sdk").is_dir(), (
        "run `npm ci` in tests/acceptance/js first"
    )
    command = ["node", script, *arguments]
    return subprocess.Popen(command, cwd=JS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class Client:
    """The JavaScript SDK's client, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, call: str, *args: Any) -> None:
        assert self._process.stdin
        print(json.dumps({"call": call, "args": args}), file=self._process.stdin, flush=True)

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "node has ended"
        return dict(json.loads(line))

    def next_part(self) -> dict[str, Any] | None:
        answer = self.hear()
        assert "error" not in answer, answer
        return None if "done" in answer else answer["part"]

    def rest(self) -> list[dict[str, Any]]:
        return list(iter(self.next_part, None))

    def call(self, call: str, *args: Any) -> Any:
        self.start(call, *args)
        answer = self.hear()
        assert "error" not in answer, answer
        return answer["result"]

    def new_thread(self) -> str:
        return str(self.call("threads.create")["thread_id"])


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with node("client.mjs", server.url) as process:
        yield Client(process)
        process.kill()


def test_words_appear_one_by_one_while_the_model_is_still_speaking(
    server: Server, topic: str, model: Conversation
) -> None:
    with node("mission.mjs", server.url, topic) as process:
        assert process.stdout
        for word in ("Why", " did", " the", " ice", " melt?"):
            model.say(word)
            contents = (json.loads(line) for line in process.stdout)
            assert next(content for content in contents if content) == word
        model.finish()
        assert all(json.loads(line) == "" for line in process.stdout)
        assert process.wait(timeout=30) == 0


def test_a_token_reaches_the_script_before_the_next_is_emitted(client: Client, gate: Gate) -> None:
    graph_input = gate.input()
    client.start(
        "runs.stream", client.new_thread(), "gate", {"input": graph_input, "streamMode": "messages-tuple"}
    )
    speaker = gate.node(graph_input)
    assert (client.next_part() or {})["event"] == "metadata"
    for word in ("one ", "two ", "three"):
        speaker.say(word)
        part = client.next_part()
        assert part
        assert part["data"][0]["content"] == word
    speaker.finish()
    client.rest()


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.label) for case in load("02", "05-tools.", "06-subgraph-on")]
)
def test_streams_are_what_was_recorded(client: Client, case: Case) -> None:
    bindings, thread = Bindings(), client.new_thread()
    assert case.thread
    bindings.bind(case.thread.strip("<>"), thread)
    for step in case.steps:
        fields = {CAMEL.get(key, key): value for key, value in bindings.fill(step["body"]).items()}
        client.start("runs.stream", thread, fields.pop("assistant_id"), fields)
        check(step, [(part["event"], part["data"]) for part in client.rest()], bindings)


def test_every_event_has_an_id(client: Client) -> None:
    client.start(
        "runs.stream", None, "joke", {"input": {"topic": "ice"}, "streamMode": ["values", "updates"]}
    )
    assert all(part["id"] for part in client.rest())


def test_wait_gives_the_final_state(client: Client) -> None:
    state = client.call("runs.wait", None, "joke", {"input": {"topic": "ice"}})
    assert state == {"topic": "ice", "joke": "Why ice? Ha!"}


def test_an_interrupted_run_goes_on_with_the_answer(client: Client) -> None:
    thread = client.new_thread()
    asked = client.call("runs.wait", thread, "intr", {"input": {"x": "1"}})
    assert asked["__interrupt__"][0]["value"] == {"question": "ok?", "x": "1"}
    done = client.call("runs.wait", thread, "intr", {"command": {"resume": "yes"}})
    assert done["log"] == ["start:st", "ask:yes", "finish"]


def test_join_stream_replays_a_run_from_its_first_event(client: Client) -> None:
    thread = client.new_thread()
    client.start("runs.stream", thread, "joke", {"input": {"topic": "ice"}, "streamMode": ["updates"]})
    live = client.rest()
    client.start("runs.joinStream", thread, live[0]["data"]["run_id"], {"lastEventId": "-1"})
    assert client.rest() == live


def test_cancel_stops_the_node(server: Server, client: Client, gate: Gate) -> None:
    thread, graph_input = server.new_thread(), gate.input()
    stream = server.stream("gate", graph_input, thread)
    run_id = stream.next("metadata").data["run_id"]
    speaker = gate.node(graph_input)
    client.start("runs.cancel", thread, run_id, True)
    assert "error" not in client.hear()
    assert speaker.hear() == "cancelled"
    assert client.call("runs.get", thread, run_id)["status"] == "interrupted"


def test_the_state_is_read_in_every_form(client: Client) -> None:
    thread = client.new_thread()
    client.call("runs.wait", thread, "echo", {"input": {"x": 1}})
    latest = client.call("threads.getState", thread)
    assert latest["values"] == {"x": 1, "log": ["a", "b"]}
    at = latest["checkpoint"]
    for checkpoint in (at["checkpoint_id"], at, {**at, "checkpoint_id": None, "checkpoint_map": None}):
        assert client.call("threads.getState", thread, checkpoint) == latest
    only = {"select": ["values.x", "next"], "subgraphs": True}
    for checkpoint in (None, at["checkpoint_id"], at):
        found = client.call("threads.getState", thread, checkpoint, only)
        assert found == {"values": {"x": 1}, "next": []}


def test_history_and_updates_go_back_and_forth(client: Client) -> None:
    thread = client.new_thread()
    client.call("runs.wait", thread, "echo", {"input": {"x": 1}})
    found = client.call("threads.getHistory", thread)
    assert [entry["next"] for entry in found] == [[], ["b"], ["a"], ["__start__"]]
    for before in (found[1]["checkpoint"], {"configurable": found[1]["checkpoint"]}):
        rest = client.call("threads.getHistory", thread, {"before": before, "metadata": {"source": "input"}})
        assert rest == found[3:]
    for form in ("checkpoint", "checkpointId"):
        fork = found[1]["checkpoint" if form == "checkpoint" else "checkpoint_id"]
        said = {"values": {"log": ["fork"]}, "asNode": "a", form: fork}
        written = client.call("threads.updateState", thread, said)
        latest = client.call("threads.getState", thread)
        assert (latest["checkpoint"], latest["next"]) == (written["checkpoint"], ["b"])
        assert latest["values"]["log"] == ["a", "fork"]


def test_a_failed_run_rejects_with_its_error(client: Client) -> None:
    client.start("runs.wait", None, "boom", {"input": {"how": "first"}})
    assert "first node failed" in client.hear()["error"]["message"]


def test_an_unknown_thread_rejects_with_404(client: Client) -> None:
    client.start("runs.wait", "00000000-0000-0000-0000-000000000001", "joke", {"input": {"topic": "x"}})
    assert client.hear()["error"]["status"] == 404


def test_assistants_live_from_creation_to_deletion(client: Client) -> None:
    made = client.call("assistants.create", {"graphId": "nest", "context": {"k": 1}, "name": "js"})
    assistant_id = made["assistant_id"]
    assert made["config"] == {"configurable": {"k": 1}}
    assert client.call("assistants.get", assistant_id) == made
    changed = client.call("assistants.update", assistant_id, {"graphId": "nest", "metadata": {"from": "js"}})
    assert (changed["version"], changed["metadata"]) == (2, {"from": "js"})
    versions = client.call("assistants.getVersions", assistant_id)
    assert [version["version"] for version in versions] == [2, 1]
    assert client.call("assistants.setLatest", assistant_id, 1)["metadata"] == {}
    found = client.call("assistants.search", {"graphId": "nest", "sortBy": "created_at", "limit": 1})
    assert found[0]["assistant_id"] == assistant_id
    assert client.call("assistants.count", {"graphId": "nest"}) == 2
    client.start("assistants.delete", assistant_id)
    assert "error" not in client.hear()
    client.start("assistants.get", assistant_id)
    assert client.hear()["error"]["status"] == 404


def test_search_tells_where_the_next_page_begins(client: Client) -> None:
    page = client.call("assistants.search", {"limit": 2, "includePagination": True})
    assert (len(page["assistants"]), page["next"]) == (2, "2")


def test_graphs_can_be_looked_at(client: Client) -> None:
    drawn = client.call("assistants.getGraph", "nest", {"xray": True})
    assert "child:grand:leaf" in [node["id"] for node in drawn["nodes"]]
    assert client.call("assistants.getSchemas", "nest")["input_schema"]["title"] == "State"
    inside = client.call("assistants.getSubgraphs", "nest", {"recurse": True})
    assert set(inside) == {"child", "child|grand"}
    assert set(client.call("assistants.getSubgraphs", "nest", {"namespace": "child"})) == {"child"}


def test_the_stream_of_a_thread_is_followed_run_after_run_until_it_is_deleted(
    server: Server, client: Client
) -> None:
    thread = client.new_thread()
    for topic in ("a", "b"):
        client.call("runs.wait", thread, "joke", {"input": {"topic": topic}})
    client.start("threads.joinStream", thread, {"lastEventId": "-", "streamMode": "lifecycle"})
    parts = [client.next_part() or {} for _ in range(4)]
    assert [part["data"].get("outcome") for part in parts] == [None, "success"] * 2
    server.request("DELETE", f"/threads/{thread}").body()
    assert client.rest() == []


def test_a_run_that_is_cancelled_says_so_to_who_streams_and_to_who_waits(
    server: Server, client: Client, gate: Gate
) -> None:
    thread, graph_input = client.new_thread(), gate.input()
    client.start("runs.stream", thread, "gate", {"input": graph_input})
    run_id = (client.next_part() or {})["data"]["run_id"]
    gate.node(graph_input)
    server.post(f"/threads/{thread}/runs/{run_id}/cancel")
    last = client.rest()[-1]
    assert (last["event"], last["data"]["outcome"]) == ("metadata", "interrupted")
    joined = client.call("runs.join", thread, run_id)
    assert (joined["__run__"], joined["key"]) == (last["data"], graph_input["key"])
