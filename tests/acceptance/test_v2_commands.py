"""Protocol v2 on the wire: commands, answers to interrupts, refusals (contract/protocol-v2.md 2)."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fix_gate import Gate
from fix_server import Server
from fix_v2 import ask, begin, command, endings, new_id, of, replay, run, until, watching

HI = {"messages": [{"role": "user", "content": "hi"}]}


def question(events: list[Any]) -> dict[str, Any]:
    [asked] = of(events, "input.requested")
    return asked  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------ answers


def test_an_interrupt_is_asked_and_answered(server: Server) -> None:
    thread = new_id()
    events = run(server, "intr", {"x": "1"}, thread)
    assert [event["method"] for event in events[-2:]] == ["input.requested", "lifecycle"]
    assert endings(events) == ["interrupted"]
    asked = question(events)
    assert asked["payload"] == asked["value"] == {"question": "ok?", "x": "1"}
    [task] = server.get(f"/threads/{thread}/state")["tasks"]
    assert [item["id"] for item in task["interrupts"]] == [asked["interrupt_id"]]
    with watching(server, thread, since=events[-1]["seq"]) as more:
        answer = {"namespace": [], "interrupt_id": asked["interrupt_id"], "response": "yes"}
        run_id = ask(server, thread, "input.respond", **answer)["run_id"]
        resumed = until(more)
    assert resumed[0]["event_id"] == f"synth:{run_id}:lc||running"
    assert of(resumed, "input.answered") == [{"interrupt_ids": [asked["interrupt_id"]]}]
    assert of(resumed, "values")[-1]["log"] == ["start:st", "ask:yes", "finish"]
    assert replay(server, thread, runs=2) == [*events, *resumed]


def test_states_hold_no_questions(server: Server) -> None:
    for data in of(run(server, "intr", {"x": "1"}), "values"):
        assert "__interrupt__" not in data


def test_several_are_answered_at_once(server: Server) -> None:
    thread = new_id()
    asked = of(run(server, "intr2", {}, thread), "input.requested")
    assert sorted(item["value"] for item in asked) == ["qa", "qb"]
    answers = [{"interrupt_id": item["interrupt_id"], "response": item["value"].upper()} for item in asked]
    with watching(server, thread, since=_last(server, thread)) as events:
        ask(server, thread, "input.respond", responses=answers)
        assert endings(seen := until(events)) == ["completed"]
    assert sorted(of(seen, "values")[-1]["log"]) == ["a:QA", "b:QB", "finish"]


def test_a_question_of_a_subgraph_is_asked_where_it_arose(server: Server) -> None:
    thread = new_id()
    events = run(server, "nest", {"t": "x"}, thread)
    [event] = [event for event in events if event["method"] == "input.requested"]
    path = [segment.partition(":")[0] for segment in event["params"]["namespace"]]
    assert path == ["child", "grand"]
    told = [e["params"]["data"]["event"] for e in events if e["method"] == "lifecycle"]
    assert told == ["running", "started", "started", "interrupted", "interrupted", "interrupted"]
    with watching(server, thread, since=events[-1]["seq"]) as more:
        ask(server, thread, "input.respond", interrupt_id=question(events)["interrupt_id"], response="1")
        assert [item["value"] for item in of(until(more), "input.requested")] == ["second question"]


def test_the_input_of_a_run_on_an_interrupted_thread_is_the_answer(server: Server) -> None:
    thread = new_id()
    run(server, "intr", {"x": "1"}, thread)
    events = run(server, "intr", "yes", thread)
    assert of(events, "values")[-1]["log"] == ["start:st", "ask:yes", "finish"]


def test_an_interrupt_takes_one_answer_of_many(server: Server) -> None:
    thread = new_id()
    key = question(run(server, "intr", {"x": "1"}, thread))["interrupt_id"]

    def respond(text: str) -> dict[str, Any]:
        return command(server, thread, "input.respond", interrupt_id=key, response=text)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(respond, "abcdefgh"))
    assert [answer["type"] for answer in found].count("success") == 1
    refused = {answer["error"] for answer in found if answer["type"] == "error"}
    assert refused <= {"no_such_interrupt", "no_such_run"}
    assert len(server.get(f"/threads/{thread}/runs")) == 2


def test_update_and_goto_go_with_an_answer(server: Server) -> None:
    thread = new_id()
    key = question(run(server, "intr", {"x": "1"}, thread))["interrupt_id"]
    with watching(server, thread, since=_last(server, thread)) as events:
        ask(
            server,
            thread,
            "input.respond",
            interrupt_id=key,
            response="yes",
            update={"log": ["pushed"]},
            metadata={"by": "me"},
        )
        assert "pushed" in of(until(events), "values")[-1]["log"]
    assert server.get(f"/threads/{thread}/runs")[0]["metadata"]["by"] == "me"


def _last(server: Server, thread: str) -> int:
    return int(command(server, thread, "agent.getTree")["meta"]["applied_through_seq"])


# ---------------------------------------------------------------------------------- what else there is


def test_what_was_applied_is_told_truly(server: Server) -> None:
    thread = new_id()
    before = _seq(server, thread)
    events = run(server, "echo", {}, thread)
    after = _seq(server, thread)
    assert before < events[0]["seq"] <= events[-1]["seq"] <= after
    more = run(server, "echo", {}, thread)
    assert after < more[0]["seq"]


def _seq(server: Server, thread: str) -> int:
    return int(command(server, thread, "subscription.subscribe")["meta"]["applied_through_seq"])


def test_a_run_forks_from_a_checkpoint(server: Server) -> None:
    thread = new_id()
    run(server, "chat", HI, thread)
    [_, *earlier] = ask(server, thread, "state.listCheckpoints", limit=50)["checkpoints"]
    first = next(state for state in earlier if state["step"] == 0)
    config = {"configurable": {"checkpoint_id": first["id"], "thread_id": thread}}
    events = run(server, "chat", {"messages": [{"role": "user", "content": "other"}]}, thread, config=config)
    said = [m["content"] for m in of(events, "values")[-1]["messages"] if m["type"] == "human"]
    assert said == ["hi", "other"]
    with watching(server, thread, since=events[-1]["seq"]) as more:
        forked = ask(server, thread, "state.fork", checkpoint_id=first["id"])
        assert until(more)[-1]["event_id"].startswith(f"synth:{forked['run_id']}:")


def test_the_state_can_be_asked_for(server: Server) -> None:
    thread = new_id()
    run(server, "echo", {"x": 1}, thread)
    state = server.get(f"/threads/{thread}/state")
    found = ask(server, thread, "state.get", namespace=[])
    assert found == {"values": state["values"], "checkpoint": {"id": state["checkpoint_id"], "ns": ""}}
    assert ask(server, thread, "state.get", namespace=[], keys=[])["values"] == {}
    assert ask(server, thread, "agent.getTree")["tree"]["status"] == "completed"


def test_settings_of_a_run_are_heeded(server: Server) -> None:
    thread = new_id()
    settings = {
        "metadata": {"k": "v"},
        "config": {"tags": ["t"], "recursion_limit": 7, "configurable": {"foo": "bar", "thread_id": "no"}},
        "durability": "sync",
    }
    run(server, "echo", {}, thread, **settings)
    [found] = server.get(f"/threads/{thread}/runs")
    assert found["metadata"]["k"] == "v"
    assert found["kwargs"]["durability"] == "sync"
    assert found["kwargs"]["config"]["recursion_limit"] == 7
    assert found["kwargs"]["config"]["configurable"]["foo"] == "bar"
    assert found["kwargs"]["config"]["configurable"]["thread_id"] == thread


# --------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("foo.bar", {}, "unknown_command"),
        ("run.start", {}, "invalid_argument"),
        ("run.start", {"assistant_id": "nope", "input": {}}, "invalid_argument"),
        ("run.start", {"assistant_id": 7, "input": {}}, "invalid_argument"),
        ("run.start", {"assistant_id": "echo", "config": {"recursion_limit": 0}}, "invalid_argument"),
        ("run.start", {"assistant_id": "echo", "multitask_strategy": "x"}, "invalid_argument"),
        ("run.start", {"assistant_id": "echo", "metadata": "x"}, "invalid_argument"),
        ("run.start", {"assistant_id": "echo", "webhook": "ftp://x"}, "invalid_argument"),
        ("input.respond", {}, "invalid_argument"),
        ("input.respond", {"interrupt_id": 1, "response": 1}, "invalid_argument"),
        ("input.respond", {"responses": []}, "invalid_argument"),
        ("input.respond", {"responses": {}}, "invalid_argument"),
        ("input.respond", {"responses": [{"interrupt_id": "a"}] * 2}, "invalid_argument"),
        ("input.respond", {"interrupt_id": "a", "response": 1}, "no_such_run"),
        ("input.inject", {"message": {}}, "not_supported"),
        ("subscription.unsubscribe", {"subscription_id": "x"}, "no_such_subscription"),
        ("agent.getTree", {}, "no_such_run"),
        ("state.get", {"namespace": "a"}, "invalid_argument"),
        ("state.get", {"namespace": ["a"]}, "no_such_namespace"),
        ("state.listCheckpoints", {"limit": 10**9}, "invalid_argument"),
        ("state.fork", {}, "invalid_argument"),
    ],
)
def test_a_refusal_is_an_answer(server: Server, method: str, params: Any, code: str) -> None:
    found = command(server, new_id(), method, **params)
    assert (found["type"], found["error"]) == ("error", code)
    assert found["message"]


def test_an_unknown_interrupt_is_refused(server: Server) -> None:
    thread = new_id()
    run(server, "intr", {"x": "1"}, thread)
    found = command(server, thread, "input.respond", interrupt_id="deadbeef", response="yes")
    assert (found["error"], "deadbeef" in found["message"]) == ("no_such_interrupt", True)
    run(server, "intr", "yes", thread)
    found = command(server, thread, "input.respond", interrupt_id="deadbeef", response="yes")
    assert found["error"] == "no_such_run"


def test_a_busy_thread_refuses_when_asked_to(server: Server, gate: Gate) -> None:
    held, thread = gate.input(), new_id()
    begin(server, thread, "gate", held)
    node = gate.node(held)
    params = {"assistant_id": "echo", "input": {}, "multitask_strategy": "reject"}
    assert command(server, thread, "run.start", **params)["error"] == "unknown_error"
    node.say("x")
    node.finish()


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ({"method": "run.start"}, None),
        ({"id": "a", "method": "run.start"}, "a"),
        ({"id": 1}, 1),
        ({"id": 1, "method": 2}, 1),
        ({"id": True, "method": "run.start"}, None),
        ([], None),
        ("x", None),
    ],
    ids=json.dumps,
)
def test_what_is_no_command_is_refused(server: Server, body: Any, given: Any) -> None:
    response = server.request("POST", f"/threads/{new_id()}/commands", body)
    assert response.status == 400
    found = json.loads(response.body())
    assert (found["type"], found["id"], found["error"]) == ("error", given, "invalid_argument")


def test_params_must_be_an_object(server: Server) -> None:
    found = server.post(f"/threads/{new_id()}/commands", {"id": 1, "method": "run.start", "params": [1]})
    assert found["error"] == "invalid_argument"


def test_what_is_no_json_is_refused(server: Server) -> None:
    response = server.request("POST", f"/threads/{new_id()}/commands", raw=b"{nope")
    assert (response.status, json.loads(response.body())) == (400, {"detail": "Invalid JSON body"})


@pytest.mark.parametrize("path", ["commands", "stream/events"])
def test_an_id_that_is_no_uuid_is_refused(server: Server, path: str) -> None:
    response = server.request(
        "POST", f"/threads/nope/{path}", {"id": 1, "method": "x", "channels": ["values"]}
    )
    assert response.status == 422
